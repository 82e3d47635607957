//! HTTP/1 of a hostile client or server: heads, chunked bodies, responses.
//! However the bytes are cut, they are read in the same way, and in one way
//! only.

#![no_main]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use libfuzzer_sys::fuzz_target;
use tidegate::policy::HeadLimits;
use tidegate::http1::{Decoder, Length, ParsedRequest, Piece, Unended, find_end, parse_request, parse_response};

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, headers: 20, keeps_underscores: false };
const MOST_TRAILER_BYTES: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    request(bytes);
    // The body is also read by itself, since few inputs have a valid head
    // before it.
    body(bytes, Length::Chunked, Decoder::of_request);
    body(bytes, Length::Chunked, Decoder::of_response);
    answer(bytes);
});

fn request(bytes: &[u8]) {
    let whole = find_end(bytes, 0);
    for cut in 0..bytes.len() {
        let found = find_end(&bytes[..cut], 0).or_else(|unended| match unended {
            Unended::More(seen) => find_end(bytes, seen),
            Unended::BareLineFeed => Err(unended),
        });
        assert_eq!(found.ok(), whole.ok(), "cut at {cut}");
    }
    // The server has skipped empty lines and bytes that cannot begin a method.
    if !bytes.first().is_some_and(u8::is_ascii_graphic) {
        return;
    }
    let parsed = parse_request(&mut BytesMut::from(bytes), &LIMITS);
    let Ok(length) = whole else {
        let is_bare = whole == Err(Unended::BareLineFeed);
        assert!(if is_bare { parsed.is_err() } else { matches!(parsed, Ok(None)) }, "{parsed:?}");
        return;
    };
    let Ok(request) = parsed else { return };
    let request = request.expect("a whole head");
    check_framing(&request);
    // An independent parser has to find the end at the same byte: the next
    // request begins there.
    let mut lines = [httparse::EMPTY_HEADER; 20];
    let mut other = httparse::Request::new(&mut lines);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(length)));
    let lines = other.headers.iter().filter(|line| !line.name.contains('_')).map(|line| (line.name.as_bytes(), line.value));
    assert!(request.head.headers.iter().map(|field| (field.name, field.value)).eq(lines));
    body(&bytes[length..], request.length, Decoder::of_request);
}

/// Checks that the framing agrees with the fields, and that the fields state it
/// once.
fn check_framing(request: &ParsedRequest) {
    let headers = &request.head.headers;
    let lengths: Vec<_> = headers.all(&header::CONTENT_LENGTH).collect();
    let codings: Vec<_> = headers.all(&header::TRANSFER_ENCODING).collect();
    let length = lengths.first().map(|value| std::str::from_utf8(value).unwrap().parse::<u64>().unwrap());
    let expected = match (codings.len(), length) {
        (1, None) => Length::Chunked,
        (0, None | Some(0)) => Length::Empty,
        (0, Some(length)) => Length::Exact(length),
        _ => panic!("ambiguous framing: {request:?}"),
    };
    assert_eq!(request.length, expected);
    assert!(lengths.len() < 2);
    assert!(!request.target.is_empty() && request.target.iter().all(|byte| *byte > b' ' && *byte != 0x7f));
    assert!(headers.iter().all(|field| !field.value.iter().any(|byte| b"\r\n\0".contains(byte))));
}

/// The result of reading a body: its bytes, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Over { trailers: Option<HeaderMap>, rest: Bytes },
    Unfinished,
    Refused,
}

/// Constructor of a decoder for requests or for responses.
type New = fn(Length, usize) -> Decoder;

fn body(bytes: &[u8], length: Length, new: New) {
    let whole = read([bytes], length, new);
    if bytes.len() < 512 {
        for cut in 0..bytes.len() {
            assert_eq!(read([&bytes[..cut], &bytes[cut..]], length, new), whole, "cut at {cut}");
        }
    }
    // An empty body ends without a byte.
    assert_eq!(read(bytes.chunks(1).chain([&[][..]]), length, new), whole, "byte for byte");
}

fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, length: Length, new: New) -> Read {
    let mut decoder = new(length, MOST_TRAILER_BYTES);
    let (mut buffer, mut data, mut over) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while over.is_none() {
            match decoder.next(&mut buffer) {
                Ok(Piece::Data(some)) => {
                    assert!(!some.is_empty());
                    data.extend_from_slice(&some);
                }
                Ok(Piece::More) => break,
                Ok(Piece::End) => over = Some(None),
                Ok(Piece::Trailers(trailers)) => over = Some(Some(trailers)),
                Err(_) => return Read { data, end: End::Refused },
            }
        }
    }
    // The end of a chunked body is a piece of its own; that of a body with a
    // length comes with its last byte.
    assert!(decoder.is_done() == over.is_some() || matches!(length, Length::Empty | Length::Exact(_)));
    let end = match over {
        Some(trailers) => End::Over { trailers, rest: buffer.freeze() },
        None => End::Unfinished,
    };
    Read { data, end }
}

fn answer(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let whole = parse_response(bytes, &method);
        let Ok(Some((head, length))) = &whole else { continue };
        for cut in 0..*length {
            let part = parse_response(&bytes[..cut], &method);
            assert!(matches!(part, Ok(None)), "a part of a valid head, cut at {cut}, is neither complete nor malformed");
        }
        // Forwarded fields cannot end the head early or begin another field.
        for line in head.fields.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r\n").expect("a whole line");
            assert!(!line.is_empty() && !line.iter().any(|byte| b"\r\n\0".contains(byte)));
        }
        assert!(head.fields.get(&header::CONTENT_LENGTH).is_none() && head.fields.get(&header::CONNECTION).is_none());
        body(&bytes[*length..], head.length, Decoder::of_response);
    }
}

//! Tests of heads, of requests and of responses.

use bytes::BytesMut;
use http::{Method, Version};
use proptest::prelude::*;

use super::*;
use crate::{error::Error, policy::HeadLimits};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 32768,
    headers: 100,
    keeps_underscores: false,
};

fn request(text: &str) -> Result<ParsedRequest, Error> {
    let mut buffer = BytesMut::from(text);
    let request = parse_request(&mut buffer, &LIMITS)?;
    Ok(request.expect("a whole head"))
}

#[test]
fn only_names_that_hold_an_underscore_are_dropped_wherever_others_stand() {
    let text = "GET /a_b HTTP/1.1\r\nHost: a_b\r\nCookie: _ga=1; x_y=2\r\nX_A: 1\r\nx-b: _\r\nx-c: 2\r\n_: 3\r\nx_: _\r\nx-d: 4\r\n\r\n";
    let mut buffer = BytesMut::from(text);
    let parsed = parse_request(&mut buffer, &LIMITS).unwrap().unwrap();
    let headers = parsed.head.headers;
    let names: Vec<_> = headers.iter().map(|field| field.name).collect();
    assert_eq!(names, [&b"Host"[..], b"Cookie", b"x-b", b"x-c", b"x-d"]);
    assert_eq!((headers.dropped, headers.has_underscores), (3, false));
}

#[test]
fn as_many_lines_are_taken_as_the_listener_allows() {
    for (allowed, lines, is_taken) in [
        (100, 100, true),
        (100, 101, false),
        (1000, 257, true),
        (1000, 1000, true),
        (1000, 1001, false),
    ] {
        let fields: String = (0..lines).map(|at| format!("x-{at}: 1\r\n")).collect();
        let mut buffer = BytesMut::from(&*format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        let parsed = parse_request(
            &mut buffer,
            &HeadLimits {
                bytes: 1 << 20,
                headers: allowed,
                keeps_underscores: false,
            },
        );
        assert_eq!(
            parsed.is_ok_and(|request| request.unwrap().head.headers.len() == lines),
            is_taken,
            "{lines} of {allowed}"
        );
    }
}

#[test]
fn the_end_of_a_head_is_found_however_it_is_cut() {
    let text = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody";
    for cut in 0..=text.len() {
        let mut seen = 0;
        let found = match find_end(&text[..cut], seen) {
            Ok(end) => end,
            Err(Unended::BareLineFeed) => panic!("cut at {cut}"),
            Err(Unended::More(next)) => {
                seen = next;
                find_end(text, seen).expect("complete now")
            }
        };
        assert_eq!(found, text.len() - 4, "cut at {cut}");
    }
}

#[test]
fn a_line_feed_alone_ends_no_line_however_it_is_cut() {
    for text in [
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "a\r\n\n",
        "\n",
    ] {
        let lone = text.replace("\r\n", "  ").find('\n').unwrap();
        for cut in 0..=text.len() {
            let found = find_end(&text.as_bytes()[..cut], 0);
            assert_eq!(
                found == Err(Unended::BareLineFeed),
                cut > lone,
                "{text:?} cut at {cut}: {found:?}"
            );
        }
    }
    for text in [
        "HTTP/1.1 200 OK\na: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n\n",
        "HTTP/1.1 200 OK\r\na:\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\n\r\n",
        "HTTP/1.1 200 OK\n\n",
    ] {
        assert!(response(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_connection_field_names_a_bounded_number_of_options_which_are_read_once() {
    let named = |options: usize| format!("Connection: {}", "x, ".repeat(options - 1) + "y");
    for (line, is_sound) in [
        (named(32), true),
        (named(33), false),
        (format!("{}\r\n{}", named(16), named(16)), true),
        (format!("{}\r\n{}", named(16), named(17)), false),
        (format!("Connection: {}", ",".repeat(31_000)), false),
    ] {
        assert_eq!(
            request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).is_ok(),
            is_sound
        );
        assert_eq!(
            response(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n")).is_ok(),
            is_sound
        );
    }
}

#[test]
fn a_target_is_kept_byte_for_byte() {
    let request = request("GET /a/%2e%2E//b?x=%zz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(&request.target[..], b"/a/%2e%2E//b?x=%zz");
}

#[test]
fn a_request_line_is_read_to_the_last_byte_whether_it_is_a_usual_one() {
    let line = |line: &str| {
        let request = request(&format!("{line}\r\nHost: a\r\n\r\n")).ok()?;
        let target = String::from_utf8_lossy(&request.target).into_owned();
        Some((request.head.method, target, request.head.version))
    };
    let read = |method, target: &str, version| Some((method, target.to_owned(), version));
    let (one, zero) = (Version::HTTP_11, Version::HTTP_10);
    let long = format!("/{}", "x".repeat(40));
    assert_eq!(line("GET / HTTP/1.1"), read(Method::GET, "/", one));
    assert_eq!(line("GET / HTTP/1.0"), read(Method::GET, "/", zero));
    assert_eq!(
        line("GET /\u{e9} HTTP/1.1"),
        read(Method::GET, "/\u{e9}", one)
    );
    assert_eq!(
        line(&format!("PUT {long} HTTP/1.1")),
        read(Method::PUT, &long, one)
    );
    let other = Method::from_bytes(b"M-SEARCH").unwrap();
    assert_eq!(line("M-SEARCH * HTTP/1.1"), read(other, "*", one));
    for malformed in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET /\tHTTP/1.1",
        "GET HTTP/1.1",
        "GET / HTTP/1.1\r",
        "G:T / HTTP/1.1",
        " / HTTP/1.1",
        "/ HTTP/1.1",
    ] {
        assert_eq!(line(malformed), None, "{malformed:?}");
    }
}

#[test]
fn whatever_two_parsers_could_read_in_two_ways_is_refused() {
    for head in [
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "G\u{7f}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert!(request(head).is_err(), "{head:?}");
    }
}

#[test]
fn a_connection_stays_open_only_when_both_would_keep_it() {
    for (version, line, keep) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let head = request(&format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n")).unwrap();
        assert_eq!(head.keep_alive, keep, "{version} {line:?}");
    }
}

fn response(text: &str) -> Result<Option<(ResponseHead, usize)>, &'static str> {
    parse_response(text.as_bytes(), &Method::HEAD)
}

#[test]
fn what_ends_at_the_hop_is_not_passed_on_and_a_length_is_known_apart() {
    let text = "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nx-hop: 1\r\nX-Kept: 2\r\nKeep-Alive: 5\r\n\
        Content-Length: 7\r\nTE: trailers\r\n\r\n";
    let (head, length) = response(&format!("{text}body")).unwrap().unwrap();
    assert_eq!(
        (length, head.fields.as_bytes(), head.fields.length),
        (text.len(), &b"X-Kept: 2\r\n"[..], Some(7))
    );
}

#[test]
fn a_date_that_ends_at_the_hop_is_missing_as_any_other() {
    let text = "HTTP/1.1 200 OK\r\nConnection: date\r\nDate: now\r\na: 1\r\n\r\n";
    let (head, _) = response(text).unwrap().unwrap();
    assert_eq!(head.fields.as_bytes(), b"a: 1\r\n");
    assert!(!head.fields.has_date());
}

#[test]
fn lines_are_passed_on_in_their_order_and_written_as_usual_however_they_came() {
    let text = "HTTP/1.1 200 OK\r\na: 1\r\nB:2\r\nc:\t 3 \r\nte: x\r\nd: 4\r\ne: \r\nf: 6 \r\nDate: now\r\n\r\n";
    let (head, _) = response(text).unwrap().unwrap();
    let lines = "a: 1\r\nB: 2\r\nc: 3\r\nd: 4\r\ne: \r\nf: 6\r\nDate: now\r\n";
    assert_eq!(std::str::from_utf8(head.fields.as_bytes()), Ok(lines));
    assert!(head.fields.has_date());
}

#[test]
fn a_blank_before_the_colon_of_an_answers_field_is_taken_off() {
    let text = "HTTP/1.1 200 OK\r\nX-A : one\r\nx-b\t :two\r\nContent-Length : 3\r\nKeep-Alive : 5\r\n\r\n";
    let (head, _) = response(text).unwrap().unwrap();
    assert_eq!(
        (head.fields.as_bytes(), head.fields.length),
        (&b"X-A: one\r\nx-b: two\r\n"[..], Some(3))
    );
    assert!(response("HTTP/1.1 200 OK\r\n : y\r\n\r\n").is_err());
}

#[test]
fn an_answer_is_read_once_it_is_complete_and_begins_with_its_status() {
    let text = "HTTP/1.1 204 No Content\r\na: b\r\n\r\n";
    for cut in 0..text.len() {
        assert!(response(&text[..cut]).unwrap().is_none(), "cut at {cut}");
    }
    assert!(response(text).unwrap().is_some());
    assert!(response(&format!("\r\n{text}")).is_err());
}

#[test]
fn a_status_line_says_the_same_to_the_last_byte_whether_it_is_the_usual_one() {
    let line = |line: &str| {
        let (head, length) = response(&format!("{line}\r\n\r\n")).unwrap().unwrap();
        assert_eq!(length, line.len() + 4, "{line}");
        (head.status.as_u16(), head.reason, head.keep_alive)
    };
    assert_eq!(line("HTTP/1.1 200 OK"), (200, None, true));
    assert_eq!(line("HTTP/1.0 200 OK"), (200, None, false));
    assert_eq!(line("HTTP/1.1 200 ok"), (200, Some("ok".into()), true));
    assert_eq!(line("HTTP/1.1 200 OK "), (200, Some("OK ".into()), true));
    assert_eq!(line("HTTP/1.1 200"), (200, Some("".into()), true));
    assert_eq!(line("HTTP/1.1 201 OK"), (201, Some("OK".into()), true));
    for line in [
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 OK\r\r\n",
        "HTTP/1.1  200 OK\r\n",
    ] {
        assert!(response(&format!("{line}\r\n")).is_err(), "{line}");
    }
}

/// Parts of heads, sound and malformed.
const PARTS: [&str; 24] = [
    "GET / HTTP/1.1\r\n",
    "POST ",
    "/a?b",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close, x\r\n",
    "X-Name",
    ": ",
    ":",
    "value",
    "\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    "\0",
    "\x7f",
    "\u{e9}",
    "@",
    "_",
    "\r\n\r\n",
];

proptest! {
    /// The reverse does not hold: this parser is the stricter one.
    #[test]
    fn a_head_that_is_accepted_is_the_same_to_an_independent_parser(
        parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..12),
    ) {
        let text = parts.concat() + "\r\n\r\n";
        let mut buffer = BytesMut::from(&*text);
        if let Ok(Some(parsed)) = parse_request(&mut buffer, &LIMITS) {
            let mut lines = [httparse::EMPTY_HEADER; 64];
            let mut other = httparse::Request::new(&mut lines);
            let length = text.len() - buffer.len();
            prop_assert_eq!(other.parse(text.as_bytes()), Ok(httparse::Status::Complete(length)));
            prop_assert_eq!(other.path.map(str::as_bytes), Some(&parsed.target[..]));
            prop_assert_eq!(other.method, Some(parsed.head.method.as_str()));
            let kept = other.headers.iter().filter(|line| !line.name.contains('_'));
            let fields = parsed.head.headers.iter().map(|field| (field.name, field.value));
            prop_assert!(kept.map(|line| (line.name.as_bytes(), line.value)).eq(fields));
        }
    }
}

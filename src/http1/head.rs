//! Heads: the bytes up to the empty line become a method or a status, and
//! fields.

use std::{mem::MaybeUninit, sync::LazyLock};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use memchr::memmem::Finder;

use super::{
    claims::is_claim,
    encode::{Hops, hop_by_hop, reason},
    fields::{Copying, Fields},
    framing::{self, Length, Marks, is},
};
use crate::{error::Error, policy::HeadLimits};

/// Header lines that are parsed on the stack: the most that a response may
/// have, and more than nearly all requests have.
const ON_STACK: usize = 256;

/// The head of a request, with its framing.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target as received.
    pub target: Bytes,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields.
    pub headers: HeaderMap,
    /// How its body is delimited.
    pub length: Length,
    /// Whether the client may send another request on the same connection.
    pub keep_alive: bool,
    /// `Connection` names further hop-by-hop fields.
    pub names_hops: bool,
    /// Traits of its fields' names.
    pub names: Names,
    /// The client waits for a 100 before it sends its body.
    pub expects_continue: bool,
}

/// Traits of a request's field names that need attention. Nearly all requests
/// have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    /// Some fields are [claims](super::is_claim) that only a trusted proxy may
    /// make.
    pub claims: bool,
    /// Some names contain `_`, which services with CGI or WSGI take for `-`.
    pub underscores: bool,
    /// Lines that were dropped because their names contain `_`.
    pub dropped: usize,
    /// There is a `Via`: the request has passed a proxy.
    pub via: bool,
    /// There is an `X-Request-Id`.
    pub request_id: bool,
}

impl Names {
    /// Notes a name. Returns false if its line is to be dropped.
    pub fn note(&mut self, name: &[u8], keeps_underscores: bool) -> bool {
        self.note_known(
            name,
            memchr::memchr(b'_', name).is_some(),
            keeps_underscores,
        )
    }

    /// Notes a name of which it is known whether it contains `_`. Returns false
    /// if its line is to be dropped.
    fn note_known(&mut self, name: &[u8], has_underscore: bool, keeps_underscores: bool) -> bool {
        if has_underscore && !keeps_underscores {
            self.dropped += 1;
            return false;
        }
        self.underscores |= has_underscore;
        self.claims |= is_claim(name);
        match name.len() {
            3 => self.via |= name.eq_ignore_ascii_case(b"via"),
            12 => self.request_id |= name.eq_ignore_ascii_case(b"x-request-id"),
            _ => {}
        }
        true
    }
}

/// The head of a response, with its framing.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, if it is not the usual one.
    pub reason: Option<Box<str>>,
    /// The fields that are passed on.
    pub fields: Fields,
    /// How its body is delimited.
    pub length: Length,
    /// Whether the server accepts another request on the same connection.
    pub keep_alive: bool,
}

/// Why the end of a head was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// The head is not complete. The next search begins at this offset.
    More(usize),
    /// A line ends in LF without CR, which other parsers do not accept as its
    /// end.
    BareLineFeed,
}

/// Finds the end of the last line of a head with the empty line behind it.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\r\n\r\n"));

/// The length of the head in `buffer` with its empty line. The search begins at
/// `seen`, where an earlier one ended.
///
/// # Errors
/// [`Unended`].
pub fn find_end(buffer: &[u8], seen: usize) -> Result<usize, Unended> {
    // Most heads come as a whole: two passes over all of it cost less than a
    // search for each line.
    if seen == 0
        && let Some(end) = EMPTY_LINE.find(buffer)
    {
        let length = end + EMPTY_LINE.needle().len();
        return if has_bare_line_feed(&buffer[..length]) {
            Err(Unended::BareLineFeed)
        } else {
            Ok(length)
        };
    }
    let mut from = seen;
    while let Some(at) = memchr::memchr(b'\n', buffer.get(from..).unwrap_or_default()) {
        let next = from + at + 1;
        if !buffer[..next].ends_with(b"\r\n") {
            return Err(Unended::BareLineFeed);
        }
        match buffer.get(next..) {
            Some([b'\r', b'\n', ..]) => return Ok(next + 2),
            Some([] | [b'\r']) | None => return Err(Unended::More(next - 1)),
            Some(_) => from = next,
        }
    }
    Err(Unended::More(buffer.len()))
}

/// Parses the head of a request, the first `length` bytes of `buffer`, and
/// removes it from the buffer.
///
/// # Errors
/// [`Error::Malformed`] if it is malformed or could be read in two ways, and
/// [`Error::TooManyHeaders`].
pub fn parse_request(
    buffer: &mut BytesMut,
    length: usize,
    limits: &HeadLimits,
) -> Result<RequestHead, Error> {
    let head = buffer.split_to(length).freeze();
    let mut on_stack = [const { MaybeUninit::uninit() }; ON_STACK];
    let mut on_heap = Vec::new();
    let lines = if limits.headers <= ON_STACK {
        &mut on_stack[..limits.headers]
    } else {
        // Only if the listener allows so many, and no more room than the head
        // has lines.
        on_heap.resize(
            limits
                .headers
                .min(memchr::memchr_iter(b'\n', &head).count()),
            MaybeUninit::uninit(),
        );
        &mut on_heap[..]
    };
    let mut parsed = httparse::Request::new(&mut []);
    parsed
        .parse_with_uninit_headers(&head, lines)
        .map_err(|error| malformed(error, limits))?;
    let version = version(parsed.version);
    let (headers, marks, names) = header_map(&head, parsed.headers, limits.keeps_underscores)?;
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| Error::Malformed("the method is not a token"))?;
    let length = framing::of_request(version, &marks)?;
    let keep_alive = marks.keeps_alive(version);
    let Marks {
        names_hops,
        expects_continue,
        ..
    } = marks;
    let expects_continue = expects_continue && version == Version::HTTP_11;
    let target = head.slice_ref(parsed.path.unwrap_or_default().as_bytes());
    Ok(RequestHead {
        method,
        target,
        version,
        headers,
        length,
        keep_alive,
        names_hops,
        names,
        expects_continue,
    })
}

/// Parses the head of a response at the beginning of `head`, behind which the
/// body may begin. `method` is that of the request. Returns the head with its
/// length, or `None` while it is not complete.
///
/// # Errors
/// Says why it is malformed.
pub fn parse_response(
    head: &[u8],
    method: &Method,
) -> Result<Option<(ResponseHead, usize)>, &'static str> {
    if let [b'\r' | b'\n', ..] = head {
        return Err("it begins with an empty line");
    }
    let mut lines = [const { MaybeUninit::uninit() }; ON_STACK];
    let mut parsed = httparse::Response::new(&mut []);
    // A blank before the colon is removed (RFC 9112, 5.1); in requests it is
    // refused.
    let end = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, head, &mut lines)
        .map_err(|_| "its head cannot be read")?;
    let httparse::Status::Complete(end) = end else {
        return Ok(None);
    };
    let version = version(parsed.version);
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
        .map_err(|_| "its status is not one")?;
    let words = parsed
        .reason
        .filter(|words| reason(status) != Some(*words))
        .map(Box::from);
    // The status line and the empty line; the other lines are checked when they
    // are copied.
    let first_line = parsed
        .headers
        .first()
        .map(|line| line.name.as_ptr().addr() - head.as_ptr().addr());
    let status_line = head.get(..first_line.unwrap_or(end - 2));
    if !status_line.is_some_and(|line| line.ends_with(b"\r\n")) || !head[..end].ends_with(b"\r\n") {
        return Err(BARE_LINE_FEED);
    }
    let (fields, marks) = passed_on(&head[..end], parsed.headers, status)?;
    let length = framing::of_response(version, status, &marks, method)?;
    let keep_alive = marks.keeps_alive(version) && length != Length::UntilClose;
    Ok(Some((
        ResponseHead {
            status,
            reason: words,
            fields,
            length,
            keep_alive,
        },
        end,
    )))
}

fn malformed(error: httparse::Error, limits: &HeadLimits) -> Error {
    match error {
        httparse::Error::HeaderName => Error::Malformed("a header name is not a token"),
        httparse::Error::HeaderValue => {
            Error::Malformed("a header value holds a control character")
        }
        httparse::Error::NewLine => Error::Malformed(BARE_LINE_FEED),
        httparse::Error::Token => {
            Error::Malformed("the request line is not METHOD TARGET HTTP/1.1")
        }
        httparse::Error::TooManyHeaders => Error::TooManyHeaders {
            limit: limits.headers,
        },
        httparse::Error::Version => {
            Error::Malformed("the version is neither HTTP/1.0 nor HTTP/1.1")
        }
        httparse::Error::Status => Error::Malformed("the head cannot be read"),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    }
}

/// The position of the next `_` in a head, which advances with the lines.
/// Values contain some and names hardly ever, so that a few searches suffice
/// for all names.
struct NextUnderscore<'h> {
    head: &'h [u8],
    at: usize,
}

impl<'h> NextUnderscore<'h> {
    fn of(head: &'h [u8]) -> Self {
        let mut next = Self { head, at: 0 };
        next.seek(0);
        next
    }

    fn seek(&mut self, from: usize) {
        let rest = self.head.get(from..).unwrap_or_default();
        self.at = memchr::memchr(b'_', rest).map_or(usize::MAX, |offset| from + offset);
    }

    /// Whether a name, which is a part of the head, contains `_`. Names have to
    /// be given in their order.
    fn is_in(&mut self, name: &[u8]) -> bool {
        let start = name.as_ptr().addr() - self.head.as_ptr().addr();
        if self.at < start {
            self.seek(start);
        }
        self.at < start + name.len()
    }
}

/// The parsed lines as a map whose values share the allocation of the head.
fn header_map(
    head: &Bytes,
    lines: &[httparse::Header<'_>],
    keeps_underscores: bool,
) -> Result<(HeaderMap, Marks, Names), Error> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    let (mut marks, mut names) = (Marks::default(), Names::default());
    let mut underscore = NextUnderscore::of(head);
    for line in lines {
        let name = line.name.as_bytes();
        if !names.note_known(name, underscore.is_in(name), keeps_underscores) {
            continue;
        }
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| Error::Malformed("a header name is not a token"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| Error::Malformed("a header value holds a control character"))?;
        marks.note(line.name.as_bytes(), line.value);
        headers.append(name, value);
    }
    marks.bounded().map_err(Error::Malformed)?;
    Ok((headers, marks, names))
}

/// Copies the lines of a response that are passed on, and notes the marks of
/// all lines. Hop-by-hop fields and the length, which is written anew, are not
/// passed on. If protocols are switched, or have to be (RFC 9110, 15.5.22), the
/// client gets `Upgrade`.
fn passed_on(
    head: &[u8],
    lines: &[httparse::Header<'_>],
    status: StatusCode,
) -> Result<(Fields, Marks), &'static str> {
    let switches = matches!(
        status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED
    );
    let mut marks = Marks::default();
    let mut copying = Copying::of(head);
    for line in lines {
        let name = line.name.as_bytes();
        let is_noted = marks.note(name, line.value);
        copying.pass(
            line,
            is_noted || (hop_by_hop(name) && !is_switch(name, switches)),
        );
    }
    marks.bounded()?;
    if marks.names_hops {
        // Rare: `Connection` may come after the fields that it names, so all
        // lines are copied once more.
        let hops = Hops::among(lines.iter().map(|line| (line.name, line.value)));
        copying = Copying::of(head);
        for line in lines {
            let name = line.name.as_bytes();
            let ends_here = hops.names(line.name) || hop_by_hop(name);
            copying.pass(
                line,
                is(name, b"Content-Length") || (ends_here && !is_switch(name, switches)),
            );
        }
    }
    let (mut fields, are_usual) = copying.end();
    // Lines that were copied unchanged end in CR LF; others are checked.
    if !are_usual && has_bare_line_feed(head) {
        return Err(BARE_LINE_FEED);
    }
    fields.length = marks.named_length();
    Ok((fields, marks))
}

/// Whether a field is the `Upgrade` of a response that has to have one.
fn is_switch(name: &[u8], switches: bool) -> bool {
    switches && name.eq_ignore_ascii_case(b"upgrade")
}

/// The error of a message with a line that ends in LF alone.
pub const BARE_LINE_FEED: &str = "a line does not end in CR LF";

fn has_bare_line_feed(head: &[u8]) -> bool {
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    // Without an early end, so that the compiler can process many bytes at
    // once.
    pairs.fold(head.first() == Some(&b'\n'), |any, (before, byte)| {
        any | ((*byte == b'\n') & (*before != b'\r'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 32768,
        headers: 100,
        keeps_underscores: false,
    };

    fn request(text: &str) -> Result<RequestHead, Error> {
        let mut buffer = BytesMut::from(text);
        let length = find_end(&buffer, 0).expect("a whole head");
        parse_request(&mut buffer, length, &LIMITS)
    }

    #[test]
    fn only_names_that_hold_an_underscore_are_dropped_wherever_others_stand() {
        let text = "GET /a_b HTTP/1.1\r\nHost: a_b\r\nCookie: _ga=1; x_y=2\r\nX_A: 1\r\nx-b: _\r\nx-c: 2\r\n_: 3\r\nx_: _\r\nx-d: 4\r\n\r\n";
        let mut buffer = BytesMut::from(text);
        let head = parse_request(&mut buffer, text.len(), &LIMITS).unwrap();
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "cookie", "x-b", "x-c", "x-d"]);
        assert_eq!((head.names.dropped, head.names.underscores), (3, false));
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
            let length = buffer.len();
            let parsed = parse_request(
                &mut buffer,
                length,
                &HeadLimits {
                    bytes: 1 << 20,
                    headers: allowed,
                    keeps_underscores: false,
                },
            );
            assert_eq!(
                parsed.is_ok_and(|head| head.headers.len() == lines),
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
        let head = request("GET /a/%2e%2E//b?x=%zz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(&head.target[..], b"/a/%2e%2E//b?x=%zz");
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
}

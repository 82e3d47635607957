//! Chunked bodies (RFC 9112, 7.1), strictly: lines end in CR LF, sizes have
//! hexadecimal digits only, and extensions and trailers are bounded. In
//! responses, blanks behind a size are tolerated, since some services pad it to
//! a fixed width.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;

use super::head::{Unended, find_end};

/// Longest line with a chunk's size and extensions, in bytes. Only attacks use
/// long ones.
const MOST_SIZE_LINE: usize = 256;
/// Most fields after the last chunk.
const MOST_TRAILERS: usize = 32;

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes.
    Data(Bytes),
    /// The trailers; the body is over.
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More bytes are needed.
    More,
}

/// Extracts a chunked body from a stream of bytes.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    most_trailer_bytes: usize,
    /// Blanks may follow a size.
    takes_padding: bool,
    /// Bytes in which the end of the trailers was already searched.
    seen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

impl ChunkDecoder {
    /// A decoder at the start of a request's body.
    pub fn of_request(most_trailer_bytes: usize) -> Self {
        Self {
            state: State::Size,
            most_trailer_bytes,
            takes_padding: false,
            seen: 0,
        }
    }

    /// A decoder at the start of a response's body.
    pub fn of_answer(most_trailer_bytes: usize) -> Self {
        Self {
            takes_padding: true,
            ..Self::of_request(most_trailer_bytes)
        }
    }

    /// True once the last chunk and its trailers have been taken.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Extracts the next piece from `buffer`.
    ///
    /// # Errors
    /// Says why the framing is malformed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match self.state {
                State::Size => match take_size(buffer, self.takes_padding)? {
                    None => return Ok(Piece::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(_) if buffer.is_empty() => return Ok(Piece::More),
                State::Data(left) => {
                    let take = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    let left = left - take as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Piece::Data(buffer.split_to(take).freeze()));
                }
                State::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        let _ = buffer.split_to(2);
                        self.state = State::Size;
                    }
                    Some(_) => return Err("a chunk is longer than its size"),
                    None if buffer.first().is_some_and(|byte| *byte != b'\r') => {
                        return Err("a chunk is longer than its size");
                    }
                    None => return Ok(Piece::More),
                },
                State::Trailers => return self.trailers(buffer),
                State::Done => return Ok(Piece::End),
            }
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        if buffer.starts_with(b"\r\n") {
            let _ = buffer.split_to(2);
            self.state = State::Done;
            return Ok(Piece::End);
        }
        // Trailers that come byte by byte are not searched again for each of
        // them.
        let (length, is_whole) = match find_end(buffer, self.seen) {
            Ok(end) => (end, true),
            Err(Unended::More(seen)) => {
                self.seen = seen;
                (buffer.len(), false)
            }
            Err(Unended::BareLineFeed) => return Err("a trailer does not end in CR LF"),
        };
        if length > self.most_trailer_bytes {
            return Err("its trailers are too long");
        }
        if !is_whole {
            return Ok(Piece::More);
        }
        // Removed only if they are sound: a body that was refused never ends.
        let trailers = read_trailers(&buffer[..length])?;
        let _ = buffer.split_to(length);
        self.state = State::Done;
        Ok(Piece::Trailers(trailers))
    }
}

/// Parses the size line: hexadecimal digits, perhaps extensions, CR LF. `None`
/// while it is not complete.
fn take_size(buffer: &mut BytesMut, takes_padding: bool) -> Result<Option<u64>, &'static str> {
    let window = buffer.get(..MOST_SIZE_LINE).unwrap_or(buffer);
    let Some(end) = memchr::memchr(b'\n', window) else {
        // A lone CR, or any other byte that cannot begin a size, is refused
        // without waiting for the end of the line.
        let digits = window
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let may_follow =
            |byte: &u8| matches!(byte, b';' | b'\r') || (takes_padding && is_blank(*byte));
        let odd = window.get(digits).is_some_and(|byte| !may_follow(byte)) || digits > 16;
        if odd || (digits == 0 && !window.is_empty()) || window.len() == MOST_SIZE_LINE {
            return Err("a chunk size cannot be read");
        }
        return Ok(None);
    };
    let line = window[..end]
        .strip_suffix(b"\r")
        .ok_or("a chunk size does not end in CR LF")?;
    let size = read_size(line, takes_padding)?;
    let _ = buffer.split_to(end + 1);
    Ok(Some(size))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn read_size(line: &[u8], takes_padding: bool) -> Result<u64, &'static str> {
    let digits = line
        .iter()
        .position(|byte| *byte == b';')
        .unwrap_or(line.len());
    let (mut size, extensions) = line.split_at(digits);
    while let [digits @ .., blank] = size
        && takes_padding
        && is_blank(*blank)
    {
        size = digits;
    }
    if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err("a chunk size cannot be read");
    }
    if extensions
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err("a chunk extension holds a control character");
    }
    let text = std::str::from_utf8(size).map_err(|_| "a chunk size cannot be read")?;
    u64::from_str_radix(text, 16).map_err(|_| "a chunk size cannot be read")
}

/// Lines that all end in CR LF.
fn read_trailers(block: &[u8]) -> Result<HeaderMap, &'static str> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let httparse::Status::Complete((_, lines)) =
        httparse::parse_headers(block, &mut lines).map_err(|_| "its trailers cannot be read")?
    else {
        return Err("its trailers cannot be read");
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| "its trailers cannot be read")?;
        let value =
            HeaderValue::from_bytes(line.value).map_err(|_| "its trailers cannot be read")?;
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

/// Fields that have a meaning only before the content (RFC 9110, 6.5.1), beside
/// hop-by-hop fields.
const NEVER_TRAILING: [HeaderName; 30] = [
    // Framing and routing.
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRAILER,
    // Authentication.
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
    // Controls and conditions of a request.
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    // Controls of a response.
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    // The format of the content.
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_DISPOSITION,
];

/// Whether a field may stand in trailers.
pub fn may_trail(name: &HeaderName) -> bool {
    !super::hop_by_hop(name.as_str().as_bytes()) && !NEVER_TRAILING.contains(name)
}

/// Writes the next frame of a body, or its end (`None`). Returns whether the
/// body is over. Without chunks (`is_chunked` is false) there is no place for
/// trailers, and they are left out.
pub fn write_frame(out: &mut Vec<u8>, frame: Option<Frame<Bytes>>, is_chunked: bool) -> bool {
    match (frame.map(Frame::into_data), is_chunked) {
        // An empty chunk would be the last one.
        (Some(Ok(data)), true) if data.is_empty() => {}
        (Some(Ok(data)), true) => write_chunk(out, &data),
        (Some(Ok(data)), false) => out.extend_from_slice(&data),
        (Some(Err(_)) | None, false) => return true,
        (Some(Err(frame)), true) => {
            write_last_chunk(out, frame.trailers_ref());
            return true;
        }
        (None, true) => {
            write_last_chunk(out, None);
            return true;
        }
    }
    false
}

fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    write_chunk_head(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn write_chunk_head(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut left = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name) {
            super::write_field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

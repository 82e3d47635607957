//! Bodies that are read: the bytes behind a head become pieces of a body, until
//! the framing says that the body is over.
//!
//! [`Decoder`] owns no bytes and does no I/O. Its caller appends what the
//! socket has to a buffer and takes pieces out of it; the pieces share the
//! buffer's memory. Bytes behind the end of the body stay in the buffer, where
//! the next head begins.
//!
//! # Strictness
//!
//! Chunks are read as RFC 9112 (7.1) writes them and not as many
//! implementations tolerate them: every line ends in CR LF, a size consists of
//! 1 to 15 hexadecimal digits, and neither a sign nor `0x` nor a blank may
//! stand with it. In responses alone, blanks behind a size are tolerated, since
//! some services pad it to a fixed width.
//!
//! Extensions of chunks are read over (RFC 9112, 7.1.1). Trailers are bounded
//! in bytes by the caller and to 32 fields, and those with a meaning before the
//! content only are dropped (RFC 9110, 6.5.1): see [`may_trail`].

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    chunked::may_trail,
    framing::{Length, Unended, find_end},
    lines::{BeforeColon, HeadLines, NextLine},
};

/// Longest line with a chunk's size and extensions, in bytes. Only attacks use
/// long ones.
const MOST_SIZE_LINE: usize = 256;

/// Most fields after the last chunk.
const MOST_TRAILERS: usize = 32;

/// A piece of a body, or the reason for which there is none.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the content, at least one.
    Data(Bytes),
    /// The trailers that may pass, perhaps none; the body is over.
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More bytes have to be appended to the buffer first.
    More,
}

/// Extracts a body from a stream of bytes.
///
/// # Examples
/// ```
/// use bytes::BytesMut;
/// use tidegate::http1::{Decoder, Length, Piece};
///
/// let mut decoder = Decoder::of_request(Length::Chunked, 1024);
/// let mut input = BytesMut::from("5\r\nhello\r\n0\r\n\r\nGET /");
/// assert!(matches!(decoder.next(&mut input), Ok(Piece::Data(data)) if data == "hello"));
/// assert!(matches!(decoder.next(&mut input), Ok(Piece::End)));
/// assert!(decoder.is_done());
/// assert_eq!(input, "GET /");
/// ```
#[derive(Debug)]
pub enum Decoder {
    /// A body of which this many bytes are still to come.
    Exact(u64),
    /// A body in chunks.
    Chunked(ChunkDecoder),
    /// A body that lasts until the connection ends.
    UntilClose,
}

impl Decoder {
    /// A decoder of a request's body of this length. Longer trailers than
    /// `most_trailer_bytes` are an error.
    pub fn of_request(length: Length, most_trailer_bytes: usize) -> Self {
        Self::new(length, ChunkDecoder::of_request(most_trailer_bytes))
    }

    /// A decoder of a response's body of this length, which tolerates padded
    /// sizes of chunks. Longer trailers than `most_trailer_bytes` are an error.
    pub fn of_response(length: Length, most_trailer_bytes: usize) -> Self {
        Self::new(length, ChunkDecoder::of_response(most_trailer_bytes))
    }

    fn new(length: Length, chunks: ChunkDecoder) -> Self {
        match length {
            Length::Empty => Decoder::Exact(0),
            Length::Exact(length) => Decoder::Exact(length),
            Length::Chunked => Decoder::Chunked(chunks),
            Length::UntilClose => Decoder::UntilClose,
        }
    }

    /// Whether the end of the body has been taken. Never true for a body that
    /// lasts until the connection ends.
    pub fn is_done(&self) -> bool {
        match self {
            Decoder::Exact(left) => *left == 0,
            Decoder::Chunked(chunks) => chunks.is_done(),
            Decoder::UntilClose => false,
        }
    }

    /// Takes the next piece out of `buffer`.
    ///
    /// # Errors
    /// Says why the body's framing is malformed. Nothing behind such bytes can
    /// be read: the connection has to be closed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        match self {
            Decoder::Exact(0) => Ok(Piece::End),
            Decoder::Chunked(chunks) => chunks.next(buffer),
            _ if buffer.is_empty() => Ok(Piece::More),
            Decoder::Exact(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                *left -= take as u64;
                Ok(Piece::Data(buffer.split_to(take).freeze()))
            }
            Decoder::UntilClose => Ok(Piece::Data(buffer.split().freeze())),
        }
    }

    /// Whether the body is complete if the connection ends here.
    pub fn may_end_here(&self) -> bool {
        matches!(self, Decoder::UntilClose) || self.is_done()
    }
}

/// Extracts a chunked body from a stream of bytes.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: ChunkState,
    /// Longest trailers, in bytes with their line ends.
    most_trailer_bytes: usize,
    /// Blanks may follow a size.
    takes_padding: bool,
    /// Bytes in which the end of the trailers was already searched.
    seen: usize,
}

/// The part of a chunked body that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// The line with a chunk's size.
    Size,
    /// This many bytes of a chunk, at least one.
    Data(u64),
    /// The CR LF behind a chunk.
    DataEnd,
    /// The trailers, or the empty line if there are none.
    Trailers,
    /// Nothing: the body is over.
    Done,
}

impl ChunkDecoder {
    /// A decoder at the start of a request's body.
    pub fn of_request(most_trailer_bytes: usize) -> Self {
        Self {
            state: ChunkState::Size,
            most_trailer_bytes,
            takes_padding: false,
            seen: 0,
        }
    }

    /// A decoder at the start of a response's body.
    pub fn of_response(most_trailer_bytes: usize) -> Self {
        Self {
            takes_padding: true,
            ..Self::of_request(most_trailer_bytes)
        }
    }

    /// True once the last chunk and its trailers have been taken.
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Extracts the next piece from `buffer`.
    ///
    /// # Errors
    /// Says why the framing is malformed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match self.state {
                ChunkState::Size => match take_size(buffer, self.takes_padding)? {
                    None => return Ok(Piece::More),
                    Some(0) => self.state = ChunkState::Trailers,
                    Some(size) => self.state = ChunkState::Data(size),
                },
                ChunkState::Data(_) if buffer.is_empty() => return Ok(Piece::More),
                ChunkState::Data(left) => {
                    let take = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    let left = left - take as u64;
                    self.state = if left == 0 {
                        ChunkState::DataEnd
                    } else {
                        ChunkState::Data(left)
                    };
                    return Ok(Piece::Data(buffer.split_to(take).freeze()));
                }
                ChunkState::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        let _ = buffer.split_to(2);
                        self.state = ChunkState::Size;
                    }
                    Some(_) => return Err("a chunk is longer than its size"),
                    None if buffer.first().is_some_and(|byte| *byte != b'\r') => {
                        return Err("a chunk is longer than its size");
                    }
                    None => return Ok(Piece::More),
                },
                ChunkState::Trailers => return self.trailers(buffer),
                ChunkState::Done => return Ok(Piece::End),
            }
        }
    }

    /// Takes the trailers with the empty line behind them.
    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        if buffer.starts_with(b"\r\n") {
            let _ = buffer.split_to(2);
            self.state = ChunkState::Done;
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
        self.state = ChunkState::Done;
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

/// The size in a line without its CR LF.
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

/// Parses `block`, lines that all end in CR LF, and drops fields that may not
/// trail.
fn read_trailers(block: &[u8]) -> Result<HeaderMap, &'static str> {
    const UNREADABLE: &str = "its trailers cannot be read";
    let mut trailers = HeaderMap::new();
    let (mut lines, mut count) = (HeadLines::of(block, 0, BeforeColon::Nothing), 0);
    loop {
        let line = match lines.next() {
            Ok(NextLine::Line(line)) if count < MOST_TRAILERS => {
                count += 1;
                line
            }
            Ok(NextLine::End) => break,
            _ => return Err(UNREADABLE),
        };
        let name = HeaderName::from_bytes(line.name);
        let value = HeaderValue::from_bytes(line.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(UNREADABLE);
        };
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

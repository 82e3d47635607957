//! Framing: where a body ends is decided from the head, strictly (RFC 9112, 6.3),
//! and enforced while the bytes pass.

use bytes::BytesMut;
use http::{Method, StatusCode, Version};

use super::{
    chunked::{ChunkDecoder, Piece},
    encode::options,
};
use crate::error::Error;

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// No body.
    Empty,
    /// This many bytes, at least one.
    Exact(u64),
    /// In chunks.
    Chunked,
    /// All bytes up to the end of the connection (responses only).
    UntilClose,
}

/// Most members of all `Connection` fields of a message, empty ones included.
/// One or two are usual.
const MOST_OPTIONS: usize = 32;

/// The statements of a head about the message itself, collected while its lines
/// are read.
#[derive(Debug, Default)]
pub(super) struct Marks {
    lengths: usize,
    /// The last length that was named; the inner `None` is a value that is no
    /// length.
    length: Option<Option<u64>>,
    codings: usize,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    options: usize,
    pub(super) names_hops: bool,
    pub(super) expects_continue: bool,
}

impl Marks {
    /// Notes a line. Returns whether it frames the message or concerns its
    /// connection.
    #[inline]
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> bool {
        // The length of a name distinguishes these four from nearly all others.
        match name.len() {
            14 if is(name, b"Content-Length") => {
                self.lengths += 1;
                self.length = Some(content_length(value));
            }
            17 if is(name, b"Transfer-Encoding") => {
                self.codings += 1;
                self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            6 if is(name, b"Expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                return false;
            }
            10 if is(name, b"Connection") => self.note_connection(value),
            _ => return false,
        }
        true
    }

    /// The length that the head names, if it is one.
    pub(super) fn named_length(&self) -> Option<u64> {
        self.length.flatten()
    }

    fn note_connection(&mut self, value: &[u8]) {
        // The usual value, if there is any.
        if is(value, b"keep-alive") {
            self.says_keep_alive = true;
            return;
        }
        for token in options(value) {
            self.options += 1;
            if token.eq_ignore_ascii_case(b"close") {
                self.says_close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.says_keep_alive = true;
            } else {
                self.names_hops |= !token.is_empty();
            }
        }
    }

    /// Every field of a message is compared with each option that `Connection`
    /// names.
    pub(super) fn bounded(&self) -> Result<(), &'static str> {
        if self.options > MOST_OPTIONS {
            Err("its Connection fields name more than 32 options")
        } else {
            Ok(())
        }
    }

    /// Whether the connection outlives this message (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.says_close && (version == Version::HTTP_11 || self.says_keep_alive)
    }
}

/// Whether a text is `usual` in any letter case. Most senders write exactly
/// that, which is compared faster.
#[inline]
pub(super) fn is(text: &[u8], usual: &[u8]) -> bool {
    text == usual || text.eq_ignore_ascii_case(usual)
}

/// Decides how a request's body is delimited.
pub(super) fn of_request(version: Version, marks: &Marks) -> Result<Length, Error> {
    match sound(version, marks).map_err(Error::Malformed)? {
        (true, _) => Ok(Length::Chunked),
        (false, None | Some(0)) => Ok(Length::Empty),
        (false, Some(length)) => Ok(Length::Exact(length)),
    }
}

/// Decides how a response's body is delimited.
pub(super) fn of_response(
    version: Version,
    status: StatusCode,
    marks: &Marks,
    method: &Method,
) -> Result<Length, &'static str> {
    let (chunked, length) = sound(version, marks)?;
    if status.is_informational() && chunked {
        return Err("an interim answer announces chunks");
    }
    let bodiless = has_no_body(status) || *method == Method::HEAD;
    Ok(match length {
        _ if bodiless => Length::Empty,
        _ if chunked => Length::Chunked,
        Some(0) => Length::Empty,
        Some(length) => Length::Exact(length),
        None => Length::UntilClose,
    })
}

/// Whether no response of this status has a body (RFC 9110, 6.4.1).
pub fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 204 | 304)
}

/// Whether the body is chunked, and its length. A head may state one of them at
/// most, once and clearly.
fn sound(version: Version, marks: &Marks) -> Result<(bool, Option<u64>), &'static str> {
    if marks.codings == 0 {
        return Ok((false, only_length(marks)?));
    }
    if version != Version::HTTP_11 {
        return Err("HTTP/1.0 has no Transfer-Encoding");
    }
    if marks.lengths > 0 {
        return Err("it has both Content-Length and Transfer-Encoding");
    }
    if marks.codings > 1 || !marks.is_chunked {
        return Err("its Transfer-Encoding is not chunked");
    }
    Ok((true, None))
}

fn only_length(marks: &Marks) -> Result<Option<u64>, &'static str> {
    let Some(length) = marks.length else {
        return Ok(None);
    };
    if marks.lengths > 1 {
        return Err("it has two lengths");
    }
    length.ok_or("its Content-Length is not a length").map(Some)
}

fn content_length(digits: &[u8]) -> Option<u64> {
    // 18 digits stay below 2^63, so that sums of lengths cannot overflow.
    let is_length = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_length.then(|| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Extracts a body from a stream of bytes.
#[derive(Debug)]
pub enum Decoder {
    /// A body of which this many bytes are still to come.
    Exact(u64),
    /// A body in chunks.
    Chunked(ChunkDecoder),
    /// Up to the end of the connection.
    UntilClose,
}

impl Decoder {
    /// A decoder of a request's body of this length, with trailers of at most
    /// `most_trailer_bytes`.
    pub fn of_request(length: Length, most_trailer_bytes: usize) -> Self {
        Self::new(length, ChunkDecoder::of_request(most_trailer_bytes))
    }

    /// A decoder of a response's body of this length.
    pub fn of_answer(length: Length, most_trailer_bytes: usize) -> Self {
        Self::new(length, ChunkDecoder::of_answer(most_trailer_bytes))
    }

    fn new(length: Length, chunks: ChunkDecoder) -> Self {
        match length {
            Length::Empty => Decoder::Exact(0),
            Length::Exact(length) => Decoder::Exact(length),
            Length::Chunked => Decoder::Chunked(chunks),
            Length::UntilClose => Decoder::UntilClose,
        }
    }

    /// True once everything has been taken.
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
    /// Says what is wrong with the body's framing.
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

    /// Whether the body may end with the connection here.
    pub fn may_end_here(&self) -> bool {
        matches!(self, Decoder::UntilClose) || self.is_done()
    }
}

//! The wait for the head of an HTTP/1 request: how much of it has come, what it
//! is, and when the wait ends.
//!
//! A connection begins with a request, with the preface of HTTP/2 (RFC 9113,
//! 3.4), or with bytes that are neither, such as a TLS handshake on a plain
//! port; those get a 400 that says so. Before each later request, empty lines
//! are skipped (RFC 9112, 2.2).
//!
//! # Bounds
//!
//! A head may have `max_header_bytes`. A longer one is refused with 414 if not
//! even its first line has ended by then, and with 431 otherwise. It has to be
//! complete within `timeouts.headers` of its first byte, or of the accept for
//! the first one. Between requests a connection may be idle for `keep_alive`.

use std::time::Duration;

use bytes::Buf;
use tokio::time::Instant;

use super::wire::Wire;
use crate::{
    error::Error,
    http1::{self, ParsedRequest, Unended},
    policy::{ConnectionLimits, HeadLimits},
    server::http2::PREFACE,
};

/// The first byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The end of a wait for a head.
#[derive(Debug)]
pub(super) enum HeadRead {
    /// A request, and when its head came.
    Request(ParsedRequest, HeadTimes),
    /// Bytes that are not a request's head, and when the first of them was
    /// seen.
    Refused(Error, Instant),
    /// The client ended the connection, or was silent for too long.
    Close,
    /// The client began with the preface of HTTP/2.
    Http2,
}

/// When a head came.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadTimes {
    /// When its first byte was seen.
    pub(super) started: Instant,
    /// When all of it had come. The same reading of the clock for a head in one
    /// piece, as nearly all are.
    pub(super) arrived: Instant,
}

/// How much of a head has come.
#[derive(Debug, Default)]
pub(super) struct HeadProgress {
    /// When the connection was accepted; only for its first head.
    pub(super) accepted: Option<Instant>,
    /// When the head's first byte was seen.
    pub(super) started: Option<Instant>,
    /// Bytes in which the end of the head was already looked for.
    seen: usize,
    /// Since when the connection has been idle.
    idle_since: Option<Instant>,
    /// How long a request is waited for while the listener drains.
    last: Option<Instant>,
}

impl HeadProgress {
    /// No byte has come yet. `accepted` is when the connection was accepted,
    /// for its first head.
    pub(super) fn new(accepted: Option<Instant>) -> Self {
        Self {
            accepted,
            ..Self::default()
        }
    }

    /// Whether a request was answered, no other has begun, and the connection
    /// is not idle yet.
    pub(super) fn has_just_responded(&self) -> bool {
        self.accepted.is_none() && self.started.is_none() && self.idle_since.is_none()
    }

    /// The moment at which the connection becomes idle: a request was answered
    /// and no other has begun. Returned once.
    pub(super) fn starts_idling(&mut self) -> Option<Instant> {
        if !self.has_just_responded() {
            return None;
        }
        self.idle_since = Some(Instant::now());
        self.idle_since
    }

    /// Whether an idle connection has begun a request. True once.
    pub(super) fn stops_idling(&mut self) -> bool {
        self.started.is_some() && self.idle_since.take().is_some()
    }

    /// How long another request is waited for although the listener drains: for
    /// `grace` after the first call, or after the accept. A client that did not
    /// know of the drain may already have sent it.
    pub(super) fn last_wait(&mut self, grace: Duration) -> Instant {
        *self
            .last
            .get_or_insert_with(|| self.accepted.unwrap_or_else(Instant::now) + grace)
    }
}

/// Takes a whole head out of the bytes that were read; `None` while more of it
/// has to come.
pub(super) fn read<IO>(
    wire: &mut Wire<IO>,
    limits: &ConnectionLimits,
    progress: &mut HeadProgress,
) -> Option<HeadRead> {
    let input = &mut wire.input;
    // An empty line before a request is ignored (RFC 9112, 2.2).
    while progress.started.is_none() && input.starts_with(b"\r\n") {
        input.advance(2);
    }
    let first = *input.first()?;
    if !first.is_ascii_graphic() {
        return refuse_first(first, input, progress);
    }
    let is_first_look = progress.started.is_none();
    let started = *progress.started.get_or_insert_with(Instant::now);
    // No method of HTTP/1 begins as the preface of HTTP/2 does.
    if first == b'P' && limits.http2 && progress.accepted.is_some() {
        match input.get(..PREFACE.len()) {
            Some(begin) if begin == PREFACE => return Some(HeadRead::Http2),
            None if PREFACE.starts_with(input) => return None,
            _ => {}
        }
    }
    // Nearly all heads come in one piece, and are parsed without a search for
    // their end.
    if progress.seen > 0 || input.len() > limits.head.bytes {
        match http1::find_end(input, progress.seen) {
            Ok(length) if length <= limits.head.bytes => {}
            other => return unended(other, input, &limits.head, progress),
        }
    }
    match http1::parse_request(input, &limits.head) {
        Ok(Some(request)) => {
            let arrived = if is_first_look {
                started
            } else {
                Instant::now()
            };
            Some(HeadRead::Request(request, HeadTimes { started, arrived }))
        }
        Ok(None) => unended(http1::find_end(input, 0), input, &limits.head, progress),
        Err(error) => Some(HeadRead::Refused(error, started)),
    }
}

/// Refuses bytes that begin with something else than a method; `None` if they
/// are half of an empty line.
fn refuse_first(first: u8, input: &[u8], progress: &mut HeadProgress) -> Option<HeadRead> {
    if progress.started.is_none() && input == b"\r" {
        return None;
    }
    let started = *progress.started.get_or_insert_with(Instant::now);
    let why = if first == TLS_HANDSHAKE {
        "this is a TLS handshake, and the listener speaks plain HTTP"
    } else {
        "the method is not a token"
    };
    Some(HeadRead::Refused(Error::Malformed(why), started))
}

/// Refuses a head that has no end, or one too far away; `None` while more of it
/// may come.
fn unended(
    found: Result<usize, Unended>,
    input: &[u8],
    limits: &HeadLimits,
    progress: &mut HeadProgress,
) -> Option<HeadRead> {
    let error = match found {
        Err(Unended::More(seen)) if input.len() <= limits.bytes => {
            progress.seen = seen;
            return None;
        }
        Err(Unended::BareLineFeed) => Error::Malformed(http1::BARE_LINE_FEED),
        _ if memchr::memchr(b'\n', &input[..limits.bytes]).is_none() => Error::TargetTooLong {
            limit: limits.bytes,
        },
        _ => Error::HeadTooLarge {
            limit: limits.bytes,
        },
    };
    let started = progress.started.unwrap_or_else(Instant::now);
    Some(HeadRead::Refused(error, started))
}

/// When the wait for a head ends.
pub(super) fn due(progress: &mut HeadProgress, limits: &ConnectionLimits) -> Instant {
    match (progress.accepted, progress.started) {
        (Some(since), _) | (None, Some(since)) => since + limits.headers_timeout,
        (None, None) => *progress.idle_since.get_or_insert_with(Instant::now) + limits.keep_alive,
    }
}

//! The wait for the head of an HTTP/1 request: how far it has come, what it turned out to be, and when the wait ends.

use std::time::Duration;

use bytes::Buf;
use tokio::time::Instant;

use super::{ConnectionLimits, http2::PREFACE, wire::Wire};
use crate::{
    error::Error,
    http1::{self, RequestHead, Unended},
};

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the wait for a head ended in.
pub(super) enum Next {
    Head(RequestHead, Instant),
    Refused(Error, Instant),
    Close,
    Http2,
}

/// How far a head has come.
#[derive(Default)]
pub(super) struct Progress {
    /// When the connection was accepted, for its first head.
    pub(super) accepted: Option<Instant>,
    /// When its first byte was seen.
    pub(super) started: Option<Instant>,
    /// How far its end was looked for.
    seen: usize,
    /// Since when the connection idles.
    idle_since: Option<Instant>,
    /// Until when it is waited for while its door drains.
    last: Option<Instant>,
}

impl Progress {
    /// Nothing of it is there yet.
    pub(super) fn new(accepted: Option<Instant>) -> Self {
        Self {
            accepted,
            ..Self::default()
        }
    }

    /// The moment from which the connection idles, told once: when it has answered a request and no other has begun.
    pub(super) fn begins_to_idle(&mut self) -> Option<Instant> {
        if self.accepted.is_some() || self.started.is_some() || self.idle_since.is_some() {
            return None;
        }
        self.idle_since = Some(Instant::now());
        self.idle_since
    }

    /// Until when another request is waited for though the door drains: for `grace` from the first call on, or from the
    /// accept. A client that did not know of the drain may have sent it already.
    pub(super) fn last_wait(&mut self, grace: Duration) -> Instant {
        *self
            .last
            .get_or_insert_with(|| self.accepted.unwrap_or_else(Instant::now) + grace)
    }

    /// Whether it idled and a request has begun, told once.
    pub(super) fn goes_on(&mut self) -> bool {
        self.started.is_some() && self.idle_since.take().is_some()
    }
}

/// Looks for a whole head in what was read.
pub(super) fn read<IO>(
    wire: &mut Wire<IO>,
    limits: &ConnectionLimits,
    progress: &mut Progress,
) -> Option<Next> {
    let (limits, http2) = (&limits.head, limits.http2);
    if progress.started.is_none() {
        // An empty line before a request is forgiven (RFC 9112, 2.2).
        while wire.input.starts_with(b"\r\n") {
            wire.input.advance(2);
        }
        if wire.input[..] == b"\r"[..] {
            return None;
        }
    }
    let first = *wire.input.first()?;
    let started = *progress.started.get_or_insert_with(Instant::now);
    let refuse = |error| Some(Next::Refused(error, started));
    if first == TLS_HANDSHAKE {
        return refuse(Error::Malformed(
            "this is a TLS handshake, and the listener speaks plain HTTP",
        ));
    }
    if !first.is_ascii_graphic() {
        return refuse(Error::Malformed("the method is not a token"));
    }
    // No method of HTTP/1 begins as the preface of HTTP/2 does.
    if http2 && first == b'P' && progress.accepted.is_some() {
        match wire.input.get(..PREFACE.len()) {
            Some(begin) if begin == PREFACE => return Some(Next::Http2),
            None if PREFACE.starts_with(&wire.input) => return None,
            _ => {}
        }
    }
    match http1::find_end(&wire.input, progress.seen) {
        Ok(length) if length <= limits.bytes => Some(
            match http1::parse_request(&mut wire.input, length, limits) {
                Ok(head) => Next::Head(head, started),
                Err(error) => Next::Refused(error, started),
            },
        ),
        Err(Unended::BareLineFeed) => refuse(Error::Malformed(http1::BARE_LINE_FEED)),
        Err(Unended::More(seen)) if wire.input.len() <= limits.bytes => {
            progress.seen = seen;
            None
        }
        _ if memchr::memchr(b'\n', &wire.input[..limits.bytes]).is_none() => {
            refuse(Error::TargetTooLong {
                limit: limits.bytes,
            })
        }
        _ => refuse(Error::HeadTooLarge {
            limit: limits.bytes,
        }),
    }
}

/// When the wait for a head ends.
pub(super) fn due(progress: &mut Progress, limits: &ConnectionLimits) -> Instant {
    match (progress.accepted, progress.started) {
        (Some(since), _) | (None, Some(since)) => since + limits.headers_timeout,
        (None, None) => *progress.idle_since.get_or_insert_with(Instant::now) + limits.keep_alive,
    }
}

//! Frames as they pass: a client that sends many which ask for work and bring
//! none is told to calm down.
//!
//! h2 bounds what a connection holds in memory. It does not bound work: a
//! client may go on for ever with pings, settings, priorities, windows of one
//! byte (RFC 9113, 10.5), or requests that it cancels at once (CVE-2023-44487).
//! The meter looks at the nine bytes before each frame and keeps two token
//! buckets: one for resets, one for all other frames that carry no message.
//! Legitimate traffic fills them: requests, and acknowledgements of frames that
//! the client was sent (as in Envoy, which permits ten WINDOW_UPDATEs for each
//! DATA frame).
//!
//! A connection that empties a bucket ends with ENHANCE_YOUR_CALM and is
//! counted in `tidegate_http2_floods_total` by the kind of frame. Floods that
//! h2 detects by itself are counted there, too: its GOAWAY says so.
//!
//! The meter also keeps the times at which a head began and at which the socket
//! stopped taking bytes, which h2 does not bound either.
//!
//! # Callers
//!
//! The socket shows it every byte, before h2 reads it and after the client's
//! socket took it. The connection's task asks it after each round for floods,
//! malformed requests and deadlines. The meter itself never waits and ends
//! nothing.
//!
//! # Cost
//!
//! Frames are found by their lengths, so that payload is skipped over without a
//! look at it. A frame costs an addition or a subtraction. The clock is read
//! only if a bucket is empty, when a head begins, or when a write is not taken.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use super::blocks::Blocks;
use crate::http2::frames::{
    FrameHead, FramePiece, Frames,
    kind::{CONTINUATION, DATA, GOAWAY, HEADERS, RST_STREAM},
};

/// The rate of resets: nghttp2's default
/// (`nghttp2_option_set_stream_reset_rate_limit`).
///
/// Requests add to it, by a fraction of a reset each.
const RESETS: FrameRate = FrameRate {
    burst: 1000,
    per_second: 33,
};
/// The rate of frames that carry no message.
///
/// Pings, settings, priorities, WINDOW_UPDATEs and all frames of other types
/// share it.
const CONTROLS: FrameRate = FrameRate {
    burst: 2000,
    per_second: 100,
};
/// Requests for which one more may be cancelled without end: a proxy in front
/// gathers the impatient clients of many.
const REQUESTS_PER_RESET: u32 = 4;
/// Control frames for each frame of a message, sent or received.
const CONTROLS_PER_FRAME: u32 = 10;
/// Frames that a client can save up at most.
///
/// A client that behaves well for long cannot save up more than this for an
/// attack.
const MOST_SAVED: u32 = 100_000;

/// Bytes of the client's preface, which are no frame.
const PREFACE_LENGTH: usize = 24;
/// Bytes of a GOAWAY that are looked at: last stream, code, and the text behind
/// them (RFC 9113, 6.8).
const GOAWAY_KEPT: usize = 64;

/// The flag of SETTINGS and PING that only acknowledge (RFC 9113, 6.5).
const ACK: u8 = 1;
/// The flag of the last frame of a head (RFC 9113, 6.2).
const END_HEADERS: u8 = 4;

/// How many frames of a kind a client may send.
#[derive(Debug, Clone, Copy)]
struct FrameRate {
    /// Frames at once.
    burst: u32,
    /// Frames a second after that.
    per_second: u32,
}

/// A token bucket. The clock is only read when it is empty.
///
/// Tokens are whole numbers, of which a frame costs `price`. So a request can
/// pay for a fraction of a reset.
#[derive(Debug)]
struct FrameBucket {
    /// Time adds its burst at most in one go; refills by traffic go beyond it.
    rate: FrameRate,
    /// Tokens for one frame.
    price: u32,
    /// Tokens that are left.
    left: u32,
    /// When it was last filled by time.
    ///
    /// Time before it is spent. It moves on only when the bucket was found
    /// empty.
    filled: Instant,
}

impl FrameBucket {
    /// A full bucket.
    fn new(rate: FrameRate, price: u32) -> Self {
        Self {
            rate,
            price,
            left: rate.burst * price,
            filled: Instant::now(),
        }
    }

    /// Adds tokens, up to those for [`MOST_SAVED`] frames.
    ///
    /// Reads no clock.
    fn refill(&mut self, tokens: u32) {
        self.left = (self.left + tokens).min(MOST_SAVED * self.price);
    }

    /// Pays for a frame. False if there are too few tokens.
    ///
    /// A bucket that is too empty is first filled for the time since the last
    /// such moment, by its burst at most. The rest of the tokens is lost with a
    /// frame that cannot be paid, which ends the connection anyway.
    fn pay(&mut self) -> bool {
        if self.left < self.price {
            let FrameRate { burst, per_second } = self.rate;
            let passed = self.filled.elapsed().as_secs_f64() * f64::from(per_second);
            self.left += (passed.min(f64::from(burst)) * f64::from(self.price)) as u32;
            self.filled = Instant::now();
        }
        let is_paid = self.left >= self.price;
        self.left = self.left.saturating_sub(self.price);
        is_paid
    }
}

/// The frames of one connection, in both directions.
#[derive(Debug)]
pub(super) struct Meter {
    /// Frames from the client.
    received: Frames,
    /// Frames to the client, of which those that tell of a flood are kept.
    sent: Frames,
    /// Pays for RST_STREAM frames; requests refill it.
    resets: FrameBucket,
    /// Pays for all other frames without a message; frames with one refill it.
    controls: FrameBucket,
    /// The blocks of fields among the frames.
    pub(super) blocks: Blocks,
    /// When the head began that has not ended; `None` between heads.
    head_since: Option<Instant>,
    /// Whether it ends with the current frame.
    ends_head: bool,
    /// Since when the socket takes no bytes; `None` if it took the last ones.
    blocked_since: Option<Instant>,
    /// The kind of frame of which there were too many.
    pub(super) flood: Option<&'static str>,
    /// Whether the connection closes without waiting for the client's end.
    pub(super) is_hurried: bool,
}

impl Meter {
    /// The meter of a new connection.
    pub(super) fn new() -> Self {
        Self {
            received: Frames::new(PREFACE_LENGTH, GOAWAY, 0),
            sent: Frames::new(0, GOAWAY, GOAWAY_KEPT),
            resets: FrameBucket::new(RESETS, REQUESTS_PER_RESET),
            controls: FrameBucket::new(CONTROLS, 1),
            blocks: Blocks::default(),
            head_since: None,
            ends_head: false,
            blocked_since: None,
            flood: None,
            is_hurried: false,
        }
    }

    /// Looks at bytes that h2 is about to read, of which those behind the first
    /// `seen` are new, and repairs fields that would end the connection for the
    /// fault of one stream. Returns how many bytes h2 may read: the caller puts
    /// the others before those of the next call.
    pub(super) fn received(&mut self, bytes: &mut [u8], seen: usize) -> usize {
        let mut received = std::mem::take(&mut self.received);
        received.pass(bytes.get(seen..).unwrap_or_default(), |found| match found {
            FramePiece::Head(head) => {
                self.blocks.frame(head);
                self.received_frame(head);
            }
            FramePiece::Payload(at) => self.blocks.payload(at.start + seen..at.end + seen),
        });
        if received.is_between() {
            self.end_head();
        }
        self.received = received;
        self.blocks.look(bytes)
    }

    /// Charges a frame that was received to its bucket.
    ///
    /// A frame that its bucket cannot pay sets `flood`. A later one replaces
    /// the kind until the connection's task has taken it.
    fn received_frame(
        &mut self,
        FrameHead {
            length,
            kind,
            flags,
            ..
        }: FrameHead,
    ) {
        self.end_head();
        match kind {
            DATA if length > 0 => self.controls.refill(CONTROLS_PER_FRAME),
            // h2 bounds empty frames of data, and continuations.
            DATA => {}
            HEADERS | CONTINUATION => {
                if kind == HEADERS {
                    self.resets.refill(1);
                    self.controls.refill(CONTROLS_PER_FRAME);
                }
                self.head_since.get_or_insert_with(Instant::now);
                self.ends_head = flags & END_HEADERS != 0;
            }
            RST_STREAM if !self.resets.pay() => self.flood = Some("rst_stream"),
            RST_STREAM => {}
            _ if !self.controls.pay() => self.flood = Some(name(kind, flags)),
            _ => {}
        }
    }

    /// The kind of flood for which h2 has sent a GOAWAY since the last call;
    /// `None` if it has not.
    ///
    /// The text of a GOAWAY that h2 sends for its own bounds names the bound
    /// (RFC 9113, 6.8). The code comes behind the last stream, which has four
    /// bytes. The connection's task calls this after each poll of h2.
    pub(super) fn take_announced_flood(&mut self) -> Option<&'static str> {
        let goaway = self.sent.take_kept();
        let (code, words) = goaway.get(4..)?.split_first_chunk()?;
        if u32::from_be_bytes(*code) != u32::from(h2::Reason::ENHANCE_YOUR_CALM) {
            return None;
        }
        let known = KINDS.iter().find(|(word, _)| words == word.as_bytes());
        Some(known.map_or("other_frames", |(_, kind)| kind))
    }

    /// Notes that all of the last frame is here: if it was to end a head, the
    /// head has ended.
    fn end_head(&mut self) {
        if std::mem::take(&mut self.ends_head) {
            self.head_since = None;
        }
    }

    /// Notes that the socket takes no bytes now.
    ///
    /// Further calls keep the first time, until bytes are taken again.
    pub(super) fn write_blocked(&mut self) {
        self.blocked_since.get_or_insert_with(Instant::now);
    }

    /// Looks at bytes that the socket took, at least one.
    ///
    /// A frame with a message refills the bucket of control frames: the client
    /// may acknowledge it.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.blocked_since = None;
        let Self { sent, controls, .. } = self;
        sent.pass(bytes, |found| {
            if let FramePiece::Head(FrameHead {
                kind: DATA | HEADERS,
                ..
            }) = found
            {
                controls.refill(CONTROLS_PER_FRAME);
            }
        });
    }

    /// The deadline of a head that has not ended (`head` after it began) or of
    /// a socket that takes no bytes (`write` after the last one), whichever is
    /// first.
    ///
    /// `None` if neither is under way. The caller sets one timer for the result
    /// and asks again when it fires.
    pub(super) fn due(&self, head: Duration, write: Duration) -> Option<(Instant, Overdue)> {
        let head = self.head_since.map(|since| (since + head, Overdue::Head));
        let write = self
            .blocked_since
            .map(|since| (since + write, Overdue::Write));
        head.into_iter().chain(write).min_by_key(|(at, _)| *at)
    }
}

/// The reason for which a connection is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A head has not ended.
    Head,
    /// The client reads nothing.
    Write,
}

/// The words for a flood in h2's GOAWAY, which is all that it tells about it,
/// each with its `kind` in `tidegate_http2_floods_total`.
const KINDS: [(&str, &str); 5] = [
    ("too_many_resets", "rst_stream"),
    ("too_many_internal_resets", "broken_streams"),
    ("too_many_data_frames", "small_data"),
    ("too_many_continuations", "continuation"),
    ("header_list_way_too_large", "header_list"),
];

/// The `kind` of a frame in `tidegate_http2_floods_total`.
fn name(kind: u8, flags: u8) -> &'static str {
    match kind {
        2 => "priority",
        4 => "settings",
        6 if flags & ACK == 0 => "ping",
        8 => "window_update",
        _ => "other_frames",
    }
}

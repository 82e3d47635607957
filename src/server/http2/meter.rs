//! Counts frames that cause work and bring none, and ends connections that send
//! too many.
//!
//! h2 bounds the memory that a connection holds, and not its work: a client may
//! send without end pings, settings, priorities, windows of one byte, or
//! requests that it resets at once (CVE-2023-44487, "Rapid Reset"). The meter
//! looks at the nine bytes before each frame and keeps two accounts, each a
//! token bucket: one for resets, and one for all other frames that carry no
//! message. Frames that a client has reason to send fill them: requests, and
//! acknowledgements of frames that it was sent (as in Envoy, which allows ten
//! WINDOW_UPDATEs for each DATA frame).

use std::time::Duration;

use tokio::time::Instant;

use super::blocks::Blocks;
use crate::http2::frames::{
    Found, FrameHead, Frames,
    kind::{CONTINUATION, DATA, GOAWAY, HEADERS, RST_STREAM},
};

/// Resets at once, and in a second: nghttp2's bounds
/// (`nghttp2_option_set_stream_reset_rate_limit`).
const RESETS: Account = Account {
    most: 1000,
    per_second: 33,
};
/// Frames without a message at once, and in a second.
const CONTROLS: Account = Account {
    most: 2000,
    per_second: 100,
};
/// A fourth of all requests may be reset without end: a proxy in front gathers
/// the impatient clients of many.
const REQUESTS_PER_RESET: u32 = 4;
/// Control frames for each frame of a message, sent or received.
const CONTROLS_PER_FRAME: u32 = 10;
/// The most that an account may save up, in frames.
const SAVED: u32 = 100_000;

/// Bytes of the client's preface, which are no frame (RFC 9113, 3.4).
const PREFACE_LENGTH: usize = 24;
/// Bytes of a GOAWAY that are looked at: last stream, code, and the text behind
/// them (RFC 9113, 6.8).
const GOAWAY_KEPT: usize = 64;

const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The size and the rate of a bucket.
#[derive(Debug, Clone, Copy)]
struct Account {
    most: u32,
    per_second: u32,
}

/// A token bucket. The clock is read only when it is empty.
#[derive(Debug)]
struct Bucket {
    account: Account,
    /// Tokens that one frame takes.
    price: u32,
    /// Tokens that are left.
    left: u32,
    /// The last time at which the rate was added.
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    fn new(account: Account, price: u32) -> Self {
        Self {
            account,
            price,
            left: account.most * price,
            filled: Instant::now(),
        }
    }

    /// Adds tokens, for a frame that has reason.
    fn give(&mut self, tokens: u32) {
        self.left = (self.left + tokens).min(SAVED * self.price);
    }

    /// Takes the price of a frame. Returns false if there is not enough, which
    /// is a flood.
    fn take(&mut self) -> bool {
        if self.left < self.price {
            let Account { most, per_second } = self.account;
            let passed = self.filled.elapsed().as_secs_f64() * f64::from(per_second);
            self.left += (passed.min(f64::from(most)) * f64::from(self.price)) as u32;
            self.filled = Instant::now();
        }
        let pays = self.left >= self.price;
        self.left = self.left.saturating_sub(self.price);
        pays
    }
}

/// The accounts of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    /// Frames from the client.
    received: Frames,
    /// Frames to the client, of which those that tell of a flood are kept.
    sent: Frames,
    resets: Bucket,
    controls: Bucket,
    /// The blocks of fields among the frames.
    pub(super) blocks: Blocks,
    /// The moment since which a head is being sent that has not ended.
    head_since: Option<Instant>,
    /// Whether that head ends with the current frame.
    ends_head: bool,
    /// The moment since which the socket accepts nothing.
    stuck_since: Option<Instant>,
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
            resets: Bucket::new(RESETS, REQUESTS_PER_RESET),
            controls: Bucket::new(CONTROLS, 1),
            blocks: Blocks::default(),
            head_since: None,
            ends_head: false,
            stuck_since: None,
            flood: None,
            is_hurried: false,
        }
    }

    /// Looks at bytes that h2 is about to read, of which those behind the first
    /// `seen` are new, and mends fields that would end the connection for the
    /// fault of one stream. Returns how many bytes h2 may have: the others are
    /// to stand before those of the next call.
    pub(super) fn received(&mut self, bytes: &mut [u8], seen: usize) -> usize {
        let mut received = std::mem::take(&mut self.received);
        received.pass(bytes.get(seen..).unwrap_or_default(), |found| match found {
            Found::Head(head) => {
                self.blocks.frame(head);
                self.received_frame(head);
            }
            Found::Payload(at) => self.blocks.payload(at.start + seen..at.end + seen),
        });
        if received.is_between() {
            self.end_head();
        }
        self.received = received;
        self.blocks.look(bytes)
    }

    /// Charges or credits a frame from the client.
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
            DATA if length > 0 => self.controls.give(CONTROLS_PER_FRAME),
            // Empty ones, and continuations, are bounded by h2.
            DATA => {}
            HEADERS | CONTINUATION => {
                if kind == HEADERS {
                    self.resets.give(1);
                    self.controls.give(CONTROLS_PER_FRAME);
                }
                self.head_since.get_or_insert_with(Instant::now);
                self.ends_head = flags & END_HEADERS != 0;
            }
            RST_STREAM if !self.resets.take() => self.flood = Some("rst_stream"),
            RST_STREAM => {}
            _ if !self.controls.take() => self.flood = Some(name(kind, flags)),
            _ => {}
        }
    }

    /// The kind of flood of which h2 has just told the client by a GOAWAY, if
    /// it did.
    pub(super) fn told(&mut self) -> Option<&'static str> {
        let told = self.sent.take_kept();
        let (code, words) = told.get(4..)?.split_first_chunk()?;
        let is_flood = u32::from_be_bytes(*code) == u32::from(h2::Reason::ENHANCE_YOUR_CALM);
        is_flood.then(|| {
            KINDS
                .iter()
                .find(|(word, _)| words == word.as_bytes())
                .map_or("other_frames", |(_, kind)| kind)
        })
    }

    /// Notes that all of the last frame has arrived: if it was to end a head,
    /// that has ended.
    fn end_head(&mut self) {
        if std::mem::take(&mut self.ends_head) {
            self.head_since = None;
        }
    }

    /// Notes that the socket accepts nothing now.
    pub(super) fn stuck(&mut self) {
        self.stuck_since.get_or_insert_with(Instant::now);
    }

    /// Notes bytes that were sent, at least one. Frames of messages credit the
    /// client.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.stuck_since = None;
        let Self { sent, controls, .. } = self;
        sent.pass(bytes, |found| {
            if let Found::Head(FrameHead {
                kind: DATA | HEADERS,
                ..
            }) = found
            {
                controls.give(CONTROLS_PER_FRAME);
            }
        });
    }

    /// The earliest time at which a head that does not end, or a socket that
    /// accepts nothing, is over its time.
    pub(super) fn due(&self, head: Duration, write: Duration) -> Option<(Instant, Overdue)> {
        let head = self.head_since.map(|since| (since + head, Overdue::Head));
        let write = self
            .stuck_since
            .map(|since| (since + write, Overdue::Write));
        head.into_iter().chain(write).min_by_key(|(at, _)| *at)
    }
}

/// The reason for which a connection took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A head that has not ended.
    Head,
    /// A client that reads nothing.
    Write,
}

/// The names of floods in h2's GOAWAY, which has nothing else about them, and
/// those in `tidegate_http2_floods_total{kind}`.
const KINDS: [(&str, &str); 5] = [
    ("too_many_resets", "rst_stream"),
    ("too_many_internal_resets", "broken_streams"),
    ("too_many_data_frames", "small_data"),
    ("too_many_continuations", "continuation"),
    ("header_list_way_too_large", "header_list"),
];

/// The name of a kind of frame in `tidegate_http2_floods_total{kind}`.
fn name(kind: u8, flags: u8) -> &'static str {
    match kind {
        2 => "priority",
        4 => "settings",
        6 if flags & ACK == 0 => "ping",
        8 => "window_update",
        _ => "other_frames",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::PREFACE, *};

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(9 + usize::from(length), 0xff);
        frame
    }

    fn received(meter: &mut Meter, mut bytes: Vec<u8>) {
        meter.received(&mut bytes, 0);
    }

    fn begun() -> Meter {
        let mut meter = Meter::new();
        received(&mut meter, PREFACE.to_vec());
        meter
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_flood_is_told_by_its_name() {
        for (kind, length, most, name) in [
            (3, 4, 1000, "rst_stream"),
            (2, 5, 2000, "priority"),
            (4, 0, 2000, "settings"),
            (6, 8, 2000, "ping"),
            (8, 4, 2000, "window_update"),
            (77, 0, 2000, "other_frames"),
        ] {
            let mut meter = begun();
            received(&mut meter, frame(kind, 0, length).repeat(most));
            assert_eq!(meter.flood, None, "{name}");
            received(&mut meter, frame(kind, 0, length));
            assert_eq!(meter.flood, Some(name));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_pace_goes_on_for_ever() {
        let mut meter = begun();
        for _ in 0..1000 {
            received(&mut meter, frame(3, 0, 4).repeat(33));
            received(&mut meter, frame(6, 0, 8).repeat(100));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(meter.flood, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_answers_may_acknowledge_them_and_who_sends_requests_may_take_some_back() {
        let mut meter = begun();
        for _ in 0..10_000 {
            meter.sent(&frame(DATA, 0, 200));
            received(&mut meter, frame(8, 0, 4).repeat(2));
            received(&mut meter, frame(HEADERS, END_HEADERS, 10).repeat(4));
            received(&mut meter, frame(RST_STREAM, 0, 4));
        }
        assert_eq!(meter.flood, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_timed_from_its_first_frame_to_its_last() {
        let mut meter = begun();
        let began = Instant::now();
        let due = |meter: &Meter| meter.due(Duration::from_secs(10), Duration::from_secs(10));
        received(&mut meter, frame(HEADERS, 0, 10));
        tokio::time::advance(Duration::from_secs(5)).await;
        received(&mut meter, frame(CONTINUATION, 0, 1));
        assert_eq!(
            due(&meter),
            Some((began + Duration::from_secs(10), Overdue::Head))
        );
        let last = frame(CONTINUATION, END_HEADERS, 10);
        received(&mut meter, last[..15].to_vec());
        assert!(due(&meter).is_some(), "not all of it is here");
        received(&mut meter, last[15..].to_vec());
        assert_eq!(due(&meter), None);
    }
}

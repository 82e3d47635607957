//! Frames as they pass: who sends many that ask for work and bring none is told to calm down.
//!
//! h2 bounds what a connection holds in memory. What it does not bound is work: a client may go on for ever with pings,
//! settings, priorities, windows of one byte, or requests that it takes back at once (CVE-2023-44487). The meter looks at
//! the nine bytes before each frame and keeps two accounts, each a token bucket: one for resets, one for all other
//! frames that carry no message. What a client rightly sends fills them: requests, and acknowledgements of frames that it
//! was sent (as in Envoy, which allows ten WINDOW_UPDATEs for each DATA frame).

use std::time::Duration;

use tokio::time::Instant;

use super::bounds::FAREWELL;

/// Resets at once, and a second: nghttp2's bounds (`nghttp2_option_set_stream_reset_rate_limit`).
const RESETS: Account = Account { most: 1000, per_second: 33 };
/// Frames without a message at once, and a second.
const CONTROLS: Account = Account { most: 2000, per_second: 100 };
/// A fourth of all requests may be taken back without end: a proxy in front gathers the impatient ones of many.
const REQUESTS_PER_RESET: u32 = 4;
/// Control frames for each frame of a message, sent or received.
const CONTROLS_PER_FRAME: u32 = 10;
/// What may be saved up.
const SAVED: u32 = 100_000;

const PREFACE_LENGTH: usize = 24;
const HEAD_LENGTH: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug, Clone, Copy)]
struct Account {
    most: u32,
    per_second: u32,
}

/// A token bucket; the clock is only asked when it is empty.
#[derive(Debug)]
struct Bucket {
    account: Account,
    /// What one frame costs.
    price: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn new(account: Account, price: u32) -> Self {
        Self { account, price, left: account.most * price, filled: Instant::now() }
    }

    fn give(&mut self, tokens: u32) {
        self.left = (self.left + tokens).min(SAVED * self.price);
    }

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

/// Finds frames in a stream of bytes that comes in any pieces.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_LENGTH],
    /// Bytes of `head` that are here.
    have: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
}

/// What a frame's head says.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
}

impl Frames {
    /// Calls `seen` for each frame whose head is complete.
    fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_LENGTH - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD_LENGTH {
                let [a, b, c, kind, flags, ..] = self.head;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.have = 0;
                seen(Head { length: self.left, kind, flags });
            }
        }
    }
}

/// The accounts of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    received: Frames,
    sent: Frames,
    resets: Bucket,
    controls: Bucket,
    /// Since when a head is sent that has not ended.
    head_since: Option<Instant>,
    /// Since when the socket takes nothing.
    stuck_since: Option<Instant>,
    /// Since when the connection is at its end, and only the client's is awaited.
    closing_since: Option<Instant>,
    /// The kind of frame of which there were too many.
    pub(super) flood: Option<&'static str>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            received: Frames { left: PREFACE_LENGTH, ..Frames::default() },
            sent: Frames::default(),
            resets: Bucket::new(RESETS, REQUESTS_PER_RESET),
            controls: Bucket::new(CONTROLS, 1),
            head_since: None,
            stuck_since: None,
            closing_since: None,
            flood: None,
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        let Self { received, resets, controls, head_since, flood, .. } = self;
        received.pass(bytes, |Head { length, kind, flags }| match kind {
            DATA if length > 0 => controls.give(CONTROLS_PER_FRAME),
            // Empty ones are bounded by h2.
            DATA => {}
            HEADERS | CONTINUATION => {
                if kind == HEADERS {
                    resets.give(1);
                    controls.give(CONTROLS_PER_FRAME);
                }
                let is_ended = flags & END_HEADERS != 0;
                *head_since = if is_ended { None } else { head_since.or_else(|| Some(Instant::now())) };
            }
            RST_STREAM => {
                if !resets.take() {
                    *flood = Some("rst_stream");
                }
            }
            _ => {
                if !controls.take() {
                    *flood = Some(name(kind, flags));
                }
            }
        });
    }

    /// The socket takes nothing now.
    pub(super) fn stuck(&mut self) {
        self.stuck_since.get_or_insert_with(Instant::now);
    }

    /// All is said.
    pub(super) fn closing(&mut self) {
        self.closing_since.get_or_insert_with(Instant::now);
    }

    /// Not empty.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.stuck_since = None;
        let Self { sent, controls, .. } = self;
        sent.pass(bytes, |Head { kind, .. }| {
            if matches!(kind, DATA | HEADERS) {
                controls.give(CONTROLS_PER_FRAME);
            }
        });
    }

    /// When a head that goes on and on, a socket that takes nothing, or a client that does not end has had its time.
    pub(super) fn due(&self, head: Duration, write: Duration) -> Option<(Instant, Overdue)> {
        let head = self.head_since.map(|since| (since + head, Overdue::Head));
        let write = self.stuck_since.map(|since| (since + write, Overdue::Write));
        let close = self.closing_since.map(|since| (since + FAREWELL, Overdue::Close));
        [head, write, close].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A head that has not ended.
    Head,
    /// A client that reads nothing.
    Write,
    /// A client that was told the end, and does not end.
    Close,
}

/// What a kind of frame is called in `tidegate_http2_floods_total{kind}`.
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
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_LENGTH + usize::from(length), 0xff);
        frame
    }

    fn begun() -> Meter {
        let mut meter = Meter::new();
        meter.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
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
            meter.received(&frame(kind, 0, length).repeat(most));
            assert_eq!(meter.flood, None, "{name}");
            meter.received(&frame(kind, 0, length));
            assert_eq!(meter.flood, Some(name));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_pace_goes_on_for_ever() {
        let mut meter = begun();
        for _ in 0..1000 {
            meter.received(&frame(3, 0, 4).repeat(33));
            meter.received(&frame(6, 0, 8).repeat(100));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(meter.flood, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_answers_may_acknowledge_them_and_who_sends_requests_may_take_some_back() {
        let mut meter = begun();
        for _ in 0..10_000 {
            meter.sent(&frame(DATA, 0, 200));
            meter.received(&frame(8, 0, 4).repeat(2));
            meter.received(&frame(HEADERS, END_HEADERS, 10).repeat(4));
            meter.received(&frame(RST_STREAM, 0, 4));
        }
        assert_eq!(meter.flood, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_timed_from_its_first_frame_to_its_last() {
        let mut meter = begun();
        let began = Instant::now();
        let due = |meter: &Meter| meter.due(Duration::from_secs(10), Duration::from_secs(10));
        meter.received(&frame(HEADERS, 0, 10));
        tokio::time::advance(Duration::from_secs(5)).await;
        meter.received(&frame(CONTINUATION, 0, 1));
        assert_eq!(due(&meter), Some((began + Duration::from_secs(10), Overdue::Head)));
        meter.received(&frame(CONTINUATION, END_HEADERS, 1));
        assert_eq!(due(&meter), None);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(frames in prop::collection::vec((0_u8..12, 0_u8..40), 0..20), cut in 1_usize..30) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, length)| frame(*kind, 0, *length)).collect();
            let (mut found, mut scanner) = (Vec::new(), Frames::default());
            for piece in bytes.chunks(cut) {
                scanner.pass(piece, |head| found.push((head.kind, head.length as u8)));
            }
            prop_assert_eq!(found, frames);
        }
    }
}

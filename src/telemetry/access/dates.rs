//! The time of a line, as text in UTC.
//!
//! An exchange looks at one clock when it ends, the monotonic one, which also
//! says how long it took. The wall-clock time is taken from it: each buffer has
//! a pair of readings of both clocks, and the text of the second in which it
//! was read. A pair serves until the end of its second, so that a look at the
//! wall clock and a call of `humantime` come once a second rather than once a
//! line.
//!
//! # Exactness
//!
//! The two clocks of a pair are read one after the other, so that the time of
//! a line is exact to the time between the two: less than a microsecond, unless
//! the thread is interrupted between them. A wall clock that is set anew is
//! followed by the next pair, within a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{
    pen::{AT_ONCE, Pen},
    value::three_digits,
};

/// Writes times in RFC 3339 with milliseconds, together with the constant text
/// around them. Each buffer has one, and needs no lock for it, as the buffer
/// has one already.
#[derive(Debug)]
pub(super) struct DateCache {
    /// The text before and after a time.
    around: [&'static str; 2],
    /// The present pair; `None` before the first line.
    pair: Option<ClockPair>,
    /// The text of the pair's second with everything around it, but for the
    /// milliseconds, which each line writes anew. At most [`AT_ONCE`] bytes,
    /// with padding.
    frame: [u8; AT_ONCE],
    /// The length of the text in `frame`.
    length: usize,
    /// Where in `frame` the milliseconds are.
    millis_at: usize,
}

/// One moment by both clocks.
#[derive(Debug, Clone, Copy)]
struct ClockPair {
    monotonic: Instant,
    /// The wall-clock time since the begin of its second, in nanoseconds.
    nanos: u32,
}

/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// End of the year 9999, in seconds since the Unix epoch: RFC 3339 has four
/// digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

impl DateCache {
    /// Writes times between these two texts, which have at most 36 bytes
    /// together.
    pub(super) fn new(around: [&'static str; 2]) -> Self {
        Self {
            around,
            pair: None,
            frame: [0; AT_ONCE],
            length: 0,
            millis_at: 0,
        }
    }

    /// Appends the time of `now` in UTC, as in `2026-02-28T09:30:00.250Z`, and
    /// the text around it.
    #[inline(always)]
    pub(super) fn write(&mut self, now: Instant, pen: &mut Pen<'_>) {
        let millis = self.millis(now).unwrap_or_else(|| {
            let (monotonic, wall) = (Instant::now(), SystemTime::now());
            self.set(monotonic, wall)
        });
        if let Some(place) = self.frame[self.millis_at..].first_chunk_mut() {
            *place = three_digits(millis);
        }
        pen.begin_of(&self.frame, self.length);
    }

    /// The millisecond of `now` in the second of the pair; `None` if that
    /// second is over, or there is no pair.
    #[inline(always)]
    fn millis(&self, now: Instant) -> Option<u32> {
        let pair = self.pair?;
        // A line of another thread may be a little older than the pair.
        let passed = now.saturating_duration_since(pair.monotonic);
        let nanos = pair.nanos + passed.subsec_nanos();
        (passed.as_secs() == 0 && nanos < SECOND).then_some(nanos / 1_000_000)
    }

    /// Sets the pair and the text of its second, and returns the millisecond.
    /// A time before 1970 is written as the beginning of 1970, one after the
    /// year 9999 as its end.
    #[cold]
    #[inline(never)]
    pub(super) fn set(&mut self, monotonic: Instant, wall: SystemTime) -> u32 {
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = since_epoch.subsec_nanos();
        self.pair = Some(ClockPair { monotonic, nanos });
        let second = Duration::from_secs(since_epoch.as_secs().min(LAST_SECOND));
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + second).to_string();
        let [before, after] = self.around;
        let begin = format!("{before}{}.", time.trim_end_matches('Z'));
        let text = format!("{begin}000Z{after}");
        self.millis_at = begin.len();
        self.length = text.len().min(AT_ONCE);
        self.frame[..self.length].copy_from_slice(&text.as_bytes()[..self.length]);
        nanos / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pen::LineText, *};

    #[tokio::test(start_paused = true)]
    async fn a_time_has_milliseconds_and_is_utc() {
        for (millis, text) in [
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
            (1_700_000_001_000, "2023-11-14T22:13:21.000Z"),
            (0, "1970-01-01T00:00:00.000Z"),
            ((LAST_SECOND + 5) * 1000, "9999-12-31T23:59:59.000Z"),
        ] {
            let mut dates = DateCache::new(["<", ">"]);
            dates.set(Instant::now(), UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(written(&mut dates, Instant::now()), format!("<{text}>"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_follows_the_monotonic_clock_within_a_second() {
        let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_micros(100_999));
        let mut dates = DateCache::new(["", ""]);
        dates.set(start, wall);
        let mut after = |micros| written(&mut dates, start + Duration::from_micros(micros));
        assert_eq!(after(0), "1970-01-01T00:00:00.100Z");
        assert_eq!(after(1), "1970-01-01T00:00:00.101Z");
        assert_eq!(after(899_000), "1970-01-01T00:00:00.999Z");
    }

    #[tokio::test(start_paused = true)]
    async fn each_second_looks_at_the_wall_clock() {
        let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_millis(100));
        for later in [900, 1000, 5000] {
            let mut dates = DateCache::new(["", ""]);
            dates.set(start, wall);
            let text = written(&mut dates, start + Duration::from_millis(later));
            // The machine that runs this is not set to 1970.
            assert!(!text.starts_with("1970"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_older_than_the_pair_has_the_time_of_the_pair() {
        let start = Instant::now();
        let mut dates = DateCache::new(["", ""]);
        dates.set(start + Duration::from_millis(5), UNIX_EPOCH);
        assert_eq!(written(&mut dates, start), "1970-01-01T00:00:00.000Z");
    }

    fn written(dates: &mut DateCache, now: Instant) -> String {
        let mut lines = LineText::default();
        lines.append(0, |mut pen| {
            dates.write(now, &mut pen);
            pen
        });
        String::from_utf8(lines.as_slice().to_vec()).unwrap()
    }
}

//! Values other than text, written without an allocation: numbers, addresses,
//! times.
//!
//! Both full forms use these functions, and the form for terminals some of
//! them, so that a number reads alike everywhere. Nothing here needs escapes:
//! the bytes are ASCII that no client chose.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::line::Line;

/// Appends a number in decimal.
pub(super) fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a duration in milliseconds, with three decimals; the rest is cut
/// off.
///
/// The number saturates at 2^64 milliseconds, half a billion years.
pub(super) fn millis(duration: Duration, out: &mut Vec<u8>) {
    integer(
        duration
            .as_secs()
            .saturating_mul(1000)
            .saturating_add(duration.subsec_millis().into()),
        out,
    );
    out.push(b'.');
    three_digits(duration.subsec_micros() % 1000, out);
}

/// Appends the address of the client. The client is nearly always the peer,
/// whose address exists as text already.
///
/// The two differ if a trusted proxy or the PROXY protocol names the client.
/// Only then is the address formatted.
pub(super) fn client(line: &Line<'_>, out: &mut Vec<u8>) {
    if line.client == line.peer.ip() {
        out.extend_from_slice(line.peer_ip.as_bytes());
    } else {
        // Writing to a vector cannot fail.
        drop(write!(out, "{}", line.client));
    }
}

/// Appends the address and port of the peer.
///
/// IPv6 addresses are formatted each time, because the text needs brackets
/// around the address.
pub(super) fn peer(line: &Line<'_>, out: &mut Vec<u8>) {
    match line.peer {
        SocketAddr::V4(address) => {
            out.extend_from_slice(line.peer_ip.as_bytes());
            out.push(b':');
            integer(address.port(), out);
        }
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends a number below 1000 with leading zeros.
fn three_digits(number: u32, out: &mut Vec<u8>) {
    out.extend([number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8));
}

/// Writes times in RFC 3339 with milliseconds, and keeps the text of the last
/// second: `humantime` formats once a second rather than once a line. Each
/// buffer has one.
///
/// The cache needs no lock, as the buffer has one already. The lines of one
/// worker come nearly in the order of time, so that the text of one second
/// serves many of them.
#[derive(Debug, Default)]
pub(super) struct DateCache {
    /// The second whose text is kept, since the Unix epoch.
    second: Option<u64>,
    /// The text of `second`, up to the fraction.
    text: Vec<u8>,
}

impl DateCache {
    /// Appends `time` in UTC, as in `2026-02-28T09:30:00.250Z`. A time before
    /// 1970 is written as the beginning of 1970, one after the year 9999 as its
    /// end.
    pub(super) fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since_epoch.as_secs()) {
            self.format(since_epoch.as_secs());
        }
        out.extend_from_slice(&self.text);
        out.push(b'.');
        three_digits(since_epoch.subsec_millis(), out);
        out.push(b'Z');
    }

    /// Formats and keeps the text of a second.
    fn format(&mut self, second: u64) {
        self.second = Some(second);
        self.text.clear();
        let time = UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
        // Writing to a vector cannot fail, and the year has four digits.
        drop(write!(
            self.text,
            "{}",
            humantime::format_rfc3339_seconds(time)
        ));
        self.text.pop_if(|last| *last == b'Z');
    }
}

/// End of the year 9999: RFC 3339 has four digits for the year.
///
/// In seconds since the Unix epoch.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_is_utc() {
        let mut dates = DateCache::default();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let mut written = |time| text(|out| dates.write(time, out));
        assert_eq!(written(at(1_700_000_000_007)), "2023-11-14T22:13:20.007Z");
        assert_eq!(written(at(1_700_000_000_999)), "2023-11-14T22:13:20.999Z");
        assert_eq!(written(at(1_700_000_001_000)), "2023-11-14T22:13:21.000Z");
        assert_eq!(written(at(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            written(at((LAST_SECOND + 5) * 1000)),
            "9999-12-31T23:59:59.000Z"
        );
    }

    #[test]
    fn durations_are_milliseconds_with_three_decimals() {
        assert_eq!(
            text(|out| millis(Duration::from_nanos(1_234_567), out)),
            "1.234"
        );
        assert_eq!(text(|out| millis(Duration::from_micros(5), out)), "0.005");
        assert_eq!(
            text(|out| millis(Duration::from_secs(61), out)),
            "61000.000"
        );
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }
}

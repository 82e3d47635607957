//! `Retry-After` (RFC 9110, 10.2.3): the time after which a server wants
//! further requests.
//!
//! Four read it: a server cools down until then (`upstream::attempt`), a retry
//! waits until then (`layer::retry`), an authority is left alone until then
//! (`acme::client`), and so is a collector (`traces::client`). The value comes
//! from the network. It may be long, which all of them bound in their own way,
//! and one that cannot be read is ignored rather than guessed.

use std::time::{Duration, SystemTime};

/// The time to wait, from a number of seconds or a date. `None` if the value is
/// neither, or the time is over at `now`.
///
/// A number too large for 64 bits counts as the largest. A date is in any of
/// the three formats of RFC 9110 (5.6.7) and is compared with the clock of this
/// machine, so that a server whose clock is ahead gets more rest than it asks
/// for. The result is above 0, and may be so long that no instant lies so far
/// ahead.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // A number that does not fit is a long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok()?
    };
    Some(wait).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |text: &str| retry_after(text.as_bytes(), now).map(|wait| wait.as_secs());
        assert_eq!(read("5"), Some(5));
        assert_eq!(read(" 120 "), Some(120));
        assert_eq!(read("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:20 GMT"), None);
        for nonsense in ["", "0", "-1", "1.5", "soon"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_time_above_zero_or_none(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let wait = retry_after(&value, SystemTime::now());
            prop_assert_ne!(wait, Some(Duration::ZERO));
        }
    }
}

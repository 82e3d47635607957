//! `Retry-After` (RFC 9110, 10.2.3): the time after which a server wants
//! further requests.
//!
//! `upstream::attempt` reads the field of a 503 response, if the upstream has
//! `cool_down` and more than one server. The server then cools down for that
//! time. The field adds no failure: the 503 itself is counted as one, and only
//! a 503 that counts against the server begins a cool-down.
//!
//! The value comes from the network. A long time must not take a server out for
//! a day, so it is cut off at a minute, and a value that cannot be read is
//! ignored rather than guessed.

use std::time::{Duration, SystemTime};

/// The longest time that a server is avoided. A server cannot know further
/// ahead when it will recover.
const LONGEST: Duration = Duration::from_secs(60);

/// The time to wait, from a number of seconds or a date. `None` if the value is
/// neither, or the time is over at `now`.
///
/// A number too large for 64 bits counts as the longest time. A date is in any
/// of the three formats of RFC 9110 (5.6.7) and is compared with the clock of
/// this machine, so that a server whose clock is ahead gets more rest than it
/// asks for. The result is above 0 and at most a minute.
pub(in crate::upstream) fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
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
    Some(wait.min(LONGEST)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_bounded() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |text: &str| retry_after(text.as_bytes(), now).map(|wait| wait.as_secs());
        assert_eq!(read("5"), Some(5));
        assert_eq!(read(" 120 "), Some(60));
        assert_eq!(read("99999999999999999999999"), Some(60));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:20 GMT"), None);
        for nonsense in ["", "0", "-1", "1.5", "soon"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_a_long_wait(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let wait = retry_after(&value, SystemTime::now()).unwrap_or_default();
            prop_assert!(wait <= LONGEST);
        }
    }
}

//! Durations in words and in whole seconds, the same everywhere: in the log, in
//! refusals, in header fields and in messages about the configuration.
//!
//! The text of a duration is always one that the configuration accepts, so that
//! a value from a message can be copied into a file.

use std::time::Duration;

/// The units of the configuration with their nanoseconds, the largest first.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Writes a duration in the largest unit in which it is a whole number, as the
/// configuration would read it.
///
/// ```
/// use std::time::Duration;
/// use tidegate::duration::text;
///
/// assert_eq!(text(Duration::from_secs(90)), "90s");
/// assert_eq!(text(Duration::from_secs(7200)), "2h");
/// assert_eq!(text(Duration::ZERO), "0s");
/// ```
pub fn text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, worth) = UNITS
        .into_iter()
        .find(|(_, worth)| nanoseconds.is_multiple_of(*worth))
        .unwrap_or(("ns", 1));
    format!("{}{unit}", nanoseconds / worth)
}

/// Whole seconds, rounded up: a client that waits for so long never comes too
/// early. `Retry-After` and the fields of rate limits count in these.
pub fn whole_seconds(duration: Duration) -> u64 {
    let has_fraction = duration.subsec_nanos() > 0;
    duration.as_secs().saturating_add(has_fraction.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_the_largest_unit_that_holds_it() {
        let said = |millis| text(Duration::from_millis(millis));
        assert_eq!(
            [0, 20, 1500, 30_000, 90_000, 5_400_000].map(said),
            ["0s", "20ms", "1500ms", "30s", "90s", "90m"]
        );
        assert_eq!([3_600_000, 172_800_000].map(said), ["1h", "2d"]);
        assert_eq!(text(Duration::from_nanos(1_001)), "1001ns");
    }

    #[test]
    fn seconds_are_rounded_up() {
        let whole = |nanos| whole_seconds(Duration::from_nanos(nanos));
        assert_eq!([0, 1, 1_000_000_000].map(whole), [0, 1, 1]);
        assert_eq!([1_000_000_001, 2_500_000_000].map(whole), [2, 3]);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}

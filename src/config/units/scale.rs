//! Units with their worth, and the shortest text for a value.
//!
//! Time is counted in nanoseconds of 128 bits: sums and products of any numbers
//! that a file can hold stay far below that. A day has 24 hours, a month 30 days
//! and a year 365 days.

use std::time::Duration;

use crate::policy::Rate;

/// Longest duration: beyond it a unit was surely mistaken, and sums of times
/// stay far from overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A second in nanoseconds.
const SECOND: u128 = 1_000_000_000;
/// A day in nanoseconds.
const DAY: u128 = 86_400 * SECOND;

/// Units of time of the language, in nanoseconds, each with the words in the
/// singular that people write for it.
const TIMES: [(&str, u128, &str); 9] = [
    ("d", DAY, "day"),
    ("h", 3600 * SECOND, "hr hour"),
    ("min", 60 * SECOND, "minute"),
    ("m", 60 * SECOND, "min"),
    ("s", SECOND, "sec second"),
    ("ms", 1_000_000, "msec milli millisecond"),
    ("us", 1000, "usec micro microsecond"),
    ("µs", 1000, "μ"),
    ("ns", 1, "nano nanosecond"),
];

/// Units of time that the language does not have.
const OTHER_TIMES: [(&str, u128, &str); 3] = [
    ("w", 7 * DAY, "wk week"),
    ("mo", 30 * DAY, "month"),
    ("y", 365 * DAY, "yr year"),
];

/// Units of size by 1024, in bytes, the largest first.
const BINARY: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Units of size by 1000, in bytes, the largest first. Their kilobyte has two
/// spellings, the first of which is written.
const DECIMAL: [(&str, u64); 6] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

/// A unit of time of the language, in nanoseconds.
pub(super) fn time(unit: &str) -> Option<u128> {
    let found = TIMES.into_iter().find(|(name, ..)| *name == unit);
    found.map(|(_, worth, _)| worth)
}

/// A unit of time by any name that people have for it, in nanoseconds.
pub(super) fn any_time(word: &str) -> Option<u128> {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let is_meant = |(name, _, words): &(&str, u128, &str)| {
        *name == word || words.split(' ').any(|known| known == singular)
    };
    let found = TIMES.into_iter().chain(OTHER_TIMES).find(is_meant);
    found.map(|(_, worth, _)| worth)
}

/// A unit of size, in bytes.
pub(super) fn size(unit: &str) -> Option<u64> {
    let mut units = BINARY.into_iter().chain(DECIMAL);
    let found = units.find(|(name, _)| *name == unit);
    found.map(|(_, worth)| worth)
}

/// The shortest way to write a size: the largest unit by 1024 that holds it
/// wholly.
pub(in crate::config) fn size_text(bytes: u64) -> String {
    in_units(bytes, &BINARY)
}

/// A size in the largest unit by 1000 that holds it wholly.
pub(super) fn decimal_text(bytes: u64) -> String {
    in_units(bytes, &DECIMAL)
}

/// A size in the first of these units that holds it wholly.
fn in_units(bytes: u64, units: &[(&str, u64)]) -> String {
    let is_whole = |(_, worth): &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(*worth);
    match units.iter().find(is_whole) {
        Some((unit, worth)) => format!("{}{unit}", bytes / worth),
        None => format!("{bytes}B"),
    }
}

/// The shortest way to write a rate: `"100/s"`, `"5/10s"`. Reading the text
/// gives the same rate.
pub fn rate_text(rate: Rate) -> String {
    let period = crate::duration::text(rate.period);
    let one = period
        .strip_prefix('1')
        .filter(|unit| unit.bytes().all(|byte| byte.is_ascii_lowercase()));
    format!("{}/{}", rate.count, one.unwrap_or(&period))
}

/// Numbers and the units behind them: `"1h30m"` is `1`, `h` and `30`, `m`.
/// Either part may be empty.
pub(super) fn amounts(text: &str, is_of_number: fn(char) -> bool) -> Vec<(&str, &str)> {
    let mut amounts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let (unit, after) = after.split_at(after.find(is_of_number).unwrap_or(after.len()));
        amounts.push((number, unit));
        rest = after;
    }
    amounts
}

/// The period of a rate with its number, which may be left out if it is 1.
pub(super) fn with_number(period: &str) -> String {
    match period.starts_with(is_digit) {
        true => period.to_owned(),
        false => format!("1{period}"),
    }
}

/// Whether a character is an ASCII digit, which alone count as such.
pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

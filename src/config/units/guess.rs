//! Guesses at a duration, a size or a rate in another form: the right form, for
//! help.
//!
//! Capitals, blanks, thousands separators, wide digits and words for units do
//! not matter here. A guess is exact or absent: `"1.5s"` is `"1500ms"`, and a
//! text whose value has no whole number in any unit gets no guess. Tests check
//! that the strict readers accept each guess, with the same value.
//!
//! # How a guess is made
//!
//! Each function has the form of its strict reader: the text goes in as the
//! file has it, the right spelling comes out, or `None`. The parent module
//! calls a function here only after its strict reader has refused the text, so
//! that nothing here decides whether a file is accepted.
//!
//! 1. `compact` takes away all that people add for their own eyes.
//! 2. The text is cut into numbers and units, where a number may have a decimal
//!    point. Units are looked up in a table that is larger than that of the
//!    language.
//! 3. `scaled` multiplies exactly, with integers of 128 bits. Floating point
//!    would turn `"0.1/m"` into a number that is nearly right, and a user would
//!    copy it.
//! 4. The value is written in the shortest form that the strict readers accept.
//!
//! # Bounds
//!
//! The input is any string of a file. Products and sums of its numbers are
//! checked, and a value that the language cannot hold (a time of more than a
//! year, a count above 32 bits, a size above 64 bits) gets no guess.

use std::time::Duration;

use super::scale::{
    self, LONGEST, amounts, any_time, decimal_text, is_digit, rate_text, size_text, with_number,
};
use crate::{duration, policy::Rate};

/// Digits behind the point that are looked at.
///
/// Nine places are a nanosecond in a second. The bound also keeps the power of
/// ten that a number is divided by within 128 bits.
const MOST_PLACES: usize = 9;

/// `"5sec"` is `"5s"`, `"1.5s"` is `"1500ms"`, `"1w"` is `"7d"`.
///
/// A duration in the spelling of the language, without quotes.
///
/// The units are those of the language by all of their names, and weeks, months
/// of 30 days and years of 365 days. A leading `PT`, as ISO 8601 has it, is
/// dropped. A number without a unit gets no guess, because nobody can tell
/// whether seconds or milliseconds are meant.
pub(super) fn duration(text: &str) -> Option<String> {
    let text = compact(text);
    // As ISO 8601 writes it.
    let time = time(text.strip_prefix("pt").unwrap_or(&text))?;
    Some(duration::text(time))
}

/// `"64kb"` may be by 1024 or by 1000, so that both are named, each in quotes.
///
/// Units with an `i` are by 1024 and give one size. Bytes give one size, too,
/// as both ways of counting agree about them. All others are ambiguous: nginx
/// reads `64k` by 1024, and vendors of disks count by 1000.
///
/// A plain number other than 0 counts as bytes. A size that is not whole by
/// 1024 gets no guess, even where it is whole by 1000.
pub(super) fn size(text: &str) -> Option<String> {
    let text = compact(text);
    if let Ok(bytes @ 1..) = text.parse::<u64>() {
        return Some(format!("\"{}\"", size_text(bytes)));
    }
    let (number, unit) = text.split_at(text.find(|c| !is_of_number(c))?);
    let (power, is_binary) = match unit.trim_end_matches('s') {
        "b" | "byte" => (0, true),
        "k" | "kb" | "kilobyte" => (1, false),
        "m" | "mb" | "meg" | "megabyte" => (2, false),
        "g" | "gb" | "gig" | "gigabyte" => (3, false),
        "t" | "tb" => (4, false),
        "kib" | "ki" => (1, true),
        "mib" | "mi" => (2, true),
        "gib" | "gi" => (3, true),
        "tib" | "ti" => (4, true),
        _ => return None,
    };
    let bytes = |base: u128| u64::try_from(scaled(number, base.pow(power))?).ok();
    let binary = format!("\"{}\"", size_text(bytes(1024)?));
    let decimal = bytes(1000).map(|bytes| format!("\"{}\"", decimal_text(bytes)));
    match decimal {
        Some(decimal) if !is_binary => Some(format!("{binary} (by 1024) or {decimal} (by 1000)")),
        _ => Some(binary),
    }
}

/// Things that are counted, as people name them in a rate.
///
/// The empty word stands first for a plain number, as in `"100 / s"`.
const COUNTED: [&str; 12] = [
    "", "r", "req", "reqs", "request", "requests", "hit", "hits", "call", "calls", "time", "times",
];
/// Between the number and the time.
///
/// Each is replaced by `/` before blanks are taken out, because a lone `a` is
/// no separator without the blanks around it.
const EACH: [&str; 5] = [" per ", " a ", " an ", " each ", " every "];

/// `"100 per minute"` is `"100/m"`, `"0.5/s"` is `"30/m"`, `"100r/s"` and
/// `"100rps"` are `"100/s"`.
///
/// The count and the period are separated by `/`, by `per` in one of several
/// forms, or by the last `p`, as in `rps`, `rpm` and `rph`. The letters between
/// the number and the separator have to be a word for things that are counted,
/// or `k` for thousands. A missing period is a second.
///
/// A count that is no whole number is tried in each longer unit in turn, and
/// the shortest unit in which it is whole is taken. A rate in bytes, such as
/// `"10MB/s"`, gets no guess: a limit counts requests.
pub(super) fn rate(text: &str) -> Option<String> {
    let mut text = text.to_lowercase();
    for each in EACH {
        text = text.replace(each, "/");
    }
    let text = compact(&text);
    let parts = text.split_once('/').or_else(|| text.split_once("per"));
    let (count, period) = parts.or_else(|| text.rsplit_once('p'))?;
    let digits = count.find(|c| !is_of_number(c)).unwrap_or(count.len());
    let (count, counted) = count.split_at(digits);
    let times = match counted {
        "k" => 1000,
        counted if COUNTED.contains(&counted) => 1,
        _ => return None,
    };
    let period = if period.is_empty() { "s" } else { period };
    let period = time(&with_number(period)).filter(|period| !period.is_zero())?;
    if let Some(whole) = scaled(count, times) {
        let count = u32::try_from(whole).ok()?;
        return Some(rate_text(Rate { count, period }));
    }
    // A part of one in a short time is a whole number in a longer one.
    let period = period.as_nanos();
    for unit in ["s", "m", "h", "d"] {
        let worth = scale::time(unit).filter(|worth| worth.is_multiple_of(period));
        let count = worth.and_then(|worth| scaled(count, times * (worth / period)));
        // As many as 32 bits hold, as in a rate.
        if let Some(count @ 1..=0xffff_ffff) = count {
            return Some(format!("{count}/{unit}"));
        }
    }
    None
}

/// `"20 percent"`, `"0.2"` and `"20"` are `"20%"`.
///
/// A number with a decimal point and without a sign is a fraction of one, so
/// that `"1.25"` is `"125%"`. More than 1000 percent get no guess, as no key
/// takes more.
pub(super) fn percent(text: &str) -> Option<String> {
    let text = compact(text);
    let signs = ["%", "percent", "pct"];
    let percent = match signs.iter().find_map(|sign| text.strip_suffix(sign)) {
        // A fraction is a share of one.
        None if text.contains('.') => scaled(&text, 100)?,
        number => scaled(number.unwrap_or(&text), 1)?,
    };
    (percent <= 1000).then(|| format!("{percent}%"))
}

/// In small letters, without blanks and what stands between thousands; wide
/// digits as narrow ones.
///
/// Underscores are dropped everywhere. A comma is dropped only before exactly
/// three digits; any other one stays, and the text then fails as a number.
/// `"1,5"` may be one and a half, and a guess of fifteen would be wrong by ten
/// times. A semicolon at the end is dropped, as it is there in files of nginx.
/// Wide digits are those of U+FF01 to U+FF5E, which input methods for Chinese
/// and Japanese write.
fn compact(text: &str) -> String {
    let narrow = |c: char| match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        _ => c,
    };
    let text: String = text
        .chars()
        .map(narrow)
        .filter(|c| !c.is_whitespace() && *c != '_')
        .flat_map(char::to_lowercase)
        .collect();
    let mut parts = text.trim_end_matches(';').split(',');
    let mut compact = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if part.bytes().take_while(u8::is_ascii_digit).count() != 3 {
            compact.push(',');
        }
        compact += part;
    }
    compact
}

/// Numbers with units, added up; at most [`LONGEST`].
///
/// `None` for an empty text, an unknown unit, a sum that is no whole number of
/// nanoseconds in one of its parts, or more than a year.
fn time(text: &str) -> Option<Duration> {
    let mut sum = 0_u128;
    for (number, unit) in amounts(text, is_of_number) {
        sum = sum.checked_add(scaled(number, any_time(unit)?)?)?;
    }
    let time = Duration::from_nanos(u64::try_from(sum).ok()?);
    Some(time).filter(|time| !text.is_empty() && *time <= LONGEST)
}

/// Whether a character may stand in a decimal number.
fn is_of_number(c: char) -> bool {
    is_digit(c) || c == '.'
}

/// A decimal number times a worth, where that is whole.
///
/// `number` has digits and at most one point; a digit has to stand before the
/// point. `None` if it has another form, has more than [`MOST_PLACES`] places,
/// exceeds 128 bits, or if the product has a fraction.
fn scaled(number: &str, worth: u128) -> Option<u128> {
    let (whole, places) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{places}");
    if places.len() > MOST_PLACES || whole.is_empty() || !digits.chars().all(is_digit) {
        return None;
    }
    let below = 10_u128.pow(u32::try_from(places.len()).ok()?);
    let product = digits.parse::<u128>().ok()?.checked_mul(worth)?;
    product.is_multiple_of(below).then(|| product / below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    #[test]
    fn what_is_advised_is_accepted_and_means_the_same() {
        for (text, right) in [
            ("5sec", "5s"),
            ("1.5s", "1500ms"),
            ("1w", "7d"),
            ("2 hours", "2h"),
            ("PT30S", "30s"),
            ("1H30M", "90m"),
            ("10 s", "10s"),
            ("0.5d", "12h"),
        ] {
            assert_eq!(duration(text).as_deref(), Some(right), "{text}");
            assert!(
                units::duration(text).unwrap_err().help.contains(right),
                "{text}"
            );
            assert!(units::duration(right).is_ok());
        }
        for (text, right) in [
            ("100/hour", "100/h"),
            ("100/minute", "100/m"),
            ("0.5/s", "30/m"),
            ("0.1/m", "6/h"),
            ("100r/s", "100/s"),
            ("100 req/s", "100/s"),
            ("100 per minute", "100/m"),
            ("100rps", "100/s"),
            ("100 rpm", "100/m"),
            ("5/10sec", "5/10s"),
            ("100/week", "100/7d"),
            ("1_000/s", "1000/s"),
            ("1,000/s", "1000/s"),
            ("1k/s", "1000/s"),
            ("2.5k/m", "2500/m"),
            ("100 requests a minute", "100/m"),
            ("5 every 10 seconds", "5/10s"),
            ("\u{ff11}\u{ff10}/s", "10/s"),
            ("100/", "100/s"),
        ] {
            assert_eq!(rate(text).as_deref(), Some(right), "{text}");
            assert!(
                units::rate(text).unwrap_err().help.contains(right),
                "{text}"
            );
            assert!(units::rate(right).is_ok());
        }
        for (text, right) in [
            ("64kb", "\"64KiB\" (by 1024) or \"64kB\" (by 1000)"),
            ("10m", "\"10MiB\" (by 1024) or \"10MB\" (by 1000)"),
            ("64kib", "\"64KiB\""),
            ("1.5MiB", "\"1536KiB\""),
            ("512 bytes", "\"512B\""),
            ("1048576", "\"1MiB\""),
            ("8m;", "\"8MiB\" (by 1024) or \"8MB\" (by 1000)"),
        ] {
            assert_eq!(size(text).as_deref(), Some(right), "{text}");
            assert!(
                units::size(text).unwrap_err().help.contains(right),
                "{text}"
            );
        }
    }

    #[test]
    fn percentages_are_advised_in_one_form_and_nonsense_in_none() {
        for (text, right) in [
            ("20", "20%"),
            ("20 %", "20%"),
            ("20 percent", "20%"),
            ("0.2", "20%"),
            ("1.25", "125%"),
            ("20pct", "20%"),
        ] {
            assert_eq!(percent(text).as_deref(), Some(right), "{text}");
            assert!(
                units::percent(text).unwrap_err().help.contains(right),
                "{text}"
            );
        }
        for text in ["10MB/s", "10x/s", "1,5/s"] {
            assert_eq!(rate(text), None, "{text}");
        }
        for text in [
            "",
            "s",
            "x",
            "1x",
            "1.2.3s",
            "99999999999999999999999999999999999999999w",
            "/",
            "per",
            "é/s",
            "1é",
        ] {
            assert_eq!(
                (duration(text), rate(text), size(text)),
                (None, None, None),
                "{text}"
            );
        }
    }
}

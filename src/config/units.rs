//! Durations, sizes, rates and shares as the language writes them: `"250ms"`,
//! `"64KiB"`, `"100/s"`, `"20%"`.

use std::{num::NonZeroU32, time::Duration};

use super::{guess, words, wrong::Wrong};
pub(super) use crate::duration::text as duration_text;
use crate::policy::Rate;

/// Longest duration: beyond it a unit was surely mistaken, and sums of times
/// stay far from overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION_UNITS: [(&str, u128); 9] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// `"250ms"`, `"1h30m"`, `"0s"`: whole numbers with units, added up; at most a
/// year.
///
/// # Errors
/// Anything else.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    exact_duration(text).map_err(|wrong| {
        instead(
            wrong,
            guess::duration(text).map(|right| format!("\"{right}\"")),
        )
    })
}

/// Help that names the right form, where what is written has one.
fn instead(wrong: Wrong, right: Option<String>) -> Wrong {
    match right {
        Some(right) => Wrong::new(wrong.why, format!("did you mean {right}?")),
        None => wrong,
    }
}

fn exact_duration(text: &str) -> Result<Duration, Wrong> {
    let help = "write a number and a unit (ms, s, m, h, d), such as \"250ms\", \"10s\" or \"1h\"";
    if text.is_empty() {
        return Err(Wrong::new("it is empty", help));
    }
    let mut nanoseconds = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest);
        let number = whole(number).ok_or_else(|| Wrong::new("it is not a duration", help))?;
        let Some((_, worth)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            let why = if unit.is_empty() {
                "it has no unit".into()
            } else {
                format!("`{unit}` is not a unit of time")
            };
            let help = if unit.is_empty() && rest == text {
                did_you_mean_seconds(text)
            } else {
                help.to_owned()
            };
            return Err(Wrong::new(why, help));
        };
        nanoseconds = nanoseconds.saturating_add(u128::from(number).saturating_mul(*worth));
        rest = after;
    }
    if nanoseconds > LONGEST.as_nanos() {
        return Err(Wrong::new("it is longer than a year", help));
    }
    Ok(Duration::from_nanos(
        u64::try_from(nanoseconds).unwrap_or(u64::MAX),
    ))
}

fn did_you_mean_seconds(number: &str) -> String {
    if whole(number) == Some(0) {
        return "did you mean \"0s\"?".to_owned();
    }
    format!("did you mean \"{number}s\" (seconds) or \"{number}ms\" (milliseconds)?")
}

/// `"64KiB"`, `"1MB"`, `"512B"`, `"0B"`: bytes.
///
/// # Errors
/// Anything else, and more than 64 bits hold.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    exact_size(text).map_err(|wrong| instead(wrong, guess::size(text)))
}

fn exact_size(text: &str) -> Result<u64, Wrong> {
    let help = "write a whole number and a unit (B, KiB, MiB, GiB, kB, MB, GB), such as \"64KiB\" or \"10MiB\"";
    let (number, unit, after) = number_and_unit(text);
    let number = whole(number)
        .filter(|_| after.is_empty())
        .ok_or_else(|| Wrong::new("it is not a size", help))?;
    if unit.is_empty() && number == 0 {
        return Ok(0);
    }
    let Some((_, worth)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let why = if unit.is_empty() {
            "it has no unit".into()
        } else {
            format!("`{unit}` is not a unit of size")
        };
        return Err(Wrong::new(why, help));
    };
    number
        .checked_mul(*worth)
        .ok_or_else(|| Wrong::new("it is more than can be counted", help))
}

/// The shortest way to write a size: the largest unit that holds it wholly.
pub(super) fn size_text(bytes: u64) -> String {
    let powers = SIZE_UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    match powers
        .into_iter()
        .find(|(_, worth)| bytes != 0 && bytes.is_multiple_of(*worth))
    {
        Some((unit, worth)) => format!("{}{unit}", bytes / worth),
        None => format!("{bytes}B"),
    }
}

/// `"100/s"`, `"10000/d"`, `"5/10s"`: so many in each period.
///
/// # Errors
/// Anything else, 0, and more than one a nanosecond.
pub(super) fn rate(text: &str) -> Result<Rate, Wrong> {
    exact_rate(text)
        .map_err(|wrong| instead(wrong, guess::rate(text).map(|right| format!("\"{right}\""))))
}

fn exact_rate(text: &str) -> Result<Rate, Wrong> {
    let help =
        "write how many in which time: \"100/s\", \"30/m\", \"1000/h\", \"10000/d\" or \"5/10s\"";
    let (count, period) = text.split_once('/').ok_or_else(|| no_rate(text, help))?;
    if count.is_empty() {
        return Err(Wrong::new("the number is missing", help));
    }
    let count =
        whole(count).ok_or_else(|| Wrong::new(format!("`{count}` is not a whole number"), help))?;
    let count = u32::try_from(count)
        .map_err(|_| Wrong::new(format!("at most {} are counted", u32::MAX), help))?;
    let Some(count) = NonZeroU32::new(count) else {
        return Err(Wrong::new(
            "it would never let anything through",
            "the least is 1, such as \"1/d\"",
        ));
    };
    let period = if period.starts_with(|c: char| c.is_ascii_digit()) {
        period.to_owned()
    } else {
        format!("1{period}")
    };
    let period = exact_duration(&period).map_err(|wrong| Wrong::new(wrong.why, help))?;
    if period.is_zero() {
        return Err(Wrong::new("its time is nothing", help));
    }
    if period.as_nanos() < u128::from(count.get()) {
        return Err(Wrong::new("that is more than one in a nanosecond", help));
    }
    Ok(Rate { count, period })
}

/// A text without a time, which may be a number or a word.
fn no_rate(text: &str, help: &str) -> Wrong {
    let text = text.trim();
    if !text.is_empty() && whole(text).is_some() {
        return Wrong::new(
            "it has no time",
            format!("did you mean \"{text}/s\" (a second) or \"{text}/m\" (a minute)?"),
        );
    }
    if words::is_unbounded(text) {
        let help =
            "a limit has a rate; to limit nobody, take its name out of `limits` of the routes";
        return Wrong::new("it is not a rate", help);
    }
    Wrong::new("it is not a rate", help)
}

/// The shortest way to write a rate.
pub fn rate_text(rate: Rate) -> String {
    let period = duration_text(rate.period);
    let one = period
        .strip_prefix('1')
        .filter(|unit| unit.bytes().all(|byte| byte.is_ascii_lowercase()));
    format!("{}/{}", rate.count, one.unwrap_or(&period))
}

/// `"20%"`: a share, as a fraction; up to `"1000%"`.
///
/// # Errors
/// Anything else.
pub(super) fn percent(text: &str) -> Result<f64, Wrong> {
    let help = "write a whole number of percent, such as \"20%\"";
    let number = text.strip_suffix('%').and_then(whole).ok_or_else(|| {
        let right = guess::percent(text).map(|right| format!("\"{right}\""));
        instead(Wrong::new("it is not a percentage", help), right)
    })?;
    match u16::try_from(number) {
        Ok(number @ ..=1000) => Ok(f64::from(number) / 100.0),
        _ => Err(Wrong::new("it is more than \"1000%\"", help)),
    }
}

/// `"5%"`: a share of something, in percent; up to `"100%"`.
///
/// # Errors
/// Anything else.
pub(super) fn share(text: &str) -> Result<u8, Wrong> {
    match percent(text)? {
        share if share <= 1.0 => Ok((share * 100.0).round() as u8),
        _ => Err(Wrong::new(
            "it is more than the whole",
            "write a percentage from \"0%\" to \"100%\"",
        )),
    }
}

/// `"125%"`: a bound above a share, in percent; from `"100%"` to `"1000%"`.
///
/// # Errors
/// Anything else.
pub(super) fn bound(text: &str) -> Result<u16, Wrong> {
    match percent(text)? {
        bound if bound >= 1.0 => Ok((bound * 100.0).round() as u16),
        _ => Err(Wrong::new(
            "it is less than a server's share",
            "write \"100%\" or more, such as \"125%\"",
        )),
    }
}

/// Splits `"10sfoo"` into `"10"`, `"sfoo"` and the rest from the next digit on.
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let (number, rest) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let (unit, rest) = rest.split_at(
        rest.find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len()),
    );
    (number, unit, rest)
}

/// Digits and nothing else; `str::parse` alone would take a sign too.
fn whole(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_reads_back_as_it_was_written(nanoseconds in 0..31_536_000_000_000_000_u64) {
            let written = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(duration(&duration_text(written)).unwrap(), written);
        }

        #[test]
        fn a_size_reads_back_as_it_was_written(bytes: u64) {
            prop_assert_eq!(size(&size_text(bytes)).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (duration(&text), size(&text), rate(&text), percent(&text));
        }

        #[test]
        fn text_that_looks_like_units_is_read_or_refused(text in "[0-9]{0,30}[a-zA-Z/%.µ-]{0,3}[0-9]{0,3}[smh]?") {
            let _ = (duration(&text), size(&text), rate(&text), percent(&text));
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
    }

    #[test]
    fn a_bare_number_is_asked_for_its_unit() {
        assert!(duration("10").unwrap_err().help.contains("\"10s\""));
        assert_eq!(size("10").unwrap_err().why, "it has no unit");
        assert!(rate("10").unwrap_err().help.contains("\"10/s\""));
        assert!(
            rate("unlimited")
                .unwrap_err()
                .help
                .contains("out of `limits`")
        );
    }

    #[test]
    fn signs_fractions_spaces_and_years_of_waiting_are_refused() {
        for text in [
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "s",
            "",
            "366d",
            "1y",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_has_a_count_and_a_period() {
        let read = |text| {
            rate(text)
                .map(|rate| (rate.count.get(), rate.period.as_secs()))
                .unwrap()
        };
        assert_eq!(read("100/s"), (100, 1));
        assert_eq!(read("10000/d"), (10_000, 86_400));
        assert_eq!(read("5/10s"), (5, 10));
        for text in [
            "0/s",
            "5",
            "/s",
            "5/",
            "5/x",
            "5/0s",
            "1.5/s",
            "4000000000/s",
            "9999999999/d",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_is_a_percentage_of_at_least_a_share() {
        assert_eq!(
            (
                bound("100%").unwrap(),
                bound("125%").unwrap(),
                bound("1000%").unwrap()
            ),
            (100, 125, 1000)
        );
        assert!(bound("99%").is_err() && bound("1001%").is_err() && bound("125").is_err());
    }

    #[test]
    fn a_share_is_a_whole_percentage() {
        assert!((percent("20%").unwrap() - 0.2).abs() < f64::EPSILON);
        assert!(percent("20").is_err() && percent("-1%").is_err() && percent("1001%").is_err());
    }
}

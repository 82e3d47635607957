//! Durations, sizes, rates and shares as the language writes them: `"250ms"`,
//! `"64KiB"`, `"100/s"`, `"20%"`.
//!
//! The readers here are strict, so that a value has one spelling. Text that
//! they refuse is read again by `guess`, which knows how people and other
//! gateways write; it only serves to advise the right spelling. `scale` has the
//! units for both.
//!
//! # Values
//!
//! | text | type | range |
//! |---|---|---|
//! | duration | nanoseconds in a [`Duration`] | 0 to 365 days |
//! | size | bytes in a `u64` | 0 to 2^64 - 1 |
//! | rate | a count above 0, and a period above 0 | at most one a nanosecond |
//! | percent | a fraction as `f64` | 0.0 to 10.0 |
//! | share | percent in a `u8` | 0 to 100 |
//! | bound | percent in a `u16` | 100 to 1000 |
//!
//! All readers are pure, and never panic. The caller of a reader knows the
//! place of the text and adds it to the reason.

mod guess;
mod scale;

use std::time::Duration;

pub use self::scale::rate_text;
pub(super) use self::scale::size_text;
use self::scale::{LONGEST, amounts, is_digit, with_number};
use super::{words, wrong::Wrong};
pub(super) use crate::duration::text as duration_text;
use crate::policy::{Rate, SampledShare};

/// `"250ms"`, `"1h30m"`, `"0s"`: whole numbers with units, added up; at most a
/// year.
///
/// # Errors
/// Anything else.
///
/// Units may stand in any order and more than once, and are added. `"0"`
/// without a unit is refused, too.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    exact_duration(text).map_err(|wrong| wrong.or_meant(guess::duration(text)))
}

/// [`duration`] without advice on other forms.
///
/// Sums and products saturate at 128 bits, far above a year, so that an
/// overlong number is told as longer than a year.
fn exact_duration(text: &str) -> Result<Duration, Wrong> {
    let help = "write a number and a unit (ms, s, m, h, d), such as \"250ms\", \"10s\" or \"1h\"";
    if text.is_empty() {
        return Err(Wrong::new("it is empty", help));
    }
    let mut nanoseconds = 0_u128;
    for (number, unit) in amounts(text, is_digit) {
        let count = whole(number).ok_or_else(|| Wrong::new("it is not a duration", help))?;
        let worth = match scale::time(unit) {
            Some(worth) => worth,
            None if unit.is_empty() => {
                let advice = (number == text).then(|| seconds_or_milliseconds(number));
                return Err(Wrong::new("it has no unit", help).or_advice(advice));
            }
            None => return Err(Wrong::new(format!("`{unit}` is not a unit of time"), help)),
        };
        nanoseconds = nanoseconds.saturating_add(u128::from(count).saturating_mul(worth));
    }
    match u64::try_from(nanoseconds) {
        Ok(short) if nanoseconds <= LONGEST.as_nanos() => Ok(Duration::from_nanos(short)),
        _ => Err(Wrong::new("it is longer than a year", help)),
    }
}

/// Help for a number without a unit, of which nobody can tell whether seconds
/// or milliseconds are meant.
fn seconds_or_milliseconds(number: &str) -> String {
    match whole(number) {
        Some(0) => "did you mean \"0s\"?".to_owned(),
        _ => format!("did you mean \"{number}s\" (seconds) or \"{number}ms\" (milliseconds)?"),
    }
}

/// `"64KiB"`, `"1MB"`, `"512B"`, `"0B"`: bytes. Units with `i` are by 1024, the
/// others by 1000. Zero needs no unit.
///
/// # Errors
/// Anything else, and more than 64 bits hold.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    exact_size(text).map_err(|wrong| {
        let right = guess::size(text);
        wrong.or_advice(right.map(|right| format!("did you mean {right}?")))
    })
}

/// [`size`] without advice on other forms.
///
/// One number with one unit: sizes are not added, so that `"1MiB512KiB"` is
/// refused.
fn exact_size(text: &str) -> Result<u64, Wrong> {
    let help = "write a whole number and a unit (B, KiB, MiB, GiB, kB, MB, GB), such as \"64KiB\" or \"10MiB\"";
    let none = || Wrong::new("it is not a size", help);
    let [(number, unit)] = amounts(text, is_digit)[..] else {
        return Err(none());
    };
    let number = whole(number).ok_or_else(none)?;
    let worth = match scale::size(unit) {
        Some(worth) => worth,
        None if unit.is_empty() && number == 0 => 1,
        None if unit.is_empty() => return Err(Wrong::new("it has no unit", help)),
        None => return Err(Wrong::new(format!("`{unit}` is not a unit of size"), help)),
    };
    number
        .checked_mul(worth)
        .ok_or_else(|| Wrong::new("it is more than can be counted", help))
}

/// Whether a number has a unit of size: in `"64KiB"`, and in a rate such as
/// `"10MiB/s"`.
pub(super) fn is_size(text: &str) -> bool {
    let number = text.split('/').next().unwrap_or_default();
    number.ends_with('B') && number.starts_with(is_digit)
}

/// `"100/s"`, `"10000/d"`, `"5/10s"`: so many in each period, which is at most a
/// year. `"10MiB/s"`: so many bytes.
///
/// # Errors
/// Anything else, 0, and more than one a nanosecond.
///
/// The period is a duration of which a leading 1 may be left out: `"5/10s"` has
/// a period of ten seconds, and `"100/s"` one of one second. `"100/s"` and
/// `"6000/m"` are different values, since the default of a burst depends on the
/// count.
pub(super) fn rate(text: &str) -> Result<Rate, Wrong> {
    exact_rate(text).map_err(|wrong| wrong.or_meant(guess::rate(text)))
}

/// [`rate`] without advice on other forms.
fn exact_rate(text: &str) -> Result<Rate, Wrong> {
    let help =
        "write how many in which time: \"100/s\", \"30/m\", \"1000/h\", \"10000/d\" or \"5/10s\"";
    let (count, period) = text.split_once('/').ok_or_else(|| no_rate(text, help))?;
    if count.is_empty() {
        return Err(Wrong::new("the number is missing", help));
    }
    let read = if is_size(count) {
        exact_size(count).ok()
    } else {
        whole(count)
    };
    let Some(count) = read else {
        return Err(Wrong::new(format!("`{count}` is not a whole number"), help));
    };
    let Ok(count) = u32::try_from(count) else {
        return Err(Wrong::new(
            format!("at most {} are counted", u32::MAX),
            help,
        ));
    };
    let period = exact_duration(&with_number(period));
    let period = period.map_err(|wrong| Wrong::new(wrong.why, help))?;
    if period.is_zero() {
        return Err(Wrong::new("its time is nothing", help));
    }
    if period.as_nanos() < u128::from(count) {
        return Err(Wrong::new("that is more than one in a nanosecond", help));
    }
    Ok(Rate { count, period })
}

/// A text without a time, which may be a number or a word.
///
/// A number is offered with a second and with a minute. A word such as
/// "unlimited" gets help on how to limit nobody.
fn no_rate(text: &str, help: &str) -> Wrong {
    let text = text.trim();
    if whole(text).is_some() {
        let help = format!("did you mean \"{text}/s\" (a second) or \"{text}/m\" (a minute)?");
        return Wrong::new("it has no time", help);
    }
    let help = match words::is_unbounded(text) {
        true => "a limit has a rate; to limit nobody, take its name out of `limits` of the routes",
        false => help,
    };
    Wrong::new("it is not a rate", help)
}

/// `"20%"`: a share, as a fraction from 0 to 10, which is `"1000%"`.
///
/// # Errors
/// Anything else.
///
/// Only whole numbers of percent are taken, without a blank before the sign.
pub(super) fn percent(text: &str) -> Result<f64, Wrong> {
    let help = "write a whole number of percent, such as \"20%\"";
    let Some(number) = text.strip_suffix('%').and_then(whole) else {
        return Err(Wrong::new("it is not a percentage", help).or_meant(guess::percent(text)));
    };
    match u16::try_from(number) {
        Ok(number @ ..=1000) => Ok(f64::from(number) / 100.0),
        _ => Err(Wrong::new("it is more than \"1000%\"", help)),
    }
}

/// A share of one as a percentage, with at most four decimals: `"1%"` of 0.01.
pub(super) fn percent_of(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

/// `"5%"`: a share of something, in percent; up to `"100%"`.
///
/// # Errors
/// Anything else.
pub(super) fn share(text: &str) -> Result<u8, Wrong> {
    match percent(text)? {
        share if share <= 1.0 => Ok((share * 100.0).round() as u8),
        _ => {
            let help = "write a percentage from \"0%\" to \"100%\"";
            Err(Wrong::new("it is more than the whole", help))
        }
    }
}

/// `"10%"`, `"0.1%"`: a share that is drawn, so that it may be below a percent.
///
/// # Errors
/// Anything else, more than four decimals, and more than `"100%"`.
pub(super) fn sampled(text: &str) -> Result<SampledShare, Wrong> {
    let help = "write a percentage from \"0%\" to \"100%\", such as \"1%\" or \"0.1%\", with at most four decimals";
    let number = text.strip_suffix('%').unwrap_or_default();
    let (percent, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.chars().all(is_digit);
    if !is_number(percent) || !is_number(decimals) || decimals.len() > 4 {
        let wrong = Wrong::new("it is not a percentage", help);
        return Err(match fraction(text) {
            Some(share) => wrong.or_advice(Some(format!("write \"{}\"", percent_of(share)))),
            None => wrong.or_meant(guess::percent(text)),
        });
    }
    match format!("{percent}{decimals:0<4}").parse() {
        Ok(parts @ 0..=SampledShare::ALL) => Ok(SampledShare::of_million(parts)),
        _ => Err(Wrong::new("it is more than the whole", help)),
    }
}

/// A number with a decimal point that is a share of one.
fn fraction(text: &str) -> Option<f64> {
    let share = text.parse().ok().filter(|_| text.contains('.'))?;
    (0.0..=1.0).contains(&share).then_some(share)
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

/// Digits and nothing else; `str::parse` alone would take a sign too.
///
/// `None` for anything else, and above 64 bits. An empty text is `None`, as it
/// is no number for `str::parse`.
fn whole(digits: &str) -> Option<u64> {
    let digits = Some(digits).filter(|digits| digits.chars().all(is_digit));
    digits?.parse().ok()
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
            let _ = (duration(&text), size(&text), rate(&text), percent(&text), sampled(&text));
        }

        #[test]
        fn text_that_looks_like_units_is_read_or_refused(text in "[0-9]{0,30}[a-zA-Z/%.µ-]{0,3}[0-9]{0,3}[smh]?") {
            let _ = (duration(&text), size(&text), rate(&text), percent(&text), sampled(&text));
        }
    }

    #[test]
    fn a_share_that_is_drawn_may_be_below_a_percent() {
        for (text, shown) in [
            ("10%", "0.1"),
            ("100%", "1"),
            ("0%", "0"),
            ("0.1%", "0.001"),
            ("12.5%", "0.125"),
            ("0.0001%", "0.000001"),
            ("100.0%", "1"),
            ("001%", "0.01"),
        ] {
            assert_eq!(sampled(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "%",
            "10",
            "101%",
            "100.1%",
            "9999999999%",
            ".1%",
            "1.%",
            "0.00001%",
            "-1%",
            "1.1.1%",
            "1e1%",
            "1 %",
            "nan%",
        ] {
            assert!(sampled(text).is_err(), "{text}");
        }
        for (text, right) in [
            ("0.01", "\"1%\""),
            ("0.07", "\"7%\""),
            ("0.0015", "\"0.15%\""),
            ("1.0", "\"100%\""),
            ("10", "\"10%\""),
            ("5 percent", "\"5%\""),
        ] {
            let help = sampled(text).unwrap_err().help;
            assert!(help.contains(right), "{text}: {help}");
        }
    }

    proptest! {
        #[test]
        fn every_share_is_shown_as_the_fraction_that_it_is(parts in 0..=SampledShare::ALL) {
            let percent = format!("{}.{:04}%", parts / 10_000, parts % 10_000);
            let shown: f64 = sampled(&percent).unwrap().to_string().parse().unwrap();
            prop_assert_eq!((shown * f64::from(SampledShare::ALL)).round(), f64::from(parts));
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
                .map(|rate| (rate.count, rate.period.as_secs()))
                .unwrap()
        };
        assert_eq!(read("100/s"), (100, 1));
        assert_eq!(read("10000/d"), (10_000, 86_400));
        assert_eq!(read("5/10s"), (5, 10));
        assert_eq!(read("10MiB/s"), (10 << 20, 1));
        assert_eq!(read("1kB/m"), (1000, 60));
        assert_eq!(read("0/s"), (0, 1));
        for text in [
            "0/0s",
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

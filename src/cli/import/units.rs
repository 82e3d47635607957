//! Times, sizes and rates as NGINX writes them, in the form of tidegate.

/// Units of times in milliseconds, longest first, as `ngx_parse_time` has them.
const TIMES: [(&str, u64); 8] = [
    ("ms", 1),
    ("y", 365 * 86_400_000),
    ("M", 30 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
];

/// Milliseconds of `60`, `90s`, `1m30s` or `500ms`; `None` for anything else.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let unit = TIMES.iter().find(|(unit, _)| rest.starts_with(unit));
        let factor = match unit {
            Some((unit, factor)) => {
                rest = rest[unit.len()..].trim_start();
                *factor
            }
            None if rest.is_empty() => 1000,
            None => return None,
        };
        sum = sum.checked_add(number.checked_mul(factor)?)?;
    }
    Some(sum)
}

/// A duration of tidegate, in one unit, such as `90s` or `1500ms`.
pub(super) fn duration(milliseconds: u64) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ];
    let whole =
        |(_, factor): &&(&str, u64)| milliseconds != 0 && milliseconds.is_multiple_of(*factor);
    match units.iter().find(whole) {
        Some((unit, factor)) => format!("{}{unit}", milliseconds / factor),
        None => format!("{milliseconds}ms"),
    }
}

/// Bytes of `512`, `8k`, `10m` or `1g`; `None` for anything else.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let units = [("k", 10), ("m", 20), ("g", 30)];
    let lower = text.to_ascii_lowercase();
    let found = units
        .iter()
        .find_map(|(unit, bits)| Some((lower.strip_suffix(unit)?, *bits)));
    let (number, bits) = found.unwrap_or((&lower, 0));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(1 << bits)
}

/// A size of tidegate, in the largest unit without a rest.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |(_, bits): &&(&str, u32)| bytes != 0 && bytes.is_multiple_of(1_u64 << bits);
    match units.iter().find(whole) {
        Some((unit, bits)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

/// A rate of `limit_req_zone`: requests in a second or a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ZoneRate {
    pub(super) requests: u64,
    pub(super) milliseconds: u64,
}

impl ZoneRate {
    /// `10r/s` or `30r/m`; `None` for anything else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (number, milliseconds) = match text.strip_suffix("r/s") {
            Some(number) => (number, 1000),
            None => (text.strip_suffix("r/m")?, 60_000),
        };
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let requests = number.parse().ok().filter(|_| is_number)?;
        (requests > 0).then_some(Self {
            requests,
            milliseconds,
        })
    }

    /// In the form of tidegate.
    pub(super) fn text(self) -> String {
        let unit = if self.milliseconds == 1000 { "s" } else { "m" };
        format!("{}/{unit}", self.requests)
    }

    /// Milliseconds in which so many requests are due, rounded up.
    pub(super) fn time_of(self, requests: u64) -> u64 {
        let whole = requests.saturating_mul(self.milliseconds);
        whole.div_ceil(self.requests.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_seconds_unless_they_have_a_unit() {
        for (text, value) in [
            ("60", Some("1m")),
            ("90s", Some("90s")),
            ("1m30s", Some("90s")),
            ("500ms", Some("500ms")),
            ("1h 30m", Some("90m")),
            ("1d", Some("1d")),
            ("1w", Some("7d")),
            ("0", Some("0ms")),
            ("", None),
            ("s", None),
            ("1x", None),
            ("-1", None),
        ] {
            assert_eq!(milliseconds(text).map(duration).as_deref(), value, "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_unless_they_have_a_unit() {
        for (text, value) in [
            ("10m", Some("10MiB")),
            ("8k", Some("8KiB")),
            ("1G", Some("1GiB")),
            ("1000", Some("1000B")),
            ("2048", Some("2KiB")),
            ("m", None),
            ("1t", None),
            ("+1", None),
        ] {
            assert_eq!(bytes(text).map(size).as_deref(), value, "{text}");
        }
    }

    #[test]
    fn a_rate_is_by_the_second_or_by_the_minute() {
        let rate = ZoneRate::read("30r/m").unwrap();
        assert_eq!((rate.text().as_str(), rate.time_of(5)), ("30/m", 10_000));
        assert_eq!(ZoneRate::read("3r/s").unwrap().time_of(1), 334);
        for text in ["10", "0r/s", "10r/h", "1.5r/s", "+1r/s"] {
            assert_eq!(ZoneRate::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_none(text: String) {
            let _ = (milliseconds(&text), bytes(&text), ZoneRate::read(&text));
        }
    }
}

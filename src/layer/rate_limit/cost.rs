//! The number of tokens that a request takes.
//!
//! The cost is known before any bucket is asked, and does not change later:
//! neither the response nor a retry moves it. A cost of 0 is always admitted.
//! The configuration is refused if the highest cost of a limit does not fit
//! into each of its bursts, since such a request would never be admitted.
//!
//! The header is the client's word unless a proxy before the gateway overwrites
//! it. The cost therefore has an upper bound, and a header that is malformed
//! costs the default instead of nothing: a client gains nothing by sending
//! nonsense.

use http::{HeaderMap, HeaderName};

use crate::policy::Cost;

/// Tokens of a request with these headers.
///
/// The result is at most `max` for a cost from a header. Does not allocate.
#[inline]
pub(super) fn of(cost: &Cost, headers: &HeaderMap) -> u32 {
    match cost {
        Cost::Fixed(cost) => *cost,
        Cost::Header { name, default, max } => stated(headers, name).unwrap_or(*default).min(*max),
    }
}

/// The whole number in a header. A number above [`u32::MAX`] counts as that,
/// and is cut to the maximum of the limit afterwards.
///
/// `None` for a request without the header, with several lines of it, or with
/// anything but ASCII digits in it: a sign, a blank, a list and a fraction are
/// no numbers here. Leading zeros are allowed.
fn stated(headers: &HeaderMap, name: &HeaderName) -> Option<u32> {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let digits = line.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u32, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn cost(lines: &[&str]) -> u32 {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-cost", HeaderValue::from_str(line).unwrap());
        }
        let cost = Cost::Header {
            name: HeaderName::from_static("x-cost"),
            default: 7,
            max: 100,
        };
        of(&cost, &headers)
    }

    #[test]
    fn a_header_tells_a_whole_number_and_nothing_else() {
        for (lines, expected) in [
            (&["5"][..], 5),
            (&["0"], 0),
            (&["0100"], 100),
            (&["101"], 100),
            (&["99999999999999999999999"], 100),
            (&["-1"], 7),
            (&["+1"], 7),
            (&["1.5"], 7),
            (&["1, 2"], 7),
            (&["1", "1"], 7),
            (&[""], 7),
            (&[], 7),
        ] {
            assert_eq!(cost(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_header_says_the_cost_is_within_its_bounds(text in "[ -~]{0,30}") {
            prop_assert!(cost(&[&text]) <= 100);
        }
    }
}

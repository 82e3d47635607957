//! Statuses of responses, one or a hundred at once.
//!
//! The key `count` of a limit names the statuses of responses in this form.
//! Only three digits are taken, or one digit with `xx` in small letters: the
//! lengths are matched byte by byte, so that signs, leading zeros and digits of
//! other scripts are refused without a further check.

use super::super::wrong::Wrong;
use crate::policy::Statuses;

/// `"401"`, `"5xx"`: statuses from 200 to 599. Those below end no exchange.
///
/// # Errors
/// Anything else.
///
/// The statuses are a range with both ends included. A single status is a range
/// of one, and a class such as `"5xx"` a range of a hundred, so that the code
/// that looks at responses compares two numbers and knows no classes.
///
/// Informational statuses (1xx, RFC 9110, section 15.2) are refused, because
/// they are interim: a final response follows.
pub(in crate::config) fn statuses(text: &str) -> Result<Statuses, Wrong> {
    let help = "write one such as \"401\", or \"5xx\" for all from 500 to 599";
    let bounds = ["0", "9"].map(|digit| text.replace('x', digit).parse());
    match (text.as_bytes(), bounds) {
        (
            [b'2'..=b'5', b'x', b'x'] | [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'],
            [Ok(first), Ok(last)],
        ) => Ok(Statuses { first, last }),
        _ => Err(Wrong::new("it is no status of an answer", help)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_or_a_class() {
        assert_eq!(
            statuses("401").unwrap(),
            Statuses {
                first: 401,
                last: 401
            }
        );
        assert_eq!(
            statuses("5xx").unwrap(),
            Statuses {
                first: 500,
                last: 599
            }
        );
        for text in [
            "",
            "xx",
            "1xx",
            "6xx",
            "4XX",
            "99",
            "600",
            "+401",
            "0401",
            "4x",
            "\u{663}01",
        ] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }
}

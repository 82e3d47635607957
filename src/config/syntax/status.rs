//! Statuses of responses, one or a hundred at once.

use super::super::wrong::Wrong;
use crate::policy::Statuses;

/// `"401"`, `"5xx"`: statuses from 200 to 599. Those below end no exchange.
///
/// # Errors
/// Anything else.
pub(in crate::config) fn statuses(text: &str) -> Result<Statuses, Wrong> {
    let help = "write one such as \"401\", or \"5xx\" for all from 500 to 599";
    let none = || Wrong::new("it is no status of an answer", help);
    match text.as_bytes() {
        [b'2'..=b'5', b'x', b'x'] => {
            let first = text.replace('x', "0").parse().map_err(|_| none())?;
            let last = first + 99;
            Ok(Statuses { first, last })
        }
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
            let first = text.parse().map_err(|_| none())?;
            Ok(Statuses { first, last: first })
        }
        _ => Err(none()),
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

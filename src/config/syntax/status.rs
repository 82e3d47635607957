//! Statuses of answers, one or a hundred at once.

use super::super::wrong::Wrong;
use crate::policy::Statuses;

/// `"401"`, `"5xx"`.
pub(in crate::config) fn statuses(text: &str) -> Result<Statuses, Wrong> {
    let wrong = || {
        Wrong::new(
            "it is no status of an answer",
            "write one such as \"401\", or \"5xx\" for all from 500 to 599",
        )
    };
    if let Some(hundreds) = text.strip_suffix("xx") {
        return match hundreds {
            "2" | "3" | "4" | "5" => {
                let first = u16::from(hundreds.as_bytes()[0] - b'0') * 100;
                Ok(Statuses {
                    first,
                    last: first + 99,
                })
            }
            _ => Err(wrong()),
        };
    }
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text
        .parse()
        .ok()
        .filter(|status| digits && (200..600).contains(status))
        .ok_or_else(wrong)?;
    Ok(Statuses {
        first: status,
        last: status,
    })
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

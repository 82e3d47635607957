//! Words that people write where there is to be no bound.

use super::{suggest, wrong::Wrong};

/// Words that mean that there is no bound.
const UNBOUNDED: [&str; 14] = [
    "off",
    "\u{221e}",
    "unlimited",
    "none",
    "no",
    "never",
    "infinite",
    "infinity",
    "inf",
    "disabled",
    "disable",
    "false",
    "null",
    "-1",
];

/// Whether a text says that there is no bound.
pub(super) fn is_unbounded(text: &str) -> bool {
    let lower = text.trim().to_lowercase();
    UNBOUNDED.contains(&lower.as_str())
}

/// Help for a value that may also be a word such as "off".
pub(super) fn or_word(word: &str, text: &str, wrong: Wrong) -> Wrong {
    let lower = text.trim().to_ascii_lowercase();
    let is_meant = is_unbounded(text) || suggest::nearest(&lower, [word]).is_some();
    let help = match wrong.help {
        _ if is_meant => format!("write \"{word}\""),
        help if help.ends_with('?') => format!("{help} (or \"{word}\")"),
        help => format!("{help}; or \"{word}\""),
    };
    Wrong::new(wrong.why, help)
}

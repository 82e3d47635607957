//! Words that people write where there is to be no bound.
//!
//! The language has one such word at most for a key, mostly `"off"`, and none
//! for keys that need a bound. The words here serve to advise it.

use super::{suggest, wrong::Wrong};

/// Words that mean that there is no bound.
const UNBOUNDED: &str = "off \u{221e} unlimited none no never infinite infinity inf disabled disable \
    false null -1";

/// Whether a text says that there is no bound.
pub(super) fn is_unbounded(text: &str) -> bool {
    let lower = text.trim().to_lowercase();
    UNBOUNDED.split(' ').any(|word| word == lower)
}

/// The switch that a word stands for, in any case: "yes" or "no" and the like.
pub(super) fn switch(text: &str) -> Option<bool> {
    match &*text.to_ascii_lowercase() {
        "yes" | "on" | "true" | "enabled" | "enable" | "y" | "t" => Some(true),
        "no" | "off" | "false" | "disabled" | "disable" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// Adds `word` to the help on a value that may also be this word, such as
/// "off". If `text` is another word for it, the help is that word alone.
pub(super) fn or_word(word: &str, text: &str, wrong: Wrong) -> Wrong {
    let lower = text.trim().to_ascii_lowercase();
    let is_meant = is_unbounded(text) || suggest::nearest(&lower, &[word]).is_some();
    let help = match wrong.help {
        _ if is_meant => format!("write \"{word}\""),
        help if help.ends_with('?') => format!("{help} (or \"{word}\")"),
        help => format!("{help}; or \"{word}\""),
    };
    Wrong::new(wrong.why, help)
}

//! The small languages inside strings: each a pure function from text to a
//! typed value or to why not.

pub(super) mod address;
pub(super) mod header;
pub(super) mod host;
pub(super) mod key;
pub(super) mod path;
pub(super) mod path_language;
pub(super) mod status;
pub(super) mod store;
pub(super) mod template;

use std::sync::Arc;

use super::{suggest, wrong::Wrong};

/// Longest name of a limit, an upstream or a route; names travel in header
/// values and metric labels.
const LONGEST_NAME: usize = 128;

/// The name of a limit, an upstream or a route.
pub(super) fn name(text: &str) -> Result<Arc<str>, Wrong> {
    let help = "names are 1 to 128 printable ASCII characters without quotes and backslashes, such as \"per-client\"";
    let wrong = |why: &str| Err(Wrong::new(why, help));
    if text.is_empty() {
        return wrong("a name is not empty");
    }
    if text.len() > LONGEST_NAME {
        return wrong("the name is too long");
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return wrong("a name neither begins nor ends with a space");
    }
    match text
        .chars()
        .find(|c| !matches!(c, ' '..='~') || matches!(c, '"' | '\'' | '\\' | '`'))
    {
        Some(c) => match suggest::stranger(text) {
            Some(stranger) => wrong(&format!("there is {stranger}")),
            None => wrong(&format!("{c:?} cannot be in a name")),
        },
        None => Ok(text.into()),
    }
}

/// The name of a file; where it lies is looked at later.
pub(super) fn file_name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::new(
            "it names no file",
            "write a path, relative to this file or from `/` on",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_headers_and_labels() {
        assert!(name("per-client.v2 (new)").is_ok());
        for text in ["", " a", "a\"b", "a\nb", "ä", "a\\b", &"x".repeat(129)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}

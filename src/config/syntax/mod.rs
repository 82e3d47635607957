//! The small languages inside strings: each a pure function from text to a
//! typed value or to the reason why there is none.
//!
//! Readers are strict, and accept one spelling of a value. A text in the form of
//! another gateway is refused, with the form that is right here as its help.
//! [`wire`](super::wire) names the reader for the type of each key.
//!
//! # Rules for a reader
//!
//! * Its input is the text of one string, with variables of the environment
//!   filled in. It reads no file, asks for no name and has no state.
//! * It returns one [`Wrong`]: a reason, and help that can be copied into the
//!   file. The place of the string is known to the caller only.
//! * It returns the first mistake that it finds. Several mistakes in one string
//!   are rare, and the second is often caused by the first.
//! * It never panics, whatever the text is: a file may come from a tool that
//!   writes nonsense.
//! * A check that needs a second key belongs to `resolve`.

pub(super) mod acme;
pub(super) mod address;
pub(super) mod body;
pub(super) mod cost;
pub(super) mod header;
pub(super) mod host;
pub(super) mod identity;
pub(super) mod key;
pub(super) mod log;
pub(super) mod origin;
pub(super) mod path;
pub(super) mod path_language;
mod socket;
pub(super) mod store;
pub(super) mod template;
pub(super) mod traces;

use std::{fmt, sync::Arc};

use super::{characters, wrong::Wrong};

/// Longest name of a limit, an upstream or a route; names travel in header
/// values and metric labels.
///
/// In bytes, which are characters here, as names are ASCII.
const LONGEST_NAME: usize = 128;

/// The name of a limit, an upstream or a route.
///
/// # Errors
/// An empty or overlong name, and characters that a header value or a label of
/// a metric would have to escape.
///
/// Names are compared with their case. The text is shared, because many parts
/// of the gateway hold the same name.
pub(super) fn name(text: &str) -> Result<Arc<str>, Wrong> {
    let help = "names are 1 to 128 printable ASCII characters without quotes and backslashes, such as \"per-client\"";
    let is_odd = |c: &char| !matches!(c, ' '..='~') || matches!(c, '"' | '\'' | '\\' | '`');
    let why = match (text.chars().find(is_odd), characters::stranger(text)) {
        _ if text.is_empty() => "a name is not empty".to_owned(),
        _ if text.len() > LONGEST_NAME => "the name is too long".to_owned(),
        _ if text.trim_matches(' ') != text => {
            "a name neither begins nor ends with a space".to_owned()
        }
        (None, _) => return Ok(text.into()),
        (_, Some(stranger)) => format!("there is {stranger}"),
        (Some(c), None) => format!("{c:?} cannot be in a name"),
    };
    Err(Wrong::new(why, help))
}

/// The pieces of a text that seems to hold several values.
///
/// Commas, semicolons and spaces separate them, and empty pieces are dropped. A
/// text with a single value gives one piece.
fn pieces(text: &str) -> Vec<&str> {
    let pieces = text.split([',', ';', ' ']);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// Values as the items of a list, without its brackets.
///
/// The values are not escaped, so that a quote within one of them stays as it
/// is.
pub(super) fn in_quotes(values: &[impl fmt::Display]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    quoted.join(", ")
}

/// The name of a file. Whether it is there is found when it is read, as the
/// folder that a relative name starts at is not known here.
///
/// # Errors
/// An empty text, or one with a NUL, which no system call takes.
pub(super) fn file_name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.contains('\0') {
        let help = "write a path, relative to this file or from `/` on";
        return Err(Wrong::new("it names no file", help));
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

//! The files with the bodies of refusals: their types, and the places in them
//! that each refusal fills in.
//!
//! # Braces
//!
//! Pages are full of braces: styles, scripts, JSON. A place is a word of small
//! letters and `_` right between two braces, and all other braces are text.
//! `{{` before such a word is one brace, so that it is text, too.
//!
//! A word that is no known placeholder is a mistake, because a client would
//! read it as it stands. In HTML only one that looks like a misspelt
//! placeholder is: scripts have words in braces.

use bytes::Bytes;

use super::super::{suggest, wrong::Wrong};
use crate::policy::{BodyKind, BodyPart, Placeholder, RefusalBody};

/// The extensions of files and their types.
const EXTENSIONS: [(&str, BodyKind); 5] = [
    ("html", BodyKind::Html),
    ("htm", BodyKind::Html),
    ("json", BodyKind::Json),
    ("txt", BodyKind::Text),
    ("xml", BodyKind::Xml),
];

/// The type of a body by the name of its file.
///
/// # Errors
/// A name without one of the known extensions. Their letter case does not
/// matter.
pub(in crate::config) fn file(text: &str) -> Result<BodyKind, Wrong> {
    super::file_name(text)?;
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    let known = EXTENSIONS.iter().find(|(known, _)| {
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case(known))
    });
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let why = "the type of a body is told by the extension of its file";
        let help = "name it with `.html`, `.htm`, `.json`, `.txt` or `.xml` at the end";
        Wrong::new(why, help)
    })
}

/// A mistake in a body.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct BodyFault {
    /// The line, from 1.
    pub(in crate::config) line: usize,
    pub(in crate::config) wrong: Wrong,
}

/// The parts of the text of a body.
///
/// # Errors
/// Every unknown placeholder; and if there is none, text that is no JSON
/// although its type says so, whatever is filled in.
pub(in crate::config) fn parse(kind: BodyKind, text: &str) -> Result<RefusalBody, Vec<BodyFault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut parts, mut faults) = (Vec::new(), Vec::new());
    let (mut open, mut rest) = (String::new(), text);
    let (mut quotes, mut line) = (Quotes::default(), 1);
    while let Some((before, word, behind)) = next_place(rest) {
        open.push_str(before);
        let whole = &rest[before.len()..rest.len() - behind.len()];
        line += before.matches('\n').count();
        rest = behind;
        match Placeholder::of(word) {
            _ if whole.starts_with("{{") => open.push_str(&whole[1..]),
            Some(placeholder) => {
                quotes.pass(&open);
                push_text(&mut parts, &mut open);
                parts.push(match kind {
                    BodyKind::Json if !quotes.are_open => BodyPart::Value(placeholder),
                    _ => BodyPart::Inside(placeholder),
                });
            }
            None => match unknown(kind, word) {
                Some(wrong) => faults.push(BodyFault { line, wrong }),
                None => open.push_str(whole),
            },
        }
    }
    open.push_str(rest);
    push_text(&mut parts, &mut open);
    let body = RefusalBody { kind, parts };
    if faults.is_empty() && kind == BodyKind::Json {
        faults.extend(not_json(&body));
    }
    match faults.is_empty() {
        true => Ok(body),
        false => Err(faults),
    }
}

/// Adds text to the parts, if there is any, and leaves it empty.
fn push_text(parts: &mut Vec<BodyPart>, text: &mut String) {
    let text = std::mem::take(text);
    if !text.is_empty() {
        parts.push(BodyPart::Text(Bytes::from(text)));
    }
}

/// The text before the next word in braces, the word, and the text behind its
/// closing brace. Of several opening braces, the last two belong to the word.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    for (at, _) in text.match_indices('{') {
        let inside = &text[at + 1..];
        let is_of_a_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let length = inside.find(|c| !is_of_a_word(c)).unwrap_or(inside.len());
        let (word, behind) = inside.split_at(length);
        if let (1.., Some(behind)) = (length, behind.strip_prefix('}')) {
            let before = &text[..at];
            return Some((before.strip_suffix('{').unwrap_or(before), word, behind));
        }
    }
    None
}

/// The mistake of a word in braces that is no placeholder; `None` if it is text
/// of a script.
fn unknown(kind: BodyKind, word: &str) -> Option<Wrong> {
    let names = Placeholder::NAMES.map(|(name, _)| name);
    let near = suggest::nearest(word, &names);
    if kind == BodyKind::Html && near.is_none() {
        return None;
    }
    let why = format!("has `{{{word}}}`, and nothing of that name is filled in");
    let known = names.map(|name| format!("`{{{name}}}`")).join(", ");
    let help = match near {
        Some(near) => format!(
            "did you mean `{{{near}}}`? Known are {known}; write `{{{{{word}}}` for the text itself"
        ),
        None => format!("known are {known}; write `{{{{{word}}}` for the text itself"),
    };
    Some(Wrong::new(why, help))
}

/// Whether text that was passed has an open string of JSON.
#[derive(Default)]
struct Quotes {
    are_open: bool,
}

impl Quotes {
    /// Passes the text between two places. An escape does not reach over a
    /// place.
    fn pass(&mut self, text: &str) {
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => self.are_open = !self.are_open,
                b'\\' if self.are_open => drop(bytes.next()),
                _ => {}
            }
        }
    }
}

/// Why a body is no JSON once its places are filled in; `None` if it is.
///
/// A place for a whole value may be a number, a string or `null`, which stand
/// in the same positions; a place in a string may be empty.
fn not_json(body: &RefusalBody) -> Option<BodyFault> {
    let mut sample = Vec::new();
    for part in &body.parts {
        match part {
            BodyPart::Text(text) => sample.extend_from_slice(text),
            BodyPart::Inside(_) => {}
            BodyPart::Value(_) => sample.extend_from_slice(b"null"),
        }
    }
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(&sample).err()?;
    let help = "mend it, or name the file `.txt` if it is meant to be text";
    Some(BodyFault {
        line: error.line(),
        wrong: Wrong::new("is not JSON", help),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body with its places in angle brackets, those for values with `=`.
    fn parsed(kind: BodyKind, text: &str) -> String {
        let name = |placeholder: &Placeholder| {
            let mut all = Placeholder::NAMES.iter();
            all.find(|(_, one)| one == placeholder).unwrap().0
        };
        let parts = parse(kind, text).unwrap().parts;
        let shown = parts.iter().map(|part| match part {
            BodyPart::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            BodyPart::Inside(placeholder) => format!("<{}>", name(placeholder)),
            BodyPart::Value(placeholder) => format!("<={}>", name(placeholder)),
        });
        shown.collect()
    }

    #[test]
    fn places_are_words_in_braces_and_all_other_braces_are_text() {
        for (text, shown) in [
            ("wait {retry_after} s", "wait <retry_after> s"),
            ("{status}{route}", "<status><route>"),
            (
                "a{b:c} { status } {} {Status} {x-y}",
                "a{b:c} { status } {} {Status} {x-y}",
            ),
            ("{{status} {{status}}", "{status} {status}}"),
            ("{{{status}", "{{status}"),
            ("{{", "{{"),
            ("{status", "{status"),
            ("\u{feff}x", "x"),
            ("", ""),
        ] {
            assert_eq!(parsed(BodyKind::Text, text), shown);
        }
        let script = "<style>p{color:red}</style><script>const {name} = f({x: 1});</script>";
        assert_eq!(parsed(BodyKind::Html, script), script);
    }

    #[test]
    fn a_place_in_json_is_a_value_or_a_part_of_a_string() {
        let text = r#"{"a":{retry_after},"b":"in \"{route}\" {limit}\\","c":{request_id}}"#;
        assert_eq!(
            parsed(BodyKind::Json, text),
            r#"{"a":<=retry_after>,"b":"in \"<route>\" <limit>\\","c":<=request_id>}"#
        );
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_its_line_and_the_known_ones() {
        let faults = parse(BodyKind::Html, "<p>\n{retry_aftr}\n{name}").unwrap_err();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].line, 2);
        assert!(
            faults[0]
                .wrong
                .help
                .contains("did you mean `{retry_after}`?")
        );
        let faults = parse(BodyKind::Text, "{name} {other}").unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(faults[0].wrong.help.contains("`{request_id}`"));
        assert!(faults[0].wrong.help.contains("`{{name}`"));
    }

    #[test]
    fn a_body_that_is_no_json_is_told_with_its_line() {
        let faults = parse(BodyKind::Json, "{\n\"a\": {retry_after},\n}").unwrap_err();
        assert_eq!((faults.len(), faults[0].line), (1, 3));
    }

    #[test]
    fn the_type_is_that_of_the_extension() {
        assert_eq!(file("errors/429.HTML"), Ok(BodyKind::Html));
        assert_eq!(file("a.b.json"), Ok(BodyKind::Json));
        for name in ["", "429", "429.php", "html", "429.html.j2"] {
            assert!(file(name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn text_without_words_in_braces_stays_as_it_is(text in "[{}a-z_\"\\\\: ]{0,40}") {
            if let Ok(body) = parse(BodyKind::Html, &text)
                && body.parts.iter().all(|part| matches!(part, BodyPart::Text(_)))
                && !text.contains("{{")
            {
                prop_assert_eq!(parsed(BodyKind::Html, &text), text);
            }
        }
    }
}

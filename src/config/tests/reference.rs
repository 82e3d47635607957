//! The reference says of each key what the schema says.

use std::collections::BTreeMap;

use super::super::language::{self, LanguageKey, Section};

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// The words of the reference about a key: a row, or the line above the table
/// of a section.
struct Row {
    /// The cell of the default; `None` above the table of a section.
    default: Option<String>,
    text: String,
}

/// The rows for keys by the path of the key, such as `routes.timeouts.idle`.
fn reference() -> BTreeMap<String, Row> {
    let (_, keys) = REFERENCE.split_once("\n## Keys\n").unwrap();
    let (keys, _) = keys.split_once("\n## ").unwrap();
    let mut rows = BTreeMap::new();
    let mut section = String::new();
    for paragraph in keys.split("\n\n") {
        if let Some(heading) = paragraph.strip_prefix("`[") {
            let (name, text) = heading.split_once("]`").unwrap();
            section = name.trim_matches(['[', ']']).replace(".NAME", "");
            let text = text.trim_start_matches([']', '`', ' ', '—']).to_owned();
            let default = None;
            rows.insert(section.clone(), Row { default, text });
        }
        for line in paragraph.lines().filter(|line| line.starts_with("| `")) {
            // A row that lists sections has no default.
            if let Some((key, row)) = row(line) {
                let before = rows.insert(language::below(&section, &key), row);
                assert!(before.is_none(), "twice: {line}");
            }
        }
    }
    rows
}

/// A row and its key, which may be one of a table in a key: `timeouts` . `idle`.
fn row(line: &str) -> Option<(String, Row)> {
    let mut cells = line.trim_matches(['|', ' ']).split(" | ");
    let key = cells.next()?.replace('`', "").replace(" . ", ".");
    let default = Some(cells.next()?.to_owned());
    let text = cells.next()?.to_owned();
    Some((key, Row { default, text }))
}

/// A text without what only one of the two has: marks of code, a capital letter
/// at the beginning and a full stop at the end.
fn plain(text: &str) -> String {
    let text = text.replace('`', "").replace('\n', " ");
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters).collect()
}

/// Why the reference does not agree with a key, if so.
fn disagreement(
    rows: &BTreeMap<String, Row>,
    section: &Section,
    key: &LanguageKey,
) -> Option<String> {
    let path = language::below(&section.path, &key.name);
    // A cap has the same keys everywhere.
    let shared = path.replace("upstreams.concurrency.", "routes.concurrency.");
    let Some(row) = rows.get(&path).or_else(|| rows.get(&shared)) else {
        return Some("it has no row".to_owned());
    };
    let (text, about) = (plain(&row.text), plain(&key.about));
    let rest = text.strip_prefix(&about);
    if rest.is_none_or(|rest| rest.starts_with(char::is_alphanumeric)) {
        return Some(format!("{text:?} does not begin with {about:?}"));
    }
    let cell = row.default.as_ref()?.trim_matches('`');
    let is_right = match &key.default {
        Some(value) => cell == value.to_string().replace(',', ", "),
        // `[defaults]` has none.
        None if section.path == "defaults" => true,
        None => serde_json::from_str::<serde_json::Value>(cell).is_err(),
    };
    (!is_right).then(|| format!("its default is not {cell}"))
}

#[test]
fn the_reference_has_each_key_with_its_default_and_description() {
    let rows = reference();
    let mut wrong = Vec::new();
    for section in language::sections() {
        for key in &section.keys {
            if let Some(why) = disagreement(&rows, section, key) {
                wrong.push(format!("`{}` in [{}]: {why}", key.name, section.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reference_has_no_key_that_the_language_does_not_have() {
    for path in reference().keys() {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        assert!(language::key(section, key).is_some(), "{path}");
    }
}

//! The reference says of each key what the schema says.

use std::collections::BTreeMap;

use super::super::language::{self, Key, Section};

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// A row of the reference: the cell of the default, and that of the text.
type Row = (String, String);

/// The keys of the reference by the path of their section and their name; and
/// the sections that have a table of their own, by path, each with the sentence
/// above it.
#[derive(Default)]
struct Reference {
    rows: BTreeMap<(String, String), Row>,
    sections: BTreeMap<String, String>,
}

impl Reference {
    fn read() -> Self {
        let mut reference = Self::default();
        let (_, keys) = REFERENCE.split_once("\n## Keys\n").unwrap();
        let (keys, _) = keys.split_once("\n## ").unwrap();
        let mut path = String::new();
        for paragraph in keys.split("\n\n") {
            if let Some(heading) = paragraph.strip_prefix("`[") {
                let (name, text) = heading.split_once("]`").unwrap();
                path = name.trim_matches(['[', ']']).replace(".NAME", "");
                let text = text.trim_start_matches("]`").trim_start_matches(" — ");
                let text = text.replace('\n', " ");
                reference.sections.insert(path.clone(), text);
            }
            for row in paragraph.lines().filter(|line| line.starts_with("| `")) {
                reference.row(&path, row);
            }
        }
        reference
    }

    /// Takes down a row of the section of this path. Its first cell is a key,
    /// or a key and one of the table that it holds, as in `timeouts` . `idle`.
    fn row(&mut self, path: &str, row: &str) {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [names, default, text] = cells[..] else {
            return;
        };
        let (outer, name) = names.split_once(" . ").unwrap_or(("", names));
        let path = match outer.trim_matches('`') {
            "" => path.to_owned(),
            outer => language::below(path, outer),
        };
        let name = name.trim_matches('`').to_owned();
        let row = (default.to_owned(), text.to_owned());
        assert!(
            self.rows.insert((path, name), row).is_none(),
            "twice: {names}"
        );
    }

    /// The text for a key of this section, and the cell of its default unless
    /// the key is a section with a table of its own.
    fn of(&self, section: &Section, key: &Key) -> Option<(Option<&str>, &str)> {
        let below = language::below(&section.path, &key.name);
        if let Some(text) = self.sections.get(&below) {
            return Some((None, text));
        }
        // A cap has the same keys everywhere.
        let path = match section.path.strip_prefix("upstreams.concurrency") {
            Some(inner) => format!("routes.concurrency{inner}"),
            None => section.path.clone(),
        };
        // `[defaults]` has those of routes, and no defaults of its own.
        let is_of_routes = path == "defaults";
        let path = path.replace("defaults", "routes");
        let (default, text) = self.rows.get(&(path, key.name.clone()))?;
        Some(((!is_of_routes).then_some(default), text))
    }
}

/// A text without what only one of the two has: marks of code, a capital letter
/// at the beginning and a full stop at the end.
fn plain(text: &str) -> String {
    let text = text.replace('`', "");
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters).collect()
}

/// Why the reference does not agree with a key, if so.
fn disagreement(section: &Section, key: &Key, reference: &Reference) -> Option<String> {
    let Some((default, text)) = reference.of(section, key) else {
        return Some("it has no row".to_owned());
    };
    let begins = plain(text)
        .strip_prefix(&plain(&key.about))
        .map(str::to_owned);
    let is_whole = begins.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
    if !is_whole {
        return Some(format!("{text:?} does not begin with {:?}", key.about));
    }
    let default = default?;
    let is_right = match &key.default {
        Some(value) => plain(default) == plain(&value.to_string().replace(',', ", ")),
        None => serde_json::from_str::<serde_json::Value>(default.trim_matches('`')).is_err(),
    };
    (!is_right).then(|| format!("the default is not {default}"))
}

#[test]
fn the_reference_has_a_row_for_each_key_with_its_default_and_description() {
    let reference = Reference::read();
    let mut wrong = Vec::new();
    for section in language::sections() {
        for key in &section.keys {
            if let Some(why) = disagreement(section, key, &reference) {
                wrong.push(format!("`{}` in [{}]: {why}", key.name, section.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reference_has_no_row_for_a_key_that_there_is_not() {
    let reference = Reference::read();
    for (path, name) in reference.rows.keys() {
        let key = language::key(path, name);
        assert!(key.is_some(), "`{name}` in [{path}]");
    }
    for path in reference.sections.keys() {
        assert!(language::section(path).is_some(), "[{path}]");
    }
}

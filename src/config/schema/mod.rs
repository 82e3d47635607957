//! The language as data: every section, its keys, what each may hold, its default and a sentence about it.
//!
//! Everything that has to know the keys reads these tables: the check of a file, the reader that fills in defaults,
//! the JSON Schema for editors and the view of the running configuration. A key is declared in one place.

pub(super) mod concurrency;
pub(super) mod limits;
pub(super) mod process;
pub(super) mod routes;
pub(super) mod store;
pub(super) mod upstreams;
pub(super) mod values;

use super::problem::Wrong;

/// A table of the language.
#[derive(Debug)]
pub(super) struct Section {
    /// Its name with dots, as in `routes.timeouts`; empty for the file itself. Keys not built are listed under it.
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// For people: hover text of editors.
    pub(super) about: &'static str,
    pub(super) default: Default,
    pub(super) required: bool,
}

/// What a key may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Flag,
    Whole {
        least: u64,
        most: u64,
    },
    Text(&'static Syntax),
    Choice(&'static [&'static str]),
    /// This word, or something else.
    Or(&'static str, &'static Kind),
    /// At least one, none twice.
    List(&'static Kind),
    /// May be empty.
    Set(&'static Kind),
    /// One alone, or a list.
    OneOrList(&'static Kind),
    /// One alone, or a list in which one may stand more than once.
    OneOrMany(&'static Kind),
    /// A number for short, or a table.
    WholeOrTable {
        least: u64,
        most: u64,
        table: &'static Section,
    },
    /// Free names on the left, texts on the right.
    Map(&'static Syntax, &'static Syntax),
    Table(&'static Section),
    /// `[[section]]`
    Tables(&'static Section),
    /// `[section.NAME]`
    Named(&'static Section),
    /// A text for short, or a table.
    TextOrTable(&'static Syntax, &'static Section),
    /// A text for short, or a list of tables, at least one.
    TextOrTables(&'static Syntax, &'static Section),
}

/// What a key holds when it is absent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// Nothing; what that means is in the key's sentence.
    Nothing,
    Text(&'static str),
    Whole(u64),
    Flag(bool),
    Texts(&'static [&'static str]),
}

/// A small language inside strings.
pub(super) struct Syntax {
    /// What it is, with an article: "a duration".
    pub(super) name: &'static str,
    pub(super) example: &'static str,
    pub(super) check: fn(&str) -> Result<(), Wrong>,
}

impl std::fmt::Debug for Syntax {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Whether any section has a key of this name and such a kind.
pub(super) fn any_key(name: &str, is: impl Fn(Kind) -> bool + Copy) -> bool {
    sections()
        .into_iter()
        .any(|section| section.key(name).is_some_and(|key| is(key.kind)))
}

/// Whether a key of this name holds a list, and none a lone text.
pub(super) fn holds_only_lists(name: &str) -> bool {
    let is_list = |kind| matches!(kind, Kind::List(_) | Kind::Set(_));
    any_key(name, is_list) && !any_key(name, |kind| !is_list(kind) && kind.section().is_none())
}

/// Whether a key of this name holds a table, and none anything else.
pub(super) fn holds_only_tables(name: &str) -> bool {
    any_key(name, |_| true)
        && !any_key(name, |kind| !matches!(kind, Kind::Table(_) | Kind::Map(..)))
}

/// Every section, the file itself first. For advice only: it walks all tables.
pub(super) fn sections() -> Vec<&'static Section> {
    let mut all = vec![&process::FILE_ITSELF];
    let mut at = 0;
    while let Some(section) = all.get(at) {
        let inner = section
            .keys
            .iter()
            .filter_map(|key| key.kind.section())
            .collect::<Vec<_>>();
        for section in inner {
            if !all.iter().any(|known| std::ptr::eq(*known, section)) {
                all.push(section);
            }
        }
        at += 1;
    }
    all
}

impl Kind {
    /// The section below a key of this kind.
    pub(super) fn section(self) -> Option<&'static Section> {
        match self {
            Self::WholeOrTable { table: section, .. }
            | Self::Table(section)
            | Self::Tables(section)
            | Self::Named(section)
            | Self::TextOrTable(_, section)
            | Self::TextOrTables(_, section) => Some(section),
            Self::List(of)
            | Self::Set(of)
            | Self::OneOrList(of)
            | Self::OneOrMany(of)
            | Self::Or(_, of) => of.section(),
            _ => None,
        }
    }
}

impl Key {
    /// An optional key without a default.
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            about,
            default: Default::Nothing,
            required: false,
        }
    }

    pub(super) const fn default(self, default: Default) -> Self {
        Self { default, ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
}

//! Keys that a table does not have: where they belong, or which one is meant.
//!
//! Each adviser looks at the key in one way and knows one kind of mistake. They
//! are asked in one order, and the first that knows something
//! is believed: a misspelt key of the table itself is likelier than a key of
//! another one. Advice on a key that is surely meant also says so to the
//! reader, which then does not report that key as missing.
//!
//! # Order
//!
//! 1. A key of this table with a slip, or under the name that another gateway
//!    has for it.
//! 2. A table of Traefik at the top of the file.
//! 3. A key of a table around this one.
//! 4. A key of a table within this one, at most two levels down.
//! 5. A key of a limit or an upstream, written into a route.
//! 6. A key of any other section.
//!
//! A key that none of them knows gets the names that the table has, or the
//! nearest of them.

use super::{
    advice::{self, header},
    language::{self, Kind, LanguageKey, Section},
    suggest::{self, in_backticks},
    tree::{Node, Table, Value},
    units,
};

/// The advice for a key that its table does not have.
#[derive(Debug)]
pub(super) struct Stray {
    /// Advice in the imperative, or a sentence on where the key belongs.
    pub(super) help: String,
    /// The path of a section, and the key of it that is surely meant.
    pub(super) meant: Option<(String, String)>,
}

/// A key that its table does not have, with all that an adviser may look at.
struct MisplacedKey<'a> {
    /// The section that the table is.
    section: &'a Section,
    /// The key as the file has it.
    name: &'a str,
    /// Its value, of which the shape tells likely places from others.
    node: &'a Node,
    /// The names in the table.
    beside: &'a [&'a str],
}

/// Tables at the top of a file of Traefik, which is TOML too.
const TRAEFIK: [&str; 6] = [
    "entryPoints",
    "http",
    "tcp",
    "providers",
    "certificatesResolvers",
    "serversTransport",
];
/// Most sections that are named for a key that has no place near: more would be
/// a riddle.
const MOST_PLACES: usize = 3;

/// Advice for a key that `section` does not have. `beside`: the names in the
/// same table.
pub(super) fn explain(section: &Section, name: &str, node: &Node, beside: &[&str]) -> Stray {
    let question = MisplacedKey {
        section,
        name,
        node,
        beside,
    };
    let advisers = [
        MisplacedKey::misspelt,
        MisplacedKey::of_traefik,
        MisplacedKey::of_a_table_around,
        MisplacedKey::of_a_table_within,
        MisplacedKey::of_its_own,
        MisplacedKey::of_another_section,
    ];
    let advice = advisers.iter().find_map(|adviser| adviser(&question));
    advice.unwrap_or_else(|| {
        let own = section.names();
        Stray::new(suggest::help(name, &own, "there are no keys here"))
    })
}

impl Stray {
    fn new(help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            meant: None,
        }
    }

    /// Advice on a key that is surely meant.
    fn meaning(section: &str, key: &str, help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            meant: Some((section.to_owned(), key.to_owned())),
        }
    }
}

impl MisplacedKey<'_> {
    /// A key of this table, with a slip or under another gateway's name. The
    /// help gives the value the right shape if it has another one.
    fn misspelt(&self) -> Option<Stray> {
        let (section, node) = (self.section, self.node);
        let near = suggest::close(self.name, &section.names())?;
        let meaning = |help| Some(Stray::meaning(&section.path, near, help));
        let makes_a_limit =
            node.table().is_some() || node.text().is_some_and(|text| units::rate(text).is_ok());
        if near == "limits" && section.path == "routes" && makes_a_limit {
            return meaning(advice::LIMIT_OF_ITS_OWN.to_owned());
        }
        let help = suggest::help(self.name, &[near], "");
        // A route has too many shapes to guess one.
        let key = section.key(near).filter(|key| key.name != "routes");
        let key = key.filter(|key| !has_its_shape(&key.kind, node));
        match key.and_then(|key| advice::right_type(key, &key.kind, node)) {
            Some(right) => meaning(format!("{help} Then {right}")),
            None => meaning(help),
        }
    }

    /// A table of Traefik, whose files are TOML with other tables.
    fn of_traefik(&self) -> Option<Stray> {
        let help = "this is a table of Traefik: its routers are `[[routes]]` here, its services `[upstreams.NAME]`, its rate limits `[limits.NAME]`";
        let is_traefik = self.section.path.is_empty() && TRAEFIK.contains(&self.name);
        is_traefik.then(|| Stray::new(help))
    }

    /// A key of a table around this one. Below the header of an inner table it
    /// is taken for one of that.
    ///
    /// TOML reads each key below a header as one of that table. The nearest
    /// table around is tried first, and a key counts only if it can hold such a
    /// value.
    fn of_a_table_around(&self) -> Option<Stray> {
        let name = self.name;
        let mut path = self.section.path.as_str();
        while !path.is_empty() {
            path = path.rsplit_once('.').map_or("", |(outer, _)| outer);
            let key = language::key(path, name);
            if key.is_some_and(|key| has_its_shape(&key.kind, self.node)) {
                let outer = header(path);
                let inner = header(&self.section.path);
                let belongs = match path {
                    "" => "the file itself: move it to the top, above all tables".to_owned(),
                    _ => format!("`{outer}`: move it above `{inner}`"),
                };
                let help = format!("`{name}` is a key of {belongs}");
                return Some(Stray::meaning(path, name, help));
            }
        }
        None
    }

    /// A key of tables within this one, or within those.
    ///
    /// Keys for which the value has the right shape are preferred. If the table
    /// is in the file already, the key has to be moved into it. Several tables
    /// with such a key are all named, and none of them is surely meant.
    fn of_a_table_within(&self) -> Option<Stray> {
        let (section, name) = (self.section, self.name);
        // A route's own keys are in no table of the defaults.
        if section.path == "defaults" && language::key("routes", name).is_some() {
            return None;
        }
        let mut inner = within(section, name);
        if inner.iter().any(|key| self.fits_in(key)) {
            inner.retain(|key| self.fits_in(key));
        }
        match inner.as_slice() {
            [] => self.of_a_table_further_in(),
            _ if section.path.is_empty() => {
                inner.sort_by_key(|key| key.name != "routes");
                Some(Stray::new(self.below_headers(&inner)))
            }
            [key] => {
                let outer = key.name.as_str();
                let table = self.in_table(key);
                let belongs = format!("`{name}` is a key of `{outer}`");
                Some(match self.beside.contains(&outer) {
                    true => Stray::new(format!("{belongs}: move it into `{outer}`")),
                    false => {
                        let help = format!("{belongs}: write `{table}`");
                        Stray::meaning(&section.path, outer, help)
                    }
                })
            }
            [first, ..] => {
                let names = in_backticks(inner.iter().map(|key| key.name.as_str()), " and of ");
                let table = self.in_table(first);
                let help = format!("`{name}` is a key of {names}: write one such as `{table}`");
                Some(Stray::new(help))
            }
        }
    }

    /// A key of a table in a table of this one.
    fn of_a_table_further_in(&self) -> Option<Stray> {
        self.section.keys.iter().find_map(|outer| {
            let inner = within(outer.kind.section()?, self.name);
            let key = inner.first()?;
            let table = advice::with_brackets(outer, &self.in_table(key));
            let help = format!(
                "`{}` is a key of `{}`: write `{table}`",
                self.name, key.name
            );
            Some(Stray::meaning(&self.section.path, &outer.name, help))
        })
    }

    /// Whether the table that `key` leads to has this key, for such a value.
    fn fits_in(&self, key: &LanguageKey) -> bool {
        let inner = key.kind.section().and_then(|inner| inner.key(self.name));
        inner.is_some_and(|inner| has_its_shape(&inner.kind, self.node))
    }

    /// Headers below which a key of the file itself belongs.
    fn below_headers(&self, inner: &[&LanguageKey]) -> String {
        let (name, is_table) = (self.name, self.node.table().is_some());
        let sections = inner.iter().filter_map(|key| key.kind.section());
        let headers = sections.map(|section| match is_table {
            true => header(&format!("{}.{name}", section.path)),
            false => header(&section.path),
        });
        let places = in_backticks(headers, " or ");
        match is_table {
            true => format!("write {places}: it is no table of the file itself"),
            false => format!("`{name}` is a key of {places}: write it below that header"),
        }
    }

    /// The table that `key` leads to with this key, and with the others that it
    /// has to have beside it.
    fn in_table(&self, key: &LanguageKey) -> String {
        let keys = key.kind.section().into_iter().flat_map(|inner| &inner.keys);
        let required = keys.filter(|key| key.is_required);
        let mut names: Vec<_> = required.map(|key| key.name.as_str()).collect();
        if !names.contains(&self.name) {
            names = vec![self.name];
        }
        let pairs: Vec<_> = names.iter().map(|name| format!("{name} = ...")).collect();
        advice::with_brackets(key, &pairs.join(", "))
    }

    /// In a route, a key that makes a limit or an upstream.
    fn of_its_own(&self) -> Option<Stray> {
        if !matches!(self.section.path.as_str(), "routes" | "defaults") {
            return None;
        }
        if language::key("limits", self.name).is_some() {
            return Some(Stray::new(advice::LIMIT_OF_ITS_OWN));
        }
        let help = "make it an upstream, `[upstreams.NAME]`, and write `upstream = \"NAME\"` here";
        let is_of_upstream = language::key("upstreams", self.name).is_some();
        is_of_upstream.then(|| Stray::new(help))
    }

    /// A key of sections that have nothing to do with this one, under this name
    /// or under the one that the language has for it.
    ///
    /// The word of the file comes first, then the words that the language has
    /// for it.
    fn of_another_section(&self) -> Option<Stray> {
        let name = self.name;
        if let Some(places) = self.sections_with(name, " and of ") {
            return Some(Stray::new(format!("`{name}` is a key of {places}")));
        }
        for word in suggest::meanings(name) {
            if let Some(places) = self.sections_with(word, " or of ") {
                return Some(Stray::new(format!("`{word}` of {places} may be meant")));
            }
        }
        None
    }

    /// The headers of all other sections with such a key, as a list; `None` if
    /// there are none, or more than [`MOST_PLACES`].
    fn sections_with(&self, key: &str, joint: &str) -> Option<String> {
        let mut headers = Vec::new();
        for other in language::sections() {
            let is_other = !other.path.is_empty() && other.path != self.section.path;
            if is_other && other.key(key).is_some() {
                headers.push(header(&other.path));
            }
        }
        headers.dedup();
        let is_some_help = (1..=MOST_PLACES).contains(&headers.len());
        is_some_help.then(|| in_backticks(headers, joint))
    }
}

/// The keys of a section that lead to tables with a key of this name.
fn within<'a>(outer: &'a Section, name: &str) -> Vec<&'a LanguageKey> {
    let has = |key: &&LanguageKey| {
        let inner = key.kind.section();
        inner.is_some_and(|inner| inner.key(name).is_some())
    };
    outer.keys.iter().filter(has).collect()
}

/// Whether a key could be given this value, as far as its type tells. A value
/// that is broken may have been anything.
fn has_its_shape(kind: &Kind, node: &Node) -> bool {
    match (kind, &node.value) {
        (_, Value::Broken) => true,
        (Kind::Or(_, of), Value::Text(_)) => !matches!(**of, Kind::Table(_)),
        (Kind::Or(_, of), _) => has_its_shape(of, node),
        (Kind::Flag, value) => matches!(value, Value::Flag(_)),
        (Kind::Whole { .. }, value) => matches!(value, Value::Whole(_)),
        (Kind::Text(_) | Kind::Choice(_), value) => {
            matches!(
                value,
                Value::Text(_) | Value::Decimal(_) | Value::Foreign(_)
            )
        }
        (Kind::List(_) | Kind::Tables(_), value) => matches!(value, Value::List(_)),
        (Kind::OneOrList(_), value) => matches!(value, Value::Text(_) | Value::List(_)),
        (Kind::Either(_, long), Value::Table(_)) => matches!(**long, Kind::Table(_)),
        (Kind::Either(_, long), Value::List(_)) => {
            matches!(**long, Kind::Tables(_) | Kind::List(_))
        }
        (Kind::Either(short, _), _) => has_its_shape(short, node),
        (Kind::Map(..) | Kind::Table(_), value) => matches!(value, Value::Table(_)),
        (Kind::Named(_), Value::Table(table)) => is_of_tables(table),
        (Kind::Named(_), _) => false,
    }
}

/// Whether all values of a table are tables themselves, as those of named
/// sections are.
fn is_of_tables(table: &Table) -> bool {
    let mut entries = table.entries.values();
    entries.all(|entry| entry.node.table().is_some())
}

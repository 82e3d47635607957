//! The language as data, for advice: every section with its keys, and what each
//! may hold.
//!
//! Advice needs to look at the language from outside of a struct: which section
//! has a key of this name, what could a value of this shape mean, what is the
//! default. The structs of `wire` cannot be asked that while the program runs.
//! Their JSON Schema can, and it is read here into [`Section`], [`LanguageKey`]
//! and [`Kind`], once, when there is the first mistake to advise on or the
//! running configuration is to be shown.
//!
//! A section is known by its path, the names of the keys that lead to it, such
//! as `routes.timeouts`. Sections of `[defaults]` have the paths of those of
//! routes.
//!
//! # Cost
//!
//! The schema is generated and read once, on the first use, and kept for the
//! life of the process. A file without mistakes is read without it. Sections
//! are found by walking from the file along the keys of a path; a section has
//! few keys, which are searched one by one.
//!
//! # Forms of schemas
//!
//! `wire` makes a small number of forms, and `Kind::read` recognizes each by
//! one word: `anyOf` for two forms of a value, `enum` for words, and else the
//! `type`. A new type in `wire` whose schema has none of these counts as a
//! string, and has the advice of one.

use std::sync::{LazyLock, OnceLock};

use serde_json::{Value, json};

use super::{field::ORDER, json_schema::ordered};

/// A table of the language.
#[derive(Debug)]
pub(super) struct Section {
    /// Its name with dots, as in `routes.timeouts`; empty for the file itself.
    pub(super) path: String,
    /// In the order of the struct, in which help lists them.
    pub(super) keys: Vec<LanguageKey>,
}

/// One key of a section: the field of a struct of `wire`.
#[derive(Debug)]
pub(super) struct LanguageKey {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// A sentence for people: the doc comment of the field.
    pub(super) about: String,
    /// The value of an absent key, as JSON. `None`: it has none, or one that
    /// depends on other keys.
    pub(super) default: Option<Value>,
    /// A section without it is refused, or without another one in its place, of
    /// which this is the usual one; never so in `[defaults]`.
    pub(super) is_required: bool,
}

/// The values that a key may hold: the types of `wire`, as far as advice tells
/// them apart.
#[derive(Debug)]
pub(super) enum Kind {
    Flag,
    /// A whole number, with both bounds included. Without bounds in the schema,
    /// they are 0 and the largest `u64`.
    Whole {
        least: u64,
        most: u64,
    },
    /// A string in one of the small languages, or any string.
    Text(StringKind),
    /// One of these words, in the order of the schema.
    Choice(Vec<String>),
    /// This word, or something else.
    Or(String, Box<Kind>),
    /// Some of these, in a list.
    List(Box<Kind>),
    /// One alone, or a list.
    OneOrList(Box<Kind>),
    /// A short form, or a table (or a list of them); a switch, or a list.
    Either(Box<Kind>, Box<Kind>),
    /// Free names on the left, of which this is one that is right, and these on
    /// the right.
    Map(String, Box<Kind>),
    Table(Section),
    /// `[[section]]`
    Tables(Box<Kind>),
    /// `[section.NAME]`
    Named(Box<Kind>),
}

/// A string.
#[derive(Debug)]
pub(super) struct StringKind {
    /// One that is right; `None`: every string is.
    pub(super) example: Option<String>,
    /// It may hold a password.
    pub(super) is_secret: bool,
    /// The pattern for editors.
    pattern: Option<LazyRegex>,
}

/// An expression that is compiled when it is first needed: the views of a
/// gateway that serves read the language too, and match nothing.
#[derive(Debug)]
struct LazyRegex {
    text: String,
    compiled: OnceLock<Option<regex::Regex>>,
}

static FILE: LazyLock<Section> = LazyLock::new(|| Section::read("", &ordered()));

/// The file itself.
pub(super) fn file() -> &'static Section {
    &FILE
}

/// The path of the section that a key of the section `path` leads to, whether
/// or not the language has them. `[defaults]` has the sections of routes.
pub(super) fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        "defaults" => format!("routes.{key}"),
        path => format!("{path}.{key}"),
    }
}

/// Every section, the file itself first and the deepest last, each once.
///
/// Two sections with one path, those of a route and of `[defaults]`, count as
/// one: the first of them is in the list.
pub(super) fn sections() -> Vec<&'static Section> {
    let mut all = vec![file()];
    let mut at = 0;
    while let Some(section) = all.get(at) {
        let inner: Vec<_> = section
            .keys
            .iter()
            .filter_map(|key| key.kind.section())
            .collect();
        for section in inner {
            if !all.iter().any(|known| known.path == section.path) {
                all.push(section);
            }
        }
        at += 1;
    }
    all
}

/// The section of this path.
///
/// `None` if a key on the way does not exist or leads to no section. The empty
/// path is that of the file.
pub(super) fn section(path: &str) -> Option<&'static Section> {
    let mut section = file();
    for key in path.split('.').filter(|key| !key.is_empty()) {
        section = section.key(key)?.kind.section()?;
    }
    Some(section)
}

/// A key of the section of this path.
pub(super) fn key(path: &str, name: &str) -> Option<&'static LanguageKey> {
    section(path)?.key(name)
}

/// Whether any section has a key of this name and such a kind.
///
/// Takes time in proportion to all keys of the language, and is asked for
/// advice only.
pub(super) fn any_key(name: &str, is: impl Fn(&Kind) -> bool + Copy) -> bool {
    sections()
        .into_iter()
        .any(|section| section.key(name).is_some_and(|key| is(&key.kind)))
}

/// Whether a key of this name holds a list, and none a lone text. For text that
/// could not be read, where the section of a key is not known.
pub(super) fn holds_only_lists(name: &str) -> bool {
    let is_list = |kind: &Kind| matches!(kind, Kind::List(_));
    any_key(name, is_list) && !any_key(name, |kind| !is_list(kind) && kind.section().is_none())
}

/// Whether a key of this name holds a table, and none anything else. For text
/// that could not be read, like [`holds_only_lists`].
pub(super) fn holds_only_tables(name: &str) -> bool {
    any_key(name, |_| true)
        && !any_key(name, |kind| !matches!(kind, Kind::Table(_) | Kind::Map(..)))
}

impl Section {
    /// Reads the schema of a table. `path` is the path that it gets, and the
    /// prefix of the paths of the tables inside.
    fn read(path: &str, schema: &Value) -> Self {
        let properties = schema["properties"].as_object();
        let mut properties: Vec<_> = properties.into_iter().flatten().collect();
        properties.sort_by_key(|(_, schema)| schema[ORDER].as_u64());
        let required = schema["required"].as_array();
        let or_else = schema["oneOf"][0]["required"].as_array();
        let is_required = |name: &str| {
            let mut lists = required.into_iter().chain(or_else);
            lists.any(|list| list.contains(&json!(name)))
        };
        let mut keys = Vec::new();
        for (name, schema) in properties {
            let about = schema["description"].as_str();
            keys.push(LanguageKey {
                name: name.clone(),
                kind: Kind::read(&below(path, name), schema),
                about: about.unwrap_or_default().to_owned(),
                default: schema.get("default").cloned(),
                is_required: is_required(name),
            });
        }
        Self {
            path: path.to_owned(),
            keys,
        }
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> Vec<&str> {
        self.keys.iter().map(|key| &*key.name).collect()
    }

    /// The key of this name, spelt exactly so.
    pub(super) fn key(&self, name: &str) -> Option<&LanguageKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// Reads the schema of a value. The types of `wire` make few forms of
    /// schemas, and each is recognized by one word of it; a form that is none
    /// of them is a string. `path` is that of the section which it may be.
    fn read(path: &str, schema: &Value) -> Self {
        if let Some([one, other]) = schema["anyOf"].as_array().map(Vec::as_slice) {
            let (short, long) = (Self::read(path, one), Self::read(path, other));
            return match (one["const"].as_str(), long) {
                (Some(word), other) => Self::Or(word.to_owned(), Box::new(other)),
                (None, Self::List(of)) if !matches!(short, Self::Flag) => Self::OneOrList(of),
                (None, long) => Self::Either(Box::new(short), Box::new(long)),
            };
        }
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().filter_map(Value::as_str);
            return Self::Choice(words.map(str::to_owned).collect());
        }
        let of = match &schema["type"] {
            Value::Array(types) => types.first().and_then(Value::as_str),
            of => of.as_str(),
        };
        match of {
            Some("boolean") => Self::Flag,
            Some("integer") => Self::Whole {
                least: schema["minimum"].as_u64().unwrap_or_default(),
                most: schema["maximum"].as_u64().unwrap_or(u64::MAX),
            },
            Some("array") => match Box::new(Self::read(path, &schema["items"])) {
                table if matches!(*table, Self::Table(_)) => Self::Tables(table),
                item => Self::List(item),
            },
            Some("object") if schema["properties"].is_object() => {
                Self::Table(Section::read(path, schema))
            }
            Some("object") => match Box::new(Self::read(path, &schema["additionalProperties"])) {
                table if matches!(*table, Self::Table(_)) => Self::Named(table),
                values => {
                    let name = schema["propertyNames"]["examples"][0].as_str();
                    Self::Map(name.unwrap_or("NAME").to_owned(), values)
                }
            },
            _ => Self::Text(StringKind::read(schema)),
        }
    }

    /// The section below a key of this kind: its own table, or that of its
    /// items, of its names or of its long form.
    pub(super) fn section(&self) -> Option<&Section> {
        match self {
            Self::Table(section) => Some(section),
            Self::List(of)
            | Self::OneOrList(of)
            | Self::Tables(of)
            | Self::Named(of)
            | Self::Or(_, of)
            | Self::Either(_, of) => of.section(),
            Self::Flag | Self::Whole { .. } | Self::Text(_) | Self::Choice(_) | Self::Map(..) => {
                None
            }
        }
    }

    /// The kind of the values that lie so many lists or named sections further
    /// in.
    ///
    /// A kind without anything inside is returned as it is, whatever the depth.
    pub(super) fn inside(&self, depth: usize) -> &Self {
        match self {
            _ if depth == 0 => self,
            Self::List(of)
            | Self::OneOrList(of)
            | Self::Map(_, of)
            | Self::Tables(of)
            | Self::Named(of) => of.inside(depth - 1),
            Self::Either(_, long) => long.inside(depth),
            _ => self,
        }
    }

    /// A value that is right, if this is a string with a language.
    pub(super) fn example(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.example.as_deref(),
            _ => None,
        }
    }
}

impl StringKind {
    fn read(schema: &Value) -> Self {
        let pattern = schema["pattern"].as_str();
        Self {
            example: schema["examples"][0].as_str().map(str::to_owned),
            is_secret: schema["writeOnly"] == true,
            pattern: pattern.map(|text| LazyRegex {
                text: text.to_owned(),
                compiled: OnceLock::new(),
            }),
        }
    }

    /// Whether every string is one, so that one may be a secret.
    pub(super) fn is_free(&self) -> bool {
        self.pattern.is_none()
    }

    /// Whether a string could be one of these, as far as the pattern for
    /// editors tells.
    pub(super) fn takes(&self, text: &str) -> bool {
        let Some(pattern) = &self.pattern else {
            return true;
        };
        let compile = || regex::Regex::new(&pattern.text).ok();
        let compiled = pattern.compiled.get_or_init(compile);
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

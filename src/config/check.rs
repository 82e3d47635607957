//! Holds a file against the language: every unknown key, missing key, wrong type and bad value is reported.
//!
//! What is wrong is marked as broken in the tree, so that whoever reads it afterwards keeps quiet about it.

use std::ops::RangeInclusive;

use super::{
    advice, environment, misplaced,
    problem::{Code, Problem, Problems, Wrong},
    redact,
    schema::{Key, Kind, Section, Syntax, values::STORE_URL_NAME},
    source::Span,
    suggest,
    tree::{Entry, Node, Table, Text, Value},
};

/// Longest part of a value that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// Checks a table of this section and all below it. `at` is where it begins.
pub(super) fn section(
    section: &'static Section,
    table: &mut Table,
    at: Span,
    problems: &mut Problems,
) {
    if section.path == "limits" {
        redact::of_limit(table, &mut problems.covered);
    }
    let beside: Vec<_> = table.entries.keys().cloned().collect();
    let outer = problems.meant.len();
    table.entries.retain(|name, entry| {
        if section.path == "store" {
            redact::of_store(name, &entry.node, &mut problems.covered);
        }
        let Some(key) = section.key(name) else {
            redact::of_free_name(name, &entry.node, &mut problems.covered);
            let stray = misplaced::explain(section, name, &entry.node, &beside);
            problems.meant.extend(stray.meant);
            problems.report(unknown_key(section, name, entry.key, stray.help));
            return false;
        };
        key.check(key.kind, &mut entry.node, problems);
        true
    });
    // A key that stands in another place, or under another name, is not missing as well.
    for (path, name) in problems.meant.split_off(outer) {
        if path == section.path {
            let broken = || Entry {
                key: at,
                node: Node {
                    span: at,
                    value: Value::Broken,
                },
                inherited: false,
            };
            table.entries.entry(name.to_owned()).or_insert_with(broken);
        } else {
            problems.meant.push((path, name));
        }
    }
    for key in section
        .keys
        .iter()
        .filter(|key| key.required && !table.entries.contains_key(key.name))
    {
        if !problems.incomplete {
            problems.report(missing_key(key, at));
        }
    }
}

fn unknown_key(section: &Section, name: &str, at: Span, help: String) -> Problem {
    let place = if section.path.is_empty() {
        "at the top".to_owned()
    } else {
        format!("in `{}`", section.path)
    };
    Problem::new(
        Code::UnknownKey,
        at,
        format!("there is no key `{name}` {place}"),
    )
    .label("unknown key")
    .help(help)
}

fn missing_key(key: &Key, at: Span) -> Problem {
    let example = match key.kind {
        Kind::Text(syntax) => format!("add `{} = \"{}\"`: {}", key.name, syntax.example, key.about),
        _ => format!("add `{}`: {}", key.name, key.about),
    };
    Problem::new(Code::MissingKey, at, format!("`{}` is missing", key.name))
        .label("here")
        .help(example)
}

impl Key {
    /// Reports what is wrong with a value and marks it as broken.
    fn check(&'static self, kind: Kind, node: &mut Node, problems: &mut Problems) {
        if node.is_broken() {
            return;
        }
        if let Err(problem) = self.value(kind, node, problems) {
            problems.report(*problem);
            node.value = Value::Broken;
        }
    }

    fn value(
        &'static self,
        kind: Kind,
        node: &mut Node,
        problems: &mut Problems,
    ) -> Result<(), Box<Problem>> {
        let at = node.span;
        let written = typed(kind, node).map_err(|wrong| self.bad(&written(node), at, wrong))?;
        let kind = match kind {
            Kind::Or(word, _) if node.text() == Some(word) => return Ok(()),
            Kind::Or(word, Kind::Text(syntax)) if node.text().is_some() => {
                let Value::Text(text) = &node.value else {
                    return Ok(());
                };
                let wrong =
                    |wrong| self.bad(text.shown(), at, advice::or_word(word, &text.text, wrong));
                return (syntax.check)(&text.text).map_err(wrong);
            }
            Kind::Or(_, other) if is_written_like(*other, node) => *other,
            kind => kind,
        };
        match (kind, &mut node.value) {
            (Kind::Flag, Value::Flag(_)) => Ok(()),
            (Kind::Whole { least, most }, Value::Whole(number)) => {
                self.whole(*number, written, least..=most, at)
            }
            (Kind::Text(syntax), Value::Text(text)) => self.text(syntax, text, at),
            (Kind::Choice(words), Value::Text(text)) => self.choice(words, text, at),
            (Kind::OneOrList(of) | Kind::OneOrMany(of), Value::Text(_)) => {
                self.value(*of, node, problems)
            }
            (Kind::WholeOrTable { least, most, .. }, Value::Whole(number)) => {
                self.whole(*number, written, least..=most, at)
            }
            (Kind::WholeOrTable { table: inner, .. }, Value::Table(table)) => {
                section(inner, table, at, problems);
                Ok(())
            }
            (Kind::Map(names, values), Value::Table(table)) => {
                self.map(names, values, table, problems);
                Ok(())
            }
            (Kind::Table(inner) | Kind::TextOrTable(_, inner), Value::Table(table)) => {
                section(inner, table, at, problems);
                Ok(())
            }
            (Kind::TextOrTable(syntax, _) | Kind::TextOrTables(syntax, _), Value::Text(text)) => {
                self.text(syntax, text, at)
            }
            (Kind::Named(inner), Value::Table(table)) => self.named(inner, table, problems),
            (Kind::Map(..), _) => {
                // Names and values are expected here: there may be secrets among them.
                problems.covered.push(at);
                Err(self.wrong_type(kind, node))
            }
            (_, Value::List(_)) => self.list(kind, node, problems),
            _ => Err(self.wrong_type(kind, node)),
        }
    }

    /// Checks a list and each of its items.
    fn list(
        &'static self,
        kind: Kind,
        node: &mut Node,
        problems: &mut Problems,
    ) -> Result<(), Box<Problem>> {
        let at = node.span;
        let Value::List(items) = &mut node.value else {
            return Ok(());
        };
        match kind {
            Kind::Set(of) => self.items(*of, items, problems),
            Kind::List(_)
            | Kind::OneOrList(_)
            | Kind::OneOrMany(_)
            | Kind::Tables(_)
            | Kind::TextOrTables(..)
                if items.is_empty() =>
            {
                return Err(self.empty(at));
            }
            Kind::List(of) | Kind::OneOrList(of) => self.items(*of, items, problems),
            Kind::OneOrMany(of) => items
                .iter_mut()
                .for_each(|item| self.check(*of, item, problems)),
            Kind::TextOrTables(..) if items.iter().any(|item| item.text().is_some()) => {
                return Err(self.wrong_type(kind, node));
            }
            Kind::Tables(inner) | Kind::TextOrTables(_, inner) => {
                items
                    .iter_mut()
                    .for_each(|item| self.check(Kind::Table(inner), item, problems));
            }
            _ => return Err(self.wrong_type(kind, node)),
        }
        Ok(())
    }

    /// `written`: what the file has, where the number is from the environment.
    fn whole(
        &'static self,
        number: i64,
        written: Option<String>,
        range: RangeInclusive<u64>,
        at: Span,
    ) -> Result<(), Box<Problem>> {
        let why = match u64::try_from(number) {
            Ok(number) if range.contains(&number) => return Ok(()),
            Ok(number) if number > *range.end() => format!("the most is {}", range.end()),
            _ => format!("the least is {}", range.start()),
        };
        let shown = written.unwrap_or_else(|| number.to_string());
        Err(self.bad(&shown, at, Wrong::new(why, self.about)))
    }

    fn text(&'static self, syntax: &Syntax, text: &Text, at: Span) -> Result<(), Box<Problem>> {
        (syntax.check)(&text.text).map_err(|wrong| match syntax.name {
            STORE_URL_NAME => self.bad(&redact::store_url(text.shown()), at, wrong),
            _ => self.bad(text.shown(), at, wrong),
        })
    }

    fn choice(
        &'static self,
        words: &'static [&'static str],
        text: &Text,
        at: Span,
    ) -> Result<(), Box<Problem>> {
        if words.contains(&text.text.as_str()) {
            return Ok(());
        }
        let help = suggest::help(&text.text, words.iter().copied(), "");
        Err(self.bad(
            text.shown(),
            at,
            Wrong::new("there is no such choice", help),
        ))
    }

    fn items(&'static self, of: Kind, items: &mut [Node], problems: &mut Problems) {
        items
            .iter_mut()
            .for_each(|item| self.check(of, item, problems));
        for at in 1..items.len() {
            let (before, after) = items.split_at_mut(at);
            let Some(item) = after.first_mut() else {
                continue;
            };
            let twice = |other: &&Node| item.text().is_some() && other.text() == item.text();
            // Lists may be long (networks); only then the quadratic search would hurt.
            if before.len() < 1000
                && let Some(first) = before.iter().find(twice)
            {
                let message = format!("`{}` has this twice", self.name);
                let problem = Problem::new(Code::Duplicate, item.span, message)
                    .also(first.span, "first here");
                problems.report(problem.help("keep one of the two"));
                item.value = Value::Broken;
            }
        }
    }

    fn map(
        &'static self,
        names: &Syntax,
        values: &'static Syntax,
        table: &mut Table,
        problems: &mut Problems,
    ) {
        for (name, entry) in &mut table.entries {
            if let Err(wrong) = (names.check)(name) {
                problems.report(*self.bad(name, entry.key, wrong));
                entry.node.value = Value::Broken;
            }
            redact::of_free_name(name, &entry.node, &mut problems.covered);
            let Value::Text(text) = &entry.node.value else {
                if let (false, Err(problem)) = (
                    entry.node.is_broken(),
                    self.value(Kind::Text(values), &mut entry.node, problems),
                ) {
                    // The help would repeat the value.
                    let is_secret = redact::is_secret_name(name);
                    problems.report(if is_secret {
                        problem.help("write it in quotes")
                    } else {
                        *problem
                    });
                    entry.node.value = Value::Broken;
                }
                continue;
            };
            if let Err(wrong) = (values.check)(&text.text) {
                problems.report(*self.bad(&redact::value(name, text), entry.node.span, wrong));
                entry.node.value = Value::Broken;
            }
        }
    }

    /// A key of the tables below that stands before them leaves all of them unknown: it may be that of any.
    fn named(
        &'static self,
        inner: &'static Section,
        table: &mut Table,
        problems: &mut Problems,
    ) -> Result<(), Box<Problem>> {
        let is_loose = |name: &str, node: &Node| {
            inner.key(name).is_some() && node.table().is_none() && !node.is_broken()
        };
        let mut loose = None;
        for (name, entry) in table
            .entries
            .iter_mut()
            .filter(|(name, entry)| is_loose(name, &entry.node))
        {
            loose.get_or_insert((name.clone(), entry.key));
            entry.node.value = Value::Broken;
        }
        for (name, entry) in &mut table.entries {
            if let Err(wrong) = super::syntax::name(name) {
                problems.report(*self.bad(name, entry.key, wrong));
            }
            if entry.node.table().is_none() && !entry.node.is_broken() {
                let message = format!(
                    "`{name}` in `[{}]` is a table, not {}",
                    self.name,
                    entry.node.type_name()
                );
                let help = advice::in_a_table(name, inner, &entry.node);
                let help = help.unwrap_or_else(|| format!("write `[{}.{name}]`", self.name));
                problems.report(Problem::new(Code::WrongType, entry.node.span, message).help(help));
                entry.node.value = Value::Broken;
            }
            self.check(Kind::Table(inner), &mut entry.node, problems);
        }
        let Some((name, at)) = loose else {
            return Ok(());
        };
        let message = format!(
            "`{name}` stands in `[{}]` itself, which has only names",
            self.name
        );
        let help = format!("write `[{}.NAME]` above it", self.name);
        Err(Box::new(
            Problem::new(Code::WrongType, at, message).help(help),
        ))
    }

    fn bad(&'static self, text: &str, at: Span, wrong: Wrong) -> Box<Problem> {
        let message = format!(
            "`{}` cannot be `{}`: {}",
            self.name,
            quoted(&redact::logins(text)),
            wrong.why
        );
        let is_told = message.contains("there is U+") || wrong.help.contains("there is U+");
        let help = match is_told {
            true => String::new(),
            false => suggest::and_stranger(text) + environment::and_variable(text),
        };
        Box::new(Problem::new(Code::BadValue, at, message).help(wrong.help + &help))
    }

    fn empty(&'static self, at: Span) -> Box<Problem> {
        let about = format!(
            "name at least one, or leave `{}` out: {}",
            self.name, self.about
        );
        Box::new(
            Problem::new(
                Code::BadValue,
                at,
                format!("`{}` is an empty list", self.name),
            )
            .help(about),
        )
    }

    fn wrong_type(&'static self, kind: Kind, node: &Node) -> Box<Problem> {
        let expected = advice::expected(kind);
        let message = format!("`{}` is {expected}, not {}", self.name, node.type_name());
        let problem =
            Problem::new(Code::WrongType, node.span, message).label(format!("expected {expected}"));
        Box::new(
            problem.help(
                advice::right_type(self, kind, node).unwrap_or_else(|| self.about.to_owned()),
            ),
        )
    }
}

/// Gives a value that is wholly one `${...}` the type that the key wants: the environment has only texts. Answers with
/// the variable as it is written.
fn typed(kind: Kind, node: &mut Node) -> Result<Option<String>, Wrong> {
    let Value::Text(text) = &node.value else {
        return Ok(None);
    };
    let Some(inside) = text.variable() else {
        return Ok(None);
    };
    let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
    let wrong = |what, help: &str| {
        Wrong::new(
            format!("the environment variable {name} does not hold {what}"),
            help,
        )
    };
    let written = text.written.clone();
    let value = match kind {
        Kind::Or(word, _) if text.text == word => return Ok(written),
        Kind::Or(_, Kind::Whole { .. }) | Kind::Whole { .. } | Kind::WholeOrTable { .. } => {
            let number = text
                .text
                .trim()
                .parse()
                .map_err(|_| wrong("a whole number", "set it to digits, such as 100"))?;
            Value::Whole(number)
        }
        Kind::Flag => match text.text.trim() {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            _ => return Err(wrong("true or false", "set it to one of the two")),
        },
        Kind::List(_) | Kind::Set(_) => {
            let item = |item: &str| Text {
                text: item.trim().to_owned(),
                written: written.clone(),
            };
            let items = text
                .text
                .split(',')
                .map(item)
                .filter(|item| !item.text.is_empty());
            Value::List(
                items
                    .map(|item| Node {
                        span: node.span,
                        value: Value::Text(item),
                    })
                    .collect(),
            )
        }
        _ => return Ok(None),
    };
    node.value = value;
    Ok(written)
}

fn written(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.shown().to_owned(),
        _ => String::new(),
    }
}

/// Whether a value of `Or` is meant to be the other thing: the mistake is then explained by that.
fn is_written_like(kind: Kind, node: &Node) -> bool {
    matches!(
        (kind, &node.value),
        (Kind::Text(_), Value::Text(_)) | (Kind::Whole { .. }, Value::Whole(_))
    )
}

pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", text[..end].escape_debug()),
        None => text
            .escape_debug()
            .to_string()
            .replace("\\\"", "\"")
            .replace("\\\\", "\\"),
    }
}

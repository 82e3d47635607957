//! Mistakes as people read them: what is wrong, and what would be right.
//!
//! A message names the key and repeats the value, without secrets; the help is
//! a correct form of the same value if one can be guessed (`advice`), and
//! otherwise the description of the key, as in the schema and in the reference.
//! Values that a route has from `[defaults]` are not reported: their mistakes
//! were, when `[defaults]` itself was read.
//!
//! # Secrets
//!
//! A value is shown as the file has it, so that what a variable holds is never
//! repeated. Under a name that the user chooses, such as that of a header, the
//! name decides whether the value may be a secret. Logins in URLs are covered.

use super::{
    super::{
        advice, characters, environment,
        language::{self, Kind, LanguageKey, Section},
        misplaced,
        problem::{Code, Problem},
        redact, suggest,
        tree::{Entry, Table, Value},
        wrong::Wrong,
    },
    error::ReadError,
    node::NodeDeserializer,
};

impl NodeDeserializer<'_> {
    /// Reports the error with which the deserialization of this value ended.
    ///
    /// An error that was reported, and a missing key, which `missing` reports,
    /// cause nothing here.
    pub(super) fn mistake(&self, error: ReadError) {
        let problem = match error {
            ReadError::Reported | ReadError::Missing(_) => return,
            ReadError::Value(wrong) => self.refused(wrong),
            ReadError::Choice(words) => self.no_choice(words),
            ReadError::Empty => self.empty(),
            ReadError::Form => self.wrong_type_problem(&self.forms(), String::new()),
            ReadError::Type { expected, help } => match self.named_section() {
                Some((name, section)) => return self.no_section(name, section),
                None => self.wrong_type_problem(&expected, help),
            },
        };
        self.report(problem);
    }

    /// The one way from this module to the list of mistakes, so that inherited
    /// values are silent everywhere.
    pub(super) fn report(&self, problem: Problem) {
        if !self.context.is_inherited {
            self.context.collector.report(problem);
        }
    }

    /// Reports that this table lacks a key that is required.
    ///
    /// The help has the line to be added, with the example of the key. Nothing
    /// is reported while a part of the file could not be read.
    pub(super) fn missing(&self, name: &'static str) {
        let context = self.context;
        if context.collector.problems().incomplete {
            return;
        }
        let key = language::key(&context.path(), name);
        let example = key.and_then(|key| key.kind.example());
        let line = match example {
            Some(example) => format!("{name} = \"{example}\""),
            None => name.to_owned(),
        };
        let about = key.map(|key| format!(": {}", key.about));
        let help = format!("add `{line}`{}", about.unwrap_or_default());
        let message = format!("`{name}` is missing");
        let problem = Problem::new(Code::MissingKey, self.node.span, message);
        self.report(problem.label("here").help(help));
    }

    /// Reports a key that this table, which is the section `path`, does not
    /// have. Where the key is a slip for another one, that one is noted, so
    /// that it is not reported as missing, too.
    ///
    /// Its value is covered first if the name is that of a secret, since a
    /// misspelt `password` is one still. An inherited key was reported in
    /// `[defaults]`, and is noted all the same.
    pub(super) fn unknown(&self, path: &str, name: &str, entry: &Entry, table: &Table) {
        let collector = self.context.collector;
        redact::of_free_name(name, &entry.node, &mut collector.problems().covered);
        let Some(section) = language::section(path) else {
            return;
        };
        let beside: Vec<_> = table.entries.keys().map(String::as_str).collect();
        let stray = misplaced::explain(section, name, &entry.node, &beside);
        collector.note(&stray);
        if entry.inherited {
            return;
        }
        let place = match path {
            "" => "at the top".to_owned(),
            path => format!("in `{path}`"),
        };
        let message = format!("there is no key `{name}` {place}");
        let problem = Problem::new(Code::UnknownKey, entry.key, message);
        collector.report(problem.label("unknown key").help(stray.help));
    }

    /// A value that has the right type and cannot be. Without help of its own,
    /// the description of the key says what would be right.
    fn refused(&self, wrong: Wrong) -> Problem {
        let shown = self.shown();
        let quoted = redact::quoted(&redact::logins(&shown));
        let message = format!("`{}` cannot be `{quoted}`: {}", self.context.key, wrong.why);
        let mut help = wrong.help;
        if help.is_empty() {
            help.push_str(self.about());
        }
        let is_explained = message.contains("there is U+") || help.contains("there is U+");
        if !is_explained {
            help += &characters::and_stranger(&shown);
            help += environment::and_variable(&shown);
        }
        Problem::new(Code::BadValue, self.node.span, message).help(help)
    }

    /// The value as a message may repeat it.
    ///
    /// Empty for values that are no text and no number.
    fn shown(&self) -> String {
        let problems = self.context.collector.problems();
        let is_covered = problems.covered.contains(&self.node.span);
        match (&self.node.value, self.context.name) {
            (Value::Text(_), Some(_)) if is_covered => "***".to_owned(),
            (Value::Text(text), Some(name)) => redact::value(name, text).into_owned(),
            (Value::Text(text), None) if is_covered => redact::store_url(text.shown()),
            (Value::Text(text), None) => text.shown().to_owned(),
            (Value::Whole(number), _) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The key that this value belongs to.
    fn key(&self) -> Option<&'static LanguageKey> {
        language::key(self.context.section, self.context.key)
    }

    /// Whether the key of this table has values of any form.
    pub(super) fn holds_free_text(&self) -> bool {
        match self.key().map(|key| &key.kind) {
            Some(Kind::Map(_, of)) => match &**of {
                Kind::Text(text) => text.is_free(),
                _ => false,
            },
            _ => true,
        }
    }

    /// The description of the key; empty for the file itself.
    fn about(&self) -> &'static str {
        self.key().map_or("", |key| &key.about)
    }

    /// A word that is none of the choices, with the nearest one as help.
    fn no_choice(&self, words: &'static [&'static str]) -> Problem {
        let text = self.node.text().unwrap_or_default();
        let help = suggest::help(text, words, "");
        self.refused(Wrong::new("there is no such choice", help))
    }

    /// An empty list in the place of one that has to name something. A key
    /// whose absence means the same as an empty list has a list that may be
    /// empty.
    fn empty(&self) -> Problem {
        let key = self.context.key;
        let help = format!("name at least one, or leave `{key}` out: {}", self.about());
        let message = format!("`{key}` is an empty list");
        Problem::new(Code::BadValue, self.node.span, message).help(help)
    }

    /// A value of another type than the key wants. The help of the visitor
    /// comes first, then advice on the same value in a right form, then the
    /// description of the key.
    ///
    /// `expected` and the name of the type complete "`KEY` is ..., not ...". The
    /// kinds of values behind a colon are named last.
    fn wrong_type_problem(&self, expected: &str, help: String) -> Problem {
        let context = self.context;
        let is = self.node.type_name();
        let (expected, message) = match expected.split_once(": ") {
            Some((of_type, kinds)) => {
                let message = format!("`{}` takes {of_type}, not {is}: {kinds}", context.key);
                (of_type, message)
            }
            None => (
                expected,
                format!("`{}` is {expected}, not {is}", context.key),
            ),
        };
        let problem = Problem::new(Code::WrongType, self.node.span, message)
            .label(format!("expected {expected}"));
        // The help would repeat the value.
        if context.name.is_some_and(redact::is_secret_name) {
            return problem.help("write it in quotes");
        }
        if !help.is_empty() {
            return problem.help(help);
        }
        let advice = self.key().and_then(|key| {
            let kind = key.kind.inside(context.depth);
            advice::right_type(key, kind, self.node)
        });
        problem.help(advice.unwrap_or_else(|| self.about().to_owned()))
    }

    /// The two forms that a value of this key may have.
    ///
    /// Empty if the key has one form only.
    fn forms(&self) -> String {
        let kind = self.key().map(|key| key.kind.inside(self.context.depth));
        let Some(Kind::Either(short, long)) = kind else {
            return String::new();
        };
        let short = match **short {
            Kind::Whole { .. } => "a whole number",
            Kind::Flag => "true, false",
            _ => "a string",
        };
        let long = match **long {
            Kind::Tables(_) => "a list of tables",
            Kind::List(_) => "a list",
            _ => "a table",
        };
        format!("{short} or {long}")
    }

    /// The name of this value and the section that it should be, in a table of
    /// named sections.
    fn named_section(&self) -> Option<(&str, &'static Section)> {
        let name = self.context.name?;
        match &self.key()?.kind {
            Kind::Named(of) => Some((name, of.section()?)),
            _ => None,
        }
    }

    /// Reports a value in the place of a section with a name. A key of such
    /// sections is reported once for all of them, where they end.
    ///
    /// The section may be what the value stands for: a URL under `[upstreams]`
    /// is the server of an upstream with that name.
    fn no_section(&self, name: &str, section: &Section) {
        if section.key(name).is_some() {
            return;
        }
        let (key, is) = (self.context.key, self.node.type_name());
        let message = format!("`{name}` in `[{key}]` is a table, not {is}");
        let problem = Problem::new(Code::WrongType, self.node.span, message);
        let advice = advice::in_a_table(name, section, self.node);
        self.report(problem.help(advice.unwrap_or_else(|| format!("write `[{key}.{name}]`"))));
    }
}

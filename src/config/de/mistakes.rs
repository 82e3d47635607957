//! Mistakes as they are told: what is wrong, and what would be right.

use super::{
    super::{
        advice, environment,
        language::{self, Key, Kind, Section},
        misplaced,
        problem::{Code, Problem},
        redact,
        source::Span,
        suggest,
        tree::{Entry, Table, Value},
        wrong::Wrong,
    },
    error::Error,
    node::NodeDeserializer,
};

impl NodeDeserializer<'_> {
    /// Reports what is wrong with this value.
    pub(super) fn mistake(&self, error: Error) {
        let problem = match error {
            Error::Reported | Error::Missing(_) => return,
            Error::Value(wrong) => self.refused(wrong),
            Error::Choice(words) => self.no_choice(words),
            Error::Empty => self.empty(),
            Error::Form => self.wrong_type_problem(&self.forms(), String::new()),
            Error::Type { expected, help } => match self.named_section() {
                Some((name, section)) => return self.no_section(name, section),
                None => self.wrong_type_problem(&expected, help),
            },
        };
        self.report(problem);
    }

    pub(super) fn report(&self, problem: Problem) {
        if !self.context.is_inherited {
            self.context.collector.report(problem);
        }
    }

    /// Reports that this table lacks a key that is required.
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
    /// have.
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

    fn refused(&self, wrong: Wrong) -> Problem {
        refusal(
            self.context.key,
            &self.shown(),
            self.node.span,
            self.or_about(wrong),
        )
    }

    /// The value as a message may repeat it.
    fn shown(&self) -> String {
        let context = self.context;
        match (&self.node.value, context.name) {
            (Value::Text(text), Some(name)) => redact::value(name, text).into_owned(),
            (Value::Text(text), None) if self.is_covered() => redact::store_url(text.shown()),
            (Value::Text(text), None) => text.shown().to_owned(),
            (Value::Whole(number), _) => number.to_string(),
            _ => String::new(),
        }
    }

    fn is_covered(&self) -> bool {
        let problems = self.context.collector.problems();
        problems.covered.contains(&self.node.span)
    }

    /// Without help of its own, the description of the key says what would be
    /// right.
    fn or_about(&self, wrong: Wrong) -> Wrong {
        match wrong.help.as_str() {
            "" => Wrong::new(wrong.why, self.about()),
            _ => wrong,
        }
    }

    /// The key that this value belongs to.
    fn key(&self) -> Option<&'static Key> {
        language::key(self.context.section, self.context.key)
    }

    fn about(&self) -> String {
        self.key().map(|key| key.about.clone()).unwrap_or_default()
    }

    fn no_choice(&self, words: &'static [&'static str]) -> Problem {
        let text = self.node.text().unwrap_or_default();
        let help = suggest::help(text, words.iter().copied(), "");
        self.refused(Wrong::new("there is no such choice", help))
    }

    fn empty(&self) -> Problem {
        let key = self.context.key;
        let help = format!("name at least one, or leave `{key}` out: {}", self.about());
        let message = format!("`{key}` is an empty list");
        Problem::new(Code::BadValue, self.node.span, message).help(help)
    }

    fn wrong_type_problem(&self, expected: &str, help: String) -> Problem {
        let context = self.context;
        let is = self.node.type_name();
        let message = format!("`{}` is {expected}, not {is}", context.key);
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
        problem.help(advice.unwrap_or_else(|| self.about()))
    }

    /// The two forms that a value of this key may have.
    fn forms(&self) -> String {
        let kind = self.key().map(|key| key.kind.inside(self.context.depth));
        let Some(Kind::Either(short, long)) = kind else {
            return String::new();
        };
        let short = match **short {
            Kind::Whole { .. } => "a whole number",
            _ => "a string",
        };
        let long = match **long {
            Kind::Tables(_) => "a list of tables",
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

fn refusal(key: &str, shown: &str, at: Span, wrong: Wrong) -> Problem {
    let message = format!(
        "`{key}` cannot be `{}`: {}",
        redact::quoted(&redact::logins(shown)),
        wrong.why
    );
    let is_told = message.contains("there is U+") || wrong.help.contains("there is U+");
    let more = match is_told {
        true => String::new(),
        false => suggest::and_stranger(shown) + environment::and_variable(shown),
    };
    Problem::new(Code::BadValue, at, message).help(wrong.help + &more)
}

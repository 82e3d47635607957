//! Mistakes as they are told: what is wrong, and what would be right.

use super::{
    super::{
        advice, environment, language, misplaced,
        problem::{Code, Problem},
        redact,
        source::Span,
        suggest,
        tree::{Entry, Value},
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
            Error::Type { expected, help } => self.wrong_type_problem(&expected, help),
        };
        self.report(problem);
    }

    fn report(&self, problem: Problem) {
        if !self.context.is_inherited {
            self.context.collector.report(problem);
        }
    }

    /// Reports that this table lacks a key that is required.
    pub(super) fn missing(&self, name: &'static str) {
        let context = self.context;
        if context.collector.is_incomplete() {
            return;
        }
        let section = language::section(&context.path());
        let key = section.and_then(|section| section.key(name));
        let help = match key {
            Some(key) => match key.kind.example() {
                Some(example) => format!("add `{name} = \"{example}\"`: {}", key.about),
                None => format!("add `{name}`: {}", key.about),
            },
            None => format!("add `{name}`"),
        };
        let problem = Problem::new(
            Code::MissingKey,
            self.node.span,
            format!("`{name}` is missing"),
        );
        self.report(problem.label("here").help(help));
    }

    /// Reports a key that this table, which is the section `path`, does not
    /// have.
    pub(super) fn unknown(&self, path: &str, name: &str, entry: &Entry, beside: &[&str]) {
        let collector = self.context.collector;
        collector.cover_free_name(name, &entry.node);
        let Some(section) = language::section(path) else {
            return;
        };
        let stray = misplaced::explain(section, name, &entry.node, beside);
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
        match (&self.node.value, context.pair) {
            (Value::Text(text), Some(name)) => redact::value(name, text).into_owned(),
            (Value::Text(text), None) if context.collector.is_covered(self.node.span) => {
                redact::store_url(text.shown())
            }
            (Value::Text(text), None) => text.shown().to_owned(),
            (Value::Whole(number), _) => number.to_string(),
            _ => String::new(),
        }
    }

    /// Without help of its own, the description of the key says what would be
    /// right.
    fn or_about(&self, wrong: Wrong) -> Wrong {
        match wrong.help.as_str() {
            "" => Wrong::new(wrong.why, self.about()),
            _ => wrong,
        }
    }

    fn about(&self) -> String {
        let key = language::key(self.context.section, self.context.key);
        key.map(|key| key.about.clone()).unwrap_or_default()
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

    fn wrong_type_problem(&self, expected: &str, help: Option<String>) -> Problem {
        let context = self.context;
        let message = format!(
            "`{}` is {expected}, not {}",
            context.key,
            self.node.type_name()
        );
        let problem = Problem::new(Code::WrongType, self.node.span, message)
            .label(format!("expected {expected}"));
        // The help would repeat the value.
        if context.pair.is_some_and(redact::is_secret_name) {
            return problem.help("write it in quotes");
        }
        let key = language::key(context.section, context.key);
        let advised = |key: &'static language::Key| {
            let kind = key.kind.inside(context.depth);
            advice::right_type(key, kind, self.node)
        };
        let help = help.or_else(|| key.and_then(advised));
        problem.help(help.unwrap_or_else(|| self.about()))
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

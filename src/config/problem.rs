//! Mistakes as they are found: collected, never thrown, so that one reading
//! finds them all.
//!
//! Every step of loading reports to one [`Problems`]. A step that meets a
//! mistake goes on with what is left, and marks the value as broken, so that no
//! later step complains about it again. The steps are chained by hand for that
//! reason: an error that is returned with `?` would end the search.
//!
//! A [`Problem`] has places in bytes. [`Diagnostics`](super::Diagnostics) turn
//! them into lines and columns once everything is read.

use std::{collections::HashSet, path::PathBuf};

use super::source::Span;

/// The kind of mistake that a diagnostic is about. Tools may rely on its name:
/// a kind keeps it, and a mistake keeps its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not TOML.
    Syntax,
    /// A file that cannot be read as text.
    Unreadable,
    /// A key that no version knows.
    UnknownKey,
    /// A required key is absent.
    MissingKey,
    /// A number where a string belongs, and the like.
    WrongType,
    /// The right type, but not a value that makes sense.
    BadValue,
    /// A `${NAME}` that cannot be replaced.
    Environment,
    /// Two things with one identity.
    Duplicate,
    /// A name that nothing has.
    UnknownName,
    /// Keys that exclude or contradict each other.
    Conflict,
    /// A route that an earlier one with the same match hides.
    HiddenRoute,
    /// A configuration without a route.
    NothingToServe,
    /// Something that is defined and never used.
    Unused,
    /// A pattern that no request has.
    NeverMatches,
    /// A value that is allowed and says something else than it seems to.
    Misleading,
    /// A key that changes nothing beside the others.
    NoEffect,
    /// Something is open to more than it should be.
    Exposed,
    /// A certificate that has expired, or soon will.
    Expiry,
}

impl Code {
    /// The name in `error[NAME]`, `warning[NAME]` and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Unreadable => "unreadable",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::BadValue => "bad-value",
            Self::Environment => "environment",
            Self::Duplicate => "duplicate",
            Self::UnknownName => "unknown-name",
            Self::Conflict => "conflict",
            Self::HiddenRoute => "hidden-route",
            Self::NothingToServe => "nothing-to-serve",
            Self::Unused => "unused",
            Self::NeverMatches => "never-matches",
            Self::Misleading => "misleading",
            Self::NoEffect => "no-effect",
            Self::Exposed => "exposed",
            Self::Expiry => "expiry",
        }
    }
}

/// How bad a mistake is. Diagnostics have one severity at a time: warnings are
/// shown where there is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, and yet this is probably a mistake.
    Warning,
}

impl Severity {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake, not yet turned into lines and columns.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) code: Code,
    pub(super) at: At,
    /// The mistake in one sentence, without a full stop.
    pub(super) message: String,
    /// A few words beside the caret; may be empty.
    pub(super) label: String,
    /// Advice on how to mend it, in the imperative: "write `[ ]` around a list".
    pub(super) help: Option<String>,
    /// A second place that belongs to the mistake, with its label.
    pub(super) related: Option<(Span, String)>,
}

/// The place of a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// Bytes of a text that was read.
    Place(Span),
    /// The file as a whole: there is nothing to put a caret under.
    File(PathBuf),
}

impl Problem {
    /// A mistake with which the configuration cannot be used.
    pub(super) fn new(code: Code, at: Span, message: impl Into<String>) -> Self {
        Self::anywhere(code, At::Place(at), message.into())
    }

    /// A mistake of a file as a whole, such as one that cannot be read.
    pub(super) fn of_file(code: Code, file: PathBuf, message: impl Into<String>) -> Self {
        Self::anywhere(code, At::File(file), message.into())
    }

    /// The mistake of a thing with the identity of an earlier one, which is its
    /// second place.
    pub(super) fn twice(at: Span, first: Span, message: impl Into<String>) -> Self {
        Self::new(Code::Duplicate, at, message).also(first, "first here")
    }

    fn anywhere(code: Code, at: At, message: String) -> Self {
        Self {
            severity: Severity::Error,
            code,
            at,
            message,
            label: String::new(),
            help: None,
            related: None,
        }
    }

    /// A few words beside the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Advice on how to mend it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A second place that belongs to the mistake.
    pub(super) fn also(mut self, at: Span, label: impl Into<String>) -> Self {
        self.related = Some((at, label.into()));
        self
    }
}

/// All mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    // Values inherited from [defaults] are looked at once for each route; the
    // user made the mistake once.
    seen: HashSet<(Code, At, String)>,
    /// Values that are not shown: they may be secrets.
    pub(super) covered: Vec<Span>,
    /// Text that could not be read: nobody knows which values in it are
    /// secrets.
    pub(super) unread: Vec<Span>,
    /// Some text could not be understood, so that what seems absent may be
    /// there: absence is not reported.
    pub(super) incomplete: bool,
}

impl Problems {
    /// Reports a mistake with which the configuration cannot be used. Most
    /// mistakes need no more than these four parts; others are reported as a
    /// [`Problem`].
    pub(super) fn error(
        &mut self,
        code: Code,
        at: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Problem::new(code, at, message).help(help));
    }

    /// Reports a mistake with which the configuration can be used all the same.
    /// Warnings are told only while there is no error: what is misspelt in one
    /// place seems unused in another.
    pub(super) fn warn(
        &mut self,
        code: Code,
        at: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = Problem::new(code, at, message).help(help);
        self.report(Problem {
            severity: Severity::Warning,
            ..problem
        });
    }

    /// Reports a mistake, unless the same one was reported at the same place.
    pub(super) fn report(&mut self, problem: Problem) {
        let same = (problem.code, problem.at.clone(), problem.message.clone());
        if self.seen.insert(same) {
            self.list.push(problem);
        }
    }

    /// Whether a key at this place was reported as one that there is not.
    pub(super) fn is_unknown(&self, key: Span) -> bool {
        let mut unknown = self.list.iter().filter(|one| one.code == Code::UnknownKey);
        unknown.any(|problem| problem.at == At::Place(key))
    }

    /// Whether anything keeps the configuration from being used.
    pub(super) fn has_errors(&self) -> bool {
        let mut list = self.list.iter();
        list.any(|problem| problem.severity == Severity::Error)
    }

    /// The errors, or the warnings where there is no error, in the order in
    /// which they were found.
    pub(super) fn into_list(mut self) -> Vec<Problem> {
        if self.has_errors() {
            self.list
                .retain(|problem| problem.severity == Severity::Error);
        }
        self.list
    }
}

//! Mistakes and warnings as people and tools read them: file, line, column, a
//! caret, and the form that would be right.
//!
//! There are three ways to read them. [`Diagnostics::render`] draws pictures for
//! a terminal, in the form of rustc; [`Diagnostics::lines`] has one line for
//! each, for a log; [`Diagnostics::to_json`] is for tools, which get all of them.
//!
//! Nothing that may be a secret leaves this module. Values that the language
//! declares as secret are covered in the text that is shown, lines that could
//! not be read are shown without anything behind names of secrets, and every
//! message passes [`redact`].

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::{
    problem::{At, Code, Problem, Problems, Severity},
    redact,
    source::{Source, Sources, Span},
    watched::Watched,
};

/// Two places within so many lines are shown in one picture.
const NEAR: usize = 40;

/// Mistakes that are shown to people; nobody reads more at once. Tools get all.
const MOST_SHOWN: usize = 50;

/// Every error of a configuration or, where it has none, every warning; and the
/// files to watch for a repair.
///
/// Warnings are left out beside errors: a key that is misspelt in one place
/// seems to be unused in another.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// By file and place.
    pub list: Vec<Diagnostic>,
    /// The files that were read or should have been, and the folders that were
    /// searched.
    pub watched: Watched,
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of mistake.
    pub code: Code,
    /// The file that has it.
    pub file: PathBuf,
    /// Where in the file; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// The mistake, in one sentence without a full stop.
    pub message: String,
    /// Advice on how to mend it.
    pub help: Option<String>,
    /// The place, and perhaps a second one that belongs to it.
    marks: Vec<Mark>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Diagnostics {
    /// Sorts the problems by place, covers what may be a secret in the texts
    /// that are shown, and turns places into lines and columns.
    ///
    /// Problems in the order of their files, and within a file of their first
    /// byte; those about a file as a whole come last. Covering comes first, as
    /// everything after it may show lines.
    pub(super) fn new(problems: Problems, mut sources: Sources) -> Self {
        for at in &problems.covered {
            sources.cover(*at, redact::covered);
        }
        for at in &problems.unread {
            sources.cover(*at, |text| redact::named(text).into_owned());
        }
        let mut problems = problems.into_list();
        problems.sort_by_key(|problem| match problem.at {
            At::Place(span) => (span.file, span.start),
            At::File(_) => (u32::MAX, 0),
        });
        let list = problems.into_iter();
        Self {
            list: list.map(|one| Diagnostic::new(one, &sources)).collect(),
            watched: sources.watched,
        }
    }

    /// Warnings as errors, as `--strict` asks for.
    ///
    /// Messages and order stay the same.
    pub fn strict(mut self) -> Self {
        for diagnostic in &mut self.list {
            diagnostic.severity = Severity::Error;
        }
        self
    }

    /// For a terminal: source lines, carets and help of the first 50, then how
    /// many there are. Ends with a line break.
    pub fn render(&self, color: bool) -> String {
        let renderer = match color {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut out = String::new();
        for diagnostic in self.list.iter().take(MOST_SHOWN) {
            out.push_str(&renderer.render(&diagnostic.report()));
            out.push_str("\n\n");
        }
        if let Some(more) = self.more() {
            out.push_str(&format!("{more}\n\n"));
        }
        let first = self.list.first().map(|one| one.severity);
        let kind = first.unwrap_or(Severity::Error).as_str();
        let number = self.list.len();
        let plural = if number == 1 { "" } else { "s" };
        out + &format!("{number} {kind}{plural} in the configuration\n")
    }

    /// Each of the first 50 in one line, for a log, and how many there are
    /// more.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let shown = self.list.iter().take(MOST_SHOWN);
        shown.map(ToString::to_string).chain(self.more())
    }

    /// How many there are beyond those that are shown.
    fn more(&self) -> Option<String> {
        let more = self.list.len().saturating_sub(MOST_SHOWN);
        (more > 0).then(|| format!("and {more} more"))
    }

    /// A JSON array with an object for each: `severity`, `code`, `file`,
    /// `line`, `column`, `start`, `end`, `message`, `label`, `help`; what does
    /// not apply is null.
    pub fn to_json(&self) -> Value {
        self.list.iter().map(Diagnostic::to_json).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// One line: place, message and help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    fn new(problem: Problem, sources: &Sources) -> Self {
        let (file, marks) = match problem.at {
            At::File(file) => (file, Vec::new()),
            At::Place(span) => {
                let first = Mark::new(span, &problem.label, AnnotationKind::Primary, sources);
                let second = problem.related.and_then(|(span, label)| {
                    Mark::new(span, &label, AnnotationKind::Context, sources)
                });
                let file = first.as_ref().map(|mark| mark.source.path.clone());
                let marks = first.into_iter().chain(second).collect();
                (file.unwrap_or_default(), marks)
            }
        };
        Self {
            severity: problem.severity,
            code: problem.code,
            file,
            place: marks.first().map(|mark| mark.place.clone()),
            message: redact::text(&problem.message),
            help: problem.help.map(|help| redact::text(&help)),
            marks,
        }
    }

    /// The places that belong to the mistake, [`Diagnostic::place`] first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.marks.iter().map(|mark| &mark.place)
    }

    /// The picture of the mistake, as the renderer takes it.
    fn report(&self) -> Vec<Group<'_>> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let mut group = Group::with_title(title.id(self.code.as_str()));
        if self.marks.is_empty() {
            group = group.element(Origin::path(self.file.to_string_lossy()));
        }
        // One picture has both marks when they are near each other.
        for marks in self.marks.chunk_by(Mark::is_near) {
            group = group.elements(snippet(marks));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        vec![group]
    }

    fn to_json(&self) -> Value {
        let place = self.place.as_ref();
        let label = self.marks.first().map(|mark| mark.label.as_str());
        json!({
            "severity": self.severity.as_str(),
            "code": self.code.as_str(),
            "file": self.file.to_string_lossy(),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "start": place.map(|place| place.span.start),
            "end": place.map(|place| place.span.end),
            "message": self.message,
            "label": label.filter(|label| !label.is_empty()),
            "help": self.help,
        })
    }
}

/// A place that a picture points at.
#[derive(Debug, Clone)]
struct Mark {
    source: Arc<Source>,
    place: Place,
    /// A few words beside it; may be empty.
    label: String,
    kind: AnnotationKind,
}

impl Mark {
    /// `None` if there is no such file, as for a section that is absent.
    fn new(span: Span, label: &str, kind: AnnotationKind, sources: &Sources) -> Option<Self> {
        let source = sources.get(span.file)?;
        let bytes = span.bytes();
        let (line, column) = source.line_and_column(bytes.start);
        Some(Self {
            source: Arc::clone(source),
            place: Place {
                span: bytes,
                line,
                column,
            },
            label: redact::text(label),
            kind,
        })
    }

    /// Whether one picture can show both marks.
    fn is_near(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && self.place.line.abs_diff(other.place.line) <= NEAR
    }

    /// The mark in a text that begins at this byte of the file. A value over
    /// many lines is pointed at by its first: the picture stays small and the
    /// place is the same.
    fn annotation(&self, begin: usize) -> Annotation<'_> {
        let span = &self.place.span;
        let line = self.source.line(self.place.line - 1).start;
        let text = self.source.line_text(self.place.line - 1).trim_end();
        let end = span.end.min(line + text.len()).max(span.start);
        let annotation = self.kind.span(span.start - begin..end - begin);
        match self.label.as_str() {
            "" => annotation,
            label => annotation.label(label),
        }
    }
}

/// A picture of the lines from the first to the last of these marks, which are
/// in one file. Only those lines are given to the renderer, which looks at every
/// byte it gets: many mistakes in a large file would take minutes.
fn snippet(marks: &[Mark]) -> Option<Snippet<'_, Annotation<'_>>> {
    let source = &marks.first()?.source;
    let lines = marks.iter().map(|mark| mark.place.line);
    let (first, last) = (lines.clone().min()?, lines.max()?);
    let bytes = source.line(first - 1).start..source.line(last - 1).end;
    let begin = bytes.start;
    let text = redact::stores(source.shown().get(bytes).unwrap_or_default());
    let snippet = Snippet::source(redact::text(&text))
        .line_start(first)
        .path(source.path.to_string_lossy())
        .annotations(marks.iter().map(|mark| mark.annotation(begin)));
    Some(snippet)
}

//! Mistakes and warnings as people and tools read them: file, line, column, a
//! caret, and what would be right.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
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

/// Every error of a configuration or, where it has none, every warning; and
/// what to watch for a repair.
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
    /// A few words for beside the caret; may be empty.
    pub label: String,
    /// Advice on how to mend it.
    pub help: Option<String>,
    /// A second place that belongs to it, with its label.
    pub related: Option<(PathBuf, Place, String)>,
    sources: [Option<Arc<Source>>; 2],
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
    pub(super) fn new(problems: Problems, mut sources: Sources) -> Self {
        problems
            .covered
            .iter()
            .for_each(|at| sources.cover(*at, redact::covered));
        problems
            .unread
            .iter()
            .for_each(|at| sources.cover(*at, |text| redact::named(text).into_owned()));
        let mut problems = problems.into_list();
        problems.sort_by_key(|problem| match problem.at {
            At::Place(span) => (span.file, span.start),
            At::File(_) => (usize::MAX, 0),
        });
        let list = problems
            .into_iter()
            .map(|problem| Diagnostic::new(problem, &sources))
            .collect();
        Self {
            list,
            watched: sources.watched,
        }
    }

    /// Warnings as errors.
    pub fn strict(mut self) -> Self {
        self.list
            .iter_mut()
            .for_each(|one| one.severity = Severity::Error);
        self
    }

    /// For a terminal: source lines, carets and help of the first 50, then how
    /// many there are. Ends with a line break.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for diagnostic in self.list.iter().take(MOST_SHOWN) {
            out.push_str(&renderer.render(&diagnostic.report()));
            out.push_str("\n\n");
        }
        if let Some(more) = self.more() {
            out.push_str(&format!("{more}\n\n"));
        }
        let plural = if self.list.len() == 1 { "" } else { "s" };
        let kind = self
            .list
            .first()
            .map_or(Severity::Error, |one| one.severity)
            .as_str();
        out.push_str(&format!(
            "{} {kind}{plural} in the configuration\n",
            self.list.len()
        ));
        out
    }

    /// Each of the first 50 in one line, for a log, and how many there are
    /// more.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list
            .iter()
            .take(MOST_SHOWN)
            .map(ToString::to_string)
            .chain(self.more())
    }

    fn more(&self) -> Option<String> {
        self.list
            .len()
            .checked_sub(MOST_SHOWN)
            .filter(|more| *more > 0)
            .map(|more| format!("and {more} more"))
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
        let (file, place, source) = match problem.at {
            At::File(file) => (file, None, None),
            At::Place(span) => located(span, sources),
        };
        let second = problem
            .related
            .map(|(span, label)| (located(span, sources), label));
        let (related, second_source) = match second {
            Some(((file, Some(place), source), label)) => (Some((file, place, label)), source),
            _ => (None, None),
        };
        Self {
            severity: problem.severity,
            code: problem.code,
            file,
            place,
            message: redact::text(&problem.message),
            label: redact::text(&problem.label),
            help: problem.help.map(|help| redact::text(&help)),
            related,
            sources: [source, second_source],
        }
    }

    fn report(&self) -> Vec<Group<'_>> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(self.message.as_str())
            .id(self.code.as_str());
        let mut group = match &self.place {
            Some(_) => self
                .snippets()
                .into_iter()
                .fold(Group::with_title(title), Group::element),
            None => Group::with_title(title)
                .element(annotate_snippets::Origin::path(self.file.to_string_lossy())),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        vec![group]
    }

    /// The place, and the second one: in one picture when they are near each
    /// other.
    fn snippets(&self) -> Vec<Snippet<'_, Annotation<'_>>> {
        let [first, second] = &self.sources;
        let (Some(source), Some(place)) = (first, &self.place) else {
            return Vec::new();
        };
        let primary = |lines: &Lines<'_>| lines.mark(place, AnnotationKind::Primary, &self.label);
        let (Some(other), Some((_, related, label))) = (second, &self.related) else {
            let lines = Lines::of(source, place, place);
            return vec![lines.snippet().annotation(primary(&lines))];
        };
        let context = |lines: &Lines<'_>| lines.mark(related, AnnotationKind::Context, label);
        if Arc::ptr_eq(source, other) && place.line.abs_diff(related.line) <= NEAR {
            let lines = Lines::of(source, place, related);
            return vec![
                lines
                    .snippet()
                    .annotation(primary(&lines))
                    .annotation(context(&lines)),
            ];
        }
        let (here, there) = (
            Lines::of(source, place, place),
            Lines::of(other, related, related),
        );
        vec![
            here.snippet().annotation(primary(&here)),
            there.snippet().annotation(context(&there)),
        ]
    }

    fn to_json(&self) -> Value {
        let place = self.place.as_ref();
        json!({
            "severity": self.severity.as_str(),
            "code": self.code.as_str(),
            "file": self.file.to_string_lossy(),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "start": place.map(|place| place.span.start),
            "end": place.map(|place| place.span.end),
            "message": self.message,
            "label": if self.label.is_empty() { None } else { Some(&self.label) },
            "help": self.help,
        })
    }
}

/// The lines that a picture is about. Only they are given to the renderer,
/// which looks at every byte it gets: many mistakes in a large file would take
/// minutes.
struct Lines<'a> {
    source: &'a Source,
    bytes: Range<usize>,
}

impl<'a> Lines<'a> {
    /// From the line of one place to that of the other, in any order.
    fn of(source: &'a Source, one: &Place, other: &Place) -> Self {
        let (first, last) = (one.line.min(other.line), one.line.max(other.line));
        Self {
            source,
            bytes: source.line(first - 1).start..source.line(last - 1).end,
        }
    }

    fn snippet(&self) -> Snippet<'a, Annotation<'a>> {
        let text = redact::stores(
            self.source
                .shown()
                .get(self.bytes.clone())
                .unwrap_or_default(),
        );
        let first = self.source.line_of(self.bytes.start) + 1;
        Snippet::source(redact::text(&text))
            .line_start(first)
            .path(self.source.path.to_string_lossy())
    }

    fn mark<'l>(&self, place: &Place, kind: AnnotationKind, label: &'l str) -> Annotation<'l> {
        // A value over many lines is pointed at by its first: the picture stays
        // small and the place is the same.
        let line = self.source.line(place.line - 1);
        let text = self.source.text.get(line.clone()).unwrap_or_default();
        let end = place
            .span
            .end
            .min(line.start + text.trim_end().len())
            .max(place.span.start);
        let annotation = kind.span(place.span.start - self.bytes.start..end - self.bytes.start);
        if label.is_empty() {
            annotation
        } else {
            annotation.label(label)
        }
    }
}

fn located(span: Span, sources: &Sources) -> (PathBuf, Option<Place>, Option<Arc<Source>>) {
    let Some(source) = sources.get(span.file) else {
        return (PathBuf::new(), None, None);
    };
    let (line, column) = source.line_and_column(span.start);
    let place = Place {
        span: span.start..span.end,
        line,
        column,
    };
    (source.path.clone(), Some(place), Some(Arc::clone(source)))
}

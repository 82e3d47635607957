//! A configuration of NGINX as a tree of directives.

use std::{cell::Cell, fmt, path::PathBuf};

/// A directive with everything that belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub(super) name: String,
    /// Without quotes and escapes.
    pub(super) arguments: Vec<String>,
    /// The directives between its braces; `None` for one that ends with `;`. Code
    /// of Lua is left out.
    pub(super) block: Option<Vec<Directive>>,
    pub(super) place: Place,
    /// The line of its last sign.
    pub(super) end: u32,
    /// Its words as the source has them, with quotes and escapes: the beginning
    /// of those that are longer than a comment.
    pub(super) written: String,
    /// Whether it has become something. Readers share the tree.
    pub(super) is_read: Cell<bool>,
}

/// Where a directive begins. No two of a tree have the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// An index into the files of the [`Tree`].
    pub(super) file: usize,
    /// From 1.
    pub(super) line: u32,
    /// Bytes of the file before it: a line may have several directives.
    pub(super) offset: usize,
}

impl Directive {
    /// The argument, or an empty text.
    pub(super) fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// The directives between its braces.
    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Says that it becomes something. Each directive of which nobody says so,
    /// and which no note is about, gets a note.
    pub(super) fn read(&self) {
        self.is_read.set(true);
    }

    /// Whether it has become something.
    pub(super) fn is_read(&self) -> bool {
        self.is_read.get()
    }
}

/// All directives, with includes replaced by what they name.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) directives: Vec<Directive>,
    /// The names of the files that were read, as comments show them.
    pub(super) files: Vec<String>,
    /// Where relative names of files start.
    pub(super) folder: PathBuf,
    /// Patterns of `include` that no file has.
    pub(super) without_files: Vec<(Place, String)>,
}

impl Tree {
    /// The directives at every depth, in the order of the source.
    pub(super) fn every(&self) -> Vec<&Directive> {
        let mut found = Vec::new();
        let mut open: Vec<&Directive> = self.directives.iter().rev().collect();
        while let Some(directive) = open.pop() {
            found.push(directive);
            open.extend(directive.inside().iter().rev());
        }
        found
    }

    /// `nginx.conf:12`
    pub(super) fn shown(&self, place: Place) -> String {
        let file = self.files.get(place.file).map_or("", String::as_str);
        format!("{file}:{}", place.line)
    }
}

/// Why a configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The file, and where it is about a line, the line.
    pub(super) place: String,
    /// A sentence without a full stop.
    pub(super) why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

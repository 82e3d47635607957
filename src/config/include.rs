//! Several files as one: reads the main file and those that it includes, and
//! puts their tables together.
//!
//! `include` is the only key that is read before all files are together: it
//! decides which files those are. Each file is read once, by its real path, so
//! that a pattern may match the file that has it and two files may include each
//! other. Included tables come first, in the order of the entries and, for a
//! pattern, of the names: a list of routes is in the order in which it is tried.
//!
//! Tables are put together, never laid over each other. A key that two files
//! give is a mistake, since nobody could tell which of them wins.
//!
//! # Bounds
//!
//! A file that is longer than [`LONGEST_FILE`] is refused. Each real path is
//! read once, so that files that include each other in a circle come to an end.
//!
//! A file that cannot be read sets [`Problems::incomplete`]: the names that it
//! may define are not reported as unknown then.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    de,
    environment::Environment,
    field::{Field, Given},
    parse::parse,
    problem::{Code, Problem, Problems},
    source::{self, LONGEST_FILE, Sources, Span},
    tree::{Entry, Table, Value},
    wire::{self, scalar::Scalar, syntaxes::FileName},
};

/// The state that is gathered while files are read, from the first byte to the
/// finished configuration or its diagnostics.
#[derive(Debug)]
pub(super) struct Loading<'a> {
    /// The variables that `${NAME}` is replaced from, in all files.
    pub(super) environment: &'a Environment,
    /// The texts that were read, for pictures in diagnostics, and the files to
    /// watch.
    pub(super) sources: Sources,
    /// All mistakes so far, of all files and steps.
    pub(super) problems: Problems,
    /// Files that are in already, by their real path: a pattern may match the
    /// file that has it.
    seen: HashSet<PathBuf>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            sources: Sources::default(),
            problems: Problems::default(),
            seen: HashSet::new(),
        }
    }

    /// Reads a file and what it includes. `named_at` is where another file
    /// names it.
    ///
    /// A file that was read before, or cannot be read, gives an empty table.
    /// Blocks.
    pub(super) fn file(&mut self, path: &Path, named_at: Option<Span>) -> Table {
        self.sources.watched.file(path);
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if !self.seen.insert(real) {
            return Table::default();
        }
        match source::read(path, LONGEST_FILE) {
            Ok(text) => self.text(path, text),
            Err(why) => {
                self.unreadable(path, named_at, &why);
                Table::default()
            }
        }
    }

    /// Checks a text and reads what it includes. Relative names start at the
    /// folder of `path`.
    pub(super) fn text(&mut self, path: &Path, text: String) -> Table {
        let file = self.sources.add(path.to_path_buf(), text);
        let Some(source) = self.sources.get(file).cloned() else {
            return Table::default();
        };
        let mut own = parse(file, &source, self.environment, &mut self.problems);
        let whole = Span::new(file, 0..0);
        let mut together = Table::default();
        for name in self.names(own.entries.remove("include"), whole) {
            for path in self.included(&name, whole) {
                let included = self.file(&path, Some(name.place(whole)));
                merge(&mut together, included, &mut self.problems);
            }
        }
        merge(&mut together, own, &mut self.problems);
        together
    }

    /// The entries of `include`. This key alone is read before all files are
    /// together.
    fn names(&mut self, include: Option<Box<Entry>>, whole: Span) -> Vec<Field<Scalar<FileName>>> {
        let include = include.map(|entry| ("include".to_owned(), entry));
        let alone = Table {
            entries: include.into_iter().collect(),
        };
        let (file, _) = de::read::<wire::File>(alone, whole, &mut self.problems);
        let names = file.include.and_then(|include| include.value);
        names.map(|names| names.0).unwrap_or_default()
    }

    /// The files that one entry of `include` stands for, in name order.
    ///
    /// An entry without `*` is one file, which has to be there. A pattern may
    /// match none. A folder that is absent has no files; one that cannot be
    /// read is a mistake.
    fn included(&mut self, name: &Field<Scalar<FileName>>, whole: Span) -> Vec<PathBuf> {
        let Some(Scalar { text, .. }) = &name.value else {
            return Vec::new();
        };
        let at = name.place(whole);
        let path = self.sources.beside(at, text);
        if !text.contains('*') {
            return vec![path];
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let pattern = path.file_name().unwrap_or_default().to_string_lossy();
        if folder.to_string_lossy().contains('*') {
            let message = "`*` can stand in the name of a file, not of a folder";
            let help = "name each folder: `include = [\"a/*.toml\", \"b/*.toml\"]`";
            self.problems.error(Code::BadValue, at, message, help);
            return Vec::new();
        }
        match self.sources.watched.names(folder, &pattern) {
            Ok(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
            // A folder that is not there has no files; it may come.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.unreadable(folder, Some(at), &format!("cannot be read: {error}"));
                Vec::new()
            }
        }
    }

    /// Reports a file that cannot be read: at the place that names it, or as a
    /// whole if that is the command line.
    fn unreadable(&mut self, path: &Path, named_at: Option<Span>, why: &str) {
        self.problems.incomplete = true;
        let message = format!("{} {why}", path.display());
        self.problems.report(match named_at {
            Some(at) => Problem::new(Code::Unreadable, at, message).label("included here"),
            None => Problem::of_file(Code::Unreadable, path.to_path_buf(), message),
        });
    }
}

/// Puts another file's table into this one, as if both stood in one file: lists
/// of tables are strung together, tables of names united, and nothing can be
/// said twice.
///
/// The key of the value that came first stays, with its place.
fn merge(into: &mut Table, from: Table, problems: &mut Problems) {
    for (name, entry) in from.entries {
        match into.entries.get_mut(&name) {
            None => drop(into.entries.insert(name, entry)),
            Some(there) => merge_entry(&name, there, *entry, problems),
        }
    }
}

/// Puts two entries of one name together.
///
/// A list and a table cannot be: neither can be left out without losing the
/// routes or settings in it, so that this is a mistake and the value is broken.
///
/// A value that is broken in either file stays broken, and nothing more is said
/// about it.
fn merge_entry(name: &str, there: &mut Entry, entry: Entry, problems: &mut Problems) {
    let first = there.key;
    let (one, other) = (there.node.type_name(), entry.node.type_name());
    match (&mut there.node.value, entry.node.value) {
        (Value::List(items), Value::List(more)) => items.extend(more),
        (Value::Table(table), Value::Table(more)) => {
            for (key, entry) in more.entries {
                match table.entries.get(&key) {
                    None => drop(table.entries.insert(key, entry)),
                    Some(first) => {
                        problems.report(twice(&format!("{name}.{key}"), first.key, entry.key))
                    }
                }
            }
        }
        (Value::Broken, _) => {}
        (there, Value::Broken) => *there = Value::Broken,
        (there, _) if one == other => {
            problems.report(twice(name, first, entry.key));
            *there = Value::Broken;
        }
        (there, _) => {
            let message = format!("`{name}` is {other} here, and {one} in another file");
            let problem = Problem::new(Code::Conflict, entry.key, message).also(first, "the other");
            problems.report(problem.help("write it in the same form in both files"));
            *there = Value::Broken;
        }
    }
}

/// The mistake of a key that two files give.
fn twice(name: &str, first: Span, second: Span) -> Problem {
    let message = format!("`{name}` is given in two files");
    let problem = Problem::twice(second, first, message);
    problem.help("included files count as one with this; keep one of the two")
}

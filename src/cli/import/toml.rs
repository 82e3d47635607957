//! The file that comes out: blocks of TOML, each with its comments, and above
//! them a summary.

use std::{collections::BTreeSet, path::Path};

use super::{
    super::arguments::quoted,
    notes::{Note, Notes, Outcome, printable},
    tree::{Directive, Tree},
};
use crate::config::{Code, Diagnostics, Environment, LONGEST_FILE, parse};

/// How often the file is checked and mended.
const MOST_CHECKS: usize = 20;
/// Why a source cannot be translated.
pub(super) const TOO_LONG: &str = "the result would be longer than a configuration can be";
/// How the lines of a route begin.
const ROUTE: &str = "[[routes]]";
/// The response of a route whose action is not carried over: no other route
/// gets its requests.
pub(super) const NOT_DONE: &str = "respond = { status = 501 }";
/// Directives that the summary lists.
const MOST_LISTED: usize = 20;

/// A string.
pub(super) fn text(value: &str) -> String {
    quoted(value)
}

/// A list of strings.
pub(super) fn list(values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    format!("[{}]", values.join(", "))
}

/// An inline table of strings.
pub(super) fn table(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{} = {}", text(key), text(value)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Lines that belong together, with the comments above them.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// A comment that says where the lines come from.
    pub(super) title: Vec<String>,
    pub(super) notes: Vec<Note>,
    pub(super) lines: Vec<String>,
    /// It was refused, and has been reduced to what keeps its requests from
    /// other routes.
    is_reduced: bool,
}

impl Block {
    /// Comments without lines of the language.
    pub(super) fn of_notes(title: &str, notes: Vec<Note>) -> Self {
        Self {
            title: vec![title.to_owned()],
            notes,
            ..Self::default()
        }
    }

    /// A block with a title alone.
    pub(super) fn titled(title: &str) -> Self {
        Self::of_notes(title, Vec::new())
    }

    /// Turns its lines into a comment with the reason. A route that is refused
    /// for the first time keeps its name and its match, and answers 501.
    fn refuse(&mut self, why: &str) {
        let lines = std::mem::take(&mut self.lines);
        self.title
            .push(format!("not carried over: {}", printable(why)));
        let commented = lines.iter().map(|line| format!("  {}", printable(line)));
        self.title.extend(commented);
        if self.is_reduced || lines.first().is_none_or(|line| line != ROUTE) {
            return;
        }
        self.is_reduced = true;
        let is_kept = |line: &&String| line.starts_with("name = ") || line.starts_with("match = ");
        let kept = lines.iter().filter(is_kept).cloned();
        let begin = [ROUTE.to_owned(), NOT_DONE.to_owned()];
        self.lines = begin.into_iter().chain(kept).collect();
    }

    /// Adds `key = value`.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.lines.push(format!("{key} = {value}"));
    }
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    tree: &'a Tree,
    seen: Notes,
    blocks: Vec<Block>,
    /// All notes that are shown, in the order of the file.
    notes: Vec<Note>,
    /// The blocks that `check` refuses.
    refused: BTreeSet<usize>,
    bytes: u64,
}

/// How many directives became what.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) lost: usize,
    pub(super) differs: usize,
    pub(super) needless: usize,
}

impl<'a> Document<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            seen: Notes::default(),
            blocks: Vec::new(),
            notes: Vec::new(),
            refused: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Adds a block, without the notes that another one has already. A block of
    /// nothing but such notes is left out.
    ///
    /// # Errors
    /// The file would be longer than a configuration can be.
    pub(super) fn add(&mut self, mut block: Block) -> Result<(), String> {
        block.notes.retain(|note| self.seen.is_new(note, self.tree));
        if block.lines.is_empty() && block.notes.is_empty() {
            return Ok(());
        }
        let notes = block
            .notes
            .iter()
            .map(|note| note.source(self.tree).len() + 100);
        let bytes = notes.sum::<usize>() + block.lines.iter().map(String::len).sum::<usize>();
        self.bytes += bytes as u64;
        if self.bytes > LONGEST_FILE {
            return Err(TOO_LONG.to_owned());
        }
        self.notes.extend(block.notes.iter().cloned());
        self.blocks.push(block);
        Ok(())
    }

    /// The directives that have become nothing, and that no note in the blocks
    /// so far is about.
    pub(super) fn left(&self) -> Vec<&'a Directive> {
        self.seen.left(&self.tree.directives)
    }

    /// Turns each block that `check` refuses into a comment that says why, and
    /// returns the mistakes that are about this machine: files that it lacks.
    ///
    /// `name` is the file that is written, where relative names of files start.
    pub(super) fn mend(&mut self, name: &Path) -> Vec<String> {
        for _ in 0..MOST_CHECKS {
            let (rendered, begins) = self.body();
            let checked = parse(&name.to_string_lossy(), &rendered, &Environment::new());
            let Err(mistakes) = checked else {
                return Vec::new();
            };
            let refused = refused(&mistakes, &begins);
            if refused.is_empty() {
                let list = mistakes.list.into_iter();
                return list.map(|mistake| mistake.message).collect();
            }
            for (at, why) in refused {
                self.blocks[at].refuse(&why);
                self.refused.insert(at);
            }
        }
        Vec::new()
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |outcomes: &[Outcome]| {
            let notes = self.notes.iter();
            notes
                .filter(|note| outcomes.contains(&note.outcome))
                .count()
        };
        Counts {
            lost: count(&[Outcome::Unguarded, Outcome::Lost]) + self.refused.len(),
            differs: count(&[Outcome::Differs]),
            needless: count(&[Outcome::Needless]),
        }
    }

    /// The number of blocks that begin with this line.
    pub(super) fn blocks_of(&self, begin: &str) -> usize {
        let first = |block: &&Block| {
            block
                .lines
                .first()
                .is_some_and(|line| line.starts_with(begin))
        };
        self.blocks.iter().filter(first).count()
    }

    /// The directives that keep somebody out and are not carried over.
    pub(super) fn unguarded(&self) -> Vec<String> {
        let notes = self.notes.iter();
        let notes = notes.filter(|note| note.outcome == Outcome::Unguarded);
        let mut shown: Vec<_> = notes.map(|note| note.source(self.tree)).collect();
        let more = shown.len().saturating_sub(MOST_LISTED);
        if more > 0 {
            shown.truncate(MOST_LISTED);
            shown.push(format!("and {more} more"));
        }
        shown
    }

    /// The file below its summary, and the line that each block begins at, from
    /// 1.
    pub(super) fn body(&self) -> (String, Vec<usize>) {
        let mut out = String::new();
        let (mut begins, mut line) = (Vec::new(), 1);
        for block in &self.blocks {
            begins.push(line);
            out.push('\n');
            let notes = block.notes.iter().map(|note| note.shown(self.tree));
            let comments = block.title.iter().cloned().chain(notes);
            let comments = comments.map(|text| format!("# {text}"));
            for text in comments.chain(block.lines.iter().cloned()) {
                line += 1;
                out.push_str(&text);
                out.push('\n');
            }
            line += 1;
        }
        (out, begins)
    }
}

/// The blocks that mistakes are in, with the first mistake of each. Mistakes
/// about files that are not there are no reason to leave something out.
fn refused(mistakes: &Diagnostics, begins: &[usize]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for mistake in &mistakes.list {
        let (Some(place), false) = (&mistake.place, mistake.code == Code::Unreadable) else {
            continue;
        };
        let at = begins.partition_point(|begin| *begin <= place.line);
        let Some(at) = at.checked_sub(1) else {
            continue;
        };
        if found.iter().all(|(other, _)| *other != at) {
            found.push((at, mistake.message.clone()));
        }
    }
    found
}

//! Gathers the mistakes that are found while a file is deserialized.

use std::cell::RefCell;

use super::super::{
    misplaced::Stray,
    problem::{Problem, Problems},
    redact,
    source::Span,
    tree::Node,
};

/// The mistakes so far. Deserializers share it, as each value has one of its
/// own.
#[derive(Debug)]
pub(super) struct Collector {
    problems: RefCell<Problems>,
    meant: RefCell<Vec<Meant>>,
}

/// A key that stands in another place, or under another name, than it belongs
/// to.
#[derive(Debug)]
struct Meant {
    /// The path of the section that it belongs to.
    section: String,
    key: String,
}

impl Collector {
    pub(super) fn new(problems: Problems) -> Self {
        Self {
            problems: RefCell::new(problems),
            meant: RefCell::default(),
        }
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().report(problem);
    }

    /// Whether a key that seems absent may stand in text that could not be
    /// read.
    pub(super) fn is_incomplete(&self) -> bool {
        self.problems.borrow().incomplete
    }

    /// Has a value covered where the file is shown.
    pub(super) fn cover(&self, at: Span) {
        self.problems.borrow_mut().covered.push(at);
    }

    /// Has covered what may be a secret under a name that the language does not
    /// know.
    pub(super) fn cover_free_name(&self, name: &str, node: &Node) {
        redact::of_free_name(name, node, &mut self.problems.borrow_mut().covered);
    }

    pub(super) fn is_covered(&self, at: Span) -> bool {
        self.problems.borrow().covered.contains(&at)
    }

    /// Notes where an unknown key belongs.
    pub(super) fn note(&self, stray: &Stray) {
        if let Some((section, key)) = stray.meant.clone() {
            self.meant.borrow_mut().push(Meant { section, key });
        }
    }

    pub(super) fn noted(&self) -> usize {
        self.meant.borrow().len()
    }

    /// The keys noted since there were `before` that belong into this section;
    /// the others wait for the sections around.
    pub(super) fn take_noted(&self, before: usize, section: &str) -> Vec<String> {
        let mut meant = self.meant.borrow_mut();
        let before = before.min(meant.len());
        let since = meant.split_off(before);
        let mut keys = Vec::new();
        for one in since {
            if one.section == section {
                keys.push(one.key);
            } else {
                meant.push(one);
            }
        }
        keys
    }
}

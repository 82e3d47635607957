//! Gathers the mistakes that are found while a file is deserialized.
//!
//! serde's `Deserialize` returns one error, and passes no state of ours along.
//! The deserializers of this module do: each has a reference to the one
//! [`Collector`] in its context. It is used by one thread for the time of one
//! reading, so cells are enough.

use std::cell::{RefCell, RefMut};

use super::super::{
    misplaced::Stray,
    problem::{Problem, Problems},
};

/// The mistakes so far. All deserializers of a file share it, as serde makes
/// one for each value and hands nothing else from one to the next.
#[derive(Debug)]
pub(super) struct Collector {
    problems: RefCell<Problems>,
    /// Keys that stand in another place, or under another name, than they
    /// belong to: the path of their section, and their name there. Sections
    /// take theirs out when they end, and do not miss these keys.
    meant: RefCell<Vec<(String, String)>>,
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

    /// The problems, for one statement: a second borrow while this one is held
    /// panics.
    pub(super) fn problems(&self) -> RefMut<'_, Problems> {
        self.problems.borrow_mut()
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems().report(problem);
    }

    /// Notes where an unknown key belongs, if that is certain.
    pub(super) fn note(&self, stray: &Stray) {
        self.meant.borrow_mut().extend(stray.meant.clone());
    }

    /// How many keys are noted. A section that asks when it begins knows later
    /// which of them were found inside of it.
    pub(super) fn noted(&self) -> usize {
        self.meant.borrow().len()
    }

    /// The keys noted since there were `before` that belong into this section;
    /// the others wait for the sections around.
    pub(super) fn take_noted(&self, before: usize, path: &str) -> Vec<String> {
        let mut meant = self.meant.borrow_mut();
        let before = before.min(meant.len());
        let own = meant.extract_if(before.., |(section, _)| section == path);
        own.map(|(_, key)| key).collect()
    }
}

//! Checks that several sections make: of keys that exclude each other, of
//! things with one identity, and of times that double.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    time::Duration,
};

use crate::config::{
    field::Given,
    problem::{Code, Problem, Problems},
    source::Span,
    units,
};

/// A key of a section, and the place of its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// The key as the file has it.
    pub(super) name: &'static str,
    /// Where its value stands.
    pub(super) at: Span,
}

impl Key {
    /// The key, if the section has it, from the file or from `[defaults]`. Its
    /// value may be wrong.
    pub(super) fn given<T>(name: &'static str, value: &impl Given<T>) -> Option<Self> {
        let at = value.entry()?.at();
        Some(Self { name, at })
    }

    /// The key, if the section has a sound value of its own, and not from
    /// `[defaults]`.
    pub(super) fn own<T>(name: &'static str, value: &impl Given<T>) -> Option<Self> {
        value.own()?;
        Self::given(name, value)
    }
}

/// Whether two of the keys are given, which is reported at the second of them.
/// `reason` completes "exclude each other".
pub(super) fn exclude(
    keys: &[Option<Key>],
    reason: &str,
    help: &str,
    problems: &mut Problems,
) -> bool {
    let given: Vec<Key> = keys.iter().copied().flatten().collect();
    let [first, second, ..] = given.as_slice() else {
        return false;
    };
    let message = format!(
        "`{}` and `{}` exclude each other{reason}",
        first.name, second.name
    );
    let problem = Problem::new(Code::Conflict, second.at, message);
    problems.report(problem.also(first.at, "the other").help(help));
    true
}

/// Identities that have to be unique, each with the first place that has it.
#[derive(Debug)]
pub(super) struct Unique<K>(HashMap<K, Span>);

impl<K: Eq + Hash> Unique<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Adds an identity. Returns the first place of the same one, if there is
    /// one before.
    pub(super) fn add(&mut self, identity: K, at: Span) -> Option<Span> {
        match self.0.entry(identity) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(vacant) => {
                vacant.insert(at);
                None
            }
        }
    }

    /// Adds an identity, and reports it with this message if it is there
    /// already.
    pub(super) fn check(
        &mut self,
        identity: K,
        at: Span,
        message: String,
        help: &str,
        problems: &mut Problems,
    ) {
        if let Some(first) = self.add(identity, at) {
            problems.report(twice(at, first, message).help(help));
        }
    }
}

/// A thing with the identity of an earlier one.
pub(super) fn twice(at: Span, first: Span, message: String) -> Problem {
    Problem::new(Code::Duplicate, at, message).also(first, "first here")
}

/// A time that begins with one key and doubles up to another one.
pub(super) struct Doubling {
    /// What takes so long, as help calls it: "the wait".
    pub(super) name: &'static str,
    /// The key that it begins with.
    pub(super) base: &'static str,
    pub(super) from: Duration,
    pub(super) up_to: Duration,
}

impl Doubling {
    /// Reports a longest time that is below the first one. `max` is the key of
    /// the longest time if the section gives it itself: the default of the one
    /// does not contradict a value of the other.
    pub(super) fn check(self, max: Option<Key>, problems: &mut Problems) {
        if let Some(max) = max.filter(|_| self.from > self.up_to) {
            let (base, from) = (self.base, units::duration_text(self.from));
            let message = format!("`{}` is below `{base}`, which is {from}", max.name);
            let help = format!(
                "{} begins with `{base}` and doubles up to `{}`",
                self.name, max.name
            );
            problems.error(Code::Conflict, max.at, message, help);
        }
    }
}

/// Reads each of the items, also those behind a mistake, so that all mistakes
/// are found. `None` if there is any.
pub(super) fn every<T, R>(items: &[T], read: impl FnMut(&T) -> Option<R>) -> Option<Vec<R>> {
    let read: Vec<Option<R>> = items.iter().map(read).collect();
    read.into_iter().collect()
}

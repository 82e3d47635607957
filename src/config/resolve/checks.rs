//! Checks that several sections make: of keys that exclude each other, and of
//! identities and values that stand there twice.
//!
//! Each check reports its mistake and lets its caller go on: one reading finds
//! every mistake.

use std::{collections::HashMap, hash::Hash, ops::Deref};

use crate::config::{
    field::Given,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{
        lists::Items,
        scalar::{Scalar, Syntax},
    },
};

/// A key of a section, and the place of its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenKey {
    /// The key as the file has it.
    pub(super) name: &'static str,
    /// Where its value stands.
    pub(super) at: Span,
}

impl GivenKey {
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

/// Whether two of these keys are given, of which a section may have one. This
/// is reported at the second of them, in the order of `keys`, with the first as
/// a second place.
///
/// `reason` completes "`a` and `b` exclude each other". It begins with its own
/// punctuation, and may be empty.
pub(super) fn exclude(
    keys: &[Option<GivenKey>],
    reason: &str,
    help: &str,
    problems: &mut Problems,
) -> bool {
    let given: Vec<GivenKey> = keys.iter().copied().flatten().collect();
    let [first, second, ..] = given.as_slice() else {
        return false;
    };
    let (one, other) = (first.name, second.name);
    let message = format!("`{one}` and `{other}` exclude each other{reason}");
    let problem = Problem::new(Code::Conflict, second.at, message);
    problems.report(problem.also(first.at, "the other").help(help));
    true
}

/// Identities that have to be unique, each with the first place that has it.
/// Finding a second one takes constant time, as files may have many thousand
/// routes and limits.
#[derive(Debug)]
pub(super) struct Unique<K>(HashMap<K, Span>);

impl<K: Eq + Hash> Unique<K> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Adds an identity. Returns the first place of the same one, if there is
    /// one before.
    pub(super) fn add(&mut self, identity: K, at: Span) -> Option<Span> {
        let first = self.0.get(&identity).copied();
        if first.is_none() {
            self.0.insert(identity, at);
        }
        first
    }

    /// The first place of an identity; `None` if it was not added.
    pub(super) fn first(&self, identity: &K) -> Option<Span> {
        self.0.get(identity).copied()
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
            problems.report(Problem::twice(at, first, message).help(help));
        }
    }
}

/// Reports values of a list that are the same in another spelling, such as names
/// of headers in other letters. The deserializer reports the same text.
pub(super) fn distinct<S: Syntax<Value: Eq + Hash>, const RULES: usize>(
    key: &str,
    list: &impl Given<Items<Scalar<S>, RULES>>,
    problems: &mut Problems,
) {
    let mut known = Unique::new();
    for item in list.elements() {
        if let Some(value) = item.read() {
            let message = format!("`{key}` has this twice, in another spelling");
            known.check(value, item.at(), message, "keep one of the two", problems);
        }
    }
}

/// Resolves each element of a list, which is empty if the key is absent. Unlike
/// collecting into an `Option` at once, this goes on behind a mistake, so that
/// those of later elements are found, too. `None` if there is any, also in the
/// list itself.
pub(super) fn every<L: Deref<Target = [T]>, T, R>(
    list: &impl Given<L>,
    read: impl FnMut(&T) -> Option<R>,
) -> Option<Vec<R>> {
    if list.is_broken() {
        return None;
    }
    let read: Vec<Option<R>> = list.elements().iter().map(read).collect();
    read.into_iter().collect()
}

//! A few counters that are told apart by a word of the program: a reason, an
//! outcome.

/// Counters by `&'static str`. The words come from the program and never from a
/// request, which bounds their number; there are so few that a linear search is
/// the fastest.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    /// Adds `count` to the counter of `word`, which begins at 0.
    pub(super) fn add(&mut self, word: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, total)) => *total += count,
            None => self.0.push((word, count)),
        }
    }

    /// Adds all counters of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        for &(word, count) in &other.0 {
            self.add(word, count);
        }
    }

    /// The counters, in the order of their first event.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

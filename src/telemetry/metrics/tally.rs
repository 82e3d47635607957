//! A few counters that a word of the program tells apart: reasons, outcomes.

/// Counters by `&'static str`. It is bounded, because only words of the program
/// are counted; they are few, so that a linear search is the quickest.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    pub(super) fn add(&mut self, word: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, total)) => *total += count,
            None => self.0.push((word, count)),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for &(word, count) in &other.0 {
            self.add(word, count);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

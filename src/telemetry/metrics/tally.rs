//! A few counters told apart by a word of the program: reasons, outcomes.

/// Counts by `&'static str`. Bounded because only the program's own words are counted, of which there are few; so a
/// linear search is the quickest.
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

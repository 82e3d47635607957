//! Statuses of responses: ranges, as the language has them, and sets, which the
//! hot path asks.

use http::StatusCode;

/// A range of response statuses, both ends included.
///
/// ```
/// use http::StatusCode;
/// use tidegate::policy::Statuses;
///
/// let failures = Statuses { first: 500, last: 599 }; // "5xx"
/// assert!(failures.contains(StatusCode::BAD_GATEWAY));
/// assert!(!failures.contains(StatusCode::NOT_FOUND));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest status, 200 or more.
    pub first: u16,
    /// The highest status, 599 or less.
    pub last: u16,
}

impl Statuses {
    /// Whether `status` is in the range.
    pub fn contains(&self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

/// The lowest status that a set can hold: lower ones end no exchange.
const LOWEST: u16 = 200;
/// Words of a set, one bit for each status from 200 to 599.
const WORDS: usize = 7;

/// A set of final response statuses. Asking costs the same for a class as for a
/// single status.
///
/// ```
/// use http::StatusCode;
/// use tidegate::policy::{StatusSet, Statuses};
///
/// let client_errors = Statuses { first: 400, last: 499 }; // "4xx"
/// let set: StatusSet = [client_errors].into_iter().collect();
/// assert!(set.contains(StatusCode::NOT_FOUND));
/// assert!(!set.contains(StatusCode::BAD_GATEWAY));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusSet([u64; WORDS]);

impl StatusSet {
    /// Whether `status` is in the set.
    #[inline]
    pub fn contains(&self, status: StatusCode) -> bool {
        let bit = usize::from(status.as_u16().wrapping_sub(LOWEST));
        let word = self.0.get(bit / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    /// Whether no status is in the set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromIterator<Statuses> for StatusSet {
    fn from_iter<I: IntoIterator<Item = Statuses>>(ranges: I) -> Self {
        let mut set = Self::default();
        for status in ranges
            .into_iter()
            .flat_map(|range| range.first..=range.last)
        {
            let bit = usize::from(status.wrapping_sub(LOWEST));
            if let Some(word) = set.0.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
        set
    }
}

impl FromIterator<StatusSet> for StatusSet {
    fn from_iter<I: IntoIterator<Item = StatusSet>>(sets: I) -> Self {
        let mut union = Self::default();
        for set in sets {
            for (word, other) in union.0.iter_mut().zip(set.0) {
                *word |= other;
            }
        }
        union
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_has_the_statuses_of_its_ranges(
            ranges in prop::collection::vec((200_u16..600, 0_u16..100), 0..5),
            status in 100_u16..1000,
        ) {
            let ranges: Vec<_> = ranges
                .into_iter()
                .map(|(first, more)| Statuses { first, last: (first + more).min(599) })
                .collect();
            let status = StatusCode::from_u16(status).unwrap();
            let set: StatusSet = ranges.iter().copied().collect();
            prop_assert_eq!(set.contains(status), ranges.iter().any(|range| range.contains(status)));
        }
    }
}

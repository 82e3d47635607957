//! The line in front of a full cap, without clocks or wakers: strict between priorities, in turns between the keys of
//! one priority, in the order of arrival within a key.
//!
//! Taking turns is round-robin of one request each (Nagle, RFC 970): requests count alike, so that nothing has to be
//! carried over from turn to turn. Everything is in ordered maps: each step costs the logarithm of those who wait, with
//! ten thousand keys as with one.

use std::collections::{BTreeMap, BTreeSet};

/// Who goes first in a line: strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// Which part of the line somebody joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Before or behind all others.
    pub priority: Priority,
    /// A keyed hash of whom the line takes turns between; the same for all: first come, first served.
    pub key: u64,
}

/// A place in the line, to be left by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    turn: Turn,
    number: u64,
}

/// Those who wait. Its bound comes with each call of [`Line::join`], as a reload may change it.
#[derive(Debug)]
pub(super) struct Line<T> {
    classes: [Class<T>; 3],
    length: usize,
    /// Counts joins and turns; what has the smaller number came earlier.
    counter: u64,
}

/// Those of one priority.
#[derive(Debug)]
struct Class<T> {
    keys: BTreeMap<u64, Waiting<T>>,
    /// Keys by the number of their next turn.
    turns: BTreeMap<u64, u64>,
    /// Keys by how many of theirs wait.
    sizes: BTreeSet<(usize, u64)>,
}

/// Those of one key, by their numbers; never empty.
#[derive(Debug)]
struct Waiting<T> {
    next_turn: u64,
    queue: BTreeMap<u64, T>,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self {
            classes: [Class::new(), Class::new(), Class::new()],
            length: 0,
            counter: 0,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Joins a line of at most `bound`. When it is full, somebody of a lower priority gives up his place, or somebody
    /// whose key holds more places than this one: the newest of the key that holds most. `None`: there is nobody, and
    /// `who` was not asked for.
    pub(super) fn join(
        &mut self,
        turn: Turn,
        bound: usize,
        who: impl FnOnce() -> T,
    ) -> Option<(Place, Option<T>)> {
        let displaced = if self.length < bound {
            None
        } else {
            Some(self.displace(turn)?)
        };
        self.counter += 1;
        let place = Place {
            turn,
            number: self.counter,
        };
        self.class(turn.priority).join(place, who());
        self.length += 1;
        Some((place, displaced))
    }

    /// The one whose turn it is. Who `is_late` leaves on the way to him, into `late`, and uses up nobody's turn.
    pub(super) fn next(&mut self, is_late: impl Fn(&T) -> bool, late: &mut Vec<T>) -> Option<T> {
        for class in &mut self.classes {
            while let Some(who) = class.next(&is_late, &mut self.counter) {
                self.length -= 1;
                if !is_late(&who) {
                    return Some(who);
                }
                late.push(who);
            }
        }
        None
    }

    /// Leaves the line; `None` when that has happened already, by a turn or by giving it up.
    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        let left = self
            .class(place.turn.priority)
            .leave(place.turn.key, place.number)?;
        self.length -= 1;
        Some(left)
    }

    fn displace(&mut self, by: Turn) -> Option<T> {
        let (at, class) = self
            .classes
            .iter_mut()
            .enumerate()
            .rfind(|(_, class)| !class.sizes.is_empty())?;
        let &(most, key) = class.sizes.last()?;
        let may =
            at > by.priority as usize || at == by.priority as usize && most > class.waiting(by.key);
        let newest = class
            .keys
            .get(&key)?
            .queue
            .last_key_value()
            .map(|(number, _)| *number)?;
        let displaced = may.then(|| class.leave(key, newest)).flatten()?;
        self.length -= 1;
        Some(displaced)
    }

    fn class(&mut self, priority: Priority) -> &mut Class<T> {
        &mut self.classes[priority as usize]
    }
}

impl<T> Class<T> {
    fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            turns: BTreeMap::new(),
            sizes: BTreeSet::new(),
        }
    }

    fn waiting(&self, key: u64) -> usize {
        self.keys.get(&key).map_or(0, |waiting| waiting.queue.len())
    }

    /// A key that nobody waited for comes behind the others, with its number as its turn.
    fn join(&mut self, place: Place, who: T) {
        let Place {
            turn: Turn { key, .. },
            number,
        } = place;
        let waiting = self.keys.entry(key).or_insert_with(|| {
            self.turns.insert(number, key);
            Waiting {
                next_turn: number,
                queue: BTreeMap::new(),
            }
        });
        self.sizes.remove(&(waiting.queue.len(), key));
        waiting.queue.insert(number, who);
        self.sizes.insert((waiting.queue.len(), key));
    }

    fn next(&mut self, is_late: impl Fn(&T) -> bool, counter: &mut u64) -> Option<T> {
        let (_, &key) = self.turns.first_key_value()?;
        let waiting = self.keys.get_mut(&key)?;
        let (number, first) = waiting
            .queue
            .first_key_value()
            .map(|(number, first)| (*number, first))?;
        if !is_late(first) {
            self.turns.remove(&waiting.next_turn);
            *counter += 1;
            waiting.next_turn = *counter;
            self.turns.insert(waiting.next_turn, key);
        }
        self.leave(key, number)
    }

    fn leave(&mut self, key: u64, number: u64) -> Option<T> {
        let waiting = self.keys.get_mut(&key)?;
        let before = waiting.queue.len();
        let left = waiting.queue.remove(&number)?;
        self.sizes.remove(&(before, key));
        if before > 1 {
            self.sizes.insert((before - 1, key));
        } else if let Some(gone) = self.keys.remove(&key) {
            self.turns.remove(&gone.next_turn);
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLENTY: usize = 1000;

    fn of(key: u64) -> Turn {
        Turn {
            priority: Priority::Normal,
            key,
        }
    }

    fn with(priority: Priority) -> Turn {
        Turn { priority, key: 0 }
    }

    fn join(
        line: &mut Line<&'static str>,
        turn: Turn,
        bound: usize,
        who: &'static str,
    ) -> Option<&'static str> {
        line.join(turn, bound, || who).expect("a place").1
    }

    fn all(line: &mut Line<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| line.next(|_| false, &mut Vec::new())).collect()
    }

    #[test]
    fn one_key_is_served_in_the_order_of_arrival() {
        let mut line = Line::new();
        ["a", "b", "c"]
            .into_iter()
            .for_each(|who| assert_eq!(join(&mut line, of(0), PLENTY, who), None));
        assert_eq!(all(&mut line), ["a", "b", "c"]);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn keys_take_turns_however_many_each_has() {
        let mut line = Line::new();
        for (key, who) in [
            (1, "a1"),
            (1, "a2"),
            (1, "a3"),
            (2, "b1"),
            (3, "c1"),
            (2, "b2"),
        ] {
            join(&mut line, of(key), PLENTY, who);
        }
        assert_eq!(all(&mut line), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_key_that_comes_back_goes_behind_those_that_wait() {
        let mut line = Line::new();
        for (key, who) in [(1, "a1"), (2, "b1"), (2, "b2")] {
            join(&mut line, of(key), PLENTY, who);
        }
        assert_eq!(line.next(|_| false, &mut Vec::new()), Some("a1"));
        join(&mut line, of(1), PLENTY, "a2");
        assert_eq!(all(&mut line), ["b1", "a2", "b2"]);
    }

    #[test]
    fn priorities_are_strict() {
        let mut line = Line::new();
        for (priority, who) in [
            (Priority::Low, "l"),
            (Priority::Normal, "n"),
            (Priority::High, "h1"),
        ] {
            join(&mut line, with(priority), PLENTY, who);
        }
        join(&mut line, with(Priority::High), PLENTY, "h2");
        assert_eq!(all(&mut line), ["h1", "h2", "n", "l"]);
    }

    #[test]
    fn who_holds_most_of_a_full_line_gives_up_the_newest_place() {
        let mut line = Line::new();
        for (key, who) in [(1, "a1"), (1, "a2"), (2, "b1"), (1, "a3")] {
            join(&mut line, of(key), 4, who);
        }
        assert_eq!(join(&mut line, of(3), 4, "c1"), Some("a3"));
        assert_eq!(
            join(&mut line, of(2), 4, "b2"),
            Some("a2"),
            "two of one key, one of another"
        );
        assert_eq!(all(&mut line), ["a1", "b1", "c1", "b2"]);
    }

    #[test]
    fn in_a_full_line_nobody_gives_way_to_a_key_that_holds_as_much() {
        let mut line = Line::new();
        for (key, who) in [(1, "a1"), (2, "b1")] {
            join(&mut line, of(key), 2, who);
        }
        assert!(line.join(of(1), 2, || "a2").is_none());
        let mut one = Line::new();
        join(&mut one, of(0), 1, "first");
        assert!(
            one.join(of(0), 1, || unreachable!("not asked for"))
                .is_none(),
            "without keys: first come"
        );
    }

    #[test]
    fn a_full_line_has_room_for_a_higher_priority_and_none_for_a_lower() {
        let mut line = Line::new();
        for (priority, who) in [(Priority::Normal, "n1"), (Priority::Normal, "n2")] {
            join(&mut line, with(priority), 2, who);
        }
        assert!(line.join(with(Priority::Low), 2, || "l").is_none());
        assert_eq!(join(&mut line, with(Priority::High), 2, "h"), Some("n2"));
        assert_eq!(all(&mut line), ["h", "n1"]);
    }

    #[test]
    fn who_is_late_gets_no_turn_and_costs_his_key_none() {
        let mut line = Line::new();
        for (key, who) in [(1, "late"), (1, "a2"), (2, "b1")] {
            join(&mut line, of(key), PLENTY, who);
        }
        let mut late = Vec::new();
        assert_eq!(line.next(|who| *who == "late", &mut late), Some("a2"));
        assert_eq!((late, line.len()), (vec!["late"], 1));
    }

    #[test]
    fn who_left_is_not_served_and_leaves_once() {
        let mut line = Line::new();
        let (place, _) = line.join(of(1), PLENTY, || "a").unwrap();
        join(&mut line, of(1), PLENTY, "b");
        assert_eq!((line.leave(place), line.leave(place)), (Some("a"), None));
        assert_eq!(all(&mut line), ["b"]);
    }

    proptest! {
        /// Against a list that is searched: nobody is lost or served twice, and the bound holds.
        #[test]
        fn everyone_who_joins_is_served_displaced_or_leaves_once(
            steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..4_u64, 0..50_usize), 0..200),
        ) {
            const BOUND: usize = 7;
            let (mut line, mut inside, mut name) = (Line::new(), Vec::<(Place, u32)>::new(), 0);
            for (step, priority, key, pick) in steps {
                let priority = [Priority::High, Priority::Normal, Priority::Low][usize::from(priority)];
                match step {
                    0 | 1 => {
                        name += 1;
                        if let Some((place, displaced)) = line.join(Turn { priority, key }, BOUND, || name) {
                            if let Some(displaced) = displaced {
                                let at = inside.iter().position(|(_, who)| *who == displaced).expect("it waits");
                                inside.remove(at);
                            }
                            inside.push((place, name));
                        }
                    }
                    2 => {
                        let next = line.next(|_| false, &mut Vec::new());
                        prop_assert_eq!(next.is_some(), !inside.is_empty());
                        if let Some(next) = next {
                            let best = inside.iter().map(|(place, _)| place.turn.priority).min();
                            let at = inside.iter().position(|(_, who)| *who == next).expect("it waits");
                            prop_assert_eq!(Some(inside.remove(at).0.turn.priority), best);
                        }
                    }
                    _ if !inside.is_empty() => {
                        let (place, who) = inside.remove(pick % inside.len());
                        prop_assert_eq!(line.leave(place), Some(who));
                    }
                    _ => {}
                }
                prop_assert!(line.len() == inside.len() && line.len() <= BOUND);
            }
        }
    }
}

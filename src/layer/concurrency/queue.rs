//! The queue in front of a reached limit, without clocks and wakers: strict
//! between priorities, in turns between the keys of one priority, in the order
//! of arrival within a key.
//!
//! Turns are a round robin of one request each (Nagle, RFC 970). Requests count
//! alike, so that nothing has to be carried over from turn to turn. All parts
//! are ordered maps: each step costs the logarithm of the queue's length, with
//! ten thousand keys as with one.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::Priority;

/// The part of the queue that a request joins.
///
/// In a full queue a request takes the place of another one: of the newest
/// request of the key that has most in the queue, if that is of a lower
/// priority, or of the same priority and its key has more in the queue than the
/// new request's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// The priority.
    pub priority: Priority,
    /// A keyed hash of the key between which the queue takes turns. If it is
    /// the same for all, they are served in the order of arrival.
    pub key: u64,
}

/// Identifies a request in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Where in the queue it waits.
    turn: Turn,
    /// Tells requests of one key apart; later ones have larger numbers.
    number: u64,
}

/// Requests that wait. The bound on their number comes with each call of
/// [`Queue::make_room`], as a reload may change it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// One for each priority, the highest first.
    classes: [Class<T>; 3],
    /// Requests in all classes.
    length: usize,
    /// Counts joins and turns; the smaller number came earlier.
    counter: u64,
}

/// Room for one more request in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room<T> {
    /// The queue is not full.
    Free,
    /// This request has left a full queue for the new one.
    LeftBy(T),
    /// The queue is full, and none leaves it.
    None,
}

/// The requests of one priority.
#[derive(Debug)]
struct Class<T> {
    /// The requests of each key; keys without any are not kept.
    keys: BTreeMap<u64, OfOneKey<T>>,
    /// Keys by the number of their next turn.
    turns: BTreeMap<u64, u64>,
    /// Keys by how many of their requests wait.
    sizes: BTreeSet<(usize, u64)>,
}

/// The requests of one key, by their numbers; never empty.
#[derive(Debug)]
struct OfOneKey<T> {
    /// The number under which the key stands among the turns.
    next_turn: u64,
    /// By their numbers, so that the first one came first.
    requests: BTreeMap<u64, T>,
}

impl<T> Queue<T> {
    /// A queue in which no request waits.
    pub(super) fn new() -> Self {
        Self {
            classes: [Class::new(), Class::new(), Class::new()],
            length: 0,
            counter: 0,
        }
    }

    /// The number of requests that wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Makes room in a queue of at most `bound` requests for one that joins
    /// with `turn`.
    pub(super) fn make_room(&mut self, turn: Turn, bound: usize) -> Room<T> {
        if self.length < bound {
            return Room::Free;
        }
        self.displace(turn).map_or(Room::None, Room::LeftBy)
    }

    /// Adds a request, for which there is room.
    pub(super) fn join(&mut self, turn: Turn, request: T) -> Ticket {
        self.counter += 1;
        let ticket = Ticket {
            turn,
            number: self.counter,
        };
        self.class(turn.priority).join(ticket, request);
        self.length += 1;
        ticket
    }

    /// Takes out the request whose turn it is. Requests found on the way that
    /// are `is_expired` are moved to `expired` and do not count as a turn of
    /// their key.
    pub(super) fn next(
        &mut self,
        is_expired: impl Fn(&T) -> bool,
        expired: &mut Vec<T>,
    ) -> Option<T> {
        for class in &mut self.classes {
            while let Some(request) = class.next(&is_expired, &mut self.counter) {
                self.length -= 1;
                if !is_expired(&request) {
                    return Some(request);
                }
                expired.push(request);
            }
        }
        None
    }

    /// Takes a request out; `None` if it was taken out already, by its turn or
    /// for another request.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let left = self
            .class(ticket.turn.priority)
            .leave(ticket.turn.key, ticket.number)?;
        self.length -= 1;
        Some(left)
    }

    /// Takes out the request that leaves a full queue for one with this turn;
    /// `None` if none does. See [`Turn`] for the rule.
    fn displace(&mut self, by: Turn) -> Option<T> {
        let (lowest, class) = self
            .classes
            .iter_mut()
            .enumerate()
            .rfind(|(_, class)| !class.sizes.is_empty())?;
        let &(most, key) = class.sizes.last()?;
        let own = by.priority as usize;
        if lowest < own || lowest == own && most <= class.waiting(by.key) {
            return None;
        }
        let (&newest, _) = class.keys.get(&key)?.requests.last_key_value()?;
        let displaced = class.leave(key, newest)?;
        self.length -= 1;
        Some(displaced)
    }

    /// The requests of one priority.
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

    /// How many requests of a key wait.
    fn waiting(&self, key: u64) -> usize {
        self.keys
            .get(&key)
            .map_or(0, |of_key| of_key.requests.len())
    }

    /// Adds a request. A key without others comes behind all other keys: the
    /// number of its turn is that of the request.
    fn join(&mut self, ticket: Ticket, request: T) {
        let Ticket {
            turn: Turn { key, .. },
            number,
        } = ticket;
        let of_key = self.keys.entry(key).or_insert_with(|| {
            self.turns.insert(number, key);
            OfOneKey {
                next_turn: number,
                requests: BTreeMap::new(),
            }
        });
        self.sizes.remove(&(of_key.requests.len(), key));
        of_key.requests.insert(number, request);
        self.sizes.insert((of_key.requests.len(), key));
    }

    /// Takes out the first request of the key whose turn it is, and puts the
    /// key behind all others unless the request is expired.
    fn next(&mut self, is_expired: impl Fn(&T) -> bool, counter: &mut u64) -> Option<T> {
        let (_, &key) = self.turns.first_key_value()?;
        let of_key = self.keys.get_mut(&key)?;
        let (&number, first) = of_key.requests.first_key_value()?;
        if !is_expired(first) {
            self.turns.remove(&of_key.next_turn);
            *counter += 1;
            of_key.next_turn = *counter;
            self.turns.insert(of_key.next_turn, key);
        }
        self.leave(key, number)
    }

    /// Takes a request out; a key without requests is forgotten.
    fn leave(&mut self, key: u64, number: u64) -> Option<T> {
        let of_key = self.keys.get_mut(&key)?;
        let before = of_key.requests.len();
        let left = of_key.requests.remove(&number)?;
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
mod tests;

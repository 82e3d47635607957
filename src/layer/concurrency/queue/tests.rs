//! Promises of the queue: order, fairness, and its bound.

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
    queue: &mut Queue<&'static str>,
    turn: Turn,
    bound: usize,
    who: &'static str,
) -> Option<&'static str> {
    match queue.make_room(turn, bound) {
        Room::Free => {
            queue.join(turn, who);
            None
        }
        Room::LeftBy(displaced) => {
            queue.join(turn, who);
            Some(displaced)
        }
        Room::None => panic!("there is no room"),
    }
}

fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
    std::iter::from_fn(|| queue.next(|_| false, &mut Vec::new())).collect()
}

#[test]
fn one_key_is_served_in_the_order_of_arrival() {
    let mut queue = Queue::new();
    ["a", "b", "c"]
        .into_iter()
        .for_each(|who| assert_eq!(join(&mut queue, of(0), PLENTY, who), None));
    assert_eq!(all(&mut queue), ["a", "b", "c"]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn keys_take_turns_however_many_each_has() {
    let mut queue = Queue::new();
    for (key, who) in [
        (1, "a1"),
        (1, "a2"),
        (1, "a3"),
        (2, "b1"),
        (3, "c1"),
        (2, "b2"),
    ] {
        join(&mut queue, of(key), PLENTY, who);
    }
    assert_eq!(all(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
}

#[test]
fn a_key_that_comes_back_goes_behind_those_that_wait() {
    let mut queue = Queue::new();
    for (key, who) in [(1, "a1"), (2, "b1"), (2, "b2")] {
        join(&mut queue, of(key), PLENTY, who);
    }
    assert_eq!(queue.next(|_| false, &mut Vec::new()), Some("a1"));
    join(&mut queue, of(1), PLENTY, "a2");
    assert_eq!(all(&mut queue), ["b1", "a2", "b2"]);
}

#[test]
fn priorities_are_strict() {
    let mut queue = Queue::new();
    for (priority, who) in [
        (Priority::Low, "l"),
        (Priority::Normal, "n"),
        (Priority::High, "h1"),
    ] {
        join(&mut queue, with(priority), PLENTY, who);
    }
    join(&mut queue, with(Priority::High), PLENTY, "h2");
    assert_eq!(all(&mut queue), ["h1", "h2", "n", "l"]);
}

#[test]
fn the_key_with_most_requests_in_a_full_queue_gives_up_its_newest() {
    let mut queue = Queue::new();
    for (key, who) in [(1, "a1"), (1, "a2"), (2, "b1"), (1, "a3")] {
        join(&mut queue, of(key), 4, who);
    }
    assert_eq!(join(&mut queue, of(3), 4, "c1"), Some("a3"));
    assert_eq!(
        join(&mut queue, of(2), 4, "b2"),
        Some("a2"),
        "two of one key, one of another"
    );
    assert_eq!(all(&mut queue), ["a1", "b1", "c1", "b2"]);
}

#[test]
fn in_a_full_queue_no_request_gives_way_to_a_key_that_has_as_many() {
    let mut queue = Queue::new();
    for (key, who) in [(1, "a1"), (2, "b1")] {
        join(&mut queue, of(key), 2, who);
    }
    assert_eq!(queue.make_room(of(1), 2), Room::None);
    let mut one = Queue::new();
    join(&mut one, of(0), 1, "first");
    assert_eq!(
        one.make_room(of(0), 1),
        Room::None,
        "without keys: first come"
    );
}

#[test]
fn a_full_queue_has_room_for_a_higher_priority_and_none_for_a_lower() {
    let mut queue = Queue::new();
    for (priority, who) in [(Priority::Normal, "n1"), (Priority::Normal, "n2")] {
        join(&mut queue, with(priority), 2, who);
    }
    assert_eq!(queue.make_room(with(Priority::Low), 2), Room::None);
    assert_eq!(join(&mut queue, with(Priority::High), 2, "h"), Some("n2"));
    assert_eq!(all(&mut queue), ["h", "n1"]);
}

#[test]
fn an_expired_request_gets_no_turn_and_costs_its_key_none() {
    let mut queue = Queue::new();
    for (key, who) in [(1, "late"), (1, "a2"), (2, "b1")] {
        join(&mut queue, of(key), PLENTY, who);
    }
    let mut late = Vec::new();
    assert_eq!(queue.next(|who| *who == "late", &mut late), Some("a2"));
    assert_eq!((late, queue.len()), (vec!["late"], 1));
}

#[test]
fn a_request_that_left_is_not_served_and_leaves_once() {
    let mut queue = Queue::new();
    let ticket = queue.join(of(1), "a");
    join(&mut queue, of(1), PLENTY, "b");
    assert_eq!(
        (queue.leave(ticket), queue.leave(ticket)),
        (Some("a"), None)
    );
    assert_eq!(all(&mut queue), ["b"]);
}

proptest! {
    /// Against a list that is searched: no request is lost or served twice,
    /// and the bound holds.
    #[test]
    fn every_request_that_joins_is_served_displaced_or_leaves_once(
        steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..4_u64, 0..50_usize), 0..200),
    ) {
        const BOUND: usize = 7;
        let (mut queue, mut inside, mut name) = (Queue::new(), Vec::<(Ticket, u32)>::new(), 0);
        for (step, priority, key, pick) in steps {
            let priority = [Priority::High, Priority::Normal, Priority::Low][usize::from(priority)];
            match step {
                0 | 1 => {
                    name += 1;
                    let turn = Turn { priority, key };
                    match queue.make_room(turn, BOUND) {
                        Room::None => {}
                        Room::Free => inside.push((queue.join(turn, name), name)),
                        Room::LeftBy(displaced) => {
                            let at = inside.iter().position(|(_, who)| *who == displaced).expect("it waits");
                            inside.remove(at);
                            inside.push((queue.join(turn, name), name));
                        }
                    }
                }
                2 => {
                    let next = queue.next(|_| false, &mut Vec::new());
                    prop_assert_eq!(next.is_some(), !inside.is_empty());
                    if let Some(next) = next {
                        let best = inside.iter().map(|(ticket, _)| ticket.turn.priority).min();
                        let at = inside.iter().position(|(_, who)| *who == next).expect("it waits");
                        prop_assert_eq!(Some(inside.remove(at).0.turn.priority), best);
                    }
                }
                _ if !inside.is_empty() => {
                    let (ticket, who) = inside.remove(pick % inside.len());
                    prop_assert_eq!(queue.leave(ticket), Some(who));
                }
                _ => {}
            }
            prop_assert!(queue.len() == inside.len() && queue.len() <= BOUND);
        }
    }
}

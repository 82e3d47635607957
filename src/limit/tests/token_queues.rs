//! Queues for tokens: who is first, what is ahead, and their bound.

use std::sync::Arc;

use super::super::token_queues::MOST_WAITING;
use super::*;

/// Whether the request is the first of its queue by now.
fn is_first(place: &mut TokenPlace) -> bool {
    let first = std::pin::pin!(place.first());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    first.poll(&mut context).is_ready()
}

#[test]
fn requests_of_one_key_come_to_the_head_in_the_order_of_arrival() {
    let queues = Arc::new(TokenQueues::default());
    let [mut first, mut second, mut third] = [(); 3].map(|()| queues.enter(key(1), 1).unwrap());
    assert!(is_first(&mut first));
    assert!(!is_first(&mut second));
    drop(second);
    assert!(!is_first(&mut third));
    first.leave(WaitEnd::Admitted, tokio::time::Instant::now());
    assert!(is_first(&mut third));
}

#[test]
fn the_tokens_ahead_are_those_of_the_requests_that_wait_for_the_same_key() {
    let queues = Arc::new(TokenQueues::default());
    let (three, four) = (
        queues.enter(key(1), 3).unwrap(),
        queues.enter(key(1), 4).unwrap(),
    );
    assert_eq!((queues.ahead(key(1)), queues.ahead(key(2))), (7, 0));
    drop(three);
    assert_eq!(queues.ahead(key(1)), 4);
    drop(four);
    assert_eq!(queues.ahead(key(1)), 0);
}

#[test]
fn a_full_table_lets_nobody_wait_until_one_has_left() {
    let queues = Arc::new(TokenQueues::default());
    let places: Vec<_> = (0..MOST_WAITING as u64)
        .map(|n| queues.enter(key(n), 1).unwrap())
        .collect();
    assert!(queues.enter(key(0), 1).is_none());
    assert_eq!(
        (queues.stats().waiting, queues.stats().full),
        (MOST_WAITING, 1)
    );
    drop(places);
    assert!(queues.enter(key(0), 1).is_some());
    let stats = queues.stats();
    assert_eq!((stats.waiting, stats.left), (0, MOST_WAITING as u64 + 1));
}

#[test]
fn every_wait_is_counted_by_how_it_ended() {
    let queues = Arc::new(TokenQueues::default());
    let now = tokio::time::Instant::now();
    for end in [WaitEnd::Admitted, WaitEnd::Refused, WaitEnd::Left] {
        queues.enter(key(1), 1).unwrap().leave(end, now);
    }
    let stats = queues.stats();
    assert_eq!((stats.admitted, stats.refused, stats.left), (1, 1, 1));
}

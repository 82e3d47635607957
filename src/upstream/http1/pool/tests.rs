//! Tests of the order in which requests get a connection.

use std::{pin::pin, task::Poll};

use futures_util::poll;

use super::{Reuse::Allowed, *};
use crate::{
    policy::ServerAddress,
    upstream::{address::Addresses, tests::policy},
};

/// A pool that may have one connection.
fn pool() -> Arc<Http1Pool> {
    let settings = policy(&[]).pool;
    let place = ServerAddress::Tcp {
        host: "127.0.0.1".into(),
        port: 80,
    };
    let addresses = Arc::new(Addresses::new(place));
    let capacity = Arc::new(Capacity::new(settings, addresses));
    Arc::new(Http1Pool::new(capacity, 1))
}

fn is_served(polled: Poll<Option<Acquired>>) -> bool {
    matches!(polled, Poll::Ready(Some(_)))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_connection_is_served_before_later_ones() {
    let pool = pool();
    let held = pool.acquire(0, Allowed).await;
    let mut first = pin!(pool.acquire(0, Allowed));
    let mut second = pin!(pool.acquire(0, Reuse::Forbidden));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    drop(held);
    // The connection is free, but the first request was not polled since.
    let mut late = pin!(pool.acquire(0, Allowed));
    assert!(poll!(&mut late).is_pending());
    let Poll::Ready(Some(acquired)) = poll!(&mut first) else {
        panic!("it is the first one's turn")
    };
    assert!(poll!(&mut late).is_pending() && poll!(&mut second).is_pending());
    drop(acquired);
    assert!(poll!(&mut late).is_pending() && is_served(poll!(&mut second)));
    assert!(is_served(poll!(&mut late)));
    assert!(
        pool.acquire(0, Allowed).await.is_some(),
        "the queue is empty"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gives_up_or_leaves_hands_its_turn_on() {
    let pool = pool();
    let held = pool.acquire(0, Allowed).await;
    let mut first = Box::pin(pool.acquire(0, Allowed));
    assert!(poll!(&mut first).is_pending());
    let mut second = pin!(pool.acquire(0, Allowed));
    assert!(poll!(&mut second).is_pending());
    drop(held);
    drop(first);
    assert!(is_served(poll!(&mut second)));
    let _again = pool.acquire(0, Allowed).await;
    assert!(
        pool.acquire(0, Allowed).await.is_none(),
        "after `wait_timeout`"
    );
}

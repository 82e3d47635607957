//! Concurrency limit: a permit for each request in flight, and a bounded queue
//! for a bounded time when there is none.
//!
//! A request that finds no permit and no room in the queue is refused with 503
//! (`cap`); one that waited in the queue for as long as it may, with 503
//! (`queue_timeout`), or with 504 (`total_timeout`) if its deadline came first.
//! A permit is held to the end of the response body. If the client leaves
//! before the response, the permit is held for as long as a server goes on to
//! work on the request, where that is known, and at most as long as an attempt
//! may take.
//!
//! tower's `ConcurrencyLimit` makes callers wait in `poll_ready`, without a
//! bound, and gives the permit back with the response head. This one queues the
//! request and not the connection, serves the queue by priority and in turns
//! between keys, and may follow the measured latency.
//!
//! * `limit` counts requests in flight and owns the queue; all workers share
//!   it, and it outlives reloads.
//! * `queue` says whose turn it is.
//! * `permit` and `wait` are guards: a request in flight, and one in the queue.
//! * `adaptive` measures latencies and moves the limit.
//! * `service` is the layer.

mod adaptive;
mod limit;
mod permit;
mod queue;
mod service;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod wait;

pub use self::{
    limit::ConcurrencyLimit,
    permit::Permit,
    queue::Turn,
    service::{Concurrency, ConcurrencyLayer, FairBy, Queueing},
    wait::Queued,
};

//! Upstreams: the services behind the gateway. Chooses a server, finds or makes
//! a connection, sends the request, and judges the server by what happens.
//!
//! An [`Upstream`] is a named set of servers that are interchangeable, and
//! [`CurrentUpstream`] the one of a name at present: a set that SRV records
//! name changes without a reload. [`SendTo`] is the innermost service of a route's stack, which sends a
//! request to one of them. Addresses, connections, health and load of a server
//! outlive reloads.
//!
//! # The path of a request
//!
//! ```text
//! send            the steps below, in this order
//! balance         choose a server: by turns, by load, by latency or by key; only one that is healthy
//! checkout        an idle connection of this worker, or a new one, or the first that becomes free
//! http1, http2    send the request on it and await the response's head; then the response's body
//! attempt         judge the server by how this went: health, latency, cool-down
//! ```
//!
//! There is no task, queue or channel between a request and its HTTP/1
//! connection: whoever awaits the response drives it, and dropping the future
//! closes the connection. On HTTP/2 a task for each connection moves the frames
//! of its streams, on the worker that made it.
//!
//! # State of a server
//!
//! * `capacity`: how many connections are open, and the queue of requests that
//!   wait for one. Shared by all workers.
//! * `http1::Http1Pool`, `http2::Http2Pool`: the connections themselves, by
//!   worker.
//! * `health`: active checks, ejection by failures, cool-down on request. A few
//!   atomics that the balancer reads.
//! * `balance::Latency`: a peak-sensitive average of response times.
//! * `proxy_protocol`: the client that a connection is announced for, where
//!   servers want to know it.
//! * `address`, `names`, `lookups`, `dns`: the addresses of a host name, kept
//!   fresh on the control thread, as the `schedule` says.
//! * `srv`, `present`: the servers that SRV records name.
//!
//! # Reuse and retries
//!
//! An idle connection may be closed by its server at the moment at which a
//! request is sent on it. That failure is told apart (`Failure::Stale`), says
//! nothing against the server, and lets the retry layer send the request again
//! on a new connection where it is safe (RFC 9110, 9.2.2; RFC 9112, 9.3.1).
//!
//! Every failure says whether a server may have seen the request
//! ([`Seen`](crate::error::Seen)). Only if none can have, a request whose
//! repetition is not safe is retried, and its tokens are returned.
//!
//! # Bounds
//!
//! | what | bound |
//! |---|---|
//! | open connections to a server | `pool.max_connections` |
//! | idle ones | `pool.max_idle`, each for `pool.idle_timeout` |
//! | the age of a connection that is reused | `pool.max_lifetime` |
//! | the wait for a connection | `pool.wait_timeout` |
//! | making a connection, with TLS | `pool.connect_timeout` |
//! | the head of a response | 64 KiB, 256 lines, 32 interim responses |
//! | the trailers of a response | 16 KiB, 32 fields |
//! | bytes of a request's body ahead of its server | 64 KiB |
//! | look-ups of names at once | 16 in the process |
//! | servers of one name of SRV records | 128 |
//! | pages that failed, by upstream | 512 |
//!
//! # Threads
//!
//! Requests are sent by workers, each with connections of its own. Health
//! checks, look-ups and sweeps run on the control thread. They meet in atomics
//! and in short critical sections: no worker waits for the control thread.

mod address;
mod attempt;
mod balance;
mod capacity;
mod checkout;
mod connect;
mod dns;
mod failure;
mod health;
mod http1;
mod http2;
mod lookups;
mod names;
mod present;
mod proxy_protocol;
mod schedule;
mod send;
mod server;
mod service;
mod srv;
mod stream;
#[cfg(test)]
mod tests;
mod view;

pub use self::{
    health::{HealthState, HealthView},
    present::CurrentUpstream,
    send::{SendTo, Sending},
    service::Upstream,
    view::{ServerView, SrvView},
};

//! What the tests share: the real binary as a process, clients that speak raw bytes, upstreams that follow a script.
//!
//! Nothing here waits by the clock: every wait is a read, a channel or a gate, bounded by [`PATIENCE`] so that a test
//! that fails also ends.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses a part of this"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod client;
mod gate;
pub mod gateway;
pub mod http2;
pub mod redis;
mod texts;
mod upstream;
mod wire;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub use self::{
    client::Client,
    gate::Gate,
    gateway::Gateway,
    upstream::{Connection, Upstream},
    wire::{Cut, End, Head, Message, Wire},
};

/// Longest wait for something that is bound to come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Raises a flag when it is dropped: the threads of a scope that look at it end when an assertion in the scope fails, too.
#[derive(Debug)]
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An answer with a length.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A file with one upstream, `app`, and one route to it, `app`; `more` is added to the route.
pub fn one_route(upstream: &Upstream, more: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [\"{}\"]\n\n[[routes]]\nname = \"app\"\nupstream = \"app\"\n{more}\n",
        upstream.url()
    )
}

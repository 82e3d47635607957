//! Shared by the tests: the real binary as a process, clients that send raw
//! bytes, and scripted upstreams.
//!
//! No test sleeps. Each wait is a read, a channel or a gate, and lasts at most
//! [`TIMEOUT`], so that a failing test ends, too.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses a part of this"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod client;
pub mod dns;
mod gate;
pub mod gateway;
pub mod http2;
pub mod redis;
mod socket;
mod texts;
mod upstream;
mod wire;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub use self::{
    client::Client,
    gate::Gate,
    gateway::Gateway,
    socket::Socket,
    upstream::{Connection, Upstream},
    wire::{Cut, End, Head, Message, Wire},
};

/// Longest wait for an event that a passing test always reaches.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Who may read, write and run the file at `path`, or the link that is there.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Sets a flag on drop. Threads of a scope that poll the flag end even if an
/// assertion in the scope fails.
#[derive(Debug)]
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A response with a `content-length`.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A configuration with the upstream `app` and the route `app` to it. `more`
/// holds further keys of the route.
pub fn one_route(upstream: &Upstream, more: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [\"{}\"]\n\n[[routes]]\nname = \"app\"\nupstream = \"app\"\n{more}\n",
        upstream.url()
    )
}

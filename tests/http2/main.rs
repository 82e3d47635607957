//! HTTP/2 with clients and servers: the same service as over HTTP/1,
//! independent streams, and an orderly end of connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod cancels;
mod ends;
mod floods;
mod protocol;
mod streams;
mod translation;
mod upstreams;
mod windows;

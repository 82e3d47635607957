//! HTTP/2 with clients: the same service as over HTTP/1, streams that do not disturb each other, and an orderly end.

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

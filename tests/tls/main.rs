//! TLS towards clients and servers, with real certificates and other people's clients: openssl and curl.
//!
//! `tests/all` installs what is needed here; without it these tests fail and say so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod clients;
mod handshakes;
mod proxy_protocol;
mod reload;
mod upstreams;

//! TLS towards clients and servers, with real certificates and with other people's clients: openssl and curl.
//!
//! `tests/all` installs what is needed here; without it these tests fail and say so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod clients;
mod handshakes;
mod pki;
mod proxy_protocol;
mod reload;
#[path = "../support/mod.rs"]
mod support;
mod upstreams;

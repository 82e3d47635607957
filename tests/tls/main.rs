//! TLS towards clients and servers, with real certificates, and with openssl
//! and curl as clients.
//!
//! `tests/all` installs what is needed here; without it these tests fail and
//! say so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod acme;
mod authority;
mod clients;
mod handshakes;
mod orders;
mod pki;
mod proxy_protocol;
mod reload;
#[path = "../support/mod.rs"]
mod support;
mod upstreams;

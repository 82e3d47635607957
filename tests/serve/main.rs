//! Serving and forwarding: a client's request reaches its upstream and the
//! response comes back, as HTTP promises.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bodies;
mod claims;
mod connections;
mod fields;
mod half_closed;
mod interim;
mod listeners;
mod locations;
mod routes;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
mod templates;
mod unix;

//! Hostile clients: a message that two parsers could read in two ways is
//! refused, no byte of it reaches an upstream, and no other client notices.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bodies;
mod bounds;
mod corpus;
mod heads;
#[path = "../support/mod.rs"]
mod support;

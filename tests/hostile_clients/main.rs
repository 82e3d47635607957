//! Hostile clients: whatever two parsers could read in two ways is refused, nothing of it reaches an upstream, and
//! nobody else notices.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bodies;
mod bounds;
mod corpus;
mod heads;
#[path = "../support/mod.rs"]
mod support;

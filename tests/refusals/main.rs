//! Refusals as clients see them: pages of other origins in a browser, and bodies
//! of a route's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bodies;
mod cors;
#[path = "../support/mod.rs"]
mod support;

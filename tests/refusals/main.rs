//! Refusals as clients see them: pages of other origins in a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod cors;
#[path = "../support/mod.rs"]
mod support;

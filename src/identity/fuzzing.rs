//! Private parts of this folder for the fuzz targets, as plain functions.
//!
//! Built for tests too, so that a change to what it calls cannot leave it
//! behind.

use std::time::Duration;

use serde_json::{Map, Value};

use super::jwt;
use crate::policy::Jwt;

/// A token whose signature would be checked.
#[derive(Debug, PartialEq)]
pub struct ReadToken {
    /// The name of its algorithm.
    pub algorithm: &'static str,
    /// Its `kid`.
    pub key_id: Option<String>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// Its signature.
    pub signature: Vec<u8>,
    /// The time that is left of it.
    pub left: Duration,
}

/// Reads a token, at `now` since 1970; `None` for one that is refused without
/// a look at its signature.
pub fn read_token(policy: &Jwt, text: &[u8], now: Duration) -> Option<ReadToken> {
    let (token, left) = jwt::read(policy, text, now).ok()?;
    Some(ReadToken {
        algorithm: token.algorithm.name(),
        key_id: token.key_id.map(String::from),
        claims: token.claims,
        signature: token.signature.into(),
        left,
    })
}

//! The question to the route table, and the order of its candidates.

use http::{HeaderMap, Method};

use crate::policy::PathPattern;

/// The parts of a request by which its route is found.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'r> {
    /// The host in lower case, without a port.
    pub host: &'r str,
    /// The path in its normal form; bytes from 0x80 are allowed. Only routes
    /// for every path take one that does not begin with `/` (as in
    /// `OPTIONS *`).
    pub path: &'r [u8],
    /// The method.
    pub method: &'r Method,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The query as received, without its `?`.
    pub query: Option<&'r [u8]>,
}

/// The position of a route in the order of precedence. Of several routes that
/// match, the one with the smallest rank wins.
pub(super) type Rank = usize;

/// A route with its rank, as the paths of one host see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked<'a> {
    pub(super) rank: Rank,
    pub(super) path: &'a PathPattern,
}

//! Texts about a limit of a route that its responses repeat, but for a few
//! numbers. `gateway` renders each with the first response that needs it, and
//! they are freed with the route.
//!
//! Each worker has its own, as it has its own tags of routes. A limit takes 56
//! bytes here, and some 400 more once both texts are rendered.

use std::sync::OnceLock;

use http::StatusCode;

use crate::{
    limit::{Gcra, Standing},
    policy::Allowance,
};

/// The texts about one limit or tier of a route.
#[derive(Debug)]
pub struct LimitText {
    /// The limit's own quota; `None` for a cap on requests in flight.
    gcra: Option<Gcra>,
    /// The header lines that describe a bucket under the limit's own quota, up
    /// to the number of tokens that are left.
    pub fields: OnceLock<Box<[u8]>>,
    /// The problem body of a request that this limit alone refuses.
    pub problem: OnceLock<Box<ProblemText>>,
}

/// A problem body without the id of the request.
#[derive(Debug)]
pub struct ProblemText {
    /// The status that stands in it.
    pub status: StatusCode,
    /// Everything before the id.
    pub before: Box<[u8]>,
    /// Everything behind it.
    pub after: Box<[u8]>,
}

impl LimitText {
    /// The texts about a limit with this allowance, none of which is rendered
    /// yet.
    pub fn new(allowance: Allowance) -> Self {
        Self {
            gcra: allowance.rate().map(Gcra::from),
            fields: OnceLock::new(),
            problem: OnceLock::new(),
        }
    }

    /// Whether a bucket has the quota that the fields tell. A key with a quota
    /// of its own has another one.
    #[inline]
    pub fn tells(&self, standing: &Standing) -> bool {
        self.gcra.is_some_and(|gcra| standing.is_under(&gcra))
    }
}

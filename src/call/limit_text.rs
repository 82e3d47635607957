//! Texts about a limit of a route that its responses repeat, but for a few
//! numbers. `gateway` renders each with the first response that needs it, and
//! they are freed with the route.
//!
//! Each worker has its own, as it has its own tags of routes. A limit takes 56
//! bytes here, and some 400 more once both texts are rendered.

use std::{num::NonZeroU32, sync::OnceLock};

use http::StatusCode;

use crate::{
    limit::{Gcra, Standing},
    policy::Allowance,
};

/// The texts about one limit or tier of a route.
#[derive(Debug)]
pub struct LimitText {
    /// The limit's own allowance.
    own: OwnAllowance,
    /// Whether its tokens are bytes.
    pub is_in_bytes: bool,
    /// The header lines that describe a key under the limit's own allowance, up
    /// to the number of tokens or permits that are left.
    pub fields: OnceLock<Box<[u8]>>,
    /// The problem body of a request that this limit alone refuses.
    pub problem: OnceLock<Box<ProblemText>>,
    /// That of a request whose key it has banned.
    pub ban: OnceLock<Box<ProblemText>>,
}

/// An allowance in the form in which it is compared.
#[derive(Debug)]
enum OwnAllowance {
    Rate(Gcra),
    InFlight(NonZeroU32),
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
    pub fn new(allowance: Allowance, is_in_bytes: bool) -> Self {
        Self {
            own: match allowance {
                Allowance::Rate(quota) => OwnAllowance::Rate(quota.into()),
                Allowance::InFlight(most) => OwnAllowance::InFlight(most),
            },
            is_in_bytes,
            fields: OnceLock::new(),
            problem: OnceLock::new(),
            ban: OnceLock::new(),
        }
    }

    /// Whether a key has the allowance that the fields tell. A key with an
    /// allowance of its own has another one.
    #[inline]
    pub fn tells(&self, standing: &Standing) -> bool {
        match &self.own {
            OwnAllowance::Rate(gcra) => standing.is_under(gcra),
            OwnAllowance::InFlight(most) => standing.is_in_flight() && standing.burst == most.get(),
        }
    }
}

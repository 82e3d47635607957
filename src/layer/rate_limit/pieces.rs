//! Tokens that one bucket has given, and that come back or are settled by
//! themselves.

use std::sync::Arc;

use http::StatusCode;

use super::{
    limits::{KeyAllowance, RouteLimit},
    question::{AskedBucket, Question},
};
use crate::{
    limit::{Admission, Now, Standing},
    policy::EndCost,
    store::{SharedAdmission, Store},
};

/// Tokens that are settled in one piece.
#[derive(Debug)]
pub(super) struct TokenPiece {
    /// The question that was answered with them. Where the store has answered
    /// several together, the first of them: then none of the limits counts
    /// responses, and the cost of each was known before.
    pub(super) question: Question,
    pub(super) tokens: Tokens,
}

/// Where tokens were taken, and so how they come back.
#[derive(Debug)]
pub(super) enum Tokens {
    Local(Admission),
    // Boxed, as it is several times as large, and a call to the store costs far
    // more than this allocation.
    Shared(Box<SharedAdmission>, Arc<Store>),
}

/// The moment at which tokens are settled, and everything that a question
/// refers to.
#[derive(Clone, Copy)]
pub(super) struct Settling<'a> {
    pub(super) now: Now,
    pub(super) limits: &'a [RouteLimit],
    pub(super) quotas: &'a [KeyAllowance],
}

impl TokenPiece {
    /// The state of the bucket. For one in the store it is that after the
    /// decision, as far as it is known here.
    pub(super) fn standing(&self, settling: Settling<'_>) -> Option<Standing> {
        match &self.tokens {
            Tokens::Local(_) => {
                let ask = self.question.ask(settling.limits, settling.quotas)?;
                Some(ask.limiter.standing(settling.now, ask.key, ask.quota))
            }
            Tokens::Shared(admission, _) => admission.standings().next().flatten(),
        }
    }

    /// Returns all of the tokens, and the state of the bucket then.
    pub(super) fn refund(self, settling: Settling<'_>) -> Option<Standing> {
        let Self { question, tokens } = self;
        match tokens {
            Tokens::Local(admission) => {
                let ask = question.ask(settling.limits, settling.quotas)?;
                admission.refund(settling.now, [ask.limiter]);
                Some(ask.limiter.standing(settling.now, ask.key, ask.quota))
            }
            Tokens::Shared(admission, store) => admission.refund(&store),
        }
    }

    /// Settles for `used` tokens in place of those that were reserved; `None` if
    /// these stay. Returns the state of the bucket then.
    pub(super) fn settle(self, settling: Settling<'_>, used: Option<u64>) -> Option<Standing> {
        let reserved = self.question.cost;
        match used {
            None => self.standing(settling),
            Some(used) if used >= reserved.into() => {
                self.owe(settling, used - u64::from(reserved));
                match &self.tokens {
                    Tokens::Local(_) => self.standing(settling),
                    Tokens::Shared(admission, _) => admission.standing(settling.now),
                }
            }
            Some(used) => self.refund_part(settling, reserved - used as u32), // below `reserved`
        }
    }

    /// Takes `tokens` more, whether they are there or not.
    pub(super) fn owe(&self, settling: Settling<'_>, tokens: u64) {
        if tokens == 0 {
            return;
        }
        match &self.tokens {
            Tokens::Local(admission) => {
                let ask = self.question.ask(settling.limits, settling.quotas);
                admission.owe(settling.now, ask, tokens);
            }
            Tokens::Shared(admission, store) => admission.owe(store, tokens),
        }
    }

    /// Returns the tokens that were not used, and the state of the bucket then.
    fn refund_part(self, settling: Settling<'_>, unused: u32) -> Option<Standing> {
        let Self { question, tokens } = self;
        match tokens {
            Tokens::Local(admission) => {
                let ask = question.ask(settling.limits, settling.quotas)?;
                admission.refund_part(settling.now, [ask.limiter], unused);
                Some(ask.limiter.standing(settling.now, ask.key, ask.quota))
            }
            Tokens::Shared(admission, store) => admission.refund_part(&store, unused),
        }
    }
}

/// How the tokens of a question are settled.
impl Question {
    /// Whether a response with this status counts.
    pub(super) fn counts(&self, status: StatusCode, limits: &[RouteLimit]) -> bool {
        let count = &self.limit(limits).policy.count;
        count
            .as_ref()
            .is_none_or(|count| count.iter().any(|statuses| statuses.contains(status)))
    }

    /// The cost, if it is known only in the end.
    pub(super) fn end_cost<'a>(&self, limits: &'a [RouteLimit]) -> Option<&'a EndCost> {
        self.limit(limits).policy.cost.in_the_end()
    }

    /// Whether its tokens are settled by themselves, once the response is known.
    pub(super) fn is_settled_alone(&self, limits: &[RouteLimit]) -> bool {
        self.counts_responses(limits) || self.end_cost(limits).is_some()
    }

    /// Whether the bucket is that of a candidate, which has no name in metrics.
    pub(super) fn is_candidate(&self) -> bool {
        self.bucket == AskedBucket::Candidate
    }
}

//! The lists of a request's questions, by how they are decided.

use smallvec::SmallVec;

use super::{limits::KeyAllowance, question::Question};
use crate::call::Nearest;

/// Questions whose answers are used in the same way. It has room for as many as
/// an [`Admission`](crate::limit::Admission) does, beside which it is moved about.
pub(super) type List = SmallVec<[Question; 2]>;

/// All questions of one request.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// To buckets of this gateway that can refuse; they decide together.
    pub(super) live: List,
    /// To buckets of this gateway in shadow mode, each for itself.
    pub(super) shadow: SmallVec<[Question; 1]>,
    /// To the buckets of candidates, each for itself.
    pub(super) candidates: SmallVec<[Question; 1]>,
    /// For permits.
    pub(super) in_flight: InFlightQuestions,
    /// To buckets in the store.
    pub(super) shared: SharedQuestions,
    /// Allowances of single keys, from overrides and from operators.
    pub(super) quotas: Quotas,
}

/// Questions for permits: the limits count requests in flight.
#[derive(Debug, Default)]
pub(super) struct InFlightQuestions {
    /// To limits that can refuse.
    pub(super) live: SmallVec<[Question; 1]>,
    /// To limits in shadow mode.
    pub(super) shadow: SmallVec<[Question; 1]>,
    /// To candidates.
    pub(super) candidates: SmallVec<[Question; 1]>,
}

/// Questions to the store.
#[derive(Debug, Default)]
pub(super) struct SharedQuestions {
    /// To buckets that can refuse; they decide together.
    pub(super) live: SmallVec<[Question; 2]>,
    /// To buckets in shadow mode, each for itself.
    pub(super) shadow: SmallVec<[Question; 1]>,
}

impl SharedQuestions {
    /// Whether nothing is to be asked of the store.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.shadow.is_empty()
    }
}

/// Allowances that single keys of one request have.
///
/// Most requests have none. A question refers to its allowance by index, so that
/// it stays small and can be copied.
pub(super) type Quotas = SmallVec<[KeyAllowance; 1]>;

/// The bucket that is nearer to exhaustion; of equals the first.
///
/// `None` only if both are.
#[inline]
pub(super) fn nearer(one: Option<Nearest>, other: Option<Nearest>) -> Option<Nearest> {
    match (one, other) {
        (Some(one), Some(other)) if !other.standing.is_nearer(&one.standing) => Some(one),
        (one, other) => other.or(one),
    }
}

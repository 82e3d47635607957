//! `rate` and `burst` of a limit, and of everything beside it that has numbers
//! of its own: stand-ins, a candidate, tiers and overrides.
//!
//! The two are checked together: [`Quota::new`] refuses a bucket that would
//! take longer to fill than times can be computed for. A bucket smaller than
//! the cost of a request is refused here: such a request could never pass, and
//! a 429 with a time to wait would be a lie.

use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    source::Span,
    wire::limits::Burst,
};
use crate::policy::{KeyPart, Quota, QuotaError, Rate};

/// The quota of a rate that stands at `at`, if a bucket can enforce it. Without
/// a burst, the bucket has the number of the rate. `None` if the burst is wrong.
pub(super) fn quota(
    rate: Rate,
    at: Span,
    burst: &Option<Field<Burst>>,
    problems: &mut Problems,
) -> Option<Quota> {
    let quota = Quota::new(rate, burst.optional()?.unwrap_or(rate.count));
    if let Err(QuotaError::TooSlow { burst: most }) = quota {
        let message =
            format!("a burst of {most} at this rate takes more than 73 years to come back");
        let help = "lower `burst` or raise `rate`";
        problems.error(Code::Conflict, burst.place(at), message, help);
    }
    quota.ok()
}

/// A limit while the buckets beside its own are resolved.
pub(super) struct Beside<'a> {
    /// The parts of its key; empty: one bucket for everyone.
    pub(super) key: &'a [KeyPart],
    /// The largest cost of a request, in tokens.
    pub(super) most: u32,
    pub(super) problems: &'a mut Problems,
}

impl Beside<'_> {
    /// The [`quota`] of a bucket beside those of the limit. The most expensive
    /// request has to fit into its burst.
    pub(super) fn quota(
        &mut self,
        rate: Rate,
        at: Span,
        burst: &Option<Field<Burst>>,
    ) -> Option<Quota> {
        let quota = quota(rate, at, burst, self.problems)?;
        let (most, size) = (self.most, quota.burst());
        if most > size.get() {
            let message = format!(
                "a cost of {most}, which this limit's requests can have, never fits into a burst of {size}"
            );
            let help = format!("set `burst` to {most} or more");
            let at = burst.place(at);
            self.problems.error(Code::Conflict, at, message, help);
        }
        Some(quota)
    }
}

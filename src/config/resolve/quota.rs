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
    wire::{limits::Burst, syntaxes::PerTime, text::Text},
};
use crate::policy::{KeyPart, Quota, QuotaError, Rate};

/// A rate and a burst with their places.
pub(super) struct QuotaFields<'a> {
    pub(super) rate: Rate,
    /// Where the rate stands.
    pub(super) at: Span,
    /// Absent: the number of the rate.
    pub(super) burst: &'a Option<Field<Burst>>,
}

impl<'a> QuotaFields<'a> {
    /// `None` if the rate is wrong, which was reported.
    pub(super) fn of(rate: &Field<Text<PerTime>>, burst: &'a Option<Field<Burst>>) -> Option<Self> {
        Some(Self {
            rate: rate.read()?,
            at: rate.at(),
            burst,
        })
    }

    /// The quota, if a bucket can enforce it. `None` if either of the two is
    /// wrong.
    pub(super) fn quota(&self, problems: &mut Problems) -> Option<Quota> {
        let burst = self.burst.optional()?.unwrap_or(self.rate.count);
        let quota = Quota::new(self.rate, burst);
        if let Err(QuotaError::TooSlow { burst }) = quota {
            let message =
                format!("a burst of {burst} at this rate takes more than 73 years to come back");
            let help = "lower `burst` or raise `rate`";
            problems.error(Code::Conflict, self.at_burst(), message, help);
        }
        quota.ok()
    }

    /// Where the burst stands, or else the rate that it follows from.
    fn at_burst(&self) -> Span {
        self.burst.place(self.at)
    }
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
    /// The quota of a bucket beside those of the limit. The most expensive
    /// request has to fit into its burst.
    pub(super) fn quota(&mut self, fields: &QuotaFields<'_>) -> Option<Quota> {
        let quota = fields.quota(self.problems)?;
        let (most, burst) = (self.most, quota.burst());
        if most > burst.get() {
            let message = format!(
                "a cost of {most}, which this limit's requests can have, never fits into a burst of {burst}"
            );
            let help = format!("set `burst` to {most} or more");
            self.problems
                .error(Code::Conflict, fields.at_burst(), message, help);
        }
        Some(quota)
    }
}

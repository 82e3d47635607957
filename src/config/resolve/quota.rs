//! `rate` and `burst` of a limit, and of everything beside it that has numbers
//! of its own: stand-ins, a candidate, tiers and overrides.
//!
//! The two are checked together: [`Quota::new`] refuses a bucket that would
//! take longer to fill than times can be computed for. A bucket smaller than
//! the cost of a request is refused here: such a request could never pass, and
//! a 429 with a time to wait would be a lie.

use std::num::NonZeroU32;

use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    source::Span,
    wire::{limits::Burst, syntaxes::PerTime, text::Text},
};
use crate::policy::{Quota, QuotaError, Rate};

/// A rate and a burst with their places.
pub(super) struct Pace<'a> {
    pub(super) rate: Rate,
    /// Where the rate stands.
    pub(super) at: Span,
    /// Absent: the number of the rate.
    pub(super) burst: &'a Option<Field<Burst>>,
    /// Where the section with the two stands.
    pub(super) section: Span,
}

impl<'a> Pace<'a> {
    /// `None` if the rate is wrong, which was reported.
    pub(super) fn of(
        rate: &Field<Text<PerTime>>,
        burst: &'a Option<Field<Burst>>,
        section: Span,
    ) -> Option<Self> {
        let at = rate.at();
        let rate = rate.read()?;
        Some(Self {
            rate,
            at,
            burst,
            section,
        })
    }

    /// The quota, if a bucket can enforce it. `None` if either of the two is
    /// wrong.
    pub(super) fn quota(&self, problems: &mut Problems) -> Option<Quota> {
        let burst: NonZeroU32 = self.burst.optional()?.unwrap_or(self.rate.count);
        let quota = Quota::new(self.rate, burst);
        if let Err(QuotaError::TooSlow { burst }) = quota {
            let message =
                format!("a burst of {burst} at this rate takes more than 73 years to come back");
            let at = self.burst.place(self.section);
            problems.error(Code::Conflict, at, message, "lower `burst` or raise `rate`");
        }
        quota.ok()
    }

    /// The quota of a bucket beside those of the limit. The most expensive
    /// request of the limit, which costs `most` tokens, has to fit into its
    /// burst.
    pub(super) fn quota_for(&self, most: u32, problems: &mut Problems) -> Option<Quota> {
        let quota = self.quota(problems)?;
        let burst = quota.burst();
        if most > burst.get() {
            let message = format!(
                "a cost of {most}, which this limit's requests can have, never fits into a burst of {burst}"
            );
            let help = format!("set `burst` to {most} or more");
            problems.error(Code::Conflict, self.burst.place(self.at), message, help);
        }
        Some(quota)
    }
}

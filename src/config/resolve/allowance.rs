//! The allowances of a limit: its own, and those of everything beside it that
//! has numbers of its own: stand-ins, a candidate, tiers and overrides.
//!
//! An allowance is a rate with a burst, or a number of requests in flight. A
//! limit is of one kind. Its own keys say which, and everything beside it has to
//! be of the same one: a request would otherwise take tokens or a permit
//! depending on its key, and no counter could be compared with another.
//!
//! Rate and burst are checked together: [`Quota::new`] refuses a bucket that
//! would take longer to fill than times can be computed for. A bucket smaller
//! than the cost of a request is refused here: such a request could never pass,
//! and a 429 with a time to wait would be a lie. A rate of 0 is no mistake: it
//! says that nothing is to pass, and its refusals tell no time.

use std::num::NonZeroU32;

use super::checks::{GivenKey, exclude};
use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    source::Span,
    units,
    wire::limits::Burst,
};
use crate::policy::{Allowance, KeyPart, Quota, QuotaError, Rate};

/// The kind of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitKind {
    /// Tokens that come back with time.
    Rate,
    /// Permits for requests in flight.
    InFlight,
}

impl LimitKind {
    /// The key whose value makes a table one of this kind.
    fn key(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::InFlight => "in_flight",
        }
    }

    /// A line that has the key.
    fn example(self) -> &'static str {
        match self {
            Self::Rate => "rate = \"100/s\"",
            Self::InFlight => "in_flight = 8",
        }
    }
}

/// The keys of one table that say how much a key of the limit may have.
pub(super) struct Numbers<'f> {
    /// The place of the table.
    pub(super) at: Span,
    pub(super) rate: NumberKey<Rate>,
    /// The rate as the file has it.
    pub(super) rate_text: Option<&'f str>,
    pub(super) burst: &'f Option<Field<Burst>>,
    pub(super) in_flight: NumberKey<NonZeroU32>,
}

/// The key of a number, and its value.
pub(super) struct NumberKey<T> {
    /// `None` if the file does not have it.
    key: Option<GivenKey>,
    /// `None` if it is absent, or has a mistake that was reported.
    value: Option<T>,
}

impl<T> NumberKey<T> {
    /// The number under `name`, which runs as `value`.
    pub(super) fn new<W>(name: &'static str, field: &impl Given<W>, value: Option<T>) -> Self {
        let key = GivenKey::given(name, field);
        Self { key, value }
    }
}

impl Numbers<'_> {
    /// The kind that these keys choose.
    pub(super) fn kind(&self) -> LimitKind {
        match self.in_flight.key {
            Some(_) => LimitKind::InFlight,
            None => LimitKind::Rate,
        }
    }

    /// The allowance; `None` after a mistake. `is_in_bytes` says that tokens may
    /// be written as sizes.
    pub(super) fn allowance(
        &self,
        is_in_bytes: bool,
        problems: &mut Problems,
    ) -> Option<Allowance> {
        if self.has_both(problems) {
            return None;
        }
        if !is_in_bytes {
            self.refuse_sizes(problems);
        }
        if let Some(in_flight) = self.in_flight.key {
            self.refuse_burst(in_flight, problems);
            return self.in_flight.value.map(Allowance::InFlight);
        }
        let Some(key) = self.rate.key else {
            if !problems.incomplete {
                let message = "`rate` is missing";
                let help =
                    "add `rate = \"100/s\"`, or `in_flight = 8` for a cap on requests in flight";
                problems.error(Code::MissingKey, self.at, message, help);
            }
            return None;
        };
        let quota = quota(self.rate.value?, key.at, self.burst, problems)?;
        Some(Allowance::Rate(quota))
    }

    /// Whether both kinds are given, which is reported.
    pub(super) fn has_both(&self, problems: &mut Problems) -> bool {
        let reason = ": tokens come back with time, and permits when their requests end";
        let help = "keep one; for both, write two limits and name both on the route";
        exclude(&[self.rate.key, self.in_flight.key], reason, help, problems)
    }

    /// Reports numbers that are sizes, of a limit whose tokens are no bytes.
    fn refuse_sizes(&self, problems: &mut Problems) {
        let burst = self.burst.value();
        for (text, at) in [
            (self.rate_text, self.rate.place(self.at)),
            (burst.map(|burst| &*burst.text), self.burst.place(self.at)),
        ] {
            if text.is_some_and(units::is_size) {
                let message =
                    "a size is a number of bytes, and this limit counts requests or what they cost";
                let help =
                    "write a number without a unit, or count bytes: `cost = { from = \"bytes\" }`";
                problems.error(Code::Conflict, at, message, help);
            }
        }
    }

    /// Reports a burst beside a cap, which has no bucket.
    fn refuse_burst(&self, in_flight: GivenKey, problems: &mut Problems) {
        let burst = GivenKey::given("burst", self.burst);
        let reason = ": a cap has no bucket";
        let help = "leave `burst` out: the cap is the number of `in_flight`";
        exclude(&[burst, Some(in_flight)], reason, help, problems);
    }
}

/// The quota of a rate that stands at `at`, if a bucket can enforce it. Without
/// a burst, the bucket has the number of the rate. `None` if the burst is wrong.
fn quota(
    rate: Rate,
    at: Span,
    burst: &Option<Field<Burst>>,
    problems: &mut Problems,
) -> Option<Quota> {
    if rate.count == 0 && burst.is_present() {
        let message = "a rate of 0 admits nothing, so that it has no bucket";
        let help = "leave `burst` out, or write a rate from `\"1/d\"` on";
        problems.error(Code::Conflict, burst.at(), message, help);
    }
    let quota = Quota::new(rate, burst.optional()?.unwrap_or(rate.default_burst()));
    if let Err(QuotaError::TooSlow { burst: most }) = quota {
        let message =
            format!("a burst of {most} at this rate takes more than 73 years to come back");
        let help = "lower `burst` or raise `rate`";
        problems.error(Code::Conflict, burst.place(at), message, help);
    }
    quota.ok()
}

/// A limit while the allowances beside its own are resolved.
pub(super) struct Beside<'a> {
    /// The parts of its key; empty: one bucket for everyone.
    pub(super) key: &'a [KeyPart],
    /// The kind of the limit, which everything beside it has.
    pub(super) kind: LimitKind,
    /// The largest cost of a request, in tokens.
    pub(super) most: u32,
    /// Whether its tokens may be written as sizes.
    pub(super) is_in_bytes: bool,
    pub(super) problems: &'a mut Problems,
}

impl Beside<'_> {
    /// The allowance of these keys. It is of the limit's kind, and the most
    /// expensive request fits into its burst. `None` after a mistake.
    pub(super) fn allowance(&mut self, numbers: &Numbers<'_>) -> Option<Allowance> {
        if !self.fits(numbers) {
            return None;
        }
        let allowance = numbers.allowance(self.is_in_bytes, self.problems)?;
        let Allowance::Rate(quota) = allowance else {
            return Some(allowance);
        };
        let (most, size) = (self.most, quota.burst());
        if most > size && size > 0 {
            let message = format!(
                "a cost of {most}, which this limit's requests can have, never fits into a burst of {size}"
            );
            let help = format!("set `burst` to {most} or more");
            let at = numbers.burst.place(numbers.rate.place(numbers.at));
            self.problems.error(Code::Conflict, at, message, help);
        }
        Some(allowance)
    }

    /// Whether these keys are of the limit's kind. Keys of the other one, and
    /// keys of none, are reported.
    pub(super) fn fits(&mut self, numbers: &Numbers<'_>) -> bool {
        if numbers.has_both(self.problems) {
            return false;
        }
        let (own, other) = match self.kind {
            LimitKind::Rate => (numbers.rate.key, numbers.in_flight.key),
            LimitKind::InFlight => (numbers.in_flight.key, numbers.rate.key),
        };
        let example = self.kind.example();
        if let Some(GivenKey { name, at }) = other {
            let message = format!(
                "`{name}` does not fit to this limit, which has `{}`: a limit is of one kind",
                self.kind.key()
            );
            let help = format!("write a number of the same kind, such as `{example}`");
            self.problems.error(Code::Conflict, at, message, help);
            return false;
        }
        if own.is_none() && !self.problems.incomplete {
            let message = format!("`{}` is missing", self.kind.key());
            let help = format!("add it, such as `{example}`");
            self.problems
                .error(Code::MissingKey, numbers.at, message, help);
        }
        own.is_some()
    }
}

impl<T> NumberKey<T> {
    /// The place of the value, or else that of the table around it.
    fn place(&self, table: Span) -> Span {
        self.key.map_or(table, |key| key.at)
    }
}

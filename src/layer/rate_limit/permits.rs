//! The permits of a request under limits with `in_flight`: how they are
//! acquired together with the tokens of all other limits, and where they are
//! until they come back.
//!
//! # Order
//!
//! Permits are acquired before any tokens are taken, because they can be given
//! back without a trace. If another limit refuses, they are; until then, another
//! request of the key may be refused by them, for some microseconds.
//!
//! Limits in shadow mode and candidates are asked for real, each in its own
//! counter. A request that they would have refused holds no permit of theirs,
//! so that they count as they would if they were live.
//!
//! # Where permits are
//!
//! The charge has them until there is a response, and the body of the response
//! then: to its end, to the end of a tunnel, or until it is dropped. A request
//! that fails gives them back at once. The client may leave before the
//! response. A server that works on then keeps the permits until it ends, as it
//! keeps those of concurrency limits: see [`Exchange::outlive`].

use std::{mem, sync::Arc, time::Duration};

use http::StatusCode;
use smallvec::{SmallVec, smallvec};

use super::{
    question::{Inquiry, Question},
    questions::{Questions, nearer},
};
use crate::{
    body::{Body, SharedCount},
    call::{Exchange, LimitFacts, Nearest},
    error::Error,
    limit::{KeyPermit, KeysInFlight, Standing, Verdict},
    store::SharedPermit,
};

/// The `Retry-After` of a refusal for want of a permit. Nobody knows when one
/// comes back, but at once is too soon; caps of routes say the same.
const SOON: Duration = Duration::from_secs(1);

/// Permits of one request: several, or some of shared caps.
#[derive(Debug)]
struct Permits {
    held: SmallVec<[KeyPermit; 2]>,
    /// Of caps that several gateways share.
    shared: Vec<SharedPermit>,
}

/// The permits of a request that has no response yet; most requests have none.
/// Dropped with them, the client has left.
#[derive(Debug)]
pub(super) struct HeldPermits(PermitForm);

/// The forms of a request's permits. The exchange knows whether a server works
/// on after the client has left.
#[derive(Debug, Default)]
enum PermitForm {
    #[default]
    None,
    /// The usual form of those that have some. It allocates nothing.
    One(KeyPermit, Arc<Exchange>),
    Several(Box<Permits>, Arc<Exchange>),
}

impl HeldPermits {
    /// No permits.
    pub(super) fn none() -> Self {
        Self(PermitForm::None)
    }

    /// One permit.
    #[inline]
    pub(super) fn of(permit: KeyPermit, exchange: &Arc<Exchange>) -> Self {
        Self(PermitForm::One(permit, Arc::clone(exchange)))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.0, PermitForm::None)
    }

    /// Holds one more.
    fn add(&mut self, permit: KeyPermit, exchange: &Arc<Exchange>) {
        if self.is_empty() {
            *self = Self::of(permit, exchange);
        } else if let Some(permits) = self.several() {
            permits.held.push(permit);
        }
    }

    /// Holds one more, of a shared cap. This gateway has given one before.
    pub(super) fn add_shared(&mut self, permit: SharedPermit) {
        if let Some(permits) = self.several() {
            permits.shared.push(permit);
        }
    }

    /// The permits in the form that has room for more; `None` if there are none.
    fn several(&mut self) -> Option<&mut Permits> {
        self.0 = match mem::take(&mut self.0) {
            PermitForm::One(permit, exchange) => {
                let permits = Permits {
                    held: smallvec![permit],
                    shared: Vec::new(),
                };
                PermitForm::Several(Box::new(permits), exchange)
            }
            other => other,
        };
        match &mut self.0 {
            PermitForm::Several(permits, _) => Some(permits),
            _ => None,
        }
    }

    /// Has `body` hold them to its end.
    #[inline]
    pub(super) fn held_by(&mut self, body: &mut Body) {
        if self.is_empty() {
            return;
        }
        match mem::take(&mut self.0) {
            PermitForm::None => {}
            PermitForm::One(permit, _) => {
                if let (Some(counter), key) = permit.into_parts() {
                    body.hold_count(counter, key.hash());
                }
            }
            PermitForm::Several(permits, _) => body.hold_boxed(permits),
        }
    }

    /// Gives them back.
    pub(super) fn give_back(mut self) {
        drop(mem::take(&mut self.0));
    }
}

impl SharedCount for KeysInFlight {
    fn end_one(&self, which: u64) {
        self.give_back(which);
    }
}

impl Drop for HeldPermits {
    /// The future of the request was dropped before, from the inside out, and
    /// has noted by then whether a server works on. The exchange ends now,
    /// whatever a server does.
    #[inline]
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        match mem::take(&mut self.0) {
            PermitForm::None => {}
            PermitForm::One(permit, exchange) => exchange.outlive(|| permit),
            PermitForm::Several(permits, exchange) => exchange.outlive(|| permits),
        }
    }
}

/// The permits that the live limits of a request have given, or the limits that
/// have none left.
pub(super) struct AcquiredPermits {
    pub(super) permits: HeldPermits,
    /// The key that is nearest to its cap.
    pub(super) nearest: Option<Nearest>,
    /// The questions that found no permit. Without any, all have one.
    pub(super) refused: SmallVec<[RefusedPermit; 1]>,
}

/// A question that found no permit.
pub(super) struct RefusedPermit {
    pub(super) question: Question,
    pub(super) standing: Standing,
}

impl Inquiry<'_> {
    /// Acquires a permit of each live limit, or finds all limits that have none
    /// left. Permits that were acquired beside a refusal are to be dropped.
    #[inline]
    pub(super) fn acquire(&self, questions: &Questions) -> AcquiredPermits {
        let mut acquired = AcquiredPermits {
            permits: HeldPermits::none(),
            nearest: None,
            refused: SmallVec::new(),
        };
        for question in &questions.in_flight.live {
            match self.ask_permit(question, questions, &mut acquired.permits) {
                Some(Ok(standing)) => {
                    let standing = question.nearest(self.limits, standing);
                    acquired.nearest = nearer(acquired.nearest, Some(standing));
                }
                Some(Err(standing)) => acquired.refused.push(RefusedPermit {
                    question: *question,
                    standing,
                }),
                None => {}
            }
        }
        acquired
    }

    /// Asks one limit for a permit, and keeps it in `permits`. Returns how the
    /// key stands then; `None` if the limit is a rate.
    fn ask_permit(
        &self,
        question: &Question,
        questions: &Questions,
        permits: &mut HeldPermits,
    ) -> Option<Result<Standing, Standing>> {
        let (counter, most) = question.in_flight(self.limits, &questions.quotas)?;
        Some(
            counter
                .acquire(question.key, most)
                .map(|(permit, standing)| {
                    permits.add(permit, self.exchange);
                    standing
                }),
        )
    }

    /// Asks the candidates for permits. They see all requests, and those that
    /// the live limits refuse (`is_admitted` is false) give theirs back at once.
    pub(super) fn ask_candidate_permits(
        &self,
        questions: &Questions,
        permits: &mut HeldPermits,
        is_admitted: bool,
        facts: &mut LimitFacts,
    ) {
        let mut at_once = HeldPermits::none();
        for question in &questions.in_flight.candidates {
            let permits = match is_admitted {
                true => &mut *permits,
                false => &mut at_once,
            };
            if let Some(Err(_)) = self.ask_permit(question, questions, permits) {
                facts.candidate_refused |= 1 << question.name(self.limits);
            }
        }
        at_once.give_back();
    }

    /// Asks the limits in shadow mode for permits, of a request that all live
    /// limits have admitted.
    pub(super) fn ask_shadow_permits(
        &self,
        questions: &Questions,
        permits: &mut HeldPermits,
        facts: &mut LimitFacts,
    ) {
        for question in &questions.in_flight.shadow {
            let bit = 1 << question.name(self.limits);
            match self.ask_permit(question, questions, permits) {
                Some(Ok(_)) => {
                    self.record(question, Verdict::Admitted);
                    facts.admitted |= bit;
                }
                Some(Err(_)) => {
                    self.record(question, Verdict::Refused);
                    facts.shadow_refused |= bit;
                }
                None => {}
            }
        }
    }

    /// Notes which limits in shadow mode have no permit for a request that a
    /// live limit refuses.
    #[cold]
    pub(super) fn look_at_shadow_permits(&self, questions: &Questions, facts: &mut LimitFacts) {
        for question in &questions.in_flight.shadow {
            let asked = question.in_flight(self.limits, &questions.quotas);
            if let Some((counter, most)) = asked
                && counter.standing(question.key, most).remaining == 0
            {
                self.record(question, Verdict::Refused);
                facts.shadow_refused |= 1 << question.name(self.limits);
            }
        }
    }

    /// Notes the limits that had no permit for the request, beside those rates
    /// that refuse it with `error`, if any do. The longest wait gives the status
    /// of the response and the limit that is described in its fields.
    #[cold]
    pub(super) fn refused_permits(
        &self,
        refused: &[RefusedPermit],
        error: Option<Error>,
        facts: &mut LimitFacts,
    ) -> Error {
        let (mut limits, mut retry_after, mut status) = match error {
            Some(Error::RateLimited {
                limits,
                retry_after,
                status,
            }) => (limits, retry_after, status),
            _ => {
                facts.refused = 0;
                (
                    SmallVec::new(),
                    Duration::ZERO,
                    StatusCode::TOO_MANY_REQUESTS,
                )
            }
        };
        facts.admitted = 0;
        for RefusedPermit { question, standing } in refused {
            self.record(question, Verdict::Refused);
            let name = question.name(self.limits);
            facts.refused |= 1 << name;
            limits.extend(self.exchange.route.limits.get(name).cloned());
            if retry_after < SOON {
                retry_after = SOON;
                status = question.limit(self.limits).policy.status;
                facts.nearest = Some(question.nearest(self.limits, *standing));
            }
        }
        Error::RateLimited {
            limits,
            retry_after,
            status,
        }
    }
}

#[cfg(test)]
mod tests;

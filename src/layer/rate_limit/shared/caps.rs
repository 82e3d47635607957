//! The permits of caps that several gateways share. This gateway has given a
//! permit of each before, so that it never exceeds the cap by itself.

use std::sync::Arc;

use super::{
    super::{
        key,
        limits::RouteLimit,
        permits::RefusedPermit,
        question::Question,
        questions::nearer,
        questions::{InFlightQuestions, Questions},
    },
    Asking,
};
use crate::{
    error::Error,
    limit::Standing,
    store::{CapAsk, CapAsks, CapsRefused},
};

/// Whether any question for a permit is one to a shared cap.
pub(super) fn has_caps(limits: &[RouteLimit], questions: &Questions) -> bool {
    let InFlightQuestions { live, shadow, .. } = &questions.in_flight;
    let mut all = live.iter().chain(shadow);
    all.any(|question| question.is_shared_cap(limits))
}

impl Asking {
    /// Acquires the permits of shared caps, before any tokens are taken in the
    /// store: those can be given back without a trace.
    ///
    /// # Errors
    /// [`Error::RateLimited`] if all permits of a key are taken, and
    /// [`Error::StoreUnavailable`] if nothing could decide.
    pub(super) async fn acquire(&mut self) -> Result<(), Error> {
        let (mut asks, mut asked) = (CapAsks::new(), Vec::new());
        for question in &self.in_flight.live {
            if let Some(ask) = self.cap_ask(question) {
                asks.push(ask);
                asked.push(*question);
            }
        }
        match self.store.acquire(&asks).await {
            Ok(permits) => {
                for (question, (permit, standing)) in asked.iter().zip(permits) {
                    let standing = standing.map(|one| question.nearest(&self.limits, one));
                    self.facts.nearest = nearer(self.facts.nearest, standing);
                    self.charge.permits.add_shared(permit);
                }
                Ok(())
            }
            Err(CapsRefused::Full(full)) => {
                let mut refused = Vec::new();
                for index in full {
                    let most = asks[index].most;
                    refused.push(RefusedPermit {
                        question: asked[index],
                        standing: Standing::in_flight(most, most.get()),
                    });
                }
                let mut facts = self.facts;
                let error = self.inquiry().refused_permits(&refused, None, &mut facts);
                self.facts = facts;
                Err(error)
            }
            Err(CapsRefused::Unavailable { retry_after }) => {
                self.facts.admitted = 0;
                Err(Error::StoreUnavailable { retry_after })
            }
        }
    }

    /// Asks one shared cap in shadow mode for a permit, beside that which this
    /// gateway has given, and notes the outcome. It never fails.
    pub(super) async fn acquire_in_shadow(&mut self, question: Question) {
        let Some(ask) = self.cap_ask(&question) else {
            return;
        };
        let bit = 1 << question.name(&self.limits);
        if self.facts.admitted & bit == 0 {
            return;
        }
        match self.store.acquire(&CapAsks::from_iter([ask])).await {
            Ok(permits) => {
                for (permit, _) in permits {
                    self.charge.permits.add_shared(permit);
                }
            }
            Err(CapsRefused::Full(_)) => {
                self.inquiry().count_for_ban(&question);
                self.facts.admitted &= !bit;
                self.facts.shadow_refused |= bit;
            }
            Err(CapsRefused::Unavailable { .. }) => self.facts.admitted &= !bit,
        }
    }

    /// The question for a permit as the store is asked it; `None` if the cap is
    /// local.
    fn cap_ask(&self, question: &Question) -> Option<CapAsk> {
        let policy = &question.limit(&self.limits).policy;
        let cap = question.buckets(&self.limits).shared_cap.as_ref()?;
        let (_, most) = question.in_flight(&self.limits, &self.quotas)?;
        let name = match question.tier_bits(&self.limits, &self.exchange) {
            None => key::whole(&cap.begun, policy, &self.exchange)?,
            Some(bits) => key::wider(&cap.begun, policy, bits, &self.exchange)?,
        };
        Some(CapAsk {
            limit: Arc::clone(&cap.limit),
            name: name.into_hasher().name(),
            most,
        })
    }
}

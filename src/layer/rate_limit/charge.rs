//! Tokens that a request has taken, until it is known whether they stay taken.
//!
//! Most stay taken once the request is admitted. They come back if it is turned
//! away further in, before any server could serve it.
//!
//! # Limits that count responses
//!
//! A limit with `count` takes its tokens like all others, and together with
//! them, so that requests in flight are bounded by the burst. Its tokens come
//! back if the response has a status that does not count. Only a response of
//! the upstream counts, or of the route itself where it has no upstream. A
//! response that the gateway makes in its stead (a concurrency limit, a
//! timeout, a failed connect) says nothing about the client. A client that
//! leaves before the response has used its tokens if the request was sent to a
//! server, since nobody knows what became of it there; before that, the tokens
//! come back.
//!
//! # Where it ends
//!
//! The future of the response settles a charge in one of four ways, by the
//! outcome of the inner service:
//!
//! * A response settles it by the status (`settle`).
//! * A failure that no server can have seen returns all of it (`refund`).
//! * Another failure that is not the client's settles it without a response
//!   (`settle_without_response`): tokens of limits that count responses come
//!   back.
//! * Another failure by the client, or a client that leaves, drops it. Tokens
//!   of limits that count responses come back then if the request was not sent
//!   to a server.
//!
//! # Permits
//!
//! The permits of limits of requests in flight travel with the tokens. A
//! response takes them over, and every failure returns them, but for the
//! client's leaving: a server may work on then, for which they are held (see
//! `permits`).
//!
//! Tokens that are refunded are never more than those that were taken, and a
//! bucket is left no fuller than it would be without the request.

use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::{
    limits::RouteLimit,
    permits::HeldPermits,
    question::{Question, nearer},
    questions::{List, Quotas},
};
use crate::{
    call::{Exchange, Nearest},
    limit::{Admission, Clock, Now, Standing},
    message::Response,
    store::{SharedAdmission, Store},
};

/// Tokens that a request has taken. Exactly one of its three methods is called
/// when the outcome is known; dropped without one, the client has left.
#[derive(Debug)]
pub struct Charge {
    /// The limits of the route, as they were when the tokens were taken.
    pub(super) limits: Arc<[RouteLimit]>,
    /// Taken together by limits of this gateway, in the order of `questions`.
    pub(super) together: Admission,
    /// The buckets that have taken them. Empty if each limit of the route has
    /// taken from its own bucket, in their order.
    pub(super) questions: List,
    /// Taken otherwise; most requests have none.
    pub(super) apart: Option<Box<Apart>>,
    /// The permits of limits of requests in flight.
    pub(super) permits: HeldPermits,
}

/// Tokens that may come back one by one.
#[derive(Debug)]
pub(super) struct Apart {
    limits: Arc<[RouteLimit]>,
    exchange: Arc<Exchange>,
    /// In the order in which they were taken. Empty once they are settled, so
    /// that the drop that follows returns nothing twice.
    pieces: SmallVec<[ReturnablePiece; 2]>,
    /// Quotas of single keys, to which the questions refer.
    quotas: Quotas,
    /// The bucket nearest to exhaustion, of the live limits that do not count
    /// responses.
    others: Option<Nearest>,
}

/// Tokens that come back in one piece, if at all.
#[derive(Debug)]
struct ReturnablePiece {
    /// The question that was answered with them. Where the store has answered
    /// several together, the first of them: then none of the limits counts
    /// responses.
    question: Question,
    tokens: Tokens,
}

/// Where tokens were taken, and so how they come back.
#[derive(Debug)]
enum Tokens {
    Local(Admission),
    // Boxed, as it is several times as large, and a call to the store costs far
    // more than this allocation.
    Shared(Box<SharedAdmission>, Arc<Store>),
}

impl Charge {
    /// The tokens that may come back one by one, to add some.
    ///
    /// They are made with the first call, and share the limits of this charge.
    pub(super) fn apart(&mut self, exchange: &Arc<Exchange>, quotas: &Quotas) -> &mut Apart {
        let limits = &self.limits;
        self.apart
            .get_or_insert_with(|| Box::new(Apart::new(limits, exchange, quotas)))
    }

    /// Returns all tokens, of a request that was turned away further in.
    ///
    /// Returns local tokens at once, under one reading of the clock. Nothing
    /// waits for the tokens of shared limits to come back.
    #[cold]
    pub(super) fn refund(self) {
        let now = Clock.now();
        let limits = &*self.limits;
        if self.questions.is_empty() {
            let limiters = limits
                .iter()
                .filter_map(|limit| limit.own.counter.limiter());
            self.together.refund(now, limiters);
        } else {
            let limiters = self.questions.iter().filter_map(|one| one.limiter(limits));
            self.together.refund(now, limiters);
        }
        if let Some(mut apart) = self.apart {
            apart.refund(now, |_| true);
        }
        self.permits.give_back();
    }

    /// Settles for a response, whose body holds the permits to its end.
    ///
    /// Tokens of limits without `count` stay taken whatever the status is. The
    /// charge stays where it is, since a move costs more than the settling of
    /// plain tokens, and is dropped without an effect later.
    #[inline]
    pub(super) fn settle(&mut self, response: &mut Response) {
        if let Some(apart) = &mut self.apart {
            apart.note_others(&self.questions, self.together.standings().map(Some));
            apart.settle(response.status);
        }
        self.permits.held_by(&mut response.body);
    }

    /// Settles for an error that the gateway answers in a server's stead:
    /// tokens of limits that count responses come back, and so do permits.
    pub(super) fn settle_without_response(self) {
        if let Some(mut apart) = self.apart {
            apart.refund_counted();
        }
        self.permits.give_back();
    }
}

impl Apart {
    pub(super) fn new(
        limits: &Arc<[RouteLimit]>,
        exchange: &Arc<Exchange>,
        quotas: &Quotas,
    ) -> Self {
        Self {
            limits: Arc::clone(limits),
            exchange: Arc::clone(exchange),
            pieces: SmallVec::new(),
            quotas: quotas.clone(),
            others: None,
        }
    }

    /// Adds tokens that one bucket of this gateway has taken.
    pub(super) fn add(&mut self, question: Question, admission: Admission) {
        self.pieces.push(ReturnablePiece {
            question,
            tokens: Tokens::Local(admission),
        });
    }

    /// Adds tokens that were taken in the store: by one bucket, or by several
    /// of limits that do not count responses, the first of which is that of
    /// `question`.
    pub(super) fn add_shared(
        &mut self,
        question: Question,
        admission: SharedAdmission,
        store: &Arc<Store>,
    ) {
        self.pieces.push(ReturnablePiece {
            question,
            tokens: Tokens::Shared(Box::new(admission), Arc::clone(store)),
        });
    }

    /// Notes the limits of live questions that do not count responses; the one
    /// nearest to exhaustion counts. `standings` are in the order of the
    /// questions.
    pub(super) fn note_others(
        &mut self,
        questions: &[Question],
        standings: impl Iterator<Item = Option<Standing>>,
    ) {
        for (question, standing) in questions.iter().zip(standings) {
            if !question.counts_responses(&self.limits) {
                let other = standing.map(|standing| question.nearest(&self.limits, standing));
                self.others = nearer(self.others, other);
            }
        }
    }

    /// Keeps the tokens of limits that count a response with this status, and
    /// returns those of the others. If that changes a bucket that can refuse,
    /// the response and the access line state what is left now.
    ///
    /// The bucket that is nearest to exhaustion may be another one after a
    /// refund. It is found anew among the live limits: those that count
    /// responses, with their present standing, and the nearest of the others as
    /// it was when they decided.
    fn settle(&mut self, status: StatusCode) {
        let (now, limits) = (Clock.now(), Arc::clone(&self.limits));
        let (mut left, mut has_changed) = (self.others, false);
        for ReturnablePiece { question, tokens } in std::mem::take(&mut self.pieces) {
            let Some(count) = &question.limit(&limits).policy.count else {
                continue;
            };
            let is_kept = count.iter().any(|statuses| statuses.contains(status));
            let standing = match tokens {
                Tokens::Local(admission) => {
                    let Some(ask) = question.ask(&limits, &self.quotas) else {
                        continue;
                    };
                    if !is_kept {
                        admission.refund(now, [ask.limiter]);
                    }
                    Some(ask.limiter.standing(now, ask.key, ask.quota))
                }
                Tokens::Shared(admission, _) if is_kept => admission.standings().next().flatten(),
                Tokens::Shared(admission, store) => admission.refund(&store),
            };
            if question.is_live(&limits) {
                has_changed |= !is_kept;
                let standing = standing.map(|standing| question.nearest(&limits, standing));
                left = nearer(left, standing);
            }
        }
        if has_changed {
            self.exchange.facts.lock().limits.nearest = left;
        }
    }

    /// Returns the tokens of limits that count responses, because no response
    /// of a server came.
    fn refund_counted(&mut self) {
        let limits = Arc::clone(&self.limits);
        self.refund(Clock.now(), |question| question.counts_responses(&limits));
    }

    /// Returns the tokens of those questions that are `wanted`; the others stay
    /// taken.
    fn refund(&mut self, now: Now, is_wanted: impl Fn(&Question) -> bool) {
        for ReturnablePiece { question, tokens } in std::mem::take(&mut self.pieces) {
            match tokens {
                _ if !is_wanted(&question) => {}
                Tokens::Local(admission) => {
                    admission.refund(now, question.limiter(&self.limits));
                }
                Tokens::Shared(admission, store) => {
                    let _emitted_nowhere = admission.refund(&store);
                }
            }
        }
    }
}

/// The client has left before the response, or another limit has refused.
impl Drop for Apart {
    fn drop(&mut self) {
        if !self.exchange.is_sent.is_set() {
            self.refund_counted();
        }
    }
}

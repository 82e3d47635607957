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
//! # Costs that are known in the end
//!
//! A limit whose cost is known in the end has taken its reserve. A response
//! settles it at once if its header has the cost; otherwise the body of the
//! response carries the tokens on, in a meter (`meter`), to its own end. Without
//! a response the reserve stays taken if a server was sent the request, and the
//! bytes of the request that count are owed.
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
//!   to a server, and so do reserves.
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

use smallvec::SmallVec;

use super::{
    limits::RouteLimit,
    meter::{self, Received},
    permits::HeldPermits,
    pieces::{Settling, TokenPiece, Tokens},
    question::Question,
    questions::{List, Quotas, nearer},
};
use crate::{
    body::Body,
    call::{Exchange, Nearest},
    limit::{Admission, Clock, Now, Standing},
    message::Response,
    store::{SharedAdmission, Store},
    telemetry::UnknownCost,
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
    pieces: SmallVec<[TokenPiece; 2]>,
    /// Quotas of single keys, to which the questions refer.
    quotas: Quotas,
    /// The bucket nearest to exhaustion, of the live limits whose tokens do not
    /// come back one by one.
    others: Option<Nearest>,
    /// The bytes of the request body, if the cost of a limit needs them.
    received: Option<Received>,
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

    /// Counts the bytes of the request body, if the cost of a limit needs them.
    #[inline]
    pub(super) fn measure(&mut self, body: &mut Body) {
        if let Some(apart) = &mut self.apart {
            apart.measure(body);
        }
    }

    /// Settles for a response, whose body holds the permits to its end.
    ///
    /// Plain tokens stay taken whatever the status is. The charge stays where it
    /// is, since a move costs more than the settling of plain tokens, and is
    /// dropped without an effect later.
    #[inline]
    pub(super) fn settle(&mut self, response: &mut Response) {
        if let Some(apart) = &mut self.apart {
            apart.note_others(&self.questions, self.together.standings().map(Some));
            apart.settle(response);
        }
        self.permits.held_by(&mut response.body);
    }

    /// Settles for an error that the gateway answers in a server's stead:
    /// tokens of limits that count responses and permits come back, and reserves
    /// stay taken.
    pub(super) fn settle_without_response(self) {
        if let Some(mut apart) = self.apart {
            apart.end_without_response();
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
            received: None,
        }
    }

    /// Adds tokens that one bucket of this gateway has taken.
    pub(super) fn add(&mut self, question: Question, admission: Admission) {
        self.pieces.push(TokenPiece {
            question,
            tokens: Tokens::Local(admission),
        });
    }

    /// Adds tokens that were taken in the store: by one bucket, or by several
    /// of limits whose tokens stay taken, the first of which is that of
    /// `question`.
    pub(super) fn add_shared(
        &mut self,
        question: Question,
        admission: SharedAdmission,
        store: &Arc<Store>,
    ) {
        self.pieces.push(TokenPiece {
            question,
            tokens: Tokens::Shared(Box::new(admission), Arc::clone(store)),
        });
    }

    /// Counts the bytes of `body`, the request's, if one of the limits needs
    /// them.
    fn measure(&mut self, body: &mut Body) {
        let needs = |piece: &TokenPiece| {
            let cost = piece.question.end_cost(&self.limits);
            cost.is_some_and(|cost| cost.source.counts_request())
        };
        if self.pieces.iter().any(needs) {
            self.received = Some(Received::of(body));
        }
    }

    /// Notes the limits of live questions whose tokens stay taken; the one
    /// nearest to exhaustion counts. `standings` are in the order of the
    /// questions.
    pub(super) fn note_others(
        &mut self,
        questions: &[Question],
        standings: impl Iterator<Item = Option<Standing>>,
    ) {
        for (question, standing) in questions.iter().zip(standings) {
            if !question.is_settled_alone(&self.limits) {
                let other = standing.map(|standing| question.nearest(&self.limits, standing));
                self.others = nearer(self.others, other);
            }
        }
    }

    /// Keeps the tokens of limits that count a response with this status, and
    /// returns those of the others. Settles costs that the header has, and
    /// leaves the others to a meter in the body. If that changes a bucket that
    /// can refuse, the response and the access line state what is left now.
    ///
    /// The bucket that is nearest to exhaustion may be another one then. It is
    /// found anew among the live limits: those that were settled, with their
    /// present standing, and the nearest of the others as it was when they
    /// decided.
    fn settle(&mut self, response: &mut Response) {
        let (now, limits) = (Clock.now(), Arc::clone(&self.limits));
        let (mut left, mut has_changed) = (self.others, false);
        let mut open = SmallVec::new();
        for piece in std::mem::take(&mut self.pieces) {
            let question = piece.question;
            if !question.is_settled_alone(&limits) {
                continue;
            }
            let settling = Settling {
                now,
                limits: &limits,
                quotas: &self.quotas,
            };
            let is_counted = question.counts(response.status, &limits);
            let is_stated = meter::stated_in_header(&question, &limits, response);
            let (standing, has_moved) = match (is_counted, question.end_cost(&limits)) {
                (false, _) => (piece.refund(settling), true),
                (true, None) => (piece.standing(settling), false),
                (true, Some(_)) if is_stated.is_none() => {
                    let standing = piece.standing(settling);
                    open.push(piece);
                    (standing, false)
                }
                (true, Some(cost)) => {
                    let used = is_stated.flatten().map(|used| cost.at_most(used));
                    if used.is_none() {
                        let absent = UnknownCost::Absent;
                        meter::note_unknown(&self.exchange, &question, &limits, absent);
                    }
                    meter::note(&self.exchange, &question, settling, used);
                    (piece.settle(settling, used), true)
                }
            };
            if question.is_live(&limits) {
                has_changed |= has_moved;
                let standing = standing.map(|standing| question.nearest(&limits, standing));
                left = nearer(left, standing);
            }
        }
        if has_changed {
            self.exchange.facts.lock().limits.nearest = left;
        }
        if !open.is_empty() {
            let received = self.received.take();
            meter::begin(
                open,
                &self.exchange,
                (limits, &self.quotas),
                received,
                response,
            );
        }
    }

    /// Returns the tokens of limits that count responses, because no response
    /// of a server came. Reserves stay taken, and bytes that were received
    /// beyond them are owed.
    fn end_without_response(&mut self) {
        let limits = Arc::clone(&self.limits);
        let settling = Settling {
            now: Clock.now(),
            limits: &limits,
            quotas: &self.quotas,
        };
        for piece in std::mem::take(&mut self.pieces) {
            let question = piece.question;
            if question.counts_responses(&limits) {
                piece.refund(settling);
            } else if let Some(cost) = question.end_cost(&limits) {
                let received = match &self.received {
                    Some(received) if cost.source.counts_request() => Some(received.bytes()),
                    _ => None,
                };
                let used = received.map(|bytes| cost.at_most(bytes).max(question.cost.into()));
                meter::note(&self.exchange, &question, settling, used);
                piece.settle(settling, used);
            }
        }
    }

    /// Returns the tokens of those questions that are `wanted`; the others stay
    /// taken.
    fn refund(&mut self, now: Now, is_wanted: impl Fn(&Question) -> bool) {
        let settling = Settling {
            now,
            limits: &self.limits,
            quotas: &self.quotas,
        };
        for piece in std::mem::take(&mut self.pieces) {
            if is_wanted(&piece.question) {
                piece.refund(settling);
            }
        }
    }
}

/// The client has left before the response, or another limit has refused.
impl Drop for Apart {
    fn drop(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        if self.exchange.is_sent.is_set() {
            // Nobody knows what a server that counts responses would have said.
            let limits = Arc::clone(&self.limits);
            self.pieces
                .retain(|piece| !piece.question.counts_responses(&limits));
            self.end_without_response();
        } else {
            let limits = Arc::clone(&self.limits);
            self.refund(Clock.now(), |question| question.is_settled_alone(&limits));
        }
    }
}

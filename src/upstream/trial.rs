//! One attempt as the server is judged by it. What the client or the gateway caused says nothing of the server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{StatusCode, header};
use tokio::time::Instant;

use super::{
    Upstream,
    health::{Failing, Page, Provoked, retry_after},
    server::{InFlight, Server},
};
use crate::{
    body::Flow,
    call::{Exchange, Outgoing},
    error::ConnectFailure,
    http1::ResponseHead,
    policy::Balance,
};

/// An attempt at a server. Dropped without an outcome it was given up: by the client, or for the server's slowness.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    upstream: &'a Upstream,
    index: usize,
    patience: Option<Instant>,
    /// The request, once there is a way to send it.
    pub(super) sent: Option<Arc<Exchange>>,
    /// When the request's body flows, and how long it had before: its time is not the server's.
    flow: Option<(Arc<Flow>, Duration)>,
    /// The server has to do something next: neither the client nor the gateway.
    pub(super) is_its_turn: bool,
}

/// Whether an answer says that its server cannot do its work. The others of 500 and above say what the server is not made
/// for, which a client decides by what it asks: 501 (a method that it does not know), 505, 506, 508, 510, 511.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

impl<'a> Trial<'a> {
    pub(super) fn new(upstream: &'a Upstream, index: usize, outgoing: &Outgoing) -> Self {
        let flow = outgoing
            .body
            .flow()
            .map(|flow| (Arc::clone(flow), flow.passed().unwrap_or_default()));
        Self {
            upstream,
            index,
            patience: outgoing.patience,
            flow,
            sent: None,
            is_its_turn: false,
        }
    }

    /// The server answered. Tells whether the answer, if all of it comes, is a success.
    pub(super) fn answered(mut self, head: &ResponseHead, took: Duration, now: Instant) -> bool {
        let status = head.status;
        if is_failure(status) {
            let counts = self.failed(Some(Failing::Status(status.as_u16())), took, now);
            if counts && status == StatusCode::SERVICE_UNAVAILABLE {
                self.heed(head.fields.get(&header::RETRY_AFTER), now);
            }
            return false;
        }
        self.patience = None;
        if self.upstream.policy.balance == Balance::PeakEwma {
            self.server().latency.answered(took, now);
        }
        true
    }

    /// The attempt failed, by this fault of the server's if it has one. Tells whether that speaks against the server.
    pub(super) fn failed(&mut self, what: Option<Failing>, took: Duration, now: Instant) -> bool {
        self.patience = None;
        what.is_some_and(|what| {
            self.upstream
                .failed(self.index, what, self.page(), took, now)
        })
    }

    /// No connection could be made, which was begun then.
    pub(super) fn not_connected(&mut self, cause: ConnectFailure, begun: Instant) {
        let now = Instant::now();
        // What this gateway lacks says nothing of the server.
        let failing = (cause != ConnectFailure::Local).then_some(Failing::Connect(cause));
        self.failed(failing, now - begun, now);
    }

    /// A server that says when to come back is left alone until then, if there is another one.
    fn heed(&self, value: Option<&[u8]>, now: Instant) {
        let policy = &self.upstream.policy;
        let is_only = self.upstream.balancer.servers.len() == 1;
        let value = value.filter(|_| policy.cool_down && !is_only);
        let after = value.and_then(|value| retry_after(value, SystemTime::now()));
        if let (Some(after), Some(page), Some(call)) = (after, self.page(), &self.sent) {
            let by = Provoked {
                page,
                client: call.client.ip,
            };
            self.upstream.ejector.cool_down(self.index, after, by, now);
        }
    }

    fn page(&self) -> Option<Page> {
        self.sent
            .as_ref()
            .map(|call| self.upstream.ejector.page_of(call))
    }

    fn server(&self) -> &'a Server {
        &self.upstream.balancer.servers[self.index]
    }
}

impl Upstream {
    /// The server with this index failed, after `took`. Tells whether that speaks against it.
    fn failed(
        &self,
        index: usize,
        what: Failing,
        page: Option<Page>,
        took: Duration,
        now: Instant,
    ) -> bool {
        let counts = self.ejector.failed(index, what, page, now);
        if counts && self.policy.balance == Balance::PeakEwma {
            self.balancer.servers[index].latency.failed(took, now);
        }
        counts
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let Some(patience) = self.patience.filter(|_| self.is_its_turn) else {
            return;
        };
        let flowed = self
            .flow
            .as_ref()
            .map(|(flow, before)| flow.passed().map(|flowed| flowed.saturating_sub(*before)));
        // While the body flows, its pace is what bounds the server.
        let Some(flowed) = flowed.unwrap_or(Some(Duration::ZERO)) else {
            return;
        };
        let now = Instant::now();
        if now >= patience + flowed {
            self.failed(Some(Failing::Timeout), Duration::ZERO, now);
        }
    }
}

/// The rest of an answer, as the server is judged by it: one that breaks off is a failure, and only a whole one a success.
/// Dropped before its end it says nothing, as it is then the client that has left.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) upstream: Arc<Upstream>,
    pub(super) index: usize,
    pub(super) call: Arc<Exchange>,
    /// Its status is that of a success.
    pub(super) is_sound: bool,
    pub(super) in_flight: InFlight,
}

impl Rest {
    /// All of the answer is here. Returns the request's count in flight, for a tunnel, which goes on.
    pub(super) fn came(self) -> InFlight {
        if self.is_sound {
            self.upstream.balancer.servers[self.index]
                .health
                .succeeded();
        }
        self.in_flight
    }

    /// The server broke the answer off. One that was a failure by its status has been counted.
    pub(super) fn broke_off(self) {
        if self.is_sound {
            let page = self.upstream.ejector.page_of(&self.call);
            self.upstream.failed(
                self.index,
                Failing::Cut,
                Some(page),
                Duration::ZERO,
                Instant::now(),
            );
        }
    }
}

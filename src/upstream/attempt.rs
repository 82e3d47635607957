//! Judging a server by one attempt to have it serve a request.
//!
//! Only what the server does counts. A client that leaves, a body that stalls
//! on the client's side, or a file descriptor that the gateway lacks says
//! nothing about the server. A response counts twice: its status when its head
//! arrives, and its completeness when its body ends.
//!
//! | outcome | judgement |
//! |---|---|
//! | a status that `ejection.on` lists | failure |
//! | any other status | success, once the body is complete |
//! | a status that `cool_down` lists, with `Retry-After` | also begins a cool-down |
//! | no connection, a reset, a bad response | failure, if `ejection.on` lists it |
//! | a body that breaks off | failure, likewise |
//! | a timeout while it is the server's turn | failure, likewise |
//! | a stale connection, a refused stream, a client that leaves | none |
//!
//! Time counts from the moment at which the connection was ready, so that a
//! queue in the gateway makes no server look slow.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::header;
use tokio::time::Instant;

use super::{
    health::{Failing, Page, Provoked},
    server::{InFlight, Server},
    service::Upstream,
};
use crate::{
    body::Flow,
    call::{Call, Exchange},
    error::ConnectFailure,
    http1::ResponseHead,
    policy::Balance,
    retry_after::retry_after,
};

/// An attempt at a server. Dropped without an outcome, it was given up: by the
/// client, or because the server was slow.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) upstream: Arc<Upstream>,
    /// The server's index.
    pub(super) index: usize,
    /// The request.
    pub(super) call: Arc<Exchange>,
    /// The end of the attempt's timeout; `None` if there is none, and once the
    /// outcome is known.
    deadline: Option<Instant>,
    /// Whether the request is being sent.
    pub(super) is_sent: bool,
    /// The flow of the body of the request; `None` without a body. Boxed, as
    /// most requests have none.
    upload: Option<Box<TimedUpload>>,
    /// Whether the attempt waits for the server, and not for the client or the
    /// gateway.
    pub(super) is_servers_turn: bool,
}

/// The flow of a request's body, whose time does not count as the server's.
#[derive(Debug)]
struct TimedUpload {
    flow: Arc<Flow>,
    /// The time for which the body had flowed before this attempt.
    before: Duration,
}

impl TimedUpload {
    /// The time for which the body flowed during this attempt; `None` while it
    /// flows.
    fn passed(&self) -> Option<Duration> {
        let passed = self.flow.passed()?;
        Some(passed.saturating_sub(self.before))
    }
}

impl Attempt {
    /// An attempt at the server with this `index`.
    pub(super) fn new(upstream: &Arc<Upstream>, index: usize, call: &Call) -> Self {
        let upload = call.body.flow().map(|flow| {
            Box::new(TimedUpload {
                flow: Arc::clone(flow),
                before: flow.passed().unwrap_or_default(),
            })
        });
        Self {
            upstream: Arc::clone(upstream),
            index,
            call: Arc::clone(&call.exchange),
            deadline: call.attempt_deadline,
            upload,
            is_sent: false,
            is_servers_turn: false,
        }
    }

    /// Judges the server by the head of its response, which took `took` and
    /// arrived at `now`. Returns whether the response is a success, provided
    /// that its body arrives completely.
    pub(super) fn responded(&mut self, head: &ResponseHead, took: Duration, now: Instant) -> bool {
        let status = head.status;
        let policy = &self.upstream.policy;
        let is_failure = policy.ejection.on.statuses.contains(status);
        let cools = policy.cool_down.contains(status);
        let counts = is_failure && self.failed(Some(Failing::Status(status.as_u16())), took, now);
        if cools && counts == is_failure {
            self.obey_retry_after(head, is_failure, now);
        }
        if is_failure {
            return false;
        }
        self.deadline = None;
        if self.upstream.policy.balance == Balance::PeakEwma {
            self.server().latency.responded(took, now);
        }
        true
    }

    /// Notes that the attempt failed, and that `failing` counts against the
    /// server, if anything does. Returns whether it was counted: a page that
    /// fails on other servers as well is not.
    pub(super) fn failed(
        &mut self,
        failing: Option<Failing>,
        took: Duration,
        now: Instant,
    ) -> bool {
        self.deadline = None;
        failing.is_some_and(|failing| {
            self.upstream
                .server_failed(self.index, failing, self.page(), took, now)
        })
    }

    /// Notes that no connection could be made, which was `begun` then.
    pub(super) fn connect_failed(&mut self, cause: ConnectFailure, begun: Instant) {
        let now = Instant::now();
        // A lack of ports, descriptors or memory is the gateway's.
        let failing = (cause != ConnectFailure::Local).then_some(Failing::Connect(cause));
        self.failed(failing, now - begun, now);
    }

    /// Has a server whose response has `Retry-After` cool down until then,
    /// unless it is the only one. `is_failure` says that the response was
    /// counted as a failure.
    #[cold]
    fn obey_retry_after(&self, head: &ResponseHead, is_failure: bool, now: Instant) {
        let is_only = self.upstream.balancer.servers.len() == 1;
        let value = head.fields.get(&header::RETRY_AFTER).filter(|_| !is_only);
        let after = value.and_then(|value| retry_after(value, SystemTime::now()));
        if let (Some(after), Some(page)) = (after, self.page()) {
            let by = Provoked {
                page,
                client: self.call.client.ip,
                status: head.status,
            };
            let ejector = &self.upstream.ejector;
            ejector.cool_down(self.index, after, by, is_failure, now);
        }
    }

    /// Counts a timeout against the server if the attempt is given up after its
    /// `deadline` while the server's turn lasts.
    fn given_up(&mut self, deadline: Instant) {
        if !self.is_servers_turn {
            return;
        }
        let flowed = match &self.upload {
            None => Duration::ZERO,
            // While the body flows, the server is held to the body's pace and
            // not to the deadline.
            Some(upload) => match upload.passed() {
                None => return,
                Some(flowed) => flowed,
            },
        };
        let now = Instant::now();
        if now >= deadline + flowed {
            self.failed(Some(Failing::Timeout), Duration::ZERO, now);
        }
    }

    /// The page of the request, once it is being sent.
    fn page(&self) -> Option<Page> {
        let page = || self.upstream.ejector.page_of(&self.call);
        self.is_sent.then(page)
    }

    /// The server that is tried.
    pub(super) fn server(&self) -> &Server {
        &self.upstream.balancer.servers[self.index]
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(deadline) = self.deadline {
            self.given_up(deadline);
        }
    }
}

impl Upstream {
    /// Notes that a response of the server with this `index` is complete.
    fn complete(&self, index: usize, is_success: bool) {
        if is_success {
            self.balancer.servers[index].health.succeeded();
        }
    }

    /// Counts a failure of the server with this `index` that took `took`.
    /// Returns whether it speaks against the server.
    fn server_failed(
        &self,
        index: usize,
        failing: Failing,
        page: Option<Page>,
        took: Duration,
        now: Instant,
    ) -> bool {
        let counts = self.ejector.failed(index, failing, page, now);
        if counts && self.policy.balance == Balance::PeakEwma {
            self.balancer.servers[index].latency.failed(took, now);
        }
        counts
    }
}

/// A response whose head has arrived.
pub(super) struct RespondedAttempt<'a> {
    pub(super) attempt: &'a Attempt,
    /// As in [`ResponseOutcome`].
    pub(super) is_success: bool,
    /// As in [`ResponseOutcome`].
    pub(super) in_flight: InFlight,
}

impl RespondedAttempt<'_> {
    /// The response arrived completely, together with its head. Otherwise as
    /// [`ResponseOutcome::complete`].
    pub(super) fn complete(self) -> InFlight {
        self.attempt
            .upstream
            .complete(self.attempt.index, self.is_success);
        self.in_flight
    }

    /// The outcome, which is decided when the body ends.
    pub(super) fn into_outcome(self) -> ResponseOutcome {
        ResponseOutcome {
            upstream: Arc::clone(&self.attempt.upstream),
            index: self.attempt.index,
            call: Arc::clone(&self.attempt.call),
            is_success: self.is_success,
            in_flight: self.in_flight,
        }
    }
}

/// The outcome of a response whose head has arrived, to be decided by its body.
/// Dropped undecided, it counts neither way, as it was then the client that
/// left.
#[derive(Debug)]
pub(super) struct ResponseOutcome {
    upstream: Arc<Upstream>,
    /// The server's index.
    index: usize,
    /// The request that the server responds to.
    pub(super) call: Arc<Exchange>,
    /// Whether the status is one of a success. A failure was counted when the
    /// head arrived.
    is_success: bool,
    /// Counts the request as in flight until its response has ended.
    in_flight: InFlight,
}

impl ResponseOutcome {
    /// The response arrived completely. Returns the guard that counts the
    /// request as in flight, which a tunnel keeps.
    pub(super) fn complete(self) -> InFlight {
        self.upstream.complete(self.index, self.is_success);
        self.in_flight
    }

    /// The server broke the response off.
    pub(super) fn broke_off(self) {
        if self.is_success {
            let page = self.upstream.ejector.page_of(&self.call);
            self.upstream.server_failed(
                self.index,
                Failing::Cut,
                Some(page),
                Duration::ZERO,
                Instant::now(),
            );
        }
    }
}

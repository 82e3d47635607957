//! One attempt as the server is judged by it. What the client or the gateway caused says nothing of the server.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use tokio::time::Instant;

use super::{
    Upstream,
    balance::Balance,
    health::{Failing, retry_after},
    server::Server,
};
use crate::{error::ConnectFailure, http1::ResponseHead};

/// An attempt at a server. Dropped without an outcome it was given up: by the client, or for the server's slowness.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    upstream: &'a Upstream,
    index: usize,
    patience: Option<Instant>,
    /// The server has to do something next: neither the client nor the gateway.
    pub(super) is_its_turn: bool,
}

impl<'a> Trial<'a> {
    pub(super) fn new(upstream: &'a Upstream, index: usize, patience: Option<Instant>) -> Self {
        Self { upstream, index, patience, is_its_turn: false }
    }

    /// The server answered.
    pub(super) fn answered(mut self, head: &ResponseHead, took: Duration, now: Instant) {
        let status = head.status;
        if status.is_server_error() {
            self.failed(Some(Failing::Status(status.as_u16())), took, now);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                self.heed(head.fields.get(&header::RETRY_AFTER), now);
            }
            return;
        }
        self.patience = None;
        let server = self.server();
        server.health.succeeded();
        if self.upstream.settings.balance == Balance::PeakEwma {
            server.latency.answered(took, now);
        }
    }

    /// The attempt failed, by this fault of the server's if it has one.
    pub(super) fn failed(&mut self, what: Option<Failing>, took: Duration, now: Instant) {
        self.patience = None;
        if let Some(what) = what {
            self.upstream.ejector.failed(self.index, what, now);
            if self.upstream.settings.balance == Balance::PeakEwma {
                self.server().latency.failed(took, now);
            }
        }
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
        let settings = &self.upstream.settings;
        let is_only = self.upstream.balancer.servers.len() == 1;
        let after = value.filter(|_| settings.cool_down && !is_only);
        if let Some(after) = after.and_then(|value| retry_after(value, SystemTime::now())) {
            self.server().health.cool_down(after, now, settings.slow_start);
        }
    }

    fn server(&self) -> &'a Server {
        &self.upstream.balancer.servers[self.index]
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let Some(patience) = self.patience.filter(|_| self.is_its_turn) else { return };
        let now = Instant::now();
        if now >= patience {
            self.failed(Some(Failing::Timeout), Duration::ZERO, now);
        }
    }
}

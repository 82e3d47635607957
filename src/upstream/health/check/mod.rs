//! Active health checks: each server is asked at an interval, on the control
//! thread.
//!
//! A check makes a connection of its own, so that it also finds out whether one
//! can be made, with TLS if the server speaks it. There are three kinds: a
//! request, of which the status decides ([`http`]), a call of
//! `grpc.health.v1.Health` ([`grpc`]), and the connection alone.
//!
//! Checks run on the control thread, so that a worker which is busy delays no
//! check and no check delays a request. Each server has one task, of which the
//! upstream is the owner; a reload replaces the tasks and keeps the states.
//!
//! # Changes of state
//!
//! The first check decides alone. After that the state changes when
//! `unhealthy_after` checks in a row have failed, or `healthy_after` have
//! passed, so that one lost packet does not take a server out.
//!
//! # Cost
//!
//! Each check is one connection, and at most one request and the head of its
//! response: the connection is closed as soon as that has arrived. Checks keep
//! no connection open in between, and take none of the pool's
//! `max_connections`.

mod failure;
mod grpc;
mod http;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rand::RngExt;
use tokio::time::{Instant, sleep};

use self::failure::CheckFailure;
use super::{memory::CheckMemory, state::Health, view::counted};
use crate::{
    policy::{CheckKind, HealthCheck},
    runtime::timer::timeout,
    upstream::server::Server,
};

/// The relative jitter of the interval, so that the checks of many gateways and
/// servers spread.
const JITTER: f64 = 0.1;

/// Checks `server` for as long as the future lives: the first time at once, and
/// then `interval` after each check, with a jitter of a tenth.
///
/// Dropping the future ends the checks, also in the middle of one.
/// `policy.timeout` bounds the whole check, from the connection to the
/// response.
pub(in crate::upstream) async fn check_regularly(
    server: Arc<Server>,
    policy: HealthCheck,
    slow_start: Duration,
) {
    loop {
        let outcome = timeout(policy.timeout, check(&server, &policy))
            .await
            .unwrap_or(Err(CheckFailure::Timeout));
        server
            .health
            .checked(outcome, &policy, Instant::now(), slow_start);
        let factor = rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER);
        sleep(policy.interval.mul_f64(factor)).await;
    }
}

/// Tries to connect to a server that is ejected because connections to it could
/// not be made.
///
/// Success ends that ejection before its time, with a slow start. A failure
/// changes nothing. The mark `is_being_tried`, which the caller has set, is
/// removed in the end, so that at most one such task runs for each server.
pub(in crate::upstream) async fn try_to_reach(server: Arc<Server>, slow_start: Duration) {
    let connect_timeout = server.capacity.settings.connect_timeout;
    if let Ok(Ok(_)) = timeout(connect_timeout, server.connect_to(None)).await {
        server.health.was_reached(Instant::now(), slow_start);
    }
    server.health.is_being_tried.store(false, Relaxed);
}

/// Checks the server once. Not bounded in time.
///
/// # Errors
/// No connection could be made, no answer came, or it is not that of a healthy
/// server.
async fn check(server: &Server, policy: &HealthCheck) -> Result<(), CheckFailure> {
    let stream = server
        .connect_to(policy.port)
        .await
        .map_err(CheckFailure::Connect)?;
    match &policy.kind {
        CheckKind::Tcp => Ok(()),
        CheckKind::Http(check) => http::check(stream, server, check, policy.port).await,
        CheckKind::Grpc(check) => grpc::check(stream, server, check, policy.port).await,
    }
}

impl Health {
    /// Takes the outcome of a check into account. The first one decides alone,
    /// as nothing else is known by then.
    ///
    /// An outcome that agrees with the present state ends the series against
    /// it. The state changes when the series is as long as the policy demands,
    /// and begins anew from 0.
    fn checked(
        &self,
        outcome: Result<(), CheckFailure>,
        policy: &HealthCheck,
        now: Instant,
        slow_start: Duration,
    ) {
        self.settle(now, slow_start);
        let mut history = self.history();
        let is_first = !std::mem::replace(&mut history.checks.has_begun, true);
        if outcome.is_err() == self.is_down() {
            history.checks.against = 0;
            if let Err(failure) = outcome {
                // It may fail for another reason by now.
                history.cause = cause(history.checks.failed, failure);
            }
            return;
        }
        history.checks.against += 1;
        let needed = if outcome.is_ok() {
            policy.healthy_after
        } else {
            policy.unhealthy_after
        };
        if history.checks.against < needed.get() && !is_first {
            return;
        }
        let checks = std::mem::take(&mut history.checks.against);
        match outcome {
            Ok(()) => {
                self.end_down();
                // The reason for an ejection is older than the failed checks,
                // so that it ends as well.
                let cause = format!("{} passed", counted(checks, "check"));
                self.end_ejection(&mut history, &cause, now, slow_start);
            }
            Err(failure) => {
                history.checks.failed = checks;
                self.go_down(&mut history, cause(checks, failure));
            }
        }
        self.note_trouble();
    }

    /// Notes that the server is not checked any more, which makes it as good as
    /// before its first check.
    ///
    /// A server that only its checks kept out gets requests again at once,
    /// without a slow start.
    pub(in crate::upstream) fn end_checks(&self, now: Instant) {
        let mut history = self.history();
        history.checks = CheckMemory::default();
        if self.end_down() {
            let cause = "it is not checked any more";
            self.come_back(&mut history, cause, now, Duration::ZERO);
        }
        self.note_trouble();
    }
}

/// Why a server is down that so many failed checks took out, of which the last
/// one failed so.
fn cause(failed: u32, last: CheckFailure) -> String {
    format!("{} failed, the last: {last}", counted(failed, "check"))
}

#[cfg(test)]
impl Health {
    /// Applies the outcome of a check that got this status, of which only 200
    /// passes.
    pub(in crate::upstream) fn test_status(&self, status: u16) {
        let outcome = match status {
            200 => Ok(()),
            _ => Err(CheckFailure::Status(status.try_into().unwrap())),
        };
        self.test_outcome(outcome);
    }

    /// Applies the same outcome several times; two passed checks bring a server
    /// back, three failed ones take it out.
    pub(in crate::upstream) fn test_checked(&self, passed: bool, times: usize) {
        for _ in 0..times {
            self.test_outcome(if passed {
                Ok(())
            } else {
                Err(CheckFailure::Broken)
            });
        }
    }

    fn test_outcome(&self, outcome: Result<(), CheckFailure>) {
        let policy = HealthCheck {
            kind: CheckKind::Tcp,
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2.try_into().unwrap(),
            unhealthy_after: 3.try_into().unwrap(),
        };
        self.checked(outcome, &policy, Instant::now(), Duration::ZERO);
    }
}

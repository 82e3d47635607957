//! Active health checks: each server is requested a path at an interval, on the
//! control thread.
//!
//! A check makes a connection of its own, so that it also finds out whether one
//! can be made, and speaks the protocol that requests speak. Any 2xx or 3xx
//! status passes.
//!
//! Checks run on the control thread, so that a worker which is busy delays no
//! check and no check delays a request. Each server has one task, of which the
//! upstream is the owner; a reload replaces the tasks and keeps the states.
//!
//! hyper's client suffices here: a check needs neither strict framing nor
//! interim responses, and its outcome has only a few classes.
//!
//! # Changes of state
//!
//! The first check decides alone. After that the state changes when
//! `unhealthy_after` checks in a row have failed, or `healthy_after` have
//! passed, so that one lost packet does not take a server out.
//!
//! # Cost
//!
//! Each check is one connection, one request and one response without its body:
//! the connection is closed as soon as the head has arrived. Checks keep no
//! connection open in between, and take none of the pool's `max_connections`.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::RngExt;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::{memory::CheckMemory, state::Health, view::counted};
use crate::{
    error::ConnectFailure,
    policy::HealthCheck,
    runtime::timer::timeout,
    upstream::{server::Server, stream::Stream},
};

/// The longest head of a response to a check, in bytes.
const MOST_HEAD: usize = 16 * 1024;
/// The `User-Agent` by which services recognise checks in their logs.
const USER_AGENT: &str = "tidegate health check";
/// The relative jitter of the interval, so that the checks of many gateways and
/// servers spread.
const JITTER: f64 = 0.1;

/// The reason for which a check failed, as the log and the admin API show it.
///
/// Each of them fails a check alike; the reason only serves people. The texts
/// are parts of sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum CheckFailure {
    #[error("{0}")]
    Connect(ConnectFailure),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke")]
    Broken,
    #[error("an answer that is not HTTP")]
    NotHttp,
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
}

/// Checks `server` for as long as the future lives: the first time at once, and
/// then `interval` after each check, with a jitter of a tenth.
///
/// Dropping the future ends the checks, also in the middle of one.
/// `policy.timeout` bounds the whole check, from the connection to the
/// response's head.
pub(in crate::upstream) async fn check_regularly(
    server: Arc<Server>,
    policy: HealthCheck,
    slow_start: Duration,
) {
    loop {
        let outcome = timeout(policy.timeout, check(&server, &policy.path))
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
    if let Ok(Ok(_)) = timeout(connect_timeout, server.connect()).await {
        server.health.was_reached(Instant::now(), slow_start);
    }
    server.health.is_being_tried.store(false, Relaxed);
}

/// Requests the path once. Not bounded in time.
///
/// # Errors
/// No connection could be made, no response came, or its status does not pass.
async fn check(server: &Server, path: &str) -> Result<(), CheckFailure> {
    let stream = server.connect().await.map_err(CheckFailure::Connect)?;
    let status = if server.agrees_on_http2(&stream) {
        status_by_http2(stream, server, path).await?
    } else {
        status_by_http1(stream, server, path).await?
    };
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(CheckFailure::Status(status))
    }
}

/// The status that the server responds with on HTTP/1.
///
/// `Connection: close` tells the server that no further request comes.
async fn status_by_http1(
    stream: Stream,
    server: &Server,
    path: &str,
) -> Result<StatusCode, CheckFailure> {
    let request = Request::get(path)
        .header(header::HOST, &*server.authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| CheckFailure::NotHttp)?;
    let (mut requests, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure(&error))?;
    let mut response = pin!(requests.send_request(request));
    // The connection has to be polled for the response to arrive. It may end as
    // soon as it has passed the response on, or the reason why there is none.
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ = connection => response.await,
    };
    match response {
        Ok(response) => Ok(response.status()),
        Err(error) => Err(failure(&error)),
    }
}

/// The class of a failure: the response is no HTTP, or the connection broke.
///
/// A head above 16 KiB counts as no HTTP.
fn failure(error: &hyper::Error) -> CheckFailure {
    if error.is_parse() || error.is_parse_too_large() {
        CheckFailure::NotHttp
    } else {
        CheckFailure::Broken
    }
}

/// The status that the server responds with on HTTP/2.
async fn status_by_http2(
    stream: Stream,
    server: &Server,
    path: &str,
) -> Result<StatusCode, CheckFailure> {
    let (mut requests, connection) = h2::client::handshake(stream)
        .await
        .map_err(|_| CheckFailure::NotHttp)?;
    let scheme = if server.speaks_tls() { "https" } else { "http" };
    let request = Request::get(format!("{scheme}://{}{path}", server.authority))
        .header(header::USER_AGENT, USER_AGENT)
        .body(())
        .map_err(|_| CheckFailure::NotHttp)?;
    let (response, _) = requests
        .send_request(request, true)
        .map_err(|_| CheckFailure::Broken)?;
    tokio::select! {
        response = response => match response {
            Ok(response) => Ok(response.status()),
            Err(_) => Err(CheckFailure::Broken),
        },
        _ = connection => Err(CheckFailure::Broken),
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
        let checks = counted(std::mem::take(&mut history.checks.against), "check");
        match outcome {
            Ok(()) => {
                self.end_down();
                // The reason for an ejection is older than the failed checks,
                // so that it ends as well.
                let cause = format!("{checks} passed");
                self.end_ejection(&mut history, &cause, now, slow_start);
            }
            Err(failure) => {
                self.go_down(
                    &mut history,
                    format!("{checks} failed, the last: {failure}"),
                );
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

#[cfg(test)]
impl Health {
    /// Applies the same outcome several times; two passed checks bring a server
    /// back, three failed ones take it out.
    pub(in crate::upstream) fn test_checked(&self, passed: bool, times: usize) {
        let policy = HealthCheck {
            path: "/".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2.try_into().unwrap(),
            unhealthy_after: 3.try_into().unwrap(),
        };
        for _ in 0..times {
            let outcome = if passed {
                Ok(())
            } else {
                Err(CheckFailure::Status(StatusCode::INTERNAL_SERVER_ERROR))
            };
            self.checked(outcome, &policy, Instant::now(), Duration::ZERO);
        }
    }
}

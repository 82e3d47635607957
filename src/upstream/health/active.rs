//! Active health checks: each server is asked in regular intervals, on the control thread, whether it is well.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode, header};
use rand::RngExt;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use super::{Health, counted};
use crate::{
    error::ConnectFailure,
    http1::{self, Unended},
    policy::HealthCheck,
    runtime::timer::timeout,
    upstream::{connect::connect, server::Server, stream::Stream},
};

/// Longest head of an answer to a check.
const MOST_HEAD: usize = 16 * 1024;
/// How checks show themselves in the logs of services.
const USER_AGENT: &str = "tidegate health check";
/// Checks of many gateways and servers must not come at one time.
const JITTER: f64 = 0.1;

/// What is remembered of the checks so far.
#[derive(Debug, Default)]
pub(super) struct Memory {
    has_begun: bool,
    /// Outcomes in a row that speak against the present state.
    against: u32,
}

/// Why a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Unwell {
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

/// Checks `server` until it is dropped.
pub(in crate::upstream) async fn watch(
    server: Arc<Server>,
    settings: HealthCheck,
    slow_start: Duration,
) {
    loop {
        let outcome = timeout(settings.timeout, check(&server, &settings.path)).await;
        server.health.checked(
            outcome.unwrap_or(Err(Unwell::Timeout)),
            &settings,
            Instant::now(),
            slow_start,
        );
        let factor = rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER);
        sleep(settings.interval.mul_f64(factor)).await;
    }
}

/// Tries whether a server that is ejected for want of a connection takes one again.
pub(in crate::upstream) async fn try_to_reach(server: Arc<Server>, slow_start: Duration) {
    let made = connect(&server.addresses, server.secure.as_ref(), server.protocol);
    if let Ok(Ok(_)) = timeout(server.pool.settings.connect_timeout, made).await {
        server.health.was_reached(Instant::now(), slow_start);
    }
    server.health.is_tried.store(false, Relaxed);
}

/// One check, by a connection of its own: it tells, too, whether one can be made.
async fn check(server: &Server, path: &str) -> Result<(), Unwell> {
    let made = connect(&server.addresses, server.secure.as_ref(), server.protocol).await;
    let stream = made.map_err(Unwell::Connect)?;
    if server.agreed_on_http2(&stream) {
        by_http2(stream, server, path).await
    } else {
        by_http1(stream, server, path).await
    }
}

async fn by_http2(stream: Stream, server: &Server, path: &str) -> Result<(), Unwell> {
    let (mut requests, connection) = h2::client::handshake(stream)
        .await
        .map_err(|_| Unwell::NotHttp)?;
    let scheme = if server.secure.is_some() {
        "https"
    } else {
        "http"
    };
    let request = http::Request::get(format!("{scheme}://{}{path}", server.authority))
        .header(header::USER_AGENT, USER_AGENT)
        .body(())
        .map_err(|_| Unwell::NotHttp)?;
    let (answer, _) = requests
        .send_request(request, true)
        .map_err(|_| Unwell::Broken)?;
    tokio::select! {
        answer = answer => judged(answer.map_err(|_| Unwell::Broken)?.status()),
        _ = connection => Err(Unwell::Broken),
    }
}

/// What a final status says.
fn judged(status: StatusCode) -> Result<(), Unwell> {
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Unwell::Status(status))
    }
}

async fn by_http1(mut stream: Stream, server: &Server, path: &str) -> Result<(), Unwell> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\nconnection: close\r\n\r\n",
        server.authority
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|_| Unwell::Broken)?;
    let (mut input, mut seen) = (BytesMut::new(), 0);
    loop {
        match http1::find_end(&input, seen) {
            Ok(_) => {
                let head = http1::parse_response(&input, &Method::GET).ok().flatten();
                let (head, length) = head.ok_or(Unwell::NotHttp)?;
                input.advance(length);
                seen = 0;
                if !head.status.is_informational() {
                    return judged(head.status);
                }
            }
            Err(Unended::More(so_far)) => seen = so_far,
            Err(Unended::BareLineFeed) => return Err(Unwell::NotHttp),
        }
        if input.len() > MOST_HEAD {
            return Err(Unwell::NotHttp);
        }
        if stream
            .read_buf(&mut input)
            .await
            .map_err(|_| Unwell::Broken)?
            == 0
        {
            return Err(Unwell::Broken);
        }
    }
}

impl Health {
    /// Takes the outcome of a check into account. The first one alone decides, as nothing else is known by then.
    fn checked(
        &self,
        outcome: Result<(), Unwell>,
        settings: &HealthCheck,
        now: Instant,
        slow_start: Duration,
    ) {
        self.settle(now, slow_start);
        let mut story = self.story.lock();
        let is_first = !std::mem::replace(&mut story.checks.has_begun, true);
        if outcome.is_err() == self.is_down() {
            story.checks.against = 0;
            return;
        }
        story.checks.against += 1;
        let needed = if outcome.is_ok() {
            settings.healthy_after
        } else {
            settings.unhealthy_after
        };
        if story.checks.against < needed.get() && !is_first {
            return;
        }
        let times = std::mem::take(&mut story.checks.against);
        match outcome {
            Ok(()) => {
                self.is_down.store(false, Relaxed);
                // What it was ejected for was before it was down.
                self.end_ejection(
                    &mut story,
                    &format!("{} passed", counted(times, "check")),
                    now,
                    slow_start,
                );
            }
            Err(unwell) => {
                self.is_down.store(true, Relaxed);
                self.slow_since.store(0, Relaxed);
                story.cause = format!("{} failed, the last: {unwell}", counted(times, "check"));
                story.since = SystemTime::now();
                let (upstream, server, cause) = (&*self.upstream, &*self.url, story.cause.as_str());
                tracing::warn!(upstream, server, cause, "server is down");
            }
        }
        self.note_trouble();
    }

    /// Nobody checks it any more: it is as good as before the first check.
    pub(in crate::upstream) fn unchecked(&self, now: Instant) {
        let mut story = self.story.lock();
        story.checks = Memory::default();
        if self.is_down.swap(false, Relaxed) {
            self.come_back(
                &mut story,
                "it is not checked any more",
                now,
                Duration::ZERO,
            );
        }
        self.note_trouble();
    }
}

#[cfg(test)]
impl Health {
    /// So many checks with this outcome; two that pass bring a server back, three that fail take it out.
    pub(in crate::upstream) fn test_checked(&self, passed: bool, times: usize) {
        let settings = HealthCheck {
            path: "/".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: std::num::NonZeroU32::MIN.saturating_add(1),
            unhealthy_after: std::num::NonZeroU32::MIN.saturating_add(2),
        };
        for _ in 0..times {
            let outcome = if passed {
                Ok(())
            } else {
                Err(Unwell::Status(StatusCode::INTERNAL_SERVER_ERROR))
            };
            self.checked(outcome, &settings, Instant::now(), Duration::ZERO);
        }
    }
}

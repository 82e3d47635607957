//! The end of an exchange: its access line and its metrics, emitted exactly
//! once, when the last holder lets go.
//!
//! Usually that is the response body, once its last byte is written. If the
//! client leaves before the response, it is the future of the request, when the
//! connection drops it. Everything that is emitted is read from the notes here
//! and nowhere else, so that line and metrics agree.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Version;

use super::{exchange::Exchange, facts::Facts, target::UNREADABLE};
use crate::{
    duration,
    error::Fault,
    message::FieldName,
    telemetry::{Decision, Line},
};

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let mut facts = self.facts.lock();
        let ended = EndedExchange {
            exchange: self,
            status: facts.settle(),
            facts: &facts,
            duration,
        };
        ended.count();
        ended.write_line();
    }
}

/// An exchange of which nothing more will be noted.
struct EndedExchange<'a> {
    exchange: &'a Exchange,
    facts: &'a Facts,
    /// The status that was sent, or that stands for a client that left before.
    status: u16,
    /// From the first byte of the request to now.
    duration: Duration,
}

impl EndedExchange<'_> {
    /// Adds the exchange to the metrics of its route, those of its limits
    /// included, and ends its count as in flight.
    fn count(&self) {
        let Exchange {
            request,
            route,
            grpc,
            ..
        } = self.exchange;
        let facts = self.facts;
        route.metrics.record(|cells| {
            cells.request(&request.method, self.status, self.duration);
            cells.call(grpc.map(|_| facts.grpc_status));
            if let Some(reason) = facts.reason {
                cells.refusal(reason);
            }
            for (index, limit) in route.limits.iter().enumerate() {
                if facts.limits.admitted & (1 << index) != 0 {
                    cells.decision(limit, Decision::Allowed);
                } else if facts.limits.refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::Refused);
                }
                if facts.limits.shadow_refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::ShadowRefused);
                }
                if facts.limits.candidate_refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::CandidateRefused);
                }
            }
        });
        route.metrics.ended();
        if let Some(Fault::Idle(after)) = facts.broke
            && route.metrics.is_first_silence()
        {
            warn_of_silence(route.name.as_deref().unwrap_or_default(), after);
        }
    }

    /// Writes the access line, unless access lines are switched off. The writer
    /// is a thread of its own: the line is handed over without waiting, and
    /// dropped and counted if the writer is too far behind.
    fn write_line(&self) {
        let (exchange, facts) = (self.exchange, self.facts);
        let (head, target, route) = (&exchange.request, &exchange.target, &exchange.route);
        let Some(access) = &route.access else {
            return;
        };
        let limit = facts.limits.nearest.as_ref();
        let query = target.query().and_then(|query| route.query.shown(query));
        access.write(&Line {
            time: SystemTime::now(),
            request_id: exchange.id.as_bytes(),
            listener: &exchange.origin.listener,
            client: exchange.client.ip,
            peer: exchange.origin.peer,
            peer_ip: exchange.origin.peer_ip(),
            protocol: match head.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            method: Some(head.method.as_str()).filter(|method| *method != UNREADABLE),
            host: Some(exchange.host.as_bytes()).filter(|host| !host.is_empty()),
            path: Some(target.path()).filter(|path| *path != UNREADABLE.as_bytes()),
            query: query.as_deref(),
            route: route.name.as_deref(),
            status: self.status,
            grpc_status: facts.grpc_status,
            reason: facts.reason,
            limit: limit.and_then(|limit| self.limit_name(limit.limit)),
            remaining: limit.map(|limit| u64::from(limit.standing.remaining)),
            key: limit.map(|limit| limit.key.hash()),
            shadow: self.limit_name(facts.limits.shadow_refused.trailing_zeros() as usize),
            upstream: self.upstream().map(|name| &**name),
            server: facts.server.as_ref().map(|(_, server)| &**server),
            attempts: Some(facts.attempts).filter(|attempts| *attempts > 0),
            not_retried: facts.not_retried,
            queue: facts.queue,
            upstream_time: facts.upstream,
            duration: self.duration,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            user_agent: head.headers.known(FieldName::UserAgent).next(),
        });
    }

    /// The name of a limit or tier, by its index among the names of the route's
    /// limits.
    fn limit_name(&self, index: usize) -> Option<&str> {
        self.exchange.route.limits.get(index).map(|name| &**name)
    }

    /// The upstream of the last attempt, or the one that had no server for an
    /// attempt.
    fn upstream(&self) -> Option<&Arc<str>> {
        let attempted = self.facts.server.as_ref().map(|(upstream, _)| upstream);
        attempted.or(self.facts.unserved.as_ref())
    }
}

/// Explains, once for each route, why responses break off that pause for longer
/// than the route allows.
fn warn_of_silence(route: &str, after: Duration) {
    tracing::warn!(
        route,
        "an answer was cut because nothing moved for {}; if its service pauses for longer, raise `timeouts.idle` of the \
         route (for upgraded connections, gRPC and streams of events: `timeouts.tunnel`)",
        duration::text(after)
    );
}

//! The end of an exchange: its access line and its metrics, emitted exactly
//! once, when the last holder lets go.
//!
//! Usually that is the response body, once its last byte is written. If the
//! client leaves before the response, it is the future of the request, when the
//! connection drops it. Everything that is emitted is read from the notes here
//! and nowhere else, so that line and metrics agree.

use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::{
    exchange::{Exchange, RouteLines},
    facts::Facts,
    spans::Spans,
    target::UNREADABLE,
    trace::Trace,
};
use crate::{
    duration,
    error::Fault,
    message::FieldName,
    telemetry::{Decision, ExtraFields, LimitState, Line},
    traces::TraceParent,
};

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        let ended = EndedExchange {
            status: self.facts.get_mut().settle(),
            now,
            duration: now - self.started,
            exchange: self,
        };
        let facts = self.facts.lock();
        ended.count(&facts);
        ended.write_line(&facts);
        ended.export_spans(&facts);
    }
}

/// An exchange of which nothing more will be noted.
struct EndedExchange<'a> {
    exchange: &'a Exchange,
    /// The status that was sent, or that stands for a client that left before.
    status: u16,
    /// The end. No other clock is read: the line has it by the wall clock.
    now: Instant,
    /// From the first byte of the request to now.
    duration: Duration,
}

impl EndedExchange<'_> {
    /// Adds the exchange to the metrics of its route, those of its limits
    /// included, and ends its count as in flight.
    fn count(&self, facts: &Facts) {
        let Exchange {
            request,
            route,
            grpc,
            ..
        } = self.exchange;
        route.metrics.record(|cells| {
            cells.request(&request.method, self.status, self.duration);
            cells.call(grpc.map(|_| facts.grpc_status));
            if let Some(reason) = facts.reason {
                cells.refusal(reason);
            }
            for (decision, limits) in [
                (Decision::Allowed, facts.limits.admitted),
                (
                    Decision::Refused,
                    facts.limits.refused & !facts.limits.admitted,
                ),
                (Decision::ShadowRefused, facts.limits.shadow_refused),
                (Decision::CandidateRefused, facts.limits.candidate_refused),
            ] {
                cells.decisions(&route.limits, limits, decision);
            }
        });
        route.metrics.ended();
        if let Some(Fault::Idle(after)) = facts.broke
            && route.metrics.is_first_silence()
        {
            warn_of_silence(route.name.as_deref().unwrap_or_default(), after);
        }
    }

    /// Writes the access line, unless access lines are switched off or not all
    /// of its kind are written.
    fn write_line(&self, facts: &Facts) {
        let exchange = self.exchange;
        let Some(lines) = &exchange.route.access else {
            return;
        };
        let mut extra = None;
        if let Some(choices) = &lines.choices {
            extra = choices.fields(exchange, facts, self.status, lines);
            if extra.is_none() {
                return;
            }
        }
        self.write_with(extra.as_ref(), lines, facts);
    }

    /// Writes the access line with these chosen fields. The writer is a thread
    /// of its own: the line is handed over without waiting, and dropped and
    /// counted if the writer is too far behind.
    fn write_with(&self, extra: Option<&ExtraFields<'_>>, lines: &RouteLines, facts: &Facts) {
        let exchange = self.exchange;
        let (head, target, origin) = (&exchange.request, &exchange.target, &exchange.origin);
        let first = |limits: u64| exchange.route.limits.get(limits.trailing_zeros() as usize);
        let query = target.query().and_then(|query| lines.query.shown(query));
        let client = exchange.client.ip;
        let identified = exchange.identified.get();
        let trace = Trace::known(exchange.trace.as_ref(), &head.headers);
        lines.log.write(&Line {
            time: self.now,
            request_id: exchange.id.as_bytes(),
            listener: &origin.listener,
            client: (client != origin.peer.ip().to_canonical()).then_some(client),
            peer: origin.peer_text(),
            peer_ip: origin.peer_ip(),
            protocol: match head.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            method: Some(head.method.as_str()).filter(|method| *method != UNREADABLE),
            host: Some(exchange.host.as_bytes()).filter(|host| !host.is_empty()),
            path: Some(target.path()).filter(|path| *path != UNREADABLE.as_bytes()),
            query: query.as_deref(),
            route: lines.route.as_ref(),
            status: self.status,
            grpc_status: facts.grpc_status,
            reason: facts.reason,
            identity: identified
                .map(|client| &client.identity)
                .or(facts.unidentified_by.as_ref())
                .map(|identity| &**identity),
            plan: identified.and_then(|client| client.plan.as_deref()),
            limit: facts.limits.nearest.as_ref().and_then(|limit| {
                Some(LimitState {
                    name: lines.limits.get(limit.limit)?,
                    remaining: limit.standing.remaining.into(),
                    key: limit.key.hash(),
                })
            }),
            refused_by: first(facts.limits.refused).map(|name| &**name),
            cost: facts.cost,
            shadow: first(facts.limits.shadow_refused).map(|name| &**name),
            server: facts.server.as_deref(),
            unserved: facts.unserved.as_deref(),
            attempts: Some(facts.attempts).filter(|attempts| *attempts > 0),
            not_retried: facts.not_retried,
            delay: facts.delay,
            queue: facts.queue,
            upstream_time: facts.upstream,
            duration: self.duration,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            trace_id: trace.as_ref().map(TraceParent::trace_id),
            user_agent: head.headers.known(FieldName::UserAgent).next(),
            extra,
        });
    }

    /// Hands the spans of a recorded request over to the exporter, without
    /// waiting.
    fn export_spans(&self, facts: &Facts) {
        let Some(trace) = &self.exchange.trace else {
            return;
        };
        if let Some(recording) = trace.recording.as_deref() {
            let spans = Spans {
                exchange: self.exchange,
                recording,
                parent: trace.parent,
                facts,
                status: self.status,
                now: self.now,
            };
            spans.export();
        }
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

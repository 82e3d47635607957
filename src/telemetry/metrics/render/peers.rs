//! The families of upstreams and listeners. Each function writes several
//! families, one after the other, since a family must not be interrupted by
//! another.
//!
//! Attempts and connects are counted in cells of the workers, events of
//! listeners in atomics. Everything else is read from the running parts when
//! the scrape begins. An upstream or a listener that a reload has removed has
//! neither counters nor gauges any more.
//!
//! A server is labelled by its URL, as the configuration has it. A name with
//! several addresses is one server and has one time series.

use std::sync::Arc;

use super::super::{
    exposition::{Exposition, FamilyType, Seconds},
    observed::{Observed, OrderGauges},
    peers::{ListenerMetrics, PeerCells},
};

/// Upstreams by name, each with the sum of its cells.
pub(super) type Upstreams = [(Arc<str>, PeerCells)];

/// Listeners by their address, each with its counters.
pub(super) type ListenerTotals = [(Arc<str>, Arc<ListenerMetrics>)];

/// Counters of attempts and connects by their upstream.
///
/// Each attempt adds one observation to the histogram, so that a request with
/// two retries adds three. Connects are counted by outcome: each cause of a
/// failure has a word of its own.
pub(super) fn upstreams(upstreams: &Upstreams, to: &mut Exposition) {
    let help = "Time of one attempt, to the head of its response.";
    let mut family = to.family(
        FamilyType::Histogram,
        "tidegate_upstream_duration_seconds",
        help,
    );
    for (upstream, cells) in upstreams {
        family.histogram(&[("upstream", upstream)], &cells.durations);
    }
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_upstream_connects",
        "Connections tried, by outcome.",
    );
    for (upstream, cells) in upstreams {
        family.tally(("upstream", upstream), "outcome", &cells.outcomes);
    }
}

/// Gauges of connections and servers by their upstream.
///
/// `tidegate_upstream_server_up` has a sample for each server, also for one
/// that is down. `tidegate_upstream_ejections` has one only for servers that
/// were ejected at least once.
pub(super) fn servers(observed: &Observed, to: &mut Exposition) {
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_upstream_connections",
        "Open connections, by state.",
    );
    for of in &observed.upstreams {
        for &(state, count) in &of.connections {
            family.sample(&[("upstream", &of.upstream), ("state", state)], count);
        }
    }
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_upstream_server_up",
        "1 while a server is sent requests.",
    );
    for of in &observed.upstreams {
        for (server, up) in &of.servers {
            family.sample(
                &[("upstream", &of.upstream), ("server", server)],
                u8::from(*up),
            );
        }
    }
    let help = "Times a server was left alone for a while because of its failures.";
    let mut family = to.family(FamilyType::Counter, "tidegate_upstream_ejections", help);
    for of in &observed.upstreams {
        for (server, count) in &of.ejections {
            family.count(&[("upstream", &of.upstream), ("server", server)], *count);
        }
    }
}

/// Gauges of the concurrency limit of each upstream.
///
/// An upstream without a concurrency limit has none of these gauges. They count
/// the requests of all routes to the upstream, whereas the gauges of a route
/// count those of one route.
pub(super) fn upstream_caps(observed: &Observed, to: &mut Exposition) {
    let help = "Requests that hold a place under the upstream's cap, over all routes.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_upstream_in_flight", help);
    for of in &observed.upstreams {
        family.gauge(
            &[("upstream", &of.upstream)],
            of.cap.map(|cap| cap.in_flight),
        );
    }
    let help = "Requests that hold a place under the upstream's cap while a server works on, though their client has left.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_upstream_abandoned", help);
    for of in &observed.upstreams {
        family.gauge(
            &[("upstream", &of.upstream)],
            of.cap.map(|cap| cap.abandoned),
        );
    }
    let help = "Requests that wait for a place under the upstream's cap.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_upstream_queued", help);
    for of in &observed.upstreams {
        family.gauge(&[("upstream", &of.upstream)], of.cap.map(|cap| cap.queued));
    }
    let help = "Requests the upstream's cap admits at once, as it is now.";
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_upstream_concurrency_limit",
        help,
    );
    for of in &observed.upstreams {
        family.gauge(&[("upstream", &of.upstream)], of.cap.map(|cap| cap.limit));
    }
}

/// Counters and gauges of connections by their listener.
///
/// The connections of a listener are those of all workers together. Pauses,
/// closed connections and floods are counted since the start of the process,
/// and have no sample before the first event.
pub(super) fn connections(listeners: &ListenerTotals, observed: &Observed, to: &mut Exposition) {
    let help = "Open connections of clients.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_connections", help);
    for of in &observed.listeners {
        family.sample(&[("listener", &of.listener)], of.connections);
    }
    let help = "Times a listener stopped accepting for a while, by reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_accept_pauses", help);
    for (listener, of) in listeners {
        family.tally(("listener", listener), "reason", &of.pauses());
    }
    let help = "Connections of clients that were closed so that others have room, by reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_connections_closed", help);
    for (listener, of) in listeners {
        family.tally(("listener", listener), "reason", &of.all_closed());
    }
    let help = "HTTP/2 connections that were ended because they asked for too much work, by kind of frame.";
    let mut family = to.family(FamilyType::Counter, "tidegate_http2_floods", help);
    for (listener, of) in listeners {
        family.tally(("listener", listener), "kind", &of.floods());
    }
}

/// Counters and gauges of TLS and of the PROXY protocol by their listener.
///
/// Handshakes in progress are absent for a listener without TLS. The end of the
/// validity of a certificate is a time and not a remaining duration, so that
/// the value does not change from scrape to scrape and an alert subtracts
/// `time()`.
pub(super) fn tls(listeners: &ListenerTotals, observed: &Observed, to: &mut Exposition) {
    let help = "TLS handshakes with clients, by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_tls_handshakes", help);
    for (listener, of) in listeners {
        family.tally(("listener", listener), "outcome", &of.handshakes());
    }
    let help = "TLS handshakes that went on with an earlier session.";
    let mut family = to.family(FamilyType::Counter, "tidegate_tls_resumptions", help);
    for (listener, of) in listeners {
        family.count(&[("listener", listener)], of.resumptions());
    }
    let help = "TLS handshakes that are worked on.";
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_tls_handshakes_in_progress",
        help,
    );
    for of in &observed.listeners {
        family.gauge(&[("listener", &of.listener)], of.handshaking);
    }
    let help = "When a certificate ends to be valid, since the Unix epoch.";
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_certificate_expiry_timestamp_seconds",
        help,
    );
    for of in &observed.listeners {
        for (name, at) in &of.certificates {
            family.sample(&[("listener", &of.listener), ("name", name)], Seconds(*at));
        }
    }
    let help = "Connections closed for want of a PROXY protocol header, by reason.";
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_proxy_protocol_failures",
        help,
    );
    for (listener, of) in listeners {
        family.tally(("listener", listener), "reason", &of.all_not_named());
    }
}

/// The families of certificates that the gateway orders itself. All are absent
/// for a configuration without `acme`, but for the count of earlier orders.
pub(super) fn orders(orders: &OrderGauges, to: &mut Exposition) {
    let help = "Orders of certificates from ACME authorities, by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_acme_orders", help);
    for (outcome, count) in &orders.outcomes {
        family.count(&[("outcome", outcome)], *count);
    }
    let help = "1 if there is a certificate for the domain, 0 until the first order succeeds.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_acme_certificate", help);
    for of in &orders.domains {
        family.sample(&[("domain", &of.domain)], u8::from(of.has_certificate));
    }
    let help = "Orders in a row that failed; 0 after a success.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_acme_failures", help);
    for of in &orders.domains {
        family.sample(&[("domain", &of.domain)], of.failures);
    }
    let help = "When the domain is looked at next, to order, to renew or to ask whether to renew, since the Unix epoch.";
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_acme_next_attempt_timestamp_seconds",
        help,
    );
    for of in &orders.domains {
        family.sample(&[("domain", &of.domain)], Seconds(of.next_attempt));
    }
}

//! Promises of the access log: the form of a line, and how lines reach the
//! sink.
//!
//! The clock of all these tests stands still at [`TIME`] by the wall clock.

mod forms;
mod writing;

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{FixedFields, LimitState, Line};

/// The moment of each line, by both clocks.
static TIME: LazyLock<(Instant, SystemTime)> = LazyLock::new(|| {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    (Instant::now(), wall)
});

/// The fields of a listener, a route, a limit and a server.
struct Names {
    listener: FixedFields,
    route: FixedFields,
    limit: FixedFields,
    server: FixedFields,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let name = Arc::<str>::from;
    Names {
        listener: FixedFields::listener(name("0.0.0.0:8080")),
        route: FixedFields::route(name("orders")),
        limit: FixedFields::limit(name("daily")),
        server: FixedFields::server(name("backend"), name("http://10.0.0.1:9001")),
    }
});

/// A line with every field.
fn full() -> Line<'static> {
    Line {
        host: Some(b"example.com"),
        path: Some(b"/orders/7"),
        query: Some(b"a=b"),
        route: Some(&NAMES.route),
        status: 429,
        grpc_status: Some(8),
        reason: Some("rate_limited"),
        limit: Some(LimitState {
            name: &NAMES.limit,
            remaining: 0,
            key: 0xdead_beef,
        }),
        cost: Some(12),
        shadow: Some("trial"),
        server: Some(&NAMES.server),
        attempts: Some(2),
        not_retried: Some("budget"),
        delay: Some(Duration::from_millis(40)),
        queue: Some(Duration::from_micros(250)),
        upstream_time: Some(Duration::from_millis(12)),
        trace_id: Some(b"0af7651916cd43dd8448eb211c80319c"),
        user_agent: Some(b"curl/8.5.0"),
        ..least()
    }
}

/// A line with only the fields that every line has.
fn least() -> Line<'static> {
    Line {
        time: TIME.0,
        request_id: b"r-1",
        listener: &NAMES.listener,
        client: Some([203, 0, 113, 7].into()),
        peer: "10.0.0.9:40000",
        peer_ip: "10.0.0.9",
        protocol: "HTTP/1.1",
        method: Some("GET"),
        host: None,
        path: Some(b"/"),
        query: None,
        route: None,
        status: 404,
        grpc_status: None,
        identity: None,
        plan: None,
        reason: None,
        limit: None,
        refused_by: None,
        cost: None,
        shadow: None,
        server: None,
        unserved: None,
        attempts: None,
        not_retried: None,
        delay: None,
        queue: None,
        upstream_time: None,
        duration: Duration::from_micros(13_500),
        bytes_in: 1,
        bytes_out: 234,
        trace_id: None,
        user_agent: None,
        extra: None,
    }
}

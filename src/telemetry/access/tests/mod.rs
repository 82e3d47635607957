//! Promises of the access log: the form of a line, and how lines reach the
//! sink.

mod forms;
mod writing;

use std::time::{Duration, SystemTime};

use super::Line;

/// A line with every field.
fn full() -> Line<'static> {
    Line {
        host: Some(b"example.com"),
        path: Some(b"/orders/7"),
        query: Some(b"a=b"),
        route: Some("orders"),
        status: 429,
        grpc_status: Some(8),
        reason: Some("rate_limited"),
        limit: Some("daily"),
        remaining: Some(0),
        key: Some(0xdead_beef),
        shadow: Some("trial"),
        upstream: Some("backend"),
        server: Some("http://10.0.0.1:9001"),
        attempts: Some(2),
        not_retried: Some("budget"),
        queue: Some(Duration::from_micros(250)),
        upstream_time: Some(Duration::from_millis(12)),
        user_agent: Some(b"curl/8.5.0"),
        ..least()
    }
}

/// A line with only the fields that every line has.
fn least() -> Line<'static> {
    Line {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request_id: b"r-1",
        listener: "0.0.0.0:8080",
        client: [203, 0, 113, 7].into(),
        peer: ([10, 0, 0, 9], 40000).into(),
        peer_ip: "10.0.0.9",
        protocol: "HTTP/1.1",
        method: Some("GET"),
        host: None,
        path: Some(b"/"),
        query: None,
        route: None,
        status: 404,
        grpc_status: None,
        reason: None,
        limit: None,
        remaining: None,
        key: None,
        shadow: None,
        upstream: None,
        server: None,
        attempts: None,
        not_retried: None,
        queue: None,
        upstream_time: None,
        duration: Duration::from_micros(13_500),
        bytes_in: 1,
        bytes_out: 234,
        user_agent: None,
    }
}

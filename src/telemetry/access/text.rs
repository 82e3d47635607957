//! An access line for people: the fields of the JSON object as `key=value`, the
//! most important ones first.
//!
//! The format is that of logfmt: a value is bare if it cannot be misread, and
//! otherwise between quotes with the escapes of JSON.
//!
//! The order differs from that of the JSON object: a person reads status,
//! method and path first, and the long fields of the client last. The names are
//! the same, so that a search works on both.

use super::{
    escape::{escape, hex, is_bare},
    line::{LONG, Line, SHORT},
    value::{self, DateCache},
};

/// Appends the pairs and the end of their line.
pub(super) fn write(line: &Line<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
    out.extend_from_slice(b"time=");
    dates.write(line.time, out);
    request(line, out);
    verdict(line, out);
    forwarding(line, out);
    connection(line, out);
    out.push(b'\n');
}

/// The fields that say what was asked for and how it ended.
fn request(line: &Line<'_>, out: &mut Vec<u8>) {
    number(" status=", Some(line.status), out);
    text(" method=", line.method, out);
    bytes(" host=", line.host, SHORT, out);
    bytes(" path=", line.path, LONG, out);
    bytes(" query=", line.query, LONG, out);
    millis(" duration_ms=", Some(line.duration), out);
}

/// The fields of the decision: the route and the limit.
fn verdict(line: &Line<'_>, out: &mut Vec<u8>) {
    text(" route=", line.route, out);
    number(" grpc_status=", line.grpc_status, out);
    text(" reason=", line.reason, out);
    text(" limit=", line.limit, out);
    number(" remaining=", line.remaining, out);
    if let Some(key) = line.key {
        out.extend_from_slice(b" key=");
        hex(key, 16, out);
    }
    text(" shadow=", line.shadow, out);
}

/// The fields of the attempts.
fn forwarding(line: &Line<'_>, out: &mut Vec<u8>) {
    text(" upstream=", line.upstream, out);
    text(" server=", line.server, out);
    number(" attempts=", line.attempts, out);
    text(" not_retried=", line.not_retried, out);
    millis(" queue_ms=", line.queue, out);
    millis(" upstream_ms=", line.upstream_time, out);
}

/// The fields of the connection and the client.
fn connection(line: &Line<'_>, out: &mut Vec<u8>) {
    number(" bytes_in=", Some(line.bytes_in), out);
    number(" bytes_out=", Some(line.bytes_out), out);
    out.extend_from_slice(b" client=");
    value::client(line, out);
    out.extend_from_slice(b" peer=");
    value::peer(line, out);
    text(" listener=", Some(line.listener), out);
    text(" protocol=", Some(line.protocol), out);
    bytes(" request_id=", Some(line.request_id), SHORT, out);
    bytes(" user_agent=", line.user_agent, LONG, out);
}

/// Appends a word of the gateway or a name from the configuration.
///
/// Such a value is nearly always bare, and is looked at like any other one.
fn text(before: &str, value: Option<&str>, out: &mut Vec<u8>) {
    bytes(before, value.map(str::as_bytes), SHORT, out);
}

/// Appends a value if there is one, in quotes if it could be misread without.
/// Of a longer value, the first `longest` bytes are written.
pub(super) fn bytes(before: &str, value: Option<&[u8]>, longest: usize, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before.as_bytes());
    if value.len() <= longest && is_bare(value) {
        out.extend_from_slice(value);
    } else {
        out.push(b'"');
        escape(value, longest, out);
        out.push(b'"');
    }
}

/// Appends a number if there is one.
fn number(before: &str, value: Option<impl itoa::Integer>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before.as_bytes());
    value::integer(value, out);
}

/// Appends a duration in milliseconds if there is one.
fn millis(before: &str, value: Option<std::time::Duration>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before.as_bytes());
    value::millis(value, out);
}

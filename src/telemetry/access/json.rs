//! An access line as one JSON object.
//!
//! The names and the order of the fields are part of the interface, and the
//! reference lists them. Absent fields are left out rather than written as
//! `null`. Every value is appended together with the text before it, which has
//! the key, its colon and an opening quote: one copy instead of several.
//!
//! # Cost
//!
//! A line is the most frequent work besides forwarding: it is appended to the
//! buffer of the worker without an allocation of its own, and no serialiser
//! goes over it. Words of the program and names of the configuration need no
//! escape, and are copied as they are. Text that a client chose goes through
//! `escape`.

use super::{
    escape::{escape, hex},
    line::{LONG, Line, SHORT},
    value::{self, DateCache},
};

/// Appends the object and the end of its line. At most 56 KiB, when every byte
/// of every text has to be escaped.
pub(super) fn write(line: &Line<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"time":""#);
    dates.write(line.time, out);
    out.push(b'"');
    request(line, out);
    verdict(line, out);
    forwarding(line, out);
    cost(line, out);
    out.extend_from_slice(b"}\n");
}

/// The fields of the request and of the connection it came on.
fn request(line: &Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","request_id":""#);
    out.extend_from_slice(line.request_id);
    out.push(b'"');
    plain(br#","listener":""#, Some(line.listener), out);
    out.extend_from_slice(br#","client":""#);
    value::client(line, out);
    out.extend_from_slice(br#"","peer":""#);
    value::peer(line, out);
    out.push(b'"');
    plain(br#","protocol":""#, Some(line.protocol), out);
    word(br#","method":""#, line.method, out);
    bytes(br#","host":""#, line.host, SHORT, out);
    bytes(br#","path":""#, line.path, LONG, out);
    bytes(br#","query":""#, line.query, LONG, out);
}

/// The fields of the decision about the request: its route, status and limit.
fn verdict(line: &Line<'_>, out: &mut Vec<u8>) {
    plain(br#","route":""#, line.route, out);
    number(br#","status":"#, Some(line.status), out);
    number(br#","grpc_status":"#, line.grpc_status, out);
    plain(br#","reason":""#, line.reason, out);
    plain(br#","limit":""#, line.limit, out);
    number(br#","remaining":"#, line.remaining, out);
    if let Some(key) = line.key {
        out.extend_from_slice(br#","key":""#);
        hex(key, 16, out);
        out.push(b'"');
    }
    plain(br#","shadow":""#, line.shadow, out);
}

/// The fields of the attempts.
///
/// A request that the gateway refused has none of them.
fn forwarding(line: &Line<'_>, out: &mut Vec<u8>) {
    plain(br#","upstream":""#, line.upstream, out);
    plain(br#","server":""#, line.server, out);
    number(br#","attempts":"#, line.attempts, out);
    plain(br#","not_retried":""#, line.not_retried, out);
}

/// The fields of time and size, and the client's software.
///
/// `queue_ms` and `upstream_ms` are absent if the request has neither waited
/// nor been sent; `duration_ms` and the sizes are always there.
fn cost(line: &Line<'_>, out: &mut Vec<u8>) {
    for (key, duration) in [
        (&br#","queue_ms":"#[..], line.queue),
        (br#","upstream_ms":"#, line.upstream_time),
        (br#","duration_ms":"#, Some(line.duration)),
    ] {
        if let Some(duration) = duration {
            out.extend_from_slice(key);
            value::millis(duration, out);
        }
    }
    number(br#","bytes_in":"#, Some(line.bytes_in), out);
    number(br#","bytes_out":"#, Some(line.bytes_out), out);
    bytes(br#","user_agent":""#, line.user_agent, LONG, out);
}

// `before` is the whole text before a value, with its opening quote: one copy
// instead of several.

/// Appends a value that needs no escapes: a word of the gateway or a name from
/// the configuration.
#[inline]
fn plain(before: &[u8], value: Option<&str>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends a word that is nearly always a few capital letters.
///
/// Methods such as GET and POST pass after a look at fewer than eight bytes. A
/// method that a client invented is escaped and cut like any other text.
#[inline]
fn word(before: &[u8], value: Option<&str>, out: &mut Vec<u8>) {
    match value {
        Some(value) if value.len() < 8 && value.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            plain(before, Some(value), out);
        }
        value => bytes(before, value.map(str::as_bytes), SHORT, out),
    }
}

/// Appends a value that a client chose.
///
/// Absent values leave no trace. Longer ones are cut after `longest` bytes.
#[inline]
fn bytes(before: &[u8], value: Option<&[u8]>, longest: usize, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before);
    escape(value, longest, out);
    out.push(b'"');
}

/// Appends a number, which has no quotes.
#[inline]
fn number(before: &[u8], value: Option<impl itoa::Integer>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before);
    value::integer(value, out);
}

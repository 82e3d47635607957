//! The fields of an access line, borrowed from the exchange that has ended, and
//! its forms.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::fixed::FixedFields;
use crate::policy::LogFormat;

/// The form of an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Every field: as one JSON object, or as `key=value`.
    Full(LogFormat),
    /// The most important fields in one row of a terminal.
    Short {
        /// The status is coloured.
        color: bool,
    },
}

/// The fields of one request, whose line is written when its exchange has
/// ended. A field that is `None` is left out of the line.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// The end of the exchange. The line has it by the wall clock.
    pub time: Instant,
    /// The identity of the request, here and upstream: printable ASCII without
    /// quotes, at most 128 bytes.
    pub request_id: &'a [u8],
    /// The listener that accepted the connection.
    pub listener: &'a FixedFields,
    /// The client's address, as trusted proxies report it; `None` if the client
    /// is the other end of the connection.
    pub client: Option<IpAddr>,
    /// The other end of the connection, its address and port.
    pub peer: &'a str,
    /// The address of `peer` without the port, and as IPv4 if it is one that is
    /// mapped to IPv6.
    pub peer_ip: &'a str,
    /// The version, as in `HTTP/1.1`.
    pub protocol: &'static str,
    /// The method as received; `None` if the bytes were no request.
    pub method: Option<&'a str>,
    /// The host of the request, in lower case and without its port.
    pub host: Option<&'a [u8]>,
    /// The path, as received; `None` if the target could not be parsed.
    pub path: Option<&'a [u8]>,
    /// The query without the question mark. Values that may be secrets are
    /// masked already, as the configuration says.
    pub query: Option<&'a [u8]>,
    /// The route that matched.
    pub route: Option<&'a FixedFields>,
    /// Status of the response; 499 if the client left before there was one.
    pub status: u16,
    /// Status of a gRPC call.
    pub grpc_status: Option<u8>,
    /// Why the gateway itself responded, or why the body broke off.
    pub reason: Option<&'static str>,
    /// The name of the identity by which the client is known.
    pub identity: Option<&'a str>,
    /// The plan of the client, which may be text of a token.
    pub plan: Option<&'a str>,
    /// The limit that refused the request, or is nearest to exhaustion.
    pub limit: Option<LimitState<'a>>,
    /// The limit that refused the request because it lacks a part of the key.
    /// Left out of the line if there is a `limit`.
    pub refused_by: Option<&'a str>,
    /// Tokens that the request has used in the end, if a limit knows its cost
    /// only then.
    pub cost: Option<u64>,
    /// The first limit in shadow mode that would have refused the request.
    pub shadow: Option<&'a str>,
    /// The server that responded, or was tried last, and its upstream.
    pub server: Option<&'a FixedFields>,
    /// The upstream that had no server for the request. Left out of the line if
    /// there is a `server`.
    pub unserved: Option<&'a str>,
    /// Number of attempts.
    pub attempts: Option<u32>,
    /// Why a failure was not retried.
    pub not_retried: Option<&'static str>,
    /// Time for which the request waited for tokens of its limits; `None` if it
    /// did not.
    pub delay: Option<Duration>,
    /// Time in the queues of concurrency limits, of the route and the upstream
    /// together.
    pub queue: Option<Duration>,
    /// Duration of the last attempt, to the head of its response.
    pub upstream_time: Option<Duration>,
    /// From the first byte of the request to the end of the exchange.
    pub duration: Duration,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// The id of the trace, in 32 digits.
    pub trace_id: Option<&'a [u8]>,
    /// The `User-Agent` of the client.
    pub user_agent: Option<&'a [u8]>,
    /// Fields that the configuration has chosen; `None` for most
    /// configurations.
    pub extra: Option<&'a ExtraFields<'a>>,
}

/// Fields that a line has because the configuration has chosen them.
#[derive(Debug, Clone)]
pub struct ExtraFields<'a> {
    /// Fields of the messages, at most 16: names, which need no escapes and have
    /// a colon as no other field has, and values.
    pub fields: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// Keyed hashes of the request's keys, by the names of the limits and tiers,
    /// of which there are at most 64.
    pub keys: Vec<(&'a FixedFields, u64)>,
    /// The share of lines like this one that are written, as a fraction; `None`
    /// if all are.
    pub sample: Option<&'a str>,
}

/// A limit, as a request has left it.
#[derive(Debug, Clone, Copy)]
pub struct LimitState<'a> {
    /// Its name.
    pub name: &'a FixedFields,
    /// Tokens that it has left for the key of the request.
    pub remaining: u64,
    /// Keyed hash of that key; never the key itself.
    pub key: u64,
}

/// Bytes of a path, query or user agent that are written, as received: enough
/// for any that is meant to be read.
pub(super) const LONG: usize = 2048;

/// Bytes of a field of a message that are written: enough for a referrer without
/// what its page adds to it, and sixteen of them are no more than all other
/// fields.
pub const LONGEST_FIELD: usize = 512;

/// Bytes of any other text that are written: host names end at 253, names of
/// the configuration long before.
pub(super) const SHORT: usize = 256;

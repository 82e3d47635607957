//! What an access line says: one request, borrowed from whoever served it.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

/// One request, when its exchange has ended. Absent fields are left out of the line.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// When its exchange ended.
    pub time: SystemTime,
    /// Names the request, here and upstream. Plain by construction: printable ASCII without quotes, at most 128 bytes.
    pub request_id: &'a [u8],
    /// Address of the listener it came through.
    pub listener: &'a str,
    /// Who counts as its client.
    pub client: IpAddr,
    /// Who holds the other end of the connection.
    pub peer: SocketAddr,
    /// Its address as text, without the port.
    pub peer_ip: &'a str,
    /// As in `HTTP/1.1`.
    pub protocol: &'static str,
    /// Its method, invented ones too; none of what was no request.
    pub method: Option<&'a str>,
    /// The host it was sent to, as received.
    pub host: Option<&'a [u8]>,
    /// Its path, as received; none of a target that could not be read.
    pub path: Option<&'a [u8]>,
    /// Its query, as received, without the question mark.
    pub query: Option<&'a [u8]>,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// Status of the answer; 499 when the client left before there was one.
    pub status: u16,
    /// How a gRPC call ended.
    pub grpc_status: Option<u8>,
    /// Why the gateway itself answered.
    pub reason: Option<&'a str>,
    /// The limit that refused, or is nearest to it.
    pub limit: Option<&'a str>,
    /// What that limit has left.
    pub remaining: Option<u64>,
    /// Keyed hash of that limit's key; never the key.
    pub key: Option<u64>,
    /// The first limit in shadow mode that would have refused it.
    pub shadow: Option<&'a str>,
    /// The upstream it was sent to.
    pub upstream: Option<&'a str>,
    /// The server that answered, or was tried last.
    pub server: Option<&'a str>,
    /// Tries in all.
    pub attempts: Option<u32>,
    /// Why a failure was not retried.
    pub not_retried: Option<&'a str>,
    /// Time spent waiting under a cap.
    pub queue: Option<Duration>,
    /// Time of the last attempt, to the head of its response.
    pub upstream_time: Option<Duration>,
    /// From the request's first byte to the end of the exchange.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// What the client calls itself.
    pub user_agent: Option<&'a [u8]>,
}

/// Longest path, query and user agent that is written, in bytes as received; enough for any that is meant to be read.
pub(super) const LONG: usize = 2048;

/// The same of every other text: host names end at 253, names of the configuration long before.
pub(super) const SHORT: usize = 256;

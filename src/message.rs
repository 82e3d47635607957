//! Requests and responses as the server hands them to the gateway and gets them
//! back.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use tokio::time::Instant;

pub use crate::http1::{Fields, Names};
use crate::{body::Body, tls::TlsFacts};

/// An answer on its way to the client.
#[derive(Debug, Default)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The service's own words for the status; `None` where they are the usual
    /// ones.
    pub reason: Option<Box<str>>,
    /// Its fields, but for those that frame it.
    pub fields: Fields,
    /// Its body.
    pub body: Body,
    /// Set when the connection ends with it.
    pub hangup: Option<Hangup>,
}

impl Response {
    /// An answer without fields.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self {
            status,
            body,
            ..Self::default()
        }
    }
}

/// Marks an answer as the last of its connection: who sends what is malformed
/// is not listened to any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// The answer is still written.
    AfterAnswer,
    /// Nobody is left to read it.
    AtOnce,
}

/// A request as it was read, nothing interpreted but its framing.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The request target, byte for byte.
    pub target: Bytes,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All header lines, hop-by-hop ones too.
    pub headers: HeaderMap,
    /// The body, still to be read.
    pub body: Body,
    /// `Connection` names fields that end here.
    pub names_hops: bool,
    /// Traits of its fields' names.
    pub names: Names,
    /// When its first byte was seen.
    pub started: Instant,
    /// The connection that it came by.
    pub origin: Arc<Origin>,
    /// Where interim (1xx) answers go; `None` when the client cannot take them
    /// (HTTP/1.0).
    pub interim: Option<Interim>,
    /// The protocols that the client would switch to, as an `Upgrade` field
    /// lists them; an answer with [`Body::tunnel`] is one that switches.
    pub upgrade: Option<Box<[u8]>>,
}

/// The connection that a request came by.
#[derive(Debug)]
pub struct Origin {
    /// The address that the listener is bound to.
    pub listener: Arc<str>,
    /// The other end.
    pub peer: SocketAddr,
    /// Its address without the port, as forwarding fields spell it (IPv4-mapped
    /// addresses as IPv4).
    pub peer_ip: Box<str>,
    /// This end, as the client dialled it.
    pub local: SocketAddr,
    /// What the TLS handshake showed; `None` on a plain connection.
    pub tls: Option<TlsFacts>,
}

impl Origin {
    /// A plain connection from `peer` to `local`, by the listener of this name.
    pub fn new(listener: Arc<str>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            listener,
            peer,
            peer_ip: peer.ip().to_canonical().to_string().into(),
            local,
            tls: None,
        }
    }
}

/// A way to send interim (1xx) answers ahead of the final one.
#[derive(Clone)]
pub struct Interim(pub Arc<dyn InterimSink>);

/// What takes interim answers.
pub trait InterimSink: Send + Sync {
    /// Queues one interim answer; it leaves before the final head.
    fn send(&self, status: StatusCode, fields: &Fields);

    /// A server is handed the request: whoever takes it back from now on has
    /// cost that server something.
    fn sent_up(&self) {}
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interim")
    }
}

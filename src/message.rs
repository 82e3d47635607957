//! Requests and responses between `server` and `gateway`.
//!
//! They are independent of the version of HTTP: `server` makes a [`Request`]
//! from either, and writes a [`Response`] in the version of the connection. The
//! framing of the message (its length, chunks, connection fields) is settled in
//! `server`, and everything else is passed on as it was read. Malformed bytes
//! are an [`Arrival`] too, so that the gateway writes their response and their
//! access line in the same way as those of requests.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::time::Instant;

pub use crate::http1::{FieldName, Fields, Headers, NameSet, RequestHead};
use crate::{body::Body, error::Error, telemetry::FixedFields, tls::TlsFacts};

/// A response on its way to the client.
#[derive(Debug, Default)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The service's own words for the status (RFC 9112, 4); `None` if they are
    /// the usual ones.
    pub reason: Option<Box<str>>,
    /// Its fields, without those that frame it.
    pub fields: Fields,
    /// Its body.
    pub body: Body,
    /// How the connection ends after it; `None` if it stays open.
    pub hangup: Option<Hangup>,
}

impl Response {
    /// A response without fields.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self {
            status,
            body,
            ..Self::default()
        }
    }
}

/// Marks a response as the last of its connection: after malformed bytes, the
/// beginning of the next request is unknown, and a banned client is to have no
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// The response is still written. In HTTP/2 it is the last of its stream.
    AfterResponse,
    /// The response is still written, and in HTTP/2 the others in flight.
    OfConnection,
    /// Nobody is left to read it.
    AtOnce,
}

/// A request, or bytes that are none, to which the service responds.
#[derive(Debug)]
pub enum Arrival {
    /// A request whose head could be read.
    Request(Request),
    /// Bytes that are not a request. After the response the connection closes,
    /// or with HTTP/2 the stream.
    Refused {
        /// Why they are refused.
        error: Error,
        /// The moment at which the first byte arrived.
        started: Instant,
        /// The version in which the response is written.
        version: Version,
        /// The connection that they came by.
        origin: Arc<Origin>,
    },
}

/// A request as it was read, with nothing interpreted but its framing.
#[derive(Debug)]
pub struct Request {
    /// The head but for its target.
    pub head: Box<RequestHead>,
    /// The request target, byte for byte.
    pub target: Bytes,
    /// The body, still to be read.
    pub body: Body,
    /// The moment at which its first byte arrived.
    pub started: Instant,
    /// The moment at which its head was complete.
    pub arrived: Instant,
    /// The connection that it came by.
    pub origin: Arc<Origin>,
    /// The way for interim responses (1xx); `None` if the client cannot receive
    /// them (HTTP/1.0).
    pub interim: Option<Interim>,
}

/// Stands for both ends of a connection by a socket in the file system, which
/// have no address. Port 0 tells it from every connection by TCP. To keys,
/// trusted proxies and services it is loopback, as the peer is on this machine;
/// logs call it `unix`.
pub const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The connection that a request came by. Shared by its requests.
#[derive(Debug)]
pub struct Origin {
    /// The listener, by its name.
    pub listener: Arc<FixedFields>,
    /// The other end of the connection: the client, or a proxy in front of it.
    /// [`UNIX_PEER`] if it has no address.
    pub peer: SocketAddr,
    /// `peer` as text. One text has both forms of it: each connection keeps it.
    peer_text: Box<str>,
    /// How much of `peer_text` is the form with the port.
    peer_length: u8,
    /// Where in `peer_text` the address is.
    ip_at: Range<u8>,
    /// The host that its first request named; empty until then. Nearly all
    /// further ones name it again, in the same bytes.
    pub host: OnceLock<FirstHost>,
    /// This end of the connection, as the client addressed it.
    pub local: SocketAddr,
    /// Facts from the TLS handshake; `None` on a plain connection, which needs
    /// no room for them.
    pub tls: Option<Box<TlsFacts>>,
    /// The port of https to which the listener redirects every request; `None`
    /// if requests are served.
    pub redirect_https: Option<NonZeroU16>,
}

/// A host as a request names it, and how that is understood.
#[derive(Debug)]
pub struct FirstHost {
    /// The value of `Host`, at most 255 bytes.
    pub field: Box<[u8]>,
    /// The host in it, in the form of [`host_name`](crate::call::host_name).
    pub name: Arc<str>,
    /// The fields in which a server is told of the connection and this host, as
    /// they were written for the first request that named no hops before this
    /// one.
    pub account: OnceLock<HopAccount>,
}

/// The fields in which a server is told of the hop that a request came by.
#[derive(Debug)]
pub struct HopAccount {
    /// The version of the request, which is among them.
    pub version: Version,
    /// Lines, and the begin of the next one.
    pub text: Box<[u8]>,
}

/// Both texts of [`UNIX_PEER`], and where the second begins.
const UNIX_TEXT: &str = "unix127.0.0.1";
const UNIX_IP_AT: u8 = 4;

impl Origin {
    /// A plain connection from `peer` to `local`, by this listener.
    pub fn new(listener: Arc<FixedFields>, peer: SocketAddr, local: SocketAddr) -> Self {
        let peer_text: Box<str> = match peer {
            UNIX_PEER => UNIX_TEXT.into(),
            _ => peer.to_string().into(),
        };
        let (peer_length, ip_at) = match peer {
            UNIX_PEER => (UNIX_IP_AT, UNIX_IP_AT..UNIX_TEXT.len() as u8),
            // The longest text, with a zone, has 58 bytes.
            _ => (peer_text.len() as u8, ip_in(&peer_text, peer)),
        };
        Self {
            listener,
            peer,
            peer_length,
            ip_at,
            peer_text,
            host: OnceLock::new(),
            local,
            tls: None,
            redirect_https: None,
        }
    }

    /// The address and port of the peer, as in `192.0.2.7:40000` and
    /// `[2001:db8::7]:40000`; `unix` if it has none.
    pub fn peer_text(&self) -> &str {
        &self.peer_text[..usize::from(self.peer_length)]
    }

    /// The address of the peer without the port, as forwarding fields spell it
    /// (IPv4-mapped addresses as IPv4).
    pub fn peer_ip(&self) -> &str {
        &self.peer_text[usize::from(self.ip_at.start)..usize::from(self.ip_at.end)]
    }
}

/// Where the text of a peer has its address. Mapped addresses are written as
/// `[::ffff:192.0.2.7]:40000`, and a zone comes after a `%`.
fn ip_in(text: &str, peer: SocketAddr) -> Range<u8> {
    let (before, after): (usize, &[char]) = match peer.ip() {
        IpAddr::V4(_) => (0, &[':']),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => ("[::ffff:".len(), &['%', ']']),
        IpAddr::V6(_) => ("[".len(), &['%', ']']),
    };
    let end = text.find(after).unwrap_or(text.len());
    before as u8..end as u8
}

/// A way to send interim (1xx) responses ahead of the final one.
#[derive(Clone)]
pub struct Interim(pub Arc<dyn InterimSink>);

/// The receiver of interim responses: the connection of the client.
pub trait InterimSink: Send + Sync {
    /// Queues one interim response; it is written before the final head.
    fn send(&self, status: StatusCode, fields: &Fields);

    /// Notes that a server is handed the request: a client that cancels it from
    /// now on has cost that server work.
    fn sent_up(&self) {}
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interim")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_peer_is_written_as_forwarding_fields_spell_it() {
        for (peer, ip) in [
            ("0.0.0.0:0", "0.0.0.0"),
            ("192.168.200.10:65535", "192.168.200.10"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::]:80", "::"),
            ("[::ffff:1.2.3.4]:1", "1.2.3.4"),
            ("[fe80::1%3]:80", "fe80::1"),
            ("127.0.0.1:1", "127.0.0.1"),
        ] {
            let address: SocketAddr = peer.parse().unwrap();
            let listener = Arc::new(FixedFields::listener("0.0.0.0:80".into()));
            let origin = Origin::new(listener, address, address);
            assert_eq!((origin.peer_text(), origin.peer_ip()), (peer, ip));
            assert_eq!(ip, address.ip().to_canonical().to_string());
        }
        let listener = Arc::new(FixedFields::listener("unix:/a".into()));
        let origin = Origin::new(listener, UNIX_PEER, UNIX_PEER);
        assert_eq!(
            (origin.peer_text(), origin.peer_ip()),
            ("unix", "127.0.0.1")
        );
    }
}

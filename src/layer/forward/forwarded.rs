//! `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239), as they are
//! sent up: both tell the same story.
//!
//! The story is that of the one field in which trusted proxies name the client,
//! and this hop is added to it. The other field is not passed on: a proxy that
//! writes one of them usually passes the client's own words in the other. From
//! a peer that is not trusted nothing is passed on: anybody could claim
//! anything.
//!
//! # Trust
//!
//! The chain of the client says which field is believed and how many hops of it
//! lead to the client; there is one for a trusted peer only. Hops beyond the
//! client are passed on as well, and stand before the client.
//!
//! # Form
//!
//! Both fields list the hops from the farthest to the nearest, and end with the
//! address of the peer. The gateway writes `for`, `host` and `proto` in
//! `Forwarded` (RFC 7239, 5), and never `by`. An IPv6 address stands in
//! brackets and quotes there, and bare in `X-Forwarded-For`. A hop without an
//! address is `unknown`.

use std::{borrow::Cow, io::Write as _, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    call::{
        Chain, Exchange,
        forwarded::{self, Hop, X_FORWARDED_FOR},
    },
    http1,
    policy::{ClientIpHeader, RequestChanges},
};

// In no registry but everywhere.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Stands for a hop that is not known (RFC 7239, 6.2); in `X-Forwarded-For` by
/// custom.
const UNKNOWN: &[u8] = b"unknown";

/// Whether a field is written here and not passed on.
///
/// A field of such a name is not passed on, even where this module has nothing
/// to write for it.
pub(super) fn writes(name: &HeaderName) -> bool {
    // Their lengths tell them from most fields.
    matches!(name.as_str().len(), 9 | 15..=17)
        && (*name == header::FORWARDED
            || [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST].contains(name))
}

/// Writes the fields; `host` is the one that the client asked for, with its
/// port, or empty.
///
/// A field that the route sets or removes is left to the route. An element of
/// `Forwarded` is quoted where the grammar of a token (RFC 9110, 5.6.2) does
/// not allow its value.
pub(super) fn write(out: &mut Vec<u8>, exchange: &Exchange, host: &[u8], changes: &RequestChanges) {
    let story = exchange
        .client
        .chain
        .map(|chain| Story::of(exchange, chain))
        .unwrap_or_default();
    let scheme: &[u8] = if exchange.origin.tls.is_some() {
        b"https"
    } else {
        b"http"
    };
    if !changes.headers.decides(&X_FORWARDED_FOR) {
        out.extend_from_slice(b"x-forwarded-for: ");
        if !story.hops.is_empty() {
            story.write_addresses(out);
        }
        out.extend_from_slice(exchange.origin.peer_ip.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !changes.headers.decides(&header::FORWARDED) {
        out.extend_from_slice(b"forwarded: ");
        if !story.hops.is_empty() {
            story.write_elements(out);
        }
        // Where the peer itself is the client, this is its element.
        let is_clients = story.client == 0;
        let said_host = story.host.as_deref().filter(|_| is_clients);
        let said_proto = story.proto.as_deref().filter(|_| is_clients);
        write_node(out, &exchange.origin.peer_ip);
        match said_host {
            Some(said) => {
                out.extend_from_slice(b";host=");
                write_quoted(out, said);
            }
            // A host that was found sound has nothing that needs an escape.
            None if !host.is_empty() => {
                out.extend_from_slice(b";host=\"");
                out.extend_from_slice(host);
                out.push(b'"');
            }
            None => {}
        }
        out.extend_from_slice(b";proto=");
        match said_proto {
            Some(said) => write_value(out, said),
            None => out.extend_from_slice(scheme),
        }
        out.extend_from_slice(b"\r\n");
    }
    for (name, said, own) in [
        (&X_FORWARDED_PROTO, story.proto.as_deref(), scheme),
        (&X_FORWARDED_HOST, story.host.as_deref(), host),
    ] {
        let value = said.unwrap_or(own);
        if !value.is_empty() && !changes.headers.decides(name) {
            http1::write_field(out, name.as_str(), value);
        }
    }
}

/// The account of a trusted peer; empty for one that is not trusted.
#[derive(Default)]
struct Story<'a> {
    /// The nearest first. Empty for a peer that is not trusted, and for one
    /// that names no hops.
    hops: Vec<Hop<'a>>,
    /// Elements that are passed on as they are: those of `Forwarded`.
    is_forwarded: bool,
    /// Which hop is the client, counted from 1; 0 is the peer. The protocol and
    /// host that the client used are written with this hop.
    client: usize,
    /// Protocol and host of the client's own request.
    proto: Option<Cow<'a, [u8]>>,
    /// `None` if the trusted peer does not say it.
    host: Option<Cow<'a, [u8]>>,
}

impl<'a> Story<'a> {
    /// The account of a trusted peer, from the field that names the client.
    ///
    /// A protocol or host of nothing but blanks counts as not said.
    fn of(exchange: &'a Exchange, chain: Chain) -> Self {
        let headers = &exchange.request.headers;
        let hops: Vec<_> = forwarded::hops(headers, chain.by).collect();
        let (client, is_forwarded) = (chain.walked, chain.by == ClientIpHeader::Forwarded);
        let (proto, host) = match chain.by {
            ClientIpHeader::XForwardedFor => (
                member(headers, &X_FORWARDED_PROTO, client),
                member(headers, &X_FORWARDED_HOST, client),
            ),
            ClientIpHeader::Forwarded => {
                // The client's own element, or the nearest to it that says it:
                // what is beyond it is only claimed.
                let known = hops.get(..client).unwrap_or_default();
                let first =
                    |of: fn(&Hop<'a>) -> Option<Cow<'a, [u8]>>| known.iter().rev().find_map(of);
                (
                    first(|hop| hop.proto.clone()),
                    first(|hop| hop.host.clone()),
                )
            }
        };
        let sound = |value: &Cow<'_, [u8]>| !value.trim_ascii().is_empty();
        Self {
            hops,
            is_forwarded,
            client,
            proto: proto.filter(sound),
            host: host.filter(sound),
        }
    }

    /// The hops as members of `X-Forwarded-For`, each with its comma.
    fn write_addresses(&self, out: &mut Vec<u8>) {
        for hop in self.hops.iter().rev() {
            match (hop.address, hop.text) {
                (Some(_), Some(text)) if !self.is_forwarded => out.extend_from_slice(text),
                // Writing to memory cannot fail.
                (Some(address), _) => drop(write!(out, "{address}")),
                (None, _) => out.extend_from_slice(UNKNOWN),
            }
            out.extend_from_slice(b", ");
        }
    }

    /// The hops as elements of `Forwarded`, each with its comma.
    ///
    /// Elements of a received `Forwarded` are passed on byte for byte. Members
    /// of `X-Forwarded-For` become elements with an address, and that of the
    /// client also gets protocol and host.
    fn write_elements(&self, out: &mut Vec<u8>) {
        for (at, hop) in self.hops.iter().enumerate().rev() {
            match hop.text {
                Some(text) if self.is_forwarded => out.extend_from_slice(text),
                _ => self.write_hop(out, hop, at + 1 == self.client),
            }
            out.extend_from_slice(b", ");
        }
    }

    /// Writes one hop as an element of `Forwarded`, the protocol and host of
    /// the client's own request with the client.
    fn write_hop(&self, out: &mut Vec<u8>, hop: &Hop<'_>, is_client: bool) {
        out.extend_from_slice(b"for=");
        // Writing to memory cannot fail.
        match hop.address {
            Some(IpAddr::V4(address)) => drop(write!(out, "{address}")),
            Some(IpAddr::V6(address)) => drop(write!(out, "\"[{address}]\"")),
            None => out.extend_from_slice(UNKNOWN),
        }
        for (name, value) in [(&b";proto="[..], &self.proto), (b";host=", &self.host)] {
            if let Some(value) = value.as_deref().filter(|_| is_client) {
                out.extend_from_slice(name);
                write_value(out, value);
            }
        }
    }
}

/// The member of a list that speaks of the client: lists that grow with each
/// hop name it where the chain does, others say it once.
///
/// `None` if there is no such field. A list that is shorter than the chain
/// gives its leftmost member.
fn member<'a>(headers: &'a HeaderMap, name: &HeaderName, client: usize) -> Option<Cow<'a, [u8]>> {
    let lines = headers
        .get_all(name)
        .iter()
        .rev()
        .map(HeaderValue::as_bytes);
    let members = lines.flat_map(forwarded::members_from_right);
    members.take(client.max(1)).last().map(Cow::Borrowed)
}

/// The address of this hop, as an element of `Forwarded` begins.
///
/// `peer` is an address as text, without a port.
fn write_node(out: &mut Vec<u8>, peer: &str) {
    let is_v6 = peer.contains(':');
    out.extend_from_slice(if is_v6 { b"for=\"[" } else { b"for=" });
    out.extend_from_slice(peer.as_bytes());
    out.extend_from_slice(if is_v6 { b"]\"" } else { b"" });
}

/// A value of `Forwarded`: quoted where the grammar of a token does not allow
/// it.
fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|byte| forwarded::is_token(*byte)) {
        out.extend_from_slice(value);
    } else {
        write_quoted(out, value);
    }
}

/// Writes a value as a quoted string (RFC 9110, 5.6.4).
///
/// Quotes and backslashes get an escape.
fn write_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

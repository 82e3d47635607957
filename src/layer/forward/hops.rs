//! The hops of a request before this one, as a trusted peer gives account of
//! them, and how they are passed on. Most requests come from clients
//! themselves, and have none.
//!
//! The account is that of the one field in which trusted proxies name the
//! client. A field with one address gives account of one hop, the client. The other field is not passed on: a proxy that writes one of them
//! usually passes the client's own words in the other. From a peer that is not
//! trusted nothing is passed on: anybody could claim anything.
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
//! address of the peer, which `head` writes behind these. An IPv6 address stands
//! in brackets and quotes in `Forwarded`, and bare in `X-Forwarded-For`. A hop
//! without an address is `unknown`.

use std::{borrow::Cow, io::Write as _, net::IpAddr};

use http::HeaderName;

use crate::{
    call::{
        Chain, Exchange,
        forwarded::{self, Hop},
    },
    message::{FieldName, Headers},
    policy::HopsField,
};

// In no registry but everywhere.
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Stands for a hop that is not known (RFC 7239, 6.2); in `X-Forwarded-For` by
/// custom.
const UNKNOWN: &[u8] = b"unknown";

/// The account of a trusted peer; empty for one that is not trusted.
#[derive(Default)]
pub(super) struct ReceivedHops<'a> {
    /// The nearest first. Empty for a peer that is not trusted, and for one
    /// that names no hops.
    pub(super) hops: Vec<Hop<'a>>,
    /// Elements that are passed on as they are: those of `Forwarded`.
    is_forwarded: bool,
    /// Which hop is the client, counted from 1; 0 is the peer. The protocol and
    /// host that the client used are written with this hop.
    pub(super) client: usize,
    /// Protocol and host of the client's own request.
    pub(super) proto: Option<Cow<'a, [u8]>>,
    /// `None` if the trusted peer does not say it.
    pub(super) host: Option<Cow<'a, [u8]>>,
}

impl<'a> ReceivedHops<'a> {
    /// The account of a trusted peer, from the field that names the client.
    ///
    /// A protocol or host of nothing but blanks counts as not said.
    pub(super) fn of(exchange: &'a Exchange, chain: Chain) -> Self {
        let headers = &exchange.request.headers;
        let hops: Vec<_> = match chain.by {
            Some(by) => forwarded::hops(headers, by).collect(),
            None => Vec::from_iter((chain.walked > 0).then(|| Hop::at(exchange.client.ip))),
        };
        let client = usize::from(chain.walked);
        let is_forwarded = chain.by == Some(HopsField::Forwarded);
        let (proto, host) = match chain.by {
            Some(HopsField::XForwardedFor) | None => (
                member(headers, FieldName::XForwardedProto, client),
                member(headers, FieldName::XForwardedHost, client),
            ),
            Some(HopsField::Forwarded) => {
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
    pub(super) fn write_addresses(&self, out: &mut Vec<u8>) {
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
    pub(super) fn write_elements(&self, out: &mut Vec<u8>) {
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
fn member(headers: &Headers, name: FieldName, client: usize) -> Option<Cow<'_, [u8]>> {
    let lines = headers.known(name).rev();
    let members = lines.flat_map(forwarded::members_from_right);
    members.take(client.max(1)).last().map(Cow::Borrowed)
}

/// A value of `Forwarded`: quoted where the grammar of a token does not allow
/// it.
pub(super) fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|byte| forwarded::is_token(*byte)) {
        out.extend_from_slice(value);
    } else {
        write_quoted(out, value);
    }
}

/// Writes a value as a quoted string (RFC 9110, 5.6.4).
///
/// Quotes and backslashes get an escape.
pub(super) fn write_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

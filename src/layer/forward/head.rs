//! The head of a request as a server gets it: request line and header fields,
//! in the syntax of HTTP/1 and without framing.
//!
//! # Order of the fields
//!
//! The request line comes first, then `Host` if the client's is kept, the
//! fields received in their order, the account of the hops, `Via`, the
//! request's id, the time that is left of a gRPC call, and the fields that the
//! route sets.
//!
//! # Fields that are held back
//!
//! Hop-by-hop fields end here (RFC 9110, 7.6.1): the known ones and those that
//! `Connection` names. `Content-Length` is left out as well, since the framing
//! is written anew for the server. A name with an underscore is also compared
//! with hyphens in its place: a server of CGI or WSGI programs would take
//! `X_Forwarded_For` for a field that the gateway writes.
//!
//! # Cost
//!
//! The head is one buffer, with room for 512 bytes and 48 for each field, so
//! that it seldom grows. If a request has neither `Connection` options nor
//! underscores and its route changes no fields, the length and the first letter
//! of a name settle most fields.

use http::{HeaderName, HeaderValue, header};

use super::{
    super::rewrite,
    hops::{ReceivedHops, X_FORWARDED_HOST, X_FORWARDED_PROTO, write_quoted, write_value},
};
use crate::{
    call::{Call, Exchange, REQUEST_ID_HEADER, forwarded::X_FORWARDED_FOR, grpc, host_field},
    http1::{self, Hops},
    message::RequestHead,
    policy::{RequestChanges, Rewrite},
};

/// The head of an attempt: request line and fields, each with its line end. The
/// framing and the empty line are added once it is known which protocol the
/// server speaks.
///
/// Nothing here can fail: the request was found sound when it was read.
pub(super) fn write(call: &Call, changes: &RequestChanges) -> Vec<u8> {
    let exchange = &*call.exchange;
    let (request, host) = (&exchange.request, host(exchange));
    let mut out = Vec::with_capacity(512 + request.headers.len() * 48);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    if changes.rewrite == Rewrite::None {
        let (path, query) = exchange.target.to_forward();
        out.extend_from_slice(path);
        out.extend_from_slice(query);
    } else {
        rewrite::write(&mut out, exchange, &changes.rewrite);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if changes.preserve_host
        && let Some(host) = host
    {
        http1::write_field(&mut out, "host", host);
    }
    write_received(&mut out, call, changes);
    write_forwarded(&mut out, exchange, host.unwrap_or_default(), changes);
    if !changes.headers.decides(&header::VIA) {
        write_via(&mut out, request);
    }
    if !changes.headers.decides(&REQUEST_ID_HEADER) {
        http1::write_field(&mut out, REQUEST_ID_HEADER.as_str(), exchange.id.as_bytes());
    }
    // The rest of a gRPC call's time, some of which has passed in queues and
    // attempts.
    if let Some(grpc) = exchange.grpc
        && let Some(left) = grpc.left(call.now - exchange.started)
    {
        http1::write_field(&mut out, grpc::TIMEOUT.as_str(), left.as_bytes());
    }
    for (name, value) in changes.headers.set() {
        http1::write_field(&mut out, name.as_str(), value.as_bytes());
    }
    out
}

/// The host as the client named it, with its port; `None` if it named none.
///
/// The authority of an absolute target counts before the `Host` field (RFC
/// 9112, 3.2.2).
fn host(exchange: &Exchange) -> Option<&[u8]> {
    let host = match exchange.target.authority() {
        Some(authority) => authority,
        None => host_field(&exchange.request.headers).ok()??.as_bytes(),
    };
    (!host.is_empty()).then_some(host)
}

/// Writes the fields that the client sent, without those of the hop and those
/// that the gateway writes anew.
fn write_received(out: &mut Vec<u8>, call: &Call, changes: &RequestChanges) {
    let (request, body) = (&call.exchange.request, &call.body);
    let filter = Filter {
        request,
        is_call: call.exchange.grpc.is_some(),
        changes,
        hops: Hops::of(&request.headers, request.names_hops),
        // The client of a body that is in memory was asked to send it, if it
        // waited for that.
        expect_is_met: !body.is_empty() && body.is_whole(),
    };
    // Then nearly all fields pass, and a look at the length and the first
    // letter of a name shows it.
    let is_plain =
        !filter.hops.are_any() && changes.headers.is_empty() && !request.names.underscores;
    let mut wants_trailers = false;
    for (name, value) in &request.headers {
        if (is_plain && !may_be_held_back(name.as_str())) || filter.passes(name) {
            http1::write_field(out, name.as_str(), value.as_bytes());
        } else if *name == header::TE {
            wants_trailers |= contains(value, b"trailers");
        }
    }
    if wants_trailers || request.upgrade.is_some() || request.hops_left().is_some() {
        write_of_hop(out, request, wants_trailers);
    }
}

/// Writes the fields of this hop that a request may need beside those of its
/// framing: `Max-Forwards`, `Upgrade`, `TE` and `Connection`.
///
/// `Connection` names `TE` and `Upgrade` where they are sent (RFC 9110, 7.6.1).
/// `Max-Forwards` is sent one lower than received (RFC 9110, 7.6.2).
fn write_of_hop(out: &mut Vec<u8>, request: &RequestHead, wants_trailers: bool) {
    if let Some(left) = request.hops_left() {
        out.extend_from_slice(b"max-forwards: ");
        http1::write_number(out, left.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(protocols) = &request.upgrade {
        http1::write_field(out, "upgrade", protocols);
    }
    out.extend_from_slice(match (wants_trailers, request.upgrade.is_some()) {
        (false, false) => b"",
        (true, false) => b"te: trailers\r\nconnection: te\r\n",
        (false, true) => b"connection: upgrade\r\n",
        (true, true) => b"te: trailers\r\nconnection: te, upgrade\r\n",
    });
}

/// The fields of a request that are passed on.
struct Filter<'r> {
    /// The request as received.
    request: &'r RequestHead,
    /// Whether it is a gRPC call, whose time the gateway writes anew.
    is_call: bool,
    /// The route's changes in requests.
    changes: &'r RequestChanges,
    /// The fields that `Connection` names.
    hops: Hops<'r>,
    /// Whether `Expect: 100-continue` was met by the gateway, so that it is not
    /// left to the server.
    expect_is_met: bool,
}

impl Filter<'_> {
    /// Whether a field of this name is passed on as it is.
    ///
    /// Asked for each field, unless a look at its name has settled it already.
    fn passes(&self, name: &HeaderName) -> bool {
        let Self {
            request,
            changes,
            hops,
            ..
        } = self;
        if ends_here(name, hops, changes) {
            return false;
        }
        if *name == header::EXPECT {
            return !self.expect_is_met;
        }
        if *name == grpc::TIMEOUT {
            return !self.is_call;
        }
        if *name == header::MAX_FORWARDS && request.hops_left().is_some() {
            return false;
        }
        !(request.names.underscores && ends_here(&with_hyphens(name), hops, changes))
    }
}

/// Whether a field of this name is not passed on: it is of this hop, the
/// gateway writes it anew, or the route decides it.
pub(super) fn ends_here(name: &HeaderName, hops: &Hops<'_>, changes: &RequestChanges) -> bool {
    is_ours(name) || hops.names(name.as_str()) || changes.headers.decides(name)
}

/// The name with `-` in place of each `_`. Servers of CGI and WSGI programs do
/// not tell the two apart.
fn with_hyphens(name: &HeaderName) -> HeaderName {
    let hyphens = name.as_str().replace('_', "-");
    HeaderName::try_from(hyphens).unwrap_or_else(|_| name.clone())
}

/// Whether a list of tokens contains `wanted`, in any letter case.
///
/// Blanks around a token do not count (RFC 9110, 5.6.1).
fn contains(value: &HeaderValue, wanted: &[u8]) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Whether a field may be one that is not passed on as it is, by the length and
/// the first letter of its name. They are cheaper to look at than a comparison
/// with each such name, and rule out nearly all others.
///
/// It may be true of a field that is passed on, which then costs the
/// comparison, and is never false of a field that is always held back.
fn may_be_held_back(name: &str) -> bool {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    match name.len() {
        2 | 17 => matches!(first, b't' | b'x'),
        3 => first == b'v',
        4 => first == b'h',
        6 => first == b'e',
        7 => matches!(first, b't' | b'u'),
        9 => first == b'f',
        10 => matches!(first, b'c' | b'k'),
        12 => matches!(first, b'g' | b'm' | b'x'),
        14 => matches!(first, b'c' | b'h'),
        15 => first == b'x',
        16 => matches!(first, b'p' | b'x'),
        18 | 19 | 25 => first == b'p',
        _ => false,
    }
}

/// Whether a field is of this hop, or the gateway writes it anew.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST | header::CONTENT_LENGTH | header::TRAILER | header::VIA
    ) || http1::hop_by_hop(name.as_str().as_bytes())
        || is_forwarding(name)
        || *name == REQUEST_ID_HEADER
}

/// Whether a field is one of those that [`write_forwarded`] writes. It is not
/// passed on, even where there is nothing to write for it.
fn is_forwarding(name: &HeaderName) -> bool {
    // Their lengths tell them from most fields.
    matches!(name.as_str().len(), 9 | 15..=17)
        && (*name == header::FORWARDED
            || [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST].contains(name))
}

/// Writes `X-Forwarded-For`, `Forwarded` (RFC 7239), `X-Forwarded-Proto` and
/// `X-Forwarded-Host`, which all give the same account: the hops that a trusted
/// peer names, and this one. `host` is the one that the client asked for, with
/// its port, or empty.
///
/// A field that the route sets or removes is left to the route. An element of
/// `Forwarded` is quoted where the grammar of a token (RFC 9110, 5.6.2) does
/// not allow its value.
fn write_forwarded(out: &mut Vec<u8>, exchange: &Exchange, host: &[u8], changes: &RequestChanges) {
    let received = exchange
        .client
        .chain
        .map(|chain| ReceivedHops::of(exchange, chain))
        .unwrap_or_default();
    let scheme: &[u8] = if exchange.origin.tls.is_some() {
        b"https"
    } else {
        b"http"
    };
    if !changes.headers.decides(&X_FORWARDED_FOR) {
        out.extend_from_slice(b"x-forwarded-for: ");
        if !received.hops.is_empty() {
            received.write_addresses(out);
        }
        out.extend_from_slice(exchange.origin.peer_ip.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !changes.headers.decides(&header::FORWARDED) {
        out.extend_from_slice(b"forwarded: ");
        if !received.hops.is_empty() {
            received.write_elements(out);
        }
        // Where the peer itself is the client, this is its element.
        let is_clients = received.client == 0;
        let said_host = received.host.as_deref().filter(|_| is_clients);
        let said_proto = received.proto.as_deref().filter(|_| is_clients);
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
        (&X_FORWARDED_PROTO, received.proto.as_deref(), scheme),
        (&X_FORWARDED_HOST, received.host.as_deref(), host),
    ] {
        let value = said.unwrap_or(own);
        if !value.is_empty() && !changes.headers.decides(name) {
            http1::write_field(out, name.as_str(), value);
        }
    }
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

/// Writes `Via` with this hop as its last element (RFC 9110, 7.6.3).
///
/// The version is that of the request as received, and the name of the gateway
/// takes the place of its host.
fn write_via(out: &mut Vec<u8>, request: &RequestHead) {
    out.extend_from_slice(b"via: ");
    if request.names.via {
        for value in request.headers.get_all(header::VIA) {
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(match request.version {
        http::Version::HTTP_10 => b"1.0 tidegate\r\n",
        http::Version::HTTP_2 => b"2.0 tidegate\r\n",
        _ => b"1.1 tidegate\r\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_that_is_held_back_is_taken_for_another() {
        let ours = [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRAILER,
            header::VIA,
            header::FORWARDED,
            header::EXPECT,
            header::TE,
            REQUEST_ID_HEADER,
            header::MAX_FORWARDS,
            grpc::TIMEOUT,
            HeaderName::from_static("x-forwarded-for"),
            HeaderName::from_static("x-forwarded-proto"),
            HeaderName::from_static("x-forwarded-host"),
        ];
        let hops = http1::HOP_BY_HOP.map(|name| HeaderName::from_bytes(name).unwrap());
        for name in ours.iter().chain(&hops) {
            assert!(may_be_held_back(name.as_str()), "{name}");
        }
        for name in [
            "user-agent",
            "accept",
            "accept-encoding",
            "cookie",
            "authorization",
            "content-type",
            "sec-fetch-site",
        ] {
            assert!(!may_be_held_back(name), "{name}");
        }
    }
}

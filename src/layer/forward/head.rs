//! The head of a request as a server gets it: request line and header fields,
//! in the syntax of HTTP/1 and without framing.
//!
//! # Order of the fields
//!
//! The request line comes first, then `Host` if the client's is kept, the
//! fields received in their order, the account of the hops, `Via`, the
//! request's id, the prefix that was stripped, `traceparent` if the gateway
//! writes one, the time that is left of a gRPC call, and the fields that the
//! route sets and adds.
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
//! The head is one buffer, with room for all of it. Fields that pass are copied
//! as they were received, neighbours in one piece, and names were classified
//! when they were read. Only if a request has `Connection` options or names
//! with underscores, or if its route changes fields, are names compared here.

use std::sync::Arc;

use http::header;

use super::{
    super::{fill, rewrite},
    credentials::HiddenCredentials,
    hops::{ReceivedHops, X_FORWARDED_HOST, X_FORWARDED_PROTO, write_quoted, write_value},
    prefix,
};
use crate::{
    call::{
        Call, Exchange, REQUEST_ID_HEADER, TRACE_PARENT_HEADER, Trace, forwarded::X_FORWARDED_FOR,
        grpc, host_field,
    },
    http1::{self, Hops},
    message::{FieldName, FirstHost, HopAccount, NameSet, RequestHead},
    policy::RequestChanges,
    runtime::spare,
};

/// Room in bytes for everything but the target and the fields received.
const ROOM: usize = 512;

/// The head of an attempt: request line and fields, each with its line end. The
/// framing and the empty line are added once it is known which protocol the
/// server speaks.
///
/// Nothing here can fail: the request was found sound when it was read.
pub(super) fn write(
    call: &Call,
    changes: &RequestChanges,
    hidden: &HiddenCredentials,
    span: Option<u64>,
) -> Vec<u8> {
    let exchange = &*call.exchange;
    let request = &exchange.request;
    let first = first_host(exchange);
    let host = match first {
        Some(first) => Some(&*first.field),
        None => host(exchange),
    };
    let mut out = spare::take(ROOM + request.headers.written_length());
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    let target = out.len();
    let stripped = rewrite::write(&mut out, exchange, &changes.rewrite);
    if hidden.hides_parameters() {
        hidden.remove_parameters(&mut out, target);
    }
    match host.filter(|_| changes.preserve_host) {
        Some(host) => {
            out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
            out.extend_from_slice(host);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b" HTTP/1.1\r\n"),
    }
    write_received(&mut out, call, changes, hidden, stripped.is_some());
    let is_first_hop = exchange.client.chain.is_none() && !request.headers.has(FieldName::Via);
    match first {
        Some(first) if is_first_hop && changes.headers.is_empty() => {
            write_first_hop(&mut out, exchange, first);
        }
        _ => write_account(&mut out, exchange, host.unwrap_or_default(), changes),
    }
    if let Some(prefix) = stripped {
        prefix::write(&mut out, exchange, prefix, changes);
    }
    if let Some(trace) = &exchange.trace {
        write_trace(&mut out, trace, span, changes);
    }
    // The rest of a gRPC call's time, some of which has passed in queues and
    // attempts.
    if let Some(grpc) = exchange.grpc
        && let Some(left) = grpc.left(call.now - exchange.started)
    {
        http1::write_field(&mut out, grpc::TIMEOUT.as_str(), left.as_bytes());
    }
    for (name, text) in changes.headers.written() {
        fill::write(&mut out, name, text, exchange);
    }
    out
}

/// The first host of the connection, if it is also that of this request, in the
/// same bytes.
fn first_host(exchange: &Exchange) -> Option<&FirstHost> {
    let first = exchange.origin.host.get()?;
    Arc::ptr_eq(&first.name, &exchange.host).then_some(first)
}

/// The host as the client named it, with its port; `None` if it named none.
///
/// The authority of an absolute target counts before the `Host` field (RFC
/// 9112, 3.2.2).
pub(super) fn host(exchange: &Exchange) -> Option<&[u8]> {
    let host = match exchange.target.authority() {
        Some(authority) => authority,
        None => host_field(&exchange.request.headers).ok()??,
    };
    (!host.is_empty()).then_some(host)
}

/// Writes the fields that the client sent, without those of the hop and those
/// that the gateway writes anew; `is_stripped` says that the prefix of the path
/// is one of the latter.
fn write_received(
    out: &mut Vec<u8>,
    call: &Call,
    changes: &RequestChanges,
    hidden: &HiddenCredentials,
    is_stripped: bool,
) {
    let (request, body) = (&call.exchange.request, &call.body);
    let hops = Hops::of(&request.headers, request.names_hops);
    let mut held = OURS;
    if let Some(trace) = &call.exchange.trace {
        held = held.union(trace.held());
    }
    // The client of a body that is in memory was asked to send it, if it waited
    // for that.
    if !body.is_empty() && body.is_whole() {
        held = held.and(FieldName::Expect);
    }
    // The time of a call is written anew.
    if call.exchange.grpc.is_some() {
        held = held.and(FieldName::GrpcTimeout);
    }
    if request.hops_left().is_some() {
        held = held.and(FieldName::MaxForwards);
    }
    if hidden.hides_cookies() {
        hidden.write_cookies(out, &request.headers);
    }
    if hops.are_any()
        || (is_stripped && request.headers.has(FieldName::Claim))
        || request.headers.has_underscores
        || !changes.headers.is_empty()
        || !hidden.is_empty()
    {
        request.headers.write_some(out, held, |field| {
            is_decided(field.name, &hops, changes)
                || hidden.holds_back(field.name)
                || (is_stripped && prefix::is_same(field.name))
        });
    } else {
        request.headers.write(out, held);
    }
    let wants_trailers = request
        .headers
        .known(FieldName::Te)
        .any(|value| contains(value, b"trailers"));
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

/// Fields that are of this hop, or that the gateway writes anew.
const OURS: NameSet = NameSet::HOP_BY_HOP
    .union(NameSet::FORWARDING)
    .union(NameSet::of(&[
        FieldName::ContentLength,
        FieldName::Host,
        FieldName::Trailer,
        FieldName::Via,
        FieldName::XRequestId,
    ]));

/// Whether `Connection` or the route holds the field of this name back.
fn is_decided(name: &[u8], hops: &Hops<'_>, changes: &RequestChanges) -> bool {
    is_named(name, hops, changes)
        || (name.contains(&b'_') && ends_here(&with_hyphens(name), hops, changes))
}

/// Whether a field of this name is not passed on: it is of this hop, the
/// gateway writes it anew, or the route decides it.
pub(super) fn ends_here(name: &[u8], hops: &Hops<'_>, changes: &RequestChanges) -> bool {
    OURS.has(FieldName::of(name)) || is_named(name, hops, changes)
}

/// Whether `Connection` or the route names the field.
fn is_named(name: &[u8], hops: &Hops<'_>, changes: &RequestChanges) -> bool {
    hops.names(name) || changes.headers.decides(name)
}

/// The name with `-` in place of each `_`. Servers of CGI and WSGI programs do
/// not tell the two apart.
fn with_hyphens(name: &[u8]) -> Vec<u8> {
    let hyphen = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    name.iter().map(hyphen).collect()
}

/// Whether a list of tokens contains `wanted`, in any letter case.
///
/// Blanks around a token do not count (RFC 9110, 5.6.1).
fn contains(value: &[u8], wanted: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Writes the gateway's account of the request: its hops, `Via` and its id.
/// `host` is the one that the client asked for, with its port, or empty.
///
/// A field that the route sets or removes is left to the route.
fn write_account(out: &mut Vec<u8>, exchange: &Exchange, host: &[u8], changes: &RequestChanges) {
    write_forwarded(out, exchange, host, changes);
    if !changes.headers.decides(&header::VIA) {
        write_via(out, &exchange.request);
    }
    if !changes.headers.decides(&REQUEST_ID_HEADER) {
        http1::write_field(out, REQUEST_ID_HEADER.as_str(), exchange.id.as_bytes());
    }
}

/// Writes `traceparent`, with the id of the attempt's span if the request is
/// recorded; nothing if the caller's is passed on, or the route decides it.
fn write_trace(out: &mut Vec<u8>, trace: &Trace, span: Option<u64>, changes: &RequestChanges) {
    if let Some(field) = trace.field(span)
        && !changes.headers.decides(&TRACE_PARENT_HEADER)
    {
        out.extend_from_slice(&field.line());
    }
}

/// As [`write_account`], for a request that names no hops before this one and
/// the `first` host of its connection, where the route changes no fields: all
/// but its id is the same as for the request before it. Copying that takes a
/// third of the instructions.
fn write_first_hop(out: &mut Vec<u8>, exchange: &Exchange, first: &FirstHost) {
    let version = exchange.request.version;
    match first.account.get() {
        Some(account) if account.version == version => out.extend_from_slice(&account.text),
        kept => {
            let begin = out.len();
            write_forwarded(out, exchange, &first.field, &RequestChanges::default());
            write_via(out, &exchange.request);
            out.extend_from_slice(b"x-request-id: ");
            if kept.is_none() {
                let text = out[begin..].into();
                first.account.get_or_init(|| HopAccount { version, text });
            }
        }
    }
    out.extend_from_slice(exchange.id.as_bytes());
    out.extend_from_slice(b"\r\n");
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
        out.extend_from_slice(exchange.origin.peer_ip().as_bytes());
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
        write_node(out, exchange.origin.peer_ip());
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
    for value in request.headers.known(FieldName::Via) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(match request.version {
        http::Version::HTTP_10 => b"1.0 tidegate\r\n",
        http::Version::HTTP_2 => b"2.0 tidegate\r\n",
        _ => b"1.1 tidegate\r\n",
    });
}

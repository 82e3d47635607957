//! Private parts of this folder for the fuzz targets, as plain functions.
//!
//! Built for tests too, so that a change to what it calls cannot leave it
//! behind.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{accept, client::Trust, cors, path_variants};
use crate::{
    call::Client,
    message::{Fields, Headers},
    policy::{BodyKind, ClientIpHeader, Cors, HopsField, RefusalBody},
};

/// The client of a request from `peer`, where `trusted` may name it in
/// `Forwarded`, or else in `X-Forwarded-For`.
///
/// The order of the steps is that of a request: the peer is made canonical, and
/// only a trusted one may name another client. Nothing is reported of unknown
/// proxies.
pub fn client(trusted: &[IpNet], reads_forwarded: bool, peer: IpAddr, headers: &Headers) -> Client {
    let header = if reads_forwarded {
        HopsField::Forwarded
    } else {
        HopsField::XForwardedFor
    };
    let trust = Trust::new(trusted, ClientIpHeader::Hops(header), Arc::default());
    let ip = peer.to_canonical();
    if trust.trusts(ip) {
        trust.named_client(ip, headers)
    } else {
        Client { ip, chain: None }
    }
}

/// Every path that a lenient service could see in `received`; none if it can be
/// read in one way only.
///
/// Each one is in the form that routes compare. A path occurs more than once if
/// several treatments of dot segments lead to it.
pub fn path_variants(received: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if !path_variants::is_plain(received) {
        path_variants::any(received, |variant| {
            all.push(variant.path.clone());
            false
        });
    }
    all
}

/// The kind of body that a refusal has for a client with these `headers`, where
/// the route has a body of each of these kinds; `None` for the problem body.
pub fn refusal_kind(headers: &Headers, kinds: &[BodyKind]) -> Option<BodyKind> {
    let body = |kind: &BodyKind| {
        let (kind, parts) = (*kind, Vec::new());
        Arc::new(RefusalBody { kind, parts })
    };
    let bodies: Vec<_> = kinds.iter().map(body).collect();
    accept::choose(headers, &bodies).map(|body| body.kind)
}

/// The fields by which a browser lets a page read a response to a request with
/// these `headers`, as they are written.
pub fn cors_fields(cors: &Cors, headers: &Headers) -> Vec<u8> {
    let mut fields = Fields::default();
    cors::describe(&mut fields, cors, headers);
    fields.as_bytes().to_vec()
}

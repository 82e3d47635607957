//! Private parts of this folder for the fuzz targets, as plain functions.
//!
//! Built for tests too, so that a change to what it calls cannot leave it
//! behind.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{client::Trust, path_variants};
use crate::{
    call::Client,
    message::Headers,
    policy::{ClientIpHeader, HopsField},
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

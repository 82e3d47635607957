//! What fuzzing reaches of the way in, and nobody else can: private parts of this folder, as plain functions.
//!
//! Not on the path of requests. Built for tests too, so that it cannot fall behind what it calls.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use ipnet::IpNet;

use super::{client::Trust, readings};
use crate::{call::Client, policy::ClientIpHeader};

/// The client of a request from `peer`, where `trusted` may name it in `Forwarded`, or else in `X-Forwarded-For`.
pub fn client(
    trusted: &[IpNet],
    reads_forwarded: bool,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Client {
    let header = if reads_forwarded {
        ClientIpHeader::Forwarded
    } else {
        ClientIpHeader::XForwardedFor
    };
    Trust::new(trusted, header, Arc::default()).client(peer, headers)
}

/// Each path that a lenient service could see in a path as received; none where it can be read in one way only.
pub fn readings(received: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if !readings::is_plain(received) {
        readings::any(received, |reading| {
            all.push(reading.path.clone());
            false
        });
    }
    all
}

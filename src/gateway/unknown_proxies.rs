//! Proxies in front of the gateway that are not configured. All clients behind
//! one count as one client, so the log warns about each such proxy once.
//!
//! A peer looks like a proxy if it sends a forwarding field while no proxy is
//! trusted. Each worker keeps its own list, and looks into the shared one, with
//! its lock, only for peers that are new to it.

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::message::{FieldName, Headers};

/// Peers that are reported over the life of the process. Few proxies stand
/// before a gateway, and other clients that send such a field must not fill the
/// log.
const MAX: usize = 32;

/// The field that most proxies write.
const USUAL: &str = "X-Forwarded-For";
/// The standard field (RFC 7239), which few proxies write.
const OTHER: &str = "Forwarded";

/// Peers that sent forwarding fields while no proxy was trusted, each with the
/// field.
#[derive(Debug, Default)]
pub(crate) struct UnknownProxies(Mutex<Vec<(IpAddr, &'static str)>>);

impl UnknownProxies {
    /// Whether `peer` was not known; it is from then on. False for all peers
    /// once 32 are known. A peer that sent `Forwarded` is new once more with
    /// the usual field: `Forwarded` may have come from its client.
    pub(super) fn is_new(&self, peer: IpAddr, field: &'static str) -> bool {
        let mut known = self.0.lock();
        let is_known = |(of, by): &(IpAddr, &str)| *of == peer && (*by == field || *by == USUAL);
        let is_new = known.len() < MAX && !known.iter().any(is_known);
        if is_new {
            known.push((peer, field));
        }
        is_new
    }
}

/// The name of the forwarding field that a request has.
pub(super) fn field(headers: &Headers) -> Option<&'static str> {
    if headers.has(FieldName::XForwardedFor) {
        Some(USUAL)
    } else {
        headers.has(FieldName::Forwarded).then_some(OTHER)
    }
}

/// Warns that a proxy may be missing in the configuration.
pub(super) fn warn(peer: IpAddr, field: &str) {
    let header = if field == OTHER {
        " and `header = \"forwarded\"`"
    } else {
        ""
    };
    tracing::warn!(
        %peer,
        "requests from {peer} carry {field}, and no proxy is trusted: all clients behind {peer} count as one client. \
         If it is your proxy, add `trusted_proxies = [\"{peer}\"]`{header} to [client_ip]"
    );
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_peer_is_new_once_and_there_is_an_end_of_them() {
        let known = UnknownProxies::default();
        let peer = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        assert!(known.is_new(peer(1), OTHER) && !known.is_new(peer(1), OTHER));
        assert!(
            known.is_new(peer(1), USUAL)
                && !known.is_new(peer(1), USUAL)
                && !known.is_new(peer(1), OTHER)
        );
        let reported = (2..1000)
            .filter(|number| known.is_new(peer(*number), USUAL))
            .count();
        assert_eq!((reported, known.0.lock().len()), (MAX - 2, MAX));
    }
}

//! Proxies in front that nobody has named: all clients behind one count as one client, and its log is where that is told.

use std::net::IpAddr;

use http::{HeaderMap, header};
use parking_lot::Mutex;

use crate::call::forwarded::X_FORWARDED_FOR;

/// Peers that are told of, over the life of the process: few proxies stand before a gateway, and whoever else sends such a
/// field must not fill the log.
const MOST: usize = 32;

/// The field that most proxies write, and the other one.
const USUAL: &str = "X-Forwarded-For";
const OTHER: &str = "Forwarded";

/// Peers that sent forwarding fields while no proxy was trusted, each with the field.
#[derive(Debug, Default)]
pub(crate) struct UnknownProxies(Mutex<Vec<(IpAddr, &'static str)>>);

impl UnknownProxies {
    /// Whether `peer` is a new one, which it then is no more; false for all once 32 are known. One that sent `Forwarded` is
    /// new once more with the field that most proxies write: the other one may have come from its client.
    pub(super) fn is_new(&self, peer: IpAddr, field: &'static str) -> bool {
        let mut known = self.0.lock();
        let is_known = |(of, by): &(IpAddr, &str)| *of == peer && (*by == field || *by == USUAL);
        let is_new = known.len() < MOST && !known.iter().any(is_known);
        if is_new {
            known.push((peer, field));
        }
        is_new
    }
}

/// The forwarding field that a request carries, as people write it.
pub(super) fn field(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(X_FORWARDED_FOR) {
        Some(USUAL)
    } else {
        headers.contains_key(header::FORWARDED).then_some(OTHER)
    }
}

/// Says that a proxy may have been forgotten.
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
        let told = (2..1000)
            .filter(|number| known.is_new(peer(*number), USUAL))
            .count();
        assert_eq!((told, known.0.lock().len()), (MOST - 2, MOST));
    }
}

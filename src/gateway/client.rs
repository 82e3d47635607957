//! The identity of the client: the peer, or the address that trusted proxies
//! name.
//!
//! Limits, logs and hashes use this address, so that a client must not be able
//! to choose it. The chain of proxies is walked from the peer towards the
//! client, and never beyond the first hop that is not trusted: everything that
//! this hop says of earlier ones may be invented. Only one of the two fields
//! (`X-Forwarded-For` or `Forwarded`) is read, as configured, since a proxy
//! that writes one of them usually passes on the other as the client sent it.
//!
//! A field with one address, such as `CF-Connecting-IP`, may be configured
//! instead. It is a claim: a request from another peer loses it.
//!
//! A request from an untrusted peer costs one lookup in the set of trusted
//! networks.

use std::{net::IpAddr, sync::Arc};

use http::HeaderName;
use ipnet::IpNet;

use super::{
    networks::Networks,
    unknown_proxies::{self, UnknownProxies},
};
use crate::{
    call::{Chain, Client, forwarded},
    http1,
    message::Headers,
    policy::{ClientIpHeader, HopsField},
};

/// The proxies that are trusted to name the client.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Their addresses.
    networks: Networks,
    /// The field in which they name it; no other one is read.
    header: ClientIpHeader,
    /// Peers that this worker knows may be proxies. Only for others it looks
    /// into `reported`.
    seen: UnknownProxies,
    /// Peers that were reported, by any worker and over all reloads.
    reported: Arc<UnknownProxies>,
}

impl Trust {
    /// Trusts `networks` to name the client in `header`.
    ///
    /// No networks trust nobody: each client is then its peer. `reported` is the
    /// list that all workers share and that reloads carry over.
    pub(crate) fn new(
        networks: &[IpNet],
        header: ClientIpHeader,
        reported: Arc<UnknownProxies>,
    ) -> Self {
        Self {
            networks: Networks::new(networks),
            header,
            seen: UnknownProxies::default(),
            reported,
        }
    }

    /// Whether the peer with this address may name the client.
    ///
    /// An IPv4 address and its form mapped into IPv6 are the same address here.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// The client of a request from a trusted `peer`, whose address is
    /// canonical.
    pub(super) fn named_client(&self, peer: IpAddr, headers: &Headers) -> Client {
        match &self.header {
            ClientIpHeader::Hops(by) => self.walk(peer, *by, headers),
            ClientIpHeader::Single(name) => {
                let named = only_address(name, headers);
                Client {
                    ip: named.unwrap_or(peer),
                    chain: Some(Chain {
                        by: None,
                        walked: u8::from(named.is_some()),
                    }),
                }
            }
        }
    }

    /// The client at the end of a list of hops. An element without an address
    /// ends the walk: the hop that sent it is the client.
    ///
    /// The hops are read from the end of the field, which the peer has written,
    /// towards its beginning. The result is the first address that is not
    /// trusted; if all are trusted, it is the farthest one. Without the field
    /// it is the peer itself. At most 64 hops are read (`forwarded::hops`). The
    /// chain says how many hops were walked, so that the rest of the field is
    /// known as unproven.
    fn walk(&self, peer: IpAddr, by: HopsField, headers: &Headers) -> Client {
        let (mut ip, mut walked) = (peer, 0);
        for hop in forwarded::hops(headers, by) {
            let Some(address) = hop.address else { break };
            (ip, walked) = (address, walked + 1);
            if !self.trusts(address) {
                break;
            }
        }
        Client {
            ip,
            chain: Some(Chain {
                by: Some(by),
                walked,
            }),
        }
    }

    /// The field with one address in which a trusted proxy names the client, if
    /// no list of claims has it. `None` for all others.
    pub(super) fn own_claim(&self) -> Option<&HeaderName> {
        match &self.header {
            ClientIpHeader::Single(name) if !http1::is_claim(name.as_str().as_bytes()) => {
                Some(name)
            }
            _ => None,
        }
    }

    /// Warns once about each peer that may be a proxy: no proxy is trusted, and
    /// the request looks as if it came by one.
    ///
    /// The worker's own list is asked first. It needs no memory that another
    /// worker writes, so that many requests through one proxy do not contend
    /// for a lock.
    pub(super) fn note_unknown(&self, peer: IpAddr, headers: &Headers) {
        if self.networks.is_empty()
            && let Some(field) = unknown_proxies::field(headers)
            && self.seen.is_new(peer, field)
            && self.reported.is_new(peer, field)
        {
            unknown_proxies::warn(peer, field);
        }
    }
}

/// The canonical address in the only line of this field. `None` for anything
/// else: several lines, a list, a port, a zone, brackets.
fn only_address(name: &HeaderName, headers: &Headers) -> Option<IpAddr> {
    let mut lines = headers.all(name);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let text = str::from_utf8(line.trim_ascii()).ok()?;
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;

//! Sets of networks: the proxies that are trusted, and the clients that a route
//! takes.
//!
//! A set is made by a reload and never changes afterwards. A lookup is a binary
//! search, so that its cost grows with the logarithm of the number of networks.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// A set of addresses, given by networks.
#[derive(Debug)]
pub(super) struct Networks {
    /// First and last address of each range, IPv4 mapped into IPv6, sorted and
    /// without overlaps.
    ranges: Box<[(u128, u128)]>,
}

impl Networks {
    /// The addresses of all of these networks.
    ///
    /// Ranges that overlap are merged, in any order and with any duplicates.
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let mut ranges: Vec<_> = networks
            .iter()
            .map(|net| (number(net.network()), number(net.broadcast())))
            .collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self {
            ranges: ranges.into(),
        }
    }

    /// Whether no address is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether an address lies in one of the ranges.
    ///
    /// An IPv4 address and its form mapped into IPv6 are the same address here.
    /// The range with the largest first address that is not above `address` is
    /// the only one that can hold it, as ranges do not overlap.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        let address = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }
}

/// An address as a number, IPv4 mapped into IPv6, so that both kinds lie in one
/// order.
fn number(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

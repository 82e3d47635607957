//! The connections of all listeners together: their number, and how many of
//! them belong to each client.
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits. The hash of the
//! table has a random key, so that no set of addresses makes one shard slow.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{eviction::Connections, slots::Slots};

/// Shards of the table of clients, each with its own lock, so that workers that
/// accept at the same time rarely meet.
const SHARDS: usize = 64;
/// Bits of an IPv6 address that identify a client. The holder of one address
/// has the other 2^64 of its network, too.
const V6_PREFIX: u32 = 64;

/// The number of open connections by client.
type Shard = Mutex<HashMap<IpAddr, usize>>;

/// The connections of all listeners. There is an entry for each client with an
/// open connection, and no other.
#[derive(Debug)]
pub struct AllConnections {
    /// The hash of addresses, with a random key.
    hasher: RandomState,
    /// The clients with open connections.
    shards: Box<[Shard]>,
    /// The slots of all listeners together.
    pub(super) slots: Slots,
    /// Most connections over all listeners, as the limit on open files allows.
    pub(super) max: usize,
    /// The connections of each listener.
    listeners: Mutex<Vec<Weak<Connections>>>,
}

impl AllConnections {
    /// No connection yet, and at most `max` over all listeners.
    pub fn new(max: usize) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Self {
            hasher: RandomState::new(),
            shards,
            slots: Slots::default(),
            max,
            listeners: Mutex::default(),
        })
    }

    /// Counts another connection of the client at `address`; `None` if it
    /// already has `max`, which is at least 1.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<ClientGuard> {
        let client = client(address);
        let mut shard = self.shard(client).lock();
        let open = shard.entry(client).or_default();
        // A refusal leaves no new entry behind: it takes an entry with at least
        // one connection.
        if *open >= max {
            return None;
        }
        *open += 1;
        Some(ClientGuard {
            all: Arc::clone(self),
            client,
        })
    }

    /// The part of the table that a client is in.
    fn shard(&self, client: IpAddr) -> &Shard {
        &self.shards[self.hasher.hash_one(client) as usize % SHARDS]
    }

    /// Adds a listener whose idle connections can be evicted.
    pub(super) fn add(&self, connections: &Arc<Connections>) {
        let mut listeners = self.listeners.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(connections));
    }

    /// Evicts an idle connection of any listener; false if none is idle.
    pub(super) fn evict_idle(&self) -> bool {
        let listeners: Vec<_> = self
            .listeners
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        listeners.iter().any(|listener| listener.evict_idle())
    }
}

/// Counts one connection of a client; the count is decremented on drop.
#[derive(Debug)]
pub(super) struct ClientGuard {
    all: Arc<AllConnections>,
    client: IpAddr,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        let mut shard = self.all.shard(self.client).lock();
        if let Some(open) = shard.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.client);
            }
        }
    }
}

/// The client that an address belongs to: an IPv4 address itself, or the
/// network of an IPv6 address.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - V6_PREFIX))).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_of_64_bits_and_an_ipv4_address_are_one_client_each() {
        let all = AllConnections::new(100);
        for [first, same, other] in [
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"],
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
        ] {
            let guard = all.admit(address(first), 1);
            assert!(guard.is_some());
            assert!(all.admit(address(same), 1).is_none());
            assert!(all.admit(address(other), 1).is_some());
            drop(guard);
            assert!(all.admit(address(same), 1).is_some());
        }
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left() {
        let all = AllConnections::new(100);
        let guards: Vec<_> = (0..1000_u32)
            .filter_map(|at| all.admit(IpAddr::V4(at.into()), 1))
            .collect();
        assert_eq!(guards.len(), 1000);
        drop(guards);
        assert!(all.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}

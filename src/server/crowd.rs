//! All connections of clients, over all listeners: how many there are, and how many of them are one client's.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{Door, places::Places};

/// Parts of the table of clients, each with a lock of its own: workers that accept at once rarely meet.
const SHARDS: usize = 64;
/// Bits of an IPv6 address that name a client: who has one address has the other 2^64 of its network, too.
const V6_PREFIX: u32 = 64;

/// The connections of one client, by its address.
type Shard = Mutex<HashMap<IpAddr, usize>>;

/// The connections of all listeners. Holds an entry for each client with an open connection, and no other.
#[derive(Debug)]
pub struct Crowd {
    hasher: RandomState,
    shards: Box<[Shard]>,
    /// Over all listeners.
    pub(super) places: Places,
    /// The most that the file limit allows.
    pub(super) most: usize,
    doors: Mutex<Vec<Weak<Door>>>,
}

impl Crowd {
    /// Nobody yet, and at most `most` connections.
    pub fn new(most: usize) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Self {
            hasher: RandomState::new(),
            shards,
            places: Places::default(),
            most,
            doors: Mutex::default(),
        })
    }

    /// Counts another connection of the client at `address`; `None` when it has `most` already.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Guest> {
        let client = client(address);
        let mut shard = self.shard(client).lock();
        let open = shard.entry(client).or_default();
        // An entry that is made here is not refused: a bound is at least 1.
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Guest {
            crowd: Arc::clone(self),
            client,
        })
    }

    fn shard(&self, client: IpAddr) -> &Shard {
        &self.shards[self.hasher.hash_one(client) as usize % SHARDS]
    }

    /// Adds a listener, to be looked at for idle connections.
    pub(super) fn add(&self, door: &Arc<Door>) {
        let mut doors = self.doors.lock();
        doors.retain(|door| door.strong_count() > 0);
        doors.push(Arc::downgrade(door));
    }

    /// Chooses an idle connection of any listener to make room; false when none idles.
    pub(super) fn choose(&self) -> bool {
        let doors: Vec<_> = self.doors.lock().iter().filter_map(Weak::upgrade).collect();
        doors.iter().any(|door| door.choose())
    }
}

/// A connection that counts for its client until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut shard = self.crowd.shard(self.client).lock();
        if let Some(open) = shard.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.client);
            }
        }
    }
}

/// The client that an address stands for: itself, or its network.
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
        let crowd = Crowd::new(100);
        for [first, same, other] in [
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"],
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
        ] {
            let guest = crowd.admit(address(first), 1);
            assert!(guest.is_some());
            assert!(crowd.admit(address(same), 1).is_none());
            assert!(crowd.admit(address(other), 1).is_some());
            drop(guest);
            assert!(crowd.admit(address(same), 1).is_some());
        }
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left() {
        let crowd = Crowd::new(100);
        let guests: Vec<_> = (0..1000_u32)
            .filter_map(|at| crowd.admit(IpAddr::V4(at.into()), 1))
            .collect();
        assert_eq!(guests.len(), 1000);
        drop(guests);
        assert!(crowd.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}

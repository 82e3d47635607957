//! The open connections of all listeners: how many there are, how many of them
//! belong to each client, and which of them are idle.
//!
//! # Clients
//!
//! One table for the whole process counts the connections of each client: an
//! IPv4 address, or a network of 64 bits of IPv6, since everybody who has one
//! address of such a network has the other 2^64, too. There is an entry for
//! each client with an open connection and no other, so that the table is
//! bounded by the number of connections.
//!
//! # Eviction
//!
//! If all slots are used, a new connection closes the one that has been idle
//! for longest. Each connection records in an [`IdleCell`] of its own when it
//! becomes idle and when it is busy again, which costs a request two stores.
//! Only a worker that needs a slot searches the cells of all workers. It notes
//! several of the oldest, so that one search serves as many evictions.
//!
//! A request that arrives at the moment at which its connection is evicted is
//! still answered: the cell changes from idle to evicted, or to busy, by one
//! atomic operation, so that exactly one of the two happens.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::slots::Slots;
use crate::telemetry::ListenerMetrics;

/// Shards of the table of clients, each with its own lock, so that workers that
/// accept at the same time rarely meet.
const SHARDS: usize = 64;
/// Bits of an IPv6 address that identify a client.
const V6_PREFIX: u32 = 64;

/// Instead of a time: the connection is busy.
const BUSY: u64 = u64::MAX;
/// Instead of a time: the connection is evicted.
const EVICTED: u64 = u64::MAX - 1;
/// Connections that one search notes. A search of 100,000 cells takes about a
/// millisecond.
const NOTED: usize = 256;

/// The number of open connections by client.
type Shard = Mutex<HashMap<IpAddr, usize>>;

/// The connections of all listeners, shared by all workers. There is an entry
/// for each client with an open connection, and no other.
#[derive(Debug)]
pub struct AllConnections {
    /// Chooses the shard of a client, by a secret of this process.
    hasher: RandomState,
    shards: Box<[Shard]>,
    /// The slots of all listeners together.
    pub(super) slots: Slots,
    /// Most connections over all listeners, as the limit on open files allows.
    pub(super) max: usize,
    /// The connections of each listener.
    listeners: Mutex<Vec<Weak<Connections>>>,
}

impl AllConnections {
    /// No connection yet, and at most `max`.
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

    /// The shard that counts a client.
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
    /// An IPv4 address, or the first address of a network of 64 bits.
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

/// Whether one connection is idle, and whether it is to end.
#[derive(Debug)]
pub(super) struct IdleCell {
    /// Since when the connection is idle, in microseconds of its listener, or
    /// [`BUSY`] or [`EVICTED`].
    since: AtomicU64,
    /// Its index in its registry; only changed under the registry's lock.
    index: AtomicUsize,
    /// Whether the connection is to end: its listener drains, or it is evicted.
    /// Kept here, so that looking at it touches no memory that another
    /// connection touches.
    must_end: AtomicBool,
    /// The task that waits for `must_end`. A quarter of the memory that a token
    /// below that of the listener takes.
    task: AtomicWaker,
}

impl IdleCell {
    /// The cell of a connection that is busy.
    pub(super) fn new() -> Self {
        Self {
            since: AtomicU64::new(BUSY),
            index: AtomicUsize::new(0),
            must_end: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Lets the connection end after the requests in flight.
    pub(super) fn end(&self) {
        self.must_end.store(true, SeqCst);
        self.task.wake();
    }

    /// Whether the connection is to end.
    pub(super) fn must_end(&self) -> bool {
        self.must_end.load(SeqCst)
    }

    /// Ready once the connection is to end. Wakes the task that polled last.
    pub(super) fn poll_must_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        // After the registration, so that an end in between is not missed.
        if self.must_end() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The connection is idle since `micros`. The caller then wakes those that
    /// wait for a slot.
    pub(super) fn set_idle(&self, micros: u64) {
        // There are two pairs of a store and a load: here, of this cell and of
        // the waiters; in the other worker, of the waiters and of this cell.
        // One of the two has to see the other, so all four are sequentially
        // consistent.
        self.since.store(micros, SeqCst);
    }

    /// The connection is busy. Returns whether it was evicted at this very
    /// moment: its request is still answered, and another connection has to be
    /// evicted instead.
    pub(super) fn set_busy(&self) -> bool {
        self.since.swap(BUSY, SeqCst) == EVICTED
    }

    /// Whether the connection is evicted and has no request.
    pub(super) fn is_evicted(&self) -> bool {
        self.since.load(SeqCst) == EVICTED
    }

    /// Evicts the connection, if it has been idle since then without a break.
    fn evict(&self, since: u64) -> bool {
        let is_evicted = self
            .since
            .compare_exchange(since, EVICTED, SeqCst, Relaxed)
            .is_ok();
        if is_evicted {
            self.end();
        }
        is_evicted
    }
}

/// The connections of one listener on one worker.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Vec<Arc<IdleCell>>>);

impl Registry {
    /// Adds the cell of a new connection.
    pub(super) fn insert(&self, cell: &Arc<IdleCell>) {
        let mut cells = self.0.lock();
        cell.index.store(cells.len(), Relaxed);
        cells.push(Arc::clone(cell));
    }

    /// Removes the cell of a connection that has ended.
    pub(super) fn remove(&self, cell: &IdleCell) {
        let mut cells = self.0.lock();
        let index = cell.index.load(Relaxed);
        cells.swap_remove(index);
        if let Some(moved) = cells.get(index) {
            moved.index.store(index, Relaxed);
        }
    }
}

/// A connection that a search found idle.
#[derive(Debug)]
struct Idle {
    /// The value of the cell that was seen, in microseconds of its listener.
    since: u64,
    cell: Arc<IdleCell>,
}

/// The connections of one listener on all workers.
#[derive(Debug)]
pub(super) struct Connections {
    /// One for each worker.
    registries: Mutex<Vec<Arc<Registry>>>,
    /// The connections that were idle for longest at the last search, longest
    /// first.
    oldest: Mutex<VecDeque<Idle>>,
    /// The counters of the listener. Others after a reload that renames it.
    pub(super) metrics: ArcSwap<ListenerMetrics>,
}

impl Connections {
    pub(super) fn new(metrics: Arc<ListenerMetrics>) -> Arc<Self> {
        Arc::new(Self {
            registries: Mutex::default(),
            oldest: Mutex::default(),
            metrics: ArcSwap::new(metrics),
        })
    }

    /// Adds the registry of another worker.
    pub(super) fn add_registry(&self) -> Arc<Registry> {
        let registry = Arc::new(Registry::default());
        self.registries.lock().push(Arc::clone(&registry));
        registry
    }

    /// Lets all connections end after their requests in flight. Those that are
    /// registered later are not reached.
    pub(super) fn end_all(&self) {
        for registry in self.registries.lock().iter() {
            registry.0.lock().iter().for_each(|cell| cell.end());
        }
    }

    /// Evicts the connection that has been idle for longest; false if none is
    /// idle.
    pub(super) fn evict_idle(&self) -> bool {
        let is_evicted = self.evict_oldest();
        if is_evicted {
            self.metrics.load().closed("idle");
        }
        is_evicted
    }

    /// Evicts the first connection that the last search noted and that is still
    /// idle; searches anew if there is none.
    fn evict_oldest(&self) -> bool {
        let mut oldest = self.oldest.lock();
        for has_searched in [false, true] {
            // A connection that became idle after a search has been idle for
            // less time than all that the search noted.
            while let Some(Idle { since, cell }) = oldest.pop_front() {
                if cell.evict(since) {
                    return true;
                }
            }
            if !has_searched {
                *oldest = self.search();
            }
        }
        false
    }

    /// The connections that have been idle for longest, longest first.
    fn search(&self) -> VecDeque<Idle> {
        let mut idle = Vec::new();
        for registry in self.registries.lock().iter() {
            for cell in registry.0.lock().iter() {
                let since = cell.since.load(SeqCst);
                if since < EVICTED {
                    let cell = Arc::clone(cell);
                    idle.push(Idle { since, cell });
                }
            }
        }
        if idle.len() > NOTED {
            idle.select_nth_unstable_by_key(NOTED, |idle| idle.since);
            idle.truncate(NOTED);
        }
        idle.sort_unstable_by_key(|idle| idle.since);
        idle.into()
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

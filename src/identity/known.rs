//! Credentials that have verified, so that the next request with one costs a
//! hash.
//!
//! A table has no credentials in it: a credential is found by a keyed hash of
//! 128 bits, whose key is drawn when the table is made. Nobody outside can make
//! a credential with the hash of another one, and a table that leaks is of no
//! use.
//!
//! # Bounds
//!
//! Each worker has a table of its own, so that no lock is waited for. It holds
//! two halves of at most [`HALF`] credentials. New ones go to the younger half;
//! when that is full, the older one is dropped and the younger one takes its
//! place. A credential that is found in the older half moves to the younger
//! one, so that those in use stay.

use std::{collections::HashMap, fmt, hash::Hasher, mem, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::time::Instant;

use super::claims::Identified;
use crate::runtime::PerWorker;

/// Credentials in one half of a worker's table. With a kilobyte of claims for
/// each, which is rare, a full table takes some 16 MB.
const HALF: usize = 8192;

/// The credentials that have verified.
pub(super) struct KnownCredentials {
    /// The key of the hash.
    seed: [u64; 2],
    workers: PerWorker<Mutex<Halves>>,
}

/// The table of one worker.
#[derive(Default)]
struct Halves {
    young: Half,
    old: Half,
}

/// Clients by the hash of their credential. The hash is random already.
type Half = HashMap<u128, KnownClient, RandomState>;

/// A client whose credential has verified.
#[derive(Clone)]
struct KnownClient {
    identified: Arc<Identified>,
    /// The end of the credential; `None` for one without an end.
    until: Option<Instant>,
}

impl KnownCredentials {
    /// Knows none yet.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            seed: rand::random(),
            workers: PerWorker::new(workers),
        }
    }

    /// The client whose credential this is; `None` if it has not verified on
    /// this worker, has been displaced, or has ended at `now`.
    #[inline]
    pub(super) fn find(&self, credential: &[u8], now: Instant) -> Option<Arc<Identified>> {
        let hash = self.hash(credential);
        self.workers.mine().lock().find(hash, now)
    }

    /// Remembers the client whose credential this is, up to `until`.
    pub(super) fn add(
        &self,
        credential: &[u8],
        identified: &Arc<Identified>,
        until: Option<Instant>,
    ) {
        let hash = self.hash(credential);
        let client = KnownClient {
            identified: Arc::clone(identified),
            until,
        };
        self.workers.mine().lock().add(hash, client);
    }

    fn hash(&self, credential: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write(credential);
        hasher.finish128().as_u128()
    }
}

impl Halves {
    #[inline]
    fn find(&mut self, hash: u128, now: Instant) -> Option<Arc<Identified>> {
        let client = match self.young.get(&hash) {
            Some(client) => client.clone(),
            None => self.find_old(hash)?,
        };
        let has_ended = client.until.is_some_and(|until| until <= now);
        (!has_ended).then_some(client.identified)
    }

    /// Moves a client from the older half to the younger one.
    #[cold]
    fn find_old(&mut self, hash: u128) -> Option<KnownClient> {
        let client = self.old.remove(&hash)?;
        self.add(hash, client.clone());
        Some(client)
    }

    fn add(&mut self, hash: u128, client: KnownClient) {
        if self.young.len() >= HALF {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, client);
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for KnownCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCredentials").finish_non_exhaustive()
    }
}

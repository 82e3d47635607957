//! Credentials that have verified, so that the next request with one costs a
//! hash.
//!
//! A table has no credentials in it: a credential is found by its keyed
//! fingerprint, whose key is drawn when the table is made. Nobody outside can
//! make a credential with the fingerprint of another one, and a table that
//! leaks is of no use.
//!
//! # Bounds
//!
//! Each worker has a table of its own, so that no lock is waited for. It holds
//! two halves of at most [`HALF`] credentials. New ones go to the younger half;
//! when that is full, the older one is dropped and the younger one takes its
//! place. A credential that is found in the older half moves to the younger
//! one, so that those in use stay.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    claims::Identified,
    fingerprint::{Fingerprint, FingerprintKey},
};
use crate::runtime::PerWorker;

/// Credentials in one half of a worker's table. With a kilobyte of claims for
/// each, which is rare, a full table takes some 16 MB.
const HALF: usize = 8192;

/// The credentials that have verified.
pub(super) struct KnownCredentials {
    key: FingerprintKey,
    workers: PerWorker<Mutex<Halves>>,
}

/// The table of one worker.
#[derive(Default)]
struct Halves {
    young: Half,
    old: Half,
}

/// Clients by the fingerprint of their credential.
type Half = HashMap<Fingerprint, KnownClient, RandomState>;

/// A client whose credential has verified.
struct KnownClient {
    identified: Arc<Identified>,
    vouched: Validity,
}

/// For how long a credential that has verified is good.
#[derive(Debug, Default)]
pub(super) struct Validity {
    /// The end of the credential; `None` for one without an end.
    pub(super) until: Option<Instant>,
    /// The means that it was verified by; `None` if it cannot be withdrawn.
    pub(super) by: Option<Arc<Voucher>>,
}

/// Something that credentials are verified by, such as a key. Once it is
/// withdrawn, nothing that it has verified is known any more.
#[derive(Debug, Default)]
pub(super) struct Voucher {
    is_withdrawn: AtomicBool,
}

impl Voucher {
    /// Withdraws it, for ever.
    pub(super) fn withdraw(&self) {
        self.is_withdrawn.store(true, Relaxed);
    }
}

impl KnownClient {
    /// The client, if it is still vouched for.
    #[inline]
    fn identified(&self, now: Instant) -> Option<Arc<Identified>> {
        let Validity { until, by } = &self.vouched;
        let has_ended = until.is_some_and(|until| until <= now);
        let is_withdrawn = |by: &Arc<Voucher>| by.is_withdrawn.load(Relaxed);
        let is_good = !has_ended && !by.as_ref().is_some_and(is_withdrawn);
        is_good.then(|| Arc::clone(&self.identified))
    }
}

impl KnownCredentials {
    /// Knows none yet.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            key: FingerprintKey::random(),
            workers: PerWorker::new(workers),
        }
    }

    /// The client whose credential this is; `None` if it has not verified on
    /// this worker, has been displaced, or is not good any more at `now`.
    #[inline]
    pub(super) fn find(&self, credential: &[u8], now: Instant) -> Option<Arc<Identified>> {
        let fingerprint = self.key.of(credential)?;
        self.workers.mine().lock().find(fingerprint, now)
    }

    /// Remembers the client whose credential this is, for as long as it is
    /// vouched for.
    pub(super) fn add(&self, credential: &[u8], identified: &Arc<Identified>, vouched: Validity) {
        let Some(fingerprint) = self.key.of(credential) else {
            return;
        };
        let client = KnownClient {
            identified: Arc::clone(identified),
            vouched,
        };
        self.workers.mine().lock().add(fingerprint, client);
    }
}

impl Halves {
    #[inline]
    fn find(&mut self, fingerprint: Fingerprint, now: Instant) -> Option<Arc<Identified>> {
        match self.young.get(&fingerprint) {
            Some(client) => client.identified(now),
            None => self.find_old(fingerprint, now),
        }
    }

    /// Moves a client from the older half to the younger one.
    #[cold]
    fn find_old(&mut self, fingerprint: Fingerprint, now: Instant) -> Option<Arc<Identified>> {
        let client = self.old.remove(&fingerprint)?;
        let identified = client.identified(now);
        self.add(fingerprint, client);
        identified
    }

    fn add(&mut self, fingerprint: Fingerprint, client: KnownClient) {
        if self.young.len() >= HALF {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, client);
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for KnownCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Map;

    use super::*;
    use crate::identity::claims::KeptClaims;

    fn client() -> Arc<Identified> {
        let kept = KeptClaims {
            identity: "i".into(),
            plan: None,
            asked: Arc::default(),
        };
        Arc::new(Identified::new(&kept, "a", None, &Map::new()))
    }

    #[test]
    fn a_credential_is_known_until_it_ends_or_its_voucher_is_withdrawn() {
        let (known, now) = (KnownCredentials::new(1), Instant::now());
        let voucher = Arc::new(Voucher::default());
        let vouched = |by| Validity {
            until: Some(now + Duration::from_secs(1)),
            by,
        };
        known.add(b"a", &client(), vouched(Some(Arc::clone(&voucher))));
        known.add(b"b", &client(), vouched(None));
        known.add(b"c", &client(), Validity::default());
        let found = |now| [b"a", b"b", b"c"].map(|one| known.find(one, now).is_some());
        assert_eq!(found(now), [true; 3]);
        voucher.withdraw();
        assert_eq!(found(now), [false, true, true]);
        assert_eq!(found(now + Duration::from_secs(1)), [false, false, true]);
        assert!(known.find(b"d", now).is_none());
    }

    #[test]
    fn credentials_in_use_stay_and_the_number_is_bounded() {
        let (known, now) = (KnownCredentials::new(1), Instant::now());
        known.add(b"used", &client(), Validity::default());
        for number in 0..5 * HALF {
            known.add(&number.to_le_bytes(), &client(), Validity::default());
            assert!(known.find(b"used", now).is_some());
        }
        let workers = known.workers.mine().lock();
        assert!(workers.young.len() <= HALF && workers.old.len() <= HALF);
        drop(workers);
        assert!(known.find(&0_usize.to_le_bytes(), now).is_none());
    }
}

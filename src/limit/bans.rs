//! Keys of one limit that are refused for a while, because the limit has
//! refused them often.
//!
//! A ban costs less than a decision: a request of a banned key takes one lock
//! that few others want, and no arithmetic of tokens, no call to a store and no
//! growth of a debt. While nobody is banned, it is one relaxed load. At the
//! connection a ban saves nearly all that a client costs.
//!
//! # Counts
//!
//! The refusals of a key are counted from the first of them. After `within`,
//! the next refusal begins a new count. So a key is never banned for fewer than
//! `refusals` within this time, is banned with exactly that number of them from
//! the first one on, and is certainly banned by twice that number less one in
//! any stretch of this time. A ban is not made longer by requests during it.
//!
//! # Memory
//!
//! The table has [`SLOTS`] slots and never grows. A key has a slot in one of its
//! sets of [`WAYS`]. A key that finds none free takes that of the count which
//! began first; a ban is never replaced. Where all slots of a set are bans, the
//! key is not counted, and that is counted. The values of a key are kept from
//! the beginning of its ban on, cut as in all lists for people, so that an
//! operator can tell who is banned however long the key has been quiet.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Clock, Key, KeyBuilder, KeyValue, Label, Now};
use crate::policy::{self, KeyPart, Override, Prefixes, ValuePattern};

/// Slots of a set, each of which a look-up compares.
const WAYS: usize = 8;
/// Slots of all sets: 4.9 MB. A flood from more addresses than this is no
/// matter for one gateway.
pub(super) const SLOTS: usize = 100_000;

/// The bans of one limit, and the refusals that may lead to one. They are kept
/// over reloads as the buckets are.
#[derive(Debug)]
pub struct Bans {
    sets: Box<[Mutex<[Counted; WAYS]>]>,
    /// Slots that hold a ban, which may be over.
    banned: AtomicUsize,
    begun: AtomicU64,
    /// Of these, those that a sweep has told.
    told: AtomicU64,
    refused: AtomicU64,
    untracked: AtomicU64,
}

/// The refusals of one key.
#[derive(Debug, Default)]
struct Counted {
    /// `None` for a free slot.
    key: Option<Key>,
    /// Refusals since `since`.
    refusals: u32,
    /// The first of them, in nanoseconds of the clock.
    since: u64,
    /// The end of the ban, in nanoseconds of the clock; 0 for none.
    until: u64,
    /// The parts of a key that is banned, or was.
    label: Option<Box<Label>>,
}

/// A key that is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BannedKey {
    /// The key.
    pub key: Key,
    /// Its parts.
    pub label: Label,
    /// The rest of its ban.
    pub rest: Duration,
}

/// Numbers about the bans of a limit since it was first made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanStats {
    /// Keys that are banned now, some of whose bans may have just ended.
    pub banned: usize,
    /// Bans that have begun.
    pub begun: u64,
    /// Requests and connections that were refused by a ban.
    pub refused: u64,
    /// Refusals that were not counted, since all slots of the key were bans.
    pub untracked: u64,
}

/// The changes that a sweep has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Bans that have begun since the last sweep; of a limit in shadow mode,
    /// those that would have.
    pub begun: u64,
    /// Bans that have ended by themselves.
    pub ended: usize,
}

/// The documents state this size.
const _: () = assert!(size_of::<Mutex<[Counted; WAYS]>>() * SLOTS / WAYS < 5_000_000);

impl Default for Bans {
    fn default() -> Self {
        let mut sets = Vec::new();
        sets.resize_with(SLOTS / WAYS, Mutex::default);
        Self {
            sets: sets.into(),
            banned: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            told: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            untracked: AtomicU64::new(0),
        }
    }
}

impl Bans {
    /// The rest of the ban of `key`; `None` if it is not banned. Costs one load
    /// while nobody is.
    #[inline]
    pub fn rest(&self, now: Now, key: Key) -> Option<Duration> {
        // Relaxed: a request that is under way while a ban begins may pass it.
        if self.banned.load(Relaxed) == 0 {
            return None;
        }
        let set = self.set(key).lock();
        set.iter().find(|slot| slot.key == Some(key))?.rest(now)
    }

    /// Counts a request or connection that a ban has refused.
    #[inline]
    pub fn note_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a refusal of `key`. Returns whether a ban begins with it; with
    /// `is_shadow`, whether one would. `describe` writes the parts of the key,
    /// and is called only for a ban.
    pub fn count(
        &self,
        now: Now,
        key: Key,
        (policy, is_shadow): (&policy::Ban, bool),
        describe: impl FnOnce(&mut Label),
    ) -> bool {
        let at = now.as_nanos();
        let mut set = self.set(key).lock();
        let known = set.iter().position(|slot| slot.key == Some(key));
        let Some(index) = known.or_else(|| room(&set, at)) else {
            self.untracked.fetch_add(1, Relaxed);
            return false;
        };
        let slot = &mut set[index];
        if slot.until > at && slot.key == Some(key) {
            return false;
        }
        let is_over = at.saturating_sub(slot.since) > nanos(policy.within);
        if slot.key != Some(key) || slot.until != 0 || is_over {
            self.banned.fetch_sub(usize::from(slot.until != 0), Relaxed);
            *slot = Counted {
                key: Some(key),
                since: at,
                ..Counted::default()
            };
        }
        slot.refusals = slot.refusals.saturating_add(1);
        if slot.refusals < policy.refusals.get() {
            return false;
        }
        if is_shadow {
            *slot = Counted::default();
        } else {
            slot.until = now.after(policy.time).as_nanos();
            describe(slot.label.insert(Box::default()));
            self.banned.fetch_add(1, Relaxed);
        }
        self.begun.fetch_add(1, Relaxed);
        true
    }

    /// Ends the ban of `key`, and forgets its refusals. Returns whether it was
    /// banned.
    pub fn lift(&self, now: Now, key: Key) -> bool {
        let mut set = self.set(key).lock();
        let Some(slot) = set.iter_mut().find(|slot| slot.key == Some(key)) else {
            return false;
        };
        let was_banned = slot.until > now.as_nanos();
        self.banned.fetch_sub(usize::from(slot.until != 0), Relaxed);
        *slot = Counted::default();
        was_banned
    }

    /// The parts of a key, if it is banned.
    pub fn label(&self, now: Now, key: Key) -> Option<Label> {
        let set = self.set(key).lock();
        let slot = set.iter().find(|slot| slot.key == Some(key))?;
        slot.rest(now)?;
        slot.label.as_deref().cloned()
    }

    /// At most `most` keys that are banned, those with the latest end first.
    /// For people: locks all slots, eight at a time.
    pub fn list(&self, now: Now, most: usize) -> Vec<BannedKey> {
        let mut all = Vec::new();
        for set in &self.sets {
            for slot in set.lock().iter() {
                if let (Some(key), Some(rest)) = (slot.key, slot.rest(now)) {
                    all.push((Reverse(rest), key));
                }
            }
        }
        all.sort_unstable_by_key(|(rest, key)| (*rest, key.hash()));
        all.truncate(most);
        let banned = |(Reverse(rest), key)| {
            // The ban may have been lifted meanwhile.
            let label = self.label(now, key)?;
            Some(BannedKey { key, label, rest })
        };
        all.into_iter().filter_map(banned).collect()
    }

    /// Frees the slots of bans that are over. To be called every few seconds;
    /// costs two loads while nobody is banned.
    pub fn sweep(&self, now: Now) -> Swept {
        let total = self.begun.load(Relaxed);
        let begun = total - self.told.swap(total, Relaxed);
        let mut ended = 0;
        if self.banned.load(Relaxed) == 0 {
            return Swept { begun, ended };
        }
        for set in &self.sets {
            for slot in set.lock().iter_mut() {
                if slot.until != 0 && slot.until <= now.as_nanos() {
                    *slot = Counted::default();
                    ended += 1;
                }
            }
        }
        self.banned.fetch_sub(ended, Relaxed);
        Swept { begun, ended }
    }

    /// The counters.
    pub fn stats(&self) -> BanStats {
        BanStats {
            banned: self.banned.load(Relaxed),
            begun: self.begun.load(Relaxed),
            refused: self.refused.load(Relaxed),
            untracked: self.untracked.load(Relaxed),
        }
    }

    /// The set of a key. Keys are keyed hashes, so that nobody can aim at one.
    fn set(&self, key: Key) -> &Mutex<[Counted; WAYS]> {
        let index = key.hash() % self.sets.len() as u64;
        &self.sets[index as usize]
    }
}

impl Counted {
    /// The rest of the ban; `None` if there is none, or it is over.
    fn rest(&self, now: Now) -> Option<Duration> {
        let rest = self.until.saturating_sub(now.as_nanos());
        (rest > 0).then_some(Duration::from_nanos(rest))
    }
}

/// The slot for a new key: a free one, one whose ban is over, or that of the
/// count which began first. `None` if all are bans.
fn room(set: &[Counted; WAYS], now: u64) -> Option<usize> {
    let mut oldest: Option<usize> = None;
    for (index, slot) in set.iter().enumerate() {
        if slot.key.is_none() {
            return Some(index);
        }
        let is_older = oldest.is_none_or(|oldest: usize| slot.since < set[oldest].since);
        if slot.until <= now && is_older {
            oldest = Some(index);
        }
    }
    oldest
}

/// A time in nanoseconds, at most 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The bans of a limit by the client's address alone, as an accept loop asks
/// them before a connection costs anything.
#[derive(Debug, Clone)]
pub struct AddressBans {
    bans: Arc<Bans>,
    /// A key that has begun with the name of the limit.
    begun: KeyBuilder,
    prefixes: Prefixes,
    /// The overrides of the limit: an address that may have everything is not
    /// closed, whatever happened before it was given that.
    overrides: Box<[Override]>,
}

impl AddressBans {
    /// The bans of a limit with these `overrides`, whose keys begin as `begun`
    /// and go on with a client's address alone.
    pub fn new(
        bans: Arc<Bans>,
        begun: KeyBuilder,
        prefixes: Prefixes,
        overrides: Box<[Override]>,
    ) -> Self {
        Self {
            bans,
            begun,
            prefixes,
            overrides,
        }
    }

    /// Whether a connection from this address is to be closed. Counts it then.
    /// Costs one load while nobody is banned.
    #[inline]
    pub fn refuses(&self, ip: IpAddr) -> bool {
        self.bans.banned.load(Relaxed) > 0 && self.is_banned(ip)
    }

    /// Whether this address is banned. Counts it then.
    #[inline(never)]
    fn is_banned(&self, ip: IpAddr) -> bool {
        let network = self.prefixes.network(ip);
        let mut key = self.begun.clone();
        key.add(
            &KeyPart::ClientIp(self.prefixes),
            &KeyValue::Address(network),
        );
        let is_banned =
            self.bans.rest(Clock.now(), key.finish()).is_some() && !self.is_unlimited(ip);
        if is_banned {
            self.bans.note_refused();
        }
        is_banned
    }

    /// Whether the first override that matches admits everything.
    fn is_unlimited(&self, ip: IpAddr) -> bool {
        let is_match = |pattern: &ValuePattern| match pattern {
            ValuePattern::Any => true,
            ValuePattern::Network(network) => network.contains(&ip),
            ValuePattern::Text(_) => false,
        };
        let mut overrides = self.overrides.iter();
        let first = overrides.find(|one| one.matches.iter().flatten().any(is_match));
        first.is_some_and(|one| one.allowance.is_none())
    }
}

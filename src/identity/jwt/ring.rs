//! The keys that an identity has at the time.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{super::known::Voucher, token::Token};
use crate::policy::{KeySet, VerifyingKey};

/// Keys that are tried for one token. Issuers that give their keys no names
/// have one or two.
const MOST_TRIES: usize = 4;

/// A key in use.
#[derive(Debug)]
pub(super) struct LiveKey {
    /// The key itself.
    pub(super) key: Arc<VerifyingKey>,
    /// Withdrawn once the key has left the set: tokens that it has verified
    /// are forgotten then.
    pub(super) voucher: Arc<Voucher>,
}

/// The keys in use; none before the first set has come.
#[derive(Debug, Default)]
pub(super) struct KeyRing(ArcSwapOption<Vec<Arc<LiveKey>>>);

/// The keys that may have signed a token.
#[derive(Debug)]
pub(super) enum SigningKeys {
    /// They are at least one, and at most [`MOST_TRIES`].
    Keys(Vec<Arc<LiveKey>>),
    /// The set has no such key.
    Unknown,
    /// No set has come yet.
    NoSet,
}

/// The changes by a new set: the names of keys, by their kind of change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyChanges {
    /// Keys that were not there before.
    pub(super) added: Vec<Option<Box<str>>>,
    /// Keys that have left.
    pub(super) removed: Vec<Option<Box<str>>>,
}

impl KeyRing {
    /// Puts a set in the place of the one before. A key that stays is the same
    /// as before, and what it has verified stays known.
    pub(super) fn replace(&self, set: &KeySet) -> KeyChanges {
        let before = self.0.load_full().unwrap_or_default();
        let mut changes = KeyChanges::default();
        let mut keys = Vec::with_capacity(set.keys.len());
        for key in &set.keys {
            let stays = before.iter().find(|live| live.key == *key);
            keys.push(stays.map(Arc::clone).unwrap_or_else(|| {
                changes.added.push(key.id.clone());
                Arc::new(LiveKey {
                    key: Arc::clone(key),
                    voucher: Arc::default(),
                })
            }));
        }
        self.0.store(Some(Arc::new(keys)));
        for live in before.iter().filter(|live| !set.keys.contains(&live.key)) {
            live.voucher.withdraw();
            changes.removed.push(live.key.id.clone());
        }
        changes
    }

    /// The keys that may have signed this token: those of its algorithm that
    /// have its `kid`, or else those that have no name. For a token without a
    /// `kid`, all of its algorithm, up to a bound.
    pub(super) fn candidates(&self, token: &Token) -> SigningKeys {
        let keys = self.0.load();
        let Some(keys) = &*keys else {
            return SigningKeys::NoSet;
        };
        let fitting = || keys.iter().filter(|live| live.key.fits(token.algorithm));
        let named = |id: Option<&str>| {
            let is = move |live: &&Arc<LiveKey>| live.key.id.as_deref() == id;
            let found = fitting().filter(is).take(MOST_TRIES);
            found.map(Arc::clone).collect::<Vec<_>>()
        };
        let found = match token.key_id.as_deref() {
            Some(id) => Some(named(Some(id)))
                .filter(|found| !found.is_empty())
                .unwrap_or_else(|| named(None)),
            None => fitting().take(MOST_TRIES).map(Arc::clone).collect(),
        };
        match found.is_empty() {
            true => SigningKeys::Unknown,
            false => SigningKeys::Keys(found),
        }
    }
}

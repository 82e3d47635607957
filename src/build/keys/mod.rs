//! One key of one limit, for operators: its bucket looked at, filled, or given
//! another allowance.
//!
//! The admin listener calls this, never a request. `parse` makes the key of the
//! same typed parts as a request's own, so that it names the same bucket;
//! `parts` compares them with overrides.
//!
//! All of it works on the [`State`] that serves, so that it takes effect at
//! once. The allowance that an operator gives to a key lasts for the time that
//! was named, also across reloads; the configuration knows nothing of it.

mod parse;
mod parts;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use self::parts::is_match;
use super::state::State;
use crate::{
    layer::Counter,
    limit::{
        BannedKey, Bans, Count, Gcra, Heavy, Key, Now, Part, Standing, Temporary, TemporaryError,
        Top,
    },
    policy::{Allowance, Limit, Quota, Tier, ValuePattern},
    store::{Name, SharedAsk, SharedLimit, Store},
};

/// A limit, or one of its tiers, as operators look at it.
#[derive(Debug)]
pub struct OneLimit<'s> {
    /// The generation that serves.
    state: &'s State,
    /// The limit as the configuration has it.
    limit: &'s Limit,
    /// The tier of the limit that is meant, instead of the limit itself.
    tier: Option<&'s Tier>,
    /// Counts for it in this gateway.
    counter: Counter,
    /// Its busiest keys.
    top: &'s Arc<Top>,
    /// Where its buckets are, if other gateways count in them too.
    shared: Option<SharedKeys<'s>>,
}

/// A limit in the store.
#[derive(Debug, Clone, Copy)]
struct SharedKeys<'s> {
    store: &'s Arc<Store>,
    /// This gateway's knowledge of its buckets there.
    limit: &'s Arc<SharedLimit>,
}

/// A key that an operator has named, or that is among the heaviest, or banned.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// Its bucket.
    pub key: Key,
    /// Its parts as they are shown.
    pub parts: Vec<Part>,
    /// For each part, whether its value may be a credential.
    pub secrets: Vec<bool>,
    /// Only the hash is known: there are no parts, though the keys of the limit
    /// have some.
    pub is_hash_only: bool,
    /// The name of its bucket in the store, if the limit is shared.
    name: Option<Name>,
}

/// The outcome of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetOutcome {
    /// The bucket is full.
    Filled,
    /// The limit counts requests in flight, and the temporary allowance or the
    /// ban of the key is over.
    Ended,
    /// The bucket is in the store and could not be filled there: the store does
    /// not answer, or only the key's hash is known.
    NotInStore,
    /// The limit counts requests in flight, and the key has neither a ban nor a
    /// temporary allowance.
    InFlight,
}

/// The state of a key.
#[derive(Debug, Clone)]
pub struct KeyState {
    /// The key.
    pub key: KnownKey,
    /// The allowance that counts for it now; `None` if everything is admitted.
    pub allowance: Option<Allowance>,
    /// Its bucket or its requests in flight, under that allowance.
    pub standing: Standing,
    /// Recent requests.
    pub count: Count,
    /// Time for which a temporary allowance counts instead of the
    /// configuration's;
    /// `None` if there is none.
    pub ends_in: Option<Duration>,
    /// The rest of a ban; `None` if the key is not banned.
    pub banned_for: Option<Duration>,
}

impl State {
    /// The limit of this name, or the tier of one.
    pub fn limit(&self, name: &str) -> Option<OneLimit<'_>> {
        let (limit, tier) = self.policy_of(name)?;
        let shared = match (&self.store, self.shared.get(name)) {
            (Some(store), Some(limit)) => Some(SharedKeys { store, limit }),
            _ => None,
        };
        Some(OneLimit {
            state: self,
            limit,
            tier,
            counter: self.counter(name)?,
            top: self.tops.get(name)?,
            shared,
        })
    }

    /// The policy of the limit with this name, or of the one that has a tier
    /// with this name, and that tier.
    fn policy_of(&self, name: &str) -> Option<(&Limit, Option<&Tier>)> {
        for limit in &self.config.limits {
            if *limit.name == *name {
                return Some((limit, None));
            }
            for tier in &limit.tiers {
                if *tier.name == *name {
                    return Some((limit, Some(tier)));
                }
            }
        }
        None
    }
}

impl OneLimit<'_> {
    /// The state of one key.
    ///
    /// The bucket of a key without requests is full. Nothing is changed: no
    /// token is taken, and the key does not become busier. For a shared limit
    /// this waits for the store, whose timeout bounds the wait.
    pub async fn look(&self, now: Now, key: KnownKey) -> KeyState {
        let count = self.top.count(now, key.key);
        let mut states = [self.key_state(now, key, count)];
        self.look_in_store(&mut states).await;
        let [state] = states;
        state
    }

    /// The state of at most `most` keys with the most requests, the heaviest
    /// first.
    pub async fn heaviest(&self, now: Now, most: usize) -> Vec<KeyState> {
        let mut states = Vec::new();
        for Heavy { key, label, count } in self.top.heaviest(now, most) {
            states.push(self.key_state(now, self.labelled(key, &label), count));
        }
        self.look_in_store(&mut states).await;
        states
    }

    /// The state of at most `most` keys that are banned, those whose bans end
    /// last first. Each is found, however long it has been quiet.
    pub async fn banned(&self, now: Now, most: usize) -> Vec<KeyState> {
        let mut states = Vec::new();
        let banned = self.bans().map(|bans| bans.list(now, most));
        for BannedKey { key, label, .. } in banned.unwrap_or_default() {
            let count = self.top.count(now, key);
            states.push(self.key_state(now, self.labelled(key, &label), count));
        }
        self.look_in_store(&mut states).await;
        states
    }

    /// Asks the store for the buckets of a shared limit. While it does not
    /// answer, the count of this gateway alone is shown.
    async fn look_in_store(&self, states: &mut [KeyState]) {
        let Some(shared) = self.shared else {
            return;
        };
        let mut asks = Vec::new();
        let mut asked = Vec::new();
        for state in states {
            if let Some(Allowance::Rate(quota)) = state.allowance
                && let Some(ask) = self.ask(&state.key, quota)
            {
                asks.push(ask);
                asked.push(state);
            }
        }
        if asks.is_empty() {
            return;
        }
        let buckets = shared.store.standing(&asks).await;
        for (state, bucket) in asked.into_iter().zip(buckets) {
            state.standing = bucket.unwrap_or(state.standing);
        }
    }

    /// The question to the store about a key under this quota; `None` for a
    /// local limit and a key without a name there.
    ///
    /// A cost of 0 reads the bucket and takes nothing.
    fn ask(&self, key: &KnownKey, quota: Quota) -> Option<SharedAsk> {
        Some(SharedAsk {
            limit: Arc::clone(self.shared?.limit),
            name: key.name?,
            key: key.key,
            cost: 0,
            quota: Some(quota.into()),
            is_returned: false,
        })
    }

    /// Fills the bucket of a key, and ends its ban and its temporary allowance.
    /// The bucket in this gateway is filled in any case.
    ///
    /// Permits come back when their requests end, and never by a reset: of a
    /// limit of requests in flight, only the ban and the temporary allowance
    /// end.
    pub async fn reset(&self, now: Now, key: &KnownKey) -> ResetOutcome {
        let was_banned = self.bans().is_some_and(|bans| bans.lift(now, key.key));
        let limiter = match &self.counter {
            Counter::Tokens(limiter) => limiter,
            Counter::InFlight(in_flight) => {
                let had_another = in_flight.end_temporary(now, key.key);
                return match had_another || was_banned {
                    true => ResetOutcome::Ended,
                    false => ResetOutcome::InFlight,
                };
            }
        };
        limiter.end_temporary(now, key.key);
        limiter.forget(key.key);
        let ask = (self.limit.allowance.rate()).and_then(|quota| self.ask(key, quota));
        let is_done = match (self.shared, ask) {
            (Some(shared), Some(ask)) => shared.store.fill(&ask).await,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if is_done {
            ResetOutcome::Filled
        } else {
            ResetOutcome::NotInStore
        }
    }

    /// Gives a key another allowance for the time `ttl`.
    ///
    /// An allowance that the key has been given before is replaced. `ttl` begins
    /// at `now`.
    ///
    /// # Errors
    /// Fails if there is no room, or if the allowance is of another kind than
    /// the limit; nothing has changed then.
    pub fn give(
        &self,
        now: Now,
        key: Key,
        allowance: Allowance,
        ttl: Duration,
    ) -> Result<(), TemporaryError> {
        let until = now.after(ttl);
        match (&self.counter, allowance) {
            (Counter::Tokens(limiter), Allowance::Rate(quota)) => {
                limiter.set_temporary(now, key, quota, until).map(drop)
            }
            (Counter::InFlight(in_flight), Allowance::InFlight(most)) => {
                in_flight.set_temporary(now, key, most, until)
            }
            _ => Err(TemporaryError::OtherKind),
        }
    }

    /// Whether single keys can have temporary allowances. Those of a tier
    /// cannot.
    pub fn gives(&self) -> bool {
        self.tier.is_none()
    }

    /// The name of the limit, or of the tier that is meant.
    fn name(&self) -> &str {
        self.tier.map_or(&self.limit.name, |tier| &tier.name)
    }

    /// The state of a key as far as this gateway knows.
    fn key_state(&self, now: Now, key: KnownKey, count: Count) -> KeyState {
        let given = self.given(now, key.key);
        let allowance = match given {
            Some(given) => Some(given.given),
            None => self.configured(&key.parts),
        };
        let standing = self.standing(now, key.key, allowance);
        let ends_in = given.map(|given| {
            Duration::from_nanos(given.until.as_nanos().saturating_sub(now.as_nanos()))
        });
        let bans = self.bans();
        KeyState {
            banned_for: bans.and_then(|bans| bans.rest(now, key.key)),
            key,
            allowance,
            standing,
            count,
            ends_in,
        }
    }

    /// The bans of the limit. Those of a tier are none.
    fn bans(&self) -> Option<&Bans> {
        let bans = self.state.bans.get(&self.limit.name)?;
        self.tier.is_none().then_some(bans)
    }

    /// The temporary allowance of a key, if it has one.
    fn given(&self, now: Now, key: Key) -> Option<Temporary<Allowance>> {
        if !self.gives() {
            return None;
        }
        match &self.counter {
            Counter::Tokens(limiter) => {
                let Temporary { given, until } = limiter.temporary(now, key)?;
                let given = Allowance::Rate(given.quota);
                Some(Temporary { given, until })
            }
            Counter::InFlight(in_flight) => {
                let Temporary { given, until } = in_flight.temporary(now, key)?;
                let given = Allowance::InFlight(given);
                Some(Temporary { given, until })
            }
        }
    }

    /// How a key stands under `allowance`; without one, under that of the limit.
    fn standing(&self, now: Now, key: Key, allowance: Option<Allowance>) -> Standing {
        match &self.counter {
            Counter::Tokens(limiter) => {
                let gcra = allowance.and_then(|allowance| allowance.rate());
                limiter.standing(now, key, gcra.map(Gcra::from).as_ref())
            }
            Counter::InFlight(in_flight) => {
                let most = allowance.unwrap_or(self.limit.allowance).in_flight();
                in_flight.standing(key, most.unwrap_or(NonZeroU32::MAX))
            }
        }
    }

    /// The allowance that the configuration has for a key; `None` if everything
    /// is admitted.
    ///
    /// Tiers have one allowance for all keys. Stand-ins come before overrides,
    /// and of the overrides the first in the file that matches wins. A key of
    /// which only the hash is known is shown with the allowance of the limit,
    /// as its overrides cannot be found.
    fn configured(&self, parts: &[Part]) -> Option<Allowance> {
        if let Some(tier) = self.tier {
            return Some(tier.allowance);
        }
        if parts.len() < self.limit.key.len() {
            return Some(self.limit.allowance); // only its hash is known
        }
        if parts.iter().any(|part| part.is_stand_in) {
            return Some(self.limit.stand_ins.unwrap_or(self.limit.allowance));
        }
        for one in &self.limit.overrides {
            if one
                .matches
                .iter()
                .any(|patterns| self.are_matched(patterns, parts))
            {
                return one.allowance;
            }
        }
        Some(self.limit.allowance)
    }

    /// Whether each part of a key matches the pattern for it.
    fn are_matched(&self, patterns: &[ValuePattern], parts: &[Part]) -> bool {
        patterns
            .iter()
            .zip(&self.limit.key)
            .zip(parts)
            .all(|((pattern, key), part)| is_match(pattern, key, part))
    }
}

//! The state that outlives a reload, by name: buckets, concurrency limits,
//! retry budgets, upstreams.
//!
//! A reload builds the next [`State`] from the one before it. Everything with
//! the same name is carried over, so that a reload returns no token, closes no
//! connection and forgets no failure.

use std::sync::Arc;

use super::{
    concurrency::{ConcurrencyLimits, ConcurrencyView},
    named::Named,
};
use crate::{
    acme::HttpChallenges,
    config::Config,
    gateway::UnknownProxies,
    identity::{Authenticator, SignatureChecks},
    layer::{Budget, Copies, Counter, Memory, Overrides},
    limit::{AddressBans, Bans, KeyHasher, KeysInFlight, Limiter, TokenQueues, Top},
    policy::{BanAt, KeyPart},
    store::{SharedLimit, Store},
    telemetry::{AccessLog, Metrics},
    traces::Exporter,
    upstream::CurrentUpstream,
};

/// The state of a running gateway, as of one configuration.
#[derive(Debug)]
pub struct State {
    /// The configuration that it was built from.
    pub config: Arc<Config>,
    /// The buckets of rates, of their tiers and of their candidates.
    pub(super) limits: Named<Limiter>,
    /// The requests in flight of caps, of their tiers and of their candidates.
    pub(super) in_flight: Named<Arc<KeysInFlight>>,
    /// The busiest keys of the same.
    pub(super) tops: Named<Arc<Top>>,
    /// The bans of limits that have some, by the names of the limits.
    pub(super) bans: Named<Arc<Bans>>,
    /// Makes the keys of their buckets; the same over all reloads.
    pub(super) hasher: KeyHasher,
    /// The identities, with the credentials that they know.
    pub(super) identities: Named<Arc<Authenticator>>,
    /// The threads that check signatures of tokens; `None` without tokens.
    pub(super) checks: Option<Arc<SignatureChecks>>,
    /// The exceptions of limits for single keys.
    pub(super) overrides: Named<Arc<Overrides>>,
    /// The store that counts shared limits; `None` if no limit is shared.
    pub(super) store: Option<Arc<Store>>,
    /// This gateway's knowledge of each shared limit and of its tiers.
    pub(super) shared: Named<Arc<SharedLimit>>,
    /// The concurrency limits of routes and upstreams, with their queues.
    pub(super) concurrency: ConcurrencyLimits,
    /// The retry budgets of routes.
    pub(super) budgets: Named<Arc<Budget>>,
    /// The copies that routes with a mirror make.
    pub(super) copies: Named<Arc<Copies>>,
    /// Sends spans to the collector; `None` without `[traces]`.
    pub(super) exporter: Option<Arc<Exporter>>,
    /// The upstreams, with their connections and their health.
    pub(super) upstreams: Named<Arc<CurrentUpstream>>,
    /// Peers that the log has named as proxies that are not configured.
    pub(super) unknown_proxies: Arc<UnknownProxies>,
    /// The memory of buffered bodies.
    pub(super) buffers: Arc<Memory>,
}

/// The parts of the process that every generation uses.
#[derive(Debug, Clone)]
pub struct Process {
    /// The number of worker threads.
    pub workers: usize,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The writer of access lines, which a configuration may leave unused.
    pub access: AccessLog,
    /// Makes the keys of buckets. With another one, no key would find its
    /// bucket.
    pub hasher: KeyHasher,
    /// The memory for bodies that are buffered.
    pub buffers: Arc<Memory>,
    /// Challenges of ACME authorities that are responded to.
    pub challenges: Arc<HttpChallenges>,
}

impl State {
    /// Limits of requests in flight by name, with their tiers and candidates.
    pub fn in_flight(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<KeysInFlight>)> {
        self.in_flight.iter()
    }

    /// The bans of limits that have some.
    pub fn bans(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Bans>)> {
        self.bans.iter()
    }

    /// The requests that wait for tokens, of limits with a `delay` and of their
    /// tiers.
    pub fn token_queues(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<TokenQueues>)> {
        let delaying = self
            .config
            .limits
            .iter()
            .filter(|limit| limit.delay.is_some());
        let names = delaying.flat_map(|limit| limit.deciding());
        names.filter_map(|name| Some((name, self.limits.get(name)?.queues())))
    }

    /// The bans by which listeners close connections.
    pub fn address_bans(&self) -> Arc<[AddressBans]> {
        let mut closing = Vec::new();
        for limit in &self.config.limits {
            if let ([KeyPart::ClientIp(prefixes)], Some(bans)) =
                (&*limit.key, self.bans.get(&limit.name))
                && limit.ban.is_some_and(|ban| ban.at == BanAt::Connection)
                && !limit.shadow
            {
                let begun = self.hasher.key(&limit.name);
                let overrides = limit.overrides.clone().into();
                closing.push(AddressBans::new(
                    Arc::clone(bans),
                    begun,
                    *prefixes,
                    overrides,
                ));
            }
        }
        closing.into()
    }

    /// The counter of the limit, tier or candidate of this name.
    pub(super) fn counter(&self, name: &str) -> Option<Counter> {
        if let Some(limiter) = self.limits.get(name) {
            return Some(Counter::Tokens(limiter.clone()));
        }
        let in_flight = self.in_flight.get(name)?;
        Some(Counter::InFlight(Arc::clone(in_flight)))
    }

    /// Limits of a rate by name, with their tiers (`LIMIT/56`) and candidates
    /// (`LIMIT/candidate`).
    pub fn limits(&self) -> impl Iterator<Item = (&Arc<str>, &Limiter)> {
        self.limits.iter()
    }

    /// Buckets in the store that this gateway knows, of the shared limit or
    /// tier of this name; none of a local one.
    pub fn known_in_store(&self, name: &str) -> usize {
        self.shared.get(name).map_or(0, |limit| limit.keys())
    }

    /// The store of shared limits.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Concurrency limits by the name of their route.
    pub fn route_concurrency(&self) -> impl Iterator<Item = (&Arc<str>, ConcurrencyView)> {
        self.concurrency
            .routes
            .iter()
            .map(|(name, limit)| (name, ConcurrencyView::of(limit)))
    }

    /// Concurrency limits by the name of their upstream.
    pub fn upstream_concurrency(&self) -> impl Iterator<Item = (&Arc<str>, ConcurrencyView)> {
        self.concurrency
            .upstreams
            .iter()
            .map(|(name, limit)| (name, ConcurrencyView::of(limit)))
    }

    /// Begins to check the servers of this configuration, and ends the checks
    /// of `before` that are not its own.
    pub fn take_over_checks(&self, before: Option<&Self>) {
        if let Some(before) = before {
            for (name, upstream) in &before.upstreams {
                match self.upstreams.get(name) {
                    Some(kept) if Arc::ptr_eq(kept, upstream) => {}
                    _ => upstream.stop_checks(),
                }
            }
        }
        for upstream in self.upstreams.values() {
            upstream.start_checks();
        }
    }

    /// Begins to fetch the keys of tokens that are at a URL. They are fetched
    /// for as long as some state uses them.
    pub fn start_fetching(&self) {
        for identity in self.identities.values() {
            if let Some(source) = identity.source() {
                source.start();
            }
        }
    }

    /// The threads that check signatures of tokens; `None` without tokens.
    pub fn signature_checks(&self) -> Option<&Arc<SignatureChecks>> {
        self.checks.as_ref()
    }

    /// Sends spans to the collector; `None` without `[traces]`.
    pub fn exporter(&self) -> Option<&Arc<Exporter>> {
        self.exporter.as_ref()
    }

    /// Bytes of bodies that are buffered now.
    pub fn buffered(&self) -> usize {
        self.buffers.taken()
    }

    /// Identities by name.
    pub fn identities(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Authenticator>)> {
        self.identities.iter()
    }

    /// Upstreams by name.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<CurrentUpstream>)> {
        self.upstreams.iter()
    }
}

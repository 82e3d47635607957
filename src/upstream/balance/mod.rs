//! Balancing: which server gets the next request.
//!
//! * `round_robin`: in turns, heavy servers more often, in NGINX's smooth order
//!   (`turns`).
//! * `least_requests`: the power of two choices (Mitzenmacher, "The Power of
//!   Two Choices in Randomized Load Balancing", 2001). Of two random servers
//!   the one with fewer requests in flight is chosen. Comparing two suffices to
//!   keep the longest queue short, and unlike the best of all it does not send
//!   everything to the same server for a moment.
//! * `peak_ewma`: the same with an estimate of the response time, latency times
//!   requests in flight (`latency`; Finagle's and linkerd's peak EWMA).
//! * `hash`: the same server for the same key (`hash`; rendezvous hashing with
//!   bounded loads).
//!
//! The choice is made by each worker alone, on atomics that all workers share:
//! there is no lock and no queue. Two workers that choose at the same moment
//! may choose the same server, which the next choices even out.
//!
//! Only healthy servers are chosen, and a server in slow start only for a part
//! of the requests. A retry goes to a server that was not tried for this
//! request yet. If no server is healthy, those that are merely suspect are
//! chosen: see [`health`](super::health).
//!
//! Servers stand in tiers. The choice is made within the first tier that has a
//! healthy server which was not tried yet, so that a backup gets requests while
//! no other server is healthy, and retries of requests that all others were
//! tried for. A server without weight stands in no tier.

mod hash;
mod latency;
#[cfg(test)]
mod tests;
mod tier;
mod turns;

use std::sync::Arc;

use rand::RngExt;
use smallvec::SmallVec;
use tokio::time::Instant;

use self::{hash::RankedServer, tier::Tier};
pub(super) use self::{hash::identity, latency::Latency};
use super::{
    health::{Assessment, Fitness},
    server::Server,
};
use crate::{
    call::Tried,
    policy::{self, Balance},
};

/// Chooses among the servers of an upstream. Shared by all workers. While all
/// servers are healthy, a choice takes no lock.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Arc<policy::Upstream>,
    /// The servers, in the order of the configuration.
    pub(super) servers: Vec<Arc<Server>>,
    /// The servers with a weight, by tier, in the order in which tiers are
    /// used. Usually one.
    tiers: Vec<Tier>,
}

/// Conditions of one choice.
#[derive(Debug, Clone, Copy)]
struct ChoiceConditions {
    /// Servers that should not be chosen again.
    tried: Tried,
    /// The time of the choice.
    now: Instant,
}

impl Balancer {
    /// Balances over `servers` as `policy` says.
    pub(super) fn new(policy: Arc<policy::Upstream>, servers: Vec<Arc<Server>>) -> Self {
        Self {
            policy,
            tiers: tier::tiers(&servers),
            servers,
        }
    }

    /// Chooses a server, by its index. `tried` are the servers that earlier
    /// attempts at the request went to; `key` is the hash of the request's key.
    /// `None` if the checks of all servers fail, or there is none.
    ///
    /// A single server is chosen unless its checks fail, also while it is
    /// suspect. The cost is a few atomic loads, and for `hash` one number for
    /// each server.
    pub(super) fn choose(&self, tried: Tried, key: Option<u64>, now: Instant) -> Option<usize> {
        if let [only] = self.servers.as_slice() {
            return (only.weight > 0 && !only.health.is_down()).then_some(0);
        }
        let conditions = ChoiceConditions { tried, now };
        if let [tier, backups @ ..] = self.tiers.as_slice() {
            let chosen = self.choose_of(tier, key, conditions);
            if let Some(chosen) = chosen.or_else(|| self.of_backups(backups, key, conditions)) {
                return Some(chosen);
            }
        }
        self.best_left(key, conditions)
    }

    /// Chooses among the servers of a tier that are healthy and were not tried.
    ///
    /// May find none although there is one, which is in slow start.
    fn choose_of(
        &self,
        tier: &Tier,
        key: Option<u64>,
        conditions: ChoiceConditions,
    ) -> Option<usize> {
        match (&self.policy.balance, key) {
            (Balance::Hash(_), Some(key)) => self.of_key(tier, key, conditions),
            (Balance::RoundRobin, _) => self.next(tier, conditions),
            (Balance::PeakEwma, _) => self.better(tier, conditions, |one, other| {
                is_quicker(one, other, conditions.now)
            }),
            (Balance::LeastRequests | Balance::Hash(_), _) => {
                self.better(tier, conditions, is_less_busy)
            }
        }
    }

    /// Chooses a backup, after the first tier had none to choose. `None` if
    /// that was for its slow start alone.
    #[cold]
    fn of_backups(
        &self,
        backups: &[Tier],
        key: Option<u64>,
        conditions: ChoiceConditions,
    ) -> Option<usize> {
        if backups.is_empty() {
            return None;
        }
        let left = self.best_left(None, conditions)?;
        let is_healthy = self.assess(left, conditions.now).fitness == Fitness::Healthy;
        if !is_healthy || conditions.tried.contains(left) {
            return None;
        }
        let tier = backups.iter().find(|tier| tier.has(left))?;
        self.choose_of(tier, key, conditions)
    }

    /// Whether a healthy server is left that is not one of `tried`.
    ///
    /// Asked after a failed attempt, so that the failure says whether a retry
    /// can go elsewhere.
    pub(super) fn has_other(&self, tried: Tried, now: Instant) -> bool {
        let is_other = |index: usize| {
            !tried.contains(index) && self.assess(index, now).fitness == Fitness::Healthy
        };
        let mut members = self.tiers.iter().flat_map(|tier| &tier.members);
        members.any(|index| is_other(*index))
    }

    /// For each server, whether its health lets it be chosen now.
    ///
    /// All servers of the best fitness that there is, but none whose checks
    /// fail. A backup counts like the others.
    pub(super) fn in_use(&self, now: Instant) -> Vec<bool> {
        let all: Vec<_> = (0..self.servers.len())
            .map(|index| self.assess(index, now).fitness)
            .collect();
        let best = all.iter().min().copied().unwrap_or(Fitness::Down);
        all.iter()
            .map(|fitness| *fitness == best && best != Fitness::Down)
            .collect()
    }

    /// The health of a server, by its index.
    fn assess(&self, index: usize, now: Instant) -> Assessment {
        self.servers[index]
            .health
            .assess(now, self.policy.slow_start)
    }

    /// The next eligible server of a tier in turn.
    ///
    /// Gives up after as many turns as a cycle has. Other workers take turns of
    /// the same cycle meanwhile, so that it may not have seen every server.
    fn next(&self, tier: &Tier, conditions: ChoiceConditions) -> Option<usize> {
        (0..tier.turns.len())
            .map(|_| tier.next())
            .find(|index| self.is_eligible(*index, conditions))
    }

    /// Draws two servers and returns the first, unless the second `is_better`.
    /// Servers that are alike therefore get requests by their weights, as they
    /// are drawn by weight.
    fn better(
        &self,
        tier: &Tier,
        conditions: ChoiceConditions,
        is_better: impl Fn(&Server, &Server) -> bool,
    ) -> Option<usize> {
        let first = self.random(tier, conditions)?;
        // Two different servers if there are two: a busy server must not be
        // compared with itself.
        let other = ChoiceConditions {
            tried: conditions.tried.and(first),
            ..conditions
        };
        let Some(second) = self.random(tier, other) else {
            return Some(first);
        };
        Some(if is_better(&self.servers[second], &self.servers[first]) {
            second
        } else {
            first
        })
    }

    /// Draws a server of a tier by weight among those that may be chosen.
    ///
    /// After as many draws as there are servers, all are looked at in order
    /// from a random one on, so that the choice ends.
    fn random(&self, tier: &Tier, conditions: ChoiceConditions) -> Option<usize> {
        let (mut rng, members) = (rand::rng(), &tier.members);
        for _ in 0..members.len() {
            let drawn = usize::from(tier.turns[rng.random_range(0..tier.turns.len())]);
            if self.is_eligible(drawn, conditions) {
                return Some(drawn);
            }
        }
        let (before, from) = members.split_at(rng.random_range(0..members.len()));
        let mut all = from.iter().chain(before).copied();
        all.find(|index| self.is_eligible(*index, conditions))
    }

    /// Whether a server may be chosen: it is healthy and was not tried. In slow
    /// start it may be only for a part of the requests.
    fn is_eligible(&self, index: usize, conditions: ChoiceConditions) -> bool {
        if conditions.tried.contains(index) {
            return false;
        }
        let Assessment { fitness, share } = self.assess(index, conditions.now);
        fitness == Fitness::Healthy && (share >= 1.0 || rand::rng().random::<f32>() < share)
    }

    /// The best server if none is eligible, tried or not.
    ///
    /// Equal ones are chosen by their key, or at random without one. `None` if
    /// the checks of all servers fail.
    fn best_left(&self, key: Option<u64>, conditions: ChoiceConditions) -> Option<usize> {
        let rank = |index: usize| {
            (
                self.assess(index, conditions.now).fitness,
                conditions.tried.contains(index),
                self.servers[index].tier,
            )
        };
        let members = || self.tiers.iter().flat_map(|tier| &tier.members).copied();
        let best = members().map(rank).min()?;
        if best.0 == Fitness::Down {
            return None;
        }
        let equal: SmallVec<[usize; 16]> = members().filter(|index| rank(*index) == best).collect();
        match key {
            Some(key) => self.hashed(key, &equal, conditions),
            None => equal.get(rand::rng().random_range(0..equal.len())).copied(),
        }
    }

    /// The healthy server of a tier that gets a key; `None` if all of them were
    /// tried.
    fn of_key(&self, tier: &Tier, key: u64, conditions: ChoiceConditions) -> Option<usize> {
        let is_healthy =
            |index: &usize| self.assess(*index, conditions.now).fitness == Fitness::Healthy;
        let healthy: SmallVec<[usize; 16]> =
            tier.members.iter().copied().filter(is_healthy).collect();
        let chosen = self.hashed(key, &healthy, conditions)?;
        // One that was tried is chosen last of all.
        (!conditions.tried.contains(chosen)).then_some(chosen)
    }

    /// The server that gets a key, of those with these `indices`.
    fn hashed(&self, key: u64, indices: &[usize], conditions: ChoiceConditions) -> Option<usize> {
        let candidates: SmallVec<[RankedServer; 16]> = indices
            .iter()
            .map(|index| self.candidate(*index, conditions))
            .collect();
        let bound = self
            .policy
            .hash_bound
            .map(|percent| f64::from(percent) / 100.0);
        indices.get(hash::choose(key, bound, &candidates)).copied()
    }

    /// A server as the hash sees it: in slow start with a part of its weight.
    fn candidate(&self, index: usize, conditions: ChoiceConditions) -> RankedServer {
        let server = &self.servers[index];
        let Assessment { share, .. } = self.assess(index, conditions.now);
        RankedServer {
            identity: server.identity,
            weight: f64::from(server.weight) * f64::from(share),
            in_flight: server.in_flight(),
            is_tried: conditions.tried.contains(index),
        }
    }
}

/// Whether `one` has less to do for its weight than `other`, by a margin that
/// is more than chance.
///
/// The margin is one request if the weights are equal, and one request of each
/// server otherwise. With less, a light server that is idle for a moment would
/// count as less busy than any heavy one, and shares would not follow the
/// weights.
fn is_less_busy(one: &Server, other: &Server) -> bool {
    let (one_has, other_has) = (one.in_flight() as u64, other.in_flight() as u64);
    let (one_weighs, other_weighs) = (u64::from(one.weight), u64::from(other.weight));
    let chance = if one_weighs == other_weighs {
        one_weighs
    } else {
        one_weighs + other_weighs
    };
    other_has * one_weighs >= one_has * other_weighs + chance
}

/// Whether `one` is expected to respond sooner than `other`. Between servers
/// with similar latencies their load decides.
fn is_quicker(one: &Server, other: &Server, now: Instant) -> bool {
    if one.latency.is_similar(&other.latency, now) {
        return is_less_busy(one, other);
    }
    let lighter = f64::from(one.weight.min(other.weight));
    let cost = |server: &Server| {
        server.latency.cost(
            server.in_flight() as f64 * lighter / f64::from(server.weight),
            now,
        )
    };
    cost(one) < cost(other)
}

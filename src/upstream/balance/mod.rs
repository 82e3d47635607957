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

mod hash;
mod latency;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rand::RngExt;
use smallvec::SmallVec;
use tokio::time::Instant;

use self::{hash::RankedServer, turns::spread};
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
    /// A cycle of server indices in which each server stands as often as its
    /// weight says.
    turns: Vec<u16>,
    /// The number of turns so far.
    turn: AtomicU64,
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
    /// Balances over `servers` as `policy` says. There must be at least one.
    pub(super) fn new(policy: Arc<policy::Upstream>, servers: Vec<Arc<Server>>) -> Self {
        let weights: Vec<_> = servers.iter().map(|server| server.weight).collect();
        Self {
            policy,
            servers,
            turns: spread(&weights),
            turn: AtomicU64::new(0),
        }
    }

    /// Chooses a server, by its index. `tried` are the servers that earlier
    /// attempts at the request went to; `key` is the hash of the request's key.
    /// `None` if the checks of all servers fail.
    ///
    /// A single server is chosen unless its checks fail, also while it is
    /// suspect. The cost is a few atomic loads, and for `hash` one number for
    /// each server.
    pub(super) fn choose(&self, tried: Tried, key: Option<u64>, now: Instant) -> Option<usize> {
        if let [only] = self.servers.as_slice() {
            return (!only.health.is_down()).then_some(0);
        }
        let conditions = ChoiceConditions { tried, now };
        let chosen = match (&self.policy.balance, key) {
            (Balance::Hash(_), Some(key)) => return self.of_key(key, conditions),
            (Balance::RoundRobin, _) => self.next(conditions),
            (Balance::PeakEwma, _) => {
                self.better(conditions, |one, other| is_quicker(one, other, now))
            }
            (Balance::LeastRequests | Balance::Hash(_), _) => self.better(conditions, is_less_busy),
        };
        chosen.or_else(|| self.best_left(conditions))
    }

    /// Whether a healthy server is left that is not one of `tried`.
    ///
    /// Asked after a failed attempt, so that the failure says whether a retry
    /// can go elsewhere.
    pub(super) fn has_other(&self, tried: Tried, now: Instant) -> bool {
        let is_other =
            |index| !tried.contains(index) && self.assess(index, now).fitness == Fitness::Healthy;
        (0..self.servers.len()).any(is_other)
    }

    /// For each server, whether it would be chosen now.
    ///
    /// All servers of the best fitness that there is, but none whose checks
    /// fail.
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

    /// The next eligible server in turn.
    ///
    /// Gives up after as many turns as a cycle has. Other workers take turns of
    /// the same cycle meanwhile, so that it may not have seen every server.
    fn next(&self, conditions: ChoiceConditions) -> Option<usize> {
        let turns = self.turns.len() as u64;
        (0..turns)
            .map(|_| {
                usize::from(
                    self.turns[(self.turn.fetch_add(1, Ordering::Relaxed) % turns) as usize],
                )
            })
            .find(|index| self.is_eligible(*index, conditions))
    }

    /// Draws two servers and returns the first, unless the second `is_better`.
    /// Servers that are alike therefore get requests by their weights, as they
    /// are drawn by weight.
    fn better(
        &self,
        conditions: ChoiceConditions,
        is_better: impl Fn(&Server, &Server) -> bool,
    ) -> Option<usize> {
        let first = self.random(conditions)?;
        // Two different servers if there are two: a busy server must not be
        // compared with itself.
        let other = ChoiceConditions {
            tried: conditions.tried.and(first),
            ..conditions
        };
        let Some(second) = self.random(other) else {
            return Some(first);
        };
        Some(if is_better(&self.servers[second], &self.servers[first]) {
            second
        } else {
            first
        })
    }

    /// Draws a server by weight among those that may be chosen.
    ///
    /// After as many draws as there are servers, all are looked at in order
    /// from a random one on, so that the choice ends.
    fn random(&self, conditions: ChoiceConditions) -> Option<usize> {
        let (mut rng, count) = (rand::rng(), self.servers.len());
        for _ in 0..count {
            let drawn = usize::from(self.turns[rng.random_range(0..self.turns.len())]);
            if self.is_eligible(drawn, conditions) {
                return Some(drawn);
            }
        }
        let first = rng.random_range(0..count);
        (0..count)
            .map(|offset| (first + offset) % count)
            .find(|index| self.is_eligible(*index, conditions))
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
    /// Equal ones are chosen at random. `None` if the checks of all servers
    /// fail.
    fn best_left(&self, conditions: ChoiceConditions) -> Option<usize> {
        let count = self.servers.len();
        let first = rand::rng().random_range(0..count);
        let rank = |index: &usize| {
            (
                self.assess(*index, conditions.now).fitness,
                conditions.tried.contains(*index),
            )
        };
        let best = (0..count)
            .map(|offset| (first + offset) % count)
            .min_by_key(rank)?;
        (rank(&best).0 != Fitness::Down).then_some(best)
    }

    /// The server that gets a key, among the best that there are.
    fn of_key(&self, key: u64, conditions: ChoiceConditions) -> Option<usize> {
        let assessments: SmallVec<[Assessment; 16]> = (0..self.servers.len())
            .map(|index| self.assess(index, conditions.now))
            .collect();
        let best = assessments
            .iter()
            .map(|assessment| assessment.fitness)
            .min()
            .filter(|best| *best != Fitness::Down)?;
        let (indices, candidates): (SmallVec<[usize; 16]>, SmallVec<[RankedServer; 16]>) =
            assessments
                .iter()
                .enumerate()
                .filter(|(_, assessment)| assessment.fitness == best)
                .map(|(index, assessment)| (index, self.candidate(index, *assessment, conditions)))
                .unzip();
        let bound = self
            .policy
            .hash_bound
            .map(|percent| f64::from(percent) / 100.0);
        indices.get(hash::choose(key, bound, &candidates)).copied()
    }

    /// A server as the hash sees it: in slow start with a part of its weight.
    fn candidate(
        &self,
        index: usize,
        assessment: Assessment,
        conditions: ChoiceConditions,
    ) -> RankedServer {
        let server = &self.servers[index];
        RankedServer {
            identity: server.identity,
            weight: f64::from(server.weight) * f64::from(assessment.share),
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

//! Which server gets the next request: of those that are well, by the rule of the upstream.
//!
//! A retry goes to a server that was not tried yet. When no server is well, those that are only suspected get it: the
//! ejected, and those that asked to be left alone. One whose checks fail gets nothing.

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

use self::{hash::Candidate, turns::spread};
pub(super) use self::{hash::identity, latency::Latency};
use super::{
    health::{Look, Standing},
    server::Server,
};
use crate::policy::{self, Balance};

/// Servers to choose from, and the turn.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Arc<policy::Upstream>,
    pub(super) servers: Vec<Arc<Server>>,
    /// One entry for each unit of weight, heavy servers spread out, when the turns are not equal.
    turns: Vec<u16>,
    turn: AtomicU64,
}

/// What a choice goes by besides the servers themselves.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Servers that should not be chosen again, a bit each.
    tried: u64,
    now: Instant,
}

impl Balancer {
    pub(super) fn new(policy: Arc<policy::Upstream>, servers: Vec<Arc<Server>>) -> Self {
        let weights: Vec<_> = servers.iter().map(|server| server.weight).collect();
        Self {
            policy,
            servers,
            turns: spread(&weights),
            turn: AtomicU64::new(0),
        }
    }

    /// A server, if possible one whose bit in `tried` is not set; none when the checks of all fail.
    pub(super) fn choose(
        &self,
        tried: impl FnOnce() -> u64,
        key: Option<u64>,
        now: Instant,
    ) -> Option<usize> {
        if let [only] = self.servers.as_slice() {
            return (!only.health.is_down()).then_some(0);
        }
        let asked = Asked {
            tried: tried(),
            now,
        };
        let chosen = match (&self.policy.balance, key) {
            (Balance::Hash(_), Some(key)) => return self.of_key(key, asked),
            (Balance::RoundRobin, _) => self.next(asked),
            (Balance::PeakEwma, _) => self.better(asked, |one, other| is_quicker(one, other, now)),
            (Balance::LeastRequests | Balance::Hash(_), _) => self.better(asked, is_less_busy),
        };
        chosen.or_else(|| self.best_left(asked))
    }

    /// Whether there is a server that is well and whose bit in `tried` is not set.
    pub(super) fn has_other(&self, tried: u64, now: Instant) -> bool {
        let is_other =
            |index| !is_tried(tried, index) && self.look(index, now).standing == Standing::Fit;
        (0..self.servers.len()).any(is_other)
    }

    /// Servers that would be sent a request now, by place.
    pub(super) fn in_use(&self, now: Instant) -> Vec<bool> {
        let standings: Vec<_> = (0..self.servers.len())
            .map(|index| self.look(index, now).standing)
            .collect();
        let best = standings.iter().min().copied().unwrap_or(Standing::Down);
        standings
            .iter()
            .map(|standing| *standing == best && best != Standing::Down)
            .collect()
    }

    fn look(&self, index: usize, now: Instant) -> Look {
        self.servers[index].health.look(now, self.policy.slow_start)
    }

    fn next(&self, asked: Asked) -> Option<usize> {
        let turns = self.turns.len() as u64;
        (0..turns)
            .map(|_| {
                usize::from(
                    self.turns[(self.turn.fetch_add(1, Ordering::Relaxed) % turns) as usize],
                )
            })
            .find(|index| self.takes(*index, asked))
    }

    /// Of two random ones the first drawn, unless the other `is_better`: so servers that are alike get requests by their
    /// weights, as they are drawn.
    fn better(&self, asked: Asked, is_better: impl Fn(&Server, &Server) -> bool) -> Option<usize> {
        let first = self.random(asked)?;
        // Two different ones, if there are two: otherwise a busy server would be compared with itself.
        let other = Asked {
            tried: asked.tried | bit(first),
            ..asked
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

    /// A server drawn by weight among those that take requests.
    fn random(&self, asked: Asked) -> Option<usize> {
        let (mut rng, count) = (rand::rng(), self.servers.len());
        for _ in 0..count {
            let drawn = usize::from(self.turns[rng.random_range(0..self.turns.len())]);
            if self.takes(drawn, asked) {
                return Some(drawn);
            }
        }
        let first = rng.random_range(0..count);
        (0..count)
            .map(|place| (first + place) % count)
            .find(|index| self.takes(*index, asked))
    }

    /// Whether a server is well and not tried yet; one that came back is so only for a part of the requests.
    fn takes(&self, index: usize, asked: Asked) -> bool {
        if is_tried(asked.tried, index) {
            return false;
        }
        let Look { standing, share } = self.look(index, asked.now);
        standing == Standing::Fit && (share >= 1.0 || rand::rng().random::<f32>() < share)
    }

    /// What is left when none takes requests: the best there is, tried or not.
    fn best_left(&self, asked: Asked) -> Option<usize> {
        let count = self.servers.len();
        let first = rand::rng().random_range(0..count);
        let rank = |index: &usize| {
            (
                self.look(*index, asked.now).standing,
                is_tried(asked.tried, *index),
            )
        };
        let best = (0..count)
            .map(|place| (first + place) % count)
            .min_by_key(rank)?;
        (rank(&best).0 != Standing::Down).then_some(best)
    }

    fn of_key(&self, key: u64, asked: Asked) -> Option<usize> {
        let looks: SmallVec<[Look; 16]> = (0..self.servers.len())
            .map(|index| self.look(index, asked.now))
            .collect();
        let best = looks
            .iter()
            .map(|look| look.standing)
            .min()
            .filter(|best| *best != Standing::Down)?;
        let (places, candidates): (SmallVec<[usize; 16]>, SmallVec<[Candidate; 16]>) = looks
            .iter()
            .enumerate()
            .filter(|(_, look)| look.standing == best)
            .map(|(index, look)| (index, self.candidate(index, *look, asked)))
            .unzip();
        let bound = self
            .policy
            .hash_bound
            .map(|percent| f64::from(percent) / 100.0);
        places.get(hash::choose(key, bound, &candidates)).copied()
    }

    fn candidate(&self, index: usize, look: Look, asked: Asked) -> Candidate {
        let server = &self.servers[index];
        Candidate {
            identity: server.identity,
            weight: f64::from(server.weight) * f64::from(look.share),
            in_flight: server.in_flight(),
            is_tried: is_tried(asked.tried, index),
        }
    }
}

/// Whether `one` has less to do for its weight than `other`: by one request where they weigh the same, by one of each
/// otherwise. Less is chance, which would take a light server that idles for a moment for less busy than any heavy one, and
/// shares would not follow the weights.
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

/// Whether `one` will probably answer sooner than `other`. Between servers whose latencies are alike it is their load that
/// decides, by their weights.
fn is_quicker(one: &Server, other: &Server, now: Instant) -> bool {
    if one.latency.is_like(&other.latency, now) {
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

/// Bits beyond the 64th server do not fit: such servers may be tried twice.
fn is_tried(tried: u64, index: usize) -> bool {
    tried & bit(index) != 0
}

fn bit(index: usize) -> u64 {
    if index < 64 { 1 << index } else { 0 }
}

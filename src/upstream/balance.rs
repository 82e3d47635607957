//! Which server gets the next request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rand::RngExt;

use super::server::Server;

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turns, by weight.
    RoundRobin,
    /// The less busy of two random ones, by weight (Mitzenmacher, "The Power of Two Choices", 2001).
    LeastRequests,
}

/// Servers to choose from, and the turn.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    pub(super) servers: Vec<Arc<Server>>,
    /// One entry for each unit of weight, heavy servers spread out, when the turns are not equal.
    turns: Vec<u16>,
    turn: AtomicU64,
}

impl Balancer {
    pub(super) fn new(balance: Balance, servers: Vec<Arc<Server>>) -> Self {
        let turns = spread(&servers.iter().map(|server| server.weight).collect::<Vec<_>>());
        Self { balance, servers, turns, turn: AtomicU64::new(0) }
    }

    /// A server, if possible one whose bit in `tried` is not set.
    pub(super) fn choose(&self, tried: impl FnOnce() -> u64) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let tried = tried();
        match self.balance {
            Balance::RoundRobin => self.next(tried),
            Balance::LeastRequests => self.less_busy(tried),
        }
    }

    fn next(&self, tried: u64) -> usize {
        let mut chosen = 0;
        for _ in 0..self.turns.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.turns.len() as u64;
            chosen = usize::from(self.turns[turn as usize]);
            if !is_tried(tried, chosen) {
                break;
            }
        }
        chosen
    }

    fn less_busy(&self, tried: u64) -> usize {
        let first = self.random(tried);
        // Two different ones, if there are two: otherwise a busy server would be compared with itself.
        let second = self.random(tried | bit(first));
        if is_tried(tried, second) {
            return first;
        }
        let load = |index: usize| {
            let server = &self.servers[index];
            (server.in_flight() as f64 + 1.0) / f64::from(server.weight)
        };
        if load(second) < load(first) { second } else { first }
    }

    /// A server drawn by weight, after a few draws perhaps one that was tried.
    fn random(&self, tried: u64) -> usize {
        let mut rng = rand::rng();
        let mut draw = || usize::from(self.turns[rng.random_range(0..self.turns.len())]);
        let mut drawn = draw();
        for _ in 0..self.servers.len() {
            if !is_tried(tried, drawn) {
                return drawn;
            }
            drawn = draw();
        }
        (0..self.servers.len()).find(|index| !is_tried(tried, *index)).unwrap_or(drawn)
    }
}

/// Bits beyond the 64th server do not fit: such servers may be tried twice.
fn is_tried(tried: u64, index: usize) -> bool {
    tried & bit(index) != 0
}

fn bit(index: usize) -> u64 {
    if index < 64 { 1 << index } else { 0 }
}

/// Most turns in a cycle; weights that need more are scaled down to it.
const MOST_TURNS: u64 = 4096;

/// Turns by weight in NGINX's smooth order: 5, 1, 1 gives a a b a c a a, not a a a a a b c.
fn spread(weights: &[u32]) -> Vec<u16> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let scale =
        |weight: u32| if sum <= MOST_TURNS { u64::from(weight) } else { (u64::from(weight) * MOST_TURNS / sum).max(1) };
    let weights: Vec<i64> = weights.iter().map(|weight| scale(*weight) as i64).collect();
    let total: i64 = weights.iter().sum();
    let mut current = vec![0; weights.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        let mut best = 0;
        for index in 0..weights.len() {
            current[index] += weights[index];
            if current[index] > current[best] {
                best = index;
            }
        }
        current[best] -= total;
        turns.push(best as u16);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        assert_eq!(spread(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(spread(&[1, 1]), [0, 1]);
    }

    #[test]
    fn huge_weights_keep_their_proportion_in_a_bounded_cycle() {
        let turns = spread(&[3_000_000_000, 1_000_000_000]);
        let first = turns.iter().filter(|turn| **turn == 0).count();
        assert_eq!((first, turns.len()), (3072, 4096));
    }
}

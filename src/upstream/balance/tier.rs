//! The tiers of an upstream: servers that share the requests, and the backups
//! that stand in for them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{super::server::Server, turns::spread};

/// Servers that share the requests while no tier before theirs has a healthy
/// one.
#[derive(Debug)]
pub(super) struct Tier {
    /// The servers, by their index in the balancer; at least one.
    pub(super) members: Vec<usize>,
    /// A cycle of such indices in which each server stands as often as its
    /// weight says.
    pub(super) turns: Vec<u16>,
    /// The number of turns so far.
    turn: AtomicU64,
}

impl Tier {
    /// The server whose turn it is.
    pub(super) fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.turns.len() as u64;
        usize::from(self.turns[turn as usize])
    }

    /// Whether the server with this index stands in this tier.
    pub(super) fn has(&self, index: usize) -> bool {
        self.members.contains(&index)
    }
}

/// The servers with a weight, by tier, the tier that is used first in front.
pub(super) fn tiers(servers: &[Arc<Server>]) -> Vec<Tier> {
    let mut numbers: Vec<u16> = servers.iter().map(|server| server.tier).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let tier = |number: &u16| {
        let is_member = |index: &usize| {
            let server = &servers[*index];
            server.tier == *number && server.weight > 0
        };
        let members: Vec<usize> = (0..servers.len()).filter(is_member).collect();
        let weights: Vec<_> = members.iter().map(|index| servers[*index].weight).collect();
        let turns = spread(&weights).into_iter();
        let turns = turns
            .map(|turn| members[usize::from(turn)] as u16)
            .collect();
        Tier {
            members,
            turns,
            turn: AtomicU64::new(0),
        }
    };
    let all = numbers.iter().map(tier);
    all.filter(|tier| !tier.members.is_empty()).collect()
}

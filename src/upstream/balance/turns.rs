//! Turns by weight for round robin.
//!
//! The cycle is computed once for each configuration, so that a request only
//! increments a counter.
//!
//! `balance` makes the cycle when an upstream is built and steps through it
//! with a shared counter. The smooth order spreads the turns of a heavy server,
//! so that it gets no burst of requests at the beginning of each cycle.
//!
//! Source: the commit "Upstream: smooth weighted round-robin balancing" of
//! NGINX (2012).

/// The longest cycle. Weights whose sum is larger are scaled down to it.
///
/// A cycle then takes about 8 KiB, and a server with a tiny weight still has a
/// turn.
const MOST_TURNS: u64 = 4096;

/// A cycle of server indices in NGINX's smooth weighted order: the weights 5,
/// 1, 1 give `a a b a c a a` and not `a a a a a b c`. A server stands in it as
/// often as its weight says, and at least once.
///
/// At each step every server gains its weight, the one with the most is chosen,
/// and pays the sum of all weights. After a whole cycle all are back at 0. Of
/// equal servers the first is chosen.
///
/// Takes time in proportion to the turns times the servers. No weights give no
/// turns. Indices must fit into 16 bits.
pub(super) fn spread(weights: &[u32]) -> Vec<u16> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let scale = |weight: u32| {
        if sum <= MOST_TURNS {
            u64::from(weight)
        } else {
            (u64::from(weight) * MOST_TURNS / sum).max(1)
        }
    };
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

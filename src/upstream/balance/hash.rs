//! Consistent hashing: a key goes to the same server, optionally only as long
//! as that server can take it.
//!
//! This is weighted rendezvous hashing (Thaler and Ravishankar, 1998; weights
//! after Schindelhauer and Schomaker, 2005): every server draws a number for
//! the key, and the best number wins. When a server goes, only its keys move,
//! and they spread over all others; the same holds for a server that comes. A
//! choice takes time in proportion to the number of servers, which is small; in
//! return there is no ring to build, and weights are exact.
//!
//! With a bound (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
//! Bounded Loads", 2018) no server gets more than that factor of its share of
//! the requests in flight: a key that everybody asks for overflows to its
//! second server.
//!
//! The hashes have neither secret nor state, so that several gateways, and one
//! that was restarted, send a key to the same server. A server in slow start
//! draws with a part of its weight.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// A server that may get the key.
///
/// Made anew for each choice, from the servers that are fit to be chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct RankedServer {
    /// Hash of its URL.
    pub(super) identity: u64,
    /// The server's weight, above 0.
    pub(super) weight: f64,
    /// Requests that the server is working on.
    pub(super) in_flight: usize,
    /// Whether it was tried for this request, so that a retry should go
    /// elsewhere.
    pub(super) is_tried: bool,
}

/// The number that represents a server in the draws.
///
/// The URL is hashed as the configuration writes it: two spellings of one
/// address are two servers.
pub(in crate::upstream) fn identity(url: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(url.as_bytes());
    hasher.finish()
}

/// The index of the candidate that gets the key with this hash. There must be
/// at least one candidate.
///
/// With a `bound`, such as 1.25, a server that has that factor of its share of
/// the requests in flight gets no more while another one can take them.
pub(super) fn choose(key: u64, bound: Option<f64>, candidates: &[RankedServer]) -> usize {
    let total_weight: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let most = bound.map(|bound| {
        let in_flight: usize = candidates.iter().map(|candidate| candidate.in_flight).sum();
        bound * (in_flight + 1) as f64
    });
    let rank = |candidate: &RankedServer| {
        // The division comes last: rounded before the product, a share of
        // exactly 5 can come out above 5, and `ceil` makes a 6 of it.
        let is_full = most.is_some_and(|most| {
            let share = most * candidate.weight / total_weight;
            candidate.in_flight as f64 >= share.ceil()
        });
        (candidate.is_tried, is_full, draw(key, candidate))
    };
    let (mut chosen, mut best) = (0, None);
    for (index, candidate) in candidates.iter().enumerate() {
        let rank = rank(candidate);
        if best.is_none_or(|best| rank < best) {
            (chosen, best) = (index, Some(rank));
        }
    }
    chosen
}

/// An exponentially distributed number with the weight as its rate. A server
/// draws the smallest one with a probability that is proportional to its
/// weight.
///
/// The uniform number is above 0 and at most 1, in steps of 2^-53, so that the
/// logarithm is finite.
fn draw(key: u64, candidate: &RankedServer) -> f64 {
    let bits = mix(key ^ candidate.identity) >> 11;
    let uniform = (bits + 1) as f64 / (1u64 << 53) as f64;
    -uniform.ln() / candidate.weight
}

/// The finalizer of MurmurHash3 (Appleby).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUND: Option<f64> = Some(1.25);

    fn servers(weights: &[f64]) -> Vec<RankedServer> {
        let server = |(index, weight): (usize, &f64)| RankedServer {
            identity: identity(&format!("http://10.0.0.{index}:80")),
            weight: *weight,
            in_flight: 0,
            is_tried: false,
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000u64).map(|key| identity(&key.to_string()))
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let servers = servers(&[1.0, 2.0, 1.0]);
        let second = keys()
            .filter(|key| choose(*key, None, &servers) == 1)
            .count();
        assert!((9_700..10_300).contains(&second), "{second}");
    }

    #[test]
    fn only_the_keys_of_a_server_that_goes_move_and_they_spread() {
        let all = servers(&[1.0; 5]);
        let left: Vec<_> = all
            .iter()
            .copied()
            .filter(|server| server.identity != all[2].identity)
            .collect();
        let mut moved = [0; 4];
        for key in keys() {
            let (before, after) = (choose(key, None, &all), choose(key, None, &left));
            if before == 2 {
                moved[after] += 1;
            } else {
                assert_eq!(all[before].identity, left[after].identity);
            }
        }
        assert!(
            moved.iter().all(|count| (800..1200).contains(count)),
            "{moved:?}"
        );
    }

    #[test]
    fn one_key_that_everybody_wants_overflows() {
        let mut servers = servers(&[1.0; 4]);
        for _ in 0..100 {
            let chosen = choose(7, BOUND, &servers);
            servers[chosen].in_flight += 1;
        }
        let most = servers.iter().map(|server| server.in_flight).max().unwrap();
        assert!(most <= 32, "{most}");
    }

    /// The share is exactly 29 here: 1.25 × 116 × 7 / 35. Divided before it is
    /// multiplied, it is 29.000000000000004, and the server got a thirtieth
    /// request.
    #[test]
    fn a_server_that_has_exactly_its_share_is_full() {
        let mut servers = servers(&[7.0, 28.0]);
        servers[0].in_flight = 29;
        servers[1].in_flight = 86;
        assert!(keys().all(|key| choose(key, BOUND, &servers) == 1));
    }

    #[test]
    fn without_a_bound_a_key_stays_with_its_server_at_any_load() {
        let mut servers = servers(&[1.0; 4]);
        let idle: Vec<_> = keys().map(|key| choose(key, None, &servers)).collect();
        servers[idle[0]].in_flight = 1_000_000;
        assert!(
            keys()
                .zip(idle)
                .all(|(key, before)| choose(key, None, &servers) == before)
        );
    }

    #[test]
    fn a_retry_goes_to_the_next_server_of_the_key() {
        let mut servers = servers(&[1.0; 3]);
        let first = choose(7, None, &servers);
        servers[first].is_tried = true;
        assert_ne!(choose(7, None, &servers), first);
    }

    proptest! {
        #[test]
        fn none_is_ever_above_its_bound_by_more_than_one(weights in prop::collection::vec(1u32..10, 1..8), keys in prop::collection::vec(any::<u64>(), 1..200)) {
            let mut servers = servers(&weights.iter().map(|weight| f64::from(*weight)).collect::<Vec<_>>());
            let total: f64 = servers.iter().map(|server| server.weight).sum();
            for (sent, key) in keys.iter().enumerate() {
                let chosen = choose(*key, BOUND, &servers);
                servers[chosen].in_flight += 1;
                let bound = 1.25 * (sent + 1) as f64 * servers[chosen].weight / total;
                prop_assert!(servers[chosen].in_flight as f64 <= bound.ceil());
            }
        }
    }
}

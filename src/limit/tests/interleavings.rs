//! Any interleaving of threads over several limits: never more than burst and
//! rate, and no token lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

const LIMITS: usize = 4;
const THREADS: usize = 4;
const ROUNDS: u64 = 300;

/// A bucket: a limit and a key. Some keys have numbers of their own.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rate: u32,
    burst: u32,
    other: Option<u32>,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan = (1..2000_u32, 1..200_u32, prop::option::of(1..400_u32));
    prop::collection::vec(
        plan.prop_map(|(rate, burst, other)| Plan { rate, burst, other }),
        LIMITS,
    )
}

/// The step of one thread in a round: the limits that decide, the cost at each,
/// and whether the tokens are returned.
fn step(seed: u64, thread: usize, round: u64) -> (u8, [u32; LIMITS], bool) {
    let mut mixed = seed ^ (round * 31 + thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let costs = std::array::from_fn(|limit| (mixed >> (8 + limit * 4)) as u32 % 4);
    (1 + (mixed as u8) % 15, costs, mixed >> 60 < 6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_interleaving_admits_more_than_burst_and_rate_and_none_loses_a_token(plans in plans(), seed: u64) {
        let limiters: Vec<_> = plans.iter().map(|plan| limiter(plan.rate, SECOND, plan.burst, 10)).collect();
        let others: Vec<_> = limiters.iter().zip(&plans)
            .map(|(limiter, plan)| plan.other.map(|burst| {
                limiter.key_quota(quota(plan.rate, SECOND, burst)).unwrap()
            }))
            .collect();
        let time = AtomicU64::new(START.as_nanos());
        let kept: [AtomicU64; LIMITS] = Default::default();
        let to_return = Mutex::new(Vec::new());
        together(THREADS, |thread| {
            for round in 0..ROUNDS {
                let (mask, costs, returns) = step(seed, thread, round);
                let chosen: Vec<_> = (0..LIMITS).filter(|limit| mask & (1 << limit) != 0).collect();
                let asks: Vec<_> = chosen.iter()
                    .map(|limit| Ask { quota: others[*limit].as_ref(), ..Ask::new(&limiters[*limit], key(1), costs[*limit]) })
                    .collect();
                let now = Now::from_nanos(time.fetch_add(50_000, Relaxed));
                let Ok(admission) = decide(now, &asks) else { continue };
                for limit in &chosen {
                    kept[*limit].fetch_add(u64::from(costs[*limit]), Relaxed);
                }
                if returns && round % 2 == 0 {
                    // Refunded at the time of the decision, so no tokens have
                    // come back by themselves.
                    for limit in &chosen {
                        kept[*limit].fetch_sub(u64::from(costs[*limit]), Relaxed);
                    }
                    admission.refund(now, chosen.iter().map(|limit| &limiters[*limit]));
                } else if returns {
                    to_return.lock().push((chosen, admission));
                }
            }
            0
        });
        let end = time.into_inner();
        let elapsed = u128::from(end - START.as_nanos());
        for (limit, plan) in plans.iter().enumerate() {
            let burst = plan.other.unwrap_or(plan.burst);
            let admitted = u128::from(kept[limit].load(Relaxed));
            prop_assert!(admitted * 1_000_000_000 <= u128::from(burst) * 1_000_000_000 + u128::from(plan.rate) * elapsed);
        }
        // Each late refund leaves its bucket between its earlier state and
        // full.
        for (chosen, admission) in to_return.into_inner() {
            admission.refund(Now::from_nanos(end), chosen.iter().map(|limit| &limiters[*limit]));
        }
        for (limiter, plan) in limiters.iter().zip(&plans) {
            let state = limiter.inspect(Now::from_nanos(end), key(1));
            prop_assert!(state.remaining <= plan.other.unwrap_or(plan.burst));
        }
    }

    #[test]
    fn when_all_tokens_are_returned_every_bucket_is_as_before(plans in plans(), seed: u64) {
        let limiters: Vec<_> = plans.iter().map(|plan| limiter(plan.rate, SECOND, plan.burst, 10)).collect();
        for (limiter, plan) in limiters.iter().zip(&plans) {
            ask(limiter, START, key(1), plan.burst / 3).unwrap();
        }
        let before: Vec<_> = limiters.iter().map(|limiter| limiter.inspect(START, key(1)).full_in).collect();
        together(THREADS, |thread| {
            let mut held = Vec::new();
            for round in 0..ROUNDS {
                let (mask, costs, at_once) = step(seed, thread, round);
                let chosen: Vec<_> = (0..LIMITS).filter(|limit| mask & (1 << limit) != 0).collect();
                let asks: Vec<_> = chosen.iter().map(|limit| Ask::new(&limiters[*limit], key(1), costs[*limit])).collect();
                if let Ok(admission) = decide(START, &asks) {
                    held.push((chosen, admission));
                }
                if at_once {
                    held.drain(..).for_each(|(chosen, admission)| admission.refund(START, chosen.iter().map(|limit| &limiters[*limit])));
                }
            }
            held.into_iter().for_each(|(chosen, admission)| admission.refund(START, chosen.iter().map(|limit| &limiters[*limit])));
            0
        });
        let after: Vec<_> = limiters.iter().map(|limiter| limiter.inspect(START, key(1)).full_in).collect();
        prop_assert_eq!(after, before);
    }
}

//! Promises of every choice of a server, for each balance and any state of the
//! servers.

use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, advance};

use super::*;
use crate::upstream::{
    health::{Ejector, Failing},
    tests,
};

const ALL: [Balance; 4] = [
    Balance::RoundRobin,
    Balance::LeastRequests,
    Balance::PeakEwma,
    Balance::Hash(Vec::new()),
];
const SECOND: Duration = Duration::from_secs(1);

/// A reason not to choose a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Nothing,
    Cooling,
    Down,
}

fn balancer(balance: Balance, slow_start: Duration, weights: &[u32]) -> Balancer {
    let servers: Vec<_> = weights.iter().map(|weight| (*weight, 0)).collect();
    in_tiers(balance, slow_start, &servers)
}

/// A balancer over servers of these weights and tiers.
fn in_tiers(balance: Balance, slow_start: Duration, servers: &[(u32, u16)]) -> Balancer {
    let urls: Vec<_> = (0..servers.len())
        .map(|index| format!("http://10.0.0.{index}"))
        .collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let mut policy = tests::policy(&urls);
    policy.balance = balance;
    policy.slow_start = slow_start;
    for (server, (weight, tier)) in policy.servers.iter_mut().zip(servers) {
        (server.weight, server.tier) = (*weight, *tier);
    }
    let servers = policy
        .servers
        .iter()
        .map(|server| Arc::new(Server::new(&policy, server, None, 1)))
        .collect();
    Balancer::new(Arc::new(policy), servers)
}

fn break_servers(balancer: &Balancer, wrong: &[Wrong]) {
    for (server, wrong) in balancer.servers.iter().zip(wrong) {
        match wrong {
            Wrong::Nothing => {}
            Wrong::Cooling => server.health.test_cooling(60 * SECOND),
            Wrong::Down => server.health.test_checked(false, 1),
        }
    }
}

fn wrongs() -> impl Strategy<Value = Vec<(Wrong, bool, u32)>> {
    let wrong = prop_oneof![
        Just(Wrong::Nothing),
        Just(Wrong::Cooling),
        Just(Wrong::Down)
    ];
    prop::collection::vec((wrong, any::<bool>(), 1u32..5), 1..70)
}

proptest! {
    #[test]
    fn a_usable_server_is_chosen_if_there_is_one(servers in wrongs(), key in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        let are_tried = servers.iter().enumerate().filter(|(_, (_, is_tried, _))| *is_tried);
        let tried = are_tried.fold(Tried::default(), |tried, (index, _)| tried.and(index));
        let weights: Vec<_> = servers.iter().map(|(_, _, weight)| *weight).collect();
        let wrong: Vec<_> = servers.iter().map(|(wrong, ..)| *wrong).collect();
        for balance in ALL {
            let balancer = balancer(balance.clone(), Duration::ZERO, &weights);
            break_servers(&balancer, &wrong);
            let chosen = balancer.choose(tried, Some(key), Instant::now());
            let best = (0..wrong.len()).map(|index| (wrong[index], tried.contains(index))).min().unwrap();
            match chosen {
                None => prop_assert_eq!(best.0, Wrong::Down),
                Some(chosen) if wrong.len() == 1 => prop_assert!(wrong[chosen] != Wrong::Down),
                Some(chosen) => prop_assert_eq!((wrong[chosen], tried.contains(chosen)), best, "{:?}", balance),
            }
        }
    }
}

/// The servers that 200 requests with different keys go to.
fn chosen(balancer: &Balancer, tried: Tried) -> Vec<usize> {
    let choose = |key: u64| {
        let key = identity(&key.to_string());
        balancer.choose(tried, Some(key), Instant::now())
    };
    let mut chosen: Vec<_> = (0..200).filter_map(choose).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[tokio::test(start_paused = true)]
async fn a_backup_gets_requests_while_no_other_server_is_left_and_the_next_tier_after_it() {
    use Wrong::{Cooling, Down, Nothing};
    for balance in ALL {
        let servers = [(1, 0), (2, 0), (1, 1), (1, 2)];
        let choose = |wrong: [Wrong; 4], tried| {
            let balancer = in_tiers(balance.clone(), Duration::ZERO, &servers);
            break_servers(&balancer, &wrong);
            chosen(&balancer, tried)
        };
        let none = Tried::default();
        assert_eq!(choose([Nothing; 4], none), [0, 1], "{balance:?}");
        assert_eq!(choose([Down, Nothing, Nothing, Nothing], none), [1]);
        assert_eq!(choose([Down, Cooling, Nothing, Nothing], none), [2]);
        assert_eq!(choose([Down, Cooling, Down, Nothing], none), [3]);
        assert_eq!(choose([Down, Cooling, Cooling, Down], none), [1]);
        assert_eq!(choose([Nothing; 4], none.and(0)), [1]);
        assert_eq!(choose([Nothing; 4], none.and(0).and(1)), [2]);
        assert_eq!(choose([Cooling, Nothing, Down, Down], none.and(1)), [1]);
        assert!(choose([Down; 4], none).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_weight_gets_nothing_even_if_it_is_the_last() {
    for balance in ALL {
        let balancer = in_tiers(balance, Duration::ZERO, &[(0, 0), (1, 0), (0, 1)]);
        assert_eq!(chosen(&balancer, Tried::default()), [1]);
        assert_eq!(chosen(&balancer, Tried::default().and(1)), [1]);
        assert!(!balancer.has_other(Tried::default().and(1), Instant::now()));
        break_servers(&balancer, &[Wrong::Nothing, Wrong::Down, Wrong::Nothing]);
        assert!(chosen(&balancer, Tried::default()).is_empty());
        assert_eq!(balancer.in_use(Instant::now()), [true, false, true]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_slow_start_of_a_server_leads_no_request_to_its_backup() {
    for balance in ALL {
        let balancer = in_tiers(balance, 100 * SECOND, &[(1, 0), (1, 1)]);
        balancer.servers[0].health.test_checked(false, 1);
        balancer.servers[0].health.test_checked(true, 2);
        assert_eq!(chosen(&balancer, Tried::default()), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovered_server_gets_its_share_gradually() {
    for balance in ALL {
        let balancer = balancer(balance.clone(), 100 * SECOND, &[1, 1]);
        let health = balancer
            .servers
            .iter()
            .map(|server| (Arc::clone(&server.health), server.weight));
        let ejection = policy::Ejection {
            on: tests::failures(),
            consecutive_failures: NonZeroU32::MIN,
            base: SECOND,
            max: SECOND,
            max_percent: 50,
        };
        Ejector::new(ejection, 100 * SECOND, health).failed(
            0,
            Failing::Reset,
            None,
            Instant::now(),
        );
        for server in &balancer.servers {
            server
                .latency
                .responded(Duration::from_millis(1), Instant::now());
        }
        let share = || {
            let of_first = |key: u64| {
                balancer.choose(
                    Tried::default(),
                    Some(identity(&key.to_string())),
                    Instant::now(),
                ) == Some(0)
            };
            (0..4000).filter(|key| of_first(*key)).count() as f64 / 4000.0
        };
        assert!(share() < f64::EPSILON, "{balance:?}");
        advance(SECOND).await;
        let begins = share();
        advance(50 * SECOND).await;
        let halfway = share();
        advance(50 * SECOND).await;
        let ends = share();
        assert!(
            (0.001..0.15).contains(&begins),
            "{balance:?} begins with {begins}"
        );
        assert!(
            (0.1..0.45).contains(&halfway),
            "{balance:?} is halfway at {halfway}"
        );
        assert!(
            halfway > begins + 0.03 && ends > halfway,
            "{balance:?}: {begins}, {halfway}, {ends}"
        );
        assert!((0.4..=1.0).contains(&ends), "{balance:?} ends with {ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_servers_get_requests_by_their_weights() {
    for balance in [Balance::LeastRequests, Balance::PeakEwma] {
        let balancer = balancer(balance.clone(), Duration::ZERO, &[3, 1]);
        for server in &balancer.servers {
            server
                .latency
                .responded(Duration::from_millis(1), Instant::now());
        }
        let light = (0..4000)
            .filter(|_| balancer.choose(Tried::default(), None, Instant::now()) == Some(1))
            .count();
        assert!((800..1200).contains(&light), "{balance:?}: {light}");
    }
}

/// Simulates `at_once` concurrent requests. Each takes the time of its server,
/// with noise and an occasional spike. Returns the share of each server.
fn shares(balancer: &Balancer, at_once: usize, millis: impl Fn(usize) -> u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(7);
    let (mut in_flight, mut clock, begun) = (Vec::new(), 0, Instant::now());
    let mut counts = vec![0.0; balancer.servers.len()];
    for _ in 0..20_000 {
        let chosen = balancer
            .choose(Tried::default(), None, begun + Duration::from_micros(clock))
            .unwrap();
        counts[chosen] += 1.0;
        let spike = if rng.random_range(0..200) == 0 {
            30_000
        } else {
            0
        };
        let takes = millis(chosen) * rng.random_range(500..1500) + spike;
        in_flight.push((
            clock + takes,
            takes,
            chosen,
            balancer.servers[chosen].begin(),
        ));
        if in_flight.len() == at_once {
            let next = (0..at_once)
                .min_by_key(|index| in_flight[*index].0)
                .unwrap();
            let (done, took, server, _leaves) = in_flight.swap_remove(next);
            clock = done;
            balancer.servers[server].latency.responded(
                Duration::from_micros(took),
                begun + Duration::from_micros(clock),
            );
        }
    }
    counts.iter().map(|count| count / 20_000.0).collect()
}

#[tokio::test(start_paused = true)]
async fn equal_servers_get_requests_by_their_weights_at_any_load() {
    for balance in [
        Balance::LeastRequests,
        Balance::PeakEwma,
        Balance::RoundRobin,
    ] {
        for weights in [vec![9, 1], vec![8, 1, 1], vec![1, 1], vec![3, 2, 1]] {
            for at_once in [1, 2, 8, 64] {
                let balancer = balancer(balance.clone(), Duration::ZERO, &weights);
                let total = f64::from(weights.iter().sum::<u32>());
                for (share, weight) in shares(&balancer, at_once, |_| 2).iter().zip(&weights) {
                    let right = f64::from(*weight) / total;
                    assert!(
                        (share - right).abs() < 0.05,
                        "{balance:?} {weights:?} {at_once}: {share} of {right}"
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn by_latency_a_slower_server_gets_less_than_its_weight() {
    for at_once in [1, 4, 32] {
        let balancer = balancer(Balance::PeakEwma, Duration::ZERO, &[9, 1]);
        let shares = shares(
            &balancer,
            at_once,
            |server| if server == 0 { 60 } else { 2 },
        );
        assert!(shares[0] < 0.35, "{at_once}: {shares:?}");
    }
}

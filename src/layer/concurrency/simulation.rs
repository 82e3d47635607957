//! Simulations of whole limits in virtual time: an adaptive limit over a
//! modelled upstream, and a fair queue under a flood.
//!
//! # Model
//!
//! The upstream is a queue with several servers and either exponential or equal
//! service times (M/M/c and M/D/c in Kendall's notation, with a closed set of
//! clients in place of a Poisson stream). Its knee is known: with as many
//! requests as servers it is fully used, and each further one only waits. A
//! test states how close to the knee a limit comes, and how soon.
//!
//! # Determinism
//!
//! Time is virtual and random numbers come from a linear congruential generator
//! with a fixed seed, so that each run gives the same limits and a bound that
//! is passed once is passed always. The whole of it needs no sleep of real
//! time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    adaptive::{LoadMeter, LoadOutcome},
    tests::{bounds, settings},
    *,
};
use crate::{
    error::LimitOwner,
    policy::{AdaptiveBounds, Priority},
};

/// Parallel servers with a common queue that is invisible from outside. The
/// knee is the number of servers.
struct Upstream {
    /// The times at which the servers are free, the earliest first, since the
    /// start of the scene.
    free_at: BinaryHeap<Reverse<Duration>>,
    /// The mean service time.
    service: Duration,
    /// Whether every response takes the same time.
    is_steady: bool,
    /// The state of the generator (Knuth's MMIX constants).
    random: u64,
}

impl Upstream {
    fn new(servers: usize, service: Duration) -> Self {
        Self {
            free_at: (0..servers).map(|_| Reverse(Duration::ZERO)).collect(),
            service,
            is_steady: false,
            random: 1,
        }
    }

    /// The time of the response to a request that is sent now. Service times
    /// are exponential, as in most queueing models.
    fn responds_at(&mut self, now: Duration) -> Duration {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((self.random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        let Reverse(free) = self.free_at.pop().expect("a server");
        let factor = if self.is_steady { 1.0 } else { -uniform.ln() };
        let end = free.max(now) + self.service.mul_f64(factor);
        self.free_at.push(Reverse(end));
        end
    }
}

/// A meter before an upstream with more clients than permits: each free permit
/// is taken at once.
struct Scene {
    meter: LoadMeter,
    /// The limit, moved by the meter.
    max: AtomicUsize,
    upstream: Upstream,
    /// The instant that stands for the start of the scene.
    begun: Instant,
    /// Virtual time since the start.
    now: Duration,
    /// End and begin of the requests in flight.
    in_flight: BinaryHeap<Reverse<(Duration, Duration)>>,
}

impl Scene {
    fn new(bounds: AdaptiveBounds, servers: usize, service: Duration) -> Self {
        let (meter, max) = (LoadMeter::new(bounds), AtomicUsize::new(0));
        meter.switch_on(bounds, None, &max);
        let upstream = Upstream::new(servers, service);
        Self {
            meter,
            max,
            upstream,
            begun: Instant::now(),
            now: Duration::ZERO,
            in_flight: BinaryHeap::new(),
        }
    }

    /// The limit as of now, in requests.
    fn limit(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Runs for `time` with this many clients. Returns the limit at each tenth
    /// of a second.
    fn run(&mut self, time: Duration, clients: usize) -> Vec<usize> {
        let (end, mut limits) = (self.now + time, Vec::new());
        let mut next_note = self.now;
        while self.now < end {
            while self.in_flight.len() < self.limit().min(clients) {
                let done = self.upstream.responds_at(self.now);
                self.in_flight.push(Reverse((done, self.now)));
                self.meter.note_peak(self.in_flight.len());
            }
            let Some(Reverse((done, begin))) = self.in_flight.pop() else {
                break;
            };
            self.now = done;
            self.meter.measured(
                LoadOutcome::Responded,
                done - begin,
                self.begun + done,
                &self.max,
            );
            while self.now >= next_note {
                limits.push(self.limit());
                next_note += Duration::from_millis(100);
            }
        }
        limits
    }
}

const BOUNDS: AdaptiveBounds = bounds(4, 1000);
/// The knee of the modelled upstream.
const SERVERS: usize = 40;
const SERVICE: Duration = Duration::from_millis(20);
/// More clients than any limit here admits, so that the limit alone decides how
/// many requests are in flight.
const MANY: usize = 10_000;

/// With random service times, a limit below the number of servers leaves one
/// idle at times, and a higher one makes a queue.
fn is_near_the_knee(limit: usize) -> bool {
    (SERVERS * 9 / 10..SERVERS * 3 / 2).contains(&limit)
}

/// The mean of the limits, rounded down.
fn mean(limits: &[usize]) -> usize {
    limits.iter().sum::<usize>() / limits.len()
}

/// The usual case: found quickly from a small limit, and kept for ten minutes
/// without a drift.
#[tokio::test(start_paused = true)]
async fn an_adaptive_cap_settles_near_the_knee_within_seconds_and_stays() {
    let mut scene = Scene::new(BOUNDS, SERVERS, SERVICE);
    let limits = scene.run(Duration::from_secs(600), MANY);
    assert!(
        limits[..20].iter().any(|limit| *limit >= SERVERS),
        "found within two seconds: {:?}",
        &limits[..20]
    );
    assert!(
        limits[100..]
            .iter()
            .all(|limit| (SERVERS / 2..SERVERS * 2).contains(limit))
    );
    assert!(
        is_near_the_knee(mean(&limits[100..])),
        "{}",
        mean(&limits[100..])
    );
}

/// Medians of a hundred responses are off by a seventh; these errors must not
/// add up over hours.
#[tokio::test(start_paused = true)]
async fn an_adaptive_cap_stays_near_a_small_knee_with_few_responses() {
    for (servers, millis) in [(4, 200), (8, 200), (10, 100)] {
        let mut scene = Scene::new(bounds(1, 1000), servers, Duration::from_millis(millis));
        let limits = scene.run(Duration::from_secs(2 * 60 * 60), MANY);
        let later = &limits[limits.len() / 4..];
        let (mean, most) = (mean(later), later.iter().max().unwrap());
        assert!(
            (servers * 3 / 4..=servers * 2).contains(&mean),
            "knee {servers}: {mean}"
        );
        assert!(*most <= servers * 4, "knee {servers}: up to {most}");
    }
}

/// All servers finish and begin together, and medians move in steps of the
/// service time.
#[tokio::test(start_paused = true)]
async fn an_adaptive_cap_settles_near_the_knee_with_equal_service_times() {
    for millis in [10, 20, 50] {
        let mut scene = Scene::new(bounds(1, 1000), 16, Duration::from_millis(millis));
        scene.upstream.is_steady = true;
        let limits = scene.run(Duration::from_secs(120), MANY);
        let later = &limits[limits.len() / 4..];
        assert!(
            later.iter().all(|limit| (8..=48).contains(limit)),
            "{millis} ms: {:?}",
            later.iter().max()
        );
        assert!(
            (12..=36).contains(&mean(later)),
            "{millis} ms: {}",
            mean(later)
        );
    }
}

/// Three clients use less than a tenth of the limit: their latency says nothing
/// of the knee.
#[tokio::test(start_paused = true)]
async fn an_adaptive_cap_does_not_move_while_idle() {
    let mut scene = Scene::new(BOUNDS, SERVERS, SERVICE);
    scene.run(Duration::from_secs(30), MANY);
    let before = scene.limit();
    let idle = scene.run(Duration::from_secs(600), 3);
    assert!(idle.iter().skip(10).all(|limit| *limit == idle[10]) && idle[10].abs_diff(before) < 8);
}

/// A tenfold service time for a minute teaches a baseline that is wrong
/// afterwards, and has to be forgotten.
#[tokio::test(start_paused = true)]
async fn an_adaptive_cap_recovers_from_a_slow_spell() {
    let mut scene = Scene::new(BOUNDS, SERVERS, SERVICE);
    scene.run(Duration::from_secs(30), MANY);
    scene.upstream.service = 10 * SERVICE;
    let spell = scene.run(Duration::from_secs(60), MANY);
    assert!(*spell.iter().min().unwrap() >= SERVERS / 4, "{spell:?}");
    scene.upstream.service = SERVICE;
    let after = scene.run(Duration::from_secs(60), MANY);
    assert!(is_near_the_knee(mean(&after[200..])), "{after:?}");
}

/// Twenty responses of a minute among hundreds of fast ones.
#[tokio::test(start_paused = true)]
async fn a_few_slow_responses_do_not_collapse_an_adaptive_cap() {
    let mut scene = Scene::new(BOUNDS, SERVERS, SERVICE);
    scene.run(Duration::from_secs(30), MANY);
    let before = scene.limit();
    for _ in 0..20 {
        scene.meter.measured(
            LoadOutcome::Responded,
            60 * SECOND,
            scene.begun + scene.now,
            &scene.max,
        );
    }
    let after = scene.run(Duration::from_secs(5), MANY);
    assert!(
        *after.iter().min().unwrap() > before * 2 / 3,
        "{before}: {after:?}"
    );
}

const SECOND: Duration = Duration::from_secs(1);
/// Permits of the limit under the flood.
const PERMITS: usize = 4;

/// Waits of a quiet tenant that sends a request now and then, while another one
/// keeps `flood` requests going.
async fn waits_of_the_quiet(flood: u64, fair: bool) -> Vec<Duration> {
    let limit = Arc::new(ConcurrencyLimit::new(
        LimitOwner::Upstream("shared".into()),
        &settings(PERMITS, 100),
    ));
    let turn = move |key| Turn {
        priority: Priority::Normal,
        key: if fair { key } else { 0 },
    };
    let mut noise = JoinSet::new();
    for client in 0..flood {
        let limit = Arc::clone(&limit);
        noise.spawn(async move {
            // Start at different times.
            tokio::time::sleep(Duration::from_micros(137 * client)).await;
            loop {
                if through(&limit, turn(1)).await.is_none() {
                    // Refused: try again at once.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    let mut waits = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(33)).await;
        waits.push(through(&limit, turn(2)).await.unwrap_or(SECOND));
    }
    waits.sort();
    waits
}

/// Waits for a permit, holds it for a service time and releases it. Returns the
/// wait, or `None` if refused.
async fn through(limit: &Arc<ConcurrencyLimit>, turn: Turn) -> Option<Duration> {
    let since = Instant::now();
    let permit = match limit.try_acquire(since) {
        Some(permit) => permit,
        None => limit.enqueue(turn, None).ok()?.acquire().await.ok()?,
    };
    let waited = since.elapsed();
    tokio::time::sleep(SERVICE).await;
    drop(permit);
    Some(waited)
}

#[tokio::test(start_paused = true)]
async fn a_flooding_tenant_does_not_move_a_quiet_ones_wait_beyond_a_service_time() {
    for flood in [10, 300] {
        let waits = waits_of_the_quiet(flood, true).await;
        let p95 = waits[waits.len() * 95 / 100];
        assert!(p95 <= SERVICE, "with {flood}: {p95:?}");
        assert!(
            *waits.last().unwrap() <= 2 * SERVICE,
            "a request of the quiet tenant is refused"
        );
    }
    let unfair = waits_of_the_quiet(300, false).await;
    assert!(
        unfair[unfair.len() / 2] > 10 * SERVICE,
        "without turns the quiet tenant waits behind the flood"
    );
}

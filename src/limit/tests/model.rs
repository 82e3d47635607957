//! One bucket against a plain token bucket that counts fractions of a token,
//! and against `governor`.

use governor::{
    RateLimiter,
    clock::{Clock as _, FakeRelativeClock},
};
use proptest::prelude::*;

use super::*;

/// A token bucket; a token is `emission` nanoseconds of filling.
struct Model {
    emission: u128,
    capacity: u128,
    level: u128,
    last: u128,
}

impl Model {
    fn new(rate: Rate, burst: u32, now: Now) -> Self {
        let emission = rate.period.as_nanos().div_ceil(u128::from(rate.count));
        let capacity = emission * u128::from(burst);
        Self {
            emission,
            capacity,
            level: capacity,
            last: now.as_nanos().into(),
        }
    }

    /// Takes `cost` tokens, or returns the nanoseconds until they are there.
    fn take(&mut self, now: Now, cost: u32) -> Result<(), u128> {
        let now = u128::from(now.as_nanos());
        self.level = (self.level + now - self.last).min(self.capacity);
        self.last = now;
        let wanted = self.emission * u128::from(cost);
        self.level = self
            .level
            .checked_sub(wanted)
            .ok_or_else(|| wanted - self.level)?;
        Ok(())
    }
}

fn rates() -> impl Strategy<Value = (u32, Duration)> {
    let periods = prop_oneof![Just(1), Just(10), Just(60), Just(3600), Just(86_400)]
        .prop_map(Duration::from_secs);
    (prop_oneof![1..10_u32, 1..2_000_000_u32], periods)
}

/// Gaps of about a few emission intervals, sometimes none or a long one.
fn arrivals() -> impl Strategy<Value = Vec<(f64, u32)>> {
    let gap = prop_oneof![3 => 0.0..3.0_f64, 1 => Just(0.0), 1 => 0.0..100.0_f64];
    prop::collection::vec((gap, 0..6_u32), 1..200)
}

proptest! {
    #[test]
    fn a_limit_admits_exactly_what_a_token_bucket_admits((count, period) in rates(), burst in 1..50_u32, arrivals in arrivals()) {
        let limiter = limiter(count, period, burst, 10);
        let rate = rate(count, period);
        let (mut model, mut now, mut admitted) = (Model::new(rate, burst, START), START, 0_u128);
        for (gap, cost) in arrivals {
            let cost = cost.min(burst);
            now = now.after(Duration::from_nanos(limiter.gcra().emission()).mul_f64(gap));
            let got = ask(&limiter, now, key(1), cost).map_err(|wait| wait.as_nanos());
            prop_assert_eq!(got, model.take(now, cost));
            admitted += if got.is_ok() { u128::from(cost) } else { 0 };
            // In exact fractions, whatever was rounded: admitted <= burst +
            // rate * time.
            let elapsed = u128::from(now.as_nanos() - START.as_nanos());
            let period = period.as_nanos();
            prop_assert!(admitted * period <= u128::from(burst) * period + u128::from(count) * elapsed);
        }
    }

    /// The crate implements GCRA independently of this one: both have to agree
    /// on every decision and every wait.
    #[test]
    fn a_limit_decides_as_governor_does((count, period) in rates(), burst in 1..50_u32, arrivals in arrivals()) {
        let limiter = limiter(count, period, burst, 10);
        let emission = Duration::from_nanos(limiter.gcra().emission());
        let clock = FakeRelativeClock::default();
        let quota = governor::Quota::with_period(emission).unwrap().allow_burst(NonZeroU32::new(burst).unwrap());
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let mut now = START;
        for (gap, cost) in arrivals {
            let gap = emission.mul_f64(gap);
            now = now.after(gap);
            clock.advance(gap);
            let cost = NonZeroU32::new(cost.clamp(1, burst)).unwrap();
            let theirs = governor.check_n(cost).unwrap().map_err(|until| until.wait_time_from(clock.now()));
            prop_assert_eq!(ask(&limiter, now, key(1), cost.get()), theirs);
        }
    }

    #[test]
    fn a_retry_succeeds_exactly_after_retry_after((count, period) in rates(), burst in 1..50_u32, cost in 1..6_u32) {
        let limiter = limiter(count, period, burst, 10);
        let cost = cost.min(burst);
        drain(&limiter, START, key(1));
        let wait = ask(&limiter, START, key(1), cost).unwrap_err();
        prop_assert!(ask(&limiter, START.after(wait - Duration::from_nanos(1)), key(1), cost).is_err());
        prop_assert!(ask(&limiter, START.after(wait), key(1), cost).is_ok());
    }
}

#[test]
fn slow_and_fast_rates_are_exact() {
    let emission = |count, period| quota(count, period, 1).emission().get();
    let day = 86_400 * SECOND;
    assert_eq!(u128::from(emission(1, day)), day.as_nanos());
    assert_eq!(emission(1_000_000, SECOND), 1000);
    assert_eq!(emission(3, SECOND), 333_333_334, "rounded up");
}

#[test]
fn a_cost_above_the_burst_is_never_admitted() {
    let limiter = limiter(1, 86_400 * SECOND, 5, 10);
    for cost in [6, u32::MAX] {
        assert_eq!(ask(&limiter, START, key(1), cost), Err(Duration::MAX));
    }
    assert_eq!(drain(&limiter, START, key(1)), 5, "a refusal takes nothing");
}

#[test]
fn no_cost_passes_even_an_exhausted_limit_and_holds_no_key() {
    let limiter = limiter(1, SECOND, 1, 10);
    assert_eq!(ask(&limiter, START, key(1), 0), Ok(()));
    assert_eq!(limiter.stats().keys, 0);
    drain(&limiter, START, key(1));
    assert_eq!(ask(&limiter, START, key(1), 0), Ok(()));
}

#[test]
fn numbers_that_cannot_work_are_errors() {
    let burst = NonZeroU32::MAX;
    assert_eq!(
        Quota::new(rate(1, Duration::ZERO), burst),
        Err(QuotaError::ZeroPeriod)
    );
    assert_eq!(
        Quota::new(rate(1, 86_400 * SECOND), burst),
        Err(QuotaError::TooSlow { burst })
    );
    let max_keys = usize::MAX;
    assert_eq!(
        Limiter::new("test", quota(1, SECOND, 1), keys(max_keys)).map(drop),
        Err(LimiterError::TooManyKeys { max_keys })
    );
}

#[test]
fn an_admission_has_the_remaining_tokens_and_a_refusal_the_longest_wait() {
    let (wide, tight) = (limiter(100, SECOND, 100, 10), limiter(1, SECOND, 2, 10));
    let asks = [Ask::new(&wide, key(1), 10), Ask::new(&tight, key(1), 1)];
    let tightest = decide(START, &asks).unwrap().standings().last().unwrap();
    assert_eq!((tightest.remaining, tightest.burst), (1, 2));
    assert_eq!(
        [tightest.fill(), tightest.next(), tightest.reset()],
        [2 * SECOND, SECOND, SECOND]
    );
    let left: Vec<_> = decide(START, &asks)
        .unwrap()
        .standings()
        .map(|standing| standing.remaining)
        .collect();
    assert_eq!(left, [80, 0]);
    drain(&wide, START, key(1));
    let refusal = decide(START, &asks).unwrap_err();
    assert_eq!(
        (refusal.index, refusal.retry_after, refusal.refused),
        (1, SECOND, 0b11)
    );
    assert_eq!(refusal.indices().collect::<Vec<_>>(), [0, 1]);
    assert!(decide(START, &[]).unwrap().is_empty(), "no limit admits");
}

#[test]
fn a_refusal_by_one_limit_takes_tokens_from_none() {
    let limits: Vec<_> = (1..=6)
        .rev()
        .map(|burst| limiter(1, SECOND, burst, 10))
        .collect();
    let asks: Vec<_> = limits
        .iter()
        .map(|limiter| Ask::new(limiter, key(1), 1))
        .collect();
    assert!(decide(START, &asks).is_ok());
    for _ in 0..10 {
        assert_eq!(decide(START, &asks).unwrap_err().index, 5);
    }
    let left: Vec<_> = limits
        .iter()
        .map(|limiter| limiter.inspect(START, key(1)).remaining)
        .collect();
    assert_eq!(left, [5, 4, 3, 2, 1, 0]);
}

#[test]
fn a_refund_returns_the_taken_tokens_and_no_more_than_are_missing() {
    let limiter = limiter(10, SECOND, 10, 10);
    let take = |now, cost| decide(now, &[Ask::new(&limiter, key(1), cost)]).unwrap();
    let left = |now| limiter.inspect(now, key(1)).remaining;
    let admission = take(START, 4);
    take(START, 3).refund(START, [&limiter]);
    assert_eq!(left(START), 6);
    let later = START.after(SECOND);
    let _kept = take(later, 10);
    admission.refund(later, [&limiter]);
    assert_eq!(left(later), 0, "the tokens had already come back");
}

#[test]
fn a_forgotten_key_has_a_full_bucket() {
    let limiter = limiter(1, SECOND, 5, 10);
    assert!(!limiter.forget(key(1)));
    drain(&limiter, START, key(1));
    let inspection = limiter.inspect(START, key(1));
    assert_eq!(
        (inspection.held, inspection.remaining, inspection.full_in),
        (true, 0, 5 * SECOND)
    );
    assert!(limiter.forget(key(1)));
    assert_eq!(limiter.inspect(START, key(1)).remaining, 5);
    assert_eq!(drain(&limiter, START, key(1)), 5);
}

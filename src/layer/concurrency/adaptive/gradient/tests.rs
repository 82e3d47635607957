//! Promises of the gradient: on single steps, and on a modelled upstream.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;

const fn bounds(min: usize, max: usize) -> AdaptiveBounds {
    let (Some(min), Some(max)) = (NonZeroUsize::new(min), NonZeroUsize::new(max)) else {
        panic!("bounds begin at one")
    };
    AdaptiveBounds { min, max }
}

const BOUNDS: AdaptiveBounds = bounds(4, 500);
/// The modelled upstream: this much at once without queueing, each taking
/// this long.
const KNEE: f64 = 50.0;
const SERVICE: f64 = 0.010;

fn slowed(in_flight: f64, service: f64) -> f64 {
    service * (in_flight / KNEE).max(1.0)
}

/// Windows under a demand that always fills the limit, or `demand` if that
/// is less; noise of a tenth either way.
fn run(gradient: &mut Gradient, windows: usize, demand: f64, service: f64) -> Vec<usize> {
    let noise = [1.0, 1.04, 0.95, 1.1, 0.9, 0.98, 1.02];
    let window = |n: usize| {
        let in_flight = (gradient.limit() as f64).min(demand);
        let median = slowed(in_flight, service) * noise[n % noise.len()];
        gradient.update(&Summary {
            median: Some(median),
            mean: median,
            responses: 10_000,
            failed: 0.0,
            peak: in_flight as usize,
        });
        gradient.limit()
    };
    (0..windows).map(window).collect()
}

fn settled() -> Gradient {
    let mut gradient = Gradient::new(BOUNDS);
    run(&mut gradient, 200, f64::MAX, SERVICE);
    gradient
}

/// Share of what the upstream could do that these limits let it do, and the
/// longest latency in service times.
fn done(limits: &[usize]) -> (f64, f64) {
    let share: f64 = limits
        .iter()
        .map(|limit| (*limit as f64 / KNEE).min(1.0))
        .sum();
    let longest = limits
        .iter()
        .map(|limit| slowed(*limit as f64, 1.0))
        .fold(0.0, f64::max);
    (share / limits.len() as f64, longest)
}

#[track_caller]
fn assert_good(limits: &[usize]) {
    let (share, longest) = done(limits);
    let minmax = (limits.iter().min(), limits.iter().max());
    assert!(
        share > 0.95 && longest < 1.8,
        "{share:.2} done, latency up to {longest:.2}, limits {minmax:?}"
    );
}

#[test]
fn it_finds_the_knee_in_seconds_and_stays_for_days() {
    let mut gradient = Gradient::new(BOUNDS);
    let first = run(&mut gradient, 20, f64::MAX, SERVICE);
    assert!(
        first[6..]
            .iter()
            .all(|limit| (KNEE..3.0 * KNEE).contains(&(*limit as f64))),
        "{first:?}"
    );
    run(&mut gradient, 200, f64::MAX, SERVICE);
    assert_good(&run(&mut gradient, 500_000, f64::MAX, SERVICE));
}

#[test]
fn it_does_not_move_while_idle() {
    let mut gradient = settled();
    let before = gradient.limit();
    let idle = run(&mut gradient, 10_000, 5.0, SERVICE);
    assert!(idle.iter().all(|limit| *limit == before));
}

#[test]
fn a_slow_spell_costs_some_of_the_limit_and_it_comes_back_after() {
    let mut gradient = settled();
    let spell = run(&mut gradient, 120, f64::MAX, 5.0 * SERVICE);
    assert!(
        *spell.iter().min().unwrap() as f64 > KNEE / 3.0,
        "{spell:?}"
    );
    let after = run(&mut gradient, 60, f64::MAX, SERVICE);
    assert_good(&after[20..]);
}

#[test]
fn many_slow_spells_leave_nothing_behind() {
    for slower in [1.3, 1.5, 2.0, 4.0, 10.0] {
        let mut gradient = settled();
        for _ in 0..100 {
            run(&mut gradient, 40, f64::MAX, slower * SERVICE);
            run(&mut gradient, 40, f64::MAX, SERVICE);
        }
        let after = run(&mut gradient, 1000, f64::MAX, SERVICE);
        assert_good(&after[200..]);
    }
}

#[test]
fn an_upstream_that_stays_slower_is_learnt() {
    let mut gradient = settled();
    run(&mut gradient, 500, f64::MAX, 3.0 * SERVICE);
    assert_good(&run(&mut gradient, 5000, f64::MAX, 3.0 * SERVICE));
}

#[test]
fn a_few_slow_windows_do_not_collapse_it() {
    let mut gradient = settled();
    let before = gradient.limit() as f64;
    for _ in 0..3 {
        gradient.update(&Summary {
            median: Some(1.0),
            mean: 1.0,
            responses: 10_000,
            failed: 0.0,
            peak: gradient.limit(),
        });
    }
    assert!(
        gradient.limit() as f64 > before / 2.0,
        "{before} to {}",
        gradient.limit()
    );
}

#[test]
fn failures_halve_it_at_most_and_few_of_them_only_slow_its_growth() {
    let with = |failed: f64| {
        let mut gradient = settled();
        let before = gradient.limit();
        for _ in 0..20 {
            gradient.update(&Summary {
                median: Some(SERVICE),
                mean: SERVICE,
                responses: 10_000,
                failed,
                peak: gradient.limit(),
            });
        }
        (before, gradient.limit())
    };
    let (before, after) = with(0.01);
    assert!(after > before, "{before} to {after}");
    assert_eq!(with(1.0).1, BOUNDS.min.get());
    let mut gradient = settled();
    let before = gradient.limit();
    gradient.update(&Summary {
        median: None,
        mean: 0.0,
        responses: 0,
        failed: 1.0,
        peak: before,
    });
    assert!(gradient.limit() >= before / 2);
}

#[test]
fn other_bounds_keep_what_was_learnt() {
    let mut gradient = settled();
    let before = gradient.limit();
    gradient.set_bounds(bounds(2, 1000));
    assert_eq!(gradient.limit(), before);
    gradient.set_bounds(bounds(1, 10));
    assert_eq!(gradient.limit(), 10);
}

proptest! {
    #[test]
    fn whatever_is_seen_the_limit_stays_within_its_bounds(
        windows in proptest::collection::vec((proptest::option::of(0.0..1e4_f64), 0.0..1.0_f64, 0..2000_usize), 0..100),
        min in 1..50_usize,
        more in 0..500_usize,
    ) {
        let bounds = bounds(min, min + more);
        let mut gradient = Gradient::new(bounds);
        for (median, failed, peak) in windows {
            gradient.update(&Summary { median, mean: median.unwrap_or_default(), responses: 100, failed, peak });
            prop_assert!((bounds.min.get()..=bounds.max.get()).contains(&gradient.limit()));
        }
    }
}

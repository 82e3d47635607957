//! Bans: when they begin and end, and what a flood can do to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::bans::SLOTS;
use super::*;
use crate::policy::{Allowance, Ban, BanAt, Override, Prefixes, ValuePattern};

const MINUTE: Duration = Duration::from_secs(60);

fn policy(refusals: u32) -> Ban {
    Ban {
        refusals: NonZeroU32::new(refusals).unwrap(),
        within: MINUTE,
        time: MINUTE * 10,
        at: BanAt::Request,
    }
}

/// Counts a refusal of a live limit.
fn count(bans: &Bans, now: Now, key: Key, ban: &Ban) -> bool {
    bans.count(now, key, (ban, false), |label| {
        label.add(&KeyValue::text(key.to_string().as_bytes()));
    })
}

#[test]
fn a_ban_begins_with_the_last_of_the_refusals_and_ends_on_time() {
    let (bans, ban) = (Bans::default(), policy(3));
    assert_eq!(bans.rest(START, key(1)), None);
    let counted = [(); 3].map(|()| count(&bans, START, key(1), &ban));
    assert_eq!(counted, [false, false, true]);
    assert_eq!(bans.rest(START, key(1)), Some(MINUTE * 10));
    assert_eq!(bans.rest(START, key(2)), None);
    let last = START.after(MINUTE * 10 - Duration::from_nanos(1));
    assert_eq!(bans.rest(last, key(1)), Some(Duration::from_nanos(1)));
    let end = START.after(MINUTE * 10);
    assert_eq!(bans.rest(end, key(1)), None);
    let swept = bans.sweep(end);
    assert_eq!((swept.begun, swept.ended, bans.stats().banned), (1, 1, 0));
}

#[test]
fn refusals_count_together_only_within_their_time() {
    let (bans, ban) = (Bans::default(), policy(3));
    for minute in 0..100 {
        let now = START.after((MINUTE + Duration::from_nanos(1)) * minute);
        assert!(!count(&bans, now, key(1), &ban));
        assert!(!count(&bans, now, key(1), &ban));
    }
}

#[test]
fn a_ban_is_lifted_and_forgets_the_refusals_before_it() {
    let (bans, ban) = (Bans::default(), policy(2));
    assert!(!bans.lift(START, key(1)));
    count(&bans, START, key(1), &ban);
    assert!(count(&bans, START, key(1), &ban));
    assert!(bans.lift(START, key(1)));
    assert_eq!((bans.rest(START, key(1)), bans.stats().banned), (None, 0));
    assert!(!count(&bans, START, key(1), &ban));
}

#[test]
fn a_limit_in_shadow_mode_counts_bans_and_bans_nothing() {
    let (bans, ban) = (Bans::default(), policy(2));
    let counted = [(); 4].map(|()| bans.count(START, key(1), (&ban, true), |_| ()));
    assert_eq!(counted, [false, true, false, true]);
    assert_eq!(bans.rest(START, key(1)), None);
    assert_eq!((bans.stats().begun, bans.stats().banned), (2, 0));
}

#[test]
fn a_flood_of_a_million_keys_replaces_counts_and_no_ban() {
    let (bans, ban) = (Bans::default(), policy(1));
    for n in 0..100 {
        assert!(count(&bans, START, key(n), &ban));
    }
    let counting = policy(2);
    for n in 100..1_000_000 {
        count(&bans, START, key(n), &counting);
    }
    assert!((0..100).all(|n| bans.rest(START, key(n)).is_some()));
    assert_eq!(bans.stats().untracked, 0);
}

#[test]
fn a_flood_of_bans_is_bounded_and_what_is_left_out_is_counted() {
    let (bans, ban) = (Bans::default(), policy(1));
    for n in 0..SLOTS as u64 * 3 {
        count(&bans, START, key(n), &ban);
    }
    let stats = bans.stats();
    assert!(stats.banned <= SLOTS && stats.untracked > 0, "{stats:?}");
    assert_eq!(stats.begun + stats.untracked, SLOTS as u64 * 3);
    assert_eq!(bans.list(START, usize::MAX).len(), stats.banned);
    // The slots of bans that are over are free again.
    let later = START.after(MINUTE * 11);
    assert!(count(&bans, later, key(u64::MAX - 9), &ban));
    let swept = bans.sweep(later);
    assert_eq!((swept.ended, bans.stats().banned), (stats.banned - 1, 1));
}

#[test]
fn all_that_are_banned_are_listed_with_their_values_the_latest_first() {
    let (bans, ban) = (Bans::default(), policy(1));
    for n in 0..5 {
        count(&bans, START.after(SECOND * n), key(n.into()), &ban);
    }
    count(&bans, START, key(9), &policy(2));
    let listed = bans.list(START.after(SECOND * 4), 3);
    let found: Vec<_> = listed.iter().map(|one| (one.key, one.rest)).collect();
    let expected = [4, 3, 2].map(|n| (key(n), MINUTE * 10 - SECOND * (4 - n as u32)));
    assert_eq!(found, expected);
    assert_eq!(listed[0].label.parts()[0].value, key(4).to_string());
    let label = bans.label(START, key(0)).unwrap();
    assert_eq!(label.parts()[0].value, key(0).to_string());
    assert_eq!(bans.label(START, key(9)), None);
    assert!(bans.list(START.after(MINUTE * 11), 3).is_empty());
}

/// Each refusal is counted once, whichever thread makes it: one of them begins
/// the ban, and the count of bans comes back to zero.
#[test]
fn threads_that_refuse_together_begin_one_ban() {
    const THREADS: u32 = 4;
    let bans = Bans::default();
    for round in 0..50 {
        let (start, ban) = (Barrier::new(THREADS as usize), policy(THREADS * 25));
        let begun: usize = thread::scope(|scope| {
            let run = || {
                start.wait();
                let begins = |_: &i32| count(&bans, START, key(round), &ban);
                (0..25).filter(begins).count()
            };
            let threads = [(); THREADS as usize].map(|()| scope.spawn(run));
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(begun, 1, "round {round}");
    }
    assert_eq!((bans.stats().begun, bans.stats().banned), (50, 50));
    thread::scope(|scope| {
        scope.spawn(|| (0..50).filter(|n| bans.lift(START, key(*n))).count());
        scope.spawn(|| bans.sweep(START.after(MINUTE * 11)));
    });
    assert_eq!(bans.stats().banned, 0);
}

#[test]
fn an_address_is_banned_with_its_network_unless_an_override_lifts_all_bounds() {
    let (bans, ban) = (Arc::new(Bans::default()), policy(1));
    let (hasher, prefixes) = (KeyHasher::with_seed([1, 2]), Prefixes { v4: 24, v6: 64 });
    let network = |text: &str| text.parse::<IpNet>().unwrap();
    let mut banned = hasher.key("l");
    banned.add(
        &KeyPart::ClientIp(prefixes),
        &KeyValue::Address(network("192.0.2.0/24")),
    );
    count(&bans, Clock.now(), banned.finish(), &ban);
    let with = |overrides: &[(&str, Option<Allowance>)]| {
        let one = |(text, allowance): &(&str, Option<Allowance>)| Override {
            matches: vec![vec![ValuePattern::Network(network(text))]],
            allowance: *allowance,
        };
        let overrides = overrides.iter().map(one).collect();
        AddressBans::new(Arc::clone(&bans), hasher.key("l"), prefixes, overrides)
    };
    let some = Some(Allowance::InFlight(NonZeroU32::MIN));
    let refuses = |bans: AddressBans| {
        ["192.0.2.7", "192.0.2.250", "192.0.3.7", "2001:db8::1"]
            .map(|text| bans.refuses(text.parse().unwrap()))
    };
    let is_closed = [true, true, false, false];
    assert_eq!(refuses(with(&[])), is_closed);
    assert_eq!(refuses(with(&[("192.0.0.0/16", some)])), is_closed);
    assert_eq!(refuses(with(&[("192.0.0.0/16", None)])), [false; 4]);
    let first = [("192.0.2.0/24", some), ("192.0.0.0/16", None)];
    assert_eq!(refuses(with(&first)), is_closed);
    assert_eq!(bans.stats().refused, 6);
}

/// An event of one of a few keys, some time after the one before.
#[derive(Debug, Clone, Copy)]
enum Event {
    Refused(u64),
    Lifted(u64),
    Swept,
}

fn events() -> impl Strategy<Value = Vec<(Duration, Event)>> {
    let event = prop_oneof![
        20 => (0..4_u64).prop_map(Event::Refused),
        1 => (0..4_u64).prop_map(Event::Lifted),
        1 => Just(Event::Swept),
    ];
    // Often at the very same time, and at the very end of a time.
    let time = prop_oneof![Just(0), Just(10), Just(30), 0..40_u64].prop_map(Duration::from_nanos);
    prop::collection::vec((time, event), 1..200)
}

/// The plain form of one key: refusals that count, and the end of its ban.
#[derive(Debug, Default)]
struct Model {
    counted: Vec<u64>,
    until: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `within` is 10 ns and `for` is 30 ns.
    #[test]
    fn bans_begin_and_end_as_those_of_a_plain_model(
        refusals in 1..6_u32,
        events in events(),
    ) {
        let ban = Ban {
            within: Duration::from_nanos(10),
            time: Duration::from_nanos(30),
            ..policy(refusals)
        };
        let (bans, mut models, mut now) = (Bans::default(), HashMap::new(), START);
        let mut last: HashMap<u64, Vec<u64>> = HashMap::new();
        for (passed, event) in events {
            now = now.after(passed);
            let at = now.as_nanos();
            match event {
                Event::Refused(n) => {
                    let model: &mut Model = models.entry(n).or_default();
                    let is_banned = model.until > at;
                    prop_assert_eq!(bans.rest(now, key(n)).is_some(), is_banned);
                    let begins = count(&bans, now, key(n), &ban);
                    if is_banned {
                        prop_assert!(!begins);
                        continue;
                    }
                    if model.counted.first().is_some_and(|first| at - first > 10) {
                        model.counted.clear();
                    }
                    model.counted.push(at);
                    let last = last.entry(n).or_default();
                    last.push(at);
                    prop_assert_eq!(begins, model.counted.len() == refusals as usize);
                    // As the documents state it.
                    let recent = |most: usize| last.iter().rev().take(most).filter(|time| at - **time <= 10).count();
                    if begins {
                        prop_assert_eq!(recent(refusals as usize), refusals as usize);
                        (model.until, model.counted) = (at + 30, Vec::new());
                        last.clear();
                    } else {
                        let certain = 2 * refusals as usize - 1;
                        prop_assert!(recent(certain) < certain);
                    }
                }
                Event::Lifted(n) => {
                    let model = models.entry(n).or_default();
                    prop_assert_eq!(bans.lift(now, key(n)), model.until > at);
                    *model = Model::default();
                    last.remove(&n);
                }
                Event::Swept => drop(bans.sweep(now)),
            }
        }
        let banned = models.values().filter(|model| model.until > now.as_nanos()).count();
        prop_assert_eq!(bans.list(now, usize::MAX).len(), banned);
        prop_assert!(bans.stats().banned >= banned);
        bans.sweep(now.after(MINUTE));
        prop_assert_eq!(bans.stats().banned, 0);
    }
}

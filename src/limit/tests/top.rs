//! The heaviest keys: exact while they are few, and never further off than the
//! reported error.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::limit::top::{CAPACITY, PERIOD};
use crate::policy::network;
use crate::runtime::worker;

fn record(top: &Top, worker: usize, now: Now, n: u64, verdict: Verdict) {
    worker::set_current(worker);
    top.record(now, key(n), verdict, |label| {
        label.add(&KeyValue::text(n.to_string().as_bytes()))
    });
}

fn address(text: &str, bits: u8) -> KeyValue<'static> {
    KeyValue::Address(network(text.parse().unwrap(), bits))
}

fn shown(heavy: &Heavy) -> String {
    heavy
        .label
        .parts()
        .into_iter()
        .map(|part| part.value)
        .collect::<Vec<_>>()
        .join(",")
}

fn label(write: impl FnOnce(&mut Label)) -> Vec<String> {
    let mut label = Label::default();
    write(&mut label);
    label.parts().into_iter().map(|part| part.value).collect()
}

#[test]
fn few_keys_are_counted_exactly_over_all_workers() {
    let top = Top::new(3);
    for n in 0..100 {
        for turn in 0..=n {
            let verdict = if turn % 3 == 0 {
                Verdict::Refused
            } else {
                Verdict::Admitted
            };
            record(&top, turn as usize, START, n, verdict);
        }
    }
    let heaviest = top.heaviest(START, 100);
    assert_eq!(heaviest.len(), 100);
    for (heavy, n) in heaviest.iter().zip((0..100_u64).rev()) {
        let refused = (n + 1).div_ceil(3);
        assert_eq!(
            heavy.count,
            Count {
                admitted: n + 1 - refused,
                refused,
                missed: 0
            }
        );
        assert_eq!((shown(heavy), heavy.key), (n.to_string(), key(n)));
        assert_eq!(top.count(START, key(n)), heavy.count);
    }
    assert_eq!(top.heaviest(START, 5), heaviest[..5]);
}

#[test]
fn a_key_that_was_never_seen_has_made_no_request() {
    assert_eq!(Top::new(2).count(START, key(1)), Count::default());
    assert_eq!(Top::new(2).heaviest(START, 10), []);
}

#[test]
fn a_flood_of_single_keys_does_not_hide_the_heavy_one() {
    let top = Top::new(1);
    for n in 0..100_000 {
        record(&top, 0, START, n + 1, Verdict::Admitted);
        if n % 20 == 0 {
            record(&top, 0, START, 0, Verdict::Refused);
        }
    }
    let heaviest = top.heaviest(START, 3);
    assert_eq!(
        (shown(&heaviest[0]), heaviest[0].count),
        (
            "0".into(),
            Count {
                admitted: 0,
                refused: 5000,
                missed: 0
            }
        )
    );
    let bound = 105_000 / CAPACITY as u64;
    assert!(
        top.heaviest(START, usize::MAX)
            .iter()
            .all(|heavy| heavy.count.missed <= bound)
    );
    assert!(top.count(START, key(500)).missed <= bound);
}

#[test]
fn the_list_covers_this_period_and_the_one_before() {
    let top = Top::new(1);
    record(&top, 0, START, 1, Verdict::Admitted);
    let second = START.after(PERIOD);
    record(&top, 0, second, 2, Verdict::Admitted);
    assert_eq!(top.heaviest(second, 9).len(), 2);
    assert_eq!(
        top.heaviest(second.after(PERIOD), 9)
            .iter()
            .map(shown)
            .collect::<Vec<_>>(),
        ["2"]
    );
    record(&top, 0, second.after(PERIOD * 4), 3, Verdict::Admitted);
    assert_eq!(
        top.heaviest(second.after(PERIOD * 4), 9)
            .iter()
            .map(shown)
            .collect::<Vec<_>>(),
        ["3"]
    );
}

#[test]
fn a_key_does_not_inherit_the_label_of_an_evicted_one() {
    let top = Top::new(1);
    for n in 0..2 * CAPACITY as u64 {
        top.record(START, key(n), Verdict::Admitted, |label| {
            label.add(&KeyValue::text(&vec![b'x'; n as usize % 7]))
        });
    }
    let all = top.heaviest(START, usize::MAX);
    assert_eq!(all.len(), CAPACITY);
    for heavy in all {
        let n = (0..).find(|n| key(*n) == heavy.key).unwrap();
        assert_eq!(shown(&heavy).len(), n as usize % 7);
    }
}

#[test]
fn labels_show_addresses_as_networks_and_cut_long_values() {
    let v6 = "2001:db8:1:2:3::4";
    assert_eq!(
        label(|label| label.add(&address("192.0.2.7", 32))),
        ["192.0.2.7"]
    );
    assert_eq!(
        label(|label| label.add(&address("192.0.2.7", 24))),
        ["192.0.2.0/24"]
    );
    assert_eq!(
        label(|label| label.add(&address(v6, 64))),
        ["2001:db8:1:2::/64"]
    );
    assert_eq!(
        label(|label| label.add(&address(v6, 128))),
        ["2001:db8:1:2:3::4"]
    );
    assert_eq!(
        label(|label| label.add(&KeyValue::text(&[b'a'; 128]))),
        ["a".repeat(128)]
    );
    assert_eq!(
        label(|label| label.add(&KeyValue::text(&[b'a'; 129]))),
        ["a".repeat(128) + "…"]
    );
    assert_eq!(
        label(|label| label.add(&KeyValue::text(format!("{}é", "a".repeat(127)).as_bytes()))),
        ["a".repeat(127) + "…"]
    );
    assert_eq!(
        label(|label| label.add(&KeyValue::text(b"\xff"))),
        ["\u{fffd}"]
    );
    assert_eq!(label(|_| {}), [""; 0]);
}

#[test]
fn the_replacement_of_a_missing_part_is_marked() {
    let mut label = Label::default();
    label.add(&KeyValue::text(b"given"));
    label.add_stand_in(&address("192.0.2.7", 32));
    let marks: Vec<_> = label
        .parts()
        .into_iter()
        .map(|part| part.is_stand_in)
        .collect();
    assert_eq!(marks, [false, true]);
}

proptest! {
    #[test]
    fn no_count_is_further_off_than_its_reported_error(
        requests in prop::collection::vec((0..3_usize, 0..4 * CAPACITY as u64, any::<bool>()), 0..6000),
        heavy in 0..50_u64,
    ) {
        let top = Top::new(3);
        let mut truth = HashMap::<u64, u64>::new();
        let doubled = requests.iter().map(|(worker, n, admitted)| (*worker, if n % 3 == 0 { n % heavy.max(1) } else { *n }, *admitted));
        for (worker, n, admitted) in doubled {
            record(&top, worker, START, n, if admitted { Verdict::Admitted } else { Verdict::Refused });
            *truth.entry(key(n).hash()).or_default() += 1;
        }
        for heavy in top.heaviest(START, usize::MAX) {
            let asked = truth[&heavy.key.hash()];
            let seen = heavy.count.seen();
            prop_assert!(seen <= asked && asked <= seen + heavy.count.missed, "{heavy:?} {asked}");
            prop_assert_eq!(top.count(START, heavy.key), heavy.count);
        }
        for (hash, asked) in &truth {
            let count = top.count(START, Key::from_raw(*hash));
            prop_assert!(count.seen() <= *asked && *asked <= count.seen() + count.missed);
            prop_assert!(count.missed <= 2 * (requests.len() / CAPACITY) as u64 + 3);
        }
    }
}

//! Tokens that a gateway holds in advance: how many it takes, when they expire,
//! and how they come back.

use std::num::NonZeroUsize;

use super::{
    gcra,
    simulation::{NAME, Run, World},
};
use crate::{
    limit::Gcra,
    store::{
        ledger::Ledger,
        share::{Local, MOMENT, Reply, ShareSlot, Trip},
    },
};

/// A call to the store that takes no time.
const AT_ONCE: Trip = Trip {
    sent: 1,
    received: 1,
};

/// Runs requests at a steady rate, sent to the gateways in turn.
fn steady(gcra: Gcra, gateways: usize, most_ahead: u32, gap: u64, count: u64) -> Run {
    let requests = (0..count)
        .map(|index| (index * gap, index as usize, 1, 255, 255))
        .collect();
    World {
        gcra,
        most_ahead,
        gateways: vec![(0, 200_000); gateways],
        requests,
    }
    .run()
}

#[test]
fn a_hot_key_asks_at_most_once_in_ten_requests() {
    // 1000/s with a burst of 400 and leases of 5 %: at the rate of the limit,
    // and at three times the rate.
    let gcra = gcra(1_000_000, 400);
    for gap in [1_000_000, 333_000] {
        let run = steady(gcra, 1, 20, gap, 20_000);
        assert!(
            run.asks * 10 <= run.requests,
            "{} calls for {} requests",
            run.asks,
            run.requests
        );
        let Run { asks, requests, .. } = steady(gcra, 4, 20, gap / 4, 20_000);
        assert!(
            asks * 10 <= requests,
            "{asks} calls of four gateways for {requests} requests"
        );
    }
}

#[test]
fn leases_do_not_waste_what_a_busy_key_may_use() {
    let gcra = gcra(1_000_000, 400);
    let run = steady(gcra, 4, 20, 100_000, 40_000);
    // Four seconds: 400 at once and 4000 as they come back; each gateway may
    // hold 20 at the end.
    assert!(
        run.used.len() >= 4400 - 4 * 20 - 4,
        "{} of 4400 were used",
        run.used.len()
    );
}

#[test]
fn a_cold_key_takes_nothing_ahead() {
    let gcra = gcra(1_000_000, 400);
    let run = steady(gcra, 1, 20, 2 * MOMENT, 50);
    assert_eq!((run.asks, run.used.len()), (50, 50));
}

/// Makes the ledger lease the slots from `before` to `after`, and returns the
/// first one, which is used.
fn leased(
    ledger: &Ledger,
    gcra: Gcra,
    [before, after]: [u64; 2],
    [sent, received]: [u64; 2],
) -> ShareSlot {
    let reply = Reply {
        admitted: true,
        before,
        after,
        moved: 0,
        at: 0,
    };
    ledger.learn(NAME, gcra, 1, reply, Trip { sent, received })
}

#[test]
fn a_slot_that_a_refund_moved_is_refunded_from_its_new_position() {
    let gcra = gcra(1_000, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let first = leased(&ledger, gcra, [0, 5_000], [1, 1]);
    let Local::Taken(second) = ledger.take(2, NAME, gcra, 1, 4, false) else {
        panic!("the ledger holds a token")
    };
    assert_eq!(ledger.give_back(501, NAME, first), Some(500));
    // The slot lay from 1001 to 2001, and now ends at 1501.
    assert_eq!(ledger.give_back(1_201, NAME, second), Some(300));
}

#[test]
fn a_slot_of_an_earlier_lease_is_not_mistaken_for_one_of_the_current() {
    let gcra = gcra(1_000, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let earlier = leased(&ledger, gcra, [5_000, 6_000], [1_000, 1_000]);
    // The store took long to respond: counted from the sending, this lease
    // seems to begin earlier than the one before.
    let slot = leased(&ledger, gcra, [4_000, 9_000], [1_001, 3_001]);
    let Local::Taken(_) = ledger.take(3_002, NAME, gcra, 1, 4, false) else {
        panic!("the ledger holds a token")
    };
    let Local::Taken(last) = ledger.take(3_003, NAME, gcra, 1, 4, false) else {
        panic!("the ledger holds a token")
    };
    assert!(
        slot.from < earlier.from && earlier.until < last.until,
        "the leases overlap"
    );
    assert_eq!(ledger.give_back(3_004, NAME, earlier), None);
    assert_eq!(ledger.give_back(3_004, NAME, last), Some(1_000));
}

#[test]
fn a_refusal_is_cached_for_a_moment() {
    let gcra = gcra(3600 * MOMENT, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let reply = Reply {
        admitted: false,
        before: gcra.fill(),
        after: gcra.fill(),
        moved: 0,
        at: 0,
    };
    ledger.learn(NAME, gcra, 1, reply, AT_ONCE);
    assert!(matches!(
        ledger.take(1 + MOMENT, NAME, gcra, 1, 0, false),
        Local::Refused(_)
    ));
    assert!(matches!(
        ledger.take(2 + MOMENT, NAME, gcra, 1, 0, false),
        Local::Ask { .. }
    ));
}

#[test]
fn each_leased_token_expires_on_its_own() {
    // Ten tokens; one gateway has leased four, the last of which begins when
    // four are back.
    let gcra = gcra(1_000, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let reply = Reply {
        admitted: true,
        before: 0,
        after: 5_000,
        moved: 0,
        at: 0,
    };
    ledger.learn(NAME, gcra, 1, reply, AT_ONCE);
    // Just before, the bucket has nine tokens for others: of the four leased
    // ones only the one that is missing there may be used.
    let now = 4_000;
    let used = (0..4)
        .filter(|_| matches!(ledger.take(now, NAME, gcra, 1, 4, false), Local::Taken(_)))
        .count();
    assert_eq!(used, 1);
    assert!(matches!(
        ledger.take(now + 2, NAME, gcra, 1, 4, false),
        Local::Ask { .. }
    ));
}

#[test]
fn what_is_owed_is_taken_from_what_is_held_and_the_rest_is_told_in_one_call_at_a_time() {
    let gcra = gcra(MOMENT, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let now = 1;
    // One slot is used, and two are held.
    leased(&ledger, gcra, [0, 3 * MOMENT], [now, now]);
    let owe = |tokens| ledger.owe(now, NAME, gcra, tokens * MOMENT) / MOMENT;
    assert_eq!((owe(1), ledger.held(now, NAME) / MOMENT), (0, 1));
    assert_eq!((owe(5), ledger.held(now, NAME)), (4, 0));
    assert_eq!((owe(2), owe(3)), (0, 0), "a call is in flight");
    assert_eq!(ledger.paid(NAME, 0) / MOMENT, 5);
    assert_eq!(
        ledger.paid(NAME, 5 * MOMENT),
        0,
        "the store has not answered"
    );
    assert_eq!(owe(1), 6, "what is left goes with the next debt");
    assert_eq!(ledger.paid(NAME, 0), 0);
    let (left, debt) = ledger.standing(now, NAME, gcra);
    assert_eq!((left, debt / MOMENT), (0, 13));
    let wait = ledger.take(now, NAME, gcra, 1, 0, false);
    assert!(
        matches!(wait, Local::Refused(wait) if wait.as_secs() == 4),
        "{wait:?}"
    );
}

#[test]
fn a_part_of_a_slot_comes_back_from_its_end() {
    let gcra = gcra(MOMENT, 10);
    let ledger = Ledger::new(NonZeroUsize::MIN);
    leased(&ledger, gcra, [0, 8 * MOMENT], [1, 1]);
    let Local::Taken(slot) = ledger.take(1, NAME, gcra, 4, 0, false) else {
        panic!("it is held");
    };
    assert_eq!(
        ledger.give_back(1, NAME, slot.last(3 * MOMENT)),
        Some(3 * MOMENT)
    );
    assert_eq!(ledger.held(1, NAME), 6 * MOMENT);
    assert_eq!(slot.last(9 * MOMENT), slot, "no more than was taken");
}

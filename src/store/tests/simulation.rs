//! Simulates many gateways over one bucket, with delays, lost requests and lost
//! responses. Together they must conform to the limit.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize};

use proptest::prelude::*;

use crate::store::{
    ledger::Ledger,
    name::Name,
    share::{Local, MOMENT, Pace, Slot, Told, Trip},
};

const NAME: Name = Name::from_raw(7);

/// A model of the script, on the true clock.
#[derive(Default)]
struct Bucket {
    at: u64,
    debt: u64,
    born: u64,
    moved: u64,
}

impl Bucket {
    fn ask(&mut self, now: u64, pace: Pace, cost: u32, ahead: u32) -> Told {
        let before = self.catch_up(now);
        let (need, ahead) = (pace.weight(cost), pace.weight(ahead));
        let admitted = before + need <= pace.fill;
        let mut after = before;
        if admitted {
            after += need;
            let room = ahead.min((pace.fill + ahead.min(MOMENT)).saturating_sub(after));
            after += room / pace.emission * pace.emission;
            if room >= pace.emission {
                (self.born, self.moved) = (now / 1000 + 1, 0);
            }
            self.debt = after;
        }
        Told {
            admitted,
            before,
            after,
            moved: self.moved,
            at: now / 1000,
        }
    }

    /// Returns how much of `slot` was refunded. The true clock is finer than
    /// the server's: a slot that begins in between counts as begun.
    fn give_back(&mut self, now: u64, slot: Slot) -> u64 {
        let debt = self.catch_up(now);
        let begun = (now.div_ceil(1000) - slot.since) * 1000;
        let rest = slot.reach.saturating_sub(self.moved).saturating_sub(begun);
        let back = if slot.since >= self.born {
            rest.min(slot.until - slot.from).min(debt)
        } else {
            0
        };
        self.debt -= back;
        self.moved += back;
        back
    }

    fn catch_up(&mut self, now: u64) -> u64 {
        (self.debt, self.at) = (self.debt.saturating_sub(now - self.at), now);
        if self.debt == 0 {
            (self.born, self.moved) = (now / 1000, 0);
        }
        self.debt
    }
}

/// An event at a gateway or at the store.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request {
        gateway: usize,
        cost: u32,
    },
    AtStore {
        gateway: usize,
        cost: u32,
        ahead: u32,
        sent: u64,
        is_answered: bool,
        back: u64,
    },
    Answer {
        gateway: usize,
        cost: u32,
        sent: u64,
        at_store: u64,
        told: [u64; 5],
    },
    GiveBack {
        gateway: usize,
        used: usize,
    },
    GiveBackAtStore {
        used: usize,
    },
}

/// The input of a run.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) pace: Pace,
    pub(super) most_ahead: u32,
    /// Offset of each gateway's clock, and the longest delay between it and the
    /// store.
    pub(super) gateways: Vec<(u64, u64)>,
    /// For each request: time, gateway, cost, delay, and the chance that
    /// decides on losses and refunds.
    pub(super) requests: Vec<(u64, usize, u32, u8, u8)>,
}

/// The result of a run.
#[derive(Debug, Default)]
struct Run {
    /// Admitted requests: the true time, the part of the bucket that is used
    /// and not refunded, and the slot.
    used: Vec<(u64, u64, Slot)>,
    asks: usize,
    requests: usize,
}

impl World {
    fn run(&self) -> Run {
        let ledgers: Vec<_> = self
            .gateways
            .iter()
            .map(|_| Ledger::new(NonZeroUsize::MIN))
            .collect();
        let (mut bucket, mut run) = (Bucket::default(), Run::default());
        let mut events = BinaryHeap::new();
        let mut luck = self
            .requests
            .iter()
            .map(|(_, _, _, slow, chance)| (*slow, *chance))
            .cycle();
        for (at, gateway, cost, ..) in &self.requests {
            events.push(Reverse((
                *at,
                Event::Request {
                    gateway: gateway % ledgers.len(),
                    cost: *cost,
                },
            )));
        }
        while let Some(Reverse((now, event))) = events.pop() {
            let (slow, chance) = luck.next().unwrap_or_default();
            let delay = |gateway: usize| self.gateways[gateway].1 * u64::from(slow) / 255;
            let refund = |events: &mut BinaryHeap<_>, gateway, used| {
                if chance % 5 == 0 {
                    events.push(Reverse((
                        now + delay(gateway),
                        Event::GiveBack { gateway, used },
                    )));
                }
            };
            match event {
                Event::Request { gateway, cost } => {
                    run.requests += 1;
                    let local = now + self.gateways[gateway].0;
                    match ledgers[gateway].take(
                        local,
                        NAME,
                        self.pace,
                        cost,
                        self.most_ahead,
                        false,
                    ) {
                        Local::Refused(_) => {}
                        Local::Taken(slot) => {
                            run.used.push((now, self.pace.weight(cost), slot));
                            refund(&mut events, gateway, run.used.len() - 1);
                        }
                        Local::Ask { ahead } if chance >= 8 => {
                            run.asks += 1;
                            let is_answered = chance >= 24;
                            let event = Event::AtStore {
                                gateway,
                                cost,
                                ahead,
                                sent: local,
                                is_answered,
                                back: delay(gateway),
                            };
                            events.push(Reverse((now + delay(gateway), event)));
                        }
                        Local::Ask { .. } | Local::Stranger => {} // lost on the way to the store
                    }
                }
                Event::AtStore {
                    gateway,
                    cost,
                    ahead,
                    sent,
                    is_answered,
                    back,
                } => {
                    let Told {
                        admitted,
                        before,
                        after,
                        moved,
                        at,
                    } = bucket.ask(now, self.pace, cost, ahead);
                    if is_answered {
                        let told = [admitted.into(), before, after, moved, at];
                        let response = Event::Answer {
                            gateway,
                            cost,
                            sent,
                            at_store: now,
                            told,
                        };
                        events.push(Reverse((now + back, response)));
                    }
                }
                Event::Answer {
                    gateway,
                    cost,
                    sent,
                    at_store,
                    told: [admitted, before, after, moved, at],
                } => {
                    let (admitted, received) = (admitted == 1, now + self.gateways[gateway].0);
                    let told = Told {
                        admitted,
                        before,
                        after,
                        moved,
                        at,
                    };
                    let slot = ledgers[gateway].learn(
                        NAME,
                        self.pace,
                        cost,
                        told,
                        Trip { sent, received },
                    );
                    if admitted {
                        run.used.push((at_store, self.pace.weight(cost), slot));
                        refund(&mut events, gateway, run.used.len() - 1);
                    }
                }
                // A part that has begun by then stays used, as if the request
                // had been served.
                Event::GiveBack { gateway, used } => {
                    let (local, slot) = (now + self.gateways[gateway].0, run.used[used].2);
                    let keeps = self.most_ahead > 0;
                    match keeps
                        .then(|| ledgers[gateway].give_back(local, NAME, slot))
                        .flatten()
                    {
                        Some(back) => run.used[used].1 -= back,
                        None if !keeps => {
                            events.push(Reverse((
                                now + delay(gateway),
                                Event::GiveBackAtStore { used },
                            )));
                        }
                        None => {}
                    }
                }
                Event::GiveBackAtStore { used } => {
                    run.used[used].1 -= bucket.give_back(now, run.used[used].2)
                }
            }
        }
        run
    }
}

impl World {
    pub(super) fn conforms(&self) -> Result<(), String> {
        conforms(
            self.pace,
            self.run()
                .used
                .into_iter()
                .map(|(at, used, _)| (at, used))
                .collect(),
        )
    }
}

/// Checks that no window holds more than `burst + rate * time`, by passing the
/// stream through GCRA.
fn conforms(pace: Pace, mut stream: Vec<(u64, u64)>) -> Result<(), String> {
    stream.sort_unstable();
    let mut tat = 0_u64;
    for (at, used) in stream {
        tat = tat.max(at) + used;
        if tat > at + pace.fill {
            return Err(format!(
                "at {at} there are {} tokens too many",
                (tat - at - pace.fill) as f64 / pace.emission as f64
            ));
        }
    }
    Ok(())
}

fn worlds() -> impl Strategy<Value = World> {
    // From one token each 10 us to one in ten seconds.
    let pace = (1_u64..=1_000_000, 1_u64..=60).prop_map(|(micros, burst)| {
        let emission = micros * 10_000;
        Pace {
            emission,
            fill: emission * burst,
        }
    });
    (pace, 1_usize..8, 0_u32..20).prop_flat_map(|(pace, gateways, most_ahead)| {
        let span = pace.fill * 4;
        let gateway = (0..u64::MAX / 4, 0..pace.fill.min(pace.emission * 8));
        let burst = u32::try_from(pace.fill / pace.emission).unwrap();
        // Single requests keep leases coming; volleys at all gateways use up
        // everything that is available.
        let shots = prop_oneof![3 => Just(0), 1 => 1..=burst];
        let request = (
            0..span,
            0..gateways,
            1..=burst.min(3),
            any::<u8>(),
            any::<u8>(),
            shots,
        );
        let requests = proptest::collection::vec(request, 1..100);
        (proptest::collection::vec(gateway, gateways), requests).prop_map(
            move |(gateways, requests)| {
                let count = gateways.len();
                let volley = |(at, gateway, cost, slow, chance, shots)| {
                    let everywhere = (0..count)
                        .flat_map(move |each| (0..shots).map(move |_| (at, each, 1, slow, 255)));
                    std::iter::once((at, gateway, cost, slow, chance)).chain(everywhere)
                };
                let requests = requests.into_iter().flat_map(volley).collect();
                World {
                    pace,
                    most_ahead,
                    gateways,
                    requests,
                }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn all_gateways_together_never_exceed_burst_plus_rate_times_time(world in worlds()) {
        prop_assert_eq!(world.conforms(), Ok(()));
    }
}

/// Runs requests at a steady pace, sent to the gateways in turn.
fn steady(pace: Pace, gateways: usize, most_ahead: u32, gap: u64, count: u64) -> Run {
    let requests = (0..count)
        .map(|index| (index * gap, index as usize, 1, 255, 255))
        .collect();
    World {
        pace,
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
    let pace = Pace {
        emission: 1_000_000,
        fill: 400_000_000,
    };
    for gap in [1_000_000, 333_000] {
        let run = steady(pace, 1, 20, gap, 20_000);
        assert!(
            run.asks * 10 <= run.requests,
            "{} calls for {} requests",
            run.asks,
            run.requests
        );
        let Run { asks, requests, .. } = steady(pace, 4, 20, gap / 4, 20_000);
        assert!(
            asks * 10 <= requests,
            "{asks} calls of four gateways for {requests} requests"
        );
    }
}

#[test]
fn leases_do_not_waste_what_a_busy_key_may_use() {
    let pace = Pace {
        emission: 1_000_000,
        fill: 400_000_000,
    };
    let run = steady(pace, 4, 20, 100_000, 40_000);
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
    let pace = Pace {
        emission: 1_000_000,
        fill: 400_000_000,
    };
    let run = steady(pace, 1, 20, 2 * MOMENT, 50);
    assert_eq!((run.asks, run.used.len()), (50, 50));
}

/// Makes the ledger lease the slots from `before` to `after`, and returns the
/// first one, which is used.
fn leased(
    ledger: &Ledger,
    pace: Pace,
    [before, after]: [u64; 2],
    [sent, received]: [u64; 2],
) -> Slot {
    let told = Told {
        admitted: true,
        before,
        after,
        moved: 0,
        at: 0,
    };
    ledger.learn(NAME, pace, 1, told, Trip { sent, received })
}

#[test]
fn a_slot_that_a_refund_moved_is_refunded_from_its_new_position() {
    let pace = Pace {
        emission: 1_000,
        fill: 10_000,
    };
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let first = leased(&ledger, pace, [0, 5_000], [1, 1]);
    let Local::Taken(second) = ledger.take(2, NAME, pace, 1, 4, false) else {
        panic!("the ledger holds a token")
    };
    assert_eq!(ledger.give_back(501, NAME, first), Some(500));
    // The slot lay from 1001 to 2001, and now ends at 1501.
    assert_eq!(ledger.give_back(1_201, NAME, second), Some(300));
}

#[test]
fn a_slot_of_an_earlier_lease_is_not_mistaken_for_one_of_the_current() {
    let pace = Pace {
        emission: 1_000,
        fill: 10_000,
    };
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let earlier = leased(&ledger, pace, [5_000, 6_000], [1_000, 1_000]);
    // The store took long to respond: counted from the sending, this lease
    // seems to begin earlier than the one before.
    let slot = leased(&ledger, pace, [4_000, 9_000], [1_001, 3_001]);
    let Local::Taken(_) = ledger.take(3_002, NAME, pace, 1, 4, false) else {
        panic!("the ledger holds a token")
    };
    let Local::Taken(last) = ledger.take(3_003, NAME, pace, 1, 4, false) else {
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
    let pace = Pace {
        emission: 3600 * MOMENT,
        fill: 36_000 * MOMENT,
    };
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let told = Told {
        admitted: false,
        before: pace.fill,
        after: pace.fill,
        moved: 0,
        at: 0,
    };
    ledger.learn(
        NAME,
        pace,
        1,
        told,
        Trip {
            sent: 1,
            received: 1,
        },
    );
    assert!(matches!(
        ledger.take(1 + MOMENT, NAME, pace, 1, 0, false),
        Local::Refused(_)
    ));
    assert!(matches!(
        ledger.take(2 + MOMENT, NAME, pace, 1, 0, false),
        Local::Ask { .. }
    ));
}

#[test]
fn each_leased_token_expires_on_its_own() {
    // Ten tokens; one gateway has leased four, the last of which begins when
    // four are back.
    let pace = Pace {
        emission: 1_000,
        fill: 10_000,
    };
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let told = Told {
        admitted: true,
        before: 0,
        after: 5_000,
        moved: 0,
        at: 0,
    };
    ledger.learn(
        NAME,
        pace,
        1,
        told,
        Trip {
            sent: 1,
            received: 1,
        },
    );
    // Just before, the bucket has nine tokens for others: of the four leased
    // ones only the one that is missing there may be used.
    let now = 4_000;
    let used = (0..4)
        .filter(|_| matches!(ledger.take(now, NAME, pace, 1, 4, false), Local::Taken(_)))
        .count();
    assert_eq!(used, 1);
    assert!(matches!(
        ledger.take(now + 2, NAME, pace, 1, 4, false),
        Local::Ask { .. }
    ));
}

//! Simulates many gateways over one bucket, with delays, lost requests and lost
//! responses. Together they must conform to the limit.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize};

use proptest::prelude::*;

use super::gcra;
use crate::{
    limit::Gcra,
    store::{
        ledger::Ledger,
        name::Name,
        share::{Local, MOMENT, Reply, ShareSlot, Trip},
    },
};

pub(super) const NAME: Name = Name::from_raw(7);

/// A model of the script, on the true clock.
#[derive(Default)]
struct Bucket {
    at: u64,
    debt: u64,
    born: u64,
    moved: u64,
}

impl Bucket {
    fn ask(&mut self, now: u64, gcra: Gcra, cost: u32, ahead: u32) -> Reply {
        let before = self.catch_up(now);
        let (need, ahead) = (gcra.weight(cost), gcra.weight(ahead));
        let admitted = before + need <= gcra.fill();
        let mut after = before;
        if admitted {
            after += need;
            let room = ahead.min((gcra.fill() + ahead.min(MOMENT)).saturating_sub(after));
            after += room / gcra.emission() * gcra.emission();
            if room >= gcra.emission() {
                (self.born, self.moved) = (now / 1000 + 1, 0);
            }
            self.debt = after;
        }
        Reply {
            admitted,
            before,
            after,
            moved: self.moved,
            at: now / 1000,
        }
    }

    /// Returns how much of `slot` was refunded. The true clock is finer than
    /// the server's: a slot that begins in between counts as begun.
    fn give_back(&mut self, now: u64, slot: ShareSlot) -> u64 {
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
    Reply {
        gateway: usize,
        cost: u32,
        sent: u64,
        at_store: u64,
        reply: [u64; 5],
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
    pub(super) gcra: Gcra,
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
pub(super) struct Run {
    /// Admitted requests: the true time, the part of the bucket that is used
    /// and not refunded, and the slot.
    pub(super) used: Vec<(u64, u64, ShareSlot)>,
    pub(super) asks: usize,
    pub(super) requests: usize,
}

impl World {
    pub(super) fn run(&self) -> Run {
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
                        self.gcra,
                        cost,
                        self.most_ahead,
                        false,
                    ) {
                        Local::Refused(_) => {}
                        Local::Taken(slot) => {
                            run.used.push((now, self.gcra.weight(cost), slot));
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
                        Local::Ask { .. } | Local::Overflow => {} // lost on the way to the store
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
                    let Reply {
                        admitted,
                        before,
                        after,
                        moved,
                        at,
                    } = bucket.ask(now, self.gcra, cost, ahead);
                    if is_answered {
                        let reply = [admitted.into(), before, after, moved, at];
                        let response = Event::Reply {
                            gateway,
                            cost,
                            sent,
                            at_store: now,
                            reply,
                        };
                        events.push(Reverse((now + back, response)));
                    }
                }
                Event::Reply {
                    gateway,
                    cost,
                    sent,
                    at_store,
                    reply: [admitted, before, after, moved, at],
                } => {
                    let (admitted, received) = (admitted == 1, now + self.gateways[gateway].0);
                    let reply = Reply {
                        admitted,
                        before,
                        after,
                        moved,
                        at,
                    };
                    let slot = ledgers[gateway].learn(
                        NAME,
                        self.gcra,
                        cost,
                        reply,
                        Trip { sent, received },
                    );
                    if admitted {
                        run.used.push((at_store, self.gcra.weight(cost), slot));
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
            self.gcra,
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
fn conforms(gcra: Gcra, mut stream: Vec<(u64, u64)>) -> Result<(), String> {
    stream.sort_unstable();
    let mut tat = 0_u64;
    for (at, used) in stream {
        tat = tat.max(at) + used;
        if tat > at + gcra.fill() {
            return Err(format!(
                "at {at} there are {} tokens too many",
                (tat - at - gcra.fill()) as f64 / gcra.emission() as f64
            ));
        }
    }
    Ok(())
}

fn worlds() -> impl Strategy<Value = World> {
    // From one token each 10 us to one in ten seconds.
    let gcra = (1_u64..=1_000_000, 1_u32..=60).prop_map(|(micros, burst)| {
        let emission = micros * 10_000;
        gcra(emission, burst)
    });
    (gcra, 1_usize..8, 0_u32..20).prop_flat_map(|(gcra, gateways, most_ahead)| {
        let span = gcra.fill() * 4;
        let gateway = (0..u64::MAX / 4, 0..gcra.fill().min(gcra.emission() * 8));
        let burst = gcra.burst();
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
                    gcra,
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

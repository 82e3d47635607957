//! Many gateways over one bucket, with delays, lost requests and lost answers: the merged stream conforms.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize};

use proptest::prelude::*;

use crate::store::{
    ledger::Ledger,
    name::Name,
    share::{Local, MOMENT, Pace, Slot, Told, Trip},
};

const NAME: Name = Name::from_raw(7);

/// The script, on the true clock.
#[derive(Default)]
struct Bucket {
    at: u64,
    debt: u64,
}

impl Bucket {
    fn ask(&mut self, now: u64, pace: Pace, cost: u32, ahead: u32) -> Told {
        let before = self.debt.saturating_sub(now - self.at);
        let (need, ahead) = (pace.weight(cost), pace.weight(ahead));
        let admitted = before + need <= pace.fill;
        let mut after = before;
        if admitted {
            after += need;
            let room = ahead.min((pace.fill + ahead.min(MOMENT)).saturating_sub(after));
            after += room / pace.emission * pace.emission;
            (self.at, self.debt) = (now, after);
        }
        Told { admitted, before, after }
    }

    fn give_back(&mut self, now: u64, back: u64) {
        (self.at, self.debt) = (now, self.debt.saturating_sub(now - self.at).saturating_sub(back));
    }
}

/// Something that happens at a gateway or at the store.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request { gateway: usize, cost: u32 },
    AtStore { gateway: usize, cost: u32, ahead: u32, sent: u64, is_answered: bool, back: u64 },
    Answer { gateway: usize, cost: u32, sent: u64, at_store: u64, admitted: bool, before: u64, after: u64 },
    GiveBack { gateway: usize, from: u64, until: u64, event: usize },
}

/// What a run is made of.
#[derive(Debug, Clone)]
struct World {
    pace: Pace,
    most_ahead: u32,
    /// Each gateway's clock, and the longest way to the store and back.
    gateways: Vec<(u64, u64)>,
    /// When, where, how much, how slow, and what goes wrong.
    requests: Vec<(u64, usize, u32, u8, u8)>,
}

/// What came out.
#[derive(Debug, Default)]
struct Run {
    /// When tokens were used, by the true clock, and how many; 0 for what was given back.
    admitted: Vec<(u64, u32)>,
    asks: usize,
    requests: usize,
}

impl World {
    fn run(&self) -> Run {
        let ledgers: Vec<_> = self.gateways.iter().map(|_| Ledger::new(NonZeroUsize::MIN)).collect();
        let (mut bucket, mut run) = (Bucket::default(), Run::default());
        let mut events = BinaryHeap::new();
        let mut luck = self.requests.iter().map(|(_, _, _, slow, chance)| (*slow, *chance)).cycle();
        for (at, gateway, cost, ..) in &self.requests {
            events.push(Reverse((*at, Event::Request { gateway: gateway % ledgers.len(), cost: *cost })));
        }
        while let Some(Reverse((now, event))) = events.pop() {
            let (slow, chance) = luck.next().unwrap_or_default();
            let delay = |gateway: usize| self.gateways[gateway].1 * u64::from(slow) / 255;
            match event {
                Event::Request { gateway, cost } => {
                    run.requests += 1;
                    let local = now + self.gateways[gateway].0;
                    match ledgers[gateway].take(local, NAME, self.pace, cost, self.most_ahead, false) {
                        Local::Refused(_) => {}
                        Local::Taken(Slot { from, until }) => {
                            run.admitted.push((now, cost));
                            if chance % 5 == 0 {
                                let event = run.admitted.len() - 1;
                                events.push(Reverse((
                                    now + delay(gateway),
                                    Event::GiveBack { gateway, from, until, event },
                                )));
                            }
                        }
                        Local::Ask { ahead } if chance >= 8 => {
                            run.asks += 1;
                            let is_answered = chance >= 24;
                            let event =
                                Event::AtStore { gateway, cost, ahead, sent: local, is_answered, back: delay(gateway) };
                            events.push(Reverse((now + delay(gateway), event)));
                        }
                        Local::Ask { .. } => {} // lost on the way there
                    }
                }
                Event::AtStore { gateway, cost, ahead, sent, is_answered, back } => {
                    let Told { admitted, before, after } = bucket.ask(now, self.pace, cost, ahead);
                    if is_answered {
                        let answer = Event::Answer { gateway, cost, sent, at_store: now, admitted, before, after };
                        events.push(Reverse((now + back, answer)));
                    }
                }
                Event::Answer { gateway, cost, sent, at_store, admitted, before, after } => {
                    let (told, received) = (Told { admitted, before, after }, now + self.gateways[gateway].0);
                    ledgers[gateway].learn(NAME, self.pace, cost, told, Trip { sent, received });
                    if admitted {
                        run.admitted.push((at_store, cost));
                    }
                }
                Event::GiveBack { gateway, from, until, event } => {
                    let local = now + self.gateways[gateway].0;
                    if ledgers[gateway].give_back(local, NAME, Slot { from, until }) {
                        // What had begun by then is kept as used: it is what a request that was served would have been.
                        let back = until.saturating_sub(from.max(local));
                        let kept = run.admitted[event].1 - u32::try_from(back / self.pace.emission).unwrap();
                        run.admitted[event].1 = kept;
                    } else {
                        bucket.give_back(now, 0);
                    }
                }
            }
        }
        run
    }
}

/// Whether no window holds more than `burst + rate * time`: the stream passes GCRA itself.
fn conforms(pace: Pace, mut stream: Vec<(u64, u32)>) -> Result<(), String> {
    stream.sort_unstable();
    let mut tat = 0_u64;
    for (at, cost) in stream {
        tat = tat.max(at) + pace.weight(cost);
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
    // From a token each 10 us to one in ten seconds.
    let pace = (1_u64..=1_000_000, 1_u64..=60).prop_map(|(micros, burst)| {
        let emission = micros * 10_000;
        Pace { emission, fill: emission * burst }
    });
    (pace, 1_usize..8, 0_u32..20).prop_flat_map(|(pace, gateways, most_ahead)| {
        let span = pace.fill * 4;
        let gateway = (0..u64::MAX / 4, 0..pace.fill.min(pace.emission * 8));
        let burst = u32::try_from(pace.fill / pace.emission).unwrap();
        // Single requests keep leases coming; volleys at all gateways at once use everything there is to use.
        let shots = prop_oneof![3 => Just(0), 1 => 1..=burst];
        let request = (0..span, 0..gateways, 1..=burst.min(3), any::<u8>(), any::<u8>(), shots);
        let requests = proptest::collection::vec(request, 1..100);
        (proptest::collection::vec(gateway, gateways), requests).prop_map(move |(gateways, requests)| {
            let count = gateways.len();
            let volley = |(at, gateway, cost, slow, chance, shots)| {
                let everywhere = (0..count).flat_map(move |each| (0..shots).map(move |_| (at, each, 1, slow, 255)));
                std::iter::once((at, gateway, cost, slow, chance)).chain(everywhere)
            };
            let requests = requests.into_iter().flat_map(volley).collect();
            World { pace, most_ahead, gateways, requests }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn all_gateways_together_never_pass_burst_plus_rate_times_time(world in worlds()) {
        let run = world.run();
        prop_assert!(conforms(world.pace, run.admitted.clone()).is_ok(), "{:?}", conforms(world.pace, run.admitted));
    }
}

/// Requests at a steady pace, each at the next of the gateways.
fn steady(pace: Pace, gateways: usize, most_ahead: u32, gap: u64, count: u64) -> Run {
    let requests = (0..count).map(|index| (index * gap, index as usize, 1, 255, 255)).collect();
    World { pace, most_ahead, gateways: vec![(0, 200_000); gateways], requests }.run()
}

#[test]
fn a_hot_key_asks_at_most_once_in_ten_requests() {
    // 1000/s with a burst of 400 and leases of 5 %: at the pace of the limit, and at three times it.
    let pace = Pace { emission: 1_000_000, fill: 400_000_000 };
    for gap in [1_000_000, 333_000] {
        let run = steady(pace, 1, 20, gap, 20_000);
        assert!(run.asks * 10 <= run.requests, "{} asks for {} requests", run.asks, run.requests);
        let Run { asks, requests, .. } = steady(pace, 4, 20, gap / 4, 20_000);
        assert!(asks * 10 <= requests, "{asks} asks of four gateways for {requests} requests");
    }
}

#[test]
fn leases_do_not_waste_what_a_busy_key_may_use() {
    let pace = Pace { emission: 1_000_000, fill: 400_000_000 };
    let run = steady(pace, 4, 20, 100_000, 40_000);
    // Four seconds: 400 at once and 4000 as they come back; each gateway may hold 20 at the end.
    assert!(run.admitted.len() >= 4400 - 4 * 20 - 4, "{} of 4400 were used", run.admitted.len());
}

#[test]
fn a_cold_key_takes_nothing_ahead() {
    let pace = Pace { emission: 1_000_000, fill: 400_000_000 };
    let run = steady(pace, 1, 20, 2 * MOMENT, 50);
    assert_eq!((run.asks, run.admitted.len()), (50, 50));
}

#[test]
fn each_leased_token_has_an_end_of_its_own() {
    // Ten tokens; one gateway has leased four, the last of which begins when four are back.
    let pace = Pace { emission: 1_000, fill: 10_000 };
    let ledger = Ledger::new(NonZeroUsize::MIN);
    let told = Told { admitted: true, before: 0, after: 5_000 };
    ledger.learn(NAME, pace, 1, told, Trip { sent: 1, received: 1 });
    // Just before, the bucket has nine for others: of the four only the one that is missing there may be used.
    let now = 4_000;
    let used = (0..4).filter(|_| matches!(ledger.take(now, NAME, pace, 1, 4, false), Local::Taken(_))).count();
    assert_eq!(used, 1);
    assert!(matches!(ledger.take(now + 2, NAME, pace, 1, 4, false), Local::Ask { .. }));
}

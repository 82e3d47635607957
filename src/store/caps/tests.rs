//! Several gateways over one store, with delays, lost calls, lost and late
//! replies, and gateways that die. Together they never have one request too
//! many.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::table::{
    CapDecision, CapOutcome, CapQuestion, CapRefused, CapReply, CapTable, LEASE, SharedPermit,
};
use crate::store::name::Name;

const MILLIS: u64 = 1_000_000;
const KEYS: u128 = 2;

fn key(number: u128) -> Name {
    Name::from_raw(number + 1)
}

fn most(number: u128) -> NonZeroU32 {
    NonZeroU32::new(number as u32 + 2).unwrap()
}

/// A model of the script, on the true clock.
#[derive(Default)]
struct ModelStore {
    /// For each key and gateway: permits, the end of their lease, and the number
    /// of the question.
    counts: HashMap<(Name, usize), (u32, u64, u64)>,
}

impl ModelStore {
    fn ask(&mut self, now: u64, gateway: usize, question: &CapQuestion) -> CapReply {
        let name = question.name;
        self.counts
            .retain(|(_, of), (_, until, _)| *of == gateway || *until > now);
        let of_others = |((of_key, of), (count, ..)): (&(Name, usize), &(u32, u64, u64))| {
            (*of_key == name && *of != gateway).then_some(*count)
        };
        let others: u32 = self.counts.iter().filter_map(of_others).sum();
        let (mut granted, _, last) = self
            .counts
            .get(&(name, gateway))
            .copied()
            .unwrap_or_default();
        if question.seq > last {
            let room = question.most.get().saturating_sub(others);
            granted = question.floor.max(question.want.min(room));
            self.counts.remove(&(name, gateway));
            if granted > 0 {
                let until = now + LEASE.as_nanos() as u64;
                self.counts
                    .insert((name, gateway), (granted, until, question.seq));
            }
        }
        CapReply { granted, others }
    }

    fn total(&self, now: u64, name: Name) -> u32 {
        let counts = self.counts.iter();
        let of_key = counts.filter(|((key, _), (_, until, _))| *key == name && *until > now);
        of_key.map(|(_, (count, ..))| count).sum()
    }
}

/// A call that is on its way.
struct ModelCall {
    questions: Vec<CapQuestion>,
    sent: u64,
    /// When it reaches the store; `None` if it is lost, or has been there.
    arrives: Option<u64>,
    /// When the replies come; `None` if they are lost.
    replied: Option<u64>,
    replies: Vec<CapReply>,
    /// When it is given up.
    ends: u64,
}

/// A gateway, whose clock runs ahead of the true one.
struct ModelGateway {
    table: Arc<CapTable>,
    ahead: u64,
    held: Vec<(u128, SharedPermit)>,
    waiting: Vec<(u128, Receiver<CapOutcome>)>,
    call: Option<ModelCall>,
    /// Calls that were given up and are still under way to the store.
    late: Vec<ModelCall>,
    renews: u64,
}

impl ModelGateway {
    fn new(ahead: u64) -> Self {
        Self {
            table: Arc::default(),
            ahead,
            held: Vec::new(),
            waiting: Vec::new(),
            call: None,
            late: Vec::new(),
            renews: 0,
        }
    }

    fn request(&mut self, now: u64, number: u128) {
        let limit: Arc<str> = "l".into();
        let decision = (self.table).acquire(now + self.ahead, key(number), &limit, most(number));
        match decision {
            CapDecision::Granted(permit, _) => self.held.push((number, permit)),
            CapDecision::Waiting(receiver) => self.waiting.push((number, receiver)),
        }
    }

    /// Takes the outcomes that have come.
    fn poll(&mut self) {
        for (number, mut receiver) in std::mem::take(&mut self.waiting) {
            match receiver.try_recv() {
                Ok(Ok((permit, _))) => self.held.push((number, permit)),
                Ok(Err(_)) => {}
                Err(TryRecvError::Empty) => self.waiting.push((number, receiver)),
                Err(TryRecvError::Closed) => panic!("nobody is forgotten"),
            }
        }
    }

    fn of(&self, number: u128) -> u32 {
        self.held.iter().filter(|(of, _)| *of == number).count() as u32
    }

    /// One round of the keeper, which has one call under way at most. `luck`
    /// decides on delays and losses.
    fn keep(&mut self, now: u64, index: usize, store: &mut ModelStore, luck: u8) {
        self.late.retain_mut(|call| {
            let has_come = call.arrives.is_some_and(|arrives| arrives <= now);
            if has_come {
                for question in &call.questions {
                    store.ask(now, index, question);
                }
            }
            !has_come
        });
        if let Some(call) = &mut self.call {
            if call.arrives.is_some_and(|arrives| arrives <= now) {
                let ask = |question| store.ask(now, index, question);
                call.replies = call.questions.iter().map(ask).collect();
                call.arrives = None;
            }
            let is_back = !call.replies.is_empty() && call.replied.is_some_and(|at| at <= now);
            if is_back {
                for (question, reply) in call.questions.iter().zip(&call.replies) {
                    self.table.learn(call.sent, question, *reply);
                }
                self.call = None;
            } else if call.ends <= now {
                call.questions
                    .iter()
                    .for_each(|question| self.table.failed(question));
                self.late.extend(self.call.take());
            }
            return;
        }
        if self.renews <= now {
            self.table.renew(now + self.ahead);
            self.renews = now + 1000 * MILLIS;
        }
        let questions = self.table.collect(100);
        if questions.is_empty() {
            return;
        }
        let delay = u64::from(luck % 8) * 5 * MILLIS;
        let arrives = match luck {
            0..20 => None,
            // After it is given up, and later questions with it.
            20..40 => Some(now + 600 * MILLIS),
            _ => Some(now + delay),
        };
        self.call = Some(ModelCall {
            questions,
            sent: now + self.ahead,
            arrives,
            replied: (!luck.is_multiple_of(7)).then_some(now + 2 * delay),
            replies: Vec::new(),
            ends: now + 100 * MILLIS,
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn several_gateways_never_have_one_request_too_many(
        steps in prop::collection::vec((0_u8..=255, 0_usize..3, 0..KEYS), 50..400),
        ahead in prop::array::uniform3(0_u64..100_000_000_000),
        luck in prop::collection::vec(any::<u8>(), 1..100),
        killed in 0_usize..600,
    ) {
        let mut store = ModelStore::default();
        let mut gateways: Vec<_> = ahead.iter().map(|ahead| ModelGateway::new(*ahead)).collect();
        for (tick, (action, index, number)) in steps.iter().enumerate() {
            let now = 1_000_000_000_000 + tick as u64 * 10 * MILLIS;
            if tick == killed {
                // Its requests end with it, and its permits with their lease.
                gateways[0].held.clear();
                gateways[0] = ModelGateway::new(0);
            }
            match action {
                0..120 => gateways[*index].request(now, *number),
                120..200 => drop(gateways[*index].held.pop()),
                200..220 => drop(gateways[*index].waiting.pop()),
                _ => {}
            }
            for (index, gateway) in gateways.iter_mut().enumerate() {
                // A gateway that comes back after it was killed has a new name.
                let id = index + if index == 0 && tick >= killed { 100 } else { 0 };
                let luck = luck[(tick * 3 + index) % luck.len()];
                gateway.keep(now, id, &mut store, luck);
                gateway.poll();
            }
            for number in 0..KEYS {
                let held: u32 = gateways.iter().map(|gateway| gateway.of(number)).sum();
                prop_assert!(held <= most(number).get(), "{held} of {}", most(number));
            }
        }
        // When everything has ended and every call comes through, nothing is
        // left here, nor at the store after a lease.
        let end = 1_000_000_000_000 + steps.len() as u64 * 10 * MILLIS;
        for tick in 0..200 {
            let now = end + tick * 10 * MILLIS;
            for (index, gateway) in gateways.iter_mut().enumerate() {
                gateway.held.clear();
                gateway.waiting.clear();
                let id = index + if index == 0 && steps.len() > killed { 100 } else { 0 };
                gateway.keep(now, id, &mut store, 41);
                gateway.poll();
            }
        }
        for gateway in &gateways {
            prop_assert_eq!(gateway.table.len(), 0);
        }
        let later = end + 2 * LEASE.as_nanos() as u64;
        prop_assert!((0..KEYS).all(|number| store.total(later, key(number)) == 0));
    }
}

/// A table with its calls, all of which come through at once.
fn settle(table: &Arc<CapTable>, store: &mut ModelStore, now: u64, gateway: usize) {
    loop {
        let questions = table.collect(10);
        if questions.is_empty() {
            return;
        }
        for question in questions {
            let reply = store.ask(now, gateway, &question);
            table.learn(now, &question, reply);
        }
    }
}

fn ask(
    table: &Arc<CapTable>,
    store: &mut ModelStore,
    now: u64,
    gateway: usize,
) -> Result<SharedPermit, CapRefused> {
    match table.acquire(now, key(0), &"l".into(), most(0)) {
        CapDecision::Granted(permit, _) => Ok(permit),
        CapDecision::Waiting(mut receiver) => {
            settle(table, store, now, gateway);
            receiver.try_recv().unwrap().map(|(permit, _)| permit)
        }
    }
}

const START: u64 = 1_000_000_000_000;

fn after(time: Duration) -> u64 {
    START + time.as_nanos() as u64
}

#[test]
fn the_permits_of_a_gateway_that_died_are_free_after_their_lease_and_not_before() {
    let mut store = ModelStore::default();
    let [dead, alive] = [Arc::<CapTable>::default(), Arc::default()];
    let _held = [0; 2].map(|_| ask(&dead, &mut store, START, 0).unwrap());
    let just_before = after(LEASE - Duration::from_millis(1));
    assert!(matches!(
        ask(&alive, &mut store, just_before, 1),
        Err(CapRefused::Full)
    ));
    assert!(ask(&alive, &mut store, after(LEASE), 1).is_ok());
}

#[test]
fn permits_that_are_renewed_last_for_longer_than_a_lease() {
    let mut store = ModelStore::default();
    let [one, other] = [Arc::<CapTable>::default(), Arc::default()];
    let _held = [0; 2].map(|_| ask(&one, &mut store, START, 0).unwrap());
    for second in (3..60).step_by(3) {
        let now = after(Duration::from_secs(second));
        one.renew(now);
        settle(&one, &mut store, now, 0);
        assert!(ask(&other, &mut store, now, 1).is_err());
    }
}

#[test]
fn requests_that_the_store_forgot_count_again_and_admit_no_more_until_enough_have_ended() {
    let mut store = ModelStore::default();
    let [cut, other] = [Arc::<CapTable>::default(), Arc::default()];
    let mut first: Vec<_> = [0; 2]
        .map(|_| ask(&cut, &mut store, START, 0).unwrap())
        .into();
    // The store is away from the first gateway for longer than a lease.
    let now = after(2 * LEASE);
    let mut second: Vec<_> = [0; 2]
        .map(|_| ask(&other, &mut store, now, 1).unwrap())
        .into();
    assert!(matches!(
        cut.acquire(now, key(0), &"l".into(), most(0)),
        CapDecision::Waiting(_)
    ));
    cut.renew(now);
    settle(&cut, &mut store, now, 0);
    assert_eq!(store.total(now, key(0)), 4, "all of them are in flight");
    for _ in 0..2 {
        assert!(ask(&cut, &mut store, now, 0).is_err());
        drop(first.pop());
        settle(&cut, &mut store, now, 0);
    }
    assert!(ask(&cut, &mut store, now, 0).is_err(), "two are in flight");
    drop(second.pop());
    settle(&other, &mut store, now, 1);
    assert!(ask(&cut, &mut store, now, 0).is_ok());
}

#[test]
fn a_permit_for_a_request_that_left_goes_back() {
    let mut store = ModelStore::default();
    let table = Arc::<CapTable>::default();
    let CapDecision::Waiting(left) = table.acquire(START, key(0), &"l".into(), most(0)) else {
        panic!("nothing is granted yet")
    };
    let questions = table.collect(10);
    drop(left);
    let reply = store.ask(START, 0, &questions[0]);
    table.learn(START, &questions[0], reply);
    settle(&table, &mut store, START, 0);
    assert_eq!((store.total(START, key(0)), table.len()), (0, 0));
}

#[test]
fn a_request_admitted_without_the_store_is_counted_when_it_is_back() {
    let mut store = ModelStore::default();
    let table = Arc::<CapTable>::default();
    let permit = table.admit_alone(key(0), &"l".into(), most(0));
    assert_eq!(table.of(key(0)), (1, 0));
    settle(&table, &mut store, START, 0);
    assert_eq!((table.of(key(0)), store.total(START, key(0))), ((1, 1), 1));
    drop(permit);
    settle(&table, &mut store, START, 0);
    assert_eq!((store.total(START, key(0)), table.len()), (0, 0));
}

#[test]
fn a_call_without_a_reply_is_made_again_with_another_number() {
    let table = Arc::<CapTable>::default();
    let permit = table.admit_alone(key(0), &"l".into(), most(0));
    let first = table.collect(10);
    assert!(table.collect(10).is_empty(), "one question at a time");
    table.failed(&first[0]);
    let second = table.collect(10);
    assert!(second[0].seq > first[0].seq);
    drop(permit);
    table.failed(&second[0]);
    // With the lease, which never began, everything is over.
    table.renew(START);
    assert_eq!(table.len(), 0);
}

//! A bounded queue in which every client gets its turn.
//!
//! Jobs of one address wait behind each other and beside those of others: the
//! addresses are served in turn. An address can have a small part of the queue,
//! and if the queue is full, one that has nothing in it takes a slot from the
//! address that has the most. A flood from few addresses so delays a job of
//! another one by no more than one job for each of them.
//!
//! An address of IPv6 stands for its network of 64 bits, which is what one
//! customer of a provider has.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
};

use foldhash::fast::RandomState;

/// Jobs that wait. With 0.1 ms for each, the last one waits for 0.1 s.
pub(super) const MOST: usize = 1024;
/// Jobs of one address that wait: enough for an office behind one address.
const MOST_OF_ONE: usize = MOST / 8;

/// Jobs by the address that they came from.
#[derive(Debug)]
pub(super) struct FairQueue<J> {
    /// No queue is empty.
    by_client: HashMap<IpAddr, VecDeque<J>, RandomState>,
    /// Each address in `by_client` once, the next one first.
    turns: VecDeque<IpAddr>,
    /// The jobs of all queues.
    waiting: usize,
}

impl<J> FairQueue<J> {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self {
            by_client: HashMap::default(),
            turns: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Adds a job. Returns the job that has to go for it: another one, this one
    /// itself, or none.
    pub(super) fn push(&mut self, client: IpAddr, job: J) -> Option<J> {
        let client = network(client);
        let own = self.by_client.get(&client).map_or(0, VecDeque::len);
        if own >= MOST_OF_ONE {
            return Some(job);
        }
        let mut displaced = None;
        if self.waiting >= MOST {
            if own > 0 {
                return Some(job);
            }
            let longest = self.by_client.values_mut().max_by_key(|jobs| jobs.len());
            match longest.filter(|jobs| jobs.len() > 1) {
                Some(jobs) => displaced = jobs.pop_back(),
                None => return Some(job),
            }
        }
        if own == 0 {
            self.turns.push_back(client);
        }
        self.by_client.entry(client).or_default().push_back(job);
        self.waiting += 1 - usize::from(displaced.is_some());
        displaced
    }

    /// Takes the oldest job of the address whose turn it is.
    pub(super) fn pop(&mut self) -> Option<J> {
        let client = self.turns.pop_front()?;
        let jobs = self.by_client.get_mut(&client)?;
        let job = jobs.pop_front();
        match jobs.is_empty() {
            true => drop(self.by_client.remove(&client)),
            false => self.turns.push_back(client),
        }
        self.waiting -= usize::from(job.is_some());
        job
    }
}

/// The network that shares what one client may have.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn client(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
    }

    #[test]
    fn clients_are_served_in_turn_whatever_each_has() {
        let mut queue = FairQueue::new();
        for job in 0..3 {
            assert_eq!(queue.push(client(1), (1, job)), None);
        }
        queue.push(client(2), (2, 0));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 1), (1, 2)]);
        assert_eq!((queue.len(), queue.by_client.len()), (0, 0));
    }

    #[test]
    fn one_client_has_an_eighth_of_the_queue_at_most() {
        let mut queue = FairQueue::new();
        let refused = (0..MOST).filter_map(|job| queue.push(client(1), job));
        assert_eq!(refused.count(), MOST - MOST_OF_ONE);
        assert_eq!(queue.push(client(2), 7), None);
    }

    #[test]
    fn a_full_queue_has_room_for_a_client_that_has_nothing_in_it() {
        let mut queue = FairQueue::new();
        for job in 0..MOST {
            assert_eq!(queue.push(client(job / MOST_OF_ONE), job), None);
        }
        assert!(
            queue
                .push(client(100), 5000)
                .is_some_and(|gone| gone != 5000)
        );
        assert_eq!(queue.push(client(100), 5001), Some(5001));
        assert_eq!(queue.len(), MOST);
        let after: Vec<_> = std::iter::from_fn(|| queue.pop()).take(9).collect();
        assert!(after.contains(&5000), "{after:?}");
    }

    #[test]
    fn a_queue_of_single_jobs_is_full_for_everybody() {
        let mut queue = FairQueue::new();
        for job in 0..MOST {
            assert_eq!(queue.push(client(job), job), None);
        }
        assert_eq!(queue.push(client(MOST), MOST), Some(MOST));
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let mut queue = FairQueue::new();
        for job in 0..MOST_OF_ONE as u128 {
            let ip = Ipv6Addr::from_bits((0x2001_0db8 << 96) + job);
            assert_eq!(queue.push(ip.into(), job), None);
        }
        let ip = Ipv6Addr::from_bits((0x2001_0db8 << 96) + 1_000_000);
        assert_eq!(queue.push(ip.into(), 1), Some(1));
    }

    proptest! {
        #[test]
        fn every_job_comes_out_once_in_the_order_of_its_client(
            steps in prop::collection::vec(prop::option::weighted(0.7, 0..20_usize), 0..3000),
        ) {
            let mut queue = FairQueue::new();
            let (mut inside, mut last) = (0, HashMap::new());
            for (job, step) in steps.into_iter().enumerate() {
                match step {
                    Some(from) => {
                        let gone = queue.push(client(from), (from, job));
                        inside += usize::from(gone.is_none());
                    }
                    None => {
                        let popped = queue.pop();
                        prop_assert_eq!(popped.is_some(), inside > 0);
                        if let Some((from, job)) = popped {
                            inside -= 1;
                            let before = last.insert(from, job);
                            prop_assert!(before.is_none_or(|before| before < job));
                        }
                    }
                }
                prop_assert_eq!(queue.len(), inside);
                prop_assert!(inside <= MOST);
            }
        }
    }
}

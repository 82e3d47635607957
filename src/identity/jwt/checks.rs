//! Checks of signatures, on threads of their own.
//!
//! A check takes from 20 us to 0.3 ms, in which a worker serves several
//! requests. So tokens that are not known yet wait in a bounded queue
//! (`queue`), and the workers serve others meanwhile. The threads have a lower
//! priority than workers: where all cores are busy, a flood of made-up tokens
//! gets a tenth of a core for each thread.
//!
//! A request whose client leaves drops its receiver. Its job is skipped when
//! its turn comes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::process::nice;
use tokio::{sync::oneshot, time::Instant};

use super::{queue::FairQueue, ring::LiveKey, token::Token};

/// How much nicer than the workers the threads are: a tenth of a core if a
/// worker wants all of it.
const NICENESS: i32 = 10;

/// Workers for each thread: one that serves 40,000 requests a second has some
/// hundred new tokens among them.
const WORKERS_FOR_A_THREAD: usize = 8;

/// The threads, and what they have done. Dropping it ends them.
#[derive(Debug)]
pub struct SignatureChecks(Arc<CheckThreads>);

/// Checks since the start, and those that wait.
#[derive(Debug, Clone, Copy)]
pub struct CheckCounts {
    /// Signatures that were checked.
    pub done: u64,
    /// The time that they took.
    pub took: Duration,
    /// Tokens that found no slot in the queue, or lost it.
    pub refused: u64,
    /// Tokens that wait.
    pub waiting: u64,
}

#[derive(Debug)]
struct CheckThreads {
    queue: Mutex<Jobs>,
    /// Wakes a thread for a job, and all of them for the end.
    wake: Condvar,
    done: AtomicU64,
    nanos: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Jobs {
    waiting: FairQueue<Job>,
    has_ended: bool,
}

/// A token to check.
#[derive(Debug)]
struct Job {
    token: Arc<Token>,
    keys: Vec<Arc<LiveKey>>,
    answer: oneshot::Sender<Option<Arc<LiveKey>>>,
}

impl SignatureChecks {
    /// Starts the threads for so many workers.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(workers: usize) -> std::io::Result<Self> {
        let checks = Self(Arc::new(CheckThreads {
            queue: Mutex::new(Jobs {
                waiting: FairQueue::new(),
                has_ended: false,
            }),
            wake: Condvar::new(),
            done: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }));
        for _ in 0..workers.div_ceil(WORKERS_FOR_A_THREAD) {
            let shared = Arc::clone(&checks.0);
            thread::Builder::new()
                .name("signatures".to_owned())
                .spawn(move || shared.run())?;
        }
        Ok(checks)
    }

    /// Has the signature of a token checked against these keys. The answer is
    /// the key that has signed it, or none. A job that finds no slot, or loses
    /// it, has no answer.
    pub(super) fn ask(
        &self,
        client: IpAddr,
        token: Arc<Token>,
        keys: Vec<Arc<LiveKey>>,
    ) -> oneshot::Receiver<Option<Arc<LiveKey>>> {
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            token,
            keys,
            answer,
        };
        let displaced = self.0.queue.lock().waiting.push(client, job);
        if displaced.is_some() {
            self.0.refused.fetch_add(1, Relaxed);
        }
        self.0.wake.notify_one();
        receiver
    }

    /// Counts so far.
    pub fn counts(&self) -> CheckCounts {
        CheckCounts {
            done: self.0.done.load(Relaxed),
            took: Duration::from_nanos(self.0.nanos.load(Relaxed)),
            refused: self.0.refused.load(Relaxed),
            waiting: self.0.queue.lock().waiting.len() as u64,
        }
    }
}

/// Ends the threads. Jobs that wait get no answer.
impl Drop for SignatureChecks {
    fn drop(&mut self) {
        self.0.queue.lock().has_ended = true;
        self.0.wake.notify_all();
    }
}

impl CheckThreads {
    /// Checks until the end.
    fn run(&self) {
        if cfg!(target_os = "linux") {
            // On Linux, this changes the thread alone. Where it is not
            // permitted, signatures are checked all the same.
            let _ = nice(NICENESS);
        }
        while let Some(job) = self.next() {
            if job.answer.is_closed() {
                continue;
            }
            let begun = Instant::now();
            let Token { algorithm, .. } = *job.token;
            let message = job.token.message();
            let mut keys = job.keys.into_iter();
            let signed =
                |live: &Arc<LiveKey>| live.key.verify(algorithm, message, &job.token.signature);
            let found = keys.find(signed);
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.done.fetch_add(1, Relaxed);
            self.nanos.fetch_add(took, Relaxed);
            // The client may have left.
            let _ = job.answer.send(found);
        }
    }

    /// Waits for the next job; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.has_ended {
                return None;
            }
            if let Some(job) = queue.waiting.pop() {
                return Some(job);
            }
            self.wake.wait(&mut queue);
        }
    }
}

//! Queues of requests that wait for their tokens: one for each key, in the
//! order of arrival.
//!
//! A queue holds no tokens. The request at its head asks the bucket when the
//! tokens are due, and takes them as any other does; so a wait never admits more
//! than rate and burst allow, and nothing is to be given back when a client
//! leaves: those behind it move up. When tokens come back, or an operator fills
//! the bucket, or a reload brings other numbers, the first one looks again.
//!
//! # Bounds
//!
//! A key has at most as many requests in its queue as get their tokens within
//! the limit's `delay`, which its caller checks. All queues of a limit together
//! hold at most [`MOST_WAITING`] requests; the next one is refused as it would
//! be without a queue. A queue without requests takes no memory.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::Key;

/// Requests that wait for tokens of one limit: each holds a connection, and a
/// few kilobytes.
pub(super) const MOST_WAITING: usize = 10_000;

/// The queues of one limit.
#[derive(Debug, Default)]
pub struct TokenQueues {
    queues: Mutex<HashMap<Key, KeyQueue>>,
    /// Requests in all queues. Changes under the lock.
    waiting: AtomicUsize,
    admitted: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
    full: AtomicU64,
}

/// The requests that wait for tokens of one key.
#[derive(Debug, Default)]
struct KeyQueue {
    /// By their numbers, in the order of arrival. Never empty.
    requests: BTreeMap<u64, QueuedRequest>,
    /// The number of the next request.
    next: u64,
    /// Tokens that all of them want.
    cost: u64,
}

/// One request in a queue.
#[derive(Debug)]
struct QueuedRequest {
    cost: u32,
    /// Tells it to look at the bucket again.
    stirred: Arc<Notify>,
    /// Tells it that it has come to the head, and when the one before it was
    /// decided; `None` once it was told.
    turn: Option<oneshot::Sender<Option<Instant>>>,
}

/// How many requests have waited for tokens of a limit, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenQueueStats {
    /// Requests that wait now.
    pub waiting: usize,
    /// Requests that were admitted after a wait.
    pub admitted: u64,
    /// Requests that were refused after a wait: tokens were owed meanwhile, or
    /// another limit refused.
    pub refused: u64,
    /// Requests whose clients left during the wait.
    pub left: u64,
    /// Requests that could not wait, as too many waited.
    pub full: u64,
}

impl TokenQueues {
    /// Tokens that requests want which wait for this key; 0 while none does.
    #[inline]
    pub fn ahead(&self, key: Key) -> u64 {
        // Relaxed: a request that arrives while another one enters the queue may
        // be asked before it.
        if self.waiting.load(Relaxed) == 0 {
            return 0;
        }
        self.queues.lock().get(&key).map_or(0, |queue| queue.cost)
    }

    /// Enters the queue of `key` for `cost` tokens, as the last one. `None` if
    /// too many requests wait for tokens of the limit.
    pub fn enter(self: &Arc<Self>, key: Key, cost: u32) -> Option<TokenPlace> {
        let mut queues = self.queues.lock();
        if self.waiting.load(Relaxed) >= MOST_WAITING {
            self.full.fetch_add(1, Relaxed);
            return None;
        }
        self.waiting.fetch_add(1, Relaxed);
        let queue = queues.entry(key).or_default();
        let number = queue.next;
        let (tell, turn) = oneshot::channel();
        let stirred = Arc::new(Notify::new());
        queue.requests.insert(
            number,
            QueuedRequest {
                cost,
                stirred: Arc::clone(&stirred),
                turn: Some(tell),
            },
        );
        queue.next += 1;
        queue.cost += u64::from(cost);
        queue.call_first(None);
        Some(TokenPlace {
            queues: Arc::clone(self),
            key,
            number,
            turn,
            stirred,
            end: WaitEnd::Left,
            decided: None,
        })
    }

    /// Tells the first request of the queue of `key` that tokens have come back,
    /// or that other numbers count. One load while none waits.
    #[inline]
    pub(super) fn stir(&self, key: Key) {
        // Relaxed: a request that enters at the same time looks at the bucket
        // once it is the first.
        if self.waiting.load(Relaxed) > 0
            && let Some(queue) = self.queues.lock().get(&key)
        {
            queue.stir_first();
        }
    }

    /// Tells the first request of each queue.
    pub(super) fn stir_all(&self) {
        for queue in self.queues.lock().values() {
            queue.stir_first();
        }
    }

    /// The counters.
    pub fn stats(&self) -> TokenQueueStats {
        TokenQueueStats {
            waiting: self.waiting.load(Relaxed),
            admitted: self.admitted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            left: self.left.load(Relaxed),
            full: self.full.load(Relaxed),
        }
    }
}

impl KeyQueue {
    fn stir_first(&self) {
        if let Some((_, first)) = self.requests.first_key_value() {
            first.stirred.notify_one();
        }
    }

    /// Tells the first request that it is the first, once, and when the one
    /// before it was decided.
    fn call_first(&mut self, decided: Option<Instant>) {
        let Some(mut first) = self.requests.first_entry() else {
            return;
        };
        if let Some(turn) = first.get_mut().turn.take() {
            let _is_about_to_leave = turn.send(decided);
        }
    }
}

/// A request's place in a queue. Dropping it frees the place.
#[derive(Debug)]
pub struct TokenPlace {
    queues: Arc<TokenQueues>,
    key: Key,
    number: u64,
    turn: oneshot::Receiver<Option<Instant>>,
    stirred: Arc<Notify>,
    end: WaitEnd,
    /// The time by which the limits decided; `None` if they did not.
    decided: Option<Instant>,
}

/// How a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// The request was admitted.
    Admitted,
    /// The request was refused.
    Refused,
    /// Its client has left.
    Left,
}

impl TokenPlace {
    /// The key whose tokens the request waits for.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Waits until all requests before this one have left the queue. Returns
    /// the time by which the last of them was decided; `None` if there was none,
    /// or if its client left. To be awaited once.
    pub async fn first(&mut self) -> Option<Instant> {
        // The sender lives as long as the place, until it has sent.
        (&mut self.turn).await.ok().flatten()
    }

    /// Waits until tokens have come back to the bucket, or other numbers count,
    /// since this was awaited last.
    pub async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Leaves the queue with the decision about the request, by the time
    /// `decided`.
    pub fn leave(mut self, end: WaitEnd, decided: Instant) {
        (self.end, self.decided) = (end, Some(decided));
    }
}

impl Drop for TokenPlace {
    fn drop(&mut self) {
        let ended = match self.end {
            WaitEnd::Admitted => &self.queues.admitted,
            WaitEnd::Refused => &self.queues.refused,
            WaitEnd::Left => &self.queues.left,
        };
        ended.fetch_add(1, Relaxed);
        let mut queues = self.queues.queues.lock();
        let Some(queue) = queues.get_mut(&self.key) else {
            return;
        };
        if let Some(gone) = queue.requests.remove(&self.number) {
            queue.cost -= u64::from(gone.cost);
            self.queues.waiting.fetch_sub(1, Relaxed);
        }
        queue.call_first(self.decided);
        if queue.requests.is_empty() {
            queues.remove(&self.key);
            release(&mut queues);
        }
    }
}

/// Returns the memory of a table of queues after a crowd of keys has left.
fn release(queues: &mut HashMap<Key, KeyQueue>) {
    if queues.is_empty() {
        mem::take(queues);
    }
}

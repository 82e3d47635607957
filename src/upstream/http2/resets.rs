//! A limit on the resets of streams that a connection sends, so that no server
//! takes them for an attack.
//!
//! A reset makes the server drop work that it has begun. Servers bound the
//! resets that they accept on a connection (CVE-2023-44487, "Rapid Reset") and
//! end the connection beyond that, with the streams of all other requests on
//! it; 200 in 30 s is a common bound. A connection here sends 50 at once and
//! then one every 400 ms, that is 125 in any 30 s.
//!
//! The first reset beyond that retires the connection. Its stream and later
//! ones stay open until their reset is due; the server's frames on them are
//! discarded meanwhile.
//!
//! # Concurrency
//!
//! Streams are dropped on any thread, so that the account is behind a lock,
//! which is held for a few additions. The task that drives the connection sends
//! the late resets; it awaits `send_next` beside the connection.

use std::{collections::VecDeque, time::Duration};

use h2::client::PushPromises;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Resets that may be sent at once.
const BURST: u32 = 50;
/// The interval at which further resets may be sent.
const INTERVAL: Duration = Duration::from_millis(400);

/// A handle that keeps a stream open: h2 resets a stream when its last handle
/// is dropped. Meant for server push, which is switched off, this is the only
/// handle to be had besides those that carry the exchange.
pub(super) type OpenStream = PushPromises;

/// The resets of one connection.
///
/// Generic, so that tests need no stream.
#[derive(Debug)]
pub(super) struct Resets<T = OpenStream> {
    account: Mutex<Account<T>>,
    /// Wakes the task of the connection when a reset is late.
    added: Notify,
}

/// Resets that were sent, and those that are due later.
#[derive(Debug)]
struct Account<T> {
    /// When a full burst is available again: the theoretical arrival time of
    /// GCRA.
    full_at: Instant,
    /// Streams that are reset later and when, soonest first: at most as many as
    /// the connection has.
    late: VecDeque<(Instant, T)>,
}

impl<T> Resets<T> {
    /// No resets so far.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            account: Mutex::new(Account {
                full_at: now,
                late: VecDeque::new(),
            }),
            added: Notify::new(),
        }
    }

    /// Resets a stream that has not ended, at once or when its time comes.
    /// Returns true if it is late: the connection must then get no further
    /// streams.
    ///
    /// The stream is dropped outside of the lock, as its drop takes h2's own.
    pub(super) fn reset(&self, stream: T) -> bool {
        let now = Instant::now();
        let mut account = self.account.lock();
        account.full_at = account.full_at.max(now) + INTERVAL;
        let due = account.full_at - BURST * INTERVAL;
        if due <= now {
            drop(account);
            drop(stream);
            return false;
        }
        account.late.push_back((due, stream));
        drop(account);
        self.added.notify_one();
        true
    }

    /// Waits until the next late reset is due, and sends it.
    pub(super) async fn send_next(&self) {
        loop {
            let first = self.account.lock().late.front().map(|(due, _)| *due);
            match first {
                None => self.added.notified().await,
                Some(due) => {
                    sleep_until(due).await;
                    let first = self.account.lock().late.pop_front();
                    return drop(first);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Stream(Arc<AtomicUsize>);

    impl Drop for Stream {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_resets_than_a_server_takes_wait_for_their_turn() {
        let (sent, resets) = (Arc::new(AtomicUsize::new(0)), Resets::new(Instant::now()));
        let refused: Vec<_> = (0..1000)
            .map(|_| resets.reset(Stream(Arc::clone(&sent))))
            .collect();
        assert_eq!(
            (
                sent.load(Ordering::Relaxed),
                refused.iter().filter(|is_late| !**is_late).count()
            ),
            (50, 50)
        );
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            resets.send_next().await;
        }
        assert_eq!(sent.load(Ordering::Relaxed), 125);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_resets_a_second_go_on_for_ever() {
        let resets = Resets::new(Instant::now());
        for _ in 0..1000 {
            assert!(!resets.reset(()));
            tokio::time::advance(INTERVAL).await;
        }
    }
}

//! Resets of the streams of one connection: so few that no server takes them for an attack.
//!
//! A server bounds the resets that it takes of a connection, since they are work that brings nothing (CVE-2023-44487), and
//! beyond its bound ends the connection, with the streams of all others on it; 200 in 30 s is a common bound. A connection
//! sends 50 at once and then one every 400 ms: 125 in any 30 s. The first that would be more ends its use for new streams.
//! A reset after that waits for its turn, and everything that the server still sends on the stream is thrown away.

use std::{collections::VecDeque, time::Duration};

use h2::client::PushPromises;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Resets at once.
const AT_ONCE: u32 = 50;
/// The time after which one more may be sent.
const EVERY: Duration = Duration::from_millis(400);

/// Holds a stream open. A handle that h2 gives for another purpose, and the only one that can be had beside those that
/// carry the exchange: a stream is reset when its last handle is dropped.
pub(super) type Held = PushPromises;

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Resets<T = Held> {
    state: Mutex<State<T>>,
    added: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// When the account is even again.
    even: Instant,
    /// Streams whose turn comes later, soonest first: at most as many as the connection has.
    late: VecDeque<(Instant, T)>,
}

impl<T> Resets<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                even: now,
                late: VecDeque::new(),
            }),
            added: Notify::new(),
        }
    }

    /// Lets a stream go that has not ended, at once or in its turn. Returns whether there are too many for another stream.
    pub(super) fn reset(&self, stream: T) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.even = state.even.max(now) + EVERY;
        let turn = state.even - AT_ONCE * EVERY;
        if turn <= now {
            drop(state);
            drop(stream);
            return false;
        }
        state.late.push_back((turn, stream));
        drop(state);
        self.added.notify_one();
        true
    }

    /// Waits for the turn of a stream and lets it go.
    pub(super) async fn let_one_go(&self) {
        loop {
            let first = self.state.lock().late.front().map(|(turn, _)| *turn);
            match first {
                None => self.added.notified().await,
                Some(turn) => {
                    sleep_until(turn).await;
                    let first = self.state.lock().late.pop_front();
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
            resets.let_one_go().await;
        }
        assert_eq!(sent.load(Ordering::Relaxed), 125);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_resets_a_second_go_on_for_ever() {
        let resets = Resets::new(Instant::now());
        for _ in 0..1000 {
            assert!(!resets.reset(()));
            tokio::time::advance(EVERY).await;
        }
    }
}

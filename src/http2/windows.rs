//! Windows that grow while their reader keeps up: the bytes that may be in
//! flight, or wait to be read.
//!
//! A window is what can be sent in one round trip: 256 KiB are 2.5 MB/s at 100
//! ms. So a stream whose reader has taken a whole window, and had to wait for
//! more meanwhile, asks for a larger one. The protocol knows one size for all
//! streams of a connection beside the size for the connection itself (RFC 9113,
//! 6.9.2), so it is the connection's task that grants: at most a share for each
//! stream that is open, and out of a sum that all connections of the process
//! have. Where nobody reads, nothing grows.
//!
//! # Bounds
//!
//! A client could open many connections and read fast on each of them, to make
//! the gateway promise memory. So the growth of all connections together is at
//! most 256 MiB; when it is used up, windows stay as they are. A window that
//! was announced cannot be taken back while the connection is open, so that an
//! idle connection with grown windows is closed early when the sum becomes
//! scarce.
//!
//! # Concurrency
//!
//! [`Windows`] is shared by the readers of streams and the task of the
//! connection, by relaxed atomics and a waker. [`Tuner`] belongs to that task.
//! The sum is one atomic of the process, which is touched only when a window
//! grows and when a connection ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;

/// Bytes of one body that may wait to be read, at the beginning of a
/// connection: 20 Mbit/s at 100 ms.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all bodies of a connection together that may wait to be read.
/// Sixteen bodies that nobody reads do not stall the others.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// The largest window of a stream: 320 Mbit/s at 100 ms.
const MOST: u32 = 4 * 1024 * 1024;
/// The factor by which a window grows at once: two steps lead to the largest.
const STEP: u32 = 4;
/// Windows of streams that a connection has room for beside
/// [`CONNECTION_WINDOW`], which stays for the other streams if nobody reads
/// these.
const SHARES: u32 = 4;
/// The most that all connections of the process may have above
/// [`CONNECTION_WINDOW`].
const MOST_EXTRA: usize = 256 * 1024 * 1024;
/// The part of it that is for windows of more than one step: enough for 8
/// connections, which leaves one step for 32 more.
const MOST_FOR_LARGE: usize = MOST_EXTRA / 2;
/// While more than this is in use, idle clients give their share back: there is
/// room for 4 more large windows then.
const AMPLE: usize = MOST_EXTRA / 4;
/// How long such a client may be idle. It has to connect again, so this is
/// longer than a pause between requests.
const REST: Duration = Duration::from_secs(5);

/// The growth of all connections of the process, in bytes.
static EXTRA: AtomicUsize = AtomicUsize::new(0);

/// Bytes by which the windows of all connections of the process have grown
/// beyond [`CONNECTION_WINDOW`], towards clients and servers: at most 256 MiB.
pub fn grown() -> usize {
    EXTRA.load(Ordering::Relaxed)
}

/// State that the readers of a connection's streams share with its task.
#[derive(Debug)]
pub struct Windows {
    /// The window of each stream.
    stream: AtomicU32,
    /// Whether a reader could have read more.
    is_wanted: AtomicBool,
    /// Whether more streams are open than there is room for at this size.
    is_crowded: AtomicBool,
    /// Wakes the task of the connection.
    task: AtomicWaker,
}

/// The sizes to announce to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The window of each stream.
    pub stream: u32,
    /// The window of all streams together.
    pub connection: u32,
}

impl Windows {
    /// The windows of a new connection.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stream: AtomicU32::new(STREAM_WINDOW),
            is_wanted: AtomicBool::new(false),
            is_crowded: AtomicBool::new(false),
            task: AtomicWaker::new(),
        })
    }

    /// The window of each stream.
    pub(super) fn stream(&self) -> u32 {
        self.stream.load(Ordering::Relaxed)
    }

    /// Notes that a reader could have read more, and wakes the task.
    pub(super) fn want(&self) {
        if self.stream() < MOST && !self.is_wanted.swap(true, Ordering::Relaxed) {
            self.task.wake();
        }
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Notes the number of streams that are open, and wakes the task if there
    /// are too many for this size.
    pub fn crowd(&self, streams: usize) {
        let stream = self.stream();
        if stream > STREAM_WINDOW && stream as usize * streams > (SHARES * MOST) as usize {
            self.is_crowded.store(true, Ordering::Relaxed);
            self.task.wake();
        }
    }

    /// Ready when there is something to [`tune`](Tuner::tune).
    pub fn poll_due(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        let is_due =
            self.is_wanted.load(Ordering::Relaxed) || self.is_crowded.load(Ordering::Relaxed);
        if is_due {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Decides on the windows of one connection. Returns its part of the sum when
/// it is dropped.
#[derive(Debug)]
pub struct Tuner {
    /// The windows that readers share.
    windows: Arc<Windows>,
    /// The connection's window, in bytes.
    connection: u32,
    /// How often [`has_rested`](Self::has_rested) was called since the
    /// connection had streams.
    looks: u32,
}

impl Tuner {
    /// Decides for a new connection.
    pub fn new(windows: Arc<Windows>) -> Self {
        Self {
            windows,
            connection: CONNECTION_WINDOW,
            looks: 0,
        }
    }

    /// The windows that readers of its streams share.
    pub fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    /// Calls `tell` with new sizes, if there are to be any while `streams` are
    /// open. `tell` returns whether it could announce them: it cannot before
    /// the other side has acknowledged the last ones. Then nothing changes, and
    /// readers that still want more will ask again. Returns whether sizes were
    /// announced.
    pub fn tune(&mut self, streams: usize, tell: impl FnOnce(Sizes) -> bool) -> bool {
        let is_wanted = self.windows.is_wanted.swap(false, Ordering::Relaxed);
        let is_crowded = self.windows.is_crowded.swap(false, Ordering::Relaxed);
        let now = self.windows.stream();
        let share = share(streams);
        let stream = match is_wanted {
            true if share > now => share.min(now * STEP),
            _ if is_crowded && share < now => share,
            _ => return false,
        };
        let before = self.connection;
        let Some(stream) = self.reserve(now, stream) else {
            return false;
        };
        if !tell(Sizes {
            stream,
            connection: self.connection,
        }) {
            self.give_back(before);
            return false;
        }
        self.windows.stream.store(stream, Ordering::Relaxed);
        true
    }

    /// Notes that the connection has no streams from now on.
    pub fn begin_rest(&mut self) {
        self.looks = 0;
    }

    /// The time from then on after which to ask whether it
    /// [`has_rested`](Self::has_rested). A connection that has grown is looked
    /// at several times, as the others may lack room later.
    pub fn next_look(&self, keep_alive: Duration) -> Duration {
        let is_grown = self.connection > CONNECTION_WINDOW;
        if is_grown {
            (REST * (self.looks + 1)).min(keep_alive)
        } else {
            keep_alive
        }
    }

    /// Whether the connection, which has had no streams for `idle`, is to end:
    /// after `keep_alive`, or earlier if others lack the room by which it has
    /// grown. A window that was announced can be taken back only together with
    /// the connection.
    pub fn has_rested(&mut self, idle: Duration, keep_alive: Duration) -> bool {
        self.looks += 1;
        let is_scarce = self.connection > CONNECTION_WINDOW && grown() > AMPLE;
        idle >= if is_scarce {
            REST.min(keep_alive)
        } else {
            keep_alive
        }
    }

    /// Takes from the sum for a window of `stream` bytes, or for the largest
    /// one below it that the sum has room for. `None` if there is no room for
    /// more than `now`.
    fn reserve(&mut self, now: u32, mut stream: u32) -> Option<u32> {
        loop {
            let connection = self.connection.max(CONNECTION_WINDOW + stream * SHARES);
            let more = (connection - self.connection) as usize;
            let most = if stream > STREAM_WINDOW * STEP {
                MOST_FOR_LARGE
            } else {
                MOST_EXTRA
            };
            let fits = |extra: usize| (extra + more <= most).then_some(extra + more);
            if more == 0
                || EXTRA
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
                    .is_ok()
            {
                self.connection = connection;
                return Some(stream);
            }
            stream /= 2;
            if stream <= now {
                return None;
            }
        }
    }

    /// Returns to the sum everything above a connection window of `to`.
    fn give_back(&mut self, to: u32) {
        EXTRA.fetch_sub((self.connection - to) as usize, Ordering::Relaxed);
        self.connection = to;
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        self.give_back(CONNECTION_WINDOW);
    }
}

/// The largest window for each of this many streams, such that their sum is
/// within the connection's bounds.
fn share(streams: usize) -> u32 {
    let streams = u32::try_from(streams).unwrap_or(u32::MAX).max(SHARES);
    let share = SHARES * MOST / streams.checked_next_power_of_two().unwrap_or(u32::MAX);
    share.clamp(STREAM_WINDOW, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(tuner: &mut Tuner, streams: usize) -> Option<Sizes> {
        let mut told = None;
        tuner.windows.want();
        tuner.tune(streams, |sizes| told.replace(sizes).is_none());
        told
    }

    #[test]
    fn windows_grow_when_asked_and_shrink_when_many_streams_share_them() {
        const MIB: u32 = 1024 * 1024;
        let mut tuner = Tuner::new(Windows::new());
        assert!(!tuner.tune(1, |_| true), "nobody asked");
        assert_eq!(
            grown(&mut tuner, 1),
            Some(Sizes {
                stream: MIB,
                connection: 8 * MIB
            })
        );
        assert_eq!(
            grown(&mut tuner, 1),
            Some(Sizes {
                stream: 4 * MIB,
                connection: 20 * MIB
            })
        );
        assert_eq!(grown(&mut tuner, 1), None, "they are as large as can be");
        let mut told = None;
        tuner.windows.crowd(4);
        assert!(!tuner.tune(4, |_| true), "there is room for four");
        tuner.windows.crowd(9);
        assert!(tuner.tune(9, |sizes| told.replace(sizes).is_none()));
        assert_eq!(
            told,
            Some(Sizes {
                stream: MIB,
                connection: 20 * MIB
            })
        );
        assert_eq!(grown(&mut tuner, 16), None);
        tuner.windows.crowd(128);
        assert!(tuner.tune(128, |sizes| sizes.stream == STREAM_WINDOW));
    }

    #[test]
    fn what_could_not_be_told_is_asked_for_again() {
        let mut tuner = Tuner::new(Windows::new());
        tuner.windows.want();
        assert!(!tuner.tune(1, |_| false));
        assert_eq!(tuner.windows.stream(), STREAM_WINDOW);
        assert!(!tuner.tune(1, |_| true), "the reader has to want it");
        assert!(grown(&mut tuner, 1).is_some());
    }

    #[test]
    fn all_connections_together_have_a_bound_and_near_it_those_that_rest_give_way() {
        let mut tuners: Vec<_> = (0..200).map(|_| Tuner::new(Windows::new())).collect();
        for tuner in &mut tuners {
            grown(tuner, 1);
            grown(tuner, 1);
        }
        assert!(EXTRA.load(Ordering::Relaxed) <= MOST_EXTRA);
        let grown = |least: u32| {
            tuners
                .iter()
                .filter(|tuner| tuner.windows.stream() >= least)
                .count()
        };
        // Other tests may hold a part of the sum.
        assert!((5..=8).contains(&grown(MOST)) && (20..=40).contains(&grown(STREAM_WINDOW * STEP)));

        const KEEP_ALIVE: Duration = Duration::from_secs(12);
        let (mut small, large) = (Tuner::new(Windows::new()), &mut tuners[0]);
        large.begin_rest();
        assert_eq!(
            (small.next_look(KEEP_ALIVE), large.next_look(KEEP_ALIVE)),
            (KEEP_ALIVE, REST)
        );
        assert!(!small.has_rested(REST, KEEP_ALIVE) && small.has_rested(KEEP_ALIVE, KEEP_ALIVE));
        assert!(large.has_rested(REST, KEEP_ALIVE));
        assert_eq!(large.next_look(KEEP_ALIVE), 2 * REST);
        assert!(large.has_rested(KEEP_ALIVE, KEEP_ALIVE));
        assert_eq!(large.next_look(KEEP_ALIVE), KEEP_ALIVE);
    }
}

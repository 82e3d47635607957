//! One HTTP/2 connection to a server: driven by a task on the worker that made it, borrowed by requests.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{Ping, client};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

use super::{
    PING_AGAIN, PING_EVERY, PONG,
    heard::{Heard, MostFields},
    resets::{Held, Resets},
};
use crate::{
    http2::{
        SEND_BUFFER,
        windows::{CONNECTION_WINDOW, STREAM_WINDOW, Tuner, Windows},
    },
    policy,
    runtime::timer::timeout,
    upstream::{
        address::Peer,
        pool::{OpenSlot, Pool},
        stream::Stream,
    },
};

/// Longest head of an answer, as for HTTP/1.
const MOST_HEAD: u32 = 64 * 1024;

/// Streams that are allowed before the server has said how many are.
const UNKNOWN: usize = 0;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    requests: client::SendRequest<Bytes>,
    state: Arc<State>,
    opened: Instant,
    peer: Peer,
    pool: Arc<Pool>,
}

/// What a connection, its streams and its driver tell each other.
#[derive(Debug)]
struct State {
    streams: AtomicUsize,
    /// It takes no more streams.
    is_over: AtomicBool,
    /// An answer did not come: is the server still there?
    is_suspected: Notify,
    /// The resets of its streams.
    resets: Resets,
    /// The longest header list that the server takes.
    most_fields: MostFields,
    /// Bytes of answers that may wait to be read.
    windows: Arc<Windows>,
    /// When its last stream ended.
    rested: Mutex<Instant>,
}

impl Connection {
    /// Begins to speak HTTP/2; `None` when the server does not.
    pub(super) async fn begin(
        io: Stream,
        slot: OpenSlot,
        pool: &Arc<Pool>,
        drivers: &TaskTracker,
    ) -> Option<Arc<Self>> {
        let peer = io.peer();
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MOST_HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(UNKNOWN);
        let most_fields = MostFields::unbounded();
        let (requests, mut h2) = builder
            .handshake(Heard::new(io, most_fields.clone()))
            .await
            .ok()?;
        poll_fn(|cx| poll_settings(cx, &mut h2)).await?;
        let now = Instant::now();
        let state = Arc::new(State {
            streams: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            is_suspected: Notify::new(),
            resets: Resets::new(now),
            most_fields,
            windows: Windows::new(),
            rested: Mutex::new(now),
        });
        drivers.spawn(drive(h2, Arc::clone(&state), slot));
        Some(Arc::new(Self {
            requests,
            state,
            opened: now,
            peer,
            pool: Arc::clone(pool),
        }))
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.state.streams.load(Ordering::Relaxed)
    }

    /// Whether it may be used for another request.
    pub(super) fn is_fresh(&self, settings: &policy::Pool, now: Instant) -> bool {
        let is_idle_for =
            |rested: Instant| now.saturating_duration_since(rested) >= settings.idle_timeout;
        !self.state.is_over.load(Ordering::Acquire)
            && now.saturating_duration_since(self.opened) < settings.max_lifetime
            && self.pool.addresses.have(&self.peer)
            && (self.streams() > 0 || !is_idle_for(*self.state.rested.lock()))
    }
}

/// Ready once the server has said how many streams it allows; `None` when it ends instead. What it would refuse is not
/// sent to it, and who speaks another protocol is found out.
fn poll_settings(cx: &mut Context<'_>, h2: &mut client::Connection<Heard>) -> Poll<Option<()>> {
    if Pin::new(&mut *h2).poll(cx).is_ready() {
        return Poll::Ready(None);
    }
    if h2.max_concurrent_send_streams() == UNKNOWN {
        Poll::Pending
    } else {
        Poll::Ready(Some(()))
    }
}

/// Moves a connection's bytes until it ends: by its server, or when nobody holds it any more. Asks whether the server is
/// still there when there is reason to doubt it, as a socket alone may wait for a quarter of an hour.
async fn drive(mut h2: client::Connection<Heard>, state: Arc<State>, _slot: OpenSlot) {
    let mut pings = h2.ping_pong();
    let mut last = Instant::now();
    let mut tuner = Tuner::new(Arc::clone(&state.windows));
    loop {
        let is_suspected = tokio::select! {
            _ = &mut h2 => break,
            () = poll_fn(|cx| state.windows.poll_due(cx)) => {
                tuner.tune(state.streams.load(Ordering::Relaxed), |sizes| {
                    let is_told = h2.set_initial_window_size(sizes.stream).is_ok();
                    if is_told {
                        h2.set_target_window_size(sizes.connection);
                    }
                    is_told
                });
                continue;
            }
            () = state.resets.let_one_go() => continue,
            () = state.is_suspected.notified() => true,
            () = sleep_until(last + PING_EVERY) => false,
        };
        let is_due = last.elapsed() >= if is_suspected { PING_AGAIN } else { PING_EVERY };
        let is_wanted = is_due && (is_suspected || state.streams.load(Ordering::Relaxed) > 0);
        if is_due {
            last = Instant::now();
        }
        let Some(pings) = pings.as_mut().filter(|_| is_wanted) else {
            continue;
        };
        tokio::select! {
            _ = &mut h2 => break,
            pong = timeout(PONG, pings.ping(Ping::opaque())) => {
                if !matches!(pong, Ok(Ok(_))) {
                    break;
                }
            }
        }
    }
    state.is_over.store(true, Ordering::Release);
}

/// A stream's place on a connection; given back when dropped.
#[derive(Debug)]
pub(in crate::upstream) struct Borrowed {
    connection: Arc<Connection>,
    /// The connection carried a request before.
    pub(super) is_reused: bool,
    /// The head of the answer came, or why it did not is known.
    pub(super) is_answered: bool,
    /// The stream, while it is open.
    stream: Option<Held>,
}

impl Borrowed {
    /// Takes a place, if there is one.
    pub(super) fn of(connection: &Arc<Connection>) -> Option<Self> {
        let state = &connection.state;
        // Nothing is waited for here: only what is known of the server already, such as its GOAWAY.
        let ready = connection
            .requests
            .clone()
            .poll_ready(&mut Context::from_waker(Waker::noop()));
        if matches!(ready, Poll::Ready(Err(_))) {
            state.is_over.store(true, Ordering::Release);
        }
        if state.is_over.load(Ordering::Acquire) {
            return None;
        }
        let most = connection.requests.current_max_send_streams();
        let more = |streams| (streams < most).then_some(streams + 1);
        let taken = state
            .streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        state.windows.crowd(taken + 1);
        let is_reused = taken > 0 || *state.rested.lock() > connection.opened;
        Some(Self {
            connection: Arc::clone(connection),
            is_reused,
            is_answered: false,
            stream: None,
        })
    }

    pub(super) fn requests(&self) -> client::SendRequest<Bytes> {
        self.connection.requests.clone()
    }

    /// The longest header list that the server takes; `usize::MAX` when it has not said.
    pub(super) fn most_fields(&self) -> usize {
        self.connection.state.most_fields.get()
    }

    /// Those of its connection.
    pub(super) fn windows(&self) -> Arc<Windows> {
        Arc::clone(&self.connection.state.windows)
    }

    /// The stream is open: dropping this before it has [`ended`](Self::ended) resets it.
    pub(super) fn opened(&mut self, stream: Held) {
        self.stream = Some(stream);
    }

    /// Nothing is left of the stream to be reset.
    pub(super) fn ended(&mut self) {
        self.stream = None;
    }

    /// No other request is sent by this connection.
    pub(super) fn retire(&self) {
        self.connection.state.is_over.store(true, Ordering::Release);
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let state = &self.connection.state;
        if let Some(stream) = self.stream.take()
            && state.resets.reset(stream)
        {
            state.is_over.store(true, Ordering::Release);
        }
        if !self.is_answered {
            state.is_suspected.notify_one();
        }
        *state.rested.lock() = Instant::now();
        state.streams.fetch_sub(1, Ordering::Relaxed);
        self.connection.pool.tell_first();
    }
}

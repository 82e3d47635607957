//! One HTTP/2 connection to a server: driven by a task on the worker that made
//! it, shared by requests.
//!
//! # Lifetime
//!
//! A connection is usable until it is *retired*: by a GOAWAY, by age, by being
//! idle for too long, by an address that the server no longer has, or by
//! breaking. No new streams are then permitted on it, and those that are open
//! go on. The task ends with the last handle to the connection.
//!
//! # Dead peers
//!
//! A server that vanished without a word (a crash, a lost route) is noticed by
//! PINGs (RFC 9113, 6.7): regularly while streams are open, and at once when a
//! response did not come in time. TCP alone would take a quarter of an hour.
//!
//! # Concurrency
//!
//! [`StreamPermit`] counts a stream against the number that the server permits
//! from the moment at which a request chooses the connection. The counters are
//! atomics, since a request of another worker may take a stream if its own
//! worker has none.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, client};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

use super::{
    resets::{OpenStream, Resets},
    settings::{self, HeaderListLimit},
};
use crate::{
    http2::{
        SEND_BUFFER,
        windows::{CONNECTION_WINDOW, STREAM_WINDOW, Tuner, Windows},
    },
    runtime::timer::timeout,
    upstream::{
        address::Peer,
        capacity::{Capacity, ConnectionPermit},
        stream::Stream,
    },
};

/// The longest head of a response, in bytes, the same as on HTTP/1.
const MOST_HEAD: u32 = 64 * 1024;
/// The number of streams that h2 assumes before the server's SETTINGS have
/// arrived.
const STREAMS_UNKNOWN: usize = 0;
/// The longest wait for the answer to a PING.
const PONG_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest time between two PINGs. gRPC servers take more for an attack
/// (`too_many_pings`).
const SHORTEST_PING_INTERVAL: Duration = Duration::from_secs(30);
/// The interval of PINGs while streams are open, which is the shortest that
/// gRPC servers allow by default.
const PING_INTERVAL: Duration = Duration::from_secs(300);

/// An open connection.
#[derive(Debug)]
pub(super) struct Http2Connection {
    requests: client::SendRequest<Bytes>,
    shared: Arc<SharedState>,
    /// When it was made, for `max_lifetime`.
    opened: Instant,
    /// The address that it goes to.
    peer: Peer,
    capacity: Arc<Capacity>,
}

/// State that a connection shares with the permits for its streams and with its
/// driver.
#[derive(Debug)]
struct SharedState {
    /// Streams that are permitted, opened or not.
    streams: AtomicUsize,
    /// Set once no more streams may be opened.
    is_retired: AtomicBool,
    /// Woken when a response did not come, to find out whether the server is
    /// still there.
    is_suspected: Notify,
    /// The resets that were sent, and those that wait for their time.
    resets: Resets,
    /// The longest header list that the server accepts.
    header_list_limit: HeaderListLimit,
    /// Flow-control windows for the bodies of responses.
    windows: Arc<Windows>,
    /// When the last stream ended.
    idle_since: Mutex<Instant>,
}

impl SharedState {
    /// Notes that no more streams may be opened.
    fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Whether no more streams may be opened.
    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

impl Http2Connection {
    /// Begins to speak HTTP/2 and waits for the server's SETTINGS. `None` if
    /// the server ends the connection instead.
    pub(super) async fn begin(
        io: Stream,
        permit: ConnectionPermit,
        capacity: &Arc<Capacity>,
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
            .initial_max_send_streams(STREAMS_UNKNOWN);
        let header_list_limit = HeaderListLimit::unlimited();
        let (requests, mut h2) = builder
            .handshake(settings::watch(io, header_list_limit.clone()))
            .await
            .ok()?;
        poll_fn(|cx| poll_settings(cx, &mut h2)).await?;
        let now = Instant::now();
        let shared = Arc::new(SharedState {
            streams: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            is_suspected: Notify::new(),
            resets: Resets::new(now),
            header_list_limit,
            windows: Windows::new(),
            idle_since: Mutex::new(now),
        });
        drivers.spawn(drive(h2, Arc::clone(&shared), permit));
        Some(Arc::new(Self {
            requests,
            shared,
            opened: now,
            peer,
            capacity: Arc::clone(capacity),
        }))
    }

    /// Streams that are open, or permitted to be opened.
    pub(super) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// Whether another request may use it.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let idle_timeout = self.capacity.settings.idle_timeout;
        let has_expired =
            |idle_since: Instant| now.saturating_duration_since(idle_since) >= idle_timeout;
        !self.shared.is_retired()
            && self.capacity.allows_reuse(self.opened, &self.peer, now)
            && (self.streams() > 0 || !has_expired(*self.shared.idle_since.lock()))
    }
}

/// Ready once the server has announced how many streams it allows, or with
/// `None` if it ends the connection.
///
/// Requests are not sent before that: the server might refuse them, or turn out
/// to speak another protocol.
fn poll_settings<IO>(cx: &mut Context<'_>, h2: &mut client::Connection<IO>) -> Poll<Option<()>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if Pin::new(&mut *h2).poll(cx).is_ready() {
        return Poll::Ready(None);
    }
    if h2.max_concurrent_send_streams() == STREAMS_UNKNOWN {
        Poll::Pending
    } else {
        Poll::Ready(Some(()))
    }
}

/// Moves the frames of a connection until the server ends it or nobody holds it
/// any more.
///
/// Sends a PING when a response did not come, and from time to time while
/// streams are open: a peer that vanished would otherwise be noticed only when
/// the kernel gives up retransmitting, after a quarter of an hour.
async fn drive<IO>(
    mut h2: client::Connection<IO>,
    shared: Arc<SharedState>,
    _permit: ConnectionPermit,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = h2.ping_pong();
    let mut last_ping = Instant::now();
    let mut tuner = Tuner::new(Arc::clone(&shared.windows));
    loop {
        let is_suspected = tokio::select! {
            _ = &mut h2 => break,
            () = poll_fn(|cx| shared.windows.poll_due(cx)) => {
                tuner.tune(shared.streams.load(Ordering::Relaxed), |sizes| {
                    let is_set = h2.set_initial_window_size(sizes.stream).is_ok();
                    if is_set {
                        h2.set_target_window_size(sizes.connection);
                    }
                    is_set
                });
                continue;
            }
            () = shared.resets.send_next() => continue,
            () = shared.is_suspected.notified() => true,
            () = sleep_until(last_ping + PING_INTERVAL) => false,
        };
        let interval = if is_suspected {
            SHORTEST_PING_INTERVAL
        } else {
            PING_INTERVAL
        };
        let is_due = last_ping.elapsed() >= interval;
        let is_wanted = is_due && (is_suspected || shared.streams.load(Ordering::Relaxed) > 0);
        if is_due {
            last_ping = Instant::now();
        }
        let Some(pings) = pings.as_mut().filter(|_| is_wanted) else {
            continue;
        };
        tokio::select! {
            _ = &mut h2 => break,
            pong = timeout(PONG_TIMEOUT, pings.ping(Ping::opaque())) => {
                if !matches!(pong, Ok(Ok(_))) {
                    break;
                }
            }
        }
    }
    shared.retire();
}

/// Permission to open one stream on a connection, and the stream while it is
/// open. Given back on drop.
#[derive(Debug)]
pub(in crate::upstream) struct StreamPermit {
    connection: Arc<Http2Connection>,
    /// h2's handle for opening the stream, until it is taken.
    requests: Option<client::SendRequest<Bytes>>,
    /// Whether the connection carried a request before.
    pub(super) is_reused: bool,
    /// Whether the head of the response arrived, or the reason why it did not
    /// is known.
    pub(super) is_settled: bool,
    /// The stream, while it has to be reset when it is dropped.
    stream: Option<OpenStream>,
}

impl StreamPermit {
    /// Permission to open a stream on `connection`, if it may have another one.
    pub(super) fn of(connection: &Arc<Http2Connection>) -> Option<Self> {
        let shared = &connection.shared;
        // Never waits: this only asks for what is known already, such as a
        // GOAWAY.
        let mut requests = connection.requests.clone();
        let ready = requests.poll_ready(&mut Context::from_waker(Waker::noop()));
        if matches!(ready, Poll::Ready(Err(_))) {
            shared.retire();
        }
        if shared.is_retired() {
            return None;
        }
        let most = requests.current_max_send_streams();
        let before = shared
            .streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |streams| {
                (streams < most).then_some(streams + 1)
            })
            .ok()?;
        shared.windows.crowd(before + 1);
        let is_reused = before > 0 || *shared.idle_since.lock() > connection.opened;
        Some(Self {
            connection: Arc::clone(connection),
            requests: Some(requests),
            is_reused,
            is_settled: false,
            stream: None,
        })
    }

    /// h2's handle for opening the stream: the one that the permit was made
    /// with, as each copy takes a lock.
    pub(super) fn requests(&mut self) -> client::SendRequest<Bytes> {
        let made = self.requests.take();
        made.unwrap_or_else(|| self.connection.requests.clone())
    }

    /// The longest header list that the server accepts, in bytes; `usize::MAX`
    /// if it has announced none.
    pub(super) fn header_list_limit(&self) -> usize {
        self.connection.shared.header_list_limit.get()
    }

    /// The flow-control windows of the connection.
    pub(super) fn windows(&self) -> Arc<Windows> {
        Arc::clone(&self.connection.shared.windows)
    }

    /// Notes that the stream is open. From now on dropping the permit resets
    /// the stream, unless it has [`ended`](Self::ended).
    pub(super) fn opened(&mut self, stream: OpenStream) {
        self.stream = Some(stream);
    }

    /// Notes that the stream has ended, so that there is nothing to reset.
    pub(super) fn ended(&mut self) {
        self.stream = None;
    }

    /// Retires the connection: no other request is sent on it.
    pub(super) fn retire(&self) {
        self.connection.shared.retire();
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let shared = &self.connection.shared;
        if let Some(stream) = self.stream.take()
            && shared.resets.reset(stream)
        {
            shared.retire();
        }
        if !self.is_settled {
            shared.is_suspected.notify_one();
        }
        *shared.idle_since.lock() = Instant::now();
        shared.streams.fetch_sub(1, Ordering::Relaxed);
        self.connection.capacity.wake_front();
    }
}

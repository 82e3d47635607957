//! One HTTP/2 connection: streams in, each a task that calls the gateway, all
//! of them owned by the connection.
//!
//! The protocol itself is h2's. Around it this module adds timeouts, bounds on
//! work, an orderly end, and the call of the same service that HTTP/1 calls.
//!
//! # Files
//!
//! * This file: the connection's task. It drives h2, accepts streams, ends
//!   them, and keeps all deadlines of the connection.
//! * `bounds`: the settings and limits that h2 enforces.
//! * `metered`, `meter`, `blocks`: every byte passes these before h2 reads it,
//!   or after h2 has written it. They count frames, and repair blocks of fields
//!   for which h2 would end the connection.
//! * `cancel_limit`: how many requests a client may cancel.
//! * `stream`, `request`, `received`, `transfer`: one exchange on one stream.
//!
//! # Attacks that are bounded
//!
//! | attack | bound |
//! |---|---|
//! | rapid reset (CVE-2023-44487) | [`CancelLimit`] for requests that reached a server, [`Meter`] and h2 for all others |
//! | floods of PING, SETTINGS, PRIORITY, WINDOW_UPDATE (CVE-2019-9511 to 9518) | [`Meter`] |
//! | CONTINUATION flood (CVE-2024-27316) | h2, and the deadline of a head |
//! | empty DATA frames | h2 |
//! | header lists that decode to much more (HPACK bomb) | `max_header_list_size` of h2 |
//! | a client that reads nothing | the deadline of a write, the pace of each body |
//! | a client that opens streams and sends nothing | the pace of each body, `keep_alive` |
//!
//! # The end of a connection
//!
//! [`Phase`] has three phases. A connection that drains sends a GOAWAY that
//! permits no new streams ([`leave`](ClientConnection::leave)), serves those
//! that are open, then sends the last GOAWAY and gives the client a second to
//! read it ([`end`](ClientConnection::end)).

mod blocks;
mod bounds;
mod cancel_limit;
mod meter;
mod metered;
mod received;
mod request;
mod stream;
mod transfer;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, server};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use self::{
    bounds::{FAREWELL, builder},
    cancel_limit::CancelLimit,
    meter::{Meter, Overdue},
    metered::{MeteredSocket, SharedMeter},
    stream::{StreamContext, StreamEnd},
};
use super::{
    Socket,
    connection::{ConnectionContext, ConnectionHandle, RequestService},
};
use crate::{
    http2::windows::{Tuner, Windows},
    message::Origin,
    policy::ConnectionLimits,
    runtime::timer::{Timer, timeout},
};

/// The HTTP/2 client preface (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end. `ahead` holds the bytes that were already
/// read from it.
///
/// When the listener drains, the connection takes no new streams and ends with
/// those in flight.
///
/// Not `async` itself: an `async fn` has room for the socket in each state that
/// it passes, which with TLS are kilobytes.
pub(super) fn serve<IO, S>(
    io: IO,
    ahead: BytesMut,
    service: S,
    context: ConnectionContext,
) -> impl Future<Output = ()> + Send
where
    IO: Socket,
    S: RequestService,
{
    let limits = *context.limits();
    let meter = Arc::new(Mutex::new(Meter::new()));
    let io = MeteredSocket::new(io, ahead, Arc::clone(&meter));
    // Boxed, and freed once it is over.
    let opening = Box::pin(timeout(
        limits.headers_timeout,
        builder(&limits).handshake(io),
    ));
    async move {
        let Ok(Ok(h2)) = opening.await else {
            return;
        };
        let tuner = Tuner::new(Windows::new());
        let mut connection = ClientConnection {
            h2,
            meter,
            stream_context: StreamContext::new(Arc::clone(tuner.windows())),
            tuner,
            cancels: CancelLimit::default(),
            has_faults: false,
            streams: JoinSet::new(),
            service,
            limits,
            origin: context.origin,
            handle: context.handle,
            timer: Timer::default(),
            state: Phase::Open { idle_since: None },
        };
        poll_fn(|cx| connection.poll(cx)).await;
    }
}

/// The state of a connection, which its task polls.
struct ClientConnection<IO, S> {
    h2: server::Connection<MeteredSocket<IO>, Bytes>,
    meter: SharedMeter,
    tuner: Tuner,
    stream_context: Arc<StreamContext>,
    cancels: CancelLimit,
    /// A malformed request is among those to be accepted.
    has_faults: bool,
    /// The tasks of streams. They end when the connection is dropped.
    streams: JoinSet<StreamEnd>,
    service: S,
    limits: ConnectionLimits,
    origin: Arc<Origin>,
    handle: ConnectionHandle,
    timer: Timer,
    state: Phase,
}

/// The phases of a connection.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Serves streams; without any since `idle_since`.
    Open { idle_since: Option<Instant> },
    /// The client was told to open no more streams; without any since
    /// `idle_since`.
    Leaving { idle_since: Option<Instant> },
    /// The last GOAWAY is being written, until `until` at most.
    Ending { until: Instant },
}

impl<IO, S> ClientConnection<IO, S>
where
    IO: Socket,
    S: RequestService,
{
    /// Makes all the progress that can be made. Ready at the end of the
    /// connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_draining = matches!(self.state, Phase::Open { .. })
                && self.handle.poll_must_end(cx).is_ready();
            if is_draining && !self.handle.is_evicted() {
                self.leave();
            }
            let accepted = self.h2.poll_accept(cx);
            self.note();
            match accepted {
                Poll::Ready(Some(Ok((request, down)))) => {
                    self.begin(request, down);
                    continue;
                }
                // After an error h2 has told the client, and the connection is
                // over.
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            self.reap(cx);
            if self.tune(cx) {
                continue;
            }
            // Checked when no more can be read, so that requests the client has
            // already sent are still answered.
            if is_draining && matches!(self.state, Phase::Open { .. }) {
                if self.handle.is_evicted() {
                    self.make_room()
                } else {
                    self.leave()
                }
                continue;
            }
            let flood = self.meter.lock().flood.take();
            if let Some(kind) = flood {
                self.calm(kind);
                continue;
            }
            match self.poll_time(cx) {
                Poll::Ready(true) => return Poll::Ready(()),
                Poll::Ready(false) => {}
                Poll::Pending => {
                    self.stream_context.set_flushed();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Spawns the task of a stream, unless the client has cancelled too many
    /// requests.
    fn begin(
        &mut self,
        mut request: http::Request<h2::RecvStream>,
        mut down: server::SendResponse<Bytes>,
    ) {
        if self.cancels.is_exceeded() {
            return down.send_reset(Reason::REFUSED_STREAM);
        }
        if self.has_faults
            && let Some(fault) = self.meter.lock().blocks.take(down.stream_id().as_u32())
        {
            request.extensions_mut().insert(fault);
        }
        let origin = Arc::clone(&self.origin);
        self.tuner.windows().crowd(self.streams.len() + 1);
        // Boxed, as a task is moved several times before it runs, and the state
        // of an exchange is large.
        self.streams.spawn(Box::pin(stream::exchange(
            request,
            down,
            self.service.clone(),
            self.limits,
            origin,
            Arc::clone(&self.stream_context),
        )));
        if let Phase::Open { idle_since } | Phase::Leaving { idle_since } = &mut self.state
            && idle_since.take().is_some()
        {
            self.handle.set_busy();
        }
    }

    /// Removes the streams that have ended.
    fn reap(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.streams.poll_join_next(cx) {
            match ended {
                Ok(StreamEnd::Complete) => self.cancels.responded(),
                // Wakes this task, which then says so to the client.
                Ok(StreamEnd::Last) => self.handle.cell().end(),
                Ok(StreamEnd::Cancelled) if self.cancels.cancelled() => {
                    self.handle.listener().refuses_streams(self.origin.peer)
                }
                Ok(StreamEnd::Cancelled | StreamEnd::Otherwise) => {}
                Err(error) if error.is_panic() => self.handle.listener().panicked(self.origin.peer),
                Err(_) => {}
            }
        }
        if self.streams.is_empty()
            && let Phase::Open { idle_since } | Phase::Leaving { idle_since } = &mut self.state
            && idle_since.is_none()
        {
            self.handle.set_idle(*idle_since.insert(Instant::now()));
            self.tuner.begin_rest();
        }
    }

    /// Adjusts the windows. Returns whether the client is to be told of new
    /// ones.
    fn tune(&mut self, cx: &mut Context<'_>) -> bool {
        let (h2, streams) = (&mut self.h2, self.streams.len());
        let is_due = self.tuner.windows().poll_due(cx).is_ready();
        is_due
            && self.tuner.tune(streams, |sizes| {
                let is_set = h2.set_initial_window_size(sizes.stream).is_ok();
                if is_set {
                    h2.set_target_window_size(sizes.connection);
                }
                is_set
            })
    }

    /// Tells the client to open no more streams, and goes on with those that
    /// are open.
    fn leave(&mut self) {
        self.h2.graceful_shutdown();
        if let Phase::Open { idle_since } = self.state {
            // A client without a request so far did not know of the drain: its
            // first request is probably on its way.
            self.state = Phase::Leaving {
                idle_since: idle_since.map(|_| Instant::now()),
            };
        }
    }

    /// Ends at once, because another connection needs the slot.
    fn make_room(&mut self) {
        self.meter.lock().is_hurried = true;
        self.end(Reason::NO_ERROR);
    }

    /// Ends all streams and sends the last GOAWAY, with this `reason`.
    fn end(&mut self, reason: Reason) {
        self.streams.abort_all();
        self.h2.abrupt_shutdown(reason);
        self.state = Phase::Ending {
            until: Instant::now() + FAREWELL,
        };
    }

    /// Ends the connection because it asks for too much work.
    fn calm(&mut self, kind: &'static str) {
        if matches!(self.state, Phase::Ending { .. }) {
            return;
        }
        self.handle.listener().flooded(kind, self.origin.peer);
        self.end(Reason::ENHANCE_YOUR_CALM);
    }

    /// Counts a flood about which h2 has just told the client, and notes
    /// malformed requests, about which it does not.
    fn note(&mut self) {
        let mut meter = self.meter.lock();
        let flood = meter.take_announced_flood();
        self.has_faults = meter.blocks.are_any_noted();
        drop(meter);
        if let Some(kind) = flood.filter(|_| !matches!(self.state, Phase::Ending { .. })) {
            self.handle.listener().flooded(kind, self.origin.peer);
        }
    }

    /// Pending until a deadline has passed. Ready with whether the connection
    /// is over.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let overdue = self
            .meter
            .lock()
            .due(self.limits.headers_timeout, self.limits.keep_alive);
        let own = match self.state {
            Phase::Open { idle_since } => {
                idle_since.map(|since| since + self.tuner.next_look(self.limits.keep_alive))
            }
            Phase::Leaving { idle_since } => idle_since.map(|since| since + FAREWELL),
            Phase::Ending { until } => Some(until),
        };
        let soonest = own.into_iter().chain(overdue.map(|(at, _)| at)).min();
        let Some(soonest) = soonest else {
            return Poll::Pending;
        };
        self.timer.set(soonest);
        let Poll::Ready(()) = self.timer.poll(cx) else {
            return Poll::Pending;
        };
        self.timer.clear();
        let is_over = match (self.state, overdue) {
            (Phase::Ending { .. }, _) => true,
            // If the client takes no bytes, a GOAWAY would wait behind those
            // that are pending.
            (_, Some((at, Overdue::Write))) if at == soonest => true,
            (_, Some((at, Overdue::Head))) if at == soonest => {
                self.calm("slow_head");
                false
            }
            (Phase::Open { idle_since }, _) => {
                let keep_alive = self.limits.keep_alive;
                if idle_since
                    .is_some_and(|since| self.tuner.has_rested(since.elapsed(), keep_alive))
                {
                    self.leave();
                }
                false
            }
            (Phase::Leaving { .. }, _) => {
                self.end(Reason::NO_ERROR);
                false
            }
        };
        Poll::Ready(is_over)
    }
}

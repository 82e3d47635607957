//! A connection that has switched protocols, such as to WebSocket: bytes are
//! moved in both directions and not interpreted.
//!
//! Each direction has a buffer of at most 64 KiB, so that a slow reader slows
//! the writer at the other end. The directions end independently: an end from
//! one side is passed on to the other, while the other direction goes on.
//! Otherwise only silence in both directions ends a tunnel. The allowed silence
//! is shorter once one side has ended, because pings stop then and the other
//! side may never have noticed.
//!
//! # Course of a poll
//!
//! Both directions are moved in turn until neither makes progress, because a
//! write frees room for the next read. Only then does the clock of the silence
//! run. Each direction reads, then writes, then passes on an end.
//!
//! # How a tunnel ends
//!
//! * Both directions are shut: each side has ended, and the other one knows.
//! * The client's connection fails. Nothing is recorded as a fault, because
//!   this is how most tunnels end.
//! * The server's connection fails. The bytes before that are flushed as far as
//!   the client takes them, and the client's connection is reset, as an orderly
//!   end would look complete.
//! * Nothing moves for too long: a fault of its own kind, which names the time.
//!
//! # Cancellation
//!
//! Dropping the future of [`run`] drops the connection to the server and the
//! guards in the body. The bytes that have passed are recorded by a `Drop`,
//! whichever way the tunnel ends.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use tokio::{io::AsyncWrite, time::Instant};

use super::wire::{SharedWire, Wire};
use crate::{
    body::{self, Body, Pace},
    error::Fault,
    runtime::{
        io::{self, READ_SIZE},
        timer::Timer,
    },
    server::Socket,
};

/// A buffer that holds this many bytes is not read into: one more read could
/// take it above 64 KiB.
///
/// A read adds [`READ_SIZE`] bytes at most.
const FULL: usize = 64 * 1024 - READ_SIZE + 1;

/// The state of the client's side when a tunnel ends.
///
/// It decides whether the connection lingers (RFC 9112, 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has ended its side, or the tunnel is broken.
    ClientEnded,
    /// The client may still send, which must not destroy bytes that it has not
    /// read yet.
    ClientMaySend,
}

/// Moves bytes both ways until both have ended, or nothing has moved for as
/// long as `pace` allows.
///
/// `body` holds the guards of the exchange, and records how the tunnel ended.
///
/// `wire` has the head of the 101 in its output, which the first poll begins to
/// write. `far_end` is the server's connection, from which the head of its
/// response was taken. `timer` is the connection's own.
pub(super) async fn run<IO: Socket>(
    wire: &SharedWire<IO>,
    body: Body,
    far_end: Box<dyn body::Tunnel>,
    pace: Pace,
    timer: &mut Timer,
) -> End {
    // Some bytes of the client may have been read before the switch.
    let up = Direction {
        passed: wire.lock().input.len() as u64,
        ..Direction::default()
    };
    let mut relay = Relay {
        body,
        far_end,
        up,
        down: Direction::default(),
        pace,
        moved: None,
    };
    poll_fn(|cx| relay.poll(cx, wire, timer)).await;
    if relay.up.is_ended {
        End::ClientEnded
    } else {
        End::ClientMaySend
    }
}

/// A client's connection joined to a server's.
struct Relay {
    /// Holds the guards of the exchange, and records its end.
    body: Body,
    /// The connection to the server.
    far_end: Box<dyn body::Tunnel>,
    /// From the client to the server.
    up: Direction,
    /// From the server to the client.
    down: Direction,
    /// The longest silence, with both sides open and with one closed.
    pace: Pace,
    /// When a byte or an end last moved; `None` while that is now.
    ///
    /// Both directions share it: traffic one way keeps the tunnel open.
    moved: Option<Instant>,
}

/// One of the two directions.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes read from its source.
    ///
    /// It includes bytes that wait in the buffer to be written.
    passed: u64,
    /// Whether its source has ended.
    is_ended: bool,
    /// Whether its destination knows of the end, or takes no more.
    is_shut: bool,
}

impl Direction {
    /// Records the result of a read from the source. Returns whether the read
    /// was ready.
    ///
    /// # Errors
    /// The error of the read. Bytes that passed before stay counted.
    fn record(&mut self, read: Poll<std::io::Result<usize>>) -> std::io::Result<bool> {
        let Poll::Ready(read) = read else {
            return Ok(false);
        };
        let read = read?;
        self.passed += read as u64;
        self.is_ended = read == 0;
        Ok(true)
    }
}

impl Relay {
    /// Moves the bytes that can be moved. Ready once both directions have
    /// ended, or the tunnel is broken.
    ///
    /// The lock on the wire is held for the whole poll. Buffers that a burst
    /// has enlarged are freed when nothing is left in them.
    fn poll<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &SharedWire<IO>,
        timer: &mut Timer,
    ) -> Poll<()> {
        let mut wire = wire.lock();
        match self.poll_directions(cx, &mut wire, timer) {
            Poll::Pending => {
                wire.free_burst_buffers();
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(fault)) => {
                if let Fault::UpstreamCut(_) = fault {
                    // A break must not look like an end.
                    let _ = wire.poll_flush(cx);
                    wire.close_cuts(true);
                }
                // Tunnels usually end because the client leaves, which is no
                // fault.
                if fault != Fault::ClientGone {
                    self.body.broke(&fault);
                }
                self.up.is_ended = true;
                Poll::Ready(())
            }
        }
    }

    /// Moves bytes in both directions until neither can move any. Ready when
    /// both have ended.
    ///
    /// # Errors
    /// One side broke, or nothing has moved for too long.
    fn poll_directions<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<IO>,
        timer: &mut Timer,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let went_up = self.go_up(cx, wire)?;
            let went_down = self.go_down(cx, wire)?;
            if self.up.is_shut && self.down.is_shut {
                return Poll::Ready(Ok(()));
            }
            if !went_up && !went_down {
                break;
            }
            self.moved = None;
        }
        let longest = self.longest_silence();
        timer.set(*self.moved.get_or_insert_with(Instant::now) + longest);
        timer.poll(cx).map(|()| Err(Fault::Idle(longest)))
    }

    /// The longest time for which nothing may move, as of now.
    ///
    /// A server that takes no more bytes counts like a side that has ended.
    fn longest_silence(&self) -> Duration {
        let Pace {
            idle, half_closed, ..
        } = self.pace;
        let is_half_closed = self.up.is_ended || self.up.is_shut || self.down.is_ended;
        if is_half_closed {
            half_closed.min(idle)
        } else {
            idle
        }
    }

    /// Moves bytes from the client to the server. Returns whether any moved.
    ///
    /// Bytes that a server refuses to take are thrown away from then on, so
    /// that the end of the client is still noticed.
    ///
    /// # Errors
    /// [`Fault::ClientGone`] if reading from the client fails. A server that
    /// takes no more is no error here: reading from it shows whether it is
    /// gone.
    fn go_up<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<IO>,
    ) -> Result<bool, Fault> {
        let mut has_moved = false;
        if !self.up.is_ended && wire.input.len() < FULL {
            has_moved = self
                .up
                .record(wire.poll_read(cx))
                .map_err(|_| Fault::ClientGone)?;
        }
        while !wire.input.is_empty() && !self.up.is_shut {
            match Pin::new(&mut self.far_end).poll_write(cx, &wire.input) {
                Poll::Pending => return Ok(has_moved),
                Poll::Ready(Ok(written @ 1..)) => {
                    wire.input.advance(written);
                    has_moved = true;
                }
                // The server takes no more, but may still have something to
                // send.
                Poll::Ready(Ok(0) | Err(_)) => self.up.is_shut = true,
            }
        }
        if self.up.is_shut {
            wire.input.clear();
        } else if Pin::new(&mut self.far_end).poll_flush(cx).is_ready() && self.up.is_ended {
            self.up.is_shut = Pin::new(&mut self.far_end).poll_shutdown(cx).is_ready();
        }
        Ok(has_moved)
    }

    /// Moves bytes from the server to the client, behind the head of the
    /// response. Returns whether any moved.
    ///
    /// Each complete flush is recorded in the body as a delivery.
    ///
    /// # Errors
    /// [`Fault::UpstreamCut`] if reading from the server fails, and
    /// [`Fault::ClientGone`] if writing to the client fails.
    fn go_down<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<IO>,
    ) -> Result<bool, Fault> {
        let mut has_moved = false;
        if !self.down.is_ended && wire.output.pending() < FULL {
            let read = io::poll_read(&mut self.far_end, cx, wire.output.buffer());
            has_moved = self
                .down
                .record(read)
                .map_err(|_| Fault::UpstreamCut("the connection broke"))?;
        }
        let waiting = wire.output.pending();
        let flushed = wire.poll_flush(cx);
        has_moved |= wire.output.pending() < waiting;
        match flushed {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => return Err(Fault::ClientGone),
            Poll::Ready(Ok(())) => {
                self.body.delivered();
                if self.down.is_ended && !self.down.is_shut {
                    self.down.is_shut = wire.poll_shutdown(cx).is_ready();
                }
            }
        }
        Ok(has_moved)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.body.tunnelled(self.up.passed, self.down.passed);
    }
}

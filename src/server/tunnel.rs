//! A connection that has switched protocols, WebSocket for one: bytes both ways, taken for nothing but bytes.
//!
//! Each way has a buffer of 64 KiB at most, so that a slow reader slows the writer at the other end, and ends by itself:
//! what one side has ended is ended towards the other, while the other way goes on. Only silence in both is an end: a
//! shorter one once one side has ended, as pings stop then, and the other may never have noticed.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use tokio::{io::AsyncWrite, time::Instant};

use super::{
    Socket,
    connection::After,
    wire::{Shared, Wire},
};
use crate::{
    body::{self, Body, Pace},
    error::Fault,
    runtime::{
        io::{self, READ_SIZE},
        timer::Timer,
    },
};

/// A buffer that holds as much is not read into: with one more read it would pass 64 KiB.
const FULL: usize = 64 * 1024 - READ_SIZE + 1;

/// Moves bytes both ways until both have ended, or nothing has moved for as long as `pace` allows; `body` holds what the
/// exchange holds, and hears how it went.
pub(super) async fn run<IO: Socket>(
    wire: &Shared<IO>,
    body: Body,
    far_end: Box<dyn body::Tunnel>,
    pace: Pace,
    timer: &mut Timer,
) -> After {
    // Some of what the client sends may have been read before the switch.
    let up = Way {
        passed: wire.0.lock().input.len() as u64,
        ..Way::default()
    };
    let mut tunnel = Tunnel {
        body,
        far_end,
        up,
        down: Way::default(),
        pace,
        moved: None,
    };
    poll_fn(|cx| tunnel.poll(cx, wire, timer)).await;
    // Whatever a client that has not ended still sends must not destroy what it has not read yet.
    if tunnel.up.is_ended {
        After::Close
    } else {
        After::Linger
    }
}

/// A client's connection joined to a server's.
struct Tunnel {
    body: Body,
    far_end: Box<dyn body::Tunnel>,
    /// From the client.
    up: Way,
    /// To the client.
    down: Way,
    pace: Pace,
    /// When a byte last moved, or an end; `None` while that is now.
    moved: Option<Instant>,
}

/// One of the two ways.
#[derive(Debug, Default)]
struct Way {
    /// Bytes read at its beginning.
    passed: u64,
    /// Nothing more will be read.
    is_ended: bool,
    /// Nothing more will be written.
    is_shut: bool,
}

impl Way {
    /// Notes what came of a read at its beginning; whether anything did.
    fn note(&mut self, read: Poll<std::io::Result<usize>>) -> std::io::Result<bool> {
        let Poll::Ready(read) = read else {
            return Ok(false);
        };
        let read = read?;
        self.passed += read as u64;
        self.is_ended = read == 0;
        Ok(true)
    }
}

impl Tunnel {
    /// Moves what can be moved. Ready once both ways have ended, or the tunnel has broken.
    fn poll<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Shared<IO>,
        timer: &mut Timer,
    ) -> Poll<()> {
        let mut wire = wire.0.lock();
        match self.poll_ways(cx, &mut wire, timer) {
            Poll::Pending => {
                wire.slacken();
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(fault)) => {
                if let Fault::UpstreamCut(_) = fault {
                    // What was broken must not look like what has ended.
                    let _ = wire.poll_flush(cx);
                    wire.close_cuts(true);
                }
                // That the client left is how tunnels end, and nothing to tell.
                if fault != Fault::ClientGone {
                    self.body.broke(&fault);
                }
                self.up.is_ended = true;
                Poll::Ready(())
            }
        }
    }

    fn poll_ways<IO: Socket>(
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

    /// From the client to the server; whether anything moved.
    fn go_up<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<IO>,
    ) -> Result<bool, Fault> {
        let mut has_moved = false;
        if !self.up.is_ended && wire.input.len() < FULL {
            has_moved = self
                .up
                .note(wire.poll_read(cx))
                .map_err(|_| Fault::ClientGone)?;
        }
        while !wire.input.is_empty() && !self.up.is_shut {
            match Pin::new(&mut self.far_end).poll_write(cx, &wire.input) {
                Poll::Pending => return Ok(has_moved),
                Poll::Ready(Ok(written @ 1..)) => {
                    wire.input.advance(written);
                    has_moved = true;
                }
                // It takes no more, but may have something left to say.
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

    /// From the server to the client, behind the head of the answer; whether anything moved.
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
                .note(read)
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

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.body.tunnelled(self.up.passed, self.down.passed);
    }
}

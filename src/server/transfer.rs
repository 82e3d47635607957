//! A response body on its way to the client: pull a frame, write it, no more ahead than one buffer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Body as _;
use tokio::time::Instant;

use super::{Socket, answer::Framing, wire::Shared};
use crate::{
    body::{Body, Pace},
    error::Fault,
    http1,
    runtime::timer::Timer,
};

/// Bytes pulled ahead of the client: enough for full segments, little enough that a slow reader slows the upstream.
const MOST_AHEAD: usize = 64 * 1024;

/// One body's transfer.
#[derive(Debug)]
pub(super) struct Transfer {
    framing: Framing,
    pace: Pace,
    is_ended: bool,
    /// When a byte last moved; `None` while that is now.
    moved: Option<Instant>,
}

impl Transfer {
    /// Of a body so framed, which may be written (`is_written`) already.
    pub(super) fn new(framing: Framing, is_written: bool, pace: Pace) -> Self {
        let is_ended = framing == Framing::Bodiless || (framing == Framing::Counted && is_written);
        Self {
            framing,
            pace,
            is_ended,
            moved: None,
        }
    }

    /// Moves what can be moved. Ready when all is written, or when the transfer broke off.
    pub(super) fn poll<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Shared<IO>,
        body: &mut Body,
        timer: &mut Timer,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let pulled = match self.pull(cx, wire, body) {
                Ok(pulled) => pulled,
                Err(fault) => {
                    // What came before the break is the client's, as far as its socket takes it.
                    let _ = wire.0.lock().poll_flush(cx);
                    return Poll::Ready(Err(fault));
                }
            };
            if self.is_ended {
                // Before the last bytes leave: who has the whole answer may ask again at once, by another connection and
                // so on another worker, and must find the place free. No more than the buffer is left to be taken.
                body.let_go();
            }
            let mut wire = wire.0.lock();
            let waiting = wire.output.pending();
            let flushed = wire.poll_flush(cx);
            if wire.output.pending() < waiting {
                self.moved = None;
            }
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::ClientGone)),
                Poll::Ready(Ok(())) if self.is_ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if pulled => {}
                // The upstream is awaited: nothing else would notice that the client has left.
                Poll::Ready(Ok(())) if wire.poll_gone(cx).is_ready() => {
                    return Poll::Ready(Err(Fault::ClientGone));
                }
                flushed => {
                    drop(wire);
                    if flushed.is_pending() {
                        body.poll_ahead(cx);
                    }
                    return self.poll_pace(cx, timer).map(Err);
                }
            }
        }
    }

    /// Takes frames until the buffer is full, the body ends (both `true`) or none is there.
    fn pull<IO>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Shared<IO>,
        body: &mut Body,
    ) -> Result<bool, Fault> {
        while !self.is_ended && wire.0.lock().output.pending() < MOST_AHEAD {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Some(Err(fault))) => return Err(fault),
                Poll::Ready(frame) => {
                    self.moved = None;
                    let is_chunked = self.framing == Framing::Chunked;
                    let frame = frame.and_then(Result::ok);
                    self.is_ended =
                        http1::write_frame(wire.0.lock().output.buffer(), frame, is_chunked);
                }
            }
        }
        Ok(true)
    }

    /// Ready when the transfer has paused, or lasted, for longer than it may.
    fn poll_pace(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Fault> {
        let pace = self.pace;
        let silent = *self.moved.get_or_insert_with(Instant::now) + pace.idle;
        timer.set(pace.end.map_or(silent, |end| end.min(silent)));
        timer.poll(cx).map(|()| match pace.end {
            Some(end) if end <= silent => Fault::OutOfTime,
            _ => Fault::Idle(pace.idle),
        })
    }
}

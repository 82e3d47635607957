//! A request's body on its way to a server: pull a frame from the client, write it, no more ahead than one buffer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Body as _;
use tokio::time::Instant;

use super::connection::Connection;
use crate::{body::Body, error::Fault, http1, runtime::io::Output, runtime::timer::Timer};

/// Bytes pulled ahead of the server, so that a slow one slows the client.
const MOST_AHEAD: usize = 64 * 1024;

/// One body's way up, the request's head before it.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    is_chunked: bool,
    is_ended: bool,
    /// All is written, or the server takes no more.
    is_over: bool,
    has_failed: bool,
    has_written: bool,
    /// When a byte last moved; `None` while that is now.
    moved: Option<Instant>,
    /// A byte moved since this was last asked.
    has_moved: bool,
    /// Boxed, as most requests have no body to wait for.
    timer: Option<Box<Timer>>,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        Self {
            is_chunked: body.length().is_none(),
            is_ended: body.is_empty(),
            body,
            is_over: false,
            has_failed: false,
            has_written: false,
            moved: None,
            has_moved: false,
            timer: None,
        }
    }

    /// Whether anything of the request reached the socket.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    /// Whether all of the request was written, so that the connection can serve another.
    pub(super) fn is_complete(&self) -> bool {
        self.is_over && !self.has_failed
    }

    /// Whether all of the body was pulled from the client, though it may not be written yet.
    pub(super) fn is_pulled(&self) -> bool {
        self.is_ended
    }

    /// Whether there is nothing left to write, or nobody who takes it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Leaves the pace to the answer, which has begun: from now on a byte in either direction counts.
    pub(super) fn unpace(&mut self) {
        self.body.set_pace(None);
    }

    /// Whether a byte moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    fn note_move(&mut self) {
        self.moved = None;
        self.has_moved = true;
    }

    /// Moves what can be moved. Ready when nothing is left to move: all is written, or the server takes no more, which is
    /// no error here since it may have answered already.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<Result<(), Fault>> {
        while !self.is_over {
            let pulled = self.pull(cx, &mut connection.output)?;
            let waiting = connection.output.pending();
            let flushed = connection.poll_flush(cx);
            if connection.output.pending() < waiting {
                self.has_written = true;
                self.note_move();
            }
            match flushed {
                Poll::Ready(Err(_)) => {
                    self.has_failed = true;
                    self.is_over = true;
                    self.body.leave_unread();
                }
                Poll::Ready(Ok(())) if self.is_ended => self.is_over = true,
                Poll::Ready(Ok(())) if pulled => {}
                _ => return self.poll_pace(cx, flushed.is_ready()).map(Err),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn pull(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Result<bool, Fault> {
        while !self.is_ended && out.pending() < MOST_AHEAD {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Some(Err(fault))) => return Err(fault),
                Poll::Ready(frame) => {
                    self.note_move();
                    let is_over = http1::write_frame(
                        out.buffer(),
                        frame.and_then(Result::ok),
                        self.is_chunked,
                    );
                    self.is_ended = is_over || (!self.is_chunked && self.body.length() == Some(0));
                    if self.is_ended {
                        self.body.leave_unread();
                    }
                }
            }
        }
        Ok(true)
    }

    /// Ready when nothing has moved for too long: the client's fault when all that it sent is written.
    fn poll_pace(&mut self, cx: &mut Context<'_>, is_flushed: bool) -> Poll<Fault> {
        let Some(pace) = self.body.pace() else {
            return Poll::Pending;
        };
        let silent = *self.moved.get_or_insert_with(Instant::now) + pace.idle;
        let timer = self.timer.get_or_insert_default();
        timer.set(pace.end.map_or(silent, |end| end.min(silent)));
        timer.poll(cx).map(|()| match pace.end {
            Some(end) if end <= silent => Fault::OutOfTime,
            _ if is_flushed => Fault::ClientSilent(pace.idle),
            _ => Fault::Idle(pace.idle),
        })
    }
}

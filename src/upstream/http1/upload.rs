//! A request's body on its way to an HTTP/1 server: frames are pulled from the
//! client and written, at most one buffer ahead of the server, so that a slow
//! server slows the client.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Body as _;

use super::connection::PooledConnection;
use crate::{
    body::{Body, PauseWatch},
    error::Fault,
    http1,
    runtime::{output::Output, timer::Timer},
};

/// The most bytes that are pulled from the client before the server has taken
/// them.
const MOST_AHEAD: usize = 64 * 1024;

/// The sending of one request: its head, which is in the connection's output
/// already, and its body.
#[derive(Debug)]
pub(super) struct Http1Upload {
    /// The part of the body that was not pulled yet.
    body: Body,
    /// Whether it is sent in chunks, as its length is not known.
    is_chunked: bool,
    /// Whether the body was read from the client to its end.
    is_read: bool,
    /// Whether everything is written, or the server takes no more.
    is_over: bool,
    /// Whether the server took no more before everything was written.
    has_failed: bool,
    /// Whether any byte, of the head or of the body, was written.
    has_written: bool,
    progress: PauseWatch,
    /// Boxed, as most requests have no body to wait for.
    timer: Option<Box<Timer>>,
}

impl Http1Upload {
    /// The upload of `body` behind the head that is in the connection's output.
    pub(super) fn new(body: Body) -> Self {
        Self {
            is_chunked: body.length().is_none(),
            is_read: body.is_empty(),
            body,
            is_over: false,
            has_failed: false,
            has_written: false,
            progress: PauseWatch::default(),
            timer: None,
        }
    }

    /// Whether any byte of the request was written to the socket.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    /// Whether the whole request was written, so that the connection can carry
    /// another one.
    pub(super) fn is_complete(&self) -> bool {
        self.is_over && !self.has_failed
    }

    /// Whether the whole body was read from the client, though it may not be
    /// written yet.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether nothing is left to write, or the server takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends the supervision of the body's pace, as the response has begun: from
    /// now on a byte in either direction counts as progress, which the
    /// response's body watches.
    pub(super) fn stop_pacing(&mut self) {
        self.body.set_pace(None);
    }

    /// Whether a byte moved since this was last called.
    pub(super) fn take_progress(&mut self) -> bool {
        self.progress.take()
    }

    /// Moves as many bytes as client and server allow. Ready when nothing is
    /// left to move.
    ///
    /// A server that takes no more is no error here, since it may have
    /// responded already.
    ///
    /// # Errors
    /// The client broke off, or its body stalled for longer than its pace
    /// allows.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut PooledConnection,
    ) -> Poll<Result<(), Fault>> {
        while !self.is_over {
            let is_filled = self.pull(cx, &mut connection.output)?;
            let pending = connection.output.pending();
            let flushed = connection.poll_flush(cx);
            if connection.output.pending() < pending {
                self.has_written = true;
                self.progress.note();
            }
            match flushed {
                Poll::Ready(Err(_)) => {
                    self.has_failed = true;
                    self.is_over = true;
                    self.body.leave_unread();
                }
                Poll::Ready(Ok(())) if self.is_read => self.is_over = true,
                Poll::Ready(Ok(())) if is_filled => {}
                _ => return self.poll_pace(cx, flushed.is_ready()).map(Err),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Pulls from the client until the output is full or the body ends. Returns
    /// false if it waits for the client.
    fn pull(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Result<bool, Fault> {
        while !self.is_read && out.pending() < MOST_AHEAD {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Some(Err(fault))) => return Err(fault),
                Poll::Ready(frame) => {
                    self.progress.note();
                    let frame = frame.and_then(Result::ok);
                    let is_last = http1::write_frame(out, frame, self.is_chunked);
                    self.is_read = is_last || (!self.is_chunked && self.body.length() == Some(0));
                    if self.is_read {
                        self.body.leave_unread();
                    }
                }
            }
        }
        Ok(true)
    }

    /// Ready when nothing has moved for too long. With everything flushed it is
    /// the client that stalls, otherwise the server.
    fn poll_pace(&mut self, cx: &mut Context<'_>, is_flushed: bool) -> Poll<Fault> {
        let Some(pace) = self.body.pace() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_default();
        let too_slow = self.progress.poll_too_slow(cx, pace, timer);
        too_slow.map(|fault| match fault {
            Fault::Idle(pause) if is_flushed => Fault::ClientSilent(pause),
            fault => fault,
        })
    }
}

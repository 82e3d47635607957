//! The body of a response on its way to the client, at the pace that its route
//! allows.
//!
//! `stream` creates one transfer for each response that has a body, and polls
//! it in the task of the stream until it is ready. The transfer itself owns
//! only the sending half of the stream. The body stays with the caller, because
//! the guards in it outlive the transfer by the records that follow it
//! (`Body::broke`, `Body::delivered`).
//!
//! # Order of a poll
//!
//! * Frames are moved until the body has none, or the windows of the client are
//!   used up (RFC 9113, 5.2).
//! * A reset by the client is looked for only then. It is noticed at once
//!   nevertheless, as the poll registers the task with h2.
//! * The clock comes last: the time is compared only if nothing can be moved.
//!
//! # Bounds
//!
//! The part of a frame that the windows do not take yet is the only part of a
//! body that is kept here, so that a client that reads slowly slows down the
//! source. The `Pace` bounds a pause and, if the route sets an end, the whole
//! transfer.
//!
//! # Cancellation
//!
//! The task of the stream owns the transfer. If that task is dropped in the
//! middle of a response, h2 resets the stream, since its end was not sent.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use crate::{
    body::{Body, Pace, PauseWatch},
    error::Fault,
    http2::{Outflow, Stopped},
    runtime::timer::Timer,
};

/// The transfer of one body.
///
/// Each poll either moves bytes, finds that the client has left, or arms the
/// timer. An error is final: the caller resets the stream with a code that fits
/// the fault, and polls no more.
pub(super) struct Transfer {
    /// The sending half of the stream, with the rest of the frame that was
    /// pulled last.
    flow: Outflow,
    /// The longest pause between two movements of bytes, and the end of the
    /// whole exchange if it has one.
    pace: Pace,
    /// The deadline that follows from `pace`. It is set by a poll that finds
    /// nothing to move.
    timer: Timer,
    /// Remembers since when nothing has moved.
    progress: PauseWatch,
}

impl Transfer {
    /// The transfer of a body on `stream`, at this pace.
    ///
    /// The head of the response has been sent on `stream` before, and did not
    /// end it. No timer runs until the first poll that finds nothing to move.
    pub(super) fn new(stream: SendStream<Bytes>, pace: Pace) -> Self {
        Self {
            flow: Outflow::new(stream),
            pace,
            timer: Timer::default(),
            progress: PauseWatch::default(),
        }
    }

    /// Ends the stream early.
    ///
    /// The client gets an RST_STREAM with `reason` (RFC 9113, 6.4). DATA frames
    /// that h2 has queued for the stream may be lost: a caller that wants them
    /// delivered waits for a flush first.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.flow.stream().send_reset(reason);
    }

    /// Moves the bytes that can be moved. Ready when all are queued, or when
    /// the transfer broke off.
    ///
    /// # Errors
    /// `Fault::ClientGone` if the client has reset the stream or the connection
    /// is over, the fault of the body if its source broke, and `Fault::Idle` or
    /// `Fault::OutOfTime` if the transfer is slower than its pace allows.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<(), Fault>> {
        loop {
            match self.flow.poll_move(cx, body) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => self.progress.note(),
                Poll::Ready(Err(Stopped::Source(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(Err(Stopped::Stream)) => return Poll::Ready(Err(Fault::ClientGone)),
                Poll::Pending => {
                    body.poll_ahead(cx);
                    break;
                }
            }
        }
        if self.flow.stream().poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientGone));
        }
        self.progress
            .poll_too_slow(cx, self.pace, &mut self.timer)
            .map(Err)
    }
}

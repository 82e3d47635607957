//! The body of a response on its way to the client, at the pace that its route
//! allows.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use crate::{
    body::{Body, Pace, Progress},
    error::Fault,
    http2::{Outflow, Stopped},
    runtime::timer::Timer,
};

/// The transfer of one body.
pub(super) struct Transfer {
    flow: Outflow,
    pace: Pace,
    timer: Timer,
    progress: Progress,
}

impl Transfer {
    /// The transfer of a body on `stream`, at this pace.
    pub(super) fn new(stream: SendStream<Bytes>, pace: Pace) -> Self {
        Self {
            flow: Outflow::new(stream),
            pace,
            timer: Timer::default(),
            progress: Progress::default(),
        }
    }

    /// Ends the stream early.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.flow.stream().send_reset(reason);
    }

    /// Moves the bytes that can be moved. Ready when all are queued, or when
    /// the transfer broke off.
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

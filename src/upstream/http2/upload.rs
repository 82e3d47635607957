//! A request's body on its way to the server, on a stream of HTTP/2.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use crate::{
    body::{Body, PauseWatch},
    error::Fault,
    http2::{Outflow, Stopped},
    runtime::timer::Timer,
};

/// The sending of one body.
#[derive(Debug)]
pub(super) struct Http2Upload {
    /// `None` once everything is sent, or the server takes no more.
    flow: Option<Outflow>,
    body: Body,
    progress: PauseWatch,
    timer: Timer,
}

impl Http2Upload {
    /// The upload of `body` on `stream`, which is `None` if the request has no
    /// body. Trailers longer than `most_trailers` bytes, the server's limit,
    /// end the body with a fault of the client.
    pub(super) fn new(stream: Option<SendStream<Bytes>>, most_trailers: usize, body: Body) -> Self {
        let flow = stream.map(|stream| Outflow::new(stream).with_trailers_up_to(most_trailers));
        Self {
            flow,
            body,
            progress: PauseWatch::default(),
            timer: Timer::default(),
        }
    }

    /// Whether everything is sent, or the server takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.flow.is_none()
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
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while let Some(flow) = &mut self.flow {
            match flow.poll_move(cx, &mut self.body) {
                Poll::Ready(Ok(is_over)) => {
                    self.progress.note();
                    if is_over {
                        self.flow = None;
                        self.body.leave_unread();
                    }
                }
                Poll::Ready(Err(Stopped::Source(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(Err(Stopped::Stream)) => {
                    self.flow = None;
                    self.body.leave_unread();
                }
                Poll::Pending => {
                    let is_drained = flow.is_drained();
                    return self.poll_pace(cx, is_drained).map(Err);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when nothing has moved for too long. With everything on its way it
    /// is the client that stalls, otherwise the server.
    fn poll_pace(&mut self, cx: &mut Context<'_>, is_drained: bool) -> Poll<Fault> {
        let Some(pace) = self.body.pace() else {
            return Poll::Pending;
        };
        let too_slow = self.progress.poll_too_slow(cx, pace, &mut self.timer);
        too_slow.map(|fault| match fault {
            Fault::Idle(pause) if is_drained => Fault::ClientSilent(pause),
            fault => fault,
        })
    }
}

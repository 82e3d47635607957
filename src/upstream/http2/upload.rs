//! A request's body on its way up a stream.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use tokio::time::Instant;

use crate::{
    body::Body,
    error::Fault,
    http2::{Outflow, Stopped},
    runtime::timer::Timer,
};

/// One body's way up.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` once all is sent, or the server takes no more.
    flow: Option<Outflow>,
    body: Body,
    /// When a byte last moved; `None` while that is now.
    moved: Option<Instant>,
    /// A byte moved since this was last asked.
    has_moved: bool,
    timer: Timer,
}

impl Upload {
    /// Of a body on this stream, or of none; the server takes no longer list of trailers than this.
    pub(super) fn new(stream: Option<SendStream<Bytes>>, most_trailers: usize, body: Body) -> Self {
        let flow = stream.map(|stream| Outflow::new(stream).with_trailers_up_to(most_trailers));
        Self {
            flow,
            body,
            moved: None,
            has_moved: false,
            timer: Timer::default(),
        }
    }

    /// Whether all is sent, or the server takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.flow.is_none()
    }

    /// Leaves the pace to the answer, which has begun: from now on a byte in either direction counts.
    pub(super) fn unpace(&mut self) {
        self.body.set_pace(None);
    }

    /// Whether a byte moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Moves what can be moved. Ready when nothing is left to move: all is sent, or the server takes no more, which is no
    /// error here since it may have answered already.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while let Some(flow) = &mut self.flow {
            match flow.poll_move(cx, &mut self.body) {
                Poll::Ready(Ok(is_over)) => {
                    self.moved = None;
                    self.has_moved = true;
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

    /// Ready when nothing has moved for too long: the client's fault when all that it sent is on its way.
    fn poll_pace(&mut self, cx: &mut Context<'_>, is_drained: bool) -> Poll<Fault> {
        let Some(pace) = self.body.pace() else {
            return Poll::Pending;
        };
        let silent = *self.moved.get_or_insert_with(Instant::now) + pace.idle;
        self.timer
            .set(pace.end.map_or(silent, |end| end.min(silent)));
        self.timer.poll(cx).map(|()| match pace.end {
            Some(end) if end <= silent => Fault::OutOfTime,
            _ if is_drained => Fault::ClientSilent(pace.idle),
            _ => Fault::Idle(pace.idle),
        })
    }
}

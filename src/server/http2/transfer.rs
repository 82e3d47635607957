//! A response body on its way down a stream: pull a frame, send what the client's windows take, no more ahead.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;
use tokio::time::Instant;

use super::bounds::SEND_BUFFER;
use crate::{
    alarm::Alarm,
    body::{Body, Pace},
    error::Fault,
};

/// One body's transfer.
pub(super) struct Transfer {
    stream: SendStream<Bytes>,
    pace: Pace,
    alarm: Alarm,
    /// What was pulled and not yet sent.
    rest: Bytes,
    /// When a byte last moved; `None` while that is now.
    moved: Option<Instant>,
}

impl Transfer {
    pub(super) fn new(stream: SendStream<Bytes>, pace: Pace) -> Self {
        Self { stream, pace, alarm: Alarm::default(), rest: Bytes::new(), moved: None }
    }

    /// Ends the stream early.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Moves what can be moved. Ready when all is handed over, or when the transfer broke off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<(), Fault>> {
        loop {
            let moved = if self.rest.is_empty() { self.pull(cx, body) } else { self.push(cx, body) };
            match moved {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => self.moved = None,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => break,
            }
        }
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientGone));
        }
        self.poll_pace(cx).map(Err)
    }

    /// Takes the next frame of the body; true at its end.
    fn pull(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<bool, Fault>> {
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return Poll::Pending };
        let sent = match frame.transpose()? {
            None => self.stream.send_data(Bytes::new(), true),
            Some(frame) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    return Poll::Ready(Ok(false));
                }
                Err(frame) => self.stream.send_trailers(frame.into_trailers().unwrap_or_default()),
            },
        };
        Poll::Ready(sent.map(|()| true).map_err(|_| Fault::ClientGone))
    }

    /// Sends what the windows take of what was pulled; true when that was the end of the body.
    fn push(&mut self, cx: &mut Context<'_>, body: &Body) -> Poll<Result<bool, Fault>> {
        let wanted = self.rest.len().min(SEND_BUFFER);
        self.stream.reserve_capacity(wanted);
        let mut granted = self.stream.capacity();
        if granted == 0 {
            granted = match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(granted))) => granted,
                Poll::Ready(_) => return Poll::Ready(Err(Fault::ClientGone)),
                Poll::Pending => return Poll::Pending,
            };
        }
        let piece = self.rest.split_to(granted.min(self.rest.len()));
        let is_last = self.rest.is_empty() && body.is_end_stream();
        let sent = self.stream.send_data(piece, is_last);
        Poll::Ready(sent.map(|()| is_last).map_err(|_| Fault::ClientGone))
    }

    /// Ready when the transfer has paused, or lasted, for longer than it may.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let pace = self.pace;
        let silent = *self.moved.get_or_insert_with(Instant::now) + pace.idle;
        self.alarm.set(pace.end.map_or(silent, |end| end.min(silent)));
        self.alarm.poll(cx).map(|()| match pace.end {
            Some(end) if end <= silent => Fault::OutOfTime,
            _ => Fault::Idle(pace.idle),
        })
    }
}

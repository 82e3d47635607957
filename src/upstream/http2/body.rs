//! The body of an HTTP/2 response on its way to the client, and the end of the
//! exchange.
//!
//! Frames are pulled as the client takes them, and each one that is read opens
//! the stream's window again, so that a slow client slows the server and no
//! other stream. The server is judged by the end: a success once the last frame
//! has arrived, and a failure if the stream breaks before that.
//!
//! # The end of the stream
//!
//! A stream that has ended in both directions is given back as it is. In every
//! other case giving it back resets it, so that the server stops its work: the
//! client has left, the response is over before the request, or the response is
//! malformed. After an error of the server or of the whole connection there is
//! nothing left to reset.
//!
//! A reset of the stream that h2 itself makes, as for a body that is not of the
//! announced length (RFC 9113, 8.1.1), counts as the server's failure, as its
//! reset and a broken connection do.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{connection::StreamPermit, upload::Http2Upload};
use crate::{error::Fault, http2::Inflow, upstream::attempt::ResponseOutcome};

/// A response's body. Dropped early, it resets the stream.
///
/// The permit of the stream is returned when the reader finds the end of the
/// body, or on drop.
#[derive(Debug)]
pub(super) struct Http2ResponseBody {
    flow: Inflow,
    /// `None` once the exchange is over.
    rest: Option<RestOfExchange>,
}

/// Everything that an exchange holds until its end.
#[derive(Debug)]
struct RestOfExchange {
    stream: StreamPermit,
    upload: Http2Upload,
    /// `None` once the server is judged.
    outcome: Option<ResponseOutcome>,
}

impl Http2ResponseBody {
    /// The body of the response whose head has arrived, with everything that the
    /// exchange holds.
    ///
    /// The pace of the request's body is not watched from here on: a byte in
    /// either direction counts as progress.
    pub(super) fn new(
        flow: Inflow,
        stream: StreamPermit,
        mut upload: Http2Upload,
        outcome: ResponseOutcome,
    ) -> Self {
        upload.stop_pacing();
        Self {
            flow,
            rest: Some(RestOfExchange {
                stream,
                upload,
                outcome: Some(outcome),
            }),
        }
    }

    /// Judges the server by a frame. The last one suffices for a success, as
    /// the reader may not ask for the end behind it.
    ///
    /// A fault of the client judges nothing. Only the first judgement counts.
    fn judge(&mut self, frame: Option<&Result<Frame<Bytes>, Fault>>) {
        let is_complete = match frame {
            None => true,
            Some(Ok(_)) => self.flow.is_over(),
            Some(Err(_)) => false,
        };
        let Some(outcome) = self.rest.as_mut().map(|rest| &mut rest.outcome) else {
            return;
        };
        if is_complete {
            drop(outcome.take().map(ResponseOutcome::complete));
        } else if let Some(Err(Fault::UpstreamCut(_))) = frame
            && let Some(outcome) = outcome.take()
        {
            outcome.broke_off();
        }
    }

    /// Gives the stream back, which resets it unless it has ended in both
    /// directions.
    fn close(&mut self) {
        if let Some(RestOfExchange {
            mut stream, upload, ..
        }) = self.rest.take()
            && self.flow.is_over()
            && upload.is_over()
        {
            stream.ended();
        }
    }

    /// The next frame of the body. Goes on with the request's body at the same
    /// time.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(RestOfExchange { stream, upload, .. }) = &mut self.rest else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(Err(fault)) = upload.poll(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        match self.flow.poll_next(cx) {
            Poll::Ready(Some(Err(error))) => {
                if error.is_remote() || !error.is_reset() {
                    stream.ended();
                }
                Poll::Ready(Some(Err(cut(&error))))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            // An empty frame as a sign of life: the reader of the response also
            // decides whether the exchange is idle.
            Poll::Pending if upload.take_progress() => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Http2ResponseBody {
    fn drop(&mut self) {
        self.close();
    }
}

/// The fault of a response that broke off.
fn cut(error: &h2::Error) -> Fault {
    Fault::UpstreamCut(if error.is_reset() && error.is_remote() {
        "the server reset the stream"
    } else if error.is_reset() {
        "the answer's body is not of the length that was announced"
    } else {
        "the connection broke"
    })
}

impl http_body::Body for Http2ResponseBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_next(cx));
        this.judge(frame.as_ref());
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.close();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() || self.flow.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.flow.size_hint()
    }
}

//! An answer's body on its way down from a stream, and the rest of its request on the way up.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{connection::Borrowed, upload::Upload};
use crate::{error::Fault, http2::Inflow, upstream::trial::Rest};

/// The rest of an exchange whose answer has begun. Dropped early, it resets the stream.
#[derive(Debug)]
pub(super) struct Answer {
    flow: Inflow,
    /// `None` once the exchange is over.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    borrowed: Borrowed,
    upload: Upload,
    /// `None` once it is judged.
    rest: Option<Rest>,
}

impl Answer {
    pub(super) fn new(flow: Inflow, borrowed: Borrowed, mut upload: Upload, rest: Rest) -> Self {
        upload.unpace();
        Self {
            flow,
            open: Some(Open {
                borrowed,
                upload,
                rest: Some(rest),
            }),
        }
    }

    /// The reader of the answer may stop at its last frame, and not ask for the end behind it.
    fn judge(&mut self, frame: Option<&Result<Frame<Bytes>, Fault>>) {
        let Some(rest) = self.open.as_mut().map(|open| &mut open.rest) else {
            return;
        };
        match frame {
            Some(Err(Fault::UpstreamCut(_))) => rest.take().map(Rest::broke_off),
            None => rest.take().map(|rest| drop(rest.came())),
            Some(Ok(_)) if self.flow.is_over() => rest.take().map(|rest| drop(rest.came())),
            Some(_) => None,
        };
    }

    /// Lets the stream go, which resets it unless it has ended in both directions.
    fn close(&mut self) {
        if let Some(Open {
            mut borrowed,
            upload,
            ..
        }) = self.open.take()
            && self.flow.is_over()
            && upload.is_over()
        {
            borrowed.ended();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(Open {
            borrowed, upload, ..
        }) = &mut self.open
        else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(Err(fault)) = upload.poll(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        match self.flow.poll_next(cx) {
            Poll::Ready(Some(Err(error))) => {
                if error.is_remote() || !error.is_reset() {
                    borrowed.ended();
                }
                Poll::Ready(Some(Err(cut(&error))))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            // Nothing, but a sign of life: whoever reads the answer also judges whether the exchange is idle.
            Poll::Pending if upload.take_moved() => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.close();
    }
}

fn cut(error: &h2::Error) -> Fault {
    Fault::UpstreamCut(if error.is_reset() && error.is_remote() {
        "the server reset the stream"
    } else if error.is_reset() {
        "the answer's body is not of the length that was announced"
    } else {
        "the connection broke"
    })
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(this.poll_next(cx));
        this.judge(frame.as_ref());
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.close();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none() || self.flow.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.flow.size_hint()
    }
}

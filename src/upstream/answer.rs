//! An answer's body on its way down, and the end of an exchange: the connection is kept or closed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{pool::Lease, trial::Rest, upload::Upload};
use crate::{
    error::Fault,
    http1::{Decoder, Piece, ResponseHead},
};

/// Longest trailers of an answer.
const MOST_TRAILER_BYTES: usize = 16 * 1024;

/// The rest of an exchange whose answer has begun.
#[derive(Debug)]
pub(super) struct Answer {
    /// `None` once the exchange is over.
    open: Option<Open>,
    decoder: Decoder,
    /// The server would take another request after this one.
    keep_alive: bool,
}

#[derive(Debug)]
struct Open {
    lease: Lease,
    upload: Upload,
    rest: Rest,
}

impl Answer {
    pub(super) fn new(head: &ResponseHead, lease: Lease, mut upload: Upload, rest: Rest) -> Self {
        upload.unpace();
        Self {
            open: Some(Open {
                lease,
                upload,
                rest,
            }),
            decoder: Decoder::of_answer(head.length, MOST_TRAILER_BYTES),
            keep_alive: head.keep_alive,
        }
    }

    fn finish(&mut self) {
        if let Some(Open {
            lease,
            upload,
            rest,
        }) = self.open.take()
        {
            rest.came();
            lease.end(self.keep_alive && upload.is_complete(), Instant::now());
        }
    }

    /// Closes the connection, whoever broke the exchange off.
    fn break_off(&mut self, fault: Fault) {
        if let Some(open) = self.open.take()
            && let Fault::UpstreamCut(_) = fault
        {
            open.rest.broke_off();
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        let Some(Open { lease, upload, .. }) = &mut self.open else {
            return Poll::Ready(Ok(Piece::End));
        };
        if let Poll::Ready(Err(fault)) = upload.poll(cx, &mut lease.connection) {
            return Poll::Ready(Err(fault));
        }
        loop {
            match self.decoder.next(&mut lease.connection.input) {
                Ok(Piece::More) => {}
                Ok(piece) => return Poll::Ready(Ok(piece)),
                Err(what) => return Poll::Ready(Err(Fault::UpstreamCut(what))),
            }
            let read = match lease.connection.poll_read(cx) {
                Poll::Ready(read) => read,
                // Nothing, but a sign of life: whoever reads the answer also judges whether the exchange is idle.
                Poll::Pending if upload.take_moved() => {
                    return Poll::Ready(Ok(Piece::Data(Bytes::new())));
                }
                Poll::Pending => return Poll::Pending,
            };
            match read {
                Ok(0) if self.decoder.may_end_here() => return Poll::Ready(Ok(Piece::End)),
                Ok(0) => {
                    return Poll::Ready(Err(Fault::UpstreamCut(
                        "the answer's body is shorter than announced",
                    )));
                }
                Err(_) => return Poll::Ready(Err(Fault::UpstreamCut("the connection broke"))),
                Ok(_) => {}
            }
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_piece(cx));
        match piece {
            Err(fault) => this.break_off(fault),
            Ok(Piece::Data(_)) if !this.decoder.is_done() => {}
            Ok(_) => this.finish(),
        }
        Poll::Ready(match piece {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End | Piece::More) => None,
            Err(fault) => Some(Err(fault)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Exact(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

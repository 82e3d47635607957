//! The body of an HTTP/1 response on its way to the client, and the end of the
//! exchange: the connection is pooled or closed.
//!
//! Bytes are read from the server as the client takes them, so that a slow
//! client slows the server by TCP's window. The rest of the request's body is
//! sent at the same time, as a server may respond while it still reads.
//!
//! The connection is pooled when the response is complete and so is the
//! request. A response that is shorter than announced, or whose chunks are
//! malformed, is cut for the client, too, and counts against the server.
//!
//! # The end of the exchange
//!
//! * The last piece has arrived: the server is judged a success, and the
//!   connection is pooled if the head allows that, the request is complete,
//!   too, and no bytes are left over.
//! * The server broke off: the reader gets `Fault::UpstreamCut`, the server is
//!   judged a failure, and the connection is closed.
//! * The client broke its own body off: the reader gets the client's fault, the
//!   connection is closed, and the server is not judged.
//! * The body is dropped by its reader: the connection is closed, and the
//!   server is not judged.
//!
//! A response without a length and without chunks ends with the connection (RFC
//! 9112, 6.3), so that it is never pooled.
//!
//! # Buffering
//!
//! A piece of data is a slice of the connection's input buffer, without a copy.
//! Nothing is read from the socket while the buffer still has a piece, so that
//! it does not grow while the client is slow.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{pool::Lease, upload::Http1Upload};
use crate::{
    error::Fault,
    http1::{Decoder, Piece, ResponseHead},
    runtime::io::ReadSize,
    upstream::attempt::ResponseOutcome,
};

/// The longest trailers of a response, in bytes.
///
/// More is a malformed response, which is cut.
const MOST_TRAILER_BYTES: usize = 16 * 1024;

/// A response's body that did not arrive together with its head. Dropped early,
/// it closes the connection.
#[derive(Debug)]
pub(super) struct Http1ResponseBody {
    /// `None` once the exchange is over.
    rest: Option<RestOfExchange>,
    /// Finds the end of the body.
    decoder: Decoder,
    /// The size of the next read.
    read_size: ReadSize,
    /// Whether the server keeps the connection open after this response.
    keep_alive: bool,
}

/// Everything that an exchange holds until its end.
#[derive(Debug)]
struct RestOfExchange {
    /// The connection, pooled or closed at the end.
    lease: Lease,
    /// The rest of the request.
    upload: Http1Upload,
    /// Judges the server by the end of the response.
    outcome: ResponseOutcome,
}

impl Http1ResponseBody {
    /// The body behind `head`, with everything that the exchange holds.
    ///
    /// The pace of the request's body is not watched from here on: a byte in
    /// either direction counts as progress.
    pub(super) fn new(
        head: &ResponseHead,
        lease: Lease,
        mut upload: Http1Upload,
        outcome: ResponseOutcome,
    ) -> Self {
        upload.stop_pacing();
        Self {
            rest: Some(RestOfExchange {
                lease,
                upload,
                outcome,
            }),
            decoder: Decoder::of_response(head.length, MOST_TRAILER_BYTES),
            read_size: ReadSize::default(),
            keep_alive: head.keep_alive,
        }
    }

    /// Ends a complete response: judges the server and gives the connection
    /// back.
    ///
    /// Does nothing if the exchange is over already.
    fn finish(&mut self) {
        if let Some(RestOfExchange {
            mut lease,
            upload,
            outcome,
        }) = self.rest.take()
        {
            outcome.complete();
            lease.connection.free_input();
            lease.end(self.keep_alive && upload.is_complete(), Instant::now());
        }
    }

    /// Closes the connection, and counts against the server if it was the
    /// server that broke off.
    ///
    /// Dropping the lease closes the connection.
    fn break_off(&mut self, fault: Fault) {
        if let Some(rest) = self.rest.take()
            && let Fault::UpstreamCut(_) = fault
        {
            rest.outcome.broke_off();
        }
    }

    /// The next piece of the body. Goes on with the request's body at the same
    /// time.
    ///
    /// The request's body is polled first, so that a server that waits for it
    /// before it goes on with the response gets it. `Piece::More` is never
    /// returned.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        let Some(RestOfExchange { lease, upload, .. }) = &mut self.rest else {
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
            let read = match lease.connection.poll_read_body(cx, &mut self.read_size) {
                Poll::Ready(read) => read,
                // An empty frame as a sign of life: the reader of the response
                // also decides whether the exchange is idle.
                Poll::Pending if upload.take_progress() => {
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

impl http_body::Body for Http1ResponseBody {
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
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Exact(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

//! A response on its way to the client: its head, then its body.
//!
//! # Head
//!
//! [`Transfer::begin`] decides by request and response how the body is framed
//! (RFC 9112, 6.3) and whether the connection stays open, then writes the head.
//! A body that is in memory is written behind it at once, so that most
//! responses leave in one system call.
//!
//! # Body
//!
//! [`Transfer::poll`] pulls any other body frame by frame, never more than 64
//! KiB ahead of the client, so that a slow client slows the upstream. A body
//! that breaks off ends the connection in a way that the client cannot take for
//! a complete response: it is shorter than its length, or has no last chunk. A
//! body that only the end of the connection delimits ends in a reset
//! ([`Socket::close_cuts`]).
//!
//! # Order
//!
//! `Connection::deliver` begins a transfer and polls it until it is ready, in
//! the connection's task. The permits in a body are released as soon as its end
//! is in the buffer. The other guards, and with them the access line, follow
//! when the last byte is written.
//!
//! # Cancellation
//!
//! The connection's task may be dropped at any time. The socket is then closed
//! with a response cut off, in the same way as by a fault.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{StatusCode, Version, header};
use http_body::Body as _;

use super::{close::SHORT_REST, wire::SharedWire};
use crate::{
    body::{Body, Pace, PauseWatch},
    error::Fault,
    http1,
    message::Response,
    runtime::timer::Timer,
    server::Socket,
};

/// Bytes pulled ahead of the client: enough for full segments, and few enough
/// that a slow reader slows the upstream.
///
/// In bytes, of which one frame may go beyond: the buffer is looked at before a
/// frame is pulled.
const MAX_AHEAD: usize = 64 * 1024;

/// The traits of a request that decide the form of its response.
///
/// They are copied from the head of the request before the service takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestTraits {
    /// A HEAD request: only the head of the response is written.
    ///
    /// Its fields are those of a GET, `Content-Length` included (RFC 9110,
    /// 9.3.2).
    pub(super) is_head: bool,
    /// The client's version.
    pub(super) version: Version,
    /// Both sides are ready for another request after this response.
    ///
    /// [`Transfer::begin`] can only take it back, and never grants it.
    pub(super) keep_alive: bool,
}

/// How the body of a response is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// No body is written.
    Bodiless,
    /// By its length.
    Counted,
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
    /// Not at all: the connection switches protocols.
    Tunnel,
}

impl Framing {
    /// The framing of a response to this request.
    ///
    /// The order of the questions matters: a tunnel comes first, since a 101
    /// has no body otherwise, and HEAD comes before any length.
    fn of(response: &Response, request: &RequestTraits) -> Self {
        if response.body.is_tunnel() {
            Self::Tunnel
        } else if request.is_head || http1::has_no_body(response.status) {
            Self::Bodiless
        } else if response.body.length().is_some() {
            Self::Counted
        } else if request.version == Version::HTTP_11 {
            Self::Chunked
        } else {
            Self::UntilClose
        }
    }
}

/// Writes the head of a response (RFC 9112, 4).
///
/// The fields of the response are copied as they are; framing, `Date` and
/// `Connection` are added behind them. A 426 names its `Upgrade` in
/// `Connection` (RFC 9110, 7.8).
fn write_head(out: &mut Vec<u8>, response: &Response, framing: Framing, request: &RequestTraits) {
    let Response { status, fields, .. } = response;
    out.reserve(256 + fields.as_bytes().len());
    http1::write_status_line(out, *status, response.reason.as_deref());
    out.extend_from_slice(fields.as_bytes());
    if !fields.has_date() {
        http1::write_date(out);
    }
    if let Some(length) = content_length(response, framing) {
        out.extend_from_slice(b"content-length: ");
        http1::write_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    let names_protocol =
        *status == StatusCode::UPGRADE_REQUIRED && fields.get(&header::UPGRADE).is_some();
    match (request.keep_alive, request.version) {
        (false, _) if names_protocol => out.extend_from_slice(b"connection: close, upgrade\r\n"),
        _ if framing == Framing::Tunnel || names_protocol => {
            out.extend_from_slice(b"connection: upgrade\r\n")
        }
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The value of `Content-Length`, if the response has one.
///
/// `None` for a body in chunks, one that ends with the connection, a tunnel,
/// and a 204.
fn content_length(response: &Response, framing: Framing) -> Option<u64> {
    let Response {
        status,
        fields,
        body,
        ..
    } = response;
    match framing {
        Framing::Counted => body.length(),
        // A 204 never has a Content-Length (RFC 9110, 8.6): some clients would
        // wait for the body.
        Framing::Bodiless if *status == StatusCode::NO_CONTENT => None,
        // To HEAD, a response of the gateway itself states the length of its
        // body; an upstream has stated one or not.
        Framing::Bodiless if !http1::has_no_body(*status) => body.length().or(fields.length),
        Framing::Bodiless => fields.length,
        Framing::Chunked | Framing::UntilClose | Framing::Tunnel => None,
    }
}

/// The transfer of one response to the client, to be polled to its end.
/// Dropping it early cuts the response: the connection has to be closed.
///
/// It holds no bytes: those are in the output buffer of the wire.
#[derive(Debug)]
pub(super) struct Transfer {
    /// How the body is delimited.
    framing: Framing,
    /// Whether the connection stays open after the response.
    pub(super) keep_alive: bool,
    /// The longest pause, and the end of the exchange.
    pub(super) pace: Pace,
    /// Whether all of the body is in the output buffer, its last chunk
    /// included.
    is_ended: bool,
    progress: PauseWatch,
}

impl Transfer {
    /// Puts the head of a response into the output buffer, and with it a body
    /// that is already here.
    ///
    /// Writes to memory only. Nothing is sent before the first poll, which gets
    /// the body that is returned. After a response that switches protocols the
    /// caller runs the tunnel instead.
    ///
    /// The connection stays open only if the request's body is read to its end
    /// or nearly, the body of the response delimits itself, and the status is
    /// not 408. `silence` is the longest pause of a response that has no pace:
    /// a client that never reads what the gateway itself has responded must not
    /// stay for ever either.
    pub(super) fn begin<IO: Socket>(
        wire: &SharedWire<IO>,
        mut response: Response,
        mut request: RequestTraits,
        silence: Duration,
    ) -> (Self, Body) {
        let mut wire = wire.lock();
        let framing = Framing::of(&response, &request);
        // Whether the request's body is read, or nearly so. The source of a
        // response that streams may still be reading the body: none of it is
        // discarded here, and since nobody knows how far the source gets, the
        // connection ends.
        let is_over = (response.body.is_whole() && wire.discard_body())
            || wire.body_is_done()
            || wire.rest_is_short(SHORT_REST);
        // A client that was too slow with its body learns that no more of it is
        // read (RFC 9110, 15.5.9). The bytes that still come must neither be
        // waited for nor be taken for the next request.
        request.keep_alive &= is_over
            && framing != Framing::UntilClose
            && response.status != StatusCode::REQUEST_TIMEOUT;
        let out = wire.output.buffer();
        write_head(out, &response, framing, &request);
        let is_ended = framing == Framing::Bodiless
            || (framing == Framing::Counted && response.body.append_whole(out));
        if framing == Framing::UntilClose {
            wire.close_cuts(true);
        }
        let transfer = Self {
            framing,
            keep_alive: request.keep_alive,
            pace: match response.body.pace() {
                Some(pace) => pace,
                None => Pace::of(silence),
            },
            is_ended,
            progress: PauseWatch::default(),
        };
        (transfer, response.body)
    }

    /// Moves the bytes that can be moved. Ready when all are written.
    ///
    /// Pulls and writes in turn until one of them has to wait. While the
    /// upstream is awaited, the client is watched; while the client is awaited,
    /// the body may read ahead.
    ///
    /// # Errors
    /// The transfer broke off: the body failed, the client left, or no byte
    /// moved for longer than the pace allows.
    pub(super) fn poll<IO: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &SharedWire<IO>,
        body: &mut Body,
        timer: &mut Timer,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let pulled = match self.pull(cx, wire, body) {
                Ok(pulled) => pulled,
                Err(fault) => {
                    // The client gets the bytes before the break, as far as its
                    // socket takes them.
                    let _ = wire.lock().poll_flush(cx);
                    return Poll::Ready(Err(fault));
                }
            };
            if self.is_ended {
                // Permits are released before the last bytes are written. A
                // client that has the full response may send its next request
                // at once, on another connection and so to another worker, and
                // must not be refused because this permit is still held. At
                // most one buffer is left to be written.
                body.let_go();
            }
            let mut wire = wire.lock();
            let waiting = wire.output.pending();
            let flushed = wire.poll_flush(cx);
            if wire.output.pending() < waiting {
                self.progress.note();
            }
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::ClientGone)),
                Poll::Ready(Ok(())) if self.is_ended => {
                    if self.framing == Framing::UntilClose {
                        wire.close_cuts(false);
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) if pulled == Pulled::All => {}
                // The upstream is awaited, and nothing else would notice that
                // the client has left.
                Poll::Ready(Ok(())) if wire.poll_gone(cx).is_ready() => {
                    return Poll::Ready(Err(Fault::ClientGone));
                }
                flushed => {
                    drop(wire);
                    if flushed.is_pending() {
                        body.poll_ahead(cx);
                    }
                    return self.progress.poll_too_slow(cx, self.pace, timer).map(Err);
                }
            }
        }
    }

    /// Moves frames from the body into the output buffer.
    ///
    /// Stops at the end of the body, at a full buffer, or when the body has
    /// nothing at present. The lock on the wire is not held while the body is
    /// polled, because its source may read the request's body from the same
    /// wire.
    ///
    /// # Errors
    /// The fault of the body. Frames that came before it are in the buffer.
    fn pull<IO>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &SharedWire<IO>,
        body: &mut Body,
    ) -> Result<Pulled, Fault> {
        while !self.is_ended && wire.lock().output.pending() < MAX_AHEAD {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(Pulled::Waiting),
                Poll::Ready(Some(Err(fault))) => return Err(fault),
                Poll::Ready(frame) => {
                    self.progress.note();
                    let is_chunked = self.framing == Framing::Chunked;
                    let frame = frame.and_then(Result::ok);
                    self.is_ended = http1::write_frame(&mut wire.lock().output, frame, is_chunked);
                }
            }
        }
        Ok(Pulled::All)
    }
}

/// How far a pull got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulled {
    /// The buffer is full, or the body has ended.
    All,
    /// The body has no frame yet.
    Waiting,
}

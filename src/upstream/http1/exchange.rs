//! One exchange on an HTTP/1 connection: a request on its way to the server,
//! and the wait for the response's head.
//!
//! The exchange is a state machine that is polled by whoever awaits the
//! response. It sends the request's body and reads the head at the same time,
//! as a server may respond before it has read everything. Interim responses
//! (1xx) are passed on to the client as they come. Once the head is here,
//! [`Http1Exchange::into_response`] hands connection and upload to the
//! response's body.
//!
//! # Strictness
//!
//! Bytes that are no response end the exchange and the connection: see
//! [`parse_response`](crate::http1::parse_response). A 101 that the client has
//! not asked for is refused, because the gateway and the client would disagree
//! on the bytes that follow.
//!
//! # Failures
//!
//! If a reused connection breaks before any byte of the response, the server
//! has probably closed it while it was idle ([`Failure::Stale`]). Any other
//! break counts against the server ([`Failure::Reset`]).

use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode, header};
use tokio::time::Instant;

use super::{body::Http1ResponseBody, pool::Lease, tunnel::TunnelEnd, upload::Http1Upload};
use crate::{
    body::Body,
    call::{Exchange, Outgoing},
    http1::{self, Length, ResponseHead, Unended},
    message::{Interim, RequestHead, Response},
    runtime::{output::Output, spare},
    upstream::{attempt::RespondedAttempt, failure::Failure, server::InFlight},
};

/// The longest head of a response, in bytes. NGINX and HAProxy accept less by
/// default.
const MOST_HEAD: usize = 64 * 1024;
/// The failure of a response with a longer head.
const TOO_LONG: Failure = Failure::BadResponse("its head is too long");
/// The longest body that is copied out of the connection's buffer instead of
/// sharing its memory, in bytes.
const CHEAPLY_COPIED: usize = 4 * 1024;
/// The most interim responses of one exchange; a server that sends more is
/// broken.
pub(in crate::upstream) const MOST_INTERIMS: usize = 32;

/// A request that is being sent, before its response.
pub(in crate::upstream) struct Http1Exchange {
    /// The connection, which closes if this is dropped.
    pub(super) lease: Lease,
    /// The request on its way.
    pub(super) upload: Http1Upload,
    /// The length of the input that is known to hold no end of a head.
    scanned: usize,
    /// The length of the last head, which is still at the front of the input.
    head_length: usize,
    /// Interim responses so far.
    interims: usize,
    /// Whether the response was waited for.
    is_awaited: bool,
    /// Whether any byte of the response has arrived.
    is_heard: bool,
    /// The head of a response that switches protocols, kept until the request's
    /// body is complete. Boxed, as it is rare and large.
    switch: Option<Box<ResponseHead>>,
}

impl Http1Exchange {
    /// Begins to send `outgoing`, whose body is taken. `authority` is the
    /// server's `Host`, for requests that do not keep the client's.
    pub(in crate::upstream) fn new(
        mut lease: Lease,
        outgoing: &mut Outgoing,
        authority: &str,
    ) -> Self {
        write_head(&mut lease.connection.output, outgoing, authority);
        Self {
            upload: Http1Upload::new(std::mem::take(&mut outgoing.call.body)),
            lease,
            scanned: 0,
            head_length: 0,
            interims: 0,
            is_awaited: false,
            is_heard: false,
            switch: None,
        }
    }

    /// Sends the request of `call` and awaits the head of its response.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        call: &Exchange,
    ) -> Poll<Result<ResponseHead, Failure>> {
        if let Poll::Ready(Err(fault)) = self.upload.poll(cx, &mut self.lease.connection) {
            return Poll::Ready(Err(Failure::Client(fault)));
        }
        if self.switch.is_some() {
            return self.poll_switch();
        }
        loop {
            while let Some(head) = self.parse_head(&call.request.method)? {
                if !head.status.is_informational() {
                    return Poll::Ready(Ok(head));
                }
                if is_switch(&head, &call.request)? {
                    self.switch = Some(Box::new(head));
                    return self.poll_switch();
                }
                self.pass_on(&head, call.interim.as_ref())?;
            }
            // The first look follows the writing, and is too early for a
            // response.
            let read = if std::mem::replace(&mut self.is_awaited, true) {
                self.lease.connection.poll_read_usual(cx)
            } else {
                self.lease.connection.poll_read_rare(cx)
            };
            match ready!(read) {
                Ok(0) | Err(_) => return Poll::Ready(Err(self.broken())),
                Ok(_) => self.is_heard = true,
            }
        }
    }

    /// Ready with the head of a 101 response once the request's body has
    /// arrived from the client completely: only the bytes after it belong to
    /// the new protocol, however early the server responds.
    fn poll_switch(&mut self) -> Poll<Result<ResponseHead, Failure>> {
        if self.upload.is_read() {
            let head = self.switch.take().map(|head| *head);
            return Poll::Ready(head.ok_or_else(|| self.broken()));
        }
        // The upload was polled before, and wakes the task when it progresses.
        if self.upload.is_over() {
            Poll::Ready(Err(self.broken()))
        } else {
            Poll::Pending
        }
    }

    /// Parses the head at the front of the input, if a complete one is there.
    /// It stays there until it is passed on or becomes the response.
    pub(super) fn parse_head(&mut self, method: &Method) -> Result<Option<ResponseHead>, Failure> {
        // Nearly all heads arrive in one piece.
        if self.scanned > 0 && !self.has_end()? {
            return Ok(None);
        }
        let input = &mut self.lease.connection.input;
        if input.is_empty() {
            return Ok(None);
        }
        match http1::parse_response(input, method).map_err(Failure::BadResponse)? {
            Some((head, length)) if length <= MOST_HEAD => {
                self.scanned = 0;
                self.head_length = length;
                Ok(Some(head))
            }
            None if input.len() <= MOST_HEAD => {
                self.scanned = self.scanned.max(1);
                Ok(None)
            }
            _ => Err(TOO_LONG),
        }
    }

    /// Whether the rest of a head that came in pieces is here. Only new bytes
    /// are searched for its end, so that a server that sends single bytes does
    /// not cost quadratic time.
    fn has_end(&mut self) -> Result<bool, Failure> {
        let input = &self.lease.connection.input;
        match http1::find_end(input, self.scanned) {
            Ok(_) => Ok(true),
            Err(Unended::More(scanned)) if input.len() <= MOST_HEAD => {
                self.scanned = scanned.max(1);
                Ok(false)
            }
            Err(Unended::More(_)) => Err(TOO_LONG),
            Err(Unended::BareLineFeed) => Err(Failure::BadResponse(http1::BARE_LINE_FEED)),
        }
    }

    /// Passes an interim response on to the client, unless there are too many.
    pub(super) fn pass_on(
        &mut self,
        head: &ResponseHead,
        interim: Option<&Interim>,
    ) -> Result<(), Failure> {
        self.lease.connection.input.advance(self.head_length);
        self.interims += 1;
        if self.interims > MOST_INTERIMS {
            return Err(Failure::BadResponse("it sends interim answers without end"));
        }
        if let Some(interim) = interim {
            interim.0.send(head.status, &head.fields);
        }
        Ok(())
    }

    /// Whether the exchange waits for the server: the request is written, or
    /// the socket takes no more of it.
    pub(in crate::upstream) fn waits_for_server(&self) -> bool {
        self.upload.is_over() || self.lease.connection.output.pending() > 0
    }

    /// The failure that a broken connection means at this point.
    fn broken(&self) -> Failure {
        if self.lease.is_reused && !self.is_heard {
            Failure::Stale {
                written: self.upload.has_written(),
            }
        } else {
            Failure::Reset {
                is_begun: self.is_heard,
            }
        }
    }

    /// The response whose `head` arrived at `now`.
    ///
    /// If its body has arrived as well, it is taken whole and the connection is
    /// pooled at once. Otherwise the body is read as the client takes it.
    pub(in crate::upstream) fn into_response(
        self,
        head: ResponseHead,
        responded: RespondedAttempt<'_>,
        now: Instant,
    ) -> Response {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.into_tunnel(head, responded.complete());
        }
        let Self {
            upload,
            mut lease,
            head_length,
            ..
        } = self;
        let input = &mut lease.connection.input;
        let arrived = (input.len() - head_length) as u64;
        let length = match head.length {
            Length::Empty => 0,
            Length::Exact(length) if upload.is_complete() && length <= arrived => length as usize,
            _ => {
                input.advance(head_length);
                let body = Http1ResponseBody::new(&head, lease, upload, responded.into_outcome());
                return response(head, Body::stream(body));
            }
        };
        let body = take(input, head_length, length);
        lease.end(head.keep_alive && upload.is_complete(), now);
        let is_head = responded.attempt.call.request.method == Method::HEAD;
        responded.complete();
        response(head, if is_head { Body::absent() } else { body })
    }

    /// The response that switches protocols. The tunnel keeps the connection
    /// and the count of requests in flight.
    fn into_tunnel(mut self, head: ResponseHead, in_flight: InFlight) -> Response {
        self.lease.connection.input.advance(self.head_length);
        let mut body = Body::tunnel(TunnelEnd::new(self.lease));
        body.hold(in_flight);
        response(head, body)
    }
}

/// A response with this head and body.
fn response(head: ResponseHead, body: Body) -> Response {
    Response {
        status: head.status,
        reason: head.reason,
        fields: head.fields,
        body,
        hangup: None,
    }
}

/// Whether the response switches protocols (RFC 9110, 15.2.2). It may switch
/// only to a protocol that the request offers.
fn is_switch(head: &ResponseHead, request: &RequestHead) -> Result<bool, Failure> {
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let Some(offered) = &request.upgrade else {
        return Err(Failure::BadResponse("it switches protocols unasked"));
    };
    match head.fields.get(&header::UPGRADE) {
        Some(named) if http1::is_offered(offered, named) => Ok(true),
        _ => Err(Failure::BadResponse(
            "it switches to a protocol that was not offered",
        )),
    }
}

/// Takes a head and the `length` bytes of the body behind it out of `input`. A
/// few bytes are copied, which is less work than sharing the memory and leaves
/// it to the connection for its next response.
fn take(input: &mut BytesMut, head_length: usize, length: usize) -> Body {
    if length > CHEAPLY_COPIED {
        input.advance(head_length);
        return Body::whole(input.split_to(length));
    }
    let end = head_length + length;
    let body = Body::copied(&input[head_length..end]);
    if end == input.len() {
        // The next read then finds the whole buffer, which it would have to
        // make room in otherwise.
        input.clear();
    } else {
        input.advance(end);
    }
    body
}

/// Writes the request line and the fields, with the framing that HTTP/1 needs
/// (RFC 9112, 6).
fn write_head(output: &mut Output, outgoing: &mut Outgoing, authority: &str) {
    spare::give_back(output.append(std::mem::take(&mut outgoing.head)));
    let out = output.buffer();
    if !outgoing.has_host {
        http1::write_field(out, "host", authority.as_bytes());
    }
    match outgoing.call.body.length() {
        // A length of 0 is written where its absence might be read as "unknown"
        // (RFC 9110, 8.6).
        Some(0) if outgoing.names_length => out.extend_from_slice(b"content-length: 0\r\n"),
        Some(0) => {}
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            http1::write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

//! One connection to a server, and one exchange over it.
//!
//! An exchange is driven by whoever awaits its answer, then by whoever reads the answer's body: there is no task, queue
//! or channel in between. Dropping either drops the connection, which is how a server learns that nobody waits any more.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    address::Peer,
    answer::Answer,
    pool::{Lease, OpenSlot},
    stream::Stream,
    trial::Rest,
    tunnel::FarEnd,
    upload::Upload,
};
use crate::{
    body::Body,
    call::Head,
    error::Fault,
    http1::{self, Length, ResponseHead, Unended},
    message::{Interim, Response},
    runtime::io::Output,
};

/// Longest head of an answer; what NGINX and HAProxy allow is below it.
const MOST_HEAD: usize = 64 * 1024;
/// Longest body that is copied out of the connection's buffer.
const CHEAPLY_COPIED: usize = 4 * 1024;
/// Interim answers taken from one exchange before it counts as broken.
pub(super) const MOST_INTERIMS: usize = 32;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    io: Stream,
    pub(super) input: BytesMut,
    pub(super) output: Output,
    pub(super) opened: Instant,
    /// When it was last given back.
    pub(super) rested: Instant,
    /// The worker whose runtime its socket belongs to.
    pub(super) home: usize,
    /// Where it goes.
    pub(super) peer: Peer,
    /// Its place among the server's `max_connections`.
    pub(super) _slot: OpenSlot,
}

impl Connection {
    pub(super) fn new(io: Stream, home: usize, slot: OpenSlot) -> Self {
        let (now, peer) = (Instant::now(), io.peer());
        Self {
            io,
            input: BytesMut::new(),
            output: Output::default(),
            opened: now,
            rested: now,
            home,
            peer,
            _slot: slot,
        }
    }

    /// Whether a kept connection may be used: the server has neither closed it nor said anything unasked.
    /// Costs no system call unless something arrived.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.io.is_quiet()
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        crate::runtime::io::poll_read(&mut self.io, cx, &mut self.input)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(&mut self.io, cx)
    }

    /// Reads what is there, without a buffer of its own; nothing at the end.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }

    /// Writes as much as there is room for, without a buffer of its own.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Why an exchange brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A kept connection turned out to be closed; `written` tells whether anything of the request went out.
    Stale { written: bool },
    /// The connection broke before the answer's head was complete; `is_begun` tells whether any byte of it came.
    Reset { is_begun: bool },
    /// The server did not begin the request: it says so.
    Unbegun,
    /// The server takes no head of this size.
    HeadTooLarge { limit: usize },
    /// What came is not an answer.
    BadAnswer(&'static str),
    /// The request's body broke off on the client's side.
    Client(Fault),
}

/// A request on its way up, and the wait for the answer's head.
pub(super) struct Exchange {
    lease: Lease,
    upload: Upload,
    /// How far the end of the head was looked for.
    seen: usize,
    interims: usize,
    /// A byte of the answer has come.
    heard: bool,
    /// The head of an answer that switches protocols, until the request's body has come. Boxed, as it is rare and large.
    switch: Option<Box<ResponseHead>>,
}

impl Exchange {
    /// Sends what is in the connection's `output`, then `body`.
    pub(super) fn new(lease: Lease, body: Body) -> Self {
        Self {
            upload: Upload::new(body),
            lease,
            seen: 0,
            interims: 0,
            heard: false,
            switch: None,
        }
    }

    /// Ready with the head of the answer to `request`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        request: &Head,
    ) -> Poll<Result<ResponseHead, Failure>> {
        if let Poll::Ready(Err(fault)) = self.upload.poll(cx, &mut self.lease.connection) {
            return Poll::Ready(Err(Failure::Client(fault)));
        }
        if self.switch.is_some() {
            return self.poll_switch();
        }
        loop {
            while let Some(head) = self.head(&request.method)? {
                if !head.status.is_informational() {
                    return Poll::Ready(Ok(head));
                }
                if switches(&head, request)? {
                    self.switch = Some(Box::new(head));
                    return self.poll_switch();
                }
                self.pass_on(&head, request.interim.as_ref())?;
            }
            match ready!(self.lease.connection.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(self.broken())),
                Ok(_) => self.heard = true,
            }
        }
    }

    /// Ready with the head of an answer that switches once the request's body has come whole from the client: only what
    /// follows it is of the other protocol, whatever the server says before.
    fn poll_switch(&mut self) -> Poll<Result<ResponseHead, Failure>> {
        if self.upload.is_pulled() {
            return Poll::Ready(
                self.switch
                    .take()
                    .map(|head| *head)
                    .ok_or_else(|| self.broken()),
            );
        }
        // The upload has been polled, and wakes this when it gets further.
        if self.upload.is_over() {
            Poll::Ready(Err(self.broken()))
        } else {
            Poll::Pending
        }
    }

    fn head(&mut self, method: &Method) -> Result<Option<ResponseHead>, Failure> {
        let input = &mut self.lease.connection.input;
        // Nearly all come whole. One that comes in pieces is not read anew for each of them.
        let is_complete = match self.seen {
            0 => !input.is_empty(),
            seen => match http1::find_end(input, seen) {
                Err(Unended::More(seen)) => {
                    self.seen = seen;
                    false
                }
                Err(Unended::BareLineFeed) => {
                    return Err(Failure::BadAnswer(http1::BARE_LINE_FEED));
                }
                Ok(_) => true,
            },
        };
        let head = if is_complete {
            http1::parse_response(input, method).map_err(Failure::BadAnswer)?
        } else {
            None
        };
        match head {
            Some((head, length)) if length <= MOST_HEAD => {
                self.seen = 0;
                input.advance(length);
                Ok(Some(head))
            }
            None if input.len() <= MOST_HEAD => {
                self.seen = self.seen.max(input.len().min(1));
                Ok(None)
            }
            _ => Err(Failure::BadAnswer("its head is too long")),
        }
    }

    fn pass_on(&mut self, head: &ResponseHead, interim: Option<&Interim>) -> Result<(), Failure> {
        self.interims += 1;
        if self.interims > MOST_INTERIMS {
            return Err(Failure::BadAnswer("it sends interim answers without end"));
        }
        if let Some(interim) = interim {
            interim.0.send(head.status, &head.fields);
        }
        Ok(())
    }

    /// Whether nothing is left for the client to do: the request is written, or the server takes no more of it.
    pub(super) fn waits_for_server(&self) -> bool {
        self.upload.is_over() || self.lease.connection.output.pending() > 0
    }

    /// Whether anything of the request may have reached the server.
    pub(super) fn has_written(&self) -> bool {
        self.upload.has_written()
    }

    /// Nobody waits for the answer any more. What is left of the request's body, and with it of its client, is let go.
    pub(super) fn forsake(&mut self) {
        self.upload = Upload::new(Body::empty());
    }

    /// Tells the server by the end of our side that nobody waits. Ready when it ends its own, or answers a request of this
    /// `method`, or breaks the rules.
    pub(super) fn poll_forsaken(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<()> {
        // Once the system has taken that, it takes it again.
        let _ = self.lease.connection.poll_shutdown(cx);
        loop {
            let head = self.head(method);
            let is_interim = |head: &ResponseHead| {
                head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
            };
            match head {
                Ok(Some(head)) if is_interim(&head) && self.pass_on(&head, None).is_ok() => {
                    continue;
                }
                Ok(None) => {}
                _ => return Poll::Ready(()),
            }
            if !matches!(ready!(self.lease.connection.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    fn broken(&self) -> Failure {
        if self.lease.is_reused && !self.heard {
            Failure::Stale {
                written: self.upload.has_written(),
            }
        } else {
            Failure::Reset {
                is_begun: self.heard,
            }
        }
    }

    /// The answer, whose head came `now`, with its body: whole when all of it is here, which frees the connection at once.
    pub(super) fn into_answer(self, head: ResponseHead, rest: Rest, now: Instant) -> Response {
        let Self {
            upload, mut lease, ..
        } = self;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let mut body = Body::tunnel(FarEnd::new(lease));
            body.hold(rest.came());
            return Response {
                status: head.status,
                reason: head.reason,
                fields: head.fields,
                body,
                hangup: None,
            };
        }
        let input = &mut lease.connection.input;
        let whole = match head.length {
            Length::Empty => Some(Bytes::new()),
            Length::Exact(length) if upload.is_complete() && length <= input.len() as u64 => {
                Some(take(input, length as usize))
            }
            _ => None,
        };
        let body = match whole {
            Some(bytes) => {
                lease.end(head.keep_alive && upload.is_complete(), now);
                let is_absent = rest.call.request.method == Method::HEAD;
                rest.came();
                if is_absent {
                    Body::absent()
                } else {
                    Body::whole(bytes)
                }
            }
            None => Body::stream(Answer::new(&head, lease, upload, rest)),
        };
        Response {
            status: head.status,
            reason: head.reason,
            fields: head.fields,
            body,
            hangup: None,
        }
    }
}

/// Whether an answer switches protocols, which it may only to one that the request offers.
fn switches(head: &ResponseHead, request: &Head) -> Result<bool, Failure> {
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let Some(offered) = &request.upgrade else {
        return Err(Failure::BadAnswer("it switches protocols unasked"));
    };
    match head.fields.get(&header::UPGRADE) {
        Some(named) if http1::is_offered(offered, named) => Ok(true),
        _ => Err(Failure::BadAnswer(
            "it switches to a protocol that was not offered",
        )),
    }
}

/// The first `length` bytes of `input`. A few are copied: that is less work than sharing the memory, and leaves it to the
/// connection for its next answer.
fn take(input: &mut BytesMut, length: usize) -> Bytes {
    if length > CHEAPLY_COPIED {
        return input.split_to(length).freeze();
    }
    let bytes = Bytes::copy_from_slice(&input[..length]);
    input.advance(length);
    bytes
}

//! One exchange on one stream: a task of its own, which calls the gateway and
//! sends its response.
//!
//! A reset by the client cancels the exchange: the future of the gateway is
//! dropped, and with it everything that the request holds. The task then tells
//! the connection whether the request had reached a server, which counts
//! against the client ([`StreamEnd::Cancelled`]).
//!
//! # The body of the request
//!
//! It is read by the gateway as the upstream takes it. If the gateway responds
//! early, the rest of the body is read and discarded for a while, because some
//! clients take a reset in the middle of their upload for a failure.
//!
//! # The end of the response
//!
//! All guards of the exchange are dropped once the last frame is queued. A
//! response that breaks off ends in a reset, never in an END_STREAM, so that no
//! client takes it for complete (RFC 9113, 8.1).

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderValue, Method, StatusCode, Version, header};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tower::Service;

use super::{
    received::{Rest, StreamBody},
    request::normalise,
    transfer::Transfer,
};
use crate::{
    body::{Body, Pace},
    error::Fault,
    http1::{self, FieldName, Fields},
    http2::{Inflow, windows::Windows},
    message::{Arrival, Hangup, Interim, InterimSink, Origin, Request, RequestHead, Response},
    policy::ConnectionLimits,
    runtime::timer::Timer,
    server::linger::Linger,
};

/// The sending side of a stream, shared between its task and the interim
/// responses of the request. Both run in the same task.
///
/// The lock is never contended, and is held within one poll only.
struct Responder {
    respond: Mutex<SendResponse<Bytes>>,
    /// Whether the request was sent to a server.
    ///
    /// Set by the upstream's side through `InterimSink::sent_up`, and never
    /// cleared.
    is_sent_up: AtomicBool,
}

/// The part of a connection that its streams share.
///
/// Streams hold it by reference count, so that it outlives each of them.
pub(super) struct StreamContext {
    /// The windows of the connection's streams.
    pub(super) windows: Arc<Windows>,
    /// How many streams wait for `flushed`.
    waiting: AtomicUsize,
    /// Notified when the connection's task has written everything that the
    /// client accepts at present.
    flushed: Notify,
}

impl StreamContext {
    /// The shared part of a new connection.
    pub(super) fn new(windows: Arc<Windows>) -> Arc<Self> {
        Arc::new(Self {
            windows,
            waiting: AtomicUsize::new(0),
            flushed: Notify::new(),
        })
    }

    /// Wakes streams that wait for a flush. Called by the connection's task
    /// when it has written everything that the client accepts at present.
    pub(super) fn set_flushed(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.waiting.store(0, Ordering::Relaxed);
            self.flushed.notify_waiters();
        }
    }

    /// Waits until the frames that were queued before are written, as far as
    /// the client accepts them.
    ///
    /// Ready when the connection's task next has nothing left to do. If the
    /// connection ends first, the task of the stream is dropped here.
    async fn flush(&self) {
        let flushed = self.flushed.notified();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.windows.wake();
        flushed.await;
    }
}

/// How an exchange ended, for the account of cancelled requests.
///
/// The connection's task learns of it when the task of the stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The client has the whole response.
    Complete,
    /// The client cancelled the request after it was sent to a server.
    Cancelled,
    /// The response was sent, and the connection is to end.
    Last,
    /// The exchange ended in any other way.
    Otherwise,
}

/// Has `service` respond to the request of a stream, and sends the response.
///
/// Ready when the last frame of the response is queued and the rest of the
/// request was read for a while, or as soon as the client leaves.
pub(super) async fn exchange<S>(
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    mut service: S,
    limits: ConnectionLimits,
    origin: Arc<Origin>,
    context: Arc<StreamContext>,
) -> StreamEnd
where
    S: Service<Arrival, Response = Response, Error = Infallible>,
{
    let is_head = request.method() == Method::HEAD;
    let responder = Arc::new(Responder {
        respond: Mutex::new(respond),
        is_sent_up: AtomicBool::new(false),
    });
    let rest = (!request.body().is_end_stream()).then(Rest::default);
    let arrival = arrival(
        request,
        &responder,
        rest.as_ref(),
        &limits,
        origin,
        Arc::clone(&context.windows),
    );
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let response = {
        let mut response = pin!(service.call(arrival));
        poll_fn(|cx| poll_response(cx, response.as_mut(), &responder)).await
    };
    let cancelled = || {
        if responder.is_sent_up.load(Ordering::Relaxed) {
            StreamEnd::Cancelled
        } else {
            StreamEnd::Otherwise
        }
    };
    match response {
        None => cancelled(),
        // Dropping the rest resets the stream.
        Some(response) if response.hangup == Some(Hangup::AtOnce) => StreamEnd::Otherwise,
        Some(response) => {
            let is_last = response.hangup == Some(Hangup::OfConnection);
            match deliver(response, is_head, &responder, &limits, &context).await {
                Ok(()) => {
                    if let Some(rest) = rest.and_then(|rest| rest.lock().take()) {
                        // Boxed, as it is rare.
                        Box::pin(linger(rest)).await;
                    }
                    match is_last {
                        true => StreamEnd::Last,
                        false => StreamEnd::Complete,
                    }
                }
                Err(Fault::ClientGone) => cancelled(),
                Err(_) => StreamEnd::Otherwise,
            }
        }
    }
}

/// The request as the gateway gets it, its body still to be read, or the reason
/// for which it is refused.
fn arrival(
    request: http::Request<RecvStream>,
    responder: &Arc<Responder>,
    rest: Option<&Rest>,
    limits: &ConnectionLimits,
    origin: Arc<Origin>,
    windows: Arc<Windows>,
) -> Arrival {
    let (mut parts, stream) = request.into_parts();
    let started = Instant::now();
    let (target, headers) = match normalise(&mut parts, &limits.head) {
        Ok(read) => read,
        Err(error) => {
            return Arrival::Refused {
                error,
                started,
                version: Version::HTTP_2,
                origin,
            };
        }
    };
    let body = rest.map_or_else(Body::empty, |rest| {
        let length = headers.only(FieldName::ContentLength);
        let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Body::stream(StreamBody::new(
            Inflow::new(stream, length, windows),
            Arc::clone(rest),
        ))
    });
    Arrival::Request(Request {
        head: Box::new(RequestHead {
            method: parts.method,
            version: Version::HTTP_2,
            headers,
            // HTTP/2 has neither `Connection` nor `Upgrade`.
            names_hops: false,
            upgrade: None,
        }),
        target,
        body,
        started,
        arrived: started,
        origin,
        interim: Some(Interim(Arc::clone(responder) as _)),
    })
}

/// Reads the rest of a request that was answered early and throws it away. Some
/// clients (libcurl 7.88, git) take an RST_STREAM that comes before they have
/// sent everything for an error, though it says NO_ERROR (RFC 9113, 8.1). The
/// reset is sent only when they do not go on.
async fn linger(mut rest: Inflow) {
    let mut linger = Linger::begin(Timer::default(), true);
    poll_fn(|cx| {
        loop {
            match rest.poll_next(cx) {
                Poll::Ready(Some(Ok(frame)))
                    if linger.took(frame.data_ref().map_or(0, Bytes::len)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return linger.poll(cx),
            }
        }
    })
    .await;
}

/// Polls the service for its response. `None` if the client resets the stream
/// first, upon which the caller drops the service's future and so cancels the
/// request.
fn poll_response<F>(
    cx: &mut Context<'_>,
    response: Pin<&mut F>,
    responder: &Arc<Responder>,
) -> Poll<Option<Response>>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    if let Poll::Ready(Ok(response)) = response.poll(cx) {
        return Poll::Ready(Some(response));
    }
    responder.respond.lock().poll_reset(cx).map(|_| None)
}

/// Sends a response. Its body is dropped, and with it all guards of the
/// exchange, once its end is queued.
///
/// # Errors
/// The response broke off, and the stream was reset.
async fn deliver(
    response: Response,
    is_head: bool,
    responder: &Arc<Responder>,
    limits: &ConnectionLimits,
    context: &StreamContext,
) -> Result<(), Fault> {
    let Response {
        status,
        fields,
        mut body,
        ..
    } = response;
    let has_body = !is_head && !http1::has_no_body(status);
    let length = body.length();
    let head = head(status, fields, length, has_body);
    let is_over = !has_body || body.is_empty();
    let sent = responder.respond.lock().send_response(head, is_over);
    let Ok(stream) = sent else {
        body.broke(&Fault::ClientGone);
        return Err(Fault::ClientGone);
    };
    if !is_over {
        // Responses of the gateway itself have no pace, and a client that never
        // reads them must not stay for ever either.
        let pace = body.pace().unwrap_or(Pace::of(limits.keep_alive));
        let mut transfer = Transfer::new(stream, pace);
        if let Err(fault) = poll_fn(|cx| transfer.poll(cx, &mut body)).await {
            body.broke(&fault);
            if matches!(fault, Fault::UpstreamCut(_)) {
                // The client gets the bytes before the break: a reset would
                // overtake them.
                context.flush().await;
            }
            transfer.reset(reason(fault));
            return Err(fault);
        }
    }
    body.delivered();
    Ok(())
}

/// The head of a response as HTTP/2 has it. `length` is that of its body, if it
/// is known; `has_body` says whether the body is sent.
fn head(
    status: StatusCode,
    fields: Fields,
    length: Option<u64>,
    has_body: bool,
) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    // As in HTTP/1, the length of the body that follows, or of the one that a
    // GET would have got.
    let length = match (has_body, status) {
        (true, _) => length,
        (false, StatusCode::NO_CONTENT) => None,
        (false, StatusCode::NOT_MODIFIED) => fields.length,
        (false, _) => length.or(fields.length),
    };
    let has_date = fields.has_date();
    let headers = head.headers_mut();
    *headers = fields.into_map();
    if status == StatusCode::UPGRADE_REQUIRED {
        // HTTP/2 has no `Upgrade` (RFC 9113, 8.2.2); the status alone has to
        // say it.
        headers.remove(header::UPGRADE);
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !has_date {
        headers.insert(header::DATE, http1::date());
    }
    head
}

/// The error code of a reset in the middle of a response.
fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::ClientGone | Fault::ClientSilent(_) | Fault::Idle(_) | Fault::OutOfTime => {
            Reason::CANCEL
        }
        Fault::ClientMalformed(_) => Reason::PROTOCOL_ERROR,
        Fault::TooLarge(_) | Fault::UpstreamCut(_) => Reason::INTERNAL_ERROR,
    }
}

impl InterimSink for Responder {
    fn sent_up(&self) {
        self.is_sent_up.store(true, Ordering::Relaxed);
    }

    fn send(&self, status: StatusCode, fields: &Fields) {
        let mut head = http::Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = fields.clone().into_map();
        // A client that has left needs no interim response.
        let _ = self.respond.lock().send_informational(head);
    }
}

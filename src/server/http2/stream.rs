//! One exchange on one stream: a task of its own, which the client's reset ends by dropping it.

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
    received::{Received, Rest},
    request::normalise,
    transfer::Transfer,
};
use crate::{
    body::{Body, Pace},
    error::Fault,
    http1::{self, Fields},
    http2::{Inflow, windows::Windows},
    message::{Hangup, Interim, InterimSink, Origin, Request, Response},
    runtime::timer::Timer,
    server::{Arrival, ConnectionLimits, linger::Linger},
};

/// The stream's way down, as the task and the request's interim answers share it. Both run in the same task.
type Down = Arc<Way>;

struct Way {
    respond: Mutex<SendResponse<Bytes>>,
    /// A server was handed the request.
    is_sent_up: AtomicBool,
}

/// The connection, as its streams know it.
pub(super) struct Carrier {
    pub(super) windows: Arc<Windows>,
    /// How many wait for `pass`.
    waiting: AtomicUsize,
    /// The connection's task has written what the client takes now.
    pass: Notify,
}

impl Carrier {
    pub(super) fn new(windows: Arc<Windows>) -> Arc<Self> {
        Arc::new(Self {
            windows,
            waiting: AtomicUsize::new(0),
            pass: Notify::new(),
        })
    }

    /// To be called by the connection's task, when it has written what the client takes now.
    pub(super) fn passed(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.waiting.store(0, Ordering::Relaxed);
            self.pass.notify_waiters();
        }
    }

    /// Waits until what was handed over before is written, as far as the client takes it.
    async fn written(&self) {
        let passed = self.pass.notified();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.windows.wake();
        passed.await;
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client has the whole answer.
    Answered,
    /// The client took the request back after a server was handed it.
    Cancelled,
    /// In some other way.
    Otherwise,
}

/// Has `service` answer what came on a stream.
pub(super) async fn exchange<S>(
    request: http::Request<RecvStream>,
    down: SendResponse<Bytes>,
    mut service: S,
    limits: ConnectionLimits,
    origin: Arc<Origin>,
    carrier: Arc<Carrier>,
) -> Ended
where
    S: Service<Arrival, Response = Response, Error = Infallible>,
{
    let is_head = request.method() == Method::HEAD;
    let down = Arc::new(Way {
        respond: Mutex::new(down),
        is_sent_up: AtomicBool::new(false),
    });
    let rest = (!request.body().is_end_stream()).then(Rest::default);
    let arrival = arrival(
        request,
        &down,
        rest.as_ref(),
        &limits,
        origin,
        Arc::clone(&carrier.windows),
    );
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let answered = {
        let mut answer = pin!(service.call(arrival));
        poll_fn(|cx| poll_answer(cx, answer.as_mut(), &down)).await
    };
    let taken_back = || {
        if down.is_sent_up.load(Ordering::Relaxed) {
            Ended::Cancelled
        } else {
            Ended::Otherwise
        }
    };
    match answered {
        None => taken_back(),
        // Dropping what is left resets the stream.
        Some(response) if response.hangup == Some(Hangup::AtOnce) => Ended::Otherwise,
        Some(response) => match deliver(response, is_head, &down, &limits, &carrier).await {
            Ok(()) => {
                if let Some(rest) = rest.and_then(|rest| rest.lock().take()) {
                    // Boxed, as it is rare.
                    Box::pin(take_in(rest)).await;
                }
                Ended::Answered
            }
            Err(Fault::ClientGone) => taken_back(),
            Err(_) => Ended::Otherwise,
        },
    }
}

fn arrival(
    request: http::Request<RecvStream>,
    down: &Down,
    rest: Option<&Rest>,
    limits: &ConnectionLimits,
    origin: Arc<Origin>,
    windows: Arc<Windows>,
) -> Arrival {
    let (mut parts, stream) = request.into_parts();
    let started = Instant::now();
    let (target, names) = match normalise(&mut parts, &limits.head) {
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
        let length = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        Body::stream(Received::new(
            Inflow::new(stream, length, windows),
            Arc::clone(rest),
        ))
    });
    Arrival::Request(Request {
        method: parts.method,
        target,
        version: Version::HTTP_2,
        headers: parts.headers,
        body,
        // HTTP/2 has no `Connection`.
        names_hops: false,
        names,
        started,
        origin,
        interim: Some(Interim(Arc::clone(down) as _)),
        upgrade: None,
    })
}

/// Takes in what is left of a request that was answered early. Some clients (libcurl 7.88, git) take RST_STREAM for an error
/// that comes before they have sent everything, though it says NO_ERROR (RFC 9113, 8.1): it follows when they do not go on.
async fn take_in(mut rest: Inflow) {
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

/// Lets the gateway answer; `None` when the client reset the stream first, which is to drop the gateway's work.
fn poll_answer<F>(cx: &mut Context<'_>, answer: Pin<&mut F>, down: &Down) -> Poll<Option<Response>>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    if let Poll::Ready(Ok(response)) = answer.poll(cx) {
        return Poll::Ready(Some(response));
    }
    down.respond.lock().poll_reset(cx).map(|_| None)
}

/// Sends the answer; its body is dropped, and with it all that the exchange held, once its end is handed over.
async fn deliver(
    response: Response,
    is_head: bool,
    down: &Down,
    limits: &ConnectionLimits,
    carrier: &Carrier,
) -> Result<(), Fault> {
    let Response {
        status,
        fields,
        mut body,
        ..
    } = response;
    let has_body = !is_head && !has_no_body(status);
    let length = body.length();
    let head = head(status, fields, length, has_body);
    let is_over = !has_body || body.is_empty();
    let sent = down.respond.lock().send_response(head, is_over);
    let Ok(stream) = sent else {
        body.broke(&Fault::ClientGone);
        return Err(Fault::ClientGone);
    };
    if !is_over {
        // Answers of the gateway's own have no pace, and a client that never reads them must not stay for ever either.
        let pace = body.pace().unwrap_or(Pace::of(limits.keep_alive));
        let mut transfer = Transfer::new(stream, pace);
        if let Err(fault) = poll_fn(|cx| transfer.poll(cx, &mut body)).await {
            body.broke(&fault);
            if matches!(fault, Fault::UpstreamCut(_)) {
                // The bytes before the break are the client's: a reset would overtake them.
                carrier.written().await;
            }
            transfer.reset(reason(fault));
            return Err(fault);
        }
    }
    body.delivered();
    Ok(())
}

fn head(
    status: StatusCode,
    fields: Fields,
    length: Option<u64>,
    has_body: bool,
) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    // The length that is told, as in HTTP/1: of the body that follows, or of the one that an answer to HEAD stands for.
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
        // HTTP/2 has no such field (RFC 9113, 8.2.2): here, the status alone has to say it.
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

fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Why the client's stream is reset in the middle of an answer.
fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::ClientGone | Fault::ClientSilent(_) | Fault::Idle(_) | Fault::OutOfTime => {
            Reason::CANCEL
        }
        Fault::ClientMalformed(_) => Reason::PROTOCOL_ERROR,
        Fault::TooLarge(_) | Fault::UpstreamCut(_) => Reason::INTERNAL_ERROR,
    }
}

impl InterimSink for Way {
    fn sent_up(&self) {
        self.is_sent_up.store(true, Ordering::Relaxed);
    }

    fn send(&self, status: StatusCode, fields: &Fields) {
        let mut head = http::Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = fields.clone().into_map();
        // Who has left does not miss it.
        let _ = self.respond.lock().send_informational(head);
    }
}

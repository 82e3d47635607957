//! One exchange on a stream of HTTP/2: a request on its way to the server, and
//! the wait for the response's head.
//!
//! The exchange is polled by the future of the request, on the worker whose
//! task drives the connection. It waits until h2 accepts another stream, sends
//! head and body, and passes interim responses (1xx) on as they come.
//!
//! # Failures
//!
//! h2 reports them as errors with a reason, and by which side they were made.
//! They are told apart by what they say about the request and about the
//! connection (RFC 9113, 8.7):
//!
//! * REFUSED_STREAM, and a GOAWAY whose last stream is below this one: the
//!   server has not processed the request, which may be sent again whatever its
//!   method.
//! * A reset with any other reason: this stream broke, and the connection goes
//!   on.
//! * The connection broke: it is retired. On one that had carried requests
//!   before, the failure is `Stale`, as with HTTP/1.
//! * A violation of the protocol that h2 detects: a bad response.
//!
//! # The server's turn
//!
//! Time counts against the server while it owes something: until h2 opens the
//! stream, and from the end of the request's body on. While the body flows, the
//! client may be the slow one.
//!
//! # Cancellation
//!
//! Dropping the exchange resets its stream, and the other streams of the
//! connection go on. A stream that was never settled tells the connection that
//! its request ended without a response, which may be a sign that the
//! connection is dead.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, client};
use http::{Method, Request, StatusCode};

use super::{body::Http2ResponseBody, connection::StreamPermit, head, upload::Http2Upload};
use crate::{
    body::Body,
    call::{Exchange, Outgoing},
    error::Fault,
    http1::{Length, ResponseHead},
    http2::Inflow,
    message::Response,
    upstream::{attempt::ResponseOutcome, failure::Failure, http1::MOST_INTERIMS, server::Server},
};

/// A request that is being sent, before its response.
///
/// Becomes the body of the response, or a failure.
pub(in crate::upstream) struct Http2Exchange {
    stream: StreamPermit,
    step: SendStep,
    /// The response's body, once its head is here.
    inflow: Option<Inflow>,
    /// Interim responses so far.
    interims: usize,
    /// Whether the request is a gRPC call, whose response may have no body.
    is_grpc: bool,
}

/// How far the request is.
///
/// The step is left once: a request is sent on one stream, and a retry is a new
/// exchange.
enum SendStep {
    /// Waits until h2 accepts another stream.
    Waiting {
        requests: client::SendRequest<Bytes>,
        request: Option<Request<()>>,
        body: Option<Body>,
    },
    /// The stream is open.
    Sent {
        response: client::ResponseFuture,
        upload: Http2Upload,
    },
}

impl Http2Exchange {
    /// Begins to send `outgoing` to `server`; head and body are taken.
    ///
    /// # Errors
    /// The request cannot be expressed in HTTP/2, or its header list exceeds
    /// the server's limit.
    pub(in crate::upstream) fn new(
        mut stream: StreamPermit,
        outgoing: &mut Outgoing,
        server: &Server,
    ) -> Result<Self, Failure> {
        let request = request(&stream, outgoing, server);
        // A request that is not sent says nothing about the connection.
        stream.is_settled = request.is_err();
        let step = SendStep::Waiting {
            requests: stream.requests(),
            request: Some(request?),
            body: Some(std::mem::take(&mut outgoing.call.body)),
        };
        Ok(Self {
            stream,
            step,
            inflow: None,
            interims: 0,
            is_grpc: outgoing.call.exchange.grpc.is_some(),
        })
    }

    /// Sends the request of `call` and awaits the head of its response.
    ///
    /// The request's body goes first, then interim responses, then the
    /// response, so that a response which arrives while the body is still sent
    /// is found in the same poll. Interim responses are counted and bounded by
    /// `MOST_INTERIMS`, whether or not the client can take them.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        call: &Exchange,
    ) -> Poll<Result<ResponseHead, Failure>> {
        if let SendStep::Waiting { .. } = &self.step {
            ready!(self.poll_send(cx))?;
        }
        let SendStep::Sent { response, upload } = &mut self.step else {
            return Poll::Pending;
        };
        if let Poll::Ready(Err(fault)) = upload.poll(cx) {
            self.stream.is_settled = !matches!(fault, Fault::Idle(_));
            return Poll::Ready(Err(Failure::Client(fault)));
        }
        // Pending also means that the response has not come; asking for it as
        // well would take h2's lock once more.
        while let Some(Ok(head)) = ready!(response.poll_informational(cx)) {
            self.interims += 1;
            if let Some(what) = wrong_interim(head.status(), self.interims) {
                self.stream.is_settled = true;
                return Poll::Ready(Err(Failure::BadResponse(what)));
            }
            if let Some(interim) = &call.interim {
                interim.0.send(head.status(), &head::fields(head.headers()));
            }
        }
        let response = ready!(Pin::new(response).poll(cx));
        self.stream.is_settled = true;
        Poll::Ready(match response {
            Ok(response) => Ok(self.response_head(response, &call.request.method)),
            Err(error) => Err(self.failure(&error)),
        })
    }

    /// The head of a response to `method`. Keeps its body for
    /// [`into_response`](Self::into_response).
    ///
    /// The length of a response to HEAD describes a body that does not come
    /// (RFC 9110, 9.3.2) and is not checked against one. HTTP/2 has no reason
    /// phrase and no `Connection` field, so that `keep_alive` is always true.
    fn response_head(
        &mut self,
        response: http::Response<h2::RecvStream>,
        method: &Method,
    ) -> ResponseHead {
        let (parts, body) = response.into_parts();
        let fields = head::fields(&parts.headers);
        let is_over = body.is_end_stream();
        let length = fields.length.filter(|_| *method != Method::HEAD);
        self.inflow = (!is_over).then(|| Inflow::new(body, length, self.stream.windows()));
        let length = if is_over {
            Length::Empty
        } else {
            length.map_or(Length::UntilClose, Length::Exact)
        };
        ResponseHead {
            status: parts.status,
            reason: None,
            fields,
            length,
            keep_alive: true,
        }
    }

    /// Opens the stream once h2 accepts another one.
    ///
    /// A failure here is always `Failure::Unprocessed`: h2 has not accepted the
    /// request, which may be sent again on another connection. The connection
    /// is retired.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let SendStep::Waiting {
            requests,
            request,
            body,
        } = &mut self.step
        else {
            return Poll::Ready(Ok(()));
        };
        let sent = match ready!(requests.poll_ready(cx)) {
            Ok(()) => {
                let body = body.take().unwrap_or_default();
                let request = request.take().unwrap_or_default();
                let is_whole = body.is_empty();
                let most_trailers = self.stream.header_list_limit();
                requests
                    .send_request(request, is_whole)
                    .map(|(mut response, body_stream)| {
                        self.stream.opened(response.push_promises());
                        SendStep::Sent {
                            response,
                            upload: Http2Upload::new(
                                (!is_whole).then_some(body_stream),
                                most_trailers,
                                body,
                            ),
                        }
                    })
            }
            Err(error) => Err(error),
        };
        Poll::Ready(match sent {
            Ok(step) => {
                self.step = step;
                Ok(())
            }
            // The connection has ended or is about to; nothing of the request
            // was sent.
            Err(_) => {
                self.stream.is_settled = true;
                self.stream.retire();
                Err(Failure::Unprocessed)
            }
        })
    }

    /// The failure that an error of h2 means, and whether the connection can
    /// still be used.
    fn failure(&mut self, error: &h2::Error) -> Failure {
        if error.is_remote() || !error.is_reset() {
            self.stream.ended();
        }
        if error.is_go_away() && error.is_remote() {
            // h2 reports this only for streams above the last one that the
            // server has processed (RFC 9113, 6.8).
            self.stream.retire();
            return Failure::Unprocessed;
        }
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => Failure::Unprocessed,
            Some(Reason::HTTP_1_1_REQUIRED) => Failure::BadResponse("it wants HTTP/1.1"),
            Some(_) if error.is_remote() => self.reset(),
            Some(_) => Failure::BadResponse("it breaks the rules of HTTP/2"),
            None => {
                self.stream.retire();
                if self.stream.is_reused {
                    Failure::Stale { written: true }
                } else {
                    self.reset()
                }
            }
        }
    }

    /// The failure of a stream that broke.
    ///
    /// It counts as begun after an interim response, which is a part of the
    /// response.
    fn reset(&self) -> Failure {
        Failure::Reset {
            is_begun: self.interims > 0,
        }
    }

    /// Whether the exchange waits for the server, and not for the client or the
    /// gateway.
    pub(in crate::upstream) fn waits_for_server(&self) -> bool {
        match &self.step {
            SendStep::Waiting { .. } => true,
            SendStep::Sent { upload, .. } => upload.is_over(),
        }
    }

    /// The response whose `head` has arrived.
    pub(in crate::upstream) fn into_response(
        self,
        head: ResponseHead,
        outcome: ResponseOutcome,
    ) -> Response {
        let Self {
            mut stream,
            step,
            inflow,
            is_grpc,
            ..
        } = self;
        if inflow.is_none() && matches!(&step, SendStep::Sent { upload, .. } if upload.is_over()) {
            stream.ended();
        }
        let body = match (inflow, step) {
            (Some(inflow), SendStep::Sent { upload, .. }) => {
                Body::stream(Http2ResponseBody::new(inflow, stream, upload, outcome))
            }
            _ => {
                // A gRPC call that fails at once has a head without a body,
                // which must not get a length.
                let is_absent = is_grpc || outcome.call.request.method == Method::HEAD;
                outcome.complete();
                if is_absent {
                    Body::absent()
                } else {
                    Body::empty()
                }
            }
        };
        Response {
            status: head.status,
            fields: head.fields,
            body,
            ..Response::default()
        }
    }
}

/// The header list of `outgoing`, within the limit that the server announced.
///
/// # Errors
/// The head cannot be expressed in HTTP/2, or exceeds the limit.
fn request(
    stream: &StreamPermit,
    outgoing: &mut Outgoing,
    server: &Server,
) -> Result<Request<()>, Failure> {
    let length = outgoing.call.body.length();
    let request = head::request(outgoing, &server.authority, server.speaks_tls(), length)
        .map_err(|what| Failure::Client(Fault::ClientMalformed(what)))?;
    let limit = stream.header_list_limit();
    if limit == usize::MAX || head::list_size(&request) <= limit {
        Ok(request)
    } else {
        Err(Failure::HeadTooLarge { limit })
    }
}

/// The reason why a response cannot be the interim one with this number. A 101
/// must not be passed on: a client of HTTP/1 would speak another protocol from
/// then on, and the server would not.
fn wrong_interim(status: StatusCode, number: usize) -> Option<&'static str> {
    match number {
        _ if status == StatusCode::SWITCHING_PROTOCOLS => {
            Some("it switches protocols, which HTTP/2 does not")
        }
        ..=MOST_INTERIMS => None,
        _ => Some("it sends interim answers without end"),
    }
}

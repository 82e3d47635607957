//! One exchange on a stream: a request on its way up, and the wait for the answer's head.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, client};
use http::{Method, Request, StatusCode};

use super::{answer::Answer, connection::Borrowed, head, upload::Upload};
use crate::{
    body::Body,
    call::Outgoing,
    error::Fault,
    http1::{Length, ResponseHead},
    http2::Inflow,
    message::{Interim, Response},
    upstream::{
        connection::{Failure, MOST_INTERIMS},
        trial::Rest,
    },
};

/// An exchange before its answer.
pub(in crate::upstream) struct Exchange {
    borrowed: Borrowed,
    step: Step,
    /// The answer's body, once its head is here.
    inflow: Option<Inflow>,
    interims: usize,
    is_call: bool,
}

enum Step {
    /// Waits for leave to open a stream.
    Waiting {
        requests: client::SendRequest<Bytes>,
        request: Option<Request<()>>,
        body: Option<Body>,
    },
    Sent {
        response: client::ResponseFuture,
        upload: Upload,
    },
}

impl Exchange {
    /// Of `outgoing`, to the server that is called `authority`.
    ///
    /// # Errors
    /// It cannot be said in HTTP/2.
    pub(in crate::upstream) fn new(
        borrowed: Borrowed,
        mut outgoing: Outgoing,
        authority: &str,
        is_secure: bool,
    ) -> Result<Self, Failure> {
        let length = outgoing.body.length();
        let request = head::request(&mut outgoing, authority, is_secure, length)
            .map_err(|what| Failure::Client(Fault::ClientMalformed(what)));
        let most = borrowed.most_fields();
        let request = request.and_then(|request| {
            let fits = most == usize::MAX || head::list_size(&request) <= most;
            if fits {
                Ok(request)
            } else {
                Err(Failure::HeadTooLarge { limit: most })
            }
        });
        let mut borrowed = borrowed;
        // Not the server's fault.
        borrowed.is_answered = request.is_err();
        let step = Step::Waiting {
            requests: borrowed.requests(),
            request: Some(request?),
            body: Some(outgoing.body),
        };
        Ok(Self {
            borrowed,
            step,
            inflow: None,
            interims: 0,
            is_call: outgoing.call.request.grpc.is_some(),
        })
    }

    /// Ready with the answer's head.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        interim: Option<&Interim>,
    ) -> Poll<Result<ResponseHead, Failure>> {
        if let Step::Waiting { .. } = &self.step {
            ready!(self.send(cx))?;
        }
        let Step::Sent { response, upload } = &mut self.step else {
            return Poll::Pending;
        };
        if let Poll::Ready(Err(fault)) = upload.poll(cx) {
            self.borrowed.is_answered = !matches!(fault, Fault::Idle(_));
            return Poll::Ready(Err(Failure::Client(fault)));
        }
        while let Poll::Ready(Some(head)) = response.poll_informational(cx) {
            let Ok(head) = head else { break };
            self.interims += 1;
            if let Some(what) = never_interim(head.status(), self.interims) {
                self.borrowed.is_answered = true;
                return Poll::Ready(Err(Failure::BadAnswer(what)));
            }
            if let Some(interim) = interim {
                interim.0.send(head.status(), &head::fields(head.headers()));
            }
        }
        let answer = ready!(std::pin::Pin::new(response).poll(cx));
        self.borrowed.is_answered = true;
        let (parts, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Poll::Ready(Err(self.failure(&error))),
        };
        let fields = head::fields(&parts.headers);
        let is_over = body.is_end_stream();
        let length = fields.length.filter(|_| *method != Method::HEAD);
        self.inflow = (!is_over).then(|| Inflow::new(body, length, self.borrowed.windows()));
        let length = if is_over {
            Length::Empty
        } else {
            length.map_or(Length::UntilClose, Length::Exact)
        };
        Poll::Ready(Ok(ResponseHead {
            status: parts.status,
            reason: None,
            fields,
            length,
            keep_alive: true,
        }))
    }

    /// Opens the stream once there is leave to.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Step::Waiting {
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
                let most_trailers = self.borrowed.most_fields();
                requests
                    .send_request(request, is_whole)
                    .map(|(mut response, stream)| {
                        self.borrowed.opened(response.push_promises());
                        Step::Sent {
                            response,
                            upload: Upload::new((!is_whole).then_some(stream), most_trailers, body),
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
            // The connection ended, or is about to: nothing of the request left.
            Err(_) => {
                self.borrowed.is_answered = true;
                self.borrowed.retire();
                Err(Failure::Unbegun)
            }
        })
    }

    fn failure(&mut self, error: &h2::Error) -> Failure {
        if error.is_remote() || !error.is_reset() {
            self.borrowed.ended();
        }
        if error.is_go_away() && error.is_remote() {
            // h2 says so only of streams above the last one that the server began.
            self.borrowed.retire();
            return Failure::Unbegun;
        }
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => Failure::Unbegun,
            Some(Reason::HTTP_1_1_REQUIRED) => Failure::BadAnswer("it wants HTTP/1.1"),
            Some(_) if error.is_remote() => self.reset(),
            Some(_) => Failure::BadAnswer("it breaks the rules of HTTP/2"),
            None => {
                self.borrowed.retire();
                if self.borrowed.is_reused {
                    Failure::Stale { written: true }
                } else {
                    self.reset()
                }
            }
        }
    }

    fn reset(&self) -> Failure {
        Failure::Reset {
            is_begun: self.interims > 0,
        }
    }

    /// The server has to do something next: neither the client nor the gateway.
    pub(in crate::upstream) fn waits_for_server(&self) -> bool {
        match &self.step {
            Step::Waiting { .. } => true,
            Step::Sent { upload, .. } => upload.is_over(),
        }
    }

    /// The answer with its body.
    pub(in crate::upstream) fn into_answer(self, head: ResponseHead, rest: Rest) -> Response {
        let Self {
            mut borrowed,
            step,
            inflow,
            is_call,
            ..
        } = self;
        if inflow.is_none() && matches!(&step, Step::Sent { upload, .. } if upload.is_over()) {
            borrowed.ended();
        }
        let body = match (inflow, step) {
            (Some(inflow), Step::Sent { upload, .. }) => {
                Body::stream(Answer::new(inflow, borrowed, upload, rest))
            }
            _ => {
                // A call that fails at once has a head without a body, of which no length is told.
                let is_absent = is_call || rest.call.request.method == Method::HEAD;
                rest.came();
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

/// Why the interim answer of this number cannot be one. A client of HTTP/1 that is told to switch protocols would send
/// something else than requests from then on, and nobody would take it for that.
fn never_interim(status: StatusCode, number: usize) -> Option<&'static str> {
    match number {
        _ if status == StatusCode::SWITCHING_PROTOCOLS => {
            Some("it switches protocols, which HTTP/2 does not")
        }
        ..=MOST_INTERIMS => None,
        _ => Some("it sends interim answers without end"),
    }
}

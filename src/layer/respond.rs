//! Routes that answer by themselves: a fixed response, or a redirect. Innermost, in the place of an upstream.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tower::Service;

use super::answer_changes::AnswerChanges;
use crate::{
    body::Body,
    call::{Call, Exchange},
    error::{Error, Failed},
    message::Response,
};

/// What is answered.
#[derive(Debug, Clone)]
pub enum Canned {
    /// Always the same.
    Fixed {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: Bytes,
        /// Its fields.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// To somewhere else.
    Redirect {
        /// Where to; `{host}`, `{path}` (with the query) and parameters are filled in.
        to: String,
        /// A 3xx status.
        status: StatusCode,
    },
}

/// Answers without an upstream.
#[derive(Debug, Clone)]
pub struct Respond {
    /// With this...
    pub canned: Arc<Canned>,
    /// ...in which the route makes its changes, as in the answers of an upstream.
    pub changes: Arc<AnswerChanges>,
}

impl Service<Call> for Respond {
    type Response = Response;
    type Error = Failed;
    type Future = Ready<Result<Response, Failed>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let mut answer = match &*self.canned {
            Canned::Fixed {
                status,
                body,
                headers,
            } => fixed(*status, body, headers),
            Canned::Redirect { to, .. }
                if call.exchange.request.host.is_empty() && to.contains("{host}") =>
            {
                return ready(Err(Failed::from(Error::Malformed(
                    "it names no host, which the redirect of its route needs",
                ))));
            }
            Canned::Redirect { to, status } => redirect(to, *status, &call.exchange),
        };
        self.changes.make_in(&mut answer);
        ready(Ok(answer))
    }
}

fn fixed(status: StatusCode, body: &Bytes, headers: &[(HeaderName, HeaderValue)]) -> Response {
    let mut response = Response::new(status, Body::whole(body.clone()));
    for (name, value) in headers {
        response.fields.push(name.as_str(), value.as_bytes());
    }
    if !body.is_empty() && response.fields.get(&header::CONTENT_TYPE).is_none() {
        response
            .fields
            .push(header::CONTENT_TYPE.as_str(), b"text/plain; charset=utf-8");
    }
    response
}

fn redirect(to: &str, status: StatusCode, exchange: &Exchange) -> Response {
    let mut response = Response::new(status, Body::empty());
    if let Ok(location) = HeaderValue::try_from(super::fill(to, exchange)) {
        response
            .fields
            .push(header::LOCATION.as_str(), location.as_bytes());
    }
    response
}

//! Respond: a fixed response or a redirect, in the place of an upstream.
//!
//! Innermost in the stack of a route that has no upstream. Everything further
//! out applies as it does to forwarded requests, the changes to response
//! headers included. It refuses with 400 a request without a host where the
//! target of the redirect needs one, and holds nothing.
//!
//! The response is made anew for each request from parts that are kept: the
//! body is a shared buffer, and its fields are copied. It does not wait, so
//! that its future is ready at once, and it needs no clean-up.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tower::Service;

use super::{response_changes, rewrite};
use crate::{
    body::Body,
    call::{Call, Exchange},
    error::{Error, Failed},
    message::Response,
    policy::{Action, HeaderChanges, RequestValue, Template},
};

/// Responds without an upstream.
#[derive(Debug, Clone)]
pub struct Respond(Arc<RespondPolicy>);

/// The policy of a route that responds by itself, behind one pointer since the
/// service is cloned for each request.
#[derive(Debug)]
struct RespondPolicy {
    /// The response or the redirect.
    action: Action,
    /// The route's changes in the header of responses.
    headers: HeaderChanges,
}

impl Respond {
    /// Responds as `action` says, with the route's changes to response headers.
    ///
    /// An action that forwards requests leads nowhere here. A configuration is
    /// refused before it comes to that; should it happen, the response is an
    /// empty 503.
    pub fn new(action: &Action, headers: &HeaderChanges) -> Self {
        Self(Arc::new(RespondPolicy {
            action: action.clone(),
            headers: headers.clone(),
        }))
    }
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
        let mut response = match &self.0.action {
            Action::Respond {
                status,
                body,
                headers,
            } => fixed(*status, body, headers),
            Action::Redirect { to, .. }
                if call.exchange.host.is_empty()
                    && to.values().any(|value| *value == RequestValue::Host) =>
            {
                return ready(Err(Failed::from(Error::Malformed(
                    "it names no host, which the redirect of its route needs",
                ))));
            }
            Action::Redirect { to, status } => redirect(to, *status, &call.exchange),
            Action::Forward(_) | Action::Split(_) | Action::Report => {
                Response::new(StatusCode::SERVICE_UNAVAILABLE, Body::empty())
            }
        };
        response_changes::apply(&self.0.headers, &mut response, &call.exchange);
        ready(Ok(response))
    }
}

/// A response with this status, body and fields, as plain text unless a field
/// says otherwise.
///
/// The route's own fields keep their order. An empty body gets no content type.
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

/// A redirect to the URL that the template `to` makes of the request.
///
/// A target that is not a valid field value is left out, so that the response
/// then has no `Location`.
fn redirect(to: &Template, status: StatusCode, exchange: &Exchange) -> Response {
    let mut response = Response::new(status, Body::empty());
    let mut location = Vec::new();
    rewrite::fill(&mut location, to, exchange);
    if let Ok(location) = HeaderValue::try_from(location) {
        response
            .fields
            .push(header::LOCATION.as_str(), location.as_bytes());
    }
    response
}

//! Requests of ACME authorities that look for a challenge (RFC 8555, 8.3).
//!
//! They are responded to before anything else is asked of them: whatever routes
//! there are, an order does not fail for them. Only plain listeners respond, as
//! authorities begin there, and only to tokens that are pending: all others are
//! requests like any other.

use http::{Method, StatusCode, header};

use crate::{acme::HttpChallenges, body::Body, call::Exchange, message::Response};

/// The reason in access lines and metrics.
pub(super) const REASON: &str = "acme_challenge";

/// The response to a request for a challenge that is pending; `None` for all
/// other requests, which costs one read while no challenge is pending.
#[inline]
pub(super) fn respond(challenges: &HttpChallenges, exchange: &Exchange) -> Option<Response> {
    let text = challenges.response(exchange.target.path())?;
    let is_read = matches!(exchange.request.method, Method::GET | Method::HEAD);
    if exchange.origin.tls.is_some() || !is_read {
        return None;
    }
    let mut response = Response::new(StatusCode::OK, Body::whole(text.as_bytes().to_vec()));
    let kind = header::CONTENT_TYPE;
    response
        .fields
        .push(kind.as_str(), b"application/octet-stream");
    Some(response)
}

//! Requests that are not forwarded because their hops are counted
//! (`Max-Forwards`, RFC 9110, 7.6.2) or because they go round in a circle
//! (`Via`, RFC 9110, 7.6.3).
//!
//! Both checks read only fields that the client or proxies have sent, and are
//! made before any layer runs, so that such a request takes no token, no permit
//! and no connection.

use http::{Method, StatusCode, header};

use crate::{
    body::Body,
    call::Exchange,
    error::Error,
    message::{FieldName, Headers, NameSet, Response},
    policy::is_secret_name,
};

/// The methods that a service behind a route may get.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Gateways of this kind that a request may have passed. No chain is as long,
/// and a request that goes round in a circle passes them within milliseconds.
const MAX_ROUNDS: usize = 5;

/// The name of every tidegate in `Via`. All have the same name, so that a
/// circle of several is detected, too; a chain is taken for a circle only once
/// it is long.
const PSEUDONYM: &[u8] = b"tidegate";

/// Refuses a request that goes round in a circle.
///
/// The field is a list over all of its occurrences; every member that names a
/// tidegate counts, in any position. A request without `Via` passes.
///
/// # Errors
/// [`Error::Loop`].
pub(super) fn check_rounds(headers: &Headers) -> Result<(), Error> {
    let members = headers
        .known(FieldName::Via)
        .flat_map(|value| value.split(|byte| *byte == b','));
    let rounds = members.filter(|member| is_of_our_kind(member)).count();
    if rounds >= MAX_ROUNDS {
        Err(Error::Loop { rounds })
    } else {
        Ok(())
    }
}

/// Whether a member of `Via` is that of a tidegate: `1.1 tidegate`, the
/// protocol and then the receiver.
fn is_of_our_kind(member: &[u8]) -> bool {
    let mut words = member
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    words.nth(1) == Some(PSEUDONYM)
}

/// The response to an OPTIONS or TRACE request that must not be forwarded any
/// further, because its `Max-Forwards` is 0.
///
/// The response to TRACE is the request as a `message/http` body; that to
/// OPTIONS is empty and lists the methods in `Allow`.
pub(super) fn respond(exchange: &Exchange) -> Response {
    let mut response = Response::new(StatusCode::OK, Body::empty());
    if exchange.request.method == Method::TRACE {
        response.body = Body::whole(reflection(exchange));
        let name = header::CONTENT_TYPE;
        response.fields.push(name.as_str(), b"message/http");
    } else {
        let name = header::ALLOW;
        response.fields.push(name.as_str(), METHODS.as_bytes());
    }
    response
}

/// The request as received, without fields whose values may be secrets (RFC
/// 9110, 9.3.8).
///
/// The target is as received, without the authority of an absolute form. The
/// version is always 1.1. The length is bounded by that of the head that was
/// read.
fn reflection(exchange: &Exchange) -> Vec<u8> {
    let request = &exchange.request;
    let (path, query) = exchange.target.to_forward();
    let mut out = [
        request.method.as_str().as_bytes(),
        b" ",
        path,
        query,
        b" HTTP/1.1\r\n",
    ]
    .concat();
    request
        .headers
        .write_some(&mut out, NameSet::default(), |field| {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            is_secret_name(&name)
        });
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_pass_a_few_of_our_kind_and_any_number_of_others() {
        let is_sound = |lines: &[&str]| {
            let headers = lines.iter().map(|line| ("via", line)).collect();
            check_rounds(&headers).is_ok()
        };
        let own = "1.1 tidegate";
        assert!(is_sound(&[]) && is_sound(&[own, own, "2.0 tidegate, 1.0 tidegate"]));
        assert!(!is_sound(&[own, own, own, own, own]));
        assert!(!is_sound(&[
            "1.1 tidegate, 1.1 far, 2.0  tidegate (edge),1.1 tidegate, HTTP/1.1 tidegate,1.1\ttidegate"
        ]));
        assert!(is_sound(&[&vec!["1.1 near"; 100].join(", ")]));
        assert!(
            is_sound(&[&vec!["tidegate, 1.1 tidegate.example"; 20].join(", ")]),
            "other hosts"
        );
    }
}

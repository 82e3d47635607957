//! A check that sends a request, of which the status of the response decides.
//!
//! It speaks the version of HTTP that requests speak with the server. hyper's
//! client suffices here: a check needs neither strict framing nor interim
//! responses, and its outcome has only a few classes.

use std::{borrow::Cow, num::NonZeroU16, pin::pin};

use bytes::Bytes;
use http::{Request, StatusCode, header, request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::failure::CheckFailure;
use crate::{
    policy::{CheckFields, HttpCheck, Protocol},
    upstream::{server::Server, stream::Stream},
};

/// The longest head of a response to a check, in bytes.
pub(super) const MOST_HEAD: u16 = 16 * 1024;
/// The `User-Agent` by which services recognise checks in their logs.
const USER_AGENT: &str = "tidegate health check";

/// Sends the request and judges the response. Not bounded in time.
///
/// # Errors
/// No response came, or its status does not pass.
pub(super) async fn check(
    stream: Stream,
    server: &Server,
    check: &HttpCheck,
    port: Option<NonZeroU16>,
) -> Result<(), CheckFailure> {
    let is_http2 = match port {
        None => server.agrees_on_http2(&stream),
        // Another listener says nothing about the protocol of this one.
        Some(_) => server.protocol == Protocol::Http2 || stream.is_http2(),
    };
    let status = if is_http2 {
        status_by_http2(stream, server, check, port).await?
    } else {
        status_by_http1(stream, server, check, port).await?
    };
    if check.statuses.contains(status) {
        Ok(())
    } else {
        Err(CheckFailure::Status(status))
    }
}

/// The host and port that a check asks for: those of the policy, or else those
/// of the server, with the port that is checked.
pub(super) fn authority<'a>(
    server: &'a Server,
    fields: &'a CheckFields,
    port: Option<NonZeroU16>,
) -> Cow<'a, str> {
    match (&fields.host, port) {
        (Some(host), _) => Cow::Borrowed(host),
        (None, Some(port)) => Cow::Owned(format!("{}:{port}", without_port(&server.authority))),
        (None, None) => Cow::Borrowed(&server.authority),
    }
}

/// The host of an authority. An IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// Adds the fields of a check to its request. Those of the policy replace the
/// usual ones.
pub(super) fn with_fields(mut request: request::Builder, fields: &CheckFields) -> request::Builder {
    if let Some(all) = request.headers_mut() {
        all.insert(
            header::USER_AGENT,
            header::HeaderValue::from_static(USER_AGENT),
        );
        all.insert(header::ACCEPT, header::HeaderValue::from_static("*/*"));
        for (name, value) in &fields.headers {
            all.insert(name.clone(), value.clone());
        }
    }
    request
}

/// The status that the server responds with on HTTP/1.
///
/// `Connection: close` tells the server that no further request comes.
async fn status_by_http1(
    stream: Stream,
    server: &Server,
    check: &HttpCheck,
    port: Option<NonZeroU16>,
) -> Result<StatusCode, CheckFailure> {
    let request = Request::builder()
        .method(check.method.clone())
        .uri(&check.path)
        .header(header::HOST, &*authority(server, &check.fields, port))
        .header(header::CONNECTION, "close");
    let request = with_fields(request, &check.fields)
        .body(Empty::<Bytes>::new())
        .map_err(|_| CheckFailure::NotHttp)?;
    let (mut requests, connection) = http1::Builder::new()
        .max_buf_size(usize::from(MOST_HEAD))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure(&error))?;
    let mut response = pin!(requests.send_request(request));
    // The connection has to be polled for the response to arrive. It may end as
    // soon as it has passed the response on, or the reason why there is none.
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ = connection => response.await,
    };
    match response {
        Ok(response) => Ok(response.status()),
        Err(error) => Err(failure(&error)),
    }
}

/// The class of a failure: the response is no HTTP, or the connection broke.
///
/// A head above 16 KiB counts as no HTTP.
fn failure(error: &hyper::Error) -> CheckFailure {
    if error.is_parse() || error.is_parse_too_large() {
        CheckFailure::NotHttp
    } else {
        CheckFailure::Broken
    }
}

/// The status that the server responds with on HTTP/2.
async fn status_by_http2(
    stream: Stream,
    server: &Server,
    check: &HttpCheck,
    port: Option<NonZeroU16>,
) -> Result<StatusCode, CheckFailure> {
    let (mut requests, connection) = h2::client::Builder::new()
        .max_header_list_size(u32::from(MOST_HEAD))
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|_| CheckFailure::NotHttp)?;
    let scheme = if server.speaks_tls() { "https" } else { "http" };
    let authority = authority(server, &check.fields, port);
    let request = Request::builder()
        .method(check.method.clone())
        .uri(format!("{scheme}://{authority}{}", check.path));
    let request = with_fields(request, &check.fields)
        .body(())
        .map_err(|_| CheckFailure::NotHttp)?;
    let (response, _) = requests
        .send_request(request, true)
        .map_err(|_| CheckFailure::Broken)?;
    let mut response = pin!(response);
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ = connection => response.await,
    };
    match response {
        Ok(response) => Ok(response.status()),
        Err(_) => Err(CheckFailure::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_replaces_that_of_the_server() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}

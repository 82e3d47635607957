//! A check that calls `grpc.health.v1.Health/Check`.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md> is the
//! protocol. Both of its messages have one field, so that they are written and
//! read here without generated types.
//!
//! The call is made over HTTP/2: by prior knowledge on plain connections, and
//! inside of TLS if the server agrees on it by ALPN. At most 1 KiB of the answer
//! is read.

use std::{num::NonZeroU16, pin::pin};

use bytes::Bytes;
use h2::{RecvStream, client::ResponseFuture};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::{
    failure::CheckFailure,
    http::{MOST_HEAD, authority, with_fields},
};
use crate::{
    call::{Grpc, grpc},
    error::ConnectFailure,
    policy::GrpcCheck,
    protobuf::{WireValue, put_bytes, take_field},
    upstream::{server::Server, stream::Stream},
};

/// The longest answer that is read, in bytes: a message with one number takes
/// seven.
const MOST_ANSWER: usize = 1024;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// Makes the call and judges the answer. Not bounded in time.
///
/// # Errors
/// The call failed, its answer cannot be read, or it says anything else than
/// `SERVING`.
pub(super) async fn check(
    stream: Stream,
    server: &Server,
    check: &GrpcCheck,
    port: Option<NonZeroU16>,
) -> Result<(), CheckFailure> {
    if server.speaks_tls() && !stream.is_http2() {
        return Err(CheckFailure::Connect(ConnectFailure::NoHttp2));
    }
    let (mut requests, connection) = h2::client::Builder::new()
        .max_header_list_size(u32::from(MOST_HEAD))
        .handshake(stream)
        .await
        .map_err(|_| CheckFailure::NotGrpc)?;
    let request = request(server, check, port).ok_or(CheckFailure::NotGrpc)?;
    let (response, mut body) = requests
        .send_request(request, false)
        .map_err(|_| CheckFailure::Broken)?;
    body.send_data(question(&check.service), true)
        .map_err(|_| CheckFailure::Broken)?;
    let mut answer = pin!(answer(response));
    // The connection has to be polled for the answer to arrive, and may end as
    // soon as it has.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// The head of the call.
fn request(server: &Server, check: &GrpcCheck, port: Option<NonZeroU16>) -> Option<Request<()>> {
    let scheme = if server.speaks_tls() { "https" } else { "http" };
    let authority = authority(server, &check.fields, port);
    let request = Request::post(format!(
        "{scheme}://{authority}/grpc.health.v1.Health/Check"
    ));
    let mut request = with_fields(request, &check.fields).body(()).ok()?;
    let fields = request.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(grpc::CONTENT_TYPE),
    );
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    Some(request)
}

/// Reads the answer: a head with the status of the call, or a head, a message
/// and trailers with it.
async fn answer(response: ResponseFuture) -> Result<(), CheckFailure> {
    let (head, body) = response.await.map_err(failure)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(CheckFailure::Status(head.status));
    }
    let kind = head.headers.get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| Grpc::is_type(kind.as_bytes())) {
        return Err(CheckFailure::NotGrpc);
    }
    if head.headers.contains_key(grpc::STATUS) {
        return ended_well(&head.headers).and(Err(CheckFailure::NotGrpc));
    }
    let (message, trailers) = message(body).await?;
    ended_well(&trailers)?;
    match serving_status(&message) {
        Some(SERVING) => Ok(()),
        Some(other) => Err(CheckFailure::NotServing(other)),
        None => Err(CheckFailure::NotGrpc),
    }
}

/// The class of a failure: the server speaks another protocol, or the
/// connection or the stream broke.
fn failure(error: h2::Error) -> CheckFailure {
    if error.is_library() && !error.is_io() {
        CheckFailure::NotGrpc
    } else {
        CheckFailure::Broken
    }
}

/// Whether the fields with the status of the call say that it went well.
fn ended_well(fields: &HeaderMap) -> Result<(), CheckFailure> {
    let code = fields.get(grpc::STATUS);
    let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(CheckFailure::Call(code)),
        None => Err(CheckFailure::NotGrpc),
    }
}

/// The bytes of the body and the trailers.
async fn message(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), CheckFailure> {
    let mut message = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(failure)?;
        if message.len() + part.len() > MOST_ANSWER {
            return Err(CheckFailure::NotGrpc);
        }
        message.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.map_err(failure)?;
    Ok((message, trailers.unwrap_or_default()))
}

/// The `HealthCheckRequest` for a service, with its prefix. An empty field is
/// not written, and asks for the server as a whole.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        put_bytes(&mut message, 1, service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut question = vec![0];
    question.extend_from_slice(&length.to_be_bytes());
    question.extend_from_slice(&message);
    question.into()
}

/// The `status` of the one `HealthCheckResponse` in the bytes of a body; `None`
/// if there is none that can be read. Other fields are skipped, and the last of
/// several counts.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, mut rest) = body.split_at_checked(PREFIX)?;
    let length = usize::try_from(u32::from_be_bytes(prefix[1..].try_into().ok()?)).ok()?;
    // Compression was not offered, and there is one message.
    if prefix[0] != 0 || rest.len() != length {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        match take_field(&mut rest)? {
            (0, _) => return None,
            (1, WireValue::Varint(found)) => status = found,
            _ => {}
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body with this message.
    fn body(message: &[u8]) -> Vec<u8> {
        let length = message.len() as u32;
        [&[0], &length.to_be_bytes()[..], message].concat()
    }

    /// The bytes are those of the official protobuf library for Python.
    #[test]
    fn the_messages_are_those_of_protobuf() {
        assert_eq!(&question("")[..], b"\0\0\0\0\0");
        assert_eq!(&question("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "s".repeat(200);
        assert_eq!(&question(&long)[..8], b"\0\0\0\0\xcb\x0a\xc8\x01");
        assert_eq!(serving_status(b"\0\0\0\0\x02\x08\x01"), Some(SERVING));
        assert_eq!(serving_status(b"\0\0\0\0\x02\x08\x02"), Some(2));
        assert_eq!(serving_status(b"\0\0\0\0\0"), Some(0), "the default");
    }

    #[test]
    fn fields_that_are_not_known_are_skipped_and_the_last_status_counts() {
        let message = b"\x12\x02ab\x18\x96\x01\x21abcdefgh\x2dabcd\x08\x02\x08\x01";
        assert_eq!(serving_status(&body(message)), Some(SERVING));
    }

    #[test]
    fn bytes_that_are_no_message_are_no_status() {
        for bytes in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02\x08",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01",
            b"\0\xff\xff\xff\xff\x08\x01",
        ] {
            assert_eq!(serving_status(bytes), None, "{bytes:?}");
        }
        for message in [
            &b"\x08"[..],
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\x05ab",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b",
            b"\x00\x01",
        ] {
            assert_eq!(serving_status(&body(message)), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (serving_status(&bytes), serving_status(&body(&bytes)));
        }
    }
}

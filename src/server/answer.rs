//! An answer's head: which fields frame it, which are passed on, and whether the connection stays open.

use http::{StatusCode, Version, header};

use crate::{http1, message::Response};

/// What the request says about how it wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// A HEAD request: the head of the answer only.
    pub(super) is_head: bool,
    /// The client's version.
    pub(super) version: Version,
    /// Both sides would go on after this answer.
    pub(super) keep_alive: bool,
}

/// How an answer's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// None is written.
    Bodiless,
    /// By its length.
    Counted,
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
    /// There is none: the connection switches protocols.
    Tunnel,
}

/// Writes the head; returns how the body is to be written and whether the connection stays open.
pub(super) fn write_head(out: &mut Vec<u8>, answer: &Response, asked: &Asked) -> (Framing, bool) {
    let Response {
        status,
        reason,
        fields,
        body,
        ..
    } = answer;
    let framing = framing(answer, asked);
    let keep_alive = asked.keep_alive && framing != Framing::UntilClose;
    out.reserve(256 + fields.as_bytes().len());
    http1::write_status_line(out, *status, reason.as_deref());
    out.extend_from_slice(fields.as_bytes());
    if !fields.has_date() {
        http1::write_date(out);
    }
    let length = match framing {
        Framing::Counted => body.length(),
        // A 204 has no length, not even one that it stands for: a client might wait for so many bytes.
        Framing::Bodiless if *status == StatusCode::NO_CONTENT => None,
        // To HEAD, an answer of the gateway's own tells the length that it has; that of an upstream has said it or not.
        Framing::Bodiless if !has_no_body(*status) => body.length().or(fields.length),
        Framing::Bodiless => fields.length,
        Framing::Chunked | Framing::UntilClose | Framing::Tunnel => None,
    };
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        http1::write_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    let names_protocol =
        *status == StatusCode::UPGRADE_REQUIRED && fields.get(&header::UPGRADE).is_some();
    match (keep_alive, asked.version) {
        (false, _) if names_protocol => out.extend_from_slice(b"connection: close, upgrade\r\n"),
        _ if framing == Framing::Tunnel || names_protocol => {
            out.extend_from_slice(b"connection: upgrade\r\n")
        }
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    (framing, keep_alive)
}

fn framing(answer: &Response, asked: &Asked) -> Framing {
    if answer.body.is_tunnel() {
        Framing::Tunnel
    } else if asked.is_head || has_no_body(answer.status) {
        Framing::Bodiless
    } else if answer.body.length().is_some() {
        Framing::Counted
    } else if asked.version == Version::HTTP_11 {
        Framing::Chunked
    } else {
        Framing::UntilClose
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 204 | 304)
}

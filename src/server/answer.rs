//! An answer's head: which fields frame it, which are passed on, and whether the connection stays open.

use http::{HeaderMap, StatusCode, Version, header, response::Parts};

use crate::{body::Body, http1};

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
}

/// Writes the head; returns how the body is to be written and whether the connection stays open.
pub(super) fn write_head(out: &mut Vec<u8>, head: &Parts, body: &Body, asked: &Asked) -> (Framing, bool) {
    let framing = framing(head, body, asked);
    let keep_alive = asked.keep_alive && framing != Framing::UntilClose;
    out.reserve(256 + head.headers.len() * 48);
    http1::write_status_line(out, head.status);
    // To HEAD, an answer of the gateway's own tells the length that it has; that of an upstream has said it or not.
    let told = body.length().filter(|_| framing == Framing::Counted || (asked.is_head && !has_no_body(head.status)));
    // A 204 has no length, not even one that it stands for: a client might wait for so many bytes.
    let keeps_length = framing == Framing::Bodiless && told.is_none() && head.status != StatusCode::NO_CONTENT;
    if !write_fields(out, &head.headers, keeps_length) {
        http1::write_date(out);
    }
    if let Some(length) = told {
        out.extend_from_slice(b"content-length: ");
        http1::write_number(out, length);
        out.extend_from_slice(b"\r\n");
    } else if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match (keep_alive, asked.version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    (framing, keep_alive)
}

fn framing(head: &Parts, body: &Body, asked: &Asked) -> Framing {
    if asked.is_head || has_no_body(head.status) {
        Framing::Bodiless
    } else if body.length().is_some() {
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

/// Writes every field but those of the hop; returns whether there is a date among them. `keeps_length` where an answer
/// without a body tells the length of one that it stands for (HEAD, 304).
fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap, keeps_length: bool) -> bool {
    let mut has_date = false;
    for (name, value) in headers {
        let is_length = *name == header::CONTENT_LENGTH;
        if (is_length && !keeps_length) || http1::hop_by_hop(name) {
            continue;
        }
        has_date |= *name == header::DATE;
        http1::write_field(out, name.as_str(), value.as_bytes());
    }
    has_date
}

//! Templates that are filled in for each request: the values of fields that a
//! route sets and adds.
//!
//! A value that is empty counts as missing, as in keys of limits. A value that a
//! client chose cannot end its field and begin another one, and is read by a
//! receiver as it is known here: one with control characters other than tabs, or
//! with outer blanks, counts as missing, as a reader of fields would change it. It is
//! not looked at for further places: braces that a client sends stay as they
//! are.
//!
//! # Bounds
//!
//! A template may name the same long field several times. So the text that it
//! makes is bounded, and a longer one counts as missing. A field is cut nowhere:
//! half of a value would be another value.

use http::HeaderName;

use crate::{
    call::Exchange,
    http1,
    policy::{HeaderText, RequestValue, Template, TextPiece},
};

/// Bytes of the longest text that is filled in: servers such as Apache and NGINX
/// refuse a longer line of a head.
const LONGEST: usize = 8 * 1024;

/// Writes the field `name`, or nothing if the request lacks a value of it.
pub(super) fn write(out: &mut Vec<u8>, name: &HeaderName, text: &HeaderText, exchange: &Exchange) {
    let template = match text {
        HeaderText::Fixed(value) => {
            return http1::write_field(out, name.as_str(), value.as_bytes());
        }
        HeaderText::Template(template) => template,
    };
    let before = out.len();
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    match fill(out, template, exchange) {
        true => out.extend_from_slice(b"\r\n"),
        false => out.truncate(before),
    }
}

/// Appends the text of a template. Returns whether the request has all of its
/// values and the text is not too long; otherwise some of it may have been
/// appended.
pub(super) fn fill(out: &mut Vec<u8>, template: &Template, exchange: &Exchange) -> bool {
    let begin = out.len();
    template.0.iter().all(|piece| {
        let is_there = match piece {
            TextPiece::Literal(text) => {
                out.extend_from_slice(text.as_bytes());
                true
            }
            TextPiece::Value(value) => append(out, value, exchange),
        };
        is_there && out.len() - begin <= LONGEST
    })
}

/// Appends a value of the request. Returns whether the request has it: an empty
/// one counts as missing, also of a field that a client sends empty.
fn append(out: &mut Vec<u8>, value: &RequestValue, exchange: &Exchange) -> bool {
    let begin = out.len();
    let is_there = append_raw(out, value, exchange).is_some();
    is_there && is_value(&out[begin..])
}

/// Whether there is a value, and a reader of a field leaves it as it is. Tabs
/// within it are a part of the value (RFC 9110, 5.5).
fn is_value(value: &[u8]) -> bool {
    let is_changed = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let is_whole = value.trim_ascii().len() == value.len();
    !value.is_empty() && is_whole && !value.iter().any(is_changed)
}

/// Appends a value as it is; `None` if the request does not have it.
pub(super) fn append_raw(
    out: &mut Vec<u8>,
    value: &RequestValue,
    exchange: &Exchange,
) -> Option<()> {
    let identified = exchange.identified.get();
    let text = match value {
        RequestValue::ClientIp => return append_text(out, &exchange.client.ip.to_string()),
        RequestValue::Header(name) => return append_field(out, name, exchange),
        RequestValue::Path => {
            let (path, query) = exchange.target.to_forward();
            out.extend_from_slice(path);
            out.extend_from_slice(query);
            return Some(());
        }
        RequestValue::RequestId => {
            out.extend_from_slice(exchange.id.as_bytes());
            return Some(());
        }
        RequestValue::Peer => exchange.origin.peer_ip(),
        RequestValue::Host if exchange.host.is_empty() => return None,
        RequestValue::Host => &exchange.host,
        RequestValue::Method => exchange.request.method.as_str(),
        RequestValue::Scheme if exchange.origin.tls.is_some() => "https",
        RequestValue::Scheme => "http",
        RequestValue::Route => exchange.route.name.as_deref()?,
        RequestValue::Listener => exchange.origin.listener.name(),
        RequestValue::Identity => identified?.id()?,
        RequestValue::Plan => identified?.plan.as_deref()?,
        RequestValue::Claim(name) => identified?.claims.get(name)?,
        RequestValue::Param(name) => {
            let mut parameters = exchange.parameters.iter();
            &parameters.find(|(known, _)| **known == **name)?.1
        }
        RequestValue::TlsSubject => exchange.origin.tls.as_ref()?.subject.as_deref()?,
    };
    append_text(out, text)
}

/// Appends a text. Always a value, so that a `match` can end with this.
fn append_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Appends the lines of a field, with a comma between them.
fn append_field(out: &mut Vec<u8>, name: &HeaderName, exchange: &Exchange) -> Option<()> {
    let mut lines = exchange.request.headers.all(name);
    out.extend_from_slice(lines.next()?);
    for line in lines {
        out.extend_from_slice(b", ");
        out.extend_from_slice(line);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_empty_and_no_reader_of_a_field_changes_it() {
        for value in [&b"root"[..], b"a b", b"a\tb", "\u{e4}".as_bytes()] {
            assert!(is_value(value), "{}", value.escape_ascii());
        }
        for value in [
            &b""[..],
            b" root",
            b"root ",
            b"root\t",
            b"root\n",
            b"ro\rot",
            b"root\0",
            b"\x7froot",
            b" ",
        ] {
            assert!(!is_value(value), "{}", value.escape_ascii());
        }
    }
}

//! Refusals on a route that has fields or bodies of its own for them.
//!
//! Bodies are templates that were taken apart when the configuration was
//! loaded. A refusal writes their parts one after the other, and fills in
//! values that are escaped for the type of the body: a client chooses a part of
//! them, the id of its request.

use std::sync::Arc;

use http::StatusCode;

use super::{accept, problem, respond, vary};
use crate::{
    body::Body,
    call::Exchange,
    error::Error,
    http1,
    message::{Fields, Headers, Response},
    policy::{BodyKind, BodyPart, Placeholder, Refusal, RefusalBody},
};

/// The values that a body can have in its places.
#[derive(Debug, Clone, Copy)]
struct Values<'a> {
    status: StatusCode,
    /// As in `Retry-After`, in seconds; `None` without that field.
    retry_after: Option<u64>,
    /// The names of the policies that were violated.
    limits: &'a [Arc<str>],
    route: &'a str,
    request_id: &'a [u8],
}

/// Whether a refusal may have a body of the route's own. Calls have none, and
/// the words of a service that refuses a client are for the client.
pub(super) fn takes_own_body(error: &Error, exchange: &Exchange) -> bool {
    exchange.grpc.is_none() && !matches!(error, Error::RefusedByService { .. })
}

/// The response to a request with these `headers` that failed with `error` on
/// the route called `route`, with one of the route's own bodies if the client
/// prefers it; `None` if it gets the problem body.
pub(super) fn own_body(
    error: &Error,
    refusal: &Refusal,
    headers: &Headers,
    (route, request_id): (&str, &[u8]),
) -> Option<Response> {
    let (status, retry_after) = respond::told(error);
    let body = accept::choose(headers, refusal.bodies(status))?;
    let values = Values {
        status,
        retry_after,
        limits: problem::violated(error),
        route,
        request_id,
    };
    let kind = body.kind.content_type();
    let body = fill(body, &values);
    Some(respond::with_body(error, kind, body, request_id))
}

/// Sets the fields of the route in a refusal of a request that failed with
/// `error`, and says that its body was chosen by the client's `Accept`, if it
/// could be.
pub(super) fn describe(fields: &mut Fields, refusal: &Refusal, (error, is_chosen): (&Error, bool)) {
    for (name, value) in &refusal.headers {
        fields.remove(name);
        fields.push(name.as_str(), value.as_bytes());
    }
    if is_chosen && !refusal.bodies(respond::told(error).0).is_empty() {
        vary::add(fields, "Accept");
    }
}

/// The body with these values. One without places is not copied.
fn fill(body: &RefusalBody, values: &Values<'_>) -> Body {
    if let [BodyPart::Text(whole)] = &body.parts[..] {
        return Body::whole(whole.clone());
    }
    let mut out = Vec::new();
    for part in &body.parts {
        match part {
            BodyPart::Text(text) => out.extend_from_slice(text),
            BodyPart::Inside(placeholder) => values.write(*placeholder, body.kind, &mut out),
            BodyPart::Value(placeholder) => values.write_value(*placeholder, &mut out),
        }
    }
    Body::whole(out)
}

impl Values<'_> {
    /// Writes a value inside of text of this kind; nothing if there is none.
    fn write(&self, placeholder: Placeholder, kind: BodyKind, out: &mut Vec<u8>) {
        match placeholder {
            Placeholder::Status => http1::write_number(out, self.status.as_u16().into()),
            Placeholder::RetryAfter => {
                if let Some(seconds) = self.retry_after {
                    http1::write_number(out, seconds);
                }
            }
            Placeholder::Route => escape(kind, self.route.as_bytes(), out),
            Placeholder::RequestId => escape(kind, self.request_id, out),
            Placeholder::Limit => {
                for (index, limit) in self.limits.iter().enumerate() {
                    out.extend_from_slice(if index == 0 { b"" } else { b", " });
                    escape(kind, limit.as_bytes(), out);
                }
            }
        }
    }

    /// Writes a value of JSON.
    fn write_value(&self, placeholder: Placeholder, out: &mut Vec<u8>) {
        let is_absent = match placeholder {
            Placeholder::RetryAfter => self.retry_after.is_none(),
            Placeholder::Limit => self.limits.is_empty(),
            Placeholder::Route | Placeholder::RequestId | Placeholder::Status => false,
        };
        if is_absent {
            return out.extend_from_slice(b"null");
        }
        let is_number = matches!(placeholder, Placeholder::RetryAfter | Placeholder::Status);
        let quote: &[u8] = if is_number { b"" } else { b"\"" };
        out.extend_from_slice(quote);
        self.write(placeholder, BodyKind::Json, out);
        out.extend_from_slice(quote);
    }
}

/// Writes text so that it stays text within a body of this kind, whatever it
/// is: in HTML also within quotes, and within a string of a script.
///
/// Control characters mean nothing in any of the kinds and are left out. Bytes
/// from 0x80 on are passed on: values are ASCII, and their owner is this
/// process.
fn escape(kind: BodyKind, text: &[u8], out: &mut Vec<u8>) {
    for byte in text.iter().filter(|byte| !byte.is_ascii_control()) {
        let escaped: &[u8] = match (kind, byte) {
            (BodyKind::Html | BodyKind::Xml, b'&') => b"&amp;",
            (BodyKind::Html | BodyKind::Xml, b'<') => b"&lt;",
            (BodyKind::Html | BodyKind::Xml, b'>') => b"&gt;",
            (BodyKind::Html | BodyKind::Xml, b'"') => b"&#34;",
            (BodyKind::Html | BodyKind::Xml, b'\'') => b"&#39;",
            (BodyKind::Html, b'\\') => b"&#92;",
            (BodyKind::Html, b'`') => b"&#96;",
            (BodyKind::Json, b'"') => b"\\\"",
            (BodyKind::Json, b'\\') => b"\\\\",
            // A page may hold the body in a script.
            (BodyKind::Json, b'<') => b"\\u003c",
            _ => std::slice::from_ref(byte),
        };
        out.extend_from_slice(escaped);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'a>(limits: &'a [Arc<str>], request_id: &'a [u8]) -> Values<'a> {
        Values {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: None,
            limits,
            route: "orders & <more>",
            request_id,
        }
    }

    fn filled(kind: BodyKind, parts: Vec<BodyPart>, values: &Values<'_>) -> String {
        let body = fill(&RefusalBody { kind, parts }, values);
        String::from_utf8(body.as_whole().unwrap().to_vec()).unwrap()
    }

    fn escaped(kind: BodyKind, text: &str) -> String {
        let mut out = Vec::new();
        escape(kind, text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_without_a_string_around_it_is_json_by_itself() {
        let all = Placeholder::NAMES.map(|(_, placeholder)| placeholder);
        let parts = |of: fn(Placeholder) -> BodyPart| {
            let mut parts = Vec::new();
            for placeholder in all {
                parts.push(of(placeholder));
                parts.push(BodyPart::Text("|".into()));
            }
            parts
        };
        let none = values(&[], b"id");
        assert_eq!(
            filled(BodyKind::Json, parts(BodyPart::Value), &none),
            r#"null|null|"orders & \u003cmore>"|"id"|429|"#
        );
        let limits = ["a".into(), "b".into()];
        let two = Values {
            retry_after: Some(7),
            ..values(&limits, b"id")
        };
        assert_eq!(
            filled(BodyKind::Json, parts(BodyPart::Value), &two),
            r#"7|"a, b"|"orders & \u003cmore>"|"id"|429|"#
        );
        assert_eq!(
            filled(BodyKind::Text, parts(BodyPart::Inside), &none),
            "||orders & <more>|id|429|"
        );
        assert_eq!(
            filled(BodyKind::Xml, parts(BodyPart::Inside), &two),
            "7|a, b|orders &amp; &lt;more&gt;|id|429|"
        );
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in any::<String>()) {
            let printable: String = text.chars().filter(|c| !c.is_ascii_control()).collect();
            let json = format!("\"{}\"", escaped(BodyKind::Json, &text));
            let read: Option<String> = serde_json::from_str(&json).ok();
            prop_assert_eq!(read.as_deref(), Some(&*printable));
            for kind in [BodyKind::Html, BodyKind::Xml] {
                let markup = escaped(kind, &text);
                prop_assert!(!markup.contains(['<', '>', '"', '\'']));
                let back = markup
                    .replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", "\"")
                    .replace("&#39;", "'").replace("&#92;", "\\").replace("&#96;", "`")
                    .replace("&amp;", "&");
                prop_assert_eq!(&back, &printable);
            }
            prop_assert_eq!(escaped(BodyKind::Text, &text), printable);
        }
    }
}

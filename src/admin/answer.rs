//! Answers of the admin listener: text, JSON and problems.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};

use crate::http1;

/// An answer; all of them are held in memory.
pub(super) type Answer = Response<Full<Bytes>>;

/// 200 with a line of text.
pub(super) fn text(text: impl Into<Bytes>) -> Answer {
    with_type("text/plain; charset=utf-8", StatusCode::OK, text.into())
}

/// JSON, indented: it is read by people as often as by programs.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    with_type("application/json", status, pretty(value))
}

/// A problem as RFC 9457 spells it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = http1::reason(status).unwrap_or("Refused");
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    with_type("application/problem+json", status, pretty(&problem))
}

/// An answer of this media type.
pub(super) fn with_type(media: &'static str, status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    if let Some(words) = http1::reason(status) {
        // The words of RFC 9110, as on the other listeners; hyper has older ones.
        answer
            .extensions_mut()
            .insert(ReasonPhrase::from_static(words.as_bytes()));
    }
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Browsers must not take a view for a script.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

fn pretty(value: &Value) -> Bytes {
    format!("{value:#}\n").into()
}

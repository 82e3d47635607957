//! Problem bodies (RFC 9457), written by hand: a refusal must stay cheap, since
//! an overloaded gateway makes many.
//!
//! The media type is `application/problem+json`. Besides the members of the
//! RFC, a body has `route`, `request_id` and `violated-policies`. A body is
//! made in one buffer, without a tree of values in between.

use std::{fmt, fmt::Write as _, sync::Arc};

use http::StatusCode;

use crate::{
    call::{LimitText, ProblemText},
    error::Error,
    http1,
};

/// The members of a problem body. `detail` is the message of the error, and
/// `violated-policies` are the names of the limits that refused, if any did.
pub(super) struct ProblemBody<'a> {
    /// The member `type`: a URI, or `about:blank`.
    pub(super) kind: &'static str,
    /// The status of the response (RFC 9457, 3.1.2). Its reason phrase is the
    /// member `title`.
    pub(super) status: StatusCode,
    /// The failure, whose message is for people and may change between
    /// versions.
    pub(super) error: &'a Error,
    /// The name of the route; `None` if no route took the request.
    pub(super) route: Option<&'a str>,
    /// The id in `X-Request-Id`, by which the access line is found.
    pub(super) request_id: &'a [u8],
}

impl ProblemBody<'_> {
    /// As JSON. Names from the configuration and request ids are plain by
    /// construction; the rest is escaped.
    ///
    /// Members are in a fixed order. `route` and `violated-policies` are left
    /// out if there are none.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut json = Json(out);
        self.begin(&mut json);
        json.0.extend_from_slice(self.request_id);
        self.end(&mut json);
    }

    /// The same of a refusal by the limit that `text` is about, and by no other
    /// one. Everything but the id of the request is rendered once, unless the
    /// status is another one than it was then.
    pub(super) fn write_by(&self, text: &LimitText, out: &mut Vec<u8>) {
        let rendered = match self.error {
            Error::Banned { .. } => &text.ban,
            _ => &text.problem,
        };
        let text = rendered.get_or_init(|| Box::new(self.render()));
        if text.status != self.status {
            return self.write(out);
        }
        out.extend_from_slice(&text.before);
        out.extend_from_slice(self.request_id);
        out.extend_from_slice(&text.after);
    }

    /// All but the id of the request.
    #[cold]
    fn render(&self) -> ProblemText {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        self.begin(&mut Json(&mut before));
        self.end(&mut Json(&mut after));
        ProblemText {
            status: self.status,
            before: before.into(),
            after: after.into(),
        }
    }

    /// Writes everything before the id of the request.
    fn begin(&self, json: &mut Json<'_>) {
        let title = http1::reason(self.status).unwrap_or("Refused");
        json.member("{\"type\":\"", self.kind.as_bytes());
        json.member(",\"title\":\"", title.as_bytes());
        json.0.extend_from_slice(b",\"status\":");
        http1::write_number(json.0, self.status.as_u16().into());
        json.0.extend_from_slice(b",\"detail\":\"");
        // Writing to memory cannot fail.
        let _ = write!(json, "{}", self.error);
        json.0.push(b'"');
        if let Some(route) = self.route {
            json.member(",\"route\":\"", route.as_bytes());
        }
        json.0.extend_from_slice(b",\"request_id\":\"");
    }

    /// Writes everything behind the id of the request.
    fn end(&self, json: &mut Json<'_>) {
        json.0.push(b'"');
        json.policies(self.error);
        json.0.push(b'}');
    }
}

/// The limits and concurrency limits that were violated, as
/// draft-ietf-httpapi-ratelimit-headers-11 names them.
///
/// A rate limit names every limit that refused; a key that is missing names the
/// limit that requires it; a concurrency limit names the route or upstream that
/// it is set on. All other errors violate no policy.
pub(super) fn violated(error: &Error) -> &[Arc<str>] {
    match error {
        Error::RateLimited { limits, .. } => limits,
        Error::Banned { limit, .. } | Error::KeyMissing { limit, .. } => {
            std::slice::from_ref(limit)
        }
        Error::ConcurrencyLimited { owner, .. } | Error::QueueTimeout { owner, .. } => {
            std::slice::from_ref(owner.name())
        }
        _ => &[],
    }
}

/// JSON in the making. Text that is written to it with [`fmt::Write`] is
/// escaped, as the inside of a string.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    /// A member whose value needs no escape; `before` is all that stands before
    /// it.
    fn member(&mut self, before: &str, value: &[u8]) {
        self.0.extend_from_slice(before.as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    /// The policies that were violated; without any, nothing is added.
    fn policies(&mut self, error: &Error) {
        let limits = violated(error);
        if limits.is_empty() {
            return;
        }
        for (index, limit) in limits.iter().enumerate() {
            self.member(
                if index == 0 {
                    ",\"violated-policies\":[\""
                } else {
                    ",\""
                },
                limit.as_bytes(),
            );
        }
        self.0.push(b']');
    }
}

/// Bytes that a string in JSON needs an escape for (RFC 8259, 7).
///
/// These are the control characters, the quotation mark and the backslash. A
/// table makes the look at a byte a single load.
const IS_SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut control = 0;
    while control < b' ' {
        special[control as usize] = true;
        control += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

/// Control characters become spaces, as they mean nothing in a message;
/// quotation marks and backslashes get a backslash. It never fails.
impl fmt::Write for Json<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_special = |byte: &u8| IS_SPECIAL[usize::from(*byte)];
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(is_special) {
            self.0.extend_from_slice(&rest[..at]);
            match rest[at] {
                0..b' ' => self.0.push(b' '),
                byte => self.0.extend_from_slice(&[b'\\', byte]),
            }
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_whatever_the_error_says() {
        for error in [
            Error::NoRoute,
            Error::Malformed("a \"quoted\" \\ word"),
            Error::RateLimited {
                limits: ["one".into(), "two".into()].into_iter().collect(),
                retry_after: std::time::Duration::ZERO,
                status: http::StatusCode::TOO_MANY_REQUESTS,
            },
        ] {
            let problem = ProblemBody {
                kind: "about:blank",
                status: StatusCode::BAD_REQUEST,
                error: &error,
                route: Some("r"),
                request_id: b"i",
            };
            let mut json = Vec::new();
            problem.write(&mut json);
            let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
            assert_eq!(json["detail"], error.to_string());
            assert_eq!(
                (&json["status"], &json["route"]),
                (&400.into(), &"r".into())
            );
        }
    }
}

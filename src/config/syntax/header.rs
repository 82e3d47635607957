//! Header names and values, methods and statuses.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::super::{suggest, wrong::Wrong};

/// Headers about this connection or about where a message ends. The gateway
/// writes or removes them itself; a value from a file would break the framing,
/// and with it tell two requests from one.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The name of a header, in lower case.
pub(in crate::config) fn name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(
            "it is not the name of a header",
            "write letters, digits and `-`, such as \"x-user\"",
        )
    })
}

/// A token of HTTP (RFC 9110, 5.6.2), case kept.
pub(in crate::config) fn token(text: &str) -> Option<&str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    Some(text).filter(|text| !text.is_empty() && text.bytes().all(is_token))
}

/// A header that may be set or removed.
pub(in crate::config) fn changeable(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    if name == "host" {
        let help = "`request.preserve_host` chooses between the client's and the server's";
        return Err(Wrong::new("the gateway decides what Host says", help));
    }
    if FRAMING.contains(&name.as_str()) {
        let help = "leave it out: the gateway takes care of it on each connection";
        return Err(Wrong::new(
            "this header belongs to the connection or says where the message ends",
            help,
        ));
    }
    Ok(name)
}

/// Headers that the gateway writes from what trusted proxies say and from what
/// it knows itself.
const WRITTEN: [&str; 4] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A header that may be passed on from peers that are not trusted.
pub(in crate::config) fn kept(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    if WRITTEN.contains(&name.as_str()) {
        let help = "leave it out; whom to believe in it is said by `[client_ip] trusted_proxies`";
        return Err(Wrong::new("the gateway writes this header itself", help));
    }
    Ok(name)
}

/// The value of a header: visible characters, spaces and tabs.
pub(in crate::config) fn value(text: &str) -> Result<HeaderValue, Wrong> {
    let help = "write printable ASCII characters";
    let value = HeaderValue::from_str(text)
        .map_err(|_| Wrong::new("it cannot be sent in a header", help))?;
    if text.trim() != text {
        return Err(Wrong::new(
            "spaces at the ends of a header are lost on the way",
            "take them off",
        ));
    }
    Ok(value)
}

/// A method: case matters, the usual ones are upper case.
pub(in crate::config) fn method(text: &str) -> Result<Method, Wrong> {
    let upper = text.to_ascii_uppercase();
    if upper != text && METHODS.contains(&upper.as_str()) {
        return Err(Wrong::new(
            "methods are upper case",
            format!("write \"{upper}\""),
        ));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("it is not a method", "write one such as \"GET\""))
}

/// One thing that a retry policy listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum RetryReason {
    Connect,
    Reset,
    Timeout,
    Status(StatusCode),
}

/// `"connect"`, `"reset"`, `"timeout"`, or a status such as `"503"`.
pub(in crate::config) fn retry_reason(text: &str) -> Result<RetryReason, Wrong> {
    let known = ["connect", "reset", "timeout"];
    match text {
        "connect" => Ok(RetryReason::Connect),
        "reset" => Ok(RetryReason::Reset),
        "timeout" => Ok(RetryReason::Timeout),
        _ if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let number = text
                .parse()
                .ok()
                .filter(|number| (200..600).contains(number));
            let status = number.and_then(|number| StatusCode::from_u16(number).ok());
            status.map(RetryReason::Status).ok_or_else(|| {
                Wrong::new(
                    "it is not a status of an answer",
                    "write one from \"200\" to \"599\"",
                )
            })
        }
        _ => Err(match suggest::nearest(text, known) {
            Some(near) => Wrong::new(
                "it is nothing to retry on",
                format!("did you mean \"{near}\"?"),
            ),
            None => Wrong::new(
                "it is nothing to retry on",
                "write \"connect\", \"reset\", \"timeout\" or a status such as \"503\"",
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_frame_messages_cannot_be_set() {
        for text in [
            "Connection",
            "transfer-encoding",
            "Content-Length",
            "Host",
            "upgrade",
        ] {
            assert!(changeable(text).is_err(), "{text}");
        }
        assert_eq!(changeable("X-From").unwrap(), "x-from");
    }

    #[test]
    fn a_line_break_cannot_be_smuggled_into_a_header() {
        assert!(
            value("a\r\nx: y").is_err()
                && value(" a").is_err()
                && value("max-age=1; preload").is_ok()
        );
    }

    #[test]
    fn a_method_in_lower_case_is_corrected() {
        assert_eq!(method("get").unwrap_err().help, "write \"GET\"");
        assert!(method("PURGE").is_ok() && method("").is_err() && method("A B").is_err());
    }

    #[test]
    fn a_retry_listens_to_failures_and_statuses() {
        assert_eq!(
            retry_reason("503").unwrap(),
            RetryReason::Status(StatusCode::SERVICE_UNAVAILABLE)
        );
        for text in ["5xx", "99", "600", "conect", ""] {
            assert!(retry_reason(text).is_err(), "{text}");
        }
    }
}

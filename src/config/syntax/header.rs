//! Header names and values, methods and statuses.
//!
//! All names of headers are in lower case once they are read, as HTTP/2
//! requires (RFC 9113, section 8.2.1) and as requests are compared. There are
//! three readers of names, for three uses: [`name`] for a header that is only
//! looked at, [`changeable`] for one that the gateway sets or removes, and
//! [`kept`] for one that it passes on.

use http::{HeaderName, HeaderValue, Method};

use super::super::{suggest, wrong::Wrong};
use crate::policy::{ClientIpHeader, Failures, HopsField, Statuses};

/// Headers about this connection or about where a message ends. The gateway
/// writes or removes them itself; a value from a file would break the framing,
/// and with it tell two requests from one.
///
/// `host` is among them because it chooses the site at the next hop; it has
/// advice of its own.
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

/// The methods of RFC 9110 and RFC 5789, which a request has in upper case.
///
/// Other methods are accepted as they are written. The list only serves to
/// correct the case of a usual one.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The name of a header (RFC 9110, 5.1), in lower case.
///
/// # Errors
/// An empty text, or a character that no token has.
pub(in crate::config) fn name(text: &str) -> Result<HeaderName, Wrong> {
    let help = "write letters, digits and `-`, such as \"x-user\"";
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("it is not the name of a header", help))
}

/// A header that may be set or removed: any but those that the gateway has to
/// write itself.
///
/// # Errors
/// As [`name`], and one of [`FRAMING`].
pub(in crate::config) fn changeable(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    if name == "host" {
        let help = "`request.preserve_host` chooses between the client's and the server's";
        return Err(Wrong::new("the gateway decides what Host says", help));
    }
    if frames(&name) {
        let why = "this header belongs to the connection or says where the message ends";
        let help = "leave it out: the gateway takes care of it on each connection";
        return Err(Wrong::new(why, help));
    }
    Ok(name)
}

/// A header of a health check: any but those that the gateway has to write
/// itself.
///
/// # Errors
/// As [`changeable`].
pub(in crate::config) fn of_check(text: &str) -> Result<HeaderName, Wrong> {
    match name(text)?.as_str() {
        "host" => {
            let help = "write it as `host`, beside `headers`";
            Err(Wrong::new("the host has a key of its own", help))
        }
        _ => changeable(text),
    }
}

/// Whether a header is about this connection or about where a message ends, or
/// is `Host`.
pub(super) fn frames(name: &HeaderName) -> bool {
    FRAMING.contains(&name.as_str())
}

/// Headers that the gateway writes from what trusted proxies say and from what
/// it knows itself.
///
/// A peer that is not trusted could claim any address in them.
const WRITTEN: [&str; 4] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// The header in which trusted proxies name the client. Any but the two that
/// list hops holds one address.
///
/// # Errors
/// As [`name`]; a header that says something else to the gateway; a slip of the
/// pen in the name of one of the two.
pub(in crate::config) fn client(text: &str) -> Result<ClientIpHeader, Wrong> {
    const HOPS: [&str; 2] = ["x-forwarded-for", "forwarded"];
    let name = name(text)?;
    match name.as_str() {
        "x-forwarded-for" => return Ok(ClientIpHeader::Hops(HopsField::XForwardedFor)),
        "forwarded" => return Ok(ClientIpHeader::Hops(HopsField::Forwarded)),
        other if WRITTEN.contains(&other) || FRAMING.contains(&other) => {
            let help = "write \"x-forwarded-for\", \"forwarded\", or a field with one address such as \"cf-connecting-ip\"";
            return Err(Wrong::new("this header names no client", help));
        }
        _ => {}
    }
    if let Some(right) = suggest::close(&name.as_str().replace('_', "-"), &HOPS) {
        let help = format!("did you mean \"{right}\"?");
        return Err(Wrong::new("no proxy names the client there", help));
    }
    Ok(ClientIpHeader::Single(name))
}

/// A header that may be passed on from peers that are not trusted.
///
/// # Errors
/// As [`name`], and one of [`WRITTEN`].
pub(in crate::config) fn kept(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    if WRITTEN.contains(&name.as_str()) {
        let help = "leave it out; whom to believe in it is said by `[client_ip] trusted_proxies`";
        return Err(Wrong::new("the gateway writes this header itself", help));
    }
    Ok(name)
}

/// The value of a header (RFC 9110, 5.5): visible characters, spaces and tabs,
/// with no space at its ends.
///
/// Line breaks are refused with all other control characters: a value from a
/// file cannot begin a second header.
///
/// # Errors
/// Another character, or blanks at an end: recipients drop those, and two
/// values that look different in the file would be equal on the wire.
pub(in crate::config) fn value(text: &str) -> Result<HeaderValue, Wrong> {
    let help = "write printable ASCII characters";
    let value = HeaderValue::from_str(text);
    let value = value.map_err(|_| Wrong::new("it cannot be sent in a header", help))?;
    if text.trim() != text {
        let why = "spaces at the ends of a header are lost on the way";
        return Err(Wrong::new(why, "take them off"));
    }
    Ok(value)
}

/// A method: case matters, the usual ones are upper case.
///
/// # Errors
/// A usual method in other letters than capitals, and a text that is no token.
pub(in crate::config) fn method(text: &str) -> Result<Method, Wrong> {
    let upper = text.to_ascii_uppercase();
    if upper != text && METHODS.contains(&upper.as_str()) {
        let help = format!("write \"{upper}\"");
        return Err(Wrong::new("methods are upper case", help));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("it is not a method", "write one such as \"GET\""))
}

/// `"connect"`, `"reset"`, `"timeout"`, or a status such as `"503"`: one outcome
/// that is retried. Classes of statuses have some that no retry helps.
///
/// # Errors
/// Anything else, and statuses below 400 or above 599.
pub(in crate::config) fn retry_reason(text: &str) -> Result<Failures, Wrong> {
    if text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with('x') {
        return failure(text);
    }
    way_to_fail(text).ok_or_else(|| match text.as_bytes() {
        [b'0'..=b'9', ..] => Wrong::new(NO_STATUS, STATUS_HELP),
        _ => no_failure(text, "it is nothing to retry on", "\"503\""),
    })
}

/// `"connect"`, `"reset"`, `"timeout"`, a status such as `"503"` or a class such
/// as `"5xx"`: one outcome that counts against a server.
///
/// # Errors
/// Anything else, and statuses below 400 or above 599.
pub(in crate::config) fn failure(text: &str) -> Result<Failures, Wrong> {
    if let Some(way) = way_to_fail(text) {
        return Ok(way);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        let why = "it is no failure of a server";
        return Err(no_failure(text, why, "\"503\" or \"5xx\""));
    }
    let statuses = failed_statuses(text).map_err(|wrong| match text.ends_with('x') {
        true => wrong,
        false => Wrong::new(wrong.why, STATUS_HELP),
    })?;
    Ok(Failures {
        statuses: [statuses].into_iter().collect(),
        ..Failures::default()
    })
}

/// The reason why a text is refused as a status.
const NO_STATUS: &str = "it is not an HTTP status";
/// Help for a number that is no status.
const STATUS_HELP: &str = "write one from \"400\" to \"599\"";

/// A failure that is no status, by its word.
fn way_to_fail(text: &str) -> Option<Failures> {
    let mut way = Failures::default();
    match text {
        "connect" => way.connect = true,
        "reset" => way.reset = true,
        "timeout" => way.timeout = true,
        _ => return None,
    }
    Some(way)
}

/// The refusal of a word that is none of [`way_to_fail`].
fn no_failure(text: &str, why: &str, statuses: &str) -> Wrong {
    let near = suggest::nearest(text, &["connect", "reset", "timeout"]);
    let help = format!("write \"connect\", \"reset\", \"timeout\" or a status such as {statuses}");
    Wrong::new(why, help).or_meant(near)
}

/// `"503"`, `"4xx"`: statuses from 400 to 599, with which a request has failed.
///
/// # Errors
/// Anything else, such as the statuses of a service that works.
pub(in crate::config) fn failed_statuses(text: &str) -> Result<Statuses, Wrong> {
    let found = statuses(text)?;
    if found.first < 400 {
        let why = "a request with such an answer has not failed";
        let help = "write one such as \"503\", or \"5xx\" for all from 500 to 599";
        return Err(Wrong::new(why, help));
    }
    Ok(found)
}

/// `"401"`, `"5xx"`: statuses from 200 to 599. Those below end no exchange.
///
/// # Errors
/// Anything else.
///
/// The statuses are a range with both ends included. A single status is a range
/// of one, and a class such as `"5xx"` a range of a hundred, so that the code
/// that looks at responses compares two numbers and knows no classes.
///
/// Informational statuses (1xx, RFC 9110, section 15.2) are refused, because
/// they are interim: a final response follows.
pub(in crate::config) fn statuses(text: &str) -> Result<Statuses, Wrong> {
    let help = "write one such as \"401\", or \"5xx\" for all from 500 to 599";
    let bounds = ["0", "9"].map(|digit| text.replace('x', digit).parse());
    match (text.as_bytes(), bounds) {
        (
            [b'2'..=b'5', b'x', b'x'] | [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'],
            [Ok(first), Ok(last)],
        ) => Ok(Statuses { first, last }),
        _ => Err(Wrong::new(NO_STATUS, help)),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

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
        let on = retry_reason("503").unwrap();
        assert!(on.statuses.contains(StatusCode::SERVICE_UNAVAILABLE) && !on.connect);
        for text in ["5xx", "99", "200", "304", "600", "conect", ""] {
            assert!(retry_reason(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_fails_by_a_word_a_status_or_a_class() {
        assert!(failure("timeout").unwrap().timeout);
        let on = failure("5xx").unwrap().statuses;
        assert!(on.contains(StatusCode::BAD_GATEWAY) && !on.contains(StatusCode::NOT_FOUND));
        assert!(
            failure("429")
                .unwrap()
                .statuses
                .contains(StatusCode::TOO_MANY_REQUESTS)
        );
        for (text, help) in [
            ("conect", "did you mean \"connect\"?"),
            ("600", "write one from \"400\" to \"599\""),
            ("200", "write one from \"400\" to \"599\""),
            (
                "3xx",
                "write one such as \"503\", or \"5xx\" for all from 500 to 599",
            ),
            (
                "6xx",
                "write one such as \"401\", or \"5xx\" for all from 500 to 599",
            ),
            (
                "",
                "write \"connect\", \"reset\", \"timeout\" or a status such as \"503\" or \"5xx\"",
            ),
        ] {
            assert_eq!(failure(text).unwrap_err().help, help, "{text}");
        }
    }

    #[test]
    fn a_status_is_a_number_or_a_class() {
        assert_eq!(
            statuses("401").unwrap(),
            Statuses {
                first: 401,
                last: 401
            }
        );
        assert_eq!(
            statuses("5xx").unwrap(),
            Statuses {
                first: 500,
                last: 599
            }
        );
        for text in [
            "",
            "xx",
            "1xx",
            "6xx",
            "4XX",
            "99",
            "600",
            "+401",
            "0401",
            "4x",
            "\u{663}01",
        ] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }
}

//! gRPC calls: the timeout in the head of a call, and the statuses of gRPC and
//! HTTP that stand for each other.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> is the
//! protocol.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderName, StatusCode, header};

use crate::message::{FieldName, Headers};

/// The header that says how long a call may take.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The header or trailer that says how a call ended.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The header that says after how many milliseconds a failed call may be tried
/// again.
pub const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The type of calls whose messages are protobuf.
pub const CONTENT_TYPE: &str = "application/grpc";

/// A gRPC call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grpc {
    /// How long the client waits, from when it sent the call; `None`: for ever.
    pub timeout: Option<Duration>,
}

impl Grpc {
    /// The call that a request with these headers is, if it is one. Only
    /// HTTP/2 carries calls: do not ask for requests of other versions.
    pub fn of(headers: &Headers) -> Option<Self> {
        let kind = headers.get(&header::CONTENT_TYPE)?;
        Self::is_type(kind).then(|| Self {
            timeout: headers
                .known(FieldName::GrpcTimeout)
                .next()
                .and_then(parse_timeout),
        })
    }

    /// Whether a `Content-Type` is that of a call. gRPC-Web is another protocol,
    /// with a name that begins so.
    #[inline]
    pub fn is_type(kind: &[u8]) -> bool {
        let behind = kind.strip_prefix(CONTENT_TYPE.as_bytes());
        matches!(behind, Some([] | [b'+' | b';' | b' ', ..]))
    }

    /// The rest of the client's time after `spent`, in the form in which
    /// `grpc-timeout` carries it to the next hop; `None` if the client waits for
    /// ever.
    pub fn left(self, spent: Duration) -> Option<String> {
        Some(write_timeout(self.timeout?.saturating_sub(spent)))
    }
}

/// Reads at most eight digits and a unit. A value that cannot be read bounds
/// nothing.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// In the finest unit that eight digits are enough for, rounded down: no hop
/// gains time.
fn write_timeout(time: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let seconds = u128::from(time.as_secs());
    let units = [
        (time.as_nanos(), 'n'),
        (time.as_micros(), 'u'),
        (time.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
        (seconds / 3600, 'H'),
    ];
    let (count, unit) = units
        .into_iter()
        .find(|(count, _)| *count <= MOST)
        .unwrap_or((MOST, 'H'));
    format!("{count}{unit}")
}

/// The gRPC status of a response that the gateway makes, by its HTTP status.
pub fn code_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        // CANCELLED
        499 => 1,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 429 => 8,
        // UNIMPLEMENTED
        404 => 12,
        // INTERNAL
        400 | 414 | 421 | 431 | 500 => 13,
        // UNAVAILABLE
        502 | 503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // UNKNOWN
        _ => 2,
    }
}

/// The status of HTTP that a failed call counts as, where failures are listed
/// by it.
pub fn status_for(code: &[u8]) -> Option<StatusCode> {
    Some(match code {
        b"4" => StatusCode::GATEWAY_TIMEOUT,
        b"8" => StatusCode::TOO_MANY_REQUESTS,
        b"12" => StatusCode::NOT_FOUND,
        b"13" => StatusCode::INTERNAL_SERVER_ERROR,
        b"14" => StatusCode::SERVICE_UNAVAILABLE,
        _ => return None,
    })
}

/// A text as `grpc-message` spells it: printable ASCII, the rest and `%` as
/// escapes.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'%' | ..b' ' | 0x7f.. => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grpc(kind: &'static str, timeout: &'static str) -> Option<Grpc> {
        let headers = [("content-type", kind), ("grpc-timeout", timeout)];
        Grpc::of(&headers.into_iter().collect())
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (kind, is_call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(grpc(kind, "1S").is_some(), is_call, "{kind}");
        }
    }

    #[test]
    fn a_timeout_has_up_to_eight_digits_and_a_unit() {
        for (text, time) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30S", Some(Duration::from_secs(30))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("5n", Some(Duration::from_nanos(5))),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(
                grpc("application/grpc", text).unwrap().timeout,
                time,
                "{text}"
            );
        }
    }

    #[test]
    fn a_message_is_printable() {
        assert_eq!(
            message("a b\"c\" 100% \u{e9}\n"),
            "a b\"c\" 100%25 %C3%A9%0A"
        );
    }

    proptest! {
        #[test]
        fn nobody_gains_time_and_hardly_any_is_lost(count in 0_u64..=99_999_999, unit in "[HMSmun]", spent in 0_u64..1_000_000_000) {
            let timeout = parse_timeout(format!("{count}{unit}").as_bytes()).unwrap();
            let left = timeout.saturating_sub(Duration::from_nanos(spent));
            let told = parse_timeout(write_timeout(left).as_bytes()).unwrap();
            prop_assert!(told <= left);
            prop_assert!(left - told <= left / 1_000 + Duration::from_nanos(1));
        }
    }
}

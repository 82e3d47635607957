//! Writing heads: status line, fields, and which fields end at a hop.

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The words that RFC 9110 has for a status, or the registry of HTTP statuses; `None` for one that neither knows.
pub fn reason(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Content Too Large"),
        StatusCode::UNPROCESSABLE_ENTITY => Some("Unprocessable Content"),
        status => status.canonical_reason(),
    }
}

/// Writes `HTTP/1.1 200 OK` and its line end; `words` stand in place of the usual ones.
pub fn write_status_line(out: &mut Vec<u8>, status: StatusCode, words: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(
        words
            .or_else(|| reason(status))
            .unwrap_or_default()
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
}

/// Writes one header line.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a `date` line with the current time.
pub fn write_date(out: &mut Vec<u8>) {
    with_date(|text| write_field(out, "date", text.as_bytes()));
}

/// The current time as the value of `Date`.
pub fn date() -> HeaderValue {
    with_date(|text| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
}

/// Formatted once a second and thread.
fn with_date<T>(of: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static TODAY: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    TODAY.with_borrow_mut(|(at, text)| {
        if *at != second || text.is_empty() {
            *at = second;
            *text = httpdate::fmt_http_date(now);
        }
        of(text)
    })
}

/// Fields that speak of this connection only and are never passed on (RFC 9110, 7.6.1); `Connection` may name more.
pub const HOP_BY_HOP: [&[u8]; 10] = [
    b"connection",
    b"transfer-encoding",
    b"te",
    b"upgrade",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"keep-alive",
    b"proxy-connection",
    b"http2-settings",
    b"proxy-authentication-info",
];

/// Whether a field speaks of this connection only.
#[inline]
pub fn hop_by_hop(name: &[u8]) -> bool {
    // Lengths and first letters tell them from nearly all others.
    let may_be = match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
        (2 | 17, first) => first == b't',
        (7, first) => first == b'u',
        (10, first) => matches!(first, b'c' | b'k'),
        (14, first) => first == b'h',
        (16 | 18 | 19 | 25, first) => first == b'p',
        _ => false,
    };
    may_be && is_listed(name)
}

fn is_listed(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

/// The fields that a message's own `Connection` names, which makes them hop-by-hop too: read once, then compared.
#[derive(Debug)]
pub struct Hops<'m>(Vec<&'m [u8]>);

impl<'m> Hops<'m> {
    /// Those that a message's fields name; `names_any` says whether there are any, so that nearly no message is looked
    /// through.
    pub fn of(headers: &'m HeaderMap, names_any: bool) -> Self {
        if !names_any {
            return Self(Vec::new());
        }
        Self(
            headers
                .get_all(header::CONNECTION)
                .iter()
                .flat_map(|value| options(value.as_bytes()))
                .collect(),
        )
    }

    /// The same for lines as they were read, each a name and a value.
    pub(super) fn among<'l: 'm>(lines: impl Iterator<Item = (&'l str, &'l [u8])>) -> Self {
        let is_connection =
            |(name, _): &(&str, &[u8])| name.eq_ignore_ascii_case(header::CONNECTION.as_str());
        Self(
            lines
                .filter(is_connection)
                .flat_map(|(_, value)| options(value))
                .collect(),
        )
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether this field is one of them.
    pub fn names(&self, field: &str) -> bool {
        self.0
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field.as_bytes()))
    }
}

/// The members of a `Connection` field's list, empty ones too.
pub(super) fn options(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_hop_is_known_in_any_case() {
        for name in HOP_BY_HOP {
            assert!(
                hop_by_hop(name) && hop_by_hop(&name.to_ascii_uppercase()),
                "{}",
                String::from_utf8_lossy(name)
            );
        }
        assert!(!hop_by_hop(b"user-agent") && !hop_by_hop(b"te2") && !hop_by_hop(b""));
    }
}

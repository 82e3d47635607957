//! Writing heads: the status line, fields, and which fields are hop-by-hop.

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The reason phrase of a status in RFC 9110 or in the registry of HTTP
/// statuses; `None` if neither has it.
pub fn reason(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Content Too Large"),
        StatusCode::UNPROCESSABLE_ENTITY => Some("Unprocessable Content"),
        status => status.canonical_reason(),
    }
}

/// Writes a status line such as `HTTP/1.1 200 OK` with its line end; `words`
/// replace the usual reason phrase.
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

/// The date, formatted once in a second on each thread.
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

/// Hop-by-hop fields, which concern this connection only and are never passed
/// on (RFC 9110, 7.6.1). `Connection` may name more.
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

/// Whether a field is hop-by-hop.
#[inline]
pub fn hop_by_hop(name: &[u8]) -> bool {
    // Lengths and first letters distinguish them from nearly all others.
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

/// The fields that the `Connection` of a message names, which are hop-by-hop,
/// too. They are read once, then compared.
#[derive(Debug)]
pub struct Hops<'m>(Vec<&'m [u8]>);

impl<'m> Hops<'m> {
    /// The fields that the `Connection` fields among `headers` name. With
    /// `names_any` false there are none, and nothing is searched; so it is for
    /// nearly all messages.
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

    /// The fields that the `Connection` lines among `lines` name, each line
    /// being a name and a value.
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

    /// Whether any field is named.
    pub fn are_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether this field is named.
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

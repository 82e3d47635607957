//! Header lines as a map of the `http` crate, for HTTP/2 and for layers of
//! other crates.
//!
//! # Cost
//!
//! A map has a name and a value for each line, and a hash. Values share the
//! memory of the lines. Names that the gateway writes itself are constants, so
//! that they are neither copied nor checked.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::names::{FieldName, NameSet};

/// Fields whose values nearly never occur twice.
///
/// HTTP/2 sends a field that both sides remember as one number (HPACK, RFC
/// 7541). Remembering one of these would only drive out another that does occur
/// again, and finding places for both costs a request 2,300 instructions more
/// than sending them.
const UNREPEATED: NameSet = NameSet::of(&[FieldName::RateLimit, FieldName::XRequestId]);

/// Header lines as a map whose values share their memory, without the fields in
/// `held`.
pub fn to_map(lines: &Bytes, held: NameSet) -> HeaderMap {
    // The usual number of lines with room for some more.
    let mut map = HeaderMap::with_capacity(16);
    let mut rest = &lines[..];
    while let Some(line_end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(line_end + 1);
        rest = behind;
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let field = FieldName::of(name);
        if !held.has(field) {
            append(&mut map, field, name, lines.slice_ref(value));
        }
    }
    map
}

/// Appends a field whose `name`, a token, is classified as `field`. The parser,
/// or the code that wrote the line, has checked both name and value.
pub(super) fn append(map: &mut HeaderMap, field: FieldName, name: &[u8], value: Bytes) {
    let name = match constant(field) {
        Some(name) => Ok(name),
        None => HeaderName::from_bytes(name),
    };
    let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_maybe_shared(value)) else {
        return;
    };
    // The way in which h2 is told that a value is not worth remembering.
    value.set_sensitive(UNREPEATED.has(field));
    map.append(name, value);
}

/// The name of a field that many requests and responses have, among those that
/// are classified.
fn constant(field: FieldName) -> Option<HeaderName> {
    const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
    const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    Some(match field {
        FieldName::Date => header::DATE,
        FieldName::Forwarded => header::FORWARDED,
        FieldName::Host => header::HOST,
        FieldName::RateLimit => RATELIMIT,
        FieldName::RateLimitPolicy => RATELIMIT_POLICY,
        FieldName::UserAgent => header::USER_AGENT,
        FieldName::Via => header::VIA,
        FieldName::XForwardedFor => X_FORWARDED_FOR,
        FieldName::XForwardedHost => X_FORWARDED_HOST,
        FieldName::XForwardedProto => X_FORWARDED_PROTO,
        FieldName::XRequestId => X_REQUEST_ID,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &'static str, held: NameSet) -> Vec<(String, String, bool)> {
        let map = to_map(&Bytes::from_static(lines.as_bytes()), held);
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let text = value.to_str().unwrap().to_owned();
            (name.to_string(), text, value.is_sensitive())
        };
        map.iter().map(field).collect()
    }

    fn plain(name: &str, value: &str) -> (String, String, bool) {
        (name.to_owned(), value.to_owned(), false)
    }

    #[test]
    fn a_map_has_the_same_fields_in_lower_case() {
        assert_eq!(
            map("X-A: 1: 2\r\nb: \r\nx-a: 3\r\n", NameSet::default()),
            [plain("x-a", "1: 2"), plain("x-a", "3"), plain("b", "")]
        );
    }

    #[test]
    fn fields_that_are_held_are_in_no_map() {
        let held = NameSet::of(&[FieldName::Host]);
        let lines = "host: a.example\r\nHOST: b.example\r\nhosts: 1\r\n";
        assert_eq!(map(lines, held), [plain("hosts", "1")]);
    }

    #[test]
    fn values_that_occur_once_are_not_remembered() {
        let lines = "RateLimit: a\r\nX-Request-Id: 7\r\nratelimit-policy: b\r\n";
        let remembered: Vec<_> = map(lines, NameSet::default())
            .into_iter()
            .filter(|(.., is_sensitive)| !is_sensitive)
            .collect();
        assert_eq!(remembered, [plain("ratelimit-policy", "b")]);
    }

    #[test]
    fn a_constant_is_the_name_that_stands_for_it() {
        let lines = "date: 1\r\nforwarded: 1\r\nhost: 1\r\nratelimit-policy: 1\r\n\
            user-agent: 1\r\nvia: 1\r\nx-forwarded-for: 1\r\nx-forwarded-host: 1\r\n\
            x-forwarded-proto: 1\r\n";
        let names = lines
            .lines()
            .map(|line| plain(&line[..line.len() - 3], "1"));
        assert!(names.eq(map(lines, NameSet::default())));
    }
}

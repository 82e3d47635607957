//! What an answer says of its limits: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11, and
//! `X-RateLimit-*` for clients of before.
//!
//! Only the limit nearest to exhaustion is told. What a backend says of limits of its own is never taken away: the lists
//! of the draft get one member more, and the older fields, which hold one number each, keep the tighter one.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    call::{Nearest, Told},
    error::Error,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Says how the limit called `name` stands.
pub(super) fn tell(headers: &mut HeaderMap, told: Told, name: &str, state: &Nearest) {
    if told.draft {
        let name = unlike(headers, name);
        let policy = item(&name, &[(";q=", state.burst.into()), (";w=", seconds(state.fill).max(1))]);
        let next = seconds(state.next);
        // A full bucket has no more to come.
        let parameters = [(";r=", state.remaining.into()), (";t=", next)];
        let limit = item(&name, if next == 0 { &parameters[..1] } else { &parameters });
        append(headers, policy, limit);
    }
    if told.x_ratelimit && !is_tighter(headers, state.remaining) {
        headers.insert(X_LIMIT, HeaderValue::from(state.burst));
        headers.insert(X_REMAINING, HeaderValue::from(state.remaining));
        headers.insert(X_RESET, HeaderValue::from(seconds(state.reset)));
    }
}

/// Says which cap on requests in flight turned a request away, if that is what happened.
pub(super) fn tell_cap(headers: &mut HeaderMap, told: Told, name: &str, error: &Error) -> bool {
    let Error::CapReached { max, .. } = error else { return false };
    if told.draft {
        let mut policy = item(name, &[(";q=", *max as u64)]);
        policy.extend_from_slice(b";qu=\"concurrent-requests\"");
        append(headers, policy, item(name, &[(";r=", 0)]));
    }
    true
}

/// One member of the lists: a name and its parameters (RFC 9651, 3.1). Names of limits need no escape.
fn item(name: &str, parameters: &[(&str, u64)]) -> Vec<u8> {
    let mut item = Vec::with_capacity(64);
    item.push(b'"');
    item.extend_from_slice(name.as_bytes());
    item.push(b'"');
    let mut digits = itoa::Buffer::new();
    for (parameter, value) in parameters {
        item.extend_from_slice(parameter.as_bytes());
        item.extend_from_slice(digits.format(*value).as_bytes());
    }
    item
}

fn append(headers: &mut HeaderMap, policy: Vec<u8>, limit: Vec<u8>) {
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
            headers.append(name, value);
        }
    }
}

/// The name, unless a backend uses it too: two members of one name could not be told apart.
fn unlike<'a>(headers: &HeaderMap, name: &'a str) -> std::borrow::Cow<'a, str> {
    let quoted = || format!("\"{name}\"");
    let mut said = headers.get_all(POLICY).into_iter().chain(headers.get_all(LIMIT)).peekable();
    let is_taken = said.peek().is_some()
        && said.any(|value| memchr::memmem::find(value.as_bytes(), quoted().as_bytes()).is_some());
    if is_taken { format!("gateway:{name}").into() } else { name.into() }
}

/// Whether a backend has said already that no more than `remaining` are left, or something that is no number.
fn is_tighter(headers: &HeaderMap, remaining: u32) -> bool {
    headers.get(X_REMAINING).is_some_and(|said| {
        said.to_str().ok().and_then(|said| said.trim().parse::<u64>().ok()).is_none_or(|said| said <= remaining.into())
    })
}

/// Rounded up: who waits so long does not come too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Told = Told { draft: true, x_ratelimit: true };

    fn state(remaining: u32) -> Nearest {
        let ms = Duration::from_millis;
        let (fill, next, reset) = (ms(5000), ms(1), ms(1500));
        Nearest { index: 0, remaining, burst: 10, fill, next, reset, key: 7 }
    }

    fn said<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn quota_window_rest_and_wait_are_told_in_whole_seconds_rounded_up() {
        let mut headers = HeaderMap::new();
        tell(&mut headers, BOTH, "per-client", &state(6));
        assert_eq!(said(&headers, &POLICY), ["\"per-client\";q=10;w=5"]);
        assert_eq!(said(&headers, &LIMIT), ["\"per-client\";r=6;t=1"]);
        assert_eq!([X_LIMIT, X_REMAINING, X_RESET].map(|name| said(&headers, &name)), [["10"], ["6"], ["2"]]);
    }

    #[test]
    fn what_a_backend_says_stays_beside_it() {
        let mut headers = HeaderMap::from_iter([
            (POLICY, HeaderValue::from_static("\"daily\";q=9;w=86400")),
            (LIMIT, HeaderValue::from_static("\"daily\";r=2;t=60")),
        ]);
        tell(&mut headers, BOTH, "per-client", &state(6));
        assert_eq!(said(&headers, &POLICY), ["\"daily\";q=9;w=86400", "\"per-client\";q=10;w=5"]);
        assert_eq!(said(&headers, &LIMIT), ["\"daily\";r=2;t=60", "\"per-client\";r=6;t=1"]);
        let mut headers = HeaderMap::from_iter([(LIMIT, HeaderValue::from_static("\"daily\";r=2"))]);
        tell(&mut headers, BOTH, "daily", &state(6));
        assert_eq!(said(&headers, &LIMIT), ["\"daily\";r=2", "\"gateway:daily\";r=6;t=1"]);
    }

    #[test]
    fn of_two_old_fields_the_tighter_one_is_told() {
        for (backend, told) in [("5", "5"), ("6", "6"), ("7", "6"), ("many", "many")] {
            let mut headers = HeaderMap::from_iter([(X_REMAINING, HeaderValue::from_static(backend))]);
            tell(&mut headers, BOTH, "l", &state(6));
            assert_eq!(said(&headers, &X_REMAINING), [told]);
        }
    }

    #[test]
    fn a_cap_tells_its_unit() {
        let mut headers = HeaderMap::new();
        assert!(tell_cap(&mut headers, BOTH, "orders", &Error::CapReached { max: 64, queue: 0 }));
        assert_eq!(said(&headers, &POLICY), ["\"orders\";q=64;qu=\"concurrent-requests\""]);
        assert_eq!(said(&headers, &LIMIT), ["\"orders\";r=0"]);
    }
}

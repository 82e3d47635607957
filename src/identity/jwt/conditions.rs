//! The conditions on the claims of a token (RFC 7519, 4.1).
//!
//! They are cheap, and are checked before the signature: a token that would be
//! refused in any case costs no signature check.
//!
//! Times are seconds since 1970, as integers or fractions. Other types are
//! refused, also a number in a string. `exp` is required: a token that never
//! ends cannot be taken back.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::rejected::Rejected;
use crate::policy::Jwt;

/// The time that is left of a token whose claims meet all conditions, the
/// leeway included. `now` is the time since 1970.
///
/// # Errors
/// One of them is not met.
pub(super) fn check(
    policy: &Jwt,
    claims: &Map<String, Value>,
    now: Duration,
) -> Result<Duration, Rejected> {
    let (now, leeway) = (now.as_secs_f64(), policy.leeway.as_secs_f64());
    let Some(expires) = time(claims, "exp")? else {
        return Err(Rejected::new("it has no time of expiry (exp)"));
    };
    let left = expires + leeway - now;
    if left <= 0.0 {
        return Err(Rejected::new("it has expired"));
    }
    let is_ahead = |time: f64| time > now + leeway;
    if time(claims, "nbf")?.is_some_and(is_ahead) {
        return Err(Rejected::new("it is not valid yet (nbf)"));
    }
    if time(claims, "iat")?.is_some_and(is_ahead) {
        return Err(Rejected::new("it was issued in the future (iat)"));
    }
    if let Some(issuer) = &policy.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(Rejected::new("its issuer is another one (iss)"));
    }
    if !policy.audience.is_empty() && !is_for(&policy.audience, claims.get("aud")) {
        return Err(Rejected::new("it is for another audience (aud)"));
    }
    Ok(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
}

/// The time that a claim says; `None` if there is none.
///
/// # Errors
/// It is no number.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Rejected> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let time = value.as_f64().filter(|time| time.is_finite());
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(Rejected::new("one of its times is not a number")),
    }
}

/// Whether `aud`, a text or a list of texts, has one of these values.
fn is_for(audience: &[Box<str>], aud: Option<&Value>) -> bool {
    let is_ours = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| audience.iter().any(|one| **one == *text))
    };
    match aud {
        Some(Value::Array(items)) => items.iter().any(is_ours),
        Some(value) => is_ours(value),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::policy::{Algorithm, KeySet, TokenKeys};

    const NOW: u64 = 1_800_000_000;

    fn policy() -> Jwt {
        Jwt {
            keys: TokenKeys::Fixed(Arc::new(KeySet::of_secret(b"s"))),
            algorithms: vec![Algorithm::Hs256],
            issuer: None,
            audience: Vec::new(),
            id: "sub".into(),
            leeway: Duration::from_secs(30),
        }
    }

    fn checked(policy: &Jwt, claims: Value) -> Result<Duration, &'static str> {
        let Value::Object(mut claims) = claims else {
            unreachable!("an object");
        };
        claims.entry("exp").or_insert(json!(NOW + 60));
        check(policy, &claims, Duration::from_secs(NOW)).map_err(|rejected| rejected.why)
    }

    #[test]
    fn a_token_ends_with_its_expiry_and_the_leeway() {
        for (exp, left) in [
            (json!(NOW + 60), Some(90.0)),
            (json!(NOW), Some(30.0)),
            (json!(NOW - 29), Some(1.0)),
            (json!(NOW as f64 - 29.5), Some(0.5)),
            (json!(NOW - 30), None),
            (json!(NOW - 31), None),
            (json!(0), None),
            (json!(-1), None),
            (json!(-1e300), None),
            (json!(u64::MAX), Some(u64::MAX as f64 - NOW as f64 + 30.0)),
            (json!(1e300), Some(Duration::MAX.as_secs_f64())),
        ] {
            let found = checked(&policy(), json!({ "exp": exp.clone() }));
            match left {
                Some(left) => assert_eq!(found.unwrap().as_secs_f64(), left, "{exp}"),
                None => assert_eq!(found, Err("it has expired"), "{exp}"),
            }
        }
    }

    #[test]
    fn times_are_numbers_and_an_expiry_is_required() {
        let none = check(&policy(), &Map::new(), Duration::from_secs(NOW));
        assert_eq!(none.unwrap_err().why, "it has no time of expiry (exp)");
        for value in [
            json!("9999999999"),
            json!(null),
            json!([9e9]),
            json!(true),
            json!({}),
        ] {
            for name in ["exp", "nbf", "iat"] {
                let found = checked(&policy(), json!({ name: value.clone() }));
                assert_eq!(found, Err("one of its times is not a number"), "{name}");
            }
        }
    }

    #[test]
    fn a_token_of_the_future_is_refused_beyond_the_leeway() {
        for name in ["nbf", "iat"] {
            assert!(checked(&policy(), json!({ name: NOW + 30 })).is_ok());
            assert!(checked(&policy(), json!({ name: NOW + 31 })).is_err());
            assert!(checked(&policy(), json!({ name: 1e300 })).is_err());
            assert!(checked(&policy(), json!({ name: -1e300 })).is_ok());
        }
    }

    #[test]
    fn the_issuer_is_exactly_the_configured_one() {
        let policy = Jwt {
            issuer: Some("https://idp".into()),
            ..policy()
        };
        assert!(checked(&policy, json!({ "iss": "https://idp" })).is_ok());
        for iss in [
            json!("https://idp/"),
            json!("HTTPS://idp"),
            json!(["https://idp"]),
            json!(null),
        ] {
            assert!(checked(&policy, json!({ "iss": iss })).is_err());
        }
        assert!(checked(&policy, json!({})).is_err());
    }

    #[test]
    fn one_of_the_audiences_of_a_token_is_one_of_the_configured_ones() {
        let policy = Jwt {
            audience: vec!["orders".into(), "b".into()],
            ..policy()
        };
        for aud in [
            json!("orders"),
            json!("b"),
            json!(["x", "orders"]),
            json!([7, "b"]),
        ] {
            assert!(
                checked(&policy, json!({ "aud": aud.clone() })).is_ok(),
                "{aud}"
            );
        }
        for aud in [
            json!("Orders"),
            json!("orders b"),
            json!([]),
            json!(null),
            json!({ "orders": 1 }),
            json!([["orders"]]),
        ] {
            assert!(
                checked(&policy, json!({ "aud": aud.clone() })).is_err(),
                "{aud}"
            );
        }
        assert!(checked(&policy, json!({})).is_err());
    }
}

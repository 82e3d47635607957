//! `/limits/NAME/top` lists the keys with the most requests of a limit.
//! `/limits/NAME/keys` shows one key, fills its bucket, or gives it another
//! quota for a while.
//!
//! Values of keys are shown as far as [`Sight`] allows, and never logged: the
//! log has the keyed hash, as access lines do, so that a change can be found
//! beside the requests that it affects.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{
    guard::{Caller, Sight},
    response::{Response, json, problem},
};
use crate::{
    build::{KeyState, KnownKey, OneLimit, State},
    config::{rate_text, read_duration, read_rate},
    duration,
    limit::{Clock, Part, TemporaryError},
    policy::Quota,
};

/// Keys that `top` shows without `n`.
const SHOWN: usize = 20;
/// Most keys that `top` shows.
const MOST_SHOWN: usize = 1000;
/// Longest time for which a key can have another quota; a lasting one belongs
/// in the configuration.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why a call failed.
struct Refused {
    /// The status of the response.
    status: StatusCode,
    /// A sentence for the caller.
    why: String,
}

impl From<String> for Refused {
    /// A mistake in the call: status 400.
    fn from(why: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            why,
        }
    }
}

/// The fields of a `PUT`.
const FIELDS: [&str; 3] = ["rate", "burst", "ttl"];

/// `GET /limits/NAME/top?n=20`: the keys with the most requests, the heaviest
/// first. For a shared limit, the state of each is read from the store, for at
/// most a second.
pub(super) async fn top(state: &State, sight: Sight, name: &str, query: &str) -> Response {
    match limit(state, name).and_then(|limit| Ok((limit, how_many(query)?))) {
        Ok((limit, most)) => {
            let keys = limit.heaviest(Clock.now(), most).await;
            json(
                StatusCode::OK,
                &keys.iter().map(|state| shown(state, sight)).collect(),
            )
        }
        Err(Refused { status, why }) => problem(status, &why),
    }
}

/// A call of `/limits/NAME/keys`.
pub(super) struct KeyCall<'a> {
    /// The two ends of the connection, for the log.
    pub(super) caller: Caller,
    /// How much of the values of keys the caller may see.
    pub(super) sight: Sight,
    /// GET, HEAD, PUT or DELETE.
    pub(super) method: &'a Method,
    /// The name of the limit.
    pub(super) name: &'a str,
    /// The query without the question mark, which names the key.
    pub(super) query: &'a str,
    /// The body of a PUT.
    pub(super) body: &'a [u8],
}

/// `GET`, `PUT` and `DELETE /limits/NAME/keys?key=VALUE`.
pub(super) async fn keys(state: &State, call: KeyCall<'_>) -> Response {
    let KeyCall {
        caller,
        sight,
        method,
        name,
        query,
        body,
    } = call;
    let done = async {
        let limit = limit(state, name)?;
        let key = limit.key(Clock.now(), query.as_bytes())?;
        match *method {
            Method::PUT => give(&limit, caller, name, &key, body)?,
            Method::DELETE => fill(&limit, caller, name, &key).await?,
            _ => {}
        }
        Ok(json(
            StatusCode::OK,
            &shown(&limit.look(Clock.now(), key).await, sight),
        ))
    };
    done.await
        .unwrap_or_else(|Refused { status, why }| problem(status, &why))
}

/// Fills the bucket of a key, and logs it.
///
/// # Errors
/// The store does not respond, or the bucket of a shared limit is known by its
/// hash only.
async fn fill(
    limit: &OneLimit<'_>,
    caller: Caller,
    name: &str,
    key: &KnownKey,
) -> Result<(), Refused> {
    if !limit.reset(Clock.now(), key).await {
        let why = match key.is_hash_only {
            true => {
                "the store holds this bucket, by a name that is not made of the hash: name the key by its values"
            }
            false => "the store, which holds this bucket, does not answer: try again",
        };
        let why = why.to_owned();
        return Err(Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            why,
        });
    }
    tracing::info!(peer = %caller.peer, limit = name, key = %key.key, "a key's bucket is filled");
    Ok(())
}

/// Gives a key another quota for a while, and logs it.
///
/// # Errors
/// The limit is a tier, the body is wrong, or too many keys have another quota.
fn give(
    limit: &OneLimit<'_>,
    caller: Caller,
    name: &str,
    key: &KnownKey,
    body: &[u8],
) -> Result<(), Refused> {
    if !limit.gives() {
        let why = "this is a tier: its networks cannot have numbers of their own".to_owned();
        return Err(Refused {
            status: StatusCode::CONFLICT,
            why,
        });
    }
    let (quota, ttl) = wanted(body)?;
    limit
        .give(Clock.now(), key.key, quota, ttl)
        .map_err(|error| {
            let status = match error {
                TemporaryError::Quota(_) => StatusCode::BAD_REQUEST,
                TemporaryError::Full => StatusCode::INSUFFICIENT_STORAGE,
            };
            Refused {
                status,
                why: error.to_string(),
            }
        })?;
    let (rate, burst) = (rate_text(quota.rate()), quota.burst());
    tracing::info!(peer = %caller.peer, limit = name, key = %key.key, rate, burst, ttl = %duration::text(ttl), "a key has other numbers for a while");
    Ok(())
}

/// The limit of this name, which may be a tier.
///
/// # Errors
/// There is none; the text lists those that exist.
fn limit<'s>(state: &'s State, name: &str) -> Result<OneLimit<'s>, Refused> {
    state.limit(name).ok_or_else(|| {
        let names: Vec<_> = state
            .config
            .limits
            .iter()
            .flat_map(|limit| limit.deciding())
            .collect();
        let known = if names.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", quoted(&names))
        };
        Refused {
            status: StatusCode::NOT_FOUND,
            why: format!("there is no limit `{name}`; {known}"),
        }
    })
}

/// Names in a sentence.
fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The number of keys to show.
///
/// # Errors
/// The query is something else, or the number is out of range.
fn how_many(query: &str) -> Result<usize, String> {
    if query.is_empty() {
        return Ok(SHOWN);
    }
    let number = query
        .strip_prefix("n=")
        .and_then(|number| number.parse().ok());
    number
        .filter(|number| (1..=MOST_SHOWN).contains(number))
        .ok_or_else(|| {
            format!("`{query}`: how many are shown is said by ?n=, from 1 to {MOST_SHOWN}")
        })
}

/// The quota of a `PUT`, and for how long it is given.
///
/// # Errors
/// The body is not such an object. The text shows one that is right.
fn wanted(body: &[u8]) -> Result<(Quota, Duration), String> {
    const EXAMPLE: &str = r#"such as {"rate": "100/s", "burst": 200, "ttl": "10m"}"#;
    let body: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| format!("the body is a JSON object {EXAMPLE} ({error})"))?;
    if let Some(name) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("there is no field `{name}`; the body is {EXAMPLE}"));
    }
    let text = |name: &str| {
        let text = body.get(name).and_then(Value::as_str);
        text.ok_or_else(|| format!("`{name}` is needed, as a string; the body is {EXAMPLE}"))
    };
    let rate = read_rate(text("rate")?).map_err(|why| format!("`rate` cannot be {why}"))?;
    let ttl = read_duration(text("ttl")?).map_err(|why| format!("`ttl` cannot be {why}"))?;
    if ttl.is_zero() || ttl > LONGEST {
        return Err(
            "`ttl` is how long the numbers count: more than nothing, and at most \"30d\""
                .to_owned(),
        );
    }
    let burst = match body.get("burst") {
        None => rate.count,
        Some(burst) => {
            let burst = burst
                .as_u64()
                .and_then(|burst| u32::try_from(burst).ok())
                .and_then(NonZeroU32::new);
            burst.ok_or_else(|| format!("`burst` is a whole number from 1 to {}", u32::MAX))?
        }
    };
    let quota = Quota::new(rate, burst).map_err(|error| error.to_string())?;
    Ok((quota, ttl))
}

/// The state of a key as JSON.
fn shown(state: &KeyState, sight: Sight) -> Value {
    let KeyState {
        key,
        quota,
        bucket,
        count,
        ends_in,
    } = state;
    let until = ends_in.and_then(|left| SystemTime::now().checked_add(left));
    let mut view = json!({
        "key": values(key, sight),
        "hash": key.key.to_string(),
        "rate": quota.map_or_else(|| "unlimited".to_owned(), |quota| rate_text(quota.rate())),
        "burst": quota.map(|quota| quota.burst()),
        "remaining": quota.map(|_| bucket.remaining),
        "reset_seconds": quota.map(|_| whole_seconds(bucket.reset)),
        "admitted": count.admitted,
        "refused": count.refused,
        "until": until.map(|until| humantime::format_rfc3339_seconds(until).to_string()),
    });
    let stand_ins: Vec<_> = (0..key.parts.len())
        .filter(|place| key.parts[*place].is_stand_in)
        .collect();
    if let Some(view) = view.as_object_mut() {
        if !stand_ins.is_empty() {
            view.insert("missing".to_owned(), json!(stand_ins));
        }
        if count.missed > 0 {
            view.insert("missed".to_owned(), json!(count.missed));
        }
    }
    view
}

/// The values of a key's parts as far as they may be seen; `None` if they may
/// not, or are not known.
fn values(key: &KnownKey, sight: Sight) -> Option<Vec<String>> {
    let value = |(part, is_secret): (&Part, &bool)| match *is_secret && sight != Sight::All {
        true => beginning(&part.value),
        false => part.value.clone(),
    };
    let is_shown = sight != Sight::Nothing && !key.is_hash_only;
    is_shown.then(|| key.parts.iter().zip(&key.secrets).map(value).collect())
}

/// Four characters of a value that may be a credential, and never all of it:
/// enough to recognise one's own.
fn beginning(value: &str) -> String {
    const SHOWN: usize = 4;
    let shown = value.chars().count().saturating_sub(1).min(SHOWN);
    value.chars().take(shown).chain(['…']).collect()
}

/// A time in whole seconds, rounded up as in `Retry-After`.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The name of a limit, decoded from its form in a path.
pub(super) fn name(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_put_may_hold_is_told() {
        let why = |body: &str| wanted(body.as_bytes()).unwrap_err();
        assert!(
            wanted(br#"{"rate": "10/s", "ttl": "1h"}"#)
                .is_ok_and(|(quota, _)| quota.burst().get() == 10)
        );
        assert!(why("").contains("JSON object such as"));
        assert!(why("[]").contains("JSON object such as"));
        assert!(why(r#"{"rate": "10/s"}"#).contains("`ttl` is needed"));
        assert!(why(r#"{"rate": 10, "ttl": "1h"}"#).contains("`rate` is needed, as a string"));
        assert!(why(r#"{"rate": "10", "ttl": "1h"}"#).contains("\"10/s\""));
        assert!(why(r#"{"rate": "10/s", "ttl": "1"}"#).contains("\"1s\""));
        assert!(why(r#"{"rate": "10/s", "ttl": "0s"}"#).contains("more than nothing"));
        assert!(why(r#"{"rate": "10/s", "ttl": "31d"}"#).contains("at most"));
        assert!(why(r#"{"rate": "10/s", "ttl": "1h", "burst": 0}"#).contains("from 1"));
        assert!(why(r#"{"rate": "10/s", "ttl": "1h", "brust": 5}"#).contains("no field `brust`"));
    }

    #[test]
    fn of_a_credential_four_characters_are_shown_and_never_all() {
        let shown = ["s3cret-token", "abcd", "a", "äöüßäö"].map(beginning);
        assert_eq!(shown, ["s3cr…", "abc…", "…", "äöüß…"]);
    }

    #[test]
    fn a_name_in_a_path_may_be_escaped() {
        assert_eq!(
            ["a", "a%20b", "a/56", "%", "%zz", "%4"].map(name),
            ["a", "a b", "a/56", "%", "%zz", "%4"]
        );
    }
}

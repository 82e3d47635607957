//! `/limits/NAME/top` lists the keys with the most requests of a limit, or
//! those that it has banned.
//! `/limits/NAME/keys` shows one key, fills its bucket, or gives it another
//! quota for a while.
//!
//! Values of keys are shown as far as [`Sight`] allows, and never logged: the
//! log has the keyed hash, as access lines do.
//!
//! A key is named by its values in the query, one `key=` for each part, or by
//! the hash of an access line (`hash=`). `build::keys` reads it, so that the
//! same text names the same bucket here and in the overrides of the
//! configuration. Keys of a shared limit are looked up in the store, which may
//! take up to a second; a store that does not answer leaves the numbers that
//! this gateway knows.

use std::{num::NonZeroU32, time::Duration};

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{
    guard::{Caller, Sight},
    key_view::KeyView,
    response::{AdminResponse, json, problem},
};
use crate::{
    build::{KnownKey, OneLimit, ResetOutcome, State},
    config::{rate_text, read_duration, read_rate},
    duration,
    limit::{Clock, TemporaryError},
    policy::{Allowance, Quota},
};

/// Keys that `top` shows without `n`: a screenful.
const SHOWN: usize = 20;
/// Most keys that `top` shows; for a shared limit each is a bucket that the
/// store is asked for.
const MOST_SHOWN: usize = 1000;
/// Longest time for which a key can have another quota; a lasting one belongs
/// in the configuration.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why a call failed.
struct CallRefused {
    /// The status of the response.
    status: StatusCode,
    /// A sentence for the caller.
    why: String,
}

impl From<String> for CallRefused {
    /// A mistake in the call: status 400.
    fn from(why: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            why,
        }
    }
}

impl From<TemporaryError> for CallRefused {
    fn from(error: TemporaryError) -> Self {
        let status = match error {
            TemporaryError::Quota(_) | TemporaryError::OtherKind => StatusCode::BAD_REQUEST,
            TemporaryError::Full => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self {
            status,
            why: error.to_string(),
        }
    }
}

/// The fields of a `PUT`.
const FIELDS: [&str; 4] = ["rate", "burst", "in_flight", "ttl"];
/// The body of a `PUT` as texts about mistakes in one describe it.
const EXAMPLE: &str = r#"such as {"rate": "100/s", "burst": 200, "ttl": "10m"}, or {"in_flight": 20, "ttl": "10m"} for a cap"#;

/// `GET /limits/NAME/top?n=20`: the keys with the most requests, the heaviest
/// first; with `banned=true`, the keys that are banned. For a shared limit, the
/// state of each is read from the store, for at most a second.
pub(super) async fn top(state: &State, sight: Sight, name: &str, query: &str) -> AdminResponse {
    match listed(state, sight, name, query).await {
        Ok(views) => json(StatusCode::OK, &views),
        Err(CallRefused { status, why }) => problem(status, &why),
    }
}

async fn listed(
    state: &State,
    sight: Sight,
    name: &str,
    query: &str,
) -> Result<Vec<KeyView>, CallRefused> {
    let limit = limit(state, name)?;
    let (most, now) = (wanted_keys(query)?, Clock.now());
    let keys = match most {
        WantedKeys::Heaviest(most) => limit.heaviest(now, most).await,
        WantedKeys::Banned(most) => limit.banned(now, most).await,
    };
    let mut views = Vec::new();
    for key in keys {
        views.push(KeyView::of(&key, sight));
    }
    Ok(views)
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
pub(super) async fn keys(state: &State, call: KeyCall<'_>) -> AdminResponse {
    match call.carry_out(state).await {
        Ok(view) => json(StatusCode::OK, &view),
        Err(CallRefused { status, why }) => problem(status, &why),
    }
}

impl KeyCall<'_> {
    /// Does what the method says, and describes the key as it is then.
    async fn carry_out(self, state: &State) -> Result<KeyView, CallRefused> {
        let limit = limit(state, self.name)?;
        let key = limit.key(Clock.now(), self.query.as_bytes())?;
        match *self.method {
            Method::PUT => self.give(&limit, &key)?,
            Method::DELETE => self.fill(&limit, &key).await?,
            _ => {}
        }
        let state = limit.look(Clock.now(), key).await;
        Ok(KeyView::of(&state, self.sight))
    }

    /// Fills the bucket of a key and ends its ban, and logs it.
    ///
    /// # Errors
    /// The store does not respond, the bucket of a shared limit is known by its
    /// hash only, or the limit counts requests in flight.
    async fn fill(&self, limit: &OneLimit<'_>, key: &KnownKey) -> Result<(), CallRefused> {
        let (status, why) = match limit.reset(Clock.now(), key).await {
            ResetOutcome::Filled => {
                tracing::info!(peer = %self.caller.peer, limit = self.name, key = %key.key, "a key's bucket is filled");
                return Ok(());
            }
            ResetOutcome::Ended => {
                tracing::info!(peer = %self.caller.peer, limit = self.name, key = %key.key, "a key's own numbers or its ban are ended");
                return Ok(());
            }
            ResetOutcome::NotInStore if key.is_hash_only => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store holds this bucket, by a name that is not made of the hash: name the key by its values",
            ),
            ResetOutcome::NotInStore => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store, which holds this bucket, does not answer: try again",
            ),
            ResetOutcome::InFlight => (
                StatusCode::CONFLICT,
                "this limit counts requests in flight: permits come back when their requests end, and the key has no ban and no numbers of its own that could end",
            ),
        };
        let why = why.to_owned();
        Err(CallRefused { status, why })
    }

    /// Gives a key the allowance that the body names, for a while, and logs it.
    ///
    /// # Errors
    /// The limit is a tier, the body is wrong or of another kind than the limit,
    /// or too many keys have another allowance.
    fn give(&self, limit: &OneLimit<'_>, key: &KnownKey) -> Result<(), CallRefused> {
        if !limit.gives() {
            return Err(CallRefused {
                status: StatusCode::CONFLICT,
                why: "this is a tier: its networks cannot have numbers of their own".to_owned(),
            });
        }
        let Wanted { allowance, ttl } = wanted(self.body)?;
        limit.give(Clock.now(), key.key, allowance, ttl)?;
        let rate = allowance.rate().map(|quota| rate_text(quota.rate()));
        let burst = allowance.rate().map(|quota| quota.burst());
        let in_flight = allowance.in_flight().map(NonZeroU32::get);
        tracing::info!(peer = %self.caller.peer, limit = self.name, key = %key.key, rate, burst, in_flight, ttl = %duration::text(ttl), "a key has other numbers for a while");
        Ok(())
    }
}

/// The limit of this name, which may be a tier.
///
/// # Errors
/// There is none; the text lists those that exist.
fn limit<'s>(state: &'s State, name: &str) -> Result<OneLimit<'s>, CallRefused> {
    if let Some(limit) = state.limit(name) {
        return Ok(limit);
    }
    let mut names = Vec::new();
    for limit in &state.config.limits {
        names.extend(limit.deciding().map(|name| format!("`{name}`")));
    }
    let known = if names.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    Err(CallRefused {
        status: StatusCode::NOT_FOUND,
        why: format!("there is no limit `{name}`; {known}"),
    })
}

/// The keys that `top` shows, and how many of them at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WantedKeys {
    Heaviest(usize),
    Banned(usize),
}

/// Reads the keys to show.
///
/// # Errors
/// The query has something else, or the number is out of range.
fn wanted_keys(query: &str) -> Result<WantedKeys, String> {
    let (mut most, mut wanted): (_, fn(usize) -> _) = (SHOWN, WantedKeys::Heaviest);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let number = pair.strip_prefix("n=").map(str::parse);
        match (pair, number) {
            ("banned=true", _) => wanted = WantedKeys::Banned,
            ("banned=false", _) => wanted = WantedKeys::Heaviest,
            (_, Some(Ok(number))) if (1..=MOST_SHOWN).contains(&number) => most = number,
            _ => {
                return Err(format!(
                    "`{pair}`: how many are shown is said by ?n=, from 1 to {MOST_SHOWN}; with ?banned=true, those that are banned"
                ));
            }
        }
    }
    Ok(wanted(most))
}

/// The allowance that a `PUT` gives to a key.
#[derive(Debug)]
struct Wanted {
    allowance: Allowance,
    /// How long it counts: more than nothing, and at most [`LONGEST`].
    ttl: Duration,
}

/// Reads the body of a `PUT`.
///
/// # Errors
/// The body is not such an object. The text shows one that is right.
fn wanted(body: &[u8]) -> Result<Wanted, String> {
    let body: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| format!("the body is a JSON object {EXAMPLE} ({error})"))?;
    if let Some(name) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("there is no field `{name}`; the body is {EXAMPLE}"));
    }
    let ttl = read_duration(text(&body, "ttl")?).map_err(|why| format!("`ttl` cannot be {why}"))?;
    if ttl.is_zero() || ttl > LONGEST {
        return Err(
            "`ttl` is how long the numbers count: more than nothing, and at most \"30d\""
                .to_owned(),
        );
    }
    let allowance = match body.get("in_flight") {
        Some(_) if body.contains_key("rate") || body.contains_key("burst") => {
            return Err(format!("`in_flight` stands alone; the body is {EXAMPLE}"));
        }
        Some(most) => Allowance::InFlight(number("in_flight", most)?),
        None => Allowance::Rate(quota(&body)?),
    };
    Ok(Wanted { allowance, ttl })
}

/// Reads the rate and the burst of a `PUT`.
fn quota(body: &Map<String, Value>) -> Result<Quota, String> {
    let rate = read_rate(text(body, "rate")?).map_err(|why| format!("`rate` cannot be {why}"))?;
    let burst = match body.get("burst") {
        None => rate.default_burst(),
        Some(_) if rate.count == 0 => {
            let why = "a rate of 0 admits nothing, so that it has no bucket: leave `burst` out";
            return Err(why.to_owned());
        }
        Some(burst) => number("burst", burst)?,
    };
    Quota::new(rate, burst).map_err(|error| error.to_string())
}

/// A field of the body of a `PUT` that is a string.
///
/// # Errors
/// It is absent or something else.
fn text<'b>(body: &'b Map<String, Value>, name: &str) -> Result<&'b str, String> {
    match body.get(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!(
            "`{name}` is needed, as a string; the body is {EXAMPLE}"
        )),
    }
}

/// The number under `name`.
///
/// # Errors
/// It is no whole number from 1 to 4294967295.
fn number(name: &str, value: &Value) -> Result<NonZeroU32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.and_then(NonZeroU32::new);
    number.ok_or_else(|| format!("`{name}` is a whole number from 1 to {}", u32::MAX))
}

/// The name of a limit as it stands in a path, decoded.
pub(super) fn name(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;

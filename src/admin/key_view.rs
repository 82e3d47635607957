//! A key of a limit as JSON shows it: its values as far as they may be seen, its
//! allowance, and how it stands.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::guard::Sight;
use crate::{
    build::{KeyState, KnownKey},
    config::rate_text,
    duration,
    limit::Standing,
    policy::Allowance,
};

/// The allowance of a key that may have everything.
const UNLIMITED: &str = "unlimited";

/// A key with its bucket, as JSON shows it.
#[derive(Debug, Serialize)]
pub(super) struct KeyView {
    /// The values of its parts; `None` where they may not be seen, or are not
    /// known.
    key: Option<Vec<String>>,
    hash: String,
    /// Its allowance, and how it stands under it.
    #[serde(flatten)]
    allowance: AllowanceView,
    admitted: u64,
    refused: u64,
    /// When a temporary allowance ends (RFC 3339).
    until: Option<String>,
    /// When its ban ends (RFC 3339); left out of a key that is not banned.
    #[serde(skip_serializing_if = "Option::is_none")]
    banned_until: Option<String>,
    /// Indices of the parts that stand in for absent ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<usize>,
    /// Bound for requests that were not counted; `None` if all were.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
}

/// The allowance of a key, and how the key stands under it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AllowanceView {
    /// Of a rate.
    Rate {
        rate: String,
        /// Tokens; `None` where everything is admitted, as of the next three.
        burst: Option<u32>,
        remaining: Option<u32>,
        reset_seconds: Option<u64>,
        /// Tokens that it owes; left out if it owes none.
        #[serde(skip_serializing_if = "Option::is_none")]
        owed: Option<u64>,
    },
    /// Of a cap.
    InFlight {
        in_flight: Value,
        /// Requests in flight; `None` where everything is admitted, as those
        /// are not counted.
        held: Option<u32>,
        remaining: Option<u32>,
    },
}

impl AllowanceView {
    fn of(allowance: Option<Allowance>, standing: &Standing) -> Self {
        let quota = allowance.and_then(|allowance| allowance.rate());
        let most = allowance.and_then(|allowance| allowance.in_flight());
        if standing.is_in_flight() {
            return Self::InFlight {
                in_flight: most.map_or_else(|| UNLIMITED.into(), |most| most.get().into()),
                held: most.map(|_| standing.held()),
                remaining: most.map(|_| standing.remaining),
            };
        }
        Self::Rate {
            rate: quota.map_or_else(|| UNLIMITED.to_owned(), |quota| rate_text(quota.rate())),
            burst: quota.map(|quota| quota.burst()),
            remaining: quota.map(|_| standing.remaining),
            reset_seconds: quota
                .filter(|quota| quota.burst() > 0)
                .map(|_| duration::whole_seconds(standing.reset())),
            owed: quota.map(|_| standing.owed()).filter(|owed| *owed > 0),
        }
    }
}

impl KeyView {
    pub(super) fn of(state: &KeyState, sight: Sight) -> Self {
        let KeyState {
            key,
            allowance,
            standing,
            count,
            ends_in,
            banned_for,
        } = state;
        Self {
            key: values(key, sight),
            hash: key.key.to_string(),
            allowance: AllowanceView::of(*allowance, standing),
            admitted: count.admitted,
            refused: count.refused,
            until: ends_in.and_then(moment),
            banned_until: banned_for.and_then(moment),
            missing: stand_ins(key),
            missed: Some(count.missed).filter(|missed| *missed > 0),
        }
    }
}

/// The moment after this time (RFC 3339).
fn moment(left: Duration) -> Option<String> {
    let moment = SystemTime::now().checked_add(left)?;
    Some(humantime::format_rfc3339_seconds(moment).to_string())
}

/// Indices of the parts of a key that stand in for absent ones.
fn stand_ins(key: &KnownKey) -> Vec<usize> {
    let mut indices = Vec::new();
    for (index, part) in key.parts.iter().enumerate() {
        if part.is_stand_in {
            indices.push(index);
        }
    }
    indices
}

/// The values of a key's parts as far as they may be seen; `None` where they
/// may not, or are not known.
fn values(key: &KnownKey, sight: Sight) -> Option<Vec<String>> {
    if sight == Sight::Nothing || key.is_hash_only {
        return None;
    }
    let mut values = Vec::new();
    for (part, is_secret) in key.parts.iter().zip(&key.secrets) {
        values.push(match *is_secret && sight != Sight::All {
            true => beginning(&part.value),
            false => part.value.clone(),
        });
    }
    Some(values)
}

/// Four characters of a value that may be a credential, and never all of it:
/// enough to recognise one's own.
fn beginning(value: &str) -> String {
    const SHOWN: usize = 4;
    let shown = value.chars().count().saturating_sub(1).min(SHOWN);
    value.chars().take(shown).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_credential_four_characters_are_shown_and_never_all() {
        let shown = ["s3cret-token", "abcd", "a", "äöüßäö"].map(beginning);
        assert_eq!(shown, ["s3cr…", "abc…", "…", "äöüß…"]);
    }
}

//! Tokens: read as serde_json reads their parts, and refused where the plain
//! conditions of RFC 7519 are not met. Nobody checks their signatures here.
//!
//! Input: a token as it is sent; or, on three lines, its header, its claims and
//! its signature, which are encoded first.

#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tidegate::{
    identity::fuzzing::{ReadToken, read_token},
    policy::{Algorithm, Jwt, KeySet, TokenKeys},
};

const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 30;
/// Bytes of the longest token.
const LONGEST: usize = 16 * 1024;

static POLICY: LazyLock<Jwt> = LazyLock::new(|| Jwt {
    keys: TokenKeys::Fixed(Arc::new(KeySet::of_secret(b"a secret"))),
    algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
    issuer: Some("idp".into()),
    audience: vec!["a".into(), "b".into()],
    id: "sub".into(),
    leeway: Duration::from_secs(LEEWAY),
});

fn read(text: &[u8]) -> Option<ReadToken> {
    read_token(&POLICY, text, Duration::from_secs(NOW))
}

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.splitn(3, |byte| *byte == b'\n').collect();
    let [header, claims, signature] = lines[..] else {
        if let Some(found) = read(bytes) {
            let parts: Option<Vec<_>> = bytes.split(|byte| *byte == b'.').map(decoded).collect();
            let parts = parts.expect("three parts of base64url");
            check(&parts[0], &parts[1], &parts[2], Some(found));
        }
        return;
    };
    let text = [header, claims, signature].map(encoded).join(".");
    if text.len() <= LONGEST {
        check(header, claims, signature, read(text.as_bytes()));
    } else {
        assert_eq!(read(text.as_bytes()), None);
    }
});

fn check(header: &[u8], claims: &[u8], signature: &[u8], found: Option<ReadToken>) {
    let object = |json: &[u8]| match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    };
    let expected = object(claims).filter(is_met);
    if let Some(found) = &found {
        let claims = expected.as_ref().expect("claims that meet the conditions");
        assert_eq!((&found.claims, &*found.signature), (claims, signature));
        assert!(!signature.is_empty() && !found.left.is_zero());
    }
    // The gateway may still pass over a text that serde_json cannot read.
    let Some(header) = object(header) else { return };
    let algorithm = header.get("alg").and_then(Value::as_str).filter(|name| ["RS256", "ES256"].contains(name));
    let key_id = header.get("kid").filter(|kid| !kid.is_null());
    let is_sound = algorithm.is_some()
        && key_id.is_none_or(Value::is_string)
        && header.get("crit").is_none_or(Value::is_null)
        && !signature.is_empty();
    // Of members with one name serde_json keeps the last, and the gateway refuses them.
    let text = [Value::Object(header.clone()).to_string().as_bytes(), claims, signature].map(encoded).join(".");
    let without_repeats = read(text.as_bytes());
    assert!(found.is_none() || found == without_repeats);
    if text.len() <= LONGEST {
        assert_eq!(without_repeats.is_some(), is_sound && expected.is_some());
    }
    if let Some(found) = without_repeats {
        assert_eq!(Some(found.algorithm), algorithm);
        assert_eq!(found.key_id.as_deref(), key_id.and_then(Value::as_str));
    }
}

/// Whether claims meet the conditions of the policy.
fn is_met(claims: &Map<String, Value>) -> bool {
    let time = |name: &str| claims.get(name).map(|time| time.as_f64());
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    let is_past = |name: &str| time(name).is_none_or(|time| time.is_some_and(|time| time <= now + leeway));
    let lasts = time("exp").flatten().is_some_and(|time| time + leeway > now);
    let is_ours = |aud: &Value| aud == "a" || aud == "b";
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(items)) => items.iter().any(is_ours),
        aud => aud.is_some_and(is_ours),
    };
    let is_one_text = |value: &Value| match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Bool(_) => true,
        value => value.as_str().is_some_and(|text| {
            let is_plain = text.trim() == text && !text.chars().any(char::is_control);
            is_plain && (1..=1024).contains(&text.len())
        }),
    };
    let has_id = match claims.get("sub") {
        Some(Value::Array(items)) => items.len() == 1 && is_one_text(&items[0]),
        id => id.is_some_and(is_one_text),
    };
    lasts && is_past("nbf") && is_past("iat") && claims.get("iss").is_some_and(|iss| iss == "idp") && is_for_us && has_id
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding, bit by bit.
fn encoded(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let digit = |six: &[u8]| {
        let value = (0..6).fold(0, |value, at| value << 1 | usize::from(*six.get(at).unwrap_or(&0)));
        char::from(DIGITS[value])
    };
    bits.chunks(6).map(digit).collect()
}

/// The bytes behind a text of base64url; `None` for other texts.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for digit in text {
        let value = DIGITS.iter().position(|known| known == digit)?;
        bits.extend((0..6).rev().map(|at| (value >> at & 1) as u8));
    }
    let bytes: Vec<u8> = bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    (encoded(&bytes).as_bytes() == text).then_some(bytes)
}

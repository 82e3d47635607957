//! Sets of keys: JWKS (RFC 7517), PEM files, secrets.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

use super::{
    algorithm::{Algorithm, KeyType},
    key::{KeyFault, VerifyingKey},
};

/// Keys of the largest set. Issuers have two or three, and some one for each
/// of their customers.
const MOST_KEYS: usize = 100;

/// The keys of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// At least one. Several may have the same `kid`, if they differ in kind.
    pub keys: Vec<Arc<VerifyingKey>>,
}

/// Why something is no set of keys. The texts follow "FILE" or "it".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeySetFault {
    /// It is not a JSON object with a list `keys`.
    #[error("is no key set: a JSON object with a list `keys` (RFC 7517)")]
    NotAKeySet,
    /// It has too many keys.
    #[error("has more than {MOST_KEYS} keys")]
    Many,
    /// It has no key at all.
    #[error("has no keys")]
    Empty,
    /// None of its keys is for signatures by an algorithm that is known here.
    #[error("has no key that verifies signatures: RSA, P-256, P-384 or Ed25519")]
    NoneFits,
    /// None of its keys can be used. The first one is told.
    #[error("has no key that can be used: {0}")]
    NoneSound(KeyFault),
    /// It has no public key in PEM.
    #[error(
        "has no public key (PEM, -----BEGIN PUBLIC KEY-----), and is no key set in JSON (RFC 7517)"
    )]
    NotPem,
    /// It has a private key in PEM, which signs tokens and has no business here.
    #[error(
        "has a private key, which only the issuer may have; write the public one, such as `openssl pkey -in FILE -pubout` prints it"
    )]
    Private,
}

/// A key as a set has it (RFC 7517, 4; RFC 7518, 6). Members that say where a
/// certificate is are not looked at, and neither are private ones.
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<Box<str>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Why a key of a set is left out.
enum LeftOut {
    /// It is not for signatures, or of a kind that is not known here.
    OtherUse,
    /// It is meant for signatures, and cannot be used.
    Faulty(KeyFault),
}

impl KeySet {
    /// The keys of a JWKS. Keys that are for something else are left out, and
    /// so are those that cannot be used.
    ///
    /// # Errors
    /// It is no JWKS, too large, or no key of it can be used.
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeySetFault> {
        let written: Value = serde_json::from_slice(json).map_err(|_| KeySetFault::NotAKeySet)?;
        let written = written.get("keys").and_then(Value::as_array);
        let written = written.ok_or(KeySetFault::NotAKeySet)?;
        match written.len() {
            0 => return Err(KeySetFault::Empty),
            1..=MOST_KEYS => {}
            _ => return Err(KeySetFault::Many),
        }
        let (mut keys, mut fault) = (Vec::new(), KeySetFault::NoneFits);
        for one in written {
            match key(one) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(LeftOut::Faulty(why)) if fault == KeySetFault::NoneFits => {
                    fault = KeySetFault::NoneSound(why);
                }
                Err(LeftOut::Faulty(_) | LeftOut::OtherUse) => {}
            }
        }
        match keys.is_empty() {
            true => Err(fault),
            false => Ok(Self { keys }),
        }
    }

    /// The public keys of a PEM file; other parts of it are skipped.
    ///
    /// # Errors
    /// There is none, there are too many, or one cannot be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeySetFault> {
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| KeySetFault::NotPem)?;
            let key = VerifyingKey::from_spki(&der).map_err(KeySetFault::NoneSound)?;
            keys.push(Arc::new(key));
        }
        match keys.len() {
            0 if PrivateKeyDer::from_pem_slice(pem).is_ok() => Err(KeySetFault::Private),
            0 => Err(KeySetFault::NotPem),
            1..=MOST_KEYS => Ok(Self { keys }),
            _ => Err(KeySetFault::Many),
        }
    }

    /// The set that has only this secret.
    pub fn of_secret(secret: &[u8]) -> Self {
        Self {
            keys: vec![Arc::new(VerifyingKey::secret(secret))],
        }
    }
}

/// A key of a set.
fn key(written: &Value) -> Result<VerifyingKey, LeftOut> {
    let unsound = LeftOut::Faulty(KeyFault::Unsound);
    let written = WrittenKey::deserialize(written).map_err(|_| LeftOut::OtherUse)?;
    let is_for_signatures = written.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if !is_for_signatures || !written.key_ops.as_ref().is_none_or(verifies) {
        return Err(LeftOut::OtherUse);
    }
    let only = written.alg.as_deref().map(Algorithm::named);
    let only = only.map(|only| only.ok_or(LeftOut::OtherUse)).transpose()?;
    let kind = match (&*written.kty, written.crv.as_deref()) {
        ("RSA", _) => KeyType::Rsa,
        ("EC", Some("P-256")) => KeyType::P256,
        ("EC", Some("P-384")) => KeyType::P384,
        ("OKP", Some("Ed25519")) => KeyType::Ed25519,
        // A secret that is published is none.
        _ => return Err(LeftOut::OtherUse),
    };
    if only.is_some_and(|only| only.kind() != kind) {
        return Err(unsound);
    }
    let number = |text: &Option<String>| {
        let bytes = text.as_ref().map(|text| URL_SAFE_NO_PAD.decode(text));
        match bytes {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(_)) | None => Err(LeftOut::Faulty(KeyFault::Unsound)),
        }
    };
    let key = match kind {
        KeyType::Rsa => VerifyingKey::rsa(&number(&written.n)?, &number(&written.e)?),
        KeyType::Ed25519 => {
            sized(number(&written.x)?, 32).and_then(|bytes| VerifyingKey::point(kind, &bytes))
        }
        KeyType::P256 | KeyType::P384 => {
            let length = if kind == KeyType::P256 { 32 } else { 48 };
            let (x, y) = (number(&written.x)?, number(&written.y)?);
            sized(x, length)
                .and_then(|x| Ok([&[4], &*x, &*sized(y, length)?].concat()))
                .and_then(|point| VerifyingKey::point(kind, &point))
        }
        KeyType::Secret => Err(KeyFault::Unsound),
    };
    Ok(key.map_err(LeftOut::Faulty)?.named(written.kid, only))
}

/// The bytes, which must be as many as the kind of a key has.
fn sized(bytes: Vec<u8>, length: usize) -> Result<Vec<u8>, KeyFault> {
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(KeyFault::Unsound),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The keys of RFC 7517, A.1, and of RFC 8037, A.2.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}"#;
    const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(keys: &[&str]) -> Result<KeySet, KeySetFault> {
        KeySet::from_jwks(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    fn changed(key: &str, name: &str, value: Value) -> String {
        let mut key: Value = serde_json::from_str(key).unwrap();
        key[name] = value;
        key.to_string()
    }

    #[test]
    fn keys_of_each_kind_are_read_and_fit_their_algorithms() {
        let keys = set(&[P256, RSA, ED25519]).unwrap().keys;
        let fitting: Vec<Vec<_>> = keys
            .iter()
            .map(|key| {
                Algorithm::ALL
                    .into_iter()
                    .filter(|one| key.fits(*one))
                    .collect()
            })
            .collect();
        let one = |algorithm| vec![algorithm];
        assert_eq!(
            fitting,
            [
                one(Algorithm::Es256),
                one(Algorithm::Rs256),
                one(Algorithm::EdDsa)
            ]
        );
        assert_eq!(keys[1].id.as_deref(), Some("2011-04-29"));
        assert_eq!(keys[2].id, None);
        let all = set(&[&changed(RSA, "alg", Value::Null)]).unwrap();
        assert!(all.keys[0].fits(Algorithm::Ps512) && !all.keys[0].fits(Algorithm::Hs256));
    }

    #[test]
    fn the_signature_of_rfc_8037_verifies() {
        let keys = set(&[ED25519]).unwrap().keys;
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(keys[0].verify(Algorithm::EdDsa, message, &signature));
        assert!(!keys[0].verify(Algorithm::EdDsa, b"other", &signature));
        assert!(!keys[0].verify(Algorithm::Es256, message, &signature));
    }

    #[test]
    fn keys_for_something_else_and_broken_ones_are_left_out() {
        for other in [
            changed(P256, "use", json!("enc")),
            changed(P256, "key_ops", json!(["sign"])),
            changed(P256, "alg", json!("ECDH-ES")),
            changed(P256, "alg", json!("ES384")),
            changed(P256, "crv", json!("secp256k1")),
            changed(P256, "crv", json!("P-384")),
            changed(P256, "x", json!("AAAA")),
            changed(
                P256,
                "y",
                json!("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"),
            ),
            changed(P256, "kty", json!("oct")),
            changed(P256, "kid", json!(7)),
            changed(RSA, "e", json!("AA")),
            changed(RSA, "e", json!("AQAB=")),
            changed(RSA, "n", Value::Null),
            changed(RSA, "n", json!("AQAB")),
            "7".to_owned(),
            "[]".to_owned(),
        ] {
            let keys = set(&[&other, ED25519]).unwrap().keys;
            assert_eq!(keys.len(), 1, "{other}");
            assert!(set(&[&other]).is_err());
        }
        let short = set(&[&changed(RSA, "n", json!("AQAB"))]);
        assert_eq!(short, Err(KeySetFault::NoneSound(KeyFault::Short)));
    }

    #[test]
    fn what_is_no_set_says_why() {
        for (text, fault) in [
            ("", KeySetFault::NotAKeySet),
            ("[]", KeySetFault::NotAKeySet),
            ("{\"keys\":{}}", KeySetFault::NotAKeySet),
            ("<html>", KeySetFault::NotAKeySet),
            ("{\"keys\":[]}", KeySetFault::Empty),
            ("{\"keys\":[{\"kty\":\"oct\"}]}", KeySetFault::NoneFits),
        ] {
            assert_eq!(KeySet::from_jwks(text.as_bytes()), Err(fault), "{text}");
        }
        assert_eq!(set(&[ED25519; 101]), Err(KeySetFault::Many));
        assert!(KeySet::from_jwks("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn equal_sets_are_equal_and_others_are_not() {
        assert_eq!(set(&[P256, RSA]), set(&[P256, RSA]));
        assert_ne!(set(&[P256]), set(&[&changed(P256, "kid", json!("2"))]));
        assert_ne!(set(&[RSA]), set(&[&changed(RSA, "alg", json!("PS256"))]));
        assert_ne!(KeySet::of_secret(b"a"), KeySet::of_secret(b"b"));
        assert!(!format!("{:?}", KeySet::of_secret(b"hunter2")).contains("hunter2"));
    }

    #[test]
    fn public_keys_in_pem_are_read() {
        let pem = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
        let keys = KeySet::from_pem(pem.as_bytes()).unwrap().keys;
        assert!(keys.len() == 1 && keys[0].fits(Algorithm::EdDsa));
        let key = rcgen::KeyPair::generate().unwrap();
        let both = format!("{pem}{}", key.public_key_pem());
        let keys = KeySet::from_pem(both.as_bytes()).unwrap().keys;
        assert!(keys.len() == 2 && keys[1].fits(Algorithm::Es256));
        assert_eq!(
            KeySet::from_pem(key.serialize_pem().as_bytes()),
            Err(KeySetFault::Private)
        );
        for text in ["", "nonsense", &pem[..60]] {
            assert_eq!(KeySet::from_pem(text.as_bytes()), Err(KeySetFault::NotPem));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::from_jwks(&bytes);
            let _ = KeySet::from_pem(&bytes);
        }
    }
}

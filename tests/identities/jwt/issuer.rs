//! Issuers of tokens, with real keys.

use std::{
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaSignatureEncoding,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Upstream, ok};

/// An issuer with one key.
#[derive(Clone)]
pub(super) struct Issuer {
    /// The name of its key.
    pub(super) kid: String,
    key: Arc<Key>,
}

enum Key {
    Rsa(rsa::KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

/// Keys of RSA take long to make.
static RSA: LazyLock<Arc<Key>> = LazyLock::new(|| {
    Arc::new(Key::Rsa(
        rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap(),
    ))
});

impl Issuer {
    pub(super) fn rsa(kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            key: Arc::clone(&RSA),
        }
    }

    pub(super) fn p256(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::of(kid, Key::P256(key))
    }

    pub(super) fn p384(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self::of(kid, Key::P384(key))
    }

    pub(super) fn ed25519(kid: &str) -> Self {
        Self::of(kid, Key::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::of("", Key::Secret(secret.to_vec()))
    }

    fn of(kid: &str, key: Key) -> Self {
        Self {
            kid: kid.to_owned(),
            key: Arc::new(key),
        }
    }

    /// Its key as a set has it.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &*self.key {
            Key::Rsa(key) => {
                // SEQUENCE of the INTEGERs n, with a zero before it, and e.
                let der = key.public_key().as_ref();
                json!({ "kty": "RSA", "n": base64(&der[9..265]), "e": base64(&der[267..]) })
            }
            Key::P256(key) => point("P-256", &key.public_key().as_ref()[1..]),
            Key::P384(key) => point("P-384", &key.public_key().as_ref()[1..]),
            Key::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key().as_ref()) })
            }
            Key::Secret(secret) => json!({ "kty": "oct", "k": base64(secret) }),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The usual algorithm of its key.
    pub(super) fn algorithm(&self) -> &'static str {
        match &*self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::P384(_) => "ES384",
            Key::Ed25519(_) => "EdDSA",
            Key::Secret(_) => "HS256",
        }
    }

    /// A token with these claims, and with an expiry if they have none.
    pub(super) fn token(&self, claims: Value) -> String {
        self.token_by(json!({ "alg": self.algorithm(), "kid": self.kid }), claims)
    }

    /// A token with this header, signed as its `alg` says.
    pub(super) fn token_by(&self, header: Value, mut claims: Value) -> String {
        if claims.get("exp").is_none() {
            claims["exp"] = json!(now() + 300);
        }
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.sign(header["alg"].as_str().unwrap(), signed.as_bytes());
        format!("{signed}.{}", base64(&signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.key {
            Key::Rsa(key) => {
                let encoding: &RsaSignatureEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Key::P256(key) | Key::P384(key) => key.sign(&random, message).unwrap().as_ref().into(),
            Key::Ed25519(key) => key.sign(message).as_ref().into(),
            Key::Secret(secret) => {
                let algorithm = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(algorithm, secret);
                hmac::sign(&key, message).as_ref().into()
            }
        }
    }
}

fn point(curve: &str, bytes: &[u8]) -> Value {
    let (x, y) = bytes.split_at(bytes.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a token.
pub(super) fn encoded(json: &Value) -> String {
    base64(json.to_string().as_bytes())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// A set of the keys of these issuers.
pub(super) fn jwks(issuers: &[&Issuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// A server that answers with a set of keys, which may change.
pub(super) fn serving(answer: impl Fn() -> String + Send + Sync + 'static) -> Upstream {
    Upstream::answering(move |_| answer())
}

/// A server that always has the keys of these issuers.
pub(super) fn publishing(issuers: &[&Issuer]) -> Upstream {
    let keys = jwks(issuers);
    serving(move || ok(&keys))
}

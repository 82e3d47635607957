//! Tokens that somebody made up.

use serde_json::{Value, json};

use super::{
    by, gateway,
    issuer::{Issuer, base64, encoded, jwks, now, publishing},
    status,
};

const ALL: &str = "algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']";

/// A token of these parts.
fn token(header: &Value, signature: &[u8]) -> String {
    let claims = json!({ "sub": "root", "exp": now() + 300 });
    format!(
        "{}.{}.{}",
        encoded(header),
        encoded(&claims),
        base64(signature)
    )
}

#[test]
fn a_token_without_a_signature_is_refused_in_every_spelling() {
    let server = publishing(&[&Issuer::rsa("k")]);
    let gateway = by(&server, ALL);
    for alg in ["none", "None", "NONE", "nOnE", "", " none", "none\u{0}"] {
        for signature in [&b""[..], b"x"] {
            let token = token(&json!({ "alg": alg, "kid": "k" }), signature);
            assert_eq!(status(&gateway, &token), 401, "{alg}");
        }
    }
    let absent = token(&json!({ "kid": "k" }), b"x");
    assert_eq!(status(&gateway, &absent), 401);
}

#[test]
fn a_public_key_is_never_a_secret() {
    let real = Issuer::rsa("k");
    let server = publishing(&[&real]);
    let gateway = by(&server, ALL);
    let jwk = real.jwk();
    let secrets = [
        jwk.to_string(),
        jwk["n"].as_str().unwrap().to_owned(),
        jwks(&[&real]),
    ];
    for secret in secrets {
        let forged = Issuer::secret(secret.as_bytes());
        for algorithm in ["HS256", "HS384", "HS512"] {
            let header = json!({ "alg": algorithm, "kid": "k" });
            let token = forged.token_by(header, json!({ "sub": "root" }));
            assert_eq!(status(&gateway, &token), 401);
        }
    }
}

#[test]
fn a_secret_in_a_set_verifies_nothing() {
    let (real, secret) = (Issuer::rsa("k"), Issuer::secret(&[7; 64]));
    let server = publishing(&[&real, &secret]);
    let gateway = by(&server, ALL);
    let token = secret.token(json!({ "sub": "root" }));
    assert_eq!(status(&gateway, &token), 401);
}

#[test]
fn a_key_verifies_only_the_algorithms_of_its_kind() {
    let (p256, p384, ed) = (Issuer::p256("k"), Issuer::p384("k"), Issuer::ed25519("k"));
    for published in [&p256, &p384, &ed] {
        let server = publishing(&[published]);
        let gateway = by(&server, ALL);
        for forger in [&p256, &p384, &ed] {
            for alg in ["ES256", "ES384", "EdDSA", "RS256", "PS256"] {
                let is_real = published.kid == forger.kid
                    && published.algorithm() == forger.algorithm()
                    && alg == forger.algorithm();
                let header = json!({ "alg": alg, "kid": "k" });
                let token = forger.token_by(header, json!({ "sub": "a" }));
                let expected = if is_real { 200 } else { 401 };
                assert_eq!(status(&gateway, &token), expected, "{alg}");
            }
        }
    }
}

#[test]
fn the_alg_and_the_use_of_a_key_bind_it() {
    let issuer = Issuer::rsa("k");
    for (name, value, expected) in [
        ("alg", json!("RS256"), 200),
        ("alg", json!("PS256"), 401),
        ("alg", json!("RSA-OAEP"), 503),
        ("use", json!("enc"), 503),
        ("key_ops", json!(["verify"]), 200),
        ("key_ops", json!(["wrapKey"]), 503),
    ] {
        let mut jwk = issuer.jwk();
        jwk[name] = value.clone();
        let keys = json!({ "keys": [jwk] }).to_string();
        let server = super::issuer::serving(move || crate::support::ok(&keys));
        let gateway = by(&server, ALL);
        let token = issuer.token(json!({ "sub": "a" }));
        assert_eq!(status(&gateway, &token), expected, "{name} {value}");
    }
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (real, forger) = (Issuer::p256("k"), Issuer::p256("k"));
    let (server, evil) = (publishing(&[&real]), publishing(&[&forger]));
    let gateway = by(&server, ALL);
    let header = json!({
        "alg": "ES256",
        "kid": "k",
        "jwk": forger.jwk(),
        "jku": format!("{}/keys", evil.url()),
        "x5u": format!("{}/keys", evil.url()),
        "x5c": ["MIIB"],
    });
    let token = forger.token_by(header.clone(), json!({ "sub": "root" }));
    assert_eq!(status(&gateway, &token), 401);
    assert_eq!(evil.connections(), 0);
    // The real issuer may name its keys as it likes.
    assert_eq!(
        status(&gateway, &real.token_by(header, json!({ "sub": "a" }))),
        200
    );
}

#[test]
fn a_kid_is_compared_and_nothing_else() {
    let real = Issuer::p256("k");
    let server = publishing(&[&real]);
    let gateway = by(&server, ALL);
    assert_eq!(status(&gateway, &real.token(json!({ "sub": "a" }))), 200);
    let fetched = server.connections();
    for kid in [
        "/dev/null",
        "../../../../dev/null",
        "http://127.0.0.1:1/keys",
        "' OR 1=1; --",
        "k' UNION SELECT 'secret",
        "k\u{0}",
        "K",
        "",
        &"k".repeat(8000),
    ] {
        let token = real.token_by(json!({ "alg": "ES256", "kid": kid }), json!({ "sub": "a" }));
        assert_eq!(status(&gateway, &token), 401, "{kid}");
    }
    assert!(server.connections() <= fetched + 1);
}

#[test]
fn long_nested_and_damaged_tokens_are_refused() {
    let issuer = Issuer::ed25519("k");
    let server = publishing(&[&issuer]);
    let jwt = format!("keys = '{}'", server.url());
    let gateway = gateway(
        &jwt,
        "[server]\nworkers = 1\n[[listeners]]\nbind = '127.0.0.1:0'\nmax_header_bytes = '256KiB'\n",
    );
    let good = issuer.token(json!({ "sub": "a" }));
    assert_eq!(status(&gateway, &good), 200);
    let long = issuer.token(json!({ "sub": "a", "pad": "x".repeat(100 * 1024) }));
    assert_eq!(status(&gateway, &long), 401);
    let deep: String = "[".repeat(4000) + &"]".repeat(4000);
    let claims = base64(format!("{{\"sub\":\"a\",\"exp\":9e9,\"d\":{deep}}}").as_bytes());
    let (header, signature) = (
        good.split('.').next().unwrap(),
        good.rsplit('.').next().unwrap(),
    );
    assert_eq!(
        status(&gateway, &format!("{header}.{claims}.{signature}")),
        401
    );
    for at in 0..good.len() {
        let mut damaged = good.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        let damaged = String::from_utf8(damaged).unwrap();
        if at % 7 == 0 || at + 1 == good.len() {
            assert_eq!(status(&gateway, &damaged), 401, "{at}");
        }
    }
    assert_eq!(status(&gateway, &good), 200);
}

#[test]
fn short_keys_of_rsa_are_not_used() {
    // 1024 bits, and a modulus of 2047 bits in 256 bytes.
    let mut weak = vec![0xff_u8; 128];
    let mut nearly = vec![0xff_u8; 256];
    (weak[127], nearly[0], nearly[255]) = (0xfd, 0x7f, 0xfd);
    for modulus in [weak, nearly, vec![0xff; 2048]] {
        let jwk = json!({ "kty": "RSA", "kid": "k", "n": base64(&modulus), "e": "AQAB" });
        let keys = json!({ "keys": [jwk] }).to_string();
        let server = super::issuer::serving(move || crate::support::ok(&keys));
        let gateway = by(&server, ALL);
        let token = token(
            &json!({ "alg": "RS256", "kid": "k" }),
            &vec![1; modulus.len()],
        );
        assert_eq!(status(&gateway, &token), 503);
        gateway.logged("signing keys cannot be fetched");
    }
}

//! `[identities.NAME.jwt]`: what is accepted, and how mistakes are told.

use std::fs;

use super::super::{Code, Diagnostics, Environment, configuration::Config, load};
use crate::policy::{Algorithm, Authentication, TokenKeys};

/// A configuration with these lines in the section, beside a file `keys` and a
/// file `secret`.
fn read(jwt: &str) -> Result<Config, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.path().join("keys"), key.public_key_pem()).unwrap();
    fs::write(folder.path().join("private"), key.serialize_pem()).unwrap();
    fs::write(folder.path().join("secret"), "s".repeat(40) + "\n").unwrap();
    let text = format!(
        "[identities.users.jwt]\n{jwt}\n[[routes]]\nname = 'r'\nidentify = ['users']\nrespond = {{ status = 200 }}\n"
    );
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, text).unwrap();
    load(&file, &Environment::new())
}

#[test]
fn keys_are_at_a_url_in_a_file_or_a_secret() {
    let keys = |jwt: &str| {
        let config = read(jwt).unwrap();
        let Authentication::Jwt(jwt) = &config.identities[0].method else {
            panic!("tokens");
        };
        (jwt.keys.clone(), jwt.algorithms.clone())
    };
    let (TokenKeys::Fetched(url), algorithms) = keys("keys = 'https://idp:8443/a/jwks?b=1'") else {
        panic!("a URL");
    };
    assert_eq!(
        (url.server.authority(), &*url.target),
        ("idp:8443", "/a/jwks?b=1")
    );
    assert!(url.server.secure_as.is_some());
    assert_eq!(
        algorithms,
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
    );
    for jwt in [
        "keys = 'keys'",
        "secret_file = 'secret'\nalgorithms = ['HS256']",
    ] {
        assert!(matches!(keys(jwt).0, TokenKeys::Fixed(_)), "{jwt}");
    }
}

#[test]
fn mistakes_are_told_with_what_is_right() {
    for (jwt, message) in [
        ("", "there are no keys that signatures are checked by"),
        (
            "keys = 'keys'\nsecret_file = 'secret'",
            "`keys` and `secret_file` exclude each other",
        ),
        ("keys = 'absent'", "there is no such file"),
        (
            "keys = 'private'",
            "has a private key, which only the issuer may have",
        ),
        (
            "keys = 'keys'\nalgorithms = ['none']",
            "anybody can make a token without a signature",
        ),
        ("keys = 'keys'\nalgorithms = ['rs256']", "write \"RS256\""),
        (
            "keys = 'keys'\nalgorithms = ['ES256', 'HS256']",
            "HS256 takes a secret, and this identity has public keys",
        ),
        ("secret_file = 'secret'", "a secret needs its algorithm"),
        (
            "secret_file = 'secret'\nalgorithms = ['HS256', 'RS256']",
            "RS256 takes a public key",
        ),
        (
            "secret_file = 'secret'\nalgorithms = ['HS512']",
            "the secret has 40 bytes, and the algorithm needs 64",
        ),
        ("keys = 'keys'\nca = 'keys'", "`ca` has no effect"),
        ("keys = 'keys'\nleeway = '2h'", "the most is 1h"),
        (
            "keys = 'file:///keys'",
            "it does not begin with http:// or https://",
        ),
    ] {
        let told = read(jwt).unwrap_err().to_string();
        assert!(told.contains(message), "{jwt}\n{told}");
        assert!(!told.contains("ssss"), "{told}");
    }
}

#[test]
fn keys_without_tls_and_tokens_for_anybody_are_warned_about() {
    for (jwt, warnings) in [
        ("keys = 'https://idp/k'\naudience = 'a'", 0),
        ("keys = 'http://127.0.0.1:1/k'\naudience = 'a'", 0),
        ("keys = 'http://localhost/k'\naudience = 'a'", 0),
        ("keys = 'http://idp/k'\naudience = 'a'", 1),
        ("keys = 'https://idp/k'", 1),
        ("keys = 'http://idp/k'", 2),
        ("keys = 'keys'", 0),
    ] {
        let config = read(jwt).unwrap();
        let codes: Vec<_> = config.warnings.list.iter().map(|one| one.code).collect();
        assert_eq!(codes, vec![Code::Exposed; warnings], "{jwt}");
    }
}

#[test]
fn the_view_shows_the_name_of_a_secret_and_nothing_of_it() {
    let config = read("secret_file = 'secret'\nalgorithms = ['HS256']").unwrap();
    let shown = config.shown();
    assert_eq!(shown["identities"]["users"]["jwt"]["secret_file"], "secret");
    assert_eq!(shown["identities"]["users"]["jwt"]["leeway"], "30s");
    assert!(!shown.to_string().contains("ssss"));
    assert!(!format!("{:?}", config.identities).contains("ssss"));
}

//! Tokens that wait for their signatures to be checked.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    gateway,
    issuer::{Issuer, base64, serving},
};
use crate::support::ok;

/// Tokens that are sent at once: twice what may wait of one address, and some
/// that are checked meanwhile.
const TOKENS: usize = 300;

/// A key of RSA that takes as long to check as any that is accepted: nobody has
/// its secret, and it need not have one.
fn slow_key() -> Value {
    json!({ "kty": "RSA", "n": base64(&[255; 1024]), "e": base64(&[255; 4]) })
}

#[test]
fn tokens_that_find_no_slot_get_503_and_another_address_is_served_all_the_same() {
    let issuer = Issuer::p256("k");
    let keys = json!({ "keys": [slow_key(), issuer.jwk()] }).to_string();
    let server = serving(move || ok(&keys));
    let gateway = gateway(
        &format!("keys = '{}/keys'", server.url()),
        "[server]\nworkers = 1\n[client_ip]\ntrusted_proxies = ['127.0.0.1']\n",
    );
    let ask = |address: &str, token: &str| {
        let token = format!("Authorization: Bearer {token}");
        gateway.sent("/", &[&token, &format!("X-Forwarded-For: {address}")])
    };
    let mut first = ask("192.0.2.1", &issuer.token(json!({ "sub": "a" })));
    assert_eq!(first.response().status(), 200);
    let made_up = Issuer::rsa("").token_by(json!({ "alg": "RS256" }), json!({ "sub": "a" }));
    let (signed, _) = made_up.rsplit_once('.').unwrap();
    let made_up = format!("{signed}.{}", base64(&[1; 1024]));
    // The gateway finds all of them when it goes on: none is checked before
    // the last one is sent.
    gateway.signal(Signal::STOP);
    let flood: Vec<_> = (0..TOKENS).map(|_| ask("192.0.2.1", &made_up)).collect();
    let mut other = ask("192.0.2.2", &issuer.token(json!({ "sub": "b" })));
    gateway.signal(Signal::CONT);
    assert_eq!(other.response().status(), 200);
    let answers: Vec<_> = flood
        .into_iter()
        .map(|mut client| client.response())
        .collect();
    let (refused, checked): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status() == 503);
    assert!(checked.iter().all(|answer| answer.status() == 401));
    assert!(
        refused
            .iter()
            .all(|answer| answer.get("retry-after") == Some("1"))
    );
    // On a machine that is too busy a token may also have waited for too long.
    let without_slot = gateway.metric("tidegate_signature_checks_refused_total", &[]);
    assert!(without_slot > 0.0 && without_slot <= refused.len() as f64);
    let reason = [("reason", "identity_unavailable")];
    gateway.await_metric("tidegate_refusals_total", &reason, refused.len() as f64);
}

//! Which tokens are good, and what follows from one.

use serde_json::{Value, json};

use super::{
    ROUTE, by, gateway,
    issuer::{Issuer, jwks, now, publishing},
    status,
};
use crate::{
    echo,
    support::gateway::{Gateway, responding, upstream_table},
};

#[test]
fn a_token_of_every_algorithm_is_verified() {
    let (rsa, p256) = (Issuer::rsa("r"), Issuer::p256("p"));
    let (p384, ed) = (Issuer::p384("q"), Issuer::ed25519("e"));
    let server = publishing(&[&rsa, &p256, &p384, &ed]);
    let all = "algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']";
    let gateway = by(&server, all);
    for issuer in [&rsa, &p256, &p384, &ed] {
        assert_eq!(status(&gateway, &issuer.token(json!({ "sub": "a" }))), 200);
    }
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = rsa.token_by(
            json!({ "alg": algorithm, "kid": "r" }),
            json!({ "sub": "a" }),
        );
        assert_eq!(status(&gateway, &token), 200, "{algorithm}");
    }
    assert_eq!(gateway.metric("tidegate_signature_checks_total", &[]), 9.0);
}

#[test]
fn a_secret_verifies_the_algorithms_of_secrets_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let secret = "s".repeat(64);
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let issuer = Issuer::secret(secret.as_bytes());
    let jwt = format!("secret_file = {file:?}\nalgorithms = ['HS256', 'HS512']");
    let gateway = gateway(&jwt, "");
    for (algorithm, expected) in [("HS256", 200), ("HS384", 401), ("HS512", 200)] {
        let token = issuer.token_by(json!({ "alg": algorithm }), json!({ "sub": "a" }));
        assert_eq!(status(&gateway, &token), expected, "{algorithm}");
    }
    let other = Issuer::secret("t".repeat(64).as_bytes());
    assert_eq!(status(&gateway, &other.token(json!({ "sub": "a" }))), 401);
}

#[test]
fn keys_in_a_file_are_a_set_or_pem_and_a_changed_file_is_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let (one, other) = (Issuer::p256("1"), Issuer::ed25519("2"));
    std::fs::write(&file, jwks(&[&one])).unwrap();
    let gateway = gateway(&format!("keys = {:?}", file.display()), "");
    let tokens = [&one, &other].map(|issuer| issuer.token(json!({ "sub": "a" })));
    let statuses = || tokens.each_ref().map(|token| status(&gateway, token));
    assert_eq!(statuses(), [200, 401]);
    std::fs::write(&file, jwks(&[&other])).unwrap();
    gateway.reload();
    assert_eq!(statuses(), [401, 200]);
    std::fs::write(&file, PEM).unwrap();
    gateway.reload();
    assert_eq!(statuses(), [401, 401]);
    // The token of RFC 8037, A.4, has no claims; its key is the one in PEM.
    std::fs::write(&file, "nonsense").unwrap();
    let (status, outcome) = gateway.reload();
    assert_eq!(status, 422);
    assert!(
        outcome.to_string().contains("has no public key"),
        "{outcome:#}"
    );
}

/// A key of Ed25519 (RFC 8410, 10.1).
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn a_token_is_verified_once_and_known_until_it_ends() {
    let issuer = Issuer::p256("k");
    let server = publishing(&[&issuer]);
    let jwt = format!("keys = '{}'", server.url());
    let gateway = gateway(&jwt, "[server]\nworkers = 1\n");
    let token = issuer.token(json!({ "sub": "a" }));
    for _ in 0..5 {
        assert_eq!(status(&gateway, &token), 200);
    }
    let outcome = |outcome| {
        let labels = [("identity", "users"), ("outcome", outcome)];
        gateway.metric("tidegate_credentials_total", &labels)
    };
    assert_eq!([outcome("verified"), outcome("known")], [1.0, 4.0]);
    assert_eq!(gateway.metric("tidegate_signature_checks_total", &[]), 1.0);
}

#[test]
fn claims_are_the_id_the_plan_and_what_a_route_requires() {
    let issuer = Issuer::ed25519("k");
    let server = publishing(&[&issuer]);
    let text = format!(
        "[identities.users]\nfrom = ['bearer', 'cookie:session']\nplan = 'claim:realm.plan'\n[identities.users.jwt]\nkeys = '{}'\nid = 'uid'\n[limits.l]\nkey = ['identity', 'plan']\nrate = '2/h'\n{}",
        server.url(),
        responding(
            "r",
            &format!("{ROUTE}limits = ['l']\nrequire = {{ scope = ['write'] }}\n")
        )
    );
    let gateway = Gateway::start(&text);
    let claims = |uid: Value, scope: &str| json!({ "sub": "x", "uid": uid, "scope": scope, "realm": { "plan": "gold" } });
    let ask = |claims| {
        let cookie = format!("Cookie: a=b; session={}", issuer.token(claims));
        gateway.ask("GET", "/", &[&cookie]).status()
    };
    assert_eq!(ask(claims(json!("u1"), "read write")), 200);
    let line = gateway.access_line();
    assert_eq!(
        (&line["identity"], &line["plan"]),
        (&json!("users"), &json!("gold"))
    );
    assert!(!line.to_string().contains("u1"));
    assert_eq!(ask(claims(json!("u1"), "read")), 403);
    assert_eq!(ask(claims(json!("u1"), "write")), 200);
    assert_eq!(ask(claims(json!("u1"), "write")), 429);
    assert_eq!(ask(claims(json!(7), "write")), 200);
    for uid in [
        json!(null),
        json!(""),
        json!(["a", "b"]),
        json!({}),
        json!("x".repeat(2000)),
        json!(100_000_000_000_000_000_001_u128 as f64),
        json!(0.5),
    ] {
        assert_eq!(ask(claims(uid, "write")), 401);
    }
}

#[test]
fn a_required_value_is_found_in_a_long_claim_of_which_a_field_says_nothing() {
    let issuer = Issuer::p256("k");
    let (server, service) = (publishing(&[&issuer]), echo());
    let gateway = Gateway::start(&format!(
        "[identities.users.jwt]\nkeys = '{}'\n{}[[routes]]\nname = 'r'\nupstream = 'u'\n{ROUTE}require = {{ groups = ['root', 'admins'] }}\nrequest = {{ set_headers = {{ x-groups = '{{claim:groups}}' }} }}\n",
        server.url(),
        upstream_table("u", &[&service], "")
    ));
    let ask = |group: &str| {
        let mut groups = vec!["6b6a1c1e-9a57-4f1c-8c3a-2f0d6c1d9f4e"; 30];
        groups.push(group);
        let token = issuer.token(json!({ "sub": "a", "groups": groups }));
        let line = format!("Authorization: Bearer {token}");
        gateway.ask("GET", "/", &[&line, "X-Groups: root"])
    };
    let served = ask("admins");
    assert_eq!(served.status(), 200);
    assert!(!served.text().to_lowercase().contains("x-groups"));
    assert_eq!(ask("admin").status(), 403);
}

#[test]
fn a_token_whose_id_a_service_would_read_as_another_one_is_refused() {
    let issuer = Issuer::p256("k");
    let (server, service) = (publishing(&[&issuer]), echo());
    let gateway = Gateway::start(&format!(
        "[identities.users]\nplan = 'claim:plan'\n[identities.users.jwt]\nkeys = '{}'\n{}[[routes]]\nname = 'r'\nupstream = 'u'\n{ROUTE}request = {{ set_headers = {{ x-user = '{{identity}}', x-plan = '{{plan}}', x-org = '{{claim:org}}' }} }}\n",
        server.url(),
        upstream_table("u", &[&service], "")
    ));
    let ask = |claims| {
        let line = format!("Authorization: Bearer {}", issuer.token(claims));
        gateway.ask("GET", "/", &[&line, "X-Plan: gold", "X-Org: root"])
    };
    for id in [
        "root\n",
        "root\0",
        "root\t",
        "root\u{7f}",
        "root ",
        " root",
        "  ",
        "\n\0",
    ] {
        let refused = ask(json!({ "sub": id }));
        assert_eq!(refused.status(), 401, "{id:?}");
        let text = refused.text();
        assert!(text.contains("its id is no text of"), "{text}");
    }
    let served = ask(json!({ "sub": "a", "plan": "gold\n", "org": " root" })).text();
    assert!(served.contains("\r\nx-user: a\r\n"), "{served}");
    assert!(
        !served.contains("root") && !served.contains("gold"),
        "{served}"
    );
    let served = ask(json!({ "sub": "a", "plan": "tin", "org": ["x", "root\n"] })).text();
    assert!(
        served.contains("\r\nx-org: x\r\nx-plan: tin\r\n"),
        "{served}"
    );
}

#[test]
fn times_issuer_and_audience_decide_before_the_signature() {
    let issuer = Issuer::p256("k");
    let server = publishing(&[&issuer]);
    let gateway = by(
        &server,
        "issuer = 'https://idp'\naudience = ['orders', 'b']\nleeway = '1m'",
    );
    let sound = json!({ "sub": "a", "iss": "https://idp", "aud": ["x", "orders"], "exp": now() - 30, "nbf": now() + 30 });
    assert_eq!(status(&gateway, &issuer.token(sound.clone())), 200);
    let checks = || gateway.metric("tidegate_signature_checks_total", &[]);
    assert_eq!(checks(), 1.0);
    for (name, value) in [
        ("exp", json!(now() - 100)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("nbf", json!(now() + 100)),
        ("iss", json!("https://idp/")),
        ("aud", json!("x")),
        ("sub", json!(null)),
    ] {
        let mut claims = sound.clone();
        claims[name] = value;
        assert_eq!(status(&gateway, &issuer.token(claims)), 401, "{name}");
    }
    assert_eq!(checks(), 1.0);
    // The end of time, and a fraction of a second.
    for exp in [json!(u64::MAX), json!(1e300), json!(now() as f64 + 0.5)] {
        let mut claims = sound.clone();
        claims["exp"] = exp.clone();
        assert_eq!(status(&gateway, &issuer.token(claims)), 200, "{exp}");
    }
}

#[test]
fn a_refusal_says_why_and_repeats_nothing_of_the_token() {
    let issuer = Issuer::p256("k");
    let server = publishing(&[&issuer]);
    let gateway = by(&server, "");
    let token = issuer.token(json!({ "sub": "somebody", "exp": 7 }));
    let line = format!("Authorization: Bearer {token}");
    let refused = gateway.ask("GET", "/", &[&line]);
    assert_eq!(refused.status(), 401);
    let challenge = refused.head.all("www-authenticate").join(" ");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(
        refused.text().contains("it has expired"),
        "{}",
        refused.text()
    );
    assert!(!refused.text().contains("somebody") && !refused.text().contains(&token));
}

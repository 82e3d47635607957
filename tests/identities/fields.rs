//! Services are told of the client by fields that no client can forge.

use super::{echo, gateway, new_key, route_to};

#[test]
fn a_service_gets_the_values_of_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &["--plan", "gold", "--claim", "org=A & B"]);
    let service = echo();
    let set = "set_headers = { x-user = '{identity}', x-plan = 'plan {plan}', x-org = '{claim:org}', x-client = '{client_ip}', x-rid = '{request_id}', x-json = '{{\"h\":\"{host}\"}}', x-all = '{peer} {method} {path} {scheme} {route} {header:x-a}' }";
    let gateway = gateway(&file, "", &route_to(&service, "", set));
    let got = gateway
        .ask(
            "GET",
            "/p?q=1",
            &[
                &format!("X-Api-Key: {key}"),
                "X-Request-Id: id-1",
                "X-A: 1",
                "X-A: 2",
            ],
        )
        .text();
    for line in [
        "x-user: acme",
        "x-plan: plan gold",
        "x-org: A & B",
        "x-client: 127.0.0.1",
        "x-rid: id-1",
        "x-json: {\"h\":\"a\"}",
        "x-all: 127.0.0.1 GET /p?q=1 http r 1, 2",
    ] {
        assert!(got.contains(&format!("\r\n{line}\r\n")), "{line}\n{got}");
    }
}

#[test]
fn a_client_without_an_identity_cannot_forge_a_field_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let service = echo();
    let set =
        "set_headers = { x-user = '{identity}', x-plan = 'plan {plan}', x-org = '{claim:org}' }";
    let gateway = gateway(&file, "", &route_to(&service, "anonymous = 'pass'", set));
    let forged = [
        "X-User: root",
        "x-plan: plan gold",
        "X_User: root",
        "x-org: a",
    ];
    let got = gateway.ask("GET", "/", &forged).text().to_lowercase();
    assert!(
        !got.contains("root") && !got.contains("gold") && !got.contains("x-org"),
        "{got}"
    );
    // An identity without a plan leaves the field out, too.
    let key = format!("X-Api-Key: {key}");
    let got = gateway
        .ask("GET", "/", &[&[&*key], &forged[..]].concat())
        .text();
    assert!(got.contains("x-user: acme") && !got.contains("root") && !got.contains("gold"));
}

#[test]
fn credentials_are_passed_on_unless_the_route_removes_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let service = echo();
    let from = "from = ['header:x-api-key', 'bearer', 'query:k', 'cookie:s']";
    for (credentials, is_passed) in [("", true), ("credentials = 'remove'", false)] {
        let gateway = gateway(&file, from, &route_to(&service, credentials, ""));
        for (path, line) in [
            ("/", format!("X-Api-Key: {key}")),
            ("/", format!("Authorization: Bearer {key}")),
            (&*format!("/p?a=1&k={key}&b"), "X-A: 1".to_owned()),
            ("/", format!("Cookie: a=1; s={key}; b=2")),
        ] {
            let answer = gateway.ask("GET", path, &[&line]);
            assert_eq!(answer.status(), 200);
            let got = answer.text();
            assert_eq!(got.contains(&key), is_passed, "{got}");
            if path != "/" && !is_passed {
                assert!(got.starts_with("GET /p?a=1&b HTTP/1.1"), "{got}");
            }
            if line.starts_with("Cookie") {
                assert!(got.contains("a=1;") && got.contains("b=2"), "{got}");
            }
        }
    }
}

//! Secrets are shown neither in mistakes nor in the view of the running
//! configuration.

use super::{
    super::{Environment, parse},
    config_with,
};

#[test]
fn the_password_of_a_store_is_shown_in_no_mistake() {
    for store in [
        "url = \"http://gate:hunter2@store\"",
        "url = \"redis:gate:hunter2@store\"",
        "url = \"redis://gate:hunter2@store/one\"",
        "url = \"redis://gate:hunter2@sto re\"",
        "url = \"redis://gate:hun@hunter2@store:0\"",
        "url = [\"redis://gate:hunter2@a\", \"redis://gate:hunter2@a\"]",
        "url = [\"redis://gate:hunter2@a/1\"]",
        "ur = \"redis://gate:hunter2@a\"",
        "url = \"redis://gate:hunter2@a",
        "url = { redis = \"gate:hunter2@a\" }",
        "url = \"hunter2\"",
        "url = \"redis:hunter2\"",
        "url = \"http://hunter2\"",
        "url = \"redis://:hunter2\"",
        "url = \"redis://gate:hunter2\"",
        "url = \"redis://[hunter2]\"",
        "url = \"redis://hunter2/one\"",
        "url = \"redis://a:1/hunter2\"",
        "url = \"redis://a?password=hunter2\"",
        "url = [\"redis://a:1\", \"hunter2\"]",
        "url = [\"redis://hunter2\", \"redis://hunter2\"]",
        "url = \"redis://hunter2",
        "url = \"redis://hunter2\"\nlease = 5",
        "url = [\"redis://hunter2/1\"]",
        "url = \"redis://a:1\"\npassword = \"hunter2\"",
        "password = { is = \"hunter2\" }",
    ] {
        let found = config_with(&format!("[store]\n{store}"), "").unwrap_err();
        for shown in [
            found.render(true),
            found.render(false),
            found.to_json().to_string(),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn values_under_names_of_secrets_are_shown_in_no_mistake() {
    for route in [
        // Another key is wrong, on the same line or on a line between the two
        // places of one mistake.
        "request = { set_headers = { x-vault-token = \"hunter2\" }, max_bdy = 1 }",
        "request = { set_headers = { x-vault-token = \"hunter2 \" } }",
        "request = { set_headers = { x-vault-token = \"hunter2\", X-Vault-Token = \"hunter2\" } }",
        "match = { query = { api_key = \"hunter2\" }, path = \"a\" }",
        "match = { headers = { Authorization = \"hunter2\" }, methods = [\"get\"] }",
        "request = { set_headers = \"x-token: hunter2\" }",
        "request = { set_headers = [\"x-token: hunter2\"] }",
        "headers = { x-token = \"hunter2\" }",
        "api_key = \"hunter2\"",
        "request.set_headers = { x-token = \"hunter2\" \nretry = 1",
        "request = { set_headers = { x-token = \"hunter2\" y = 1 } }",
        "request = { set_headers = { x-token = hunter2 } }",
        "request = { set_headers = { authorization = Bearer hunter2 } }",
        "request = { set_headers = { x = -token = \"hunter2\" } }",
        "request = { set_headers = { x-token = 'hunter2' }, max_body = 1 2 }",
        "[routes.match.query]\nkey = \"hunter2\"\nkey = \"b\"",
        "[routes.retry]\non = [\n\"5xx\"\n]\n[routes.request.set_headers]\nx-secret = \"\"\"hunter2\nhunter2\"\"\"\nconnection = \"x\"",
    ] {
        let found = config_with("", route).unwrap_err();
        for shown in [
            found.render(true),
            found.render(false),
            found.to_json().to_string(),
        ] {
            assert!(!shown.contains("hunter2"), "{route}\n{shown}");
        }
    }
    let found = config_with("", "request = { set_headers = { x-token = 1234567 } }")
        .unwrap_err()
        .render(false);
    assert!(
        !found.contains("1234567") && found.contains("write it in quotes"),
        "{found}"
    );
    let limit = "[limits.l]\nkey = \"header:x-api-key\"\nrate = \"1/s\"\noverrides = [{ match = \"hunter2\", rate = 1 }]";
    let found = config_with(limit, "").unwrap_err().render(false);
    assert!(!found.contains("hunter2"), "{found}");
    for value in ["hunter2", "[hunter2]", "\"hunter2"] {
        let limit = format!(
            "[limits.l]\nrate = \"1/s\"\nkey = \"header:x-api-key\"\noverrides = [{{ match = {value}, rate = \"2/s\" }}]"
        );
        let found = config_with(&limit, "").unwrap_err();
        for shown in [
            found.render(true),
            found.render(false),
            found.to_json().to_string(),
        ] {
            assert!(!shown.contains("hunter2"), "{value}\n{shown}");
        }
    }
    let limit = "[limits.l]\nkey = \"header:x-api-key\", rate = \"1/s\"";
    let found = config_with(limit, "").unwrap_err().render(false);
    assert!(
        found.contains("key = \"header:x-api-key\", rate"),
        "{found}"
    );
}

#[test]
fn values_under_names_of_secrets_are_left_out_of_the_view() {
    let names = [
        "x-internal-token",
        "X-Vault-Token",
        "Authorization",
        "x_signature",
        "sessionid",
        "x-credentials",
    ];
    for name in names {
        for keys in [
            format!("request = {{ set_headers = {{ {name} = \"hunter2\" }} }}"),
            format!("response = {{ set_headers = {{ {name} = \"hunter2\" }} }}"),
            format!("match = {{ headers = {{ {name} = \"hunter2\" }} }}"),
            format!("match = {{ query = {{ {name} = \"hunter2\", api_key = \"hunter2\" }} }}"),
        ] {
            let shown = config_with("", &keys).unwrap().shown().to_string();
            assert!(
                !shown.contains("hunter2") && shown.contains("[redacted]"),
                "{keys}: {shown}"
            );
        }
    }
    let limit = "[limits.l]\nrate = \"1/s\"\nkey = \"header:x-api-key\"";
    let shown = config_with(limit, "limits = [\"l\"]").unwrap().shown();
    assert_eq!(
        shown["limits"]["l"]["key"], "header:x-api-key",
        "the name of a header is no secret"
    );
}

#[test]
fn secrets_in_queries_of_the_configuration_are_not_shown() {
    let text = "[upstreams.u]\nservers = [\"http://a\"]\nhealth_check = { path = \"/h?api_key=hunter2\" }\n\
                [[routes]]\nname = \"a\"\nupstream = \"u\"\n\
                [[routes]]\nname = \"b\"\nmatch = { path = \"/b\" }\nredirect = { to = \"https://b/?x=1&token=hunter2\" }\n";
    let none = Environment::default();
    let shown = parse("a.toml", text, &none).unwrap().shown().to_string();
    assert!(
        !shown.contains("hunter2") && shown.contains("/?x=1&token=*******"),
        "{shown}"
    );
    for (right, wrong) in [
        ("{ path", "{ intervl = 1, path"),
        ("{ to", "{ stauts = 1, to"),
    ] {
        let reported = parse("a.toml", &text.replace(right, wrong), &none)
            .unwrap_err()
            .render(false);
        assert!(
            !reported.contains("hunter2") && reported.contains("=*******"),
            "{reported}"
        );
    }
}

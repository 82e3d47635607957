//! `[identities.NAME]`: what is accepted, and how mistakes are told.

use serde_json::json;

use super::{super::Code, config_with, only};

/// An identity that charges the limit `g` with these lines.
fn charging(limit: &str) -> String {
    format!(
        "[identities.users]\nlimit = 'g'\njwt = {{ keys = 'https://idp/jwks', audience = ['orders'] }}\n[limits.g]\nkey = 'client-ip'\n{limit}\n"
    )
}

const ROUTE: &str = "identify = ['users']";

#[test]
fn the_limit_on_wrong_credentials_has_no_key_that_would_have_no_effect() {
    let applied =
        "rate = '10/m'\nburst = 20\nmode = 'shadow'\nstatus = 403\nmax_keys = 1000\ncost = 1";
    config_with(&charging(applied), ROUTE).unwrap();
    for (key, value) in [
        ("cost", "5"),
        ("count", "['401']"),
        ("candidate", "{ rate = '5/m' }"),
        ("tiers", "[{ prefix4 = 16, rate = '50/m' }]"),
        ("plans", "{ gold = { rate = '50/m' } }"),
        (
            "overrides",
            "[{ match = '203.0.113.9', rate = 'unlimited' }]",
        ),
        ("ban", "{ refusals = 5, within = '1m', for = '1h' }"),
        ("delay", "'500ms'"),
    ] {
        let limit = charging(&format!("rate = '10/m'\n{key} = {value}"));
        let (code, text) = only(config_with(&limit, ROUTE));
        assert_eq!(code, Code::Conflict, "{text}");
        assert!(
            text.contains(&format!("`{key}` of `g` has no effect here")),
            "{text}"
        );
    }
    let (_, text) = only(config_with(&charging("in_flight = 3"), ROUTE));
    assert!(
        text.contains("`g` is a cap on requests in flight"),
        "{text}"
    );
}

#[test]
fn limits_of_identities_are_among_the_64_of_a_route() {
    let limits = |most: u32, rest: &str| {
        let names: Vec<_> = (0..most).map(|index| format!("'l{index}'")).collect();
        let tables = (0..most).map(|index| format!("[limits.l{index}]\nrate = '1/s'\n"));
        let top = charging("rate = '10/m'") + &tables.collect::<String>();
        let route = format!("{ROUTE}\nlimits = [{}{rest}]", names.join(","));
        config_with(&top, &route)
    };
    assert!(limits(63, "").is_ok());
    assert!(limits(63, ", 'g'").is_ok());
    let (_, text) = only(limits(64, ""));
    assert!(text.contains("these are 65"), "{text}");
}

#[test]
fn the_view_shows_where_credentials_stand_and_nothing_that_an_identity_has_not() {
    let places = "['header:x-a', 'query:b', 'cookie:c', 'bearer']";
    let top = format!(
        "[identities.a]\njwt = {{ keys = 'https://idp/jwks', audience = ['o'] }}
        [identities.b]\nfrom = {places}\njwt = {{ keys = 'https://idp/jwks', audience = ['o'] }}
        [identities.c]\nforward = {{ url = 'http://127.0.0.1:1/', id = 'header:x-user' }}\n"
    );
    let config = config_with(&top, "identify = ['a', 'b', 'c']").unwrap();
    let shown = &config.shown()["identities"];
    assert_eq!(shown["a"]["from"], json!(["bearer"]));
    let given = json!(["header:x-a", "query:b", "cookie:c", "bearer"]);
    assert_eq!(shown["b"]["from"], given);
    assert!(shown["a"].get("forward").is_none(), "{shown:#}");
    assert!(shown["c"].get("jwt").is_none(), "{shown:#}");
    assert_eq!(shown["c"]["forward"]["timeout"], "1s");
}

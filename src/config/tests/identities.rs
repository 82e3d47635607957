//! `[identities.NAME]`: what is accepted, and how mistakes are told.

use std::fs;

use serde_json::json;

use super::{
    super::{Code, Config, Environment, load},
    config_with, only,
};

/// An identity that charges the limit `g` with these lines.
fn charging(limit: &str) -> String {
    format!(
        "[identities.users]\nlimit = 'g'\njwt = {{ keys = 'https://idp/jwks', audience = ['orders'] }}\n[limits.g]\nkey = 'client-ip'\n{limit}\n"
    )
}

const ROUTE: &str = "identify = ['users']";

#[test]
fn the_limit_on_wrong_credentials_has_no_key_that_would_have_no_effect() {
    let applied = "rate = '10/m'\nburst = 20\nmode = 'shadow'\nstatus = 403\nmax_keys = 1000\ncost = 1\nban = { refusals = 5, within = '1m', for = '1h' }";
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

/// The warnings of a configuration, each with its help.
fn warnings(top: &str, route: &str) -> Vec<(Code, String)> {
    let config = config_with(top, route).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    told(&config)
}

fn told(config: &Config) -> Vec<(Code, String)> {
    let list = config.warnings.list.iter();
    list.map(|one| {
        let help = one.help.as_deref().unwrap_or_default();
        (one.code, format!("{} | {help}", one.message))
    })
    .collect()
}

#[test]
fn what_a_service_makes_useless_is_reported() {
    let named = "[identities.sso]\nforward = { url = 'http://127.0.0.1:1/', id = 'header:x-user', cache = '1d' }\n";
    let nameless = named.replace(", id = 'header:x-user'", "");
    let users = charging("rate = '1/s'");
    assert_eq!(
        warnings(&(users.clone() + named), "identify = ['users', 'sso']"),
        []
    );
    let found = warnings(&(users.clone() + named), "identify = ['sso', 'users']");
    assert_eq!((found.len(), found[0].0), (1, Code::NeverMatches));
    assert!(
        found[0].1.contains("`users` is never asked") && found[0].1.contains("last"),
        "{found:?}"
    );

    let limit = "[limits.each]\nkey = 'identity'\nrate = '1/s'\n[limits.org]\nkey = 'claim:org'\nrate = '1/s'\n";
    let route = "limits = ['each', 'org']\nrequest.set_headers = { x-user = '{identity}', x-org = '{claim:org}' }\n";
    let asking = format!("identify = ['sso']\n{route}");
    assert_eq!(warnings(&(limit.to_owned() + named), &asking), []);
    let found = warnings(&(limit.to_owned() + &nameless), &asking);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0]
            .1
            .contains("`identity` of the limit `each` is always missing here")
    );
    assert!(
        found[1].1.contains("the header `x-user` is never sent")
            && found[1].1.contains("add `id =")
    );
    let both = format!("identify = ['users', 'sso']\n{route}");
    assert_eq!(warnings(&(users + limit + &nameless), &both), []);

    let found = warnings(&named.replace("1d", "100d"), "identify = ['sso']");
    assert_eq!(
        (found.len(), found[0].0),
        (1, Code::Misleading),
        "{found:?}"
    );
}

#[test]
fn a_file_without_keys_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    let text = "[identities.partners]\napi_keys = 'keys.toml'\n[[routes]]\nname = 'r'\nidentify = ['partners']\nrespond = { status = 200 }\n";
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("keys.toml"), "# none yet\n").unwrap();
    let found = told(&load(&file, &Environment::new()).unwrap());
    assert_eq!((found.len(), found[0].0), (1, Code::NeverMatches));
    assert!(found[0].1.contains("the file has no keys"), "{found:?}");
}

//! Overrides: some keys have other numbers than the rest of their limit.

use super::{
    TRUST, admitted, decisions, one_limit, one_limit_text, status_for,
    support::{Message, gateway::Gateway},
};

/// Sends requests of this user.
fn by<'g>(gateway: &'g Gateway, user: &'g str) -> impl FnMut() -> Message + 'g {
    move || gateway.ask("GET", "/", &[&format!("X-User: {user}")])
}

#[test]
fn matching_keys_have_the_numbers_of_their_override() {
    let overrides = "overrides = [{ match = 'big', rate = '6/h' }, { match = ['tiny', 'small'], rate = '1/h' }]";
    let gateway = one_limit(
        &format!("key = 'header:x-user'\nrate = '3/h'\n{overrides}"),
        "",
    );
    for (user, expected) in [
        ("big", 6),
        ("tiny", 1),
        ("small", 1),
        ("other", 3),
        ("Big", 3),
        ("*", 3),
    ] {
        assert_eq!(admitted(8, by(&gateway, user)), expected, "{user}");
    }
    assert_eq!(by(&gateway, "big")().get("retry-after"), Some("600"));
}

#[test]
fn an_override_of_a_composite_key_matches_part_by_part() {
    let overrides = "overrides = [{ match = [['big', '*']], rate = '4/h', burst = 5 }, { match = [['*', '/free']], rate = '9/h' }]";
    let gateway = one_limit(
        &format!("key = ['header:x-user', 'path']\nrate = '2/h'\n{overrides}"),
        "",
    );
    let admitted = |user: &str, path: &str| {
        admitted(12, || {
            gateway.ask("GET", path, &[&format!("X-User: {user}")])
        })
    };
    assert_eq!(
        (admitted("big", "/a"), admitted("big", "/b")),
        (5, 5),
        "each path has a bucket"
    );
    assert_eq!(
        (admitted("other", "/free"), admitted("big", "/free")),
        (9, 5),
        "the first override in the file wins"
    );
    assert_eq!(admitted("other", "/a"), 2);
}

#[test]
fn the_first_override_in_the_file_wins_however_it_matches() {
    for (first, second, expected) in [
        ("'192.0.2.0/24'", "'192.0.2.7'", 2),
        ("'192.0.2.7'", "'192.0.2.0/24'", 2),
        ("'10.0.0.0/8'", "'192.0.2.7'", 3),
        ("'*'", "'192.0.2.7'", 2),
    ] {
        let overrides = format!(
            "overrides = [{{ match = {first}, rate = '2/h' }}, {{ match = {second}, rate = '3/h' }}]"
        );
        let gateway = one_limit(
            &format!("key = 'client-ip'\nrate = '1/h'\n{overrides}"),
            TRUST,
        );
        let admitted = (0..6)
            .filter(|_| status_for(&gateway, "192.0.2.7") == 200)
            .count();
        assert_eq!(admitted, expected, "{first} {second}");
    }
}

#[test]
fn a_network_matches_its_addresses_and_each_client_keeps_its_own_bucket() {
    let overrides = "overrides = [{ match = ['10.0.0.0/8', '2001:db8::/32', '2001:db9:1:2::/64'], rate = '3/h' }]";
    let gateway = one_limit(
        &format!("key = 'client-ip'\nrate = '1/h'\n{overrides}"),
        TRUST,
    );
    for (client, expected) in [
        ("10.1.2.3", 3),
        ("10.1.2.4", 3),
        ("::ffff:10.1.2.5", 3),
        ("11.1.2.3", 1),
        ("2001:db8:7::1", 3),
        ("2001:db8:8::1", 3),
        ("2001:db9:1:2:3::4", 3),
        ("2001:db9:1:3::4", 1),
    ] {
        assert_eq!(
            (0..6)
                .filter(|_| status_for(&gateway, client) == 200)
                .count(),
            expected,
            "{client}"
        );
    }
}

#[test]
fn an_unlimited_client_passes_tiers_too_and_holds_no_bucket() {
    let limit = "key = 'client-ip'\nrate = '2/h'\ntiers = [{ prefix = 56, rate = '3/h' }]
        overrides = [{ match = '2001:db8:0:1::/64', rate = 'unlimited' }]";
    let gateway = one_limit(limit, TRUST);
    assert!((0..10).all(|_| status_for(&gateway, "2001:db8:0:1::1") == 200));
    assert_eq!(gateway.metric("tidegate_limit_keys", &[]), 0.0);
    assert_eq!(decisions(&gateway, "l", "allowed"), 10.0);
    let admitted = (2..20)
        .filter(|network| status_for(&gateway, &format!("2001:db8:0:{network:x}::1")) == 200)
        .count();
    assert_eq!(
        admitted, 3,
        "an unlimited client takes nothing from its neighbours' tier"
    );
}

#[test]
fn an_override_does_not_match_the_replacement_of_a_missing_part() {
    let limit = "key = 'header:x-user'\nmissing = 'host'\nrate = '1/h'\noverrides = [{ match = 'big', rate = '5/h' }]";
    let gateway = one_limit(limit, "");
    assert_eq!(admitted(6, || gateway.ask("GET", "/", &["Host: big"])), 1);
    assert_eq!(admitted(6, by(&gateway, "big")), 5);
}

#[test]
fn a_reload_that_changes_an_override_keeps_the_used_share() {
    let text = |overrides: &str| {
        one_limit_text(
            &format!("key = ['header:x-user', 'host']\nrate = '2/h'\n{overrides}"),
            "",
        )
    };
    let with = |rate: &str| {
        text(&format!(
            "overrides = [{{ match = [['big', '*']], rate = '{rate}' }}]"
        ))
    };
    let gateway = Gateway::start(&with("4/h"));
    assert_eq!(admitted(6, by(&gateway, "big")), 4);
    gateway.reload_with(&with("100/h"));
    assert_eq!(
        admitted(3, by(&gateway, "big")),
        0,
        "an exhausted key stays exhausted"
    );
    gateway.reload_with(&text(""));
    assert_eq!(
        admitted(3, by(&gateway, "big")),
        0,
        "an exhausted key stays exhausted under the limit's own numbers"
    );
    let other = || by(&gateway, "half")();
    assert_eq!(admitted(1, other), 1);
    gateway.reload_with(&text(
        "overrides = [{ match = [['half', '*']], rate = '10/h' }]",
    ));
    assert_eq!(
        admitted(9, || by(&gateway, "half")()),
        5,
        "half of the ten tokens are used"
    );
}

#[test]
fn a_candidate_ignores_keys_with_an_override() {
    let limit = "key = 'header:x-user'\nrate = '2/h'\ncandidate = { rate = '1/h' }\noverrides = [{ match = 'big', rate = '9/h' }]";
    let gateway = one_limit(limit, "");
    assert_eq!(admitted(9, by(&gateway, "big")), 9);
    assert_eq!(decisions(&gateway, "l", "candidate_refused"), 0.0);
    assert_eq!(admitted(2, by(&gateway, "other")), 2);
    assert_eq!(decisions(&gateway, "l", "candidate_refused"), 1.0);
}

#[test]
fn thousands_of_overrides_are_found_as_fast_as_one() {
    let values: String = (0..5000).map(|n| format!("'user-{n}',")).collect();
    let overrides = format!(
        "overrides = [{{ match = [{values}], rate = '2/h' }}, {{ match = 'last', rate = '3/h' }}]"
    );
    let gateway = one_limit(
        &format!("key = 'header:x-user'\nrate = '1/h'\n{overrides}"),
        "",
    );
    assert_eq!(
        ["user-0", "user-4999", "user-5000", "last"].map(|user| admitted(4, by(&gateway, user))),
        [2, 2, 1, 3]
    );
}

#[test]
fn an_override_matches_every_spelling_of_its_value() {
    for (key, value, path, line) in [
        (
            "header:authorization",
            "Bearer  t",
            "/",
            "Authorization: bearer t",
        ),
        (
            "header:authorization",
            "bearer t",
            "/",
            "Authorization: BEARER  t",
        ),
        ("cookie:sid", "a/b c", "/", "Cookie: sid=a%2Fb+c"),
        ("path", "/a%40b", "/a@b", "A: 1"),
        ("host", "Shop.example.", "/", "Host: shop.example:80"),
    ] {
        let overrides = format!("overrides = [{{ match = '{value}', rate = '3/h' }}]");
        let gateway = one_limit(&format!("key = '{key}'\nrate = '1/h'\n{overrides}"), "");
        assert_eq!(
            admitted(5, || gateway.ask("GET", path, &[line])),
            3,
            "{key} {value}"
        );
    }
}

#[test]
fn an_override_for_any_value_does_not_match_a_missing_one() {
    let limit = "key = 'header:x-user'\nrate = '1/h'\noverrides = [{ match = '*', rate = '4/h' }]";
    let gateway = one_limit(limit, "");
    assert_eq!(admitted(6, by(&gateway, "a")), 4);
    assert_eq!(
        admitted(6, || gateway.get("/")),
        1,
        "requests without the header have the limit's own numbers"
    );
    let limit = "key = ['header:x-user', 'path']\nrate = '1/h'\noverrides = [{ match = [['*', '/free']], rate = '4/h' }]";
    let gateway = one_limit(limit, "");
    assert_eq!(
        admitted(6, || gateway.ask("GET", "/free", &["X-User: a"])),
        4
    );
    assert_eq!(admitted(6, || gateway.get("/free")), 1);
}

#[test]
fn requests_without_the_key_have_numbers_of_their_own() {
    let limit = "key = 'header:x-user'\nrate = '5000/h'\nburst = 4\n\
                 missing = { key = 'client-ip', rate = '60/h', burst = 2 }\ncandidate = { rate = '1/h' }\n\
                 overrides = [{ match = '*', rate = '9/h', burst = 3 }]";
    let gateway = one_limit(limit, TRUST);
    let without = |client: &str| {
        admitted(6, || {
            gateway.ask("GET", "/", &[&format!("X-Forwarded-For: {client}")])
        })
    };
    assert_eq!((without("192.0.2.1"), without("192.0.2.2")), (2, 2));
    let refused = gateway.ask("GET", "/", &["X-Forwarded-For: 192.0.2.1"]);
    assert_eq!(refused.get("retry-after"), Some("60"));
    assert!(
        refused
            .get("ratelimit-policy")
            .unwrap()
            .contains("q=2;w=120"),
        "{:?}",
        refused.get("ratelimit-policy")
    );
    assert_eq!(admitted(6, by(&gateway, "a")), 3);
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        0.0,
        "the candidate ignores keys with numbers of their own"
    );
    let key = gateway.call_admin("GET", "/limits/l/keys?missing=192.0.2.1", &[]);
    let key: serde_json::Value = serde_json::from_slice(&key.body).unwrap();
    assert_eq!(
        (&key["rate"], &key["burst"], &key["remaining"]),
        (&"60/h".into(), &2.into(), &0.into())
    );
    let shown = gateway.call_admin("GET", "/limits", &[]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
    let missing = serde_json::json!({ "key": "client-ip", "rate": "60/h", "burst": 2 });
    assert_eq!(shown[0]["missing"], missing);
}

#[test]
fn a_reload_that_changes_the_numbers_for_a_missing_key_keeps_the_used_share() {
    let text = |missing: &str| {
        one_limit_text(
            &format!("key = 'header:x-user'\nrate = '9/h'\nmissing = {missing}"),
            "",
        )
    };
    let gateway = Gateway::start(&text("{ key = 'client-ip', rate = '4/h' }"));
    assert_eq!(admitted(2, || gateway.get("/")), 2);
    gateway.reload_with(&text("{ key = 'client-ip', rate = '10/h' }"));
    assert_eq!(
        admitted(9, || gateway.get("/")),
        5,
        "half of the ten tokens are used"
    );
    gateway.reload_with(&text("'client-ip'"));
    assert_eq!(admitted(9, || gateway.get("/")), 0);
    assert_eq!(admitted(12, by(&gateway, "a")), 9);
}

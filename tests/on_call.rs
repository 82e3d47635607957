//! Calls for an operator: the keys with the most requests, the state of a key,
//! refilling its bucket, and temporary numbers. Also buckets that survive a
//! restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Client, Upstream,
    gateway::{Gateway, Start, responding},
};
const PER_USER: &str = "[limits.l]\nkey = 'header:x-user'\nrate = '1/h'\nburst = 3\n";

fn one_limit(limit: &str) -> String {
    format!("{limit}\n{}", responding("r", "limits = ['l']"))
}

#[track_caller]
fn admin(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, Value) {
    admin_with(gateway, method, path, body, "")
}

#[track_caller]
fn admin_with(
    gateway: &Gateway,
    method: &str,
    path: &str,
    body: &str,
    lines: &str,
) -> (u16, Value) {
    let mut client = Client::connect(gateway.admin());
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}");
    let response = client.exchange(format!(
        "{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    (
        response.status(),
        serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{}", response.text())),
    )
}

/// The `detail` of a failed call.
#[track_caller]
fn detail(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, String) {
    let (status, problem) = admin(gateway, method, path, body);
    assert_eq!(problem["status"], status, "{problem}");
    (status, problem["detail"].as_str().unwrap().to_owned())
}

#[track_caller]
fn status_of(gateway: &Gateway, user: &str) -> u16 {
    gateway
        .ask("GET", "/", &[&format!("X-User: {user}")])
        .status()
}

fn ask_times(gateway: &Gateway, user: &str, times: usize) {
    for _ in 0..times {
        status_of(gateway, user);
    }
}

#[test]
fn the_keys_with_the_most_requests_are_listed_with_their_decisions() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    for (user, times) in [("a", 5), ("b", 2), ("c", 1)] {
        ask_times(&gateway, user, times);
    }
    let (status, top) = admin(&gateway, "GET", "/limits/l/top", "");
    assert_eq!(status, 200);
    let rows: Vec<_> = top
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            json!([
                row["key"],
                row["admitted"],
                row["refused"],
                row["remaining"]
            ])
        })
        .collect();
    assert_eq!(
        rows,
        [
            json!([["a"], 3, 2, 0]),
            json!([["b"], 2, 0, 1]),
            json!([["c"], 1, 0, 2])
        ]
    );
    assert_eq!(
        (&top[0]["rate"], &top[0]["burst"], &top[0]["until"]),
        (&json!("1/h"), &json!(3), &json!(null))
    );
    assert!(
        (10_700..=10_800).contains(&top[0]["reset_seconds"].as_u64().unwrap()),
        "{top}"
    );
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/top?n=1", "")
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_list_of_heavy_keys_survives_a_reload_of_the_numbers() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    status_of(&gateway, "a");
    gateway.reload_with(&one_limit(&PER_USER.replace("burst = 3", "burst = 30")));
    let top = admin(&gateway, "GET", "/limits/l/top", "").1;
    assert_eq!(
        (&top[0]["key"], &top[0]["admitted"], &top[0]["burst"]),
        (&json!(["a"]), &json!(1), &json!(30))
    );
}

#[test]
fn viewing_a_key_takes_nothing_and_an_unknown_key_is_full() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    status_of(&gateway, "a b");
    for _ in 0..5 {
        let key = admin(&gateway, "GET", "/limits/l/keys?key=a%20b", "").1;
        assert_eq!(
            (&key["key"], &key["remaining"], &key["admitted"]),
            (&json!(["a b"]), &json!(2), &json!(1))
        );
    }
    let never = admin(&gateway, "GET", "/limits/l/keys?key=never", "").1;
    let expected = json!({ "key": ["never"], "hash": never["hash"], "rate": "1/h", "burst": 3, "remaining": 3, "reset_seconds": 0, "admitted": 0, "refused": 0, "until": null });
    assert_eq!(never["hash"].as_str().map(str::len), Some(16));
    assert_eq!(never, expected);
}

#[test]
fn a_key_is_found_by_every_spelling_of_its_value() {
    for (key, line, names) in [
        ("header:x-user", "X-User: a  b", ["a%20b", "%20a%09b%20"]),
        (
            "header:authorization",
            "Authorization: BEARER t",
            ["Bearer%20t", "bearer%20%20t"],
        ),
        ("cookie:sid", "Cookie: sid=a%2Bb", ["a+b", "a%2Bb"]),
        ("path", "A: 1", ["/%2540", "/@"]),
    ] {
        let gateway = Gateway::start(&one_limit(&format!(
            "[limits.l]\nkey = '{key}'\nrate = '1/h'\nburst = 3\n"
        )));
        assert_eq!(gateway.ask("GET", "/%40", &[line]).status(), 200);
        let top = admin(&gateway, "GET", "/limits/l/top", "").1;
        for name in names {
            let found = admin(&gateway, "GET", &format!("/limits/l/keys?key={name}"), "").1;
            assert_eq!(
                (&found["remaining"], &found["key"]),
                (&json!(2), &top[0]["key"]),
                "{key} {name}"
            );
        }
    }
}

#[test]
fn a_bucket_can_be_refilled() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    ask_times(&gateway, "a", 4);
    assert_eq!(status_of(&gateway, "a"), 429);
    let (status, key) = admin(&gateway, "DELETE", "/limits/l/keys?key=a", "");
    assert_eq!((status, &key["remaining"]), (200, &json!(3)));
    assert_eq!(status_of(&gateway, "a"), 200);
    let line = gateway.logged("a key's bucket is filled");
    assert!(line["limit"] == "l" && line["peer"].is_string(), "{line}");
    let hash = gateway.access_line()["key"].clone();
    assert_eq!(line["key"], hash, "the hash of the access lines");
}

#[test]
fn a_cap_shows_the_keys_in_flight_and_gives_them_other_numbers() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&format!(
        "[limits.l]\nkey = 'header:x-user'\nin_flight = 2\n[upstreams.u]\nservers = ['{}']\n[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        upstream.url()
    ));
    let held: Vec<_> = (0..2)
        .map(|_| {
            let client = gateway.sent("/", &["X-User: a"]);
            reached.recv_timeout(support::TIMEOUT).unwrap();
            client
        })
        .collect();
    assert_eq!(status_of(&gateway, "a"), 429);
    let (_, shown) = admin(&gateway, "GET", "/limits", "");
    assert_eq!(
        (&shown[0]["in_flight"], &shown[0]["held"], &shown[0]["keys"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let (_, top) = admin(&gateway, "GET", "/limits/l/top", "");
    assert_eq!(
        (&top[0]["in_flight"], &top[0]["held"], &top[0]["remaining"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(
        (&top[0]["admitted"], &top[0]["refused"], &top[0]["rate"]),
        (&json!(2), &json!(1), &json!(null))
    );
    // Permits come back when requests end, and by nothing else.
    let (status, why) = admin(&gateway, "DELETE", "/limits/l/keys?key=a", "");
    assert_eq!(status, 409, "{why}");
    let (status, why) = admin(
        &gateway,
        "PUT",
        "/limits/l/keys?key=a",
        r#"{"rate": "9/h", "ttl": "1h"}"#,
    );
    assert_eq!(status, 400, "{why}");
    let (status, key) = admin(
        &gateway,
        "PUT",
        "/limits/l/keys?key=a",
        r#"{"in_flight": 3, "ttl": "1h"}"#,
    );
    assert_eq!(
        (status, &key["in_flight"], &key["remaining"]),
        (200, &json!(3), &json!(1))
    );
    let third = gateway.sent("/", &["X-User: a"]);
    reached.recv_timeout(support::TIMEOUT).unwrap();
    assert_eq!(status_of(&gateway, "a"), 429);
    let (status, key) = admin(&gateway, "DELETE", "/limits/l/keys?key=a", "");
    assert_eq!((status, &key["in_flight"]), (200, &json!(2)));
    gateway.logged("a key's own numbers or its ban are ended");
    (0..3).for_each(|_| leave.open());
    drop((held, third));
}

#[test]
fn temporary_numbers_survive_a_reload_until_they_are_ended() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    assert_eq!(status_of(&gateway, "b"), 200);
    let given = r#"{"rate": "10/h", "burst": 9, "ttl": "1h"}"#;
    let (status, key) = admin(&gateway, "PUT", "/limits/l/keys?key=a", given);
    assert_eq!(
        (status, &key["rate"], &key["burst"], &key["remaining"]),
        (200, &json!("10/h"), &json!(9), &json!(9))
    );
    let until = humantime::parse_rfc3339(key["until"].as_str().unwrap()).unwrap();
    let left = until.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500));
    assert_eq!(
        (0..12).filter(|_| status_of(&gateway, "a") == 200).count(),
        9
    );
    let line = gateway.logged("a key has other numbers for a while");
    assert_eq!(
        (&line["limit"], &line["rate"]),
        (&json!("l"), &json!("10/h"))
    );
    assert_eq!(admin(&gateway, "GET", "/limits", "").1[0]["temporary"], 1);

    gateway.reload_with(&one_limit(&PER_USER.replace("burst = 3", "burst = 4")));
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?key=a", "").1["burst"],
        9
    );
    assert_eq!(status_of(&gateway, "a"), 429);
    admin(&gateway, "DELETE", "/limits/l/keys?key=a", "");
    assert_eq!(
        (0..9).filter(|_| status_of(&gateway, "a") == 200).count(),
        4
    );
    assert_eq!(admin(&gateway, "GET", "/limits", "").1[0]["temporary"], 0);
}

#[test]
fn temporary_numbers_expire_without_a_request() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    admin(
        &gateway,
        "PUT",
        "/limits/l/keys?key=a",
        r#"{"rate": "10/h", "ttl": "10ms"}"#,
    );
    gateway.logged("the time of other numbers for keys is over");
    let key = admin(&gateway, "GET", "/limits/l/keys?key=a", "").1;
    assert_eq!((&key["burst"], &key["until"]), (&json!(3), &json!(null)));
    assert_eq!(
        (0..9).filter(|_| status_of(&gateway, "a") == 200).count(),
        3
    );
}

#[test]
fn changes_need_the_token_if_one_is_set_and_views_do_not() {
    let text = format!(
        "[admin]\nbind = '127.0.0.1:0'\ntoken_file = 'token'\n{}",
        one_limit(PER_USER)
    );
    let gateway = Start::new(&text).file("token", "s3cret").go();
    let put = r#"{"rate": "10/h", "ttl": "1h"}"#;
    assert_eq!(admin(&gateway, "PUT", "/limits/l/keys?key=a", put).0, 401);
    assert_eq!(admin(&gateway, "DELETE", "/limits/l/keys?key=a", "").0, 401);
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?key=a", "").1["burst"],
        3
    );
    let token = "Authorization: Bearer s3cret\r\n";
    assert_eq!(
        admin_with(&gateway, "PUT", "/limits/l/keys?key=a", put, token).1["burst"],
        10
    );
    assert_eq!(admin(&gateway, "GET", "/limits/l/top", "").0, 200);
}

#[test]
fn values_of_keys_are_shown_only_with_the_token_if_one_is_set() {
    let text = format!(
        "[admin]\nbind = '127.0.0.1:0'\ntoken_file = 'token'\n{}",
        one_limit(PER_USER)
    );
    let gateway = Start::new(&text).file("token", "s3cret").go();
    status_of(&gateway, "alice");
    let token = "Authorization: Bearer s3cret\r\n";
    for path in ["/limits/l/top", "/limits/l/keys?key=alice"] {
        let first = |response: Value| {
            if response.is_array() {
                response[0].clone()
            } else {
                response
            }
        };
        for lines in ["", "Authorization: Bearer wrong\r\n"] {
            let hidden = first(admin_with(&gateway, "GET", path, "", lines).1);
            assert_eq!(
                (&hidden["key"], &hidden["remaining"]),
                (&json!(null), &json!(2)),
                "{path}"
            );
            assert!(hidden["hash"].is_string(), "{path}: {hidden}");
        }
        let shown = first(admin_with(&gateway, "GET", path, "", token).1);
        assert_eq!(shown["key"], json!(["alice"]), "{path}");
    }
}

#[test]
fn without_a_token_four_characters_of_a_possible_credential_are_shown() {
    for (key, path, line, shown) in [
        (
            "['header:authorization', 'client-ip']",
            "/r/1",
            "Authorization: Bearer s3cret-token",
            json!(["bear…", "127.0.0.1"]),
        ),
        (
            "'header:x-api-key'",
            "/r/1",
            "X-Api-Key: s3cret-token",
            json!(["s3cr…"]),
        ),
        (
            "'cookie:SessionID'",
            "/r/1",
            "Cookie: SessionID=s3cret-token",
            json!(["s3cr…"]),
        ),
        (
            "'query:access_token'",
            "/r/1?access_token=s3cret-token",
            "A: 1",
            json!(["s3cr…"]),
        ),
        (
            "'param:reset_token'",
            "/r/s3cret-token",
            "A: 1",
            json!(["s3cr…"]),
        ),
        (
            "'header:x-user'",
            "/r/1",
            "X-User: s3cret-token",
            json!(["s3cret-token"]),
        ),
        (
            "'header:x-user'\nmissing = 'cookie:session'",
            "/r/1",
            "Cookie: session=s3cret-token",
            json!(["s3cr…"]),
        ),
    ] {
        let route = responding("r", "limits = ['l']\nmatch = { path = '/r/{reset_token}' }");
        let gateway = Gateway::start(&format!("[limits.l]\nkey = {key}\nrate = '1/h'\n{route}"));
        assert_eq!(gateway.ask("GET", path, &[line]).status(), 200);
        let top = admin(&gateway, "GET", "/limits/l/top", "").1;
        assert_eq!(top[0]["key"], shown, "{key}");
        let hash = top[0]["hash"].as_str().unwrap();
        let key_of = admin(&gateway, "GET", &format!("/limits/l/keys?hash={hash}"), "").1;
        assert_eq!(key_of["key"], shown, "{key}");
    }
}

#[test]
fn the_hash_of_an_access_line_leads_to_its_key() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    ask_times(&gateway, "a", 2);
    let hash = gateway.access_line()["key"].as_str().unwrap().to_owned();
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/top", "").1[0]["hash"],
        *hash
    );
    let path = format!("/limits/l/keys?hash={hash}");
    let found = admin(&gateway, "GET", &path, "").1;
    assert_eq!(
        (&found["key"], &found["remaining"], &found["hash"]),
        (&json!(["a"]), &json!(1), &json!(hash))
    );
    assert_eq!(found, admin(&gateway, "GET", "/limits/l/keys?key=a", "").1);
    assert_eq!(
        admin(&gateway, "PUT", &path, r#"{"rate": "10/h", "ttl": "1h"}"#).1["burst"],
        10
    );
    assert_eq!(admin(&gateway, "DELETE", &path, "").1["remaining"], 3);
    for wrong in ["0123456789abcdef", "xyz", "", "+123456789abcdef"] {
        let (status, why) = detail(&gateway, "GET", &format!("/limits/l/keys?hash={wrong}"), "");
        assert!(status == 400 && why.contains("hash"), "{wrong}: {why}");
    }
}

#[test]
fn networks_of_ipv4_are_named_and_shown_as_networks() {
    let text = format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n{}",
        one_limit(
            "[limits.l]\nkey = 'client-ip/24/56'\nrate = '2/h'\ntiers = [{ prefix4 = 16, rate = '3/h' }]"
        )
    );
    let gateway = Gateway::start(&text);
    gateway.ask("GET", "/", &["X-Forwarded-For: 192.0.2.7"]);
    let look = |limit: &str, key: &str| {
        admin(
            &gateway,
            "GET",
            &format!("/limits/{limit}/keys?key={key}"),
            "",
        )
        .1
    };
    for key in [
        "192.0.2.9",
        "192.0.2.0/24",
        "::ffff:192.0.2.0/120",
        "192.0.2.8/30",
    ] {
        let view = look("l", key);
        assert_eq!(
            (&view["remaining"], &view["key"][0]),
            (&json!(1), &json!("192.0.2.0/24"))
        );
    }
    let of_tier = look("l%2Fv4-16", "192.0.99.1");
    assert_eq!(
        (&of_tier["remaining"], &of_tier["key"][0]),
        (&json!(2), &json!("192.0.0.0/16"))
    );
    let refused = |limit: &str, key: &str| look(limit, key)["detail"].as_str().unwrap().to_owned();
    assert!(refused("l", "192.0.0.0/16").contains("each /24 has a bucket of its own"));
    assert!(refused("l%2Fv4-16", "2001:db8::1").contains("about IPv4 networks alone"));
    let top = admin(&gateway, "GET", "/limits/l/top", "").1;
    assert_eq!(top[0]["key"], json!(["192.0.2.0/24"]));
}

#[test]
fn the_client_is_named_by_its_address_or_its_network() {
    let text = format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n{}",
        one_limit("[limits.l]\nkey = 'client-ip'\nrate = '2/h'")
    );
    let gateway = Gateway::start(&text);
    for client in ["192.0.2.7", "2001:db8:1:2::9"] {
        gateway.ask("GET", "/", &[&format!("X-Forwarded-For: {client}")]);
    }
    let left = |key: &str| {
        admin(&gateway, "GET", &format!("/limits/l/keys?key={key}"), "").1["remaining"].clone()
    };
    for key in [
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "192.0.2.7%2F32",
        "2001:db8:1:2::/64",
        "2001:db8:1:2::77",
        "2001:DB8:1:2::1/128",
    ] {
        assert_eq!(left(key), 1, "{key}");
    }
    assert_eq!(left("192.0.2.8"), 2);
    let top = admin(&gateway, "GET", "/limits/l/top", "").1;
    let shown: Vec<_> = top
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["key"][0].as_str().unwrap())
        .collect();
    assert!(
        shown.contains(&"192.0.2.7") && shown.contains(&"2001:db8:1:2::/64"),
        "{shown:?}"
    );
    let refused = |key: &str| detail(&gateway, "GET", &format!("/limits/l/keys?key={key}"), "");
    assert!(
        refused("fred")
            .1
            .contains("\"fred\" is no address; write one such as 192.0.2.1")
    );
    assert!(
        refused("2001:db8::/32")
            .1
            .contains("each /64 has a bucket of its own")
    );
    assert!(
        refused("192.0.2.0/24")
            .1
            .contains("each IPv4 address has a bucket of its own")
    );
}

#[test]
fn parts_are_given_in_their_order_and_match_those_of_requests() {
    let limit = "[limits.l]\nkey = ['route', 'header:x-a', 'host', 'path', 'method', 'query:q']\nrate = '2/h'";
    let gateway = Gateway::start(&one_limit(limit));
    gateway.ask(
        "GET",
        "/x/../p%70?q=1%202",
        &["X-A: v", "Host: EXAMPLE.com:81"],
    );
    let path = "/limits/l/keys?key=r&key=v&key=Example.COM&key=/pp&key=GET&key=1+2";
    let key = admin(&gateway, "GET", path, "").1;
    assert_eq!(
        (&key["remaining"], &key["key"]),
        (
            &json!(1),
            &json!(["r", "v", "example.com", "/pp", "GET", "1 2"])
        )
    );
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/top", "").1[0]["key"],
        key["key"]
    );
    let (status, message) = detail(&gateway, "GET", "/limits/l/keys?key=r&key=v", "");
    assert_eq!(status, 400);
    assert!(
        message.contains(
            "2 parts are given; the key is route, header:x-a, host, path, method, query:q"
        ),
        "{message}"
    );
    let wrong = detail(&gateway, "GET", &path.replace("key=r&", "key=z&"), "").1;
    assert!(
        wrong.contains("no route `z` names this limit; those that do: `r`"),
        "{wrong}"
    );
}

#[test]
fn the_replacement_of_a_missing_part_is_shown_and_addressed_apart() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    gateway.get("/");
    status_of(&gateway, "127.0.0.1");
    status_of(&gateway, "127.0.0.1");
    let top = admin(&gateway, "GET", "/limits/l/top", "").1;
    let rows: Vec<_> = top
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["key"], row["missing"], row["remaining"]]))
        .collect();
    assert_eq!(
        rows,
        [
            json!([["127.0.0.1"], null, 1]),
            json!([["127.0.0.1"], [0], 2])
        ]
    );
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?missing=127.0.0.1", "").1["remaining"],
        2
    );
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?key=127.0.0.1", "").1["remaining"],
        1
    );
}

#[test]
fn overrides_and_tiers_are_shown_as_they_apply() {
    let limit = "[limits.l]\nkey = 'client-ip'\nrate = '2/h'\ntiers = [{ prefix = 56, rate = '4/h' }]\n\
                 overrides = [{ match = ['192.0.2.0/24'], rate = '7/h' }, { match = ['198.51.100.1'], rate = 'unlimited' }]";
    let gateway = Gateway::start(&format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n{}",
        one_limit(limit)
    ));
    for client in [
        "192.0.2.7",
        "198.51.100.1",
        "2001:db8:0:1::1",
        "2001:db8:0:2::1",
    ] {
        gateway.ask("GET", "/", &[&format!("X-Forwarded-For: {client}")]);
    }
    let key = |name: &str, key: &str| {
        admin(
            &gateway,
            "GET",
            &format!("/limits/{name}/keys?key={key}"),
            "",
        )
        .1
    };
    assert_eq!(
        (
            &key("l", "192.0.2.7")["burst"],
            &key("l", "192.0.2.7")["remaining"]
        ),
        (&json!(7), &json!(6))
    );
    assert_eq!(
        (
            &key("l", "198.51.100.1")["rate"],
            &key("l", "198.51.100.1")["remaining"]
        ),
        (&json!("unlimited"), &json!(null))
    );
    assert_eq!(
        (
            &key("l/56", "2001:db8::/56")["burst"],
            &key("l/56", "2001:db8::/56")["remaining"]
        ),
        (&json!(4), &json!(2))
    );
    let tier = admin(&gateway, "GET", "/limits/l%2F56/top", "").1;
    assert_eq!(
        (&tier[0]["key"], &tier[0]["admitted"]),
        (&json!(["2001:db8::/56"]), &json!(2))
    );
    assert_eq!(
        detail(
            &gateway,
            "PUT",
            "/limits/l/56/keys?key=2001:db8::/56",
            r#"{"rate":"9/h","ttl":"1h"}"#
        )
        .0,
        409
    );
    // Temporary numbers take precedence over those of the configuration.
    admin(
        &gateway,
        "PUT",
        "/limits/l/keys?key=198.51.100.1",
        r#"{"rate": "1/h", "ttl": "1h"}"#,
    );
    let statuses: Vec<_> = (0..2)
        .map(|_| {
            gateway
                .ask("GET", "/", &["X-Forwarded-For: 198.51.100.1"])
                .status()
        })
        .collect();
    assert_eq!(statuses, [200, 429]);
}

#[test]
fn mistakes_in_a_call_are_explained_with_a_correction() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    let (status, message) = detail(&gateway, "GET", "/limits/x/top", "");
    assert_eq!(
        (status, message.as_str()),
        (404, "there is no limit `x`; there are `l`")
    );
    for (method, path, body, expected) in [
        ("GET", "/limits/l/top?n=0", "", "from 1 to 1000"),
        ("GET", "/limits/l/top?m=1", "", "?n="),
        (
            "GET",
            "/limits/l/keys",
            "",
            "0 parts are given; the key is header:x-user: ?key=HEADER:X-USER",
        ),
        (
            "GET",
            "/limits/l/keys?name=a",
            "",
            "there is no parameter `name`",
        ),
        ("GET", "/limits/l/keys?key=", "", "a value is empty"),
        (
            "PUT",
            "/limits/l/keys?key=a",
            "",
            "such as {\"rate\": \"100/s\"",
        ),
        (
            "PUT",
            "/limits/l/keys?key=a",
            r#"{"rate": "1", "ttl": "1h"}"#,
            "`rate` cannot be \"1\": it has no time; did you mean \"1/s\"",
        ),
        (
            "PUT",
            "/limits/l/keys?key=a",
            r#"{"rate": "1/d", "burst": 4000000000, "ttl": "1h"}"#,
            "takes more than 73 years",
        ),
    ] {
        let (status, message) = detail(&gateway, method, path, body);
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(detail(&gateway, "POST", "/limits/l/keys?key=a", "").0, 405);
    assert_eq!(detail(&gateway, "DELETE", "/limits/l/top", "").0, 405);
}

#[test]
fn the_list_of_endpoints_has_the_calls_about_keys() {
    let gateway = Gateway::start(&one_limit(PER_USER));
    let list = gateway.call_admin("GET", "/", &[]).text();
    for line in [
        "GET    /limits/NAME/top",
        "GET    /limits/NAME/keys",
        "PUT    /limits/NAME/keys",
        "DELETE /limits/NAME/keys",
    ] {
        assert!(list.contains(line), "{list}");
    }
}

/// A limit with persistent buckets.
fn persisted(folder: &Path, limit: &str) -> String {
    format!(
        "[server]\nworkers = 2\nstate_dir = '{}'\n{}",
        folder.display(),
        one_limit(&format!("{limit}\npersist = true"))
    )
}

#[track_caller]
fn stopped(mut gateway: Gateway) {
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn an_exhausted_key_stays_exhausted_after_a_restart_and_refills_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    let statuses: Vec<_> = (0..4).map(|_| status_of(&gateway, "a")).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    stopped(gateway);
    // As if the gateway had been down for half an hour.
    age(&dir.join("l.buckets"), Duration::from_secs(1800));
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l")]),
        1.0
    );
    let refused = gateway.ask("GET", "/", &["X-User: a"]);
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert_eq!(status_of(&gateway, "b"), 200);
}

/// Moves the time of writing in the file into the past, and updates the
/// checksum as the format demands.
fn age(file: &Path, by: Duration) {
    use siphasher::sip::SipHasher13;
    use std::hash::Hasher as _;
    let mut bytes = fs::read(file).unwrap();
    let written = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    assert!(written <= now && written + 60_000_000_000 > now);
    bytes[24..32].copy_from_slice(&(written - by.as_nanos() as u64).to_le_bytes());
    let end = bytes.len() - 8;
    let mut checksum = SipHasher13::new();
    checksum.write(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.finish().to_le_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn other_numbers_after_a_restart_keep_the_used_share() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&persisted(folder.path(), PER_USER));
    ask_times(&gateway, "a", 4);
    stopped(gateway);
    let gateway = Gateway::start(&persisted(
        folder.path(),
        &PER_USER.replace("burst = 3", "burst = 300"),
    ));
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?key=a", "").1["remaining"],
        0
    );
}

#[test]
fn files_are_private_and_written_while_the_gateway_serves() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    status_of(&gateway, "a");
    gateway.await_metric("tidegate_limit_saves_total", &[("outcome", "success")], 1.0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [
            mode(&dir),
            mode(&dir.join("seed")),
            mode(&dir.join("l.buckets"))
        ],
        [0o700, 0o600, 0o600]
    );
    // The gateway is killed, so only the file written while it served remains.
    gateway.signal(Signal::KILL);
    drop(gateway);
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    assert_eq!(
        admin(&gateway, "GET", "/limits/l/keys?key=a", "").1["remaining"],
        2
    );
}

#[test]
fn an_unusable_file_is_a_warning_and_all_buckets_begin_full() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&persisted(folder.path(), PER_USER));
    ask_times(&gateway, "a", 4);
    stopped(gateway);
    let file = folder.path().join("l.buckets");
    let sound = fs::read(&file).unwrap();
    let mut damaged = sound.clone();
    damaged[40] ^= 1;
    let mut newer = sound.clone();
    newer[8] = 9;
    for (bytes, expected) in [
        (&damaged[..], "its checksum is wrong"),
        (&newer[..], "it is of version 9"),
        (&sound[..sound.len() - 5], "it is cut short"),
        (b"hello", "not a file of saved buckets"),
    ] {
        fs::write(&file, bytes).unwrap();
        let gateway = Gateway::start(&persisted(folder.path(), PER_USER));
        assert_eq!(status_of(&gateway, "a"), 200);
        let said = gateway.passed();
        assert!(
            said.contains("saved buckets are not used; all begin full") && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn a_key_of_another_kind_does_not_take_over_buckets() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&persisted(folder.path(), PER_USER));
    ask_times(&gateway, "a", 4);
    stopped(gateway);
    let other = PER_USER.replace("header:x-user", "header:x-other");
    let gateway = Gateway::start(&persisted(folder.path(), &other));
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l")]),
        0.0
    );
}

#[test]
fn a_read_only_folder_is_reported_at_the_start_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (dir, command) in [("file", "run"), ("file/state", "run"), ("file", "check")] {
        let path = folder.path().join(dir);
        let config = folder.path().join("tidegate.toml");
        fs::write(&config, persisted(&path, PER_USER)).unwrap();
        let mut tidegate = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = match command {
            "run" => tidegate
                .arg("run")
                .arg("--config")
                .arg(&config)
                .output()
                .unwrap(),
            _ => tidegate.arg("check").arg(&config).output().unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("(key server.state_dir)") && said.contains(path.to_str().unwrap()),
            "{said}"
        );
    }
}

#[test]
fn a_failing_write_is_logged_once_and_counted_and_so_is_its_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    status_of(&gateway, "a");
    // A folder in place of the temporary file: not even root can write there.
    fs::create_dir(dir.join("l.buckets.next")).unwrap();
    let message = gateway.logged("buckets cannot be saved");
    assert_eq!(message["limit"], "l");
    gateway.await_metric("tidegate_limit_saves_total", &[("outcome", "failure")], 1.0);
    fs::remove_dir(dir.join("l.buckets.next")).unwrap();
    gateway.logged("buckets are saved again");
}

#[test]
fn a_probe_is_served_beside_the_maximum_of_silent_connections() {
    let gateway = Gateway::start(&responding("r", ""));
    let mut slow = Client::connect(gateway.admin());
    slow.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    let silent: Vec<_> = (0..200).map(|_| Client::connect(gateway.admin())).collect();
    for _ in 0..3 {
        assert_eq!(gateway.call_admin("GET", "/livez", &[]).status(), 200);
    }
    drop(silent);
    // Connections in the middle of a call do not keep a probe out, either.
    let calling: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::connect(gateway.admin());
            client.send(
                "PUT /limits/l/keys?key=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
            );
            client
        })
        .collect();
    assert_eq!(gateway.call_admin("GET", "/livez", &[]).status(), 200);
    drop(calling);
}

#[test]
fn a_probe_that_shuts_its_side_after_its_request_is_served() {
    let gateway = Gateway::start(&responding("r", ""));
    for _ in 0..100 {
        let mut client = Client::connect(gateway.admin());
        client.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.finish();
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn a_deleted_state_folder_is_created_again_private_and_with_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("var/state");
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    let seed = fs::read_to_string(dir.join("seed")).unwrap();
    assert_eq!(
        (0..4).filter(|_| status_of(&gateway, "a") == 200).count(),
        3
    );
    fs::remove_dir_all(folder.path().join("var")).unwrap();
    stopped(gateway);
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(
        fs::read_to_string(dir.join("seed")).unwrap(),
        seed,
        "without the seed the debts belong to no key"
    );
    let gateway = Gateway::start(&persisted(&dir, PER_USER));
    assert_eq!(
        status_of(&gateway, "a"),
        429,
        "tokens taken before are still missing"
    );
    // The seed file alone can be deleted, too.
    fs::remove_file(dir.join("seed")).unwrap();
    stopped(gateway);
    assert_eq!(fs::read_to_string(dir.join("seed")).unwrap(), seed);
}

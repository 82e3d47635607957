//! A route with `quota = true`: the state of its limits for the client that
//! asks.

use serde_json::{Value, json};

use super::support::{
    Message, TIMEOUT, Upstream,
    gateway::{Gateway, responding},
    one_route,
};

/// The rows of a response.
#[track_caller]
fn rows(response: &Message) -> Value {
    assert_eq!(response.status(), 200);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["limits"].clone()
}

/// A gateway with these limits on the route `app`, and a route that tells of
/// them.
fn telling(limits: &str, names: &str) -> Gateway {
    let app = responding("app", &format!("limits = {names}"));
    let quota = format!(
        "[[routes]]\nname = 'quota'\nmatch = {{ path = '/quota' }}\nquota = true\nlimits = {names}\n"
    );
    Gateway::start(&format!("{limits}{app}{quota}"))
}

#[test]
fn a_client_is_told_the_state_of_its_limits_and_takes_nothing() {
    let limits = "[limits.l]\nrate = '1/m'\nburst = 3\nkey = 'header:x-user'\n[limits.all]\nrate = '100/h'\n";
    let gateway = telling(limits, "['l', 'all']");
    let ask = |user: &str| gateway.ask("GET", "/quota", &[&format!("X-User: {user}")]);
    let full = json!({ "name": "l", "limit": 3, "remaining": 3, "reset": 0, "window": 180 });
    let all = json!({ "name": "all", "limit": 100, "remaining": 100, "reset": 0, "window": 3600 });
    for _ in 0..5 {
        assert_eq!(rows(&ask("a")), json!([full, all]));
    }
    let app = gateway.ask("GET", "/", &["X-User: a"]);
    assert_eq!(app.get("ratelimit"), Some("\"l\";r=2;t=60"));
    let told = ask("a");
    assert_eq!(
        rows(&told)[0],
        json!({ "name": "l", "limit": 3, "remaining": 2, "reset": 60, "window": 180 })
    );
    assert_eq!(rows(&told)[1]["remaining"], 99);
    assert_eq!(rows(&ask("b"))[0], full);
    assert_eq!(told.get("content-type"), Some("application/json"));
    assert_eq!(
        (told.get("cache-control"), told.get("ratelimit")),
        (Some("no-store"), None)
    );
}

#[test]
fn a_client_without_tokens_is_told_so_and_not_refused() {
    let gateway = telling("[limits.l]\nrate = '1/h'\n", "['l']");
    assert_eq!([gateway.status("/"), gateway.status("/")], [200, 429]);
    let told = rows(&gateway.get("/quota"));
    assert_eq!(
        told,
        json!([{ "name": "l", "limit": 1, "remaining": 0, "reset": 3600, "window": 3600 }])
    );
    assert_eq!(
        gateway.metric("tidegate_limit_decisions_total", &[("route", "quota")]),
        0.0
    );
}

#[test]
fn limits_that_do_not_apply_are_left_out_and_others_say_why() {
    let limit = |name: &str, more: &str| {
        format!("[limits.{name}]\nrate = '5/h'\nkey = 'header:x-{name}'\n{more}\n")
    };
    let limits = [
        limit("skip", "missing = 'skip'"),
        limit("must", "missing = 'refuse'"),
        limit("shadow", "mode = 'shadow'"),
        limit(
            "free",
            "overrides = [{ match = ['a'], rate = 'unlimited' }, { match = ['b'], rate = '9/h' }]",
        ),
    ];
    let gateway = telling(&limits.concat(), "['skip', 'must', 'shadow', 'free']");
    let free = rows(&gateway.ask("GET", "/quota", &["X-Free: a"]));
    assert_eq!(
        free,
        json!([{ "name": "must", "reason": "key_missing" }, { "name": "free", "unlimited": true }])
    );
    let own = rows(&gateway.ask("GET", "/quota", &["X-Free: b", "X-Must: 1", "X-Skip: 1"]));
    let (names, bursts): (Vec<_>, Vec<_>) = own
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["limit"].as_u64().unwrap(),
            )
        })
        .unzip();
    assert_eq!(
        (names, bursts),
        (vec!["skip", "must", "free"], vec![5, 5, 9])
    );
}

#[test]
fn it_is_a_route_like_others() {
    let more = "limits = ['l']\nquota = true\nresponse = { set_headers = { x-a = '1' } }\ncors = { origins = ['*'] }";
    let text = format!("[limits.l]\nrate = '5/h'\n[[routes]]\nname = 'q'\n{more}\n");
    let gateway = Gateway::start(&text);
    let told = gateway.get("/");
    assert_eq!(
        (told.get("x-a"), told.get("access-control-allow-origin")),
        (Some("1"), Some("*"))
    );
    assert_eq!(gateway.access_line()["route"], "q");
}

#[test]
fn a_cap_for_each_key_is_told_with_its_unit() {
    let (upstream, arrived, leave) = Upstream::held();
    let limit = "[limits.l]\nin_flight = 2\nkey = 'header:x-user'\n";
    let quota =
        "[[routes]]\nname = 'quota'\nmatch = { path = '/quota' }\nquota = true\nlimits = ['l']\n";
    let gateway = Gateway::start(&format!(
        "{limit}{}{quota}",
        one_route(&upstream, "limits = ['l']")
    ));
    let mut held = gateway.sent("/held", &["X-User: a"]);
    assert_eq!(arrived.recv_timeout(TIMEOUT).as_deref(), Ok("/held"));
    let told = |user: &str| rows(&gateway.ask("GET", "/quota", &[&format!("X-User: {user}")]));
    let row = |left: u32| json!([{ "name": "l", "limit": 2, "remaining": left, "unit": "concurrent-requests" }]);
    assert_eq!((told("a"), told("b")), (row(1), row(2)));
    leave.open();
    assert_eq!(held.response().status(), 200);
}

#[test]
fn bytes_have_their_unit_and_a_limit_that_admits_nothing_has_no_times() {
    let limits = "[limits.down]\nrate = '10KiB/s'\ncost = { from = 'response-bytes', reserve = 1 }\n[limits.none]\nrate = '0/s'\n";
    let gateway = telling(limits, "['down', 'none']");
    assert_eq!(
        rows(&gateway.get("/quota")),
        json!([
            { "name": "down", "unit": "content-bytes", "limit": 10240, "remaining": 10240, "reset": 0, "window": 1 },
            { "name": "none", "limit": 0, "remaining": 0 },
        ])
    );
}

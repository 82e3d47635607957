//! A rate of zero: nothing is admitted, and no time is told.

use serde_json::json;
use tokio::time::Instant;

use super::{
    decisions, one_limit, one_limit_text,
    support::{Client, Message, gateway::Gateway},
};

/// Blocks one user, and admits three requests of all others.
const BLOCKING: &str =
    "key = 'header:x-user'\nrate = '3/h'\noverrides = [{ match = 'bad', rate = '0/s' }]";

fn ask(gateway: &Gateway, user: &str) -> Message {
    gateway.ask("GET", "/", &[&format!("X-User: {user}")])
}

#[test]
fn a_key_whose_override_has_a_rate_of_zero_is_blocked_and_gets_no_time() {
    let gateway = one_limit(BLOCKING, "");
    for _ in 0..3 {
        let refused = ask(&gateway, "bad");
        assert_eq!(refused.status(), 429);
        assert_eq!(
            ["retry-after", "ratelimit-policy", "ratelimit"].map(|name| refused.get(name)),
            [None, Some("\"l\";q=0"), Some("\"l\";r=0")]
        );
        let problem = refused.problem();
        assert_eq!(
            (&problem["detail"], &problem["violated-policies"]),
            (
                &json!("limit \"l\" admits no such request at any time"),
                &json!(["l"])
            )
        );
    }
    // The limit itself still tells a time, and in other words.
    let others: Vec<_> = (0..4).map(|_| ask(&gateway, "good").status()).collect();
    assert_eq!(others, [200, 200, 200, 429]);
    let exhausted = ask(&gateway, "good");
    assert_eq!(exhausted.problem()["detail"], "limit \"l\" is exhausted");
    assert!(exhausted.get("retry-after").is_some());
    assert_eq!(decisions(&gateway, "l", "refused"), 5.0);
}

#[test]
fn a_limit_of_zero_admits_only_what_an_override_admits() {
    let limit = "key = 'header:x-user'\nrate = '0/s'\nmax_keys = 1\nmissing = { key = 'client-ip', rate = '0/s' }\noverrides = [{ match = 'good', rate = '2/h' }, { match = 'best', rate = 'unlimited' }]";
    let gateway = one_limit(limit, "");
    let statuses =
        ["good", "other", "best", "good", "best", "good"].map(|user| ask(&gateway, user).status());
    assert_eq!(statuses, [200, 429, 200, 200, 200, 429]);
    assert_eq!(gateway.get("/").status(), 429, "a stand-in has a rate of 0");
}

#[test]
fn a_cost_of_zero_passes_a_rate_of_zero() {
    let limit = "rate = '0/s'\ncost = { header = 'x-cost', max = 5 }";
    let gateway = one_limit(limit, "");
    let ask = |cost: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-Cost: {cost}")])
            .status()
    };
    assert_eq!([ask("0"), ask("1"), ask("5")], [200, 429, 429]);
}

#[test]
fn a_candidate_of_zero_counts_everything_and_refuses_nothing() {
    let gateway = one_limit("rate = '9/h'\ncandidate = { rate = '0/s' }", "");
    for _ in 0..3 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!(decisions(&gateway, "l", "candidate_refused"), 3.0);
}

#[test]
fn an_operator_blocks_a_key_for_a_while_and_it_keeps_what_it_has_used() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '3/h'", "");
    assert_eq!(ask(&gateway, "a").status(), 200);
    let call = |method: &str, body: &str| {
        Client::connect(gateway.admin()).exchange(format!(
            "{method} /limits/l/keys?key=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let given = call("PUT", r#"{"rate": "0/s", "ttl": "1h"}"#);
    let view: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
    assert_eq!(
        (
            &view["rate"],
            &view["burst"],
            &view["remaining"],
            &view["reset_seconds"]
        ),
        (&json!("0/s"), &json!(0), &json!(0), &json!(null)),
        "{view}"
    );
    assert_eq!(ask(&gateway, "a").status(), 429);
    assert_eq!(ask(&gateway, "b").status(), 200);
    let with_burst = call("PUT", r#"{"rate": "0/s", "burst": 5, "ttl": "1h"}"#);
    assert!(with_burst.text().contains("leave `burst` out"));
    // Numbers of another kind replace the block; the debt is still there.
    call("PUT", r#"{"rate": "3/h", "ttl": "1h"}"#);
    let statuses = [(); 3].map(|()| ask(&gateway, "a").status());
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_reload_to_zero_and_back_hands_out_no_token() {
    let text = |rate: &str| one_limit_text(&format!("rate = '{rate}'"), "");
    let gateway = Gateway::start(&text("2/h"));
    assert_eq!([(); 2].map(|()| gateway.get("/").status()), [200, 200]);
    gateway.reload_with(&text("0/s"));
    assert_eq!(gateway.get("/").status(), 429);
    gateway.reload_with(&text("2/h"));
    assert_eq!(gateway.get("/").status(), 429, "the bucket is still empty");
    gateway.reload_with(&text("0/s"));
    gateway.reload_with(&text("1000000/s"));
    let end = Instant::now() + super::TIMEOUT;
    while gateway.get("/").status() != 200 {
        assert!(Instant::now() < end, "a debt is at most the new bucket");
    }
}

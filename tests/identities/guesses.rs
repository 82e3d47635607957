//! The limit on wrong credentials is seen as any other limit is: in the access
//! line, in metrics and among the heaviest keys.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    gateway, new_key, settle,
    support::gateway::{Gateway, responding},
};

/// A gateway whose identity charges the limit `g`, which has two tokens; a key,
/// and the folder with its file.
fn guarded(limit: &str, route: &str) -> (Gateway, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let limit = format!(
        "[limits.g]\nkey = 'client-ip'\nrate = '2/h'\n{limit}\n[limits.other]\nrate = '100/s'\n[server]\nworkers = 1\n"
    );
    let route = format!("identify = ['partners']\n{route}");
    let gateway = gateway(&file, "limit = 'g'", &(limit + &responding("r", &route)));
    (gateway, key, folder)
}

fn ask(gateway: &Gateway, key: &str) -> u16 {
    let line = format!("X-Api-Key: {key}");
    gateway.ask("GET", "/", &[&line]).status()
}

fn decisions(gateway: &Gateway, decision: &str) -> f64 {
    settle(gateway);
    gateway.metric(
        "tidegate_limit_decisions_total",
        &[("limit", "g"), ("route", "r"), ("decision", decision)],
    )
}

fn top(gateway: &Gateway) -> Value {
    let response = gateway.call_admin("GET", "/limits/g/top", &[]);
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn wrong_credentials_are_seen_as_decisions_of_their_limit() {
    let (gateway, key, _folder) = guarded("", "limits = ['other']");
    assert_eq!(ask(&gateway, &key), 200);
    assert_eq!(ask(&gateway, "a"), 401);
    assert_eq!(ask(&gateway, "b"), 401);
    let line = format!("X-Api-Key: {}", "c");
    let refused = gateway.ask("GET", "/", &[&line]);
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.problem()["violated-policies"], json!(["g"]));
    let lines = [(); 4].map(|()| gateway.access_line());
    assert_eq!(lines[0]["limit"], "other");
    assert_eq!(
        (&lines[1]["limit"], &lines[1]["remaining"]),
        (&"g".into(), &1.into())
    );
    assert_eq!(
        (&lines[3]["limit"], &lines[3]["remaining"]),
        (&"g".into(), &0.into())
    );
    assert!(lines[3]["key"].is_string(), "{:#}", lines[3]);
    assert_eq!(
        [
            decisions(&gateway, "allowed"),
            decisions(&gateway, "refused")
        ],
        [2.0, 1.0]
    );
    let top = top(&gateway);
    assert_eq!(top[0]["refused"], 1, "{top:#}");
}

#[test]
fn a_limit_on_wrong_credentials_in_shadow_mode_counts_and_refuses_nothing() {
    let (gateway, key, _folder) = guarded("mode = 'shadow'", "limits = ['other']");
    let wrong = ["a", "b", "c", "d"].map(|key| ask(&gateway, key));
    assert_eq!(wrong, [401; 4]);
    assert_eq!(ask(&gateway, &key), 200);
    let shadows = [(); 5].map(|()| gateway.access_line()["shadow"].clone());
    assert_eq!(shadows.iter().filter(|shadow| **shadow == "g").count(), 2);
    assert_eq!(
        ["allowed", "refused", "shadow_refused"].map(|decision| decisions(&gateway, decision)),
        [2.0, 0.0, 2.0]
    );
}

#[test]
fn a_limit_of_a_route_may_count_wrong_credentials_of_an_address_as_well() {
    let (gateway, key, _folder) = guarded("", "limits = ['g']");
    assert_eq!(ask(&gateway, "a"), 401);
    assert_eq!(ask(&gateway, &key), 200);
    assert_eq!(ask(&gateway, &key), 429);
    assert_eq!(
        [
            decisions(&gateway, "allowed"),
            decisions(&gateway, "refused")
        ],
        [2.0, 1.0]
    );
}

//! Waiting for tokens: requests beyond the burst go on at the rate, and a
//! client that leaves frees its place.

use tokio::time::{Duration, Instant};

use super::{
    TIMEOUT, decisions, one_limit, one_limit_text,
    support::{Upstream, gateway::Gateway, ok, one_route},
};

/// Waits until this number of requests wait for tokens of the limit `l`.
#[track_caller]
fn await_waiting(gateway: &Gateway, number: f64) {
    let end = Instant::now() + TIMEOUT;
    loop {
        let waiting = gateway.metric("tidegate_limit_waiting", &[("limit", "l")]);
        if waiting == number {
            return;
        }
        assert!(Instant::now() < end, "{waiting} requests wait");
    }
}

fn waits(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(
        "tidegate_limit_waits_total",
        &[("limit", "l"), ("outcome", outcome)],
    )
}

#[test]
fn requests_beyond_the_burst_pass_at_the_rate_and_tell_how_long_they_waited() {
    let gateway = one_limit("rate = '20/s'\nburst = 1\ndelay = '10s'", "");
    let begin = Instant::now();
    let sent = [(); 5].map(|()| gateway.sent("/", &[]));
    let statuses = sent.map(|mut client| client.response().status());
    assert_eq!(statuses, [200; 5]);
    assert!(begin.elapsed() >= Duration::from_millis(199));
    assert_eq!(decisions(&gateway, "l", "allowed"), 5.0);
    assert_eq!(waits(&gateway, "admitted"), 4.0);
    let lines = [(); 5].map(|()| gateway.access_line());
    let waited = lines.iter().filter(|line| line["delay_ms"].is_number());
    assert_eq!(waited.count(), 4);
}

#[test]
fn a_request_whose_token_comes_too_late_is_refused_at_once() {
    let gateway = one_limit("rate = '1/h'\nburst = 1\ndelay = '1m'", "");
    assert_eq!(gateway.get("/").status(), 200);
    let refused = gateway.get("/");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.get("retry-after"), Some("3600"));
    assert_eq!(decisions(&gateway, "l", "refused"), 1.0);
    assert_eq!(
        (waits(&gateway, "refused"), waits(&gateway, "full")),
        (0.0, 0.0)
    );
}

#[test]
fn a_client_that_leaves_frees_its_place_and_no_server_hears_of_it() {
    let upstream = Upstream::start(|mut connection| {
        while connection.request().is_some() {
            connection.send(ok("served"));
        }
    });
    let text = format!(
        "[limits.l]\nrate = '3/m'\nburst = 1\ndelay = '30s'\n{}",
        one_route(&upstream, "limits = ['l']")
    );
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/first").status(), 200);
    let leaving = gateway.sent("/leaves", &[]);
    await_waiting(&gateway, 1.0);
    let limits = gateway.call_admin("GET", "/limits", &[]);
    let limits: serde_json::Value = serde_json::from_slice(&limits.body).unwrap();
    assert_eq!(limits[0]["waiting"], 1, "{limits}");
    // A second one would get its token after 40 s.
    assert_eq!(gateway.get("/refused").status(), 429);
    drop(leaving);
    await_waiting(&gateway, 0.0);
    assert_eq!(waits(&gateway, "left"), 1.0);
    let waits_again = gateway.sent("/waits", &[]);
    await_waiting(&gateway, 1.0);
    drop(waits_again);
    let line = gateway.line_of("/leaves");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    assert!(line["upstream"].is_null(), "{line}");
}

#[test]
fn a_place_outlives_a_reload() {
    let limit = "rate = '3/m'\nburst = 1\ndelay = '30s'";
    let gateway = Gateway::start(&one_limit_text(limit, ""));
    assert_eq!(gateway.get("/").status(), 200);
    let waiting = gateway.sent("/", &[]);
    await_waiting(&gateway, 1.0);
    gateway.reload_with(&one_limit_text(
        &limit.replace("burst = 1", "burst = 2"),
        "",
    ));
    await_waiting(&gateway, 1.0);
    drop(waiting);
    await_waiting(&gateway, 0.0);
}

#[test]
fn a_limit_in_shadow_mode_lets_nobody_wait() {
    let gateway = one_limit(
        "rate = '3/m'\nburst = 1\ndelay = '30s'\nmode = 'shadow'",
        "",
    );
    assert_eq!([(); 2].map(|()| gateway.get("/").status()), [200, 200]);
    assert_eq!(decisions(&gateway, "l", "shadow_refused"), 1.0);
}

/// Sends a request that is to wait for almost a minute, and does `change`, after
/// which its response comes at once.
#[track_caller]
fn passes_after(change: impl FnOnce(&Gateway)) {
    let gateway = one_limit(
        "key = 'client-ip'\nrate = '1/m'\nburst = 1\ndelay = '1m'",
        "",
    );
    assert_eq!(gateway.get("/").status(), 200);
    let mut waiting = gateway.sent("/", &[]);
    await_waiting(&gateway, 1.0);
    change(&gateway);
    assert_eq!(waiting.response().status(), 200);
}

#[test]
fn a_bucket_that_is_filled_by_hand_lets_those_pass_that_wait() {
    passes_after(|gateway| {
        let reset = gateway.call_admin("DELETE", "/limits/l/keys?key=127.0.0.1", &[]);
        assert_eq!(reset.status(), 200, "{}", reset.text());
    });
}

#[test]
fn a_reload_with_a_higher_rate_lets_those_pass_that_wait() {
    passes_after(|gateway| {
        let limit = "key = 'client-ip'\nrate = '100/s'\nburst = 1\ndelay = '1m'";
        gateway.reload_with(&one_limit_text(limit, ""));
    });
}

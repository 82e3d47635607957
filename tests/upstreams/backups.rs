//! Backups and servers without weight.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    ONCE,
    support::{Gateway, Upstream, gateway::Closed, ok},
    view,
};

/// A configuration with these lines in the list of servers, and a route that
/// tries each request once.
fn servers(lines: &[String], more: &str) -> String {
    let lines = lines.join(",");
    format!("[upstreams.app]\nservers = [{lines}]\n{more}\n{ONCE}")
}

fn backup(url: &str) -> String {
    format!("{{ url = '{url}', backup = true }}")
}

fn usual(url: &str) -> String {
    format!("'{url}'")
}

#[test]
fn a_backup_gets_requests_from_the_moment_at_which_checks_fail_until_they_pass() {
    let is_well = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&is_well);
    let main = Upstream::answering(move |request| {
        match request.target() != "/check" || flag.load(Ordering::SeqCst) {
            true => ok("main"),
            false => "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned(),
        }
    });
    let spare = Upstream::answering(|_| ok("spare"));
    let gateway = Gateway::start(&servers(
        &[backup(&spare.url()), usual(&main.url())],
        "health_check = { path = '/check', interval = '30ms', healthy_after = 1, unhealthy_after = 1 }",
    ));
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "main");
    }
    let view = view(&gateway, &spare.url());
    assert_eq!((&view["backup"], &view["up"]), (&true.into(), &true.into()));
    is_well.store(false, Ordering::SeqCst);
    gateway.logged("server is down");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "spare");
    }
    is_well.store(true, Ordering::SeqCst);
    gateway.logged("server is back");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "main");
    }
}

#[test]
fn a_request_that_the_usual_servers_were_tried_for_is_retried_on_the_backup() {
    let (gone, spare) = (Closed::new(), Upstream::answering(|_| ok("spare")));
    let text = servers(&[usual(&gone.url()), backup(&spare.url())], "")
        .replace("retry = { attempts = 1 }", "");
    let gateway = Gateway::start(&text);
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "spare");
    }
    assert_eq!(view(&gateway, &gone.url())["state"], "ejected");
}

#[test]
fn a_server_without_weight_is_checked_and_shown_and_gets_no_request() {
    let (used, idle) = (
        Upstream::answering(|_| ok("")),
        Upstream::answering(|_| ok("")),
    );
    let idle_url = idle.url();
    let gateway = Gateway::start(&servers(
        &[
            format!("{{ url = '{idle_url}', weight = 0 }}"),
            usual(&used.url()),
        ],
        "balance = 'round-robin'\nhealth_check = { path = '/check' }",
    ));
    while !idle.text().contains("GET /check") {
        std::thread::yield_now();
    }
    for _ in 0..20 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert!(!idle.text().contains("GET / "));
    let view = view(&gateway, &idle_url);
    assert_eq!((&view["weight"], &view["state"]), (&0.into(), &"up".into()));
}

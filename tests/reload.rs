//! Reload: a new configuration takes effect as a whole, no request fails, and
//! named objects keep their state.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use support::{
    Client, End, Gate, RaisedAtEnd, TIMEOUT, Upstream,
    gateway::{Gateway, Start, completed, replace, request, responding},
    ok, one_route,
};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Waits until a changed file has been loaded, and checks that the route `new`
/// serves.
#[track_caller]
fn reloaded(gateway: &Gateway) {
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/").text(), "new");
}

/// A configuration with the route `name`. With port 0, the admin listener and
/// the other listeners keep their sockets.
fn route(name: &str) -> String {
    responding(name, "")
}

#[test]
fn sighup_reads_the_file_again() {
    let gateway = Gateway::start(&route("old"));
    gateway.rewrite(&route("new"));
    gateway.signal(Signal::HUP);
    reloaded(&gateway);
    assert_eq!(
        gateway.metric("tidegate_config_reloads_total", &[("outcome", "success")]),
        1.0
    );
}

/// The gateway is its own service, so each request passes it repeatedly until
/// the loop is detected.
#[test]
fn a_gateway_that_is_its_own_service_stops_after_a_few_rounds() {
    let gateway = Gateway::start(&route("old"));
    let upstream = format!(
        "[upstreams.self]\nservers = ['http://{}']\n",
        gateway.address()
    );
    gateway.reload_with(&format!(
        "{upstream}[[routes]]\nname = 'new'\nupstream = 'self'\n"
    ));
    assert_eq!(gateway.get("/").status(), 508);
    gateway.await_metric("tidegate_requests_total", &[("status", "508")], 6.0);
    assert_eq!(
        gateway.metric("tidegate_refusals_total", &[("reason", "loop")]),
        1.0
    );
}

#[test]
fn a_call_to_reload_returns_once_the_new_routes_serve() {
    let gateway = Gateway::start(&route("old"));
    for round in 0..10 {
        let name = format!("round-{round}");
        let outcome = gateway.reload_with(&route(&name));
        assert_eq!(outcome["outcome"], "reloaded");
        for _ in 0..4 {
            assert_eq!(gateway.get("/").text(), name);
        }
    }
}

#[test]
fn warnings_are_logged_at_the_start_and_listed_and_logged_by_a_reload() {
    let unused = |name: &str| format!("{}[limits.{name}]\nrate = \"1/s\"\n", route("old"));
    let gateway = Gateway::start(&unused("a"));
    let warned = |limit: &str| {
        let line = gateway.logged(&format!("{}:", gateway.file().display()));
        assert_eq!(line["level"], "WARN");
        assert!(
            line["message"]
                .as_str()
                .unwrap()
                .contains(&format!("no route names the limit `{limit}`")),
            "{line}"
        );
    };
    warned("a");
    let outcome = gateway.reload_with(&unused("b"));
    assert_eq!(
        (&outcome["outcome"], &outcome["warnings"][0]["code"]),
        (&"reloaded".into(), &"unused".into())
    );
    assert!(
        outcome["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("`b`"),
        "{outcome}"
    );
    warned("b");
    let (_, again) = gateway.reload();
    assert_eq!(
        (&again["outcome"], &again["warnings"]),
        (&"unchanged".into(), &outcome["warnings"])
    );
    assert_eq!(
        gateway.reload_with(&route("old"))["warnings"],
        serde_json::json!([])
    );
}

#[test]
fn a_reload_logs_every_changed_section_and_a_start_logs_its_file() {
    let gateway = Gateway::start(&route("old"));
    let read = format!("configuration read from {}", gateway.file().display());
    assert!(
        gateway
            .log_so_far()
            .iter()
            .chain([&gateway.passed()])
            .any(|line| line.contains(&read)),
        "{read}"
    );
    let changed = format!(
        "[client_ip]\ntrusted_proxies = [\"192.0.2.1\"]\n[shutdown]\ndrain = \"9s\"\n{}[limits.a]\nrate = \"1/s\"\n",
        route("old")
    );
    let outcome = gateway.reload_with(&changed);
    assert_eq!(
        outcome["sections"],
        serde_json::json!(["client_ip", "shutdown", "limits"])
    );
    let line = gateway.logged("configuration reloaded");
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .ends_with("sections that changed: client_ip, shutdown, limits"),
        "{line}"
    );
}

#[test]
fn a_file_replaced_through_a_rename_is_noticed() {
    let gateway = Gateway::start(&route("old"));
    gateway.rewrite(&route("new"));
    reloaded(&gateway);
}

#[test]
fn a_file_written_in_place_is_noticed() {
    let gateway = Gateway::start(&route("old"));
    fs::write(gateway.file(), completed(&route("new"))).unwrap();
    reloaded(&gateway);
}

#[test]
fn a_swapped_link_two_folders_up_is_noticed() {
    // Kubernetes mounts a ConfigMap like this: tidegate.toml -> ..data/x.toml,
    // ..data -> ..first.
    let gateway = Gateway::start(&route("old"));
    let at = |name: &str| gateway.folder().join(name);
    for (folder, name) in [("..first", "first"), ("..second", "new")] {
        fs::create_dir(at(folder)).unwrap();
        fs::write(at(folder).join("x.toml"), completed(&route(name))).unwrap();
    }
    symlink("..first", at("..data")).unwrap();
    symlink("..data/x.toml", at("link")).unwrap();
    fs::rename(at("link"), gateway.file()).unwrap();
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/").text(), "first");
    symlink("..second", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    reloaded(&gateway);
}

#[test]
fn a_file_that_never_stops_changing_is_still_read() {
    let gateway = Gateway::start(&route("old"));
    let end = Instant::now() + TIMEOUT;
    for change in 0.. {
        // Each change replaces the whole file, as editors do: a half-written
        // file would be read as one.
        let next = gateway.folder().join("next");
        fs::write(&next, format!("{}# {change}\n", completed(&route("new")))).unwrap();
        fs::rename(&next, gateway.file()).unwrap();
        if gateway
            .log_so_far()
            .iter()
            .any(|line| line.contains("configuration reloaded"))
        {
            break;
        }
        assert!(Instant::now() < end, "the file is never read");
        thread::yield_now();
    }
    assert_eq!(gateway.get("/").text(), "new");
}

#[test]
fn a_pipe_among_the_files_blocks_nothing_and_is_reported() {
    let text = format!("include = ['conf.d/*.toml']\n{}", route("old"));
    let mut gateway = Start::new(&text).file("conf.d/a.toml", "").go();
    mknodat(
        CWD,
        gateway.folder().join("conf.d/pipe.toml"),
        FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    let warning = gateway.logged("configuration not reloaded");
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .contains("not a regular file"),
        "{warning}"
    );
    assert_eq!(gateway.reload().0, 422);
    assert_eq!(gateway.call_admin("GET", "/livez", &[]).status(), 200);
    assert_eq!(gateway.get("/").text(), "old");
    gateway.signal(Signal::TERM);
    assert!(gateway.wait().0.success());
}

#[test]
fn included_files_are_watched_and_so_are_new_matches() {
    let gateway = Start::new(&format!(
        "include = ['conf.d/*.toml']\n{}",
        responding("main", "match = { path = '/x' }")
    ))
    .file("conf.d/one.toml", route("old"))
    .go();
    assert_eq!(gateway.get("/").text(), "old");
    replace(&gateway.folder().join("conf.d/one.toml"), &route("new"));
    reloaded(&gateway);
    fs::write(
        gateway.folder().join("conf.d/two.toml"),
        responding("two", "match = { path = '/two' }"),
    )
    .unwrap();
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/two").text(), "two");
    fs::remove_file(gateway.folder().join("conf.d/two.toml")).unwrap();
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/two").text(), "new");
}

#[test]
fn a_connection_is_used_before_and_after() {
    let gateway = Gateway::start(&route("old"));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(GET).text(), "old");
    gateway.reload_with(&route("new"));
    let response = client.exchange(GET);
    assert_eq!(
        (response.text().as_str(), response.get("connection")),
        ("new", None)
    );
}

#[test]
fn a_request_in_flight_ends_as_it_began() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        ok("from before")
    });
    let gateway = Gateway::start(&one_route(
        &upstream,
        "response = { set_headers = { x-by = 'old' } }",
    ));
    let mut client = gateway.connect();
    client.send(GET);
    entered.pass();
    gateway.reload_with(&route("new"));
    assert_eq!(gateway.get("/").text(), "new");
    leave.open();
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.get("x-by")),
        ("from before", Some("old"))
    );
    assert_eq!(client.exchange(GET).text(), "new");
}

#[test]
fn a_reload_logs_added_changed_and_removed_names() {
    let limits =
        |rate: &str| format!("[limits.kept]\nrate = '1/h'\n[limits.other]\nrate = '{rate}'\n");
    let gateway =
        Gateway::start(&(limits("1/h") + &responding("gone", "limits = ['kept', 'other']")));
    let outcome =
        gateway.reload_with(&(limits("2/h") + &responding("new", "limits = ['kept', 'other']")));
    let changes = &outcome["changes"];
    assert_eq!(
        (
            &changes["limits"]["kept"][0],
            &changes["limits"]["changed"][0]
        ),
        (&"kept".into(), &"other".into())
    );
    assert_eq!(
        (&changes["routes"]["new"][0], &changes["routes"]["gone"][0]),
        (&"new".into(), &"gone".into())
    );
}

#[test]
fn a_file_with_the_same_meaning_is_unchanged() {
    let gateway = Gateway::start(&route("old"));
    gateway.rewrite(&format!("# a comment\n\n{}", route("old")));
    let (status, outcome) = gateway.reload();
    assert_eq!((status, &outcome["outcome"]), (200, &"unchanged".into()));
    assert_eq!(
        gateway.metric("tidegate_config_reloads_total", &[("outcome", "unchanged")]),
        1.0
    );
}

#[test]
fn an_invalid_file_changes_nothing_and_is_reported_until_it_is_corrected() {
    let gateway = Gateway::start(&route("old"));
    let text = completed(&route("new")).replace("respond =", "responds =");
    fs::write(gateway.file(), &text).unwrap();
    let (status, outcome) = gateway.reload();
    assert_eq!((status, &outcome["outcome"]), (422, &"failed".into()));
    let message = gateway.logged("configuration not reloaded")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("tidegate.toml:3:1"), "{message}");
    assert!(message.contains("respond"), "{message}");
    assert_eq!(gateway.get("/").text(), "old");
    let is_good = || gateway.metric("tidegate_config_last_reload_successful", &[]);
    assert_eq!(
        (
            is_good(),
            gateway.metric("tidegate_config_reloads_total", &[("outcome", "failure")])
        ),
        (0.0, 1.0)
    );
    gateway.rewrite(&route("new"));
    reloaded(&gateway);
    assert_eq!(is_good(), 1.0);
}

#[test]
fn an_invalid_file_that_is_reverted_is_corrected_too() {
    let gateway = Gateway::start(&route("new"));
    let good = fs::read(gateway.file()).unwrap();
    fs::write(gateway.file(), "nonsense").unwrap();
    gateway.logged("configuration not reloaded");
    assert_eq!(
        gateway.metric("tidegate_config_last_reload_successful", &[]),
        0.0
    );
    fs::write(gateway.file(), good).unwrap();
    gateway.logged("configuration unchanged");
    assert_eq!(
        gateway.metric("tidegate_config_last_reload_successful", &[]),
        1.0
    );
}

#[test]
fn an_address_in_use_changes_nothing() {
    let gateway = Gateway::start(&route("old"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!(
        "[[listeners]]\nbind = '127.0.0.1:0'\n[[listeners]]\nbind = '{}'\n",
        taken.local_addr().unwrap()
    );
    gateway.rewrite(&(listeners + &route("new")));
    let (status, outcome) = gateway.reload();
    assert_eq!(status, 422);
    assert!(
        outcome["error"]
            .as_str()
            .unwrap()
            .contains("listeners[1].bind"),
        "{outcome}"
    );
    assert_eq!(gateway.get("/").text(), "old");
}

/// A failure to bind the admin listener must fail the whole reload.
#[test]
fn an_admin_address_in_use_changes_nothing() {
    let gateway = Gateway::start(&route("old"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = |address: SocketAddr| format!("[admin]\nbind = '{address}'\n{}", route("new"));
    gateway.rewrite(&admin(taken.local_addr().unwrap()));
    let (status, outcome) = gateway.reload();
    assert_eq!(
        (status, &outcome["outcome"]),
        (422, &"failed".into()),
        "{outcome}"
    );
    assert!(
        outcome["error"].as_str().unwrap().contains("admin.bind"),
        "{outcome}"
    );
    assert_eq!(gateway.get("/").text(), "old");
    // The same file is loaded once the address can be bound.
    drop(taken);
    assert_eq!(gateway.reload().0, 200);
    assert_eq!(gateway.get("/").text(), "new");
}

#[test]
fn a_listener_comes_and_goes_and_its_connections_finish() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        ok("finished")
    });
    let one = one_route(&upstream, "") + &responding("own", "match = { path = '/own' }");
    let two =
        format!("[[listeners]]\nbind = '127.0.0.1:0'\n[[listeners]]\nbind = '127.0.0.2:0'\n{one}");
    let gateway = Gateway::start(&one);
    gateway.reload_with(&two);
    let second = gateway.next_listener();
    let (mut busy, mut idle) = (Client::connect(second), Client::connect(second));
    assert_eq!(idle.exchange(request("GET", "/own", &[])).status(), 200);
    busy.send(GET);
    entered.pass();
    let connections =
        |at: SocketAddr| gateway.metric("tidegate_connections", &[("listener", &at.to_string())]);
    assert_eq!(
        connections(second),
        2.0,
        "a listener is called by the port that the system chose"
    );
    gateway.reload_with(&one);
    let _kept = gateway.connect();
    gateway.await_metric(
        "tidegate_connections",
        &[("listener", &gateway.address().to_string())],
        1.0,
    );
    assert_eq!(idle.ended(), End::Closed);
    assert_eq!(
        gateway.get("/own").text(),
        "own",
        "the other listener is not concerned"
    );
    leave.open();
    let response = busy.response();
    assert_eq!(
        (response.text().as_str(), response.get("connection")),
        ("finished", Some("close"))
    );
    assert_eq!(busy.ended(), End::Closed);
    assert!(
        TcpStream::connect_timeout(&second, Duration::from_secs(1)).is_err(),
        "nothing listens on the old address"
    );
}

#[test]
fn buckets_stay_with_their_limit() {
    let text = |name: &str, rate: &str, burst: u32| {
        format!(
            "[limits.l]\nrate = '{rate}'\nburst = {burst}\n{}",
            responding(name, "limits = ['l']")
        )
    };
    let gateway = Gateway::start(&text("old", "10/h", 10));
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(gateway.status("/"), 429);
    // Neither another route, nor a lower rate, nor a larger bucket refills an
    // exhausted key.
    for (name, rate, burst) in [
        ("new", "10/h", 10),
        ("new", "1/h", 10),
        ("new", "1/d", 1),
        ("new", "10/h", 1000),
    ] {
        gateway.reload_with(&text(name, rate, burst));
        assert_eq!(gateway.status("/"), 429, "{rate} {burst}");
    }
}

#[test]
fn the_used_share_of_a_bucket_is_used_of_the_new_one() {
    let text = |burst: u32| {
        format!(
            "[limits.l]\nrate = '1/h'\nburst = {burst}\n{}",
            responding("r", "limits = ['l']")
        )
    };
    let gateway = Gateway::start(&text(10));
    for _ in 0..5 {
        assert_eq!(gateway.status("/"), 200);
    }
    gateway.reload_with(&text(100));
    let admitted = (0..100).filter(|_| gateway.status("/") == 200).count();
    assert!((49..=50).contains(&admitted), "{admitted}");
}

#[test]
fn a_limit_with_another_key_begins_with_full_buckets() {
    let text = |key: &str| {
        format!(
            "[limits.l]\nkey = '{key}'\nrate = '1/h'\n{}",
            responding("r", "limits = ['l']")
        )
    };
    let gateway = Gateway::start(&text("client-ip"));
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429));
    gateway.reload_with(&text("host"));
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429));
}

#[test]
fn a_cap_counts_the_requests_in_flight_before_a_reload() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        ok("")
    });
    let text = |max: u32| one_route(&upstream, &format!("concurrency = {{ max = {max} }}"));
    let gateway = Gateway::start(&text(2));
    let mut clients: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        entered.pass();
    }
    gateway.reload_with(&text(1));
    assert_eq!(gateway.status("/"), 503);
    gateway.reload_with(&text(3));
    let mut third = gateway.connect();
    third.send(GET);
    entered.pass();
    assert_eq!(gateway.status("/"), 503);
    (0..3).for_each(|_| leave.open());
    for client in clients.iter_mut().chain([&mut third]) {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn connections_to_servers_stay_with_their_upstream() {
    let upstream = Upstream::answering(|_| ok(""));
    let text = |more: &str| one_route(&upstream, more) + "[server]\nworkers = 1\n";
    let gateway = Gateway::start(&text(""));
    assert_eq!(gateway.status("/"), 200);
    gateway.reload_with(&text("timeouts = { total = '3s' }"));
    assert_eq!(gateway.status("/"), 200);
    gateway.reload_with(&text("").replace(
        "[upstreams.app]",
        "[upstreams.app]\nbalance = 'round-robin'",
    ));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn not_one_request_fails_while_the_configuration_changes_twenty_times() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let text = |round: usize| {
        one_route(
            &upstream,
            &format!("limits = ['l']\nresponse = {{ set_headers = {{ x-round = '{round}' }} }}"),
        ) + &format!(
            "[limits.l]\nrate = '{}/s'\nburst = 1000000\n",
            1_000_000 + round
        ) + &responding(
            &format!("extra-{round}"),
            &format!("match = {{ path = '/extra/{round}' }}"),
        )
    };
    let gateway = Gateway::start(&text(0));
    let (address, is_over, served) = (
        gateway.address(),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    thread::scope(|scope| {
        for reuses in [true, true, true, false] {
            let (is_over, served) = (&is_over, &served);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !is_over.load(Ordering::Acquire) {
                    let response = client.exchange(request("GET", "/path", &[]));
                    assert_eq!(
                        (response.status(), response.text().as_str()),
                        (200, "/path")
                    );
                    served.fetch_add(1, Ordering::AcqRel);
                    if !reuses {
                        client = Client::connect(address);
                    }
                }
            });
        }
        let _over = RaisedAtEnd(&is_over);
        for round in 1..=20 {
            gateway.reload_with(&text(round));
            assert_eq!(gateway.get("/x").get("x-round"), Some(&*round.to_string()));
        }
    });
    assert!(served.load(Ordering::Acquire) > 100);
}

#[test]
fn changes_that_need_a_restart_are_reported() {
    let gateway = Gateway::start(&route("old"));
    let outcome = gateway.reload_with(&(route("old") + "[server]\nworkers = 1\n"));
    assert!(
        outcome["notes"][0].as_str().unwrap().contains("workers"),
        "{outcome}"
    );
}

/// A table for a million keys would take 38 MB if all of it were touched, or 2
/// MiB for each key with huge pages.
#[test]
fn ten_reloads_that_change_numbers_leave_memory_as_it_was() {
    let limits = |rate: u32| -> String {
        (0..20)
            .map(|limit| format!("[limits.l{limit}]\nrate = '{rate}/h'\nburst = 1000\n"))
            .collect()
    };
    let names: Vec<_> = (0..20).map(|limit| format!("l{limit}")).collect();
    let text = |rate: u32| {
        format!(
            "{}{}",
            limits(rate),
            responding("r", &format!("limits = {names:?}"))
        )
    };
    let gateway = Gateway::start(&text(100));
    let ask = || assert_eq!(gateway.status("/"), 200);
    ask();
    let before = gateway.resident();
    for rate in 101..111 {
        gateway.reload_with(&text(rate));
        ask();
    }
    let after = gateway.resident();
    assert!(
        after * 10 <= before * 11,
        "{before} KiB before, {after} KiB after"
    );
}

//! Servers behind sockets of this machine.

use std::{fs, os::unix::net::UnixListener, path::Path};

use super::{
    ONCE, ONE_WORKER,
    support::{Gateway, Socket, Upstream, gateway::Closed, http2, ok},
    view,
};

/// A configuration with the server at `url`, and a route to it.
fn one_server(url: &str, more: &str) -> String {
    format!("{ONE_WORKER}[upstreams.app]\nservers = ['{url}']\n{more}\n{ONCE}")
}

fn host_echoed() -> Upstream {
    Upstream::answering(|request| ok(request.get("host").unwrap()))
}

#[test]
fn a_server_behind_a_socket_is_reached_like_others_and_its_connections_are_pooled() {
    let upstream = host_echoed();
    let socket = Socket::before(upstream.address());
    let gateway = Gateway::start(&one_server(&socket.url(), ""));
    for _ in 0..5 {
        let response = gateway.ask("GET", "/", &["host: shop.example.com"]);
        assert_eq!(response.text(), "shop.example.com");
    }
    assert_eq!(socket.connections(), 1);
    assert_eq!(gateway.line_of("/")["server"], socket.url());
    let view = view(&gateway, &socket.url());
    assert_eq!((&view["state"], &view["up"]), (&"up".into(), &true.into()));
    assert_eq!(view["connections"]["idle"], 1);
    let labels = [("server", &*socket.url())];
    assert_eq!(gateway.metric("tidegate_upstream_server_up", &labels), 1.0);
}

#[test]
fn the_own_name_of_a_server_behind_a_socket_is_localhost() {
    let upstream = host_echoed();
    let socket = Socket::before(upstream.address());
    let text = one_server(&socket.url(), "health_check = { path = '/check' }")
        + "request = { preserve_host = false }\n";
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/").text(), "localhost");
    while !upstream.text().contains("GET /check HTTP/1.1") {
        std::thread::yield_now();
    }
    assert!(upstream.text().to_lowercase().contains("host: localhost"));
}

#[test]
fn a_socket_carries_http2_by_prior_knowledge() {
    let upstream = http2::Server::start(h2::server::Builder::new(), async |stream| {
        stream.answer(200, "over HTTP/2");
    });
    let address = upstream.url()["http://".len()..].parse().unwrap();
    let socket = Socket::before(address);
    let gateway = Gateway::start(&one_server(&socket.url(), "protocol = 'http2'"));
    for _ in 0..3 {
        assert_eq!(gateway.get("/").text(), "over HTTP/2");
    }
    assert_eq!(socket.connections(), 1);
}

/// The cause in the log for a server at `path`, which cannot be reached.
#[track_caller]
fn cause_of(path: &Path) -> String {
    let upstream = Upstream::answering(|_| ok("well"));
    let text = format!(
        "[upstreams.app]\nbalance = 'round-robin'\nservers = ['unix:{}', '{}']\nejection = {{ consecutive_failures = 1 }}\n{ONCE}",
        path.display(),
        upstream.url()
    );
    let gateway = Gateway::start(&text);
    let statuses = [gateway.status("/"), gateway.status("/")];
    assert!(statuses.contains(&502) && statuses.contains(&200));
    let ejected = gateway.logged("server ejected");
    for _ in 0..4 {
        assert_eq!(gateway.status("/"), 200, "it is ejected");
    }
    ejected["cause"].as_str().unwrap().to_owned()
}

#[test]
fn a_path_that_leads_to_no_server_is_a_502_with_the_reason_and_is_ejected() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "").unwrap();
    drop(UnixListener::bind(at("left")).unwrap());
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    for (name, cause) in [
        ("missing", "there is no such file"),
        ("link", "there is no such file"),
        ("folder", "the file is not a socket"),
        ("file", "the file is not a socket"),
        ("left", "connection refused"),
    ] {
        let found = cause_of(&at(name));
        assert!(found.contains(cause), "{name}: {found}");
    }
}

#[test]
fn a_symlink_to_a_socket_leads_to_its_server_and_is_followed_anew_for_each_connection() {
    let (one, other) = (
        Upstream::answering(|_| ok("one")),
        Upstream::answering(|_| ok("other")),
    );
    let (first, second) = (
        Socket::before(one.address()),
        Socket::before(other.address()),
    );
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("app.sock");
    std::os::unix::fs::symlink(first.path(), &link).unwrap();
    let url = format!("unix:{}", link.display());
    let gateway = Gateway::start(&one_server(&url, "pool = { max_idle = 0 }"));
    assert_eq!(gateway.get("/").text(), "one");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(second.path(), &link).unwrap();
    assert_eq!(gateway.get("/").text(), "other");
}

#[test]
fn health_checks_find_a_server_behind_a_socket_down_and_up_again() {
    let upstream = Upstream::answering(|_| ok(""));
    let (socket, closed) = (Socket::before(upstream.address()), Closed::new());
    let hidden = socket.path().with_extension("hidden");
    fs::rename(socket.path(), &hidden).unwrap();
    let gateway = Gateway::start(&format!(
        "[upstreams.app]\nservers = ['{}', '{}']\nhealth_check = {{ path = '/', interval = '50ms', healthy_after = 1, unhealthy_after = 1 }}\n{ONCE}",
        socket.url(),
        closed.url(),
    ));
    let down = gateway.logged("server is down");
    assert!(!down["cause"].as_str().unwrap().is_empty());
    while gateway.status("/") != 503 {}
    fs::rename(hidden, socket.path()).unwrap();
    gateway.logged("server is back");
    assert_eq!(gateway.status("/"), 200);
}

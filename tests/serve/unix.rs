//! Listeners on sockets in the file system.

use std::{
    fs,
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
};

use rustix::process::Signal;

use crate::support::{
    Client, Gateway, Upstream,
    gateway::{request, responding},
    mode, ok, one_route,
};

/// A listener on a socket in a new folder, and another on a port.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("web.sock")
    }

    /// The text of both listeners, the first with these keys.
    fn listeners(&self, keys: &str) -> String {
        let path = self.path();
        format!(
            "[[listeners]]\nname = 'local'\nbind = 'unix:{}'\n{keys}\n{PORT}",
            path.display()
        )
    }
}

const PORT: &str = "[[listeners]]\nbind = '127.0.0.1:0'\n";

#[test]
fn requests_by_a_socket_are_served_and_logged_as_such() {
    let place = Place::new();
    let upstream = Upstream::answering(|request| {
        ok(&format!(
            "{:?} {:?}",
            request.get("x-forwarded-for"),
            request.get("x-peer")
        ))
    });
    let route = one_route(&upstream, "request.set_headers = { x-peer = '{peer}' }");
    let gateway = Gateway::start(&(place.listeners("") + &route));
    assert_eq!(mode(&place.path()), 0o660);
    let mut client = Client::connect_unix(&place.path());
    for _ in 0..2 {
        let response = client.exchange(request("GET", "/", &[]));
        assert_eq!(response.text(), "Some(\"127.0.0.1\") Some(\"127.0.0.1\")");
        let line = gateway.access_line();
        assert_eq!(
            (&line["listener"], &line["peer"]),
            (&"local".into(), &"unix".into())
        );
        assert_eq!(line["client"], "127.0.0.1");
    }
    assert_eq!(
        gateway.metric("tidegate_connections", &[("listener", "local")]),
        1.0
    );
    // HTTP/1.0 ends with the connection.
    let mut old = Client::connect_unix(&place.path());
    assert_eq!(old.exchange("GET / HTTP/1.0\r\n\r\n").status(), 200);
}

#[test]
fn every_worker_serves_and_no_client_has_too_many_connections() {
    let place = Place::new();
    let text = place.listeners("max_connections = 40")
        + &responding("r", "")
        + "[server]\nworkers = 4\nmax_connections_per_client = 1\n";
    let _gateway = Gateway::start(&text);
    let mut clients: Vec<_> = (0..40)
        .map(|_| Client::connect_unix(&place.path()))
        .collect();
    for client in &mut clients {
        assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
    }
}

#[test]
fn a_socket_peer_is_loopback_to_trusted_proxies_and_the_proxy_protocol_names_another() {
    let place = Place::new();
    let text = place.listeners("")
        + &responding("r", "")
        + "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n";
    let gateway = Gateway::start(&text);
    let mut client = Client::connect_unix(&place.path());
    client.exchange(request("GET", "/", &["X-Forwarded-For: 192.0.2.7"]));
    assert_eq!(gateway.access_line()["client"], "192.0.2.7");
    drop(gateway);
    let place = Place::new();
    let text = place.listeners("proxy_protocol = 'required'") + &responding("r", "");
    let gateway = Gateway::start(&text);
    let mut client = Client::connect_unix(&place.path());
    client.send("PROXY TCP4 192.0.2.8 192.0.2.1 1000 80\r\n");
    client.exchange(request("GET", "/", &[]));
    let line = gateway.access_line();
    assert_eq!(
        (&line["client"], &line["peer"]),
        (&"192.0.2.8".into(), &"192.0.2.8:1000".into())
    );
    let mut own = Client::connect_unix(&place.path());
    own.send("PROXY UNKNOWN\r\n");
    own.exchange(request("GET", "/", &[]));
    assert_eq!(gateway.access_line()["peer"], "unix");
}

#[test]
fn http2_by_prior_knowledge_is_spoken_on_a_socket() {
    let place = Place::new();
    let _gateway = Gateway::start(&(place.listeners("") + &responding("r", "")));
    let mut client = Client::connect_unix(&place.path());
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let settings = client.bytes(9).unwrap();
    assert_eq!(settings[3], 4, "a frame of settings");
}

#[test]
fn the_file_is_removed_at_the_end_and_a_stale_one_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path()).unwrap());
    let mut gateway = Gateway::start(&(place.listeners("mode = '0600'") + &responding("r", "")));
    assert_eq!(mode(&place.path()), 0o600);
    let mut client = Client::connect_unix(&place.path());
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
    drop(client);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_alone().code(), Some(0));
    assert!(!place.path().exists());
}

#[test]
fn a_file_that_is_not_ours_any_more_is_not_removed() {
    let place = Place::new();
    let mut gateway = Gateway::start(&(place.listeners("") + &responding("r", "")));
    fs::remove_file(place.path()).unwrap();
    let _other = UnixListener::bind(place.path()).unwrap();
    gateway.signal(Signal::TERM);
    gateway.wait_alone();
    assert!(place.path().exists());
}

#[test]
fn a_reload_adds_a_socket_changes_its_mode_and_removes_it() {
    let place = Place::new();
    let route = responding("r", "");
    let gateway = Gateway::start(&(PORT.to_owned() + &route));
    gateway.reload_with(&(place.listeners("") + &route));
    let mut client = Client::connect_unix(&place.path());
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
    gateway.reload_with(&(place.listeners("mode = '0666'") + &route));
    assert_eq!(mode(&place.path()), 0o666);
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
    gateway.reload_with(&(PORT.to_owned() + &route));
    assert!(!place.path().exists());
    client.ended();
}

#[test]
fn a_path_with_something_else_fails_the_reload_and_stays() {
    let place = Place::new();
    let route = responding("r", "");
    let gateway = Gateway::start(&(PORT.to_owned() + &route));
    let path = place.path();
    let refused = |what: &str| {
        gateway.rewrite(&(place.listeners("") + &route));
        let (status, outcome) = gateway.reload();
        assert_ne!(status, 200);
        let said = outcome.to_string();
        assert!(
            said.contains(what) && said.contains("listeners[0].bind"),
            "{said}"
        );
        assert_eq!(gateway.get("/").text(), "r");
    };
    fs::create_dir(&path).unwrap();
    refused("a directory is there");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "text").unwrap();
    refused("a regular file is there");
    fs::remove_file(&path).unwrap();
    symlink("elsewhere", &path).unwrap();
    refused("a symbolic link is there");
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    refused("another process listens there");
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_reload_binds_a_socket_again_whose_file_was_removed() {
    let place = Place::new();
    let route = responding("r", "");
    let mut gateway = Gateway::start(&(place.listeners("mode = '0600'") + &route));
    let mut before = Client::connect_unix(&place.path());
    before.exchange(request("GET", "/", &[]));
    fs::remove_file(place.path()).unwrap();
    let (status, outcome) = gateway.reload();
    assert_eq!((status, &outcome["outcome"]), (200, &"unchanged".into()));
    let note = outcome["notes"][0].as_str().unwrap();
    assert!(note.ends_with("the socket is bound again"), "{note}");
    assert_eq!(mode(&place.path()), 0o600);
    let mut client = Client::connect_unix(&place.path());
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
    // Those of the socket before end as those of a listener that closes.
    before.ended();
    assert_eq!(gateway.reload().1["notes"], serde_json::json!([]));
    drop(client);
    gateway.signal(Signal::TERM);
    gateway.wait_alone();
    assert!(!place.path().exists());
}

#[test]
fn a_reload_tells_that_a_socket_cannot_be_bound_again() {
    let place = Place::new();
    let route = responding("r", "");
    let gateway = Gateway::start(&(place.listeners("") + &route));
    let path = place.path();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    // The configuration is right, and is applied.
    let outcome = gateway.reload_with(&(place.listeners("mode = '0666'") + &route));
    let note = outcome["notes"][0].as_str().unwrap();
    assert!(
        note.contains("no client can connect to unix:") && note.contains("another process listens"),
        "{note}"
    );
    assert_ne!(mode(&path), 0o666);
    // A file of a process that has ended is replaced.
    drop(other);
    gateway.reload();
    assert_eq!(mode(&path), 0o666);
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "r");
}

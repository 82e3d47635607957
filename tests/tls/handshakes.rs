//! Handshakes: the certificate that is shown, the clients that must show one,
//! and the requests that belong on a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConnection;
use serde_json::json;

use crate::{
    pki::{Pki, ask, certificate, connect, connect_over, shown_to},
    support::{Client, TIMEOUT, Upstream, gateway::Gateway, ok},
};

const OK: &str = "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n";

#[test]
fn the_requested_name_selects_the_certificate() {
    let pki = Pki::new();
    pki.issue("default", &["default.example"]);
    pki.issue("wild", &["*.example.com"]);
    pki.issue("exact", &["a.example.com"]);
    let gateway = Gateway::start(&(pki.listener(&["default", "wild", "exact"], "") + OK));
    let client = pki.client(None);
    for (name, file) in [
        ("default.example", "default"),
        ("b.example.com", "wild"),
        ("a.example.com", "exact"),
    ] {
        let shown = shown_to(&client, gateway.address(), name);
        assert!(
            shown == certificate(&pki.path(&format!("{file}.pem"))),
            "{name}"
        );
    }
}

/// RFC 6066, 3: a server name has no final dot, but some clients send one.
#[test]
fn a_name_with_a_final_dot_is_the_same_name() {
    let pki = Pki::with_site(&["default.example"]);
    pki.issue("other", &["other.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site", "other"], "") + OK));
    // rustls strips the dot, so the name is sent by hand.
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_quiet",
            "-connect",
            &gateway.address().to_string(),
        ])
        .args([
            "-servername",
            "other.example.",
            "-CAfile",
            &pki.shown("ca.pem"),
            "-verify_hostname",
            "other.example",
        ])
        .arg("-verify_return_error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
    client.stdin.as_mut().unwrap().write_all(request).unwrap();
    let mut response = String::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut response)
        .unwrap();
    client.wait().unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response:?}");
}

#[test]
fn a_client_that_offers_an_older_version_of_http_is_served() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    for offered in [&["http/1.0"][..], &["http/1.0", "http/1.1"]] {
        let mut client = (*pki.client(None)).clone();
        client.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let mut stream = connect(&client.into(), gateway.address(), "a.example").unwrap();
        assert_eq!(
            stream.conn.alpn_protocol(),
            offered.last().map(|name| name.as_bytes())
        );
        assert!(
            ask(&mut stream, "a.example", "/")
                .unwrap()
                .starts_with("HTTP/1.1 200")
        );
    }
}

/// `openssl req -x509` makes such certificates: self-signed and marked as
/// authorities.
#[test]
fn a_client_certificate_that_is_itself_in_the_file_is_accepted() {
    let pki = Pki::with_site(&["a.example"]);
    pki.sign_itself("known", &[], |_| {});
    pki.sign_itself("unknown", &[], |_| {});
    pki.sign_itself("old", &[], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1)
    });
    pki.sign_itself("server", &[], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let file = ["known", "old", "server"]
        .map(|name| std::fs::read_to_string(pki.path(&format!("{name}.pem"))).unwrap());
    std::fs::write(pki.path("clients.pem"), file.concat()).unwrap();
    let more = format!("client_ca = '{}'", pki.shown("clients.pem"));
    let gateway = Gateway::start(&(pki.listener(&["site"], &more) + OK));
    let get = |name: &str| {
        ask(
            &mut connect(&pki.client(Some(name)), gateway.address(), "a.example")?,
            "a.example",
            "/",
        )
    };
    assert!(get("known").unwrap().starts_with("HTTP/1.1 200"));
    assert!(get("unknown").is_err());
    let line = gateway.logged("TLS handshakes refused");
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains("not itself among those that are trusted"),
        "{line}"
    );
    for name in ["old", "server"] {
        assert!(get(name).is_err(), "{name}");
    }
}

#[test]
fn keys_are_exchanged_so_that_no_quantum_computer_reads_them_later() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn a_request_arrives_as_https_and_its_response_ends_in_order() {
    let upstream = Upstream::answering(|request| ok(&String::from_utf8_lossy(&request.head.raw)));
    let pki = Pki::with_site(&["a.example"]);
    let routes = crate::support::one_route(&upstream, "");
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + &routes));
    let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    // Reading to the end fails without a close_notify.
    let response = ask(&mut stream, "a.example", "/x").unwrap();
    assert!(
        response.contains("x-forwarded-proto: https\r\n"),
        "{response}"
    );
    assert!(
        response.contains(";host=\"a.example\";proto=https\r\n"),
        "{response}"
    );
    assert_eq!(gateway.line_of("/x")["protocol"], "HTTP/1.1");
}

#[test]
fn a_large_body_goes_both_ways() {
    let upstream = Upstream::answering(|request| ok(&"x".repeat(request.body.len())));
    let pki = Pki::with_site(&["a.example"]);
    let gateway =
        Gateway::start(&(pki.listener(&["site"], "") + &crate::support::one_route(&upstream, "")));
    let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    let length = 3_000_000;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'y'; length]).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    assert!(
        response.ends_with(&vec![b'x'; length]),
        "{} bytes",
        response.len()
    );
}

/// RFC 9110, 15.5.20: 421 Misdirected Request.
#[test]
fn a_host_that_the_certificate_does_not_cover_is_a_421() {
    let pki = Pki::with_site(&["a.example", "b.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let status = |host: &str| {
        let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
        ask(&mut stream, host, "/").unwrap()[9..12].to_owned()
    };
    assert_eq!(
        ["a.example", "A.example:443", "b.example", "c.example"].map(status),
        ["200", "200", "200", "421"]
    );
    assert_eq!(
        gateway.metric("tidegate_refusals_total", &[("reason", "misdirected")]),
        1.0
    );
}

#[test]
fn clients_must_show_a_certificate_if_the_listener_demands_it() {
    let pki = Pki::with_site(&["a.example", "b.example"]);
    pki.issue("client", &[]);
    let other = Pki::new();
    other.issue("stranger", &[]);
    let more = format!("client_ca = '{}'", pki.shown("ca.pem"));
    let gateway = Gateway::start(&(pki.listener(&["site"], &more) + OK));
    let get = |config: &Arc<rustls::ClientConfig>, host: &str| {
        ask(
            &mut connect(config, gateway.address(), "a.example")?,
            host,
            "/",
        )
    };
    assert!(
        get(&pki.client(Some("client")), "a.example")
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    assert!(get(&pki.client(None), "a.example").is_err());
    let mut stranger = (*pki.client(None)).clone();
    stranger.client_auth_cert_resolver = other
        .client(Some("stranger"))
        .client_auth_cert_resolver
        .clone();
    assert!(get(&stranger.into(), "a.example").is_err());
    // The client has proven its identity to the name of the handshake only.
    assert!(
        get(&pki.client(Some("client")), "b.example")
            .unwrap()
            .starts_with("HTTP/1.1 421")
    );
    gateway.await_metric(
        "tidegate_tls_handshakes_total",
        &[("outcome", "failed")],
        2.0,
    );
}

#[test]
fn plain_http_is_refused_in_plain_http() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let response = gateway.get("/");
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("https://"), "{}", response.text());
    gateway.await_metric(
        "tidegate_tls_handshakes_total",
        &[("outcome", "plain_http")],
        1.0,
    );
}

#[test]
fn other_protocols_get_an_alert() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let mut socket = TcpStream::connect(gateway.address()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.write_all(&[0x80; 64]).unwrap();
    let mut alert = Vec::new();
    let _ = socket.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
}

#[test]
fn a_handshake_has_its_own_timeout() {
    let pki = Pki::with_site(&["a.example"]);
    let listener = pki.listener(&["site"], "[listeners.timeouts]\ntls_handshake = '200ms'");
    let gateway = Gateway::start(&(listener + OK));
    // One client that sends nothing, and one that stops in the middle.
    for said in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut socket = TcpStream::connect(gateway.address()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.write_all(said).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    }
    gateway.await_metric(
        "tidegate_tls_handshakes_total",
        &[("outcome", "timeout")],
        2.0,
    );
    assert!(
        ask(
            &mut connect(&pki.client(None), gateway.address(), "a.example").unwrap(),
            "a.example",
            "/"
        )
        .is_ok()
    );
}

/// Otherwise they would take the turns of genuine clients for as long as a
/// handshake may last.
#[test]
fn thousands_of_stalled_handshakes_do_not_delay_others() {
    const SILENT: usize = 2100;
    let files = Rlimit {
        current: getrlimit(Resource::Nofile).maximum,
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, files).unwrap();
    let pki = Pki::with_site(&["a.example"]);
    let server = "[server]\nworkers = 2\nmax_connections_per_client = 10000\n";
    let listener = pki.listener(&["site"], "[listeners.timeouts]\ntls_handshake = '1h'");
    let gateway = Gateway::start(&(server.to_owned() + &listener + OK));
    let client = pki.client(None);
    let mut session =
        ClientConnection::new(Arc::clone(&client), "a.example".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    // One byte, nearly all of the first message, and the whole message with
    // nothing after it.
    for said in [&hello[..1], &hello[..hello.len() - 1], &hello] {
        let silent: Vec<_> = (0..SILENT)
            .map(|_| {
                let mut socket = TcpStream::connect(gateway.address()).unwrap();
                socket.write_all(said).unwrap();
                socket
            })
            .collect();
        assert!(
            ask(
                &mut connect(&client, gateway.address(), "a.example").unwrap(),
                "a.example",
                "/"
            )
            .is_ok()
        );
        drop(silent);
    }
}

#[test]
fn an_idle_connection_is_closed_with_close_notify() {
    let pki = Pki::with_site(&["a.example"]);
    let listener = pki.listener(&["site"], "[listeners.timeouts]\nkeep_alive = '100ms'");
    let gateway = Gateway::start(&(listener + OK));
    let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("a close_notify");
    assert!(response.ends_with("ok"), "{response}");
}

/// An attacker that cuts the connection must not make half of a response look
/// whole.
#[test]
fn a_response_that_breaks_off_does_not_end_with_close_notify() {
    let upstream = Upstream::start(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    });
    let pki = Pki::with_site(&["a.example"]);
    let gateway =
        Gateway::start(&(pki.listener(&["site"], "") + &crate::support::one_route(&upstream, "")));
    let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    // HTTP/1.0: only the end of the connection delimits the response.
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
        .unwrap();
    let mut response = Vec::new();
    assert!(stream.read_to_end(&mut response).is_err());
    assert!(response.ends_with(b"hello"));
}

#[test]
fn certificates_are_logged_and_keys_are_not() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    gateway.await_metric(
        "tidegate_tls_handshakes_total",
        &[("outcome", "success")],
        1.0,
    );
    let expires = gateway.metric(
        "tidegate_certificate_expiry_timestamp_seconds",
        &[("name", "a.example")],
    );
    assert!(expires > 2_000_000_000.0, "{expires}");
    let key = std::fs::read_to_string(pki.path("site.key")).unwrap();
    let shown = gateway.call_admin("GET", "/config", &[]).text();
    assert!(
        shown.contains("site.key") && !shown.contains(key.lines().nth(1).unwrap()),
        "{shown}"
    );
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["listeners"][0]["tls"]["min_version"], json!("1.2"));
}

#[test]
fn the_name_in_a_clients_certificate_is_the_key_of_a_limit() {
    let pki = Pki::with_site(&["a.example"]);
    pki.issue("one", &[]);
    pki.issue("two", &[]);
    let limit = "[limits.l]\nkey = 'tls:subject'\nrate = '2/h'\nmissing = 'refuse'\n";
    let routes = format!("{limit}{OK}limits = ['l']\n");
    let shown = format!("client_ca = '{}'", pki.shown("ca.pem"));
    let gateway = Gateway::start(&(pki.listener(&["site"], &shown) + &routes));
    let status = |name: &str| {
        let mut stream = connect(&pki.client(Some(name)), gateway.address(), "a.example").unwrap();
        ask(&mut stream, "a.example", "/").unwrap()[9..12].to_owned()
    };
    assert_eq!(
        ["one", "one", "one", "two"].map(status),
        ["200", "200", "429", "200"]
    );
    // Another certificate with the same name is the same client, and so is a
    // resumed session.
    pki.issue("one", &[]);
    assert_eq!(status("one"), "429");
    let config = pki.client(Some("two"));
    let again = [(); 2].map(|()| {
        let mut stream = connect(&config, gateway.address(), "a.example").unwrap();
        ask(&mut stream, "a.example", "/").unwrap()[9..12].to_owned()
    });
    assert_eq!(again, ["200", "429"]);
    assert_eq!(gateway.metric("tidegate_tls_resumptions_total", &[]), 1.0);
}

#[test]
fn without_a_certificate_there_is_no_name() {
    let pki = Pki::with_site(&["a.example"]);
    let limit = "[limits.l]\nkey = 'tls:subject'\nrate = '2/h'\nmissing = 'refuse'\n";
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + limit + OK + "limits = ['l']\n"));
    let mut stream = connect(&pki.client(None), gateway.address(), "a.example").unwrap();
    assert!(
        ask(&mut stream, "a.example", "/")
            .unwrap()
            .starts_with("HTTP/1.1 429")
    );
}

#[test]
fn a_banned_address_is_closed_before_its_handshake() {
    let pki = Pki::with_site(&["a.example.com"]);
    let limit = "[limits.l]\nkey = 'client-ip'\nrate = '1/h'\nban = { refusals = 1, within = '1m', for = '10m', at = 'connection' }\n";
    let route = format!("{OK}limits = ['l']\n");
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + limit + &route));
    let client = pki.client(None);
    let mut open = connect(&client, gateway.address(), "a.example.com").unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
        .unwrap();
    let mut status = [0; 12];
    open.read_exact(&mut status).unwrap();
    assert!(status.ends_with(b"200"));
    let mut refused = connect(&client, gateway.address(), "a.example.com").unwrap();
    let response = ask(&mut refused, "a.example.com", "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 429"), "{response}");
    for _ in 0..3 {
        assert!(connect(&client, gateway.address(), "a.example.com").is_err());
    }
    let metric = |name, label| gateway.metric(name, &[label]);
    let closed = metric("tidegate_connections_closed_total", ("reason", "banned"));
    assert_eq!(closed, 3.0);
    assert_eq!(
        metric("tidegate_tls_handshakes_total", ("outcome", "success")),
        2.0
    );
    assert_eq!(
        metric("tidegate_tls_handshakes_total", ("outcome", "closed")),
        0.0
    );
}

#[test]
fn a_socket_in_the_file_system_speaks_tls() {
    let pki = Pki::with_site(&["a.example"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls.sock");
    let on_port = pki.listener(&["site"], "") + OK;
    let bind = format!("bind = 'unix:{}'", path.display());
    let on_socket = on_port.replace("bind = \"127.0.0.1:0\"", &bind);
    let gateway = Gateway::start(&(on_socket + "[[listeners]]\nbind = '127.0.0.1:0'\n"));
    let socket = || TcpStream::from(OwnedFd::from(UnixStream::connect(&path).unwrap()));
    let mut stream = connect_over(&pki.client(None), socket(), "a.example").unwrap();
    let response = ask(&mut stream, "a.example", "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(gateway.access_line()["peer"], "unix");
    // Resumed by its ticket, and closed by TLS.
    let config = pki.client(None);
    for is_resumed in [false, true] {
        let mut stream = connect_over(&config, socket(), "a.example").unwrap();
        ask(&mut stream, "a.example", "/").unwrap();
        let kind = stream.conn.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), is_resumed);
    }
    let mut plain = Client::over(socket());
    assert_eq!(plain.exchange("GET / HTTP/1.1\r\n\r\n").status(), 400);
}

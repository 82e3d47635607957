//! TLS towards servers: which servers are trusted, why others are refused, and
//! the number of handshakes.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::{
    pki::{Pki, server, server_with_ends},
    support::{TIMEOUT, gateway::Gateway},
};

fn gateway(address: SocketAddr, tls: &str) -> Gateway {
    gateway_to(&format!("https://{address}"), tls)
}

fn gateway_to(url: &str, tls: &str) -> Gateway {
    Gateway::start(&format!(
        "[upstreams.app]\nservers = ['{url}']\n{tls}\n[[routes]]\nname = 'app'\nupstream = 'app'\nretry = {{ attempts = 1 }}\n"
    ))
}

/// Each worker has a connection pool of its own.
const ONE_WORKER: &str = "\n[server]\nworkers = 1\n";

fn trusting(pki: &Pki, more: &str) -> String {
    format!(
        "[upstreams.app.tls]\nca = '{}'\n{more}",
        pki.shown("ca.pem")
    )
}

#[test]
fn a_server_is_verified_by_the_authority_that_is_named() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let gateway = gateway(server(pki.server("site", false)), &trusting(&pki, ""));
    let response = gateway.get("/x");
    assert_eq!(response.status(), 200, "{}", response.text());
    assert!(
        response.text().contains("GET /x HTTP/1.1\r\n"),
        "{}",
        response.text()
    );
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_connects_total",
            &[("outcome", "success")]
        ),
        1.0
    );
}

#[test]
fn a_server_may_be_called_by_another_name() {
    let pki = Pki::with_site(&["app.internal"]);
    let gateway = gateway(
        server(pki.server("site", false)),
        &trusting(&pki, "server_name = 'app.internal'"),
    );
    let response = gateway.get("/");
    assert!(
        response.text().contains("sni=app.internal"),
        "{}",
        response.text()
    );
}

#[test]
fn untrusted_servers_are_refused_with_a_reason() {
    let pki = Pki::with_site(&["other.internal"]);
    pki.issue_with(
        "old",
        &["127.0.0.1"],
        &rcgen::KeyPair::generate().unwrap(),
        |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        },
    );
    let stranger = Pki::with_site(&["127.0.0.1"]);
    for (config, reason) in [
        (
            stranger.server("site", false),
            "its certificate was issued by nobody who is trusted",
        ),
        (
            pki.server("site", false),
            "its certificate is for another name",
        ),
        (pki.server("old", false), "its certificate has expired"),
        (pki.server("old", true), "its certificate has expired"),
    ] {
        let gateway = gateway(server(config), &trusting(&pki, ""));
        let response = gateway.get("/");
        assert_eq!(response.status(), 502);
        assert!(
            response
                .text()
                .contains(&format!("TLS handshake failed: {reason}")),
            "{}",
            response.text()
        );
        assert_eq!(
            gateway.metric("tidegate_upstream_connects_total", &[("outcome", "tls")]),
            1.0
        );
    }
}

/// `openssl req -x509` makes such certificates: self-signed and marked as
/// authorities.
#[test]
fn a_server_certificate_that_is_itself_in_the_file_is_accepted() {
    let pki = Pki::new();
    let trusted = |name: &str| {
        format!(
            "[upstreams.app.tls]\nca = '{}'\n",
            pki.shown(&format!("{name}.pem"))
        )
    };
    pki.sign_itself("good", &["127.0.0.1"], |_| {});
    let gateway_to_good = gateway(server(pki.server("good", false)), &trusted("good"));
    assert_eq!(gateway_to_good.get("/").status(), 200);
    pki.sign_itself("other", &["other.internal"], |_| {});
    pki.sign_itself("nameless", &[], |_| {});
    pki.sign_itself("old", &["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1)
    });
    pki.sign_itself("future", &["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2120, 1, 1)
    });
    pki.sign_itself("client", &["127.0.0.1"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    pki.sign_itself("issuer", &["127.0.0.1"], |params| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    for (shown, named, reason) in [
        ("other", "other", "its certificate is for another name"),
        ("nameless", "nameless", "its certificate names no host"),
        ("old", "old", "its certificate has expired"),
        ("future", "future", "its certificate is not valid yet"),
        ("client", "client", "its certificate is for another purpose"),
        ("issuer", "issuer", "its certificate is for another purpose"),
        (
            "good",
            "other",
            "its certificate is an authority's (CA:TRUE), and not itself among those that are trusted",
        ),
    ] {
        let gateway = gateway(server(pki.server(shown, false)), &trusted(named));
        let response = gateway.get("/");
        assert!(
            response
                .text()
                .contains(&format!("TLS handshake failed: {reason}")),
            "{shown}: {}",
            response.text()
        );
        let line = gateway.logged("no TLS connection");
        assert!(line["message"].as_str().unwrap().contains(reason), "{line}");
    }
}

/// RFC 6066, 3 and RFC 9110, 4.2.3: a server name has no final dot, and a
/// scheme is case-insensitive.
#[test]
fn a_server_may_be_named_with_a_final_dot() {
    let pki = Pki::with_site(&["localhost"]);
    let address = server(pki.server("site", false));
    for more in ["", "server_name = 'localhost.'\n"] {
        let text = format!(
            "[upstreams.app]\nservers = ['HTTPS://localhost.:{}']\n{}\n\
             [[routes]]\nname = 'app'\nupstream = 'app'\nrequest = {{ preserve_host = false }}\n",
            address.port(),
            trusting(&pki, more)
        );
        let gateway = Gateway::start(&text);
        let response = gateway.get("/").text();
        assert!(response.contains("sni=localhost "), "{response}");
        assert!(
            response.contains(&format!("host: localhost:{}\r\n", address.port())),
            "{response}"
        );
    }
}

#[test]
fn the_default_authorities_are_those_of_the_system() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let gateway = gateway(server(pki.server("site", false)), "");
    let response = gateway.get("/");
    assert!(
        response.status() == 502 && response.text().contains("nobody who is trusted"),
        "{}",
        response.text()
    );
}

#[test]
fn the_problem_names_a_server_that_does_not_speak_tls() {
    let upstream = crate::support::Upstream::start(|mut connection| {
        connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let gateway = gateway_to(
        &upstream.url().replace("http://", "https://"),
        &trusting(&Pki::new(), ""),
    );
    let response = gateway.get("/");
    assert_eq!(response.status(), 502);
    assert!(
        response
            .text()
            .contains("TLS handshake failed: it does not speak TLS"),
        "{}",
        response.text()
    );
}

#[test]
fn a_server_that_asks_is_shown_the_gateways_certificate() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    pki.issue("gateway", &[]);
    let own = format!(
        "client_cert = '{}'\nclient_key = '{}'",
        pki.shown("gateway.pem"),
        pki.shown("gateway.key")
    );
    let shows = gateway(server(pki.server("site", true)), &trusting(&pki, &own));
    assert_eq!(shows.get("/").status(), 200);
    let shows_none = gateway(server(pki.server("site", true)), &trusting(&pki, ""));
    assert_eq!(shows_none.get("/").status(), 502);
}

#[test]
fn a_silent_server_costs_no_more_than_connect_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = "[upstreams.app.pool]\nconnect_timeout = '150ms'\n";
    let gateway = gateway(silent.local_addr().unwrap(), pool);
    let response = gateway.get("/");
    assert!(
        response.status() == 502 && response.text().contains("timed out"),
        "{}",
        response.text()
    );
}

#[test]
fn connections_with_unsolicited_tickets_are_reused() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let gateway = gateway(
        server(pki.server("site", false)),
        &(trusting(&pki, "") + ONE_WORKER),
    );
    for _ in 0..5 {
        assert!(gateway.get("/").text().contains("kind=Some(Full)"));
    }
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_connects_total",
            &[("outcome", "success")]
        ),
        1.0
    );
}

#[test]
fn further_connections_resume_a_session() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let pool = "[upstreams.app.pool]\nmax_idle = 0\n";
    let gateway = gateway(
        server(pki.server("site", false)),
        &(trusting(&pki, "") + ONE_WORKER + pool),
    );
    let kinds = [(); 3].map(|()| {
        let response = gateway.get("/").text();
        response
            .split_once("kind=Some(")
            .unwrap()
            .1
            .split_once(')')
            .unwrap()
            .0
            .to_owned()
    });
    assert_eq!(kinds, ["Full", "Resumed", "Resumed"]);
}

#[test]
fn connections_end_with_a_close_notify() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let (address, ended) = server_with_ends(pki.server("site", false));
    let pool = "[upstreams.app.pool]\nmax_idle = 0\n";
    let gateway = gateway(address, &(trusting(&pki, "") + ONE_WORKER + pool));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(ended.recv_timeout(TIMEOUT), Ok(true));
}

#[test]
fn pooled_connections_end_with_a_close_notify_when_the_gateway_stops() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let (address, ended) = server_with_ends(pki.server("site", false));
    let mut gateway = gateway(address, &trusting(&pki, ""));
    assert_eq!(gateway.status("/"), 200);
    gateway.signal(Signal::TERM);
    gateway.wait();
    assert_eq!(ended.recv_timeout(TIMEOUT), Ok(true));
}

/// Pooled connections must not outlive the trust that they were opened with.
#[test]
fn another_authority_applies_to_the_next_request() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let gateway = gateway(server(pki.server("site", false)), &trusting(&pki, ""));
    assert_eq!(gateway.get("/").status(), 200);
    std::fs::copy(Pki::new().path("ca.pem"), pki.path("ca.pem")).unwrap();
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/").status(), 502);
}

/// Sends a request through a gateway with `protocol` to another gateway, whose
/// listener has `http2` on or off. Returns the status and the protocol that was
/// protocol_between between them.
#[track_caller]
fn protocol_between(http2: bool, protocol: &str) -> (u16, Option<String>) {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let file = pki.listener(&["site"], "").replace(
        "[listeners.tls]",
        &format!("http2 = {http2}\n[listeners.tls]"),
    );
    let server = Gateway::start(&(file + "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n"));
    let gateway = gateway(
        server.address(),
        &format!("protocol = '{protocol}'\n{}", trusting(&pki, "")),
    );
    let status = gateway.get("/").status();
    if status == 200 {
        // A pooled connection serves the same protocol.
        assert_eq!(gateway.status("/"), 200);
    }
    (
        status,
        (status == 200).then(|| {
            server.access_line()["protocol"]
                .as_str()
                .unwrap()
                .to_owned()
        }),
    )
}

#[test]
fn the_handshake_agrees_on_what_is_spoken_with_a_server() {
    let over = |version: &str| (200, Some(version.to_owned()));
    assert_eq!(protocol_between(true, "http1"), over("HTTP/1.1"));
    assert_eq!(protocol_between(true, "http2"), over("HTTP/2"));
    assert_eq!(protocol_between(true, "auto"), over("HTTP/2"));
    assert_eq!(protocol_between(false, "auto"), over("HTTP/1.1"));
    assert_eq!(protocol_between(false, "http2"), (502, None));
}

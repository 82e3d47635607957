//! The PROXY protocol: the header names the client, and connections without one
//! are refused.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    pki::{Pki, ask, connect_over},
    support::{TIMEOUT, gateway::Gateway},
};

const OK: &str = "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n";
const REQUIRED: &str = "[[listeners]]\nbind = '127.0.0.1:0'\nproxy_protocol = 'required'\n";

fn v2(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[kind, family, 0, body.len() as u8][..],
        body,
    ]
    .concat()
}

#[test]
fn the_header_names_the_client() {
    let gateway = Gateway::start(&(REQUIRED.to_owned() + OK));
    let ends = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb];
    for (header, peer) in [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(),
            "192.0.2.7:4711",
        ),
        (v2(0x21, 0x11, &ends), "192.0.2.7:4711"),
        (v2(0x20, 0, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let mut client = gateway.connect();
        client.send([&header[..], b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(client.response().status(), 200);
        drop(client);
        let line = gateway.line_of("/x");
        assert!(line["peer"].as_str().unwrap().starts_with(peer), "{line}");
        assert!(peer.starts_with(line["client"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn trust_is_judged_by_the_peer_that_the_header_names() {
    let trust = "[client_ip]\ntrusted_proxies = ['192.0.2.0/24']\n";
    let gateway = Gateway::start(&(REQUIRED.to_owned() + trust + OK));
    for (peer, client) in [
        ("192.0.2.7", "203.0.113.9"),
        ("198.51.100.7", "198.51.100.7"),
    ] {
        let mut connection = gateway.connect();
        connection.send(format!("PROXY TCP4 {peer} 127.0.0.1 1 2\r\n"));
        let response = connection
            .exchange("GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
        assert_eq!(response.status(), 200);
        drop(connection);
        assert_eq!(gateway.line_of("/x")["client"], client);
    }
}

#[test]
fn connections_without_a_header_are_refused() {
    let gateway =
        Gateway::start(&(REQUIRED.to_owned() + "[listeners.timeouts]\nheaders = '200ms'\n" + OK));
    for said in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROXY TCP4 x\r\n",
        "PROXY TC",
        "",
    ] {
        let mut socket = TcpStream::connect(gateway.address()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.write_all(said.as_bytes()).unwrap();
        let mut response = Vec::new();
        // The connection ends with a reset if bytes were left unread.
        let _ = socket.read_to_end(&mut response);
        assert!(response.is_empty());
    }
    let counted = |reason| {
        gateway.metric(
            "tidegate_proxy_protocol_failures_total",
            &[("reason", reason)],
        )
    };
    assert_eq!((counted("malformed"), counted("timeout")), (2.0, 2.0));
}

#[test]
fn the_header_comes_before_tls() {
    let pki = Pki::with_site(&["a.example"]);
    let listener = pki.listener(&["site"], "").replace(
        "[listeners.tls]",
        "proxy_protocol = 'required'\n[listeners.tls]",
    );
    let gateway = Gateway::start(&(listener + OK));
    let mut socket = TcpStream::connect(gateway.address()).unwrap();
    socket
        .write_all(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n")
        .unwrap();
    let mut stream = connect_over(&pki.client(None), socket, "a.example").unwrap();
    assert!(ask(&mut stream, "a.example", "/x").unwrap().ends_with("ok"));
    assert_eq!(gateway.line_of("/x")["client"], "2001:db8::7");
}

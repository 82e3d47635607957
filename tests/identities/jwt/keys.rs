//! Keys at a URL: fetched, changed, and away.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use parking_lot::Mutex;
use serde_json::json;

use super::{
    by, gateway,
    issuer::{Issuer, jwks, publishing, serving},
    status, text,
};
use crate::support::{
    Client, Gate,
    gateway::{Gateway, request},
    ok,
};

#[test]
fn a_key_that_is_new_is_fetched_for_the_first_token_with_it() {
    let (old, new) = (Issuer::p256("old"), Issuer::p256("new"));
    let keys = Arc::new(Mutex::new(jwks(&[&old])));
    let shown = Arc::clone(&keys);
    let server = serving(move || ok(&shown.lock()));
    let gateway = by(&server, "");
    let (before, after) = (
        old.token(json!({ "sub": "a" })),
        new.token(json!({ "sub": "a" })),
    );
    assert_eq!(status(&gateway, &before), 200);
    *keys.lock() = jwks(&[&old, &new]);
    assert_eq!(
        [status(&gateway, &after), status(&gateway, &before)],
        [200, 200]
    );
    gateway.logged("signing keys have changed");
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_key_that_leaves_takes_its_tokens_with_it_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let (gone, stays) = (Issuer::p256("gone"), Issuer::p256("stays"));
    std::fs::write(&file, jwks(&[&gone, &stays])).unwrap();
    let gateway = gateway(&format!("keys = {:?}", file.display()), "");
    let tokens = [&gone, &stays].map(|issuer| issuer.token(json!({ "sub": "a" })));
    for token in &tokens {
        assert_eq!(
            [status(&gateway, token), status(&gateway, token)],
            [200, 200]
        );
    }
    std::fs::write(&file, jwks(&[&stays])).unwrap();
    gateway.reload();
    assert_eq!(
        tokens.each_ref().map(|token| status(&gateway, token)),
        [401, 200]
    );
}

#[test]
fn a_fetched_key_that_leaves_takes_the_tokens_with_it_that_it_has_verified() {
    let [gone, stays, new] = ["gone", "stays", "new"].map(Issuer::p256);
    let keys = Arc::new(Mutex::new(jwks(&[&gone, &stays])));
    let shown = Arc::clone(&keys);
    let server = serving(move || ok(&shown.lock()));
    let gateway = by(&server, "");
    let tokens = [&gone, &stays].map(|issuer| issuer.token(json!({ "sub": "a" })));
    let known = || tokens.each_ref().map(|token| status(&gateway, token));
    assert_eq!([known(), known()], [[200, 200]; 2]);
    *keys.lock() = jwks(&[&stays, &new]);
    // The issuer has changed, and the gateway has not asked it again.
    assert_eq!(known(), [200, 200]);
    assert_eq!(status(&gateway, &new.token(json!({ "sub": "a" }))), 200);
    assert_eq!(known(), [401, 200]);
}

#[test]
fn an_issuer_with_tls_is_verified_by_the_authority_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (key, cert) = certificate(folder.path());
    let issuer = Issuer::p256("k");
    let listener = format!(
        "[[listeners]]\nbind = '127.0.0.1:0'\ntls = {{ certificates = [{{ cert = '{cert}', key = '{key}' }}] }}\n"
    );
    let published = format!(
        "[[routes]]\nname = 'keys'\nrespond = {{ status = 200, body = '{}' }}\n",
        jwks(&[&issuer])
    );
    let server = Gateway::start(&(listener + &published));
    let keys = format!("keys = 'https://{}/keys'\n", server.address());
    let token = issuer.token(json!({ "sub": "a" }));
    let trusting = gateway(&format!("{keys}ca = '{cert}'"), "");
    assert_eq!(status(&trusting, &token), 200);
    let other = gateway(&keys, "");
    assert_eq!(status(&other, &token), 503);
    let line = other.logged("signing keys cannot be fetched");
    assert!(
        line.to_string().contains("nobody who is trusted"),
        "{line:#}"
    );
}

/// A key, and a certificate of 127.0.0.1 that it has signed itself.
fn certificate(folder: &Path) -> (String, String) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, cert) = (path("key.pem"), path("cert.pem"));
    let kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let names = "-subj /CN=issuer -addext subjectAltName=IP:127.0.0.1";
    let made = Command::new("openssl")
        .args(kind.split(' ').chain(names.split(' ')))
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &cert])
        .output();
    assert!(made.unwrap().status.success());
    (key, cert)
}

#[test]
fn without_keys_nobody_is_known_and_the_reason_is_told_once() {
    for answer in [
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            .to_owned(),
        ok("<html>no keys</html>"),
        ok("[]"),
        ok("{\"keys\":[]}"),
        ok("{\"keys\":{}}"),
        ok("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"),
        ok(&format!("{{\"keys\":[{}{{}}]}}", "{},".repeat(100))),
        ok(&format!(
            "{{\"keys\":[],\"pad\":\"{}\"}}",
            "x".repeat(300 * 1024)
        )),
        ok(&"[".repeat(100_000)),
        "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
    ] {
        let server = serving(move || answer.clone());
        let gateway = by(&server, "");
        let token = Issuer::p256("k").token(json!({ "sub": "a" }));
        for _ in 0..2 {
            let line = format!("Authorization: Bearer {token}");
            let refused = gateway.ask("GET", "/", &[&line]);
            assert_eq!(refused.status(), 503);
            assert!(refused.head.all("retry-after")[0].parse::<u32>().unwrap() > 0);
        }
        gateway.logged("signing keys cannot be fetched");
        let fetches = [("identity", "users"), ("outcome", "failed")];
        assert_eq!(gateway.metric("tidegate_key_fetches_total", &fetches), 1.0);
        let refusals = [("reason", "identity_unavailable")];
        gateway.await_metric("tidegate_refusals_total", &refusals, 2.0);
        // Routes and readiness do without.
        assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 200);
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn a_set_without_end_is_not_read_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A response before its request would be a broken connection.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(piece.as_bytes()).is_ok() {}
    });
    let gateway = gateway(&format!("keys = 'http://{address}/keys'"), "");
    let token = Issuer::p256("k").token(json!({ "sub": "a" }));
    assert_eq!(status(&gateway, &token), 503);
    let line = gateway.logged("signing keys cannot be fetched");
    assert!(line.to_string().contains("256 KiB"), "{line:#}");
}

#[test]
fn the_first_requests_wait_for_the_first_fetch() {
    let issuer = Issuer::p256("k");
    let (gate, keys) = (Gate::new(), jwks(&[&issuer]));
    let held = gate.clone();
    let server = serving(move || {
        held.pass();
        ok(&keys)
    });
    let gateway = by(&server, "");
    let token = issuer.token(json!({ "sub": "a" }));
    let line = format!("Authorization: Bearer {token}");
    let mut waiting = gateway.sent("/", &[&line]);
    assert_eq!(gateway.get("/").status(), 401);
    gate.open();
    assert_eq!(waiting.response().status(), 200);
}

#[test]
fn many_unknown_kids_cause_few_fetches() {
    let issuer = Issuer::p256("k");
    let server = publishing(&[&issuer]);
    let gateway = by(&server, "");
    assert_eq!(status(&gateway, &issuer.token(json!({ "sub": "a" }))), 200);
    for kid in 0..100 {
        let header = json!({ "alg": "ES256", "kid": format!("made up {kid}") });
        assert_eq!(
            status(&gateway, &issuer.token_by(header, json!({ "sub": "a" }))),
            401
        );
    }
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[test]
fn keys_are_kept_over_a_reload_and_while_the_issuer_is_away() {
    let issuer = Issuer::p256("k");
    let is_away = Arc::new(AtomicBool::new(false));
    let (away, keys) = (Arc::clone(&is_away), jwks(&[&issuer]));
    let server = serving(move || match away.load(SeqCst) {
        true => "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        false => ok(&keys),
    });
    let jwt = format!("keys = '{}/keys'", server.url());
    let gateway = gateway(&jwt, "");
    let token = |id: &str| issuer.token(json!({ "sub": id }));
    assert_eq!(status(&gateway, &token("a")), 200);
    is_away.store(true, SeqCst);
    // The identity is another one now, and its keys are the same.
    gateway.reload_with(&text(&format!("{jwt}\nleeway = '1m'"), ""));
    assert_eq!(status(&gateway, &token("b")), 200);
    assert_eq!(server.connections(), 1);
    // Other keys are fetched: nobody is known before they come.
    gateway.reload_with(&text(&jwt.replace("/keys", "/others"), ""));
    assert_eq!(status(&gateway, &token("c")), 503);
}

#[test]
fn no_request_fails_while_keys_change() {
    let issuers: Vec<_> = (0..4).map(|kid| Issuer::p256(&format!("k{kid}"))).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let write = |at: usize| {
        let keys = jwks(&[&issuers[at % 4], &issuers[(at + 1) % 4]]);
        std::fs::write(folder.path().join("new"), keys).unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
    };
    write(0);
    let gateway = gateway(&format!("keys = {:?}", file.display()), "");
    // The key that stays over a change signs while it is made.
    let (round, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..3 {
            let (issuers, address) = (&issuers, gateway.address());
            let (round, asked) = (&round, &asked);
            scope.spawn(move || {
                for number in 0..60 {
                    let at = round.load(SeqCst);
                    if at == usize::MAX {
                        return;
                    }
                    let token =
                        issuers[(at + 1) % 4].token(json!({ "sub": format!("{client}-{number}") }));
                    let line = format!("Authorization: Bearer {token}");
                    let asking = request("GET", "/", &[&line, "Connection: close"]);
                    let got = Client::connect(address).exchange(asking).status();
                    // A round may have ended in between.
                    assert!(got == 200 || round.load(SeqCst) != at, "{got}");
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        for at in 1..4 {
            write(at);
            gateway.reload();
            round.store(at, SeqCst);
        }
        round.store(usize::MAX, SeqCst);
    });
    assert!(asked.load(SeqCst) > 0);
}

#[test]
fn no_request_fails_while_an_issuer_changes_its_key() {
    let (old, new) = (Issuer::p256("old"), Issuer::ed25519("new"));
    let keys = Arc::new(Mutex::new(jwks(&[&old])));
    let shown = Arc::clone(&keys);
    let server = serving(move || ok(&shown.lock()));
    let gateway = by(&server, "");
    let (address, has_changed) = (gateway.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        for client in 0..4 {
            let (old, new, has_changed) = (&old, &new, &has_changed);
            scope.spawn(move || {
                let mut left = 20;
                // At least 20 of them are signed with the new key.
                while left > 0 {
                    let is_new = has_changed.load(SeqCst);
                    left -= usize::from(is_new);
                    let issuer = if is_new { new } else { old };
                    let token = issuer.token(json!({ "sub": format!("{client}-{left}") }));
                    let line = format!("Authorization: Bearer {token}");
                    let asking = request("GET", "/", &[&line, "Connection: close"]);
                    assert_eq!(Client::connect(address).exchange(asking).status(), 200);
                }
            });
        }
        // An issuer publishes a key before it signs with it.
        *keys.lock() = jwks(&[&old, &new]);
        has_changed.store(true, SeqCst);
    });
    assert!(server.connections() <= 3);
}

//! Certificates that change while the gateway serves, in every way in which
//! files change.

use std::{fs, os::unix::fs::symlink};

use crate::{
    pki::{Pki, ask, certificate, connect, shown_to},
    support::gateway::Gateway,
};

const OK: &str = "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n";

#[test]
fn renamed_files_are_shown_without_a_reload_and_connections_stay() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let client = pki.client(None);
    let mut kept = connect(&client, gateway.address(), "a.example").unwrap();
    pki.issue("site", &["a.example"]);
    gateway.logged("configuration reloaded");
    // A new client, since a resumed session shows the earlier certificate.
    assert!(
        shown_to(&pki.client(None), gateway.address(), "a.example")
            == certificate(&pki.path("site.pem"))
    );
    assert!(ask(&mut kept, "a.example", "/").unwrap().ends_with("ok"));
}

#[test]
fn overwritten_files_are_shown_without_a_reload() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    pki.issue("new", &["a.example"]);
    for end in ["pem", "key"] {
        fs::copy(
            pki.path(&format!("new.{end}")),
            pki.path(&format!("site.{end}")),
        )
        .unwrap();
    }
    gateway.logged("configuration reloaded");
    assert!(
        shown_to(&pki.client(None), gateway.address(), "a.example")
            == certificate(&pki.path("new.pem"))
    );
}

/// Kubernetes mounts a Secret as a folder of links into `..data`, which is a
/// link that is replaced.
#[test]
fn a_secret_that_kubernetes_swaps_is_shown_without_a_reload() {
    let pki = Pki::new();
    for version in ["one", "two"] {
        pki.issue(version, &["a.example"]);
        fs::create_dir(pki.path(&format!("..{version}"))).unwrap();
        for (from, to) in [("pem", "tls.crt"), ("key", "tls.key")] {
            fs::rename(
                pki.path(&format!("{version}.{from}")),
                pki.path(&format!("..{version}/{to}")),
            )
            .unwrap();
        }
    }
    symlink("..one", pki.path("..data")).unwrap();
    symlink("..data/tls.crt", pki.path("site.pem")).unwrap();
    symlink("..data/tls.key", pki.path("site.key")).unwrap();
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let before = shown_to(&pki.client(None), gateway.address(), "a.example");
    symlink("..two", pki.path("..next")).unwrap();
    fs::rename(pki.path("..next"), pki.path("..data")).unwrap();
    gateway.logged("configuration reloaded");
    let after = shown_to(&pki.client(None), gateway.address(), "a.example");
    assert!(before != after && after == certificate(&pki.path("..two/tls.crt")));
}

#[test]
fn a_broken_certificate_keeps_what_serves_and_its_repair_takes_effect() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let before = certificate(&pki.path("site.pem"));
    pki.issue("other", &["a.example"]);
    fs::copy(pki.path("other.key"), pki.path("site.key")).unwrap();
    let said = gateway.logged("configuration not reloaded")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        said.contains("site.key is not the key of this certificate"),
        "{said}"
    );
    assert!(shown_to(&pki.client(None), gateway.address(), "a.example") == before);
    fs::copy(pki.path("other.pem"), pki.path("site.pem")).unwrap();
    gateway.logged("configuration reloaded");
    assert!(
        shown_to(&pki.client(None), gateway.address(), "a.example")
            == certificate(&pki.path("other.pem"))
    );
}

#[test]
fn an_expired_certificate_serves_with_a_warning() {
    let pki = Pki::new();
    pki.issue_with(
        "site",
        &["a.example"],
        &rcgen::KeyPair::generate().unwrap(),
        |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        },
    );
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let said = gateway.logged(&gateway.file().display().to_string())["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        said.contains(&format!(
            "{}: the certificate has expired",
            pki.shown("site.pem")
        )),
        "{said}"
    );
}

//! Independent clients: openssl, curl and Python.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use crate::{pki::Pki, support::gateway::Gateway};

const OK: &str = "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n";

/// Output of `openssl s_client` for one request.
fn s_client(gateway: &Gateway, pki: &Pki, arguments: &[&str]) -> String {
    let (address, ca) = (gateway.address().to_string(), pki.shown("ca.pem"));
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-CAfile", &ca, "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is missing: tests/all installs it");
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    // A client that was refused may have ended already.
    let _ = client.stdin.take().unwrap().write_all(request);
    let Output { stdout, stderr, .. } = client.wait_with_output().unwrap();
    [stdout, stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .join("\n")
}

#[test]
fn openssl_speaks_both_versions_and_none_older() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    for (version, said) in [("-tls1_3", "New, TLSv1.3"), ("-tls1_2", "New, TLSv1.2")] {
        let response = s_client(
            &gateway,
            &pki,
            &[version, "-servername", "a.example", "-alpn", "http/1.1"],
        );
        assert!(
            response.contains(said) && response.contains("Verify return code: 0 (ok)"),
            "{response}"
        );
        assert!(
            response.contains("ALPN protocol: http/1.1") && response.contains("HTTP/1.1 200 OK"),
            "{response}"
        );
    }
    let response = s_client(&gateway, &pki, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(
        response.contains("alert") && !response.contains("HTTP/1.1 200"),
        "{response}"
    );
}

#[test]
fn the_oldest_version_can_be_raised() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "min_version = '1.3'") + OK));
    assert!(s_client(&gateway, &pki, &["-tls1_3"]).contains("HTTP/1.1 200 OK"));
    assert!(s_client(&gateway, &pki, &["-tls1_2"]).contains("alert protocol version"));
}

#[test]
fn a_client_is_shown_a_certificate_whose_key_it_can_verify() {
    let pki = Pki::new();
    pki.issue("ecdsa", &["a.example"]);
    pki.issue_rsa("rsa", &["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["ecdsa", "rsa"], "") + OK));
    for (algorithms, kind) in [("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256", "RSA-PSS")] {
        let response = s_client(
            &gateway,
            &pki,
            &["-servername", "a.example", "-sigalgs", algorithms],
        );
        assert!(
            response.contains(&format!("Peer signature type: {kind}")),
            "{response}"
        );
    }
}

#[test]
fn openssl_resumes_a_session_in_both_versions_across_a_reload() {
    let pki = Pki::with_site(&["a.example"]);
    let text = pki.listener(&["site"], "") + OK;
    let gateway = Gateway::start(&text);
    for version in ["-tls1_3", "-tls1_2"] {
        let session = pki.shown("session");
        assert!(s_client(&gateway, &pki, &[version, "-sess_out", &session]).contains("New, TLSv1"));
        gateway.reload_with(&text.replace("body = 'ok'", &format!("body = 'ok{version}'")));
        let response = s_client(&gateway, &pki, &[version, "-sess_in", &session]);
        assert!(response.contains("Reused, TLSv1"), "{response}");
    }
    gateway.await_metric("tidegate_tls_resumptions_total", &[], 2.0);
}

#[test]
fn curl_keeps_its_connection() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(&(pki.listener(&["site"], "") + OK));
    let port = gateway.address().port();
    let url = format!("https://a.example:{port}/");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--cacert", &pki.shown("ca.pem")])
        .args([
            "--resolve",
            &format!("a.example:{port}:127.0.0.1"),
            "-w",
            "%{num_connects} ",
            &url,
            &url,
        ])
        .output()
        .expect("curl is missing: tests/all installs it");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ok1 ok0 ",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_handshake_agrees_on_the_best_version_that_both_speak() {
    let pki = Pki::with_site(&["a.example"]);
    for (listener, argument, version) in [
        ("", "--http2", "2"),
        ("", "--http1.1", "1.1"),
        ("http2 = false", "--http2", "1.1"),
    ] {
        let file = pki
            .listener(&["site"], "")
            .replace("[listeners.tls]", &format!("{listener}\n[listeners.tls]"));
        let gateway = Gateway::start(&(file + OK));
        let port = gateway.address().port();
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--cacert",
                &pki.shown("ca.pem"),
                argument,
            ])
            .args([
                "--resolve",
                &format!("a.example:{port}:127.0.0.1"),
                "-w",
                " %{http_version}",
            ])
            .arg(format!("https://a.example:{port}/"))
            .output()
            .expect("curl is missing: tests/all installs it");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            said,
            format!("ok {version}"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Without the rest of the upload being read, Python's ssl reports "EOF
/// occurred in violation of protocol" instead of the refusal, and curl a
/// framing error.
#[test]
fn clients_see_the_early_response_to_a_long_upload() {
    let pki = Pki::with_site(&["a.example"]);
    let gateway = Gateway::start(
        &(pki.listener(&["site"], "") + "[defaults.request]\nmax_body = '1KiB'\n" + OK),
    );
    let port = gateway.address().port();
    for bytes in [3 << 20, 8 << 20] {
        let file = pki.shown(&format!("{bytes}.body"));
        std::fs::write(&file, vec![b'x'; bytes]).unwrap();
        for version in ["--http1.1", "--http2"] {
            let said = Command::new("curl")
                .args([
                    "-sS",
                    "-k",
                    version,
                    "-H",
                    "Expect:",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    "--data-binary",
                ])
                .args([format!("@{file}"), format!("https://127.0.0.1:{port}/")])
                .output()
                .expect("curl is missing: tests/all installs it");
            let errors = String::from_utf8_lossy(&said.stderr).into_owned();
            assert_eq!(
                (&*said.stdout, &*errors),
                (&b"413"[..], ""),
                "{version} {bytes}"
            );
        }
        let python = std::env::var("TIDEGATE_TEST_PYTHON")
            .expect("TIDEGATE_TEST_PYTHON is not set: run tests/all");
        let script = format!(
            "import httpx\nprint(httpx.post('https://127.0.0.1:{port}/', content=b'x' * {bytes}, verify=False).status_code)"
        );
        let said = Command::new(python).args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "413\n",
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

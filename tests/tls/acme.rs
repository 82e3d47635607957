//! Certificates of a real ACME authority: pebble, which Let's Encrypt makes for
//! tests.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    pki::{Pki, ask, connect},
    support::{Client, Gateway, Message, TIMEOUT, Upstream, gateway::Start, mode, ok},
};

const OK: &str = "[[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n";

/// Processes that are killed on drop.
struct Programs(Vec<Child>);

impl Drop for Programs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder for a gateway and its authority, and the ports of all.
pub(crate) struct Site {
    pub(crate) pki: Pki,
    authority: u16,
    pub(crate) https: u16,
    http: u16,
    pub(crate) state: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let pki = Pki::new();
        pki.issue("authority", &["127.0.0.1"]);
        let [authority, https, http] = free_ports();
        let state = tempfile::tempdir().unwrap();
        Self {
            pki,
            authority,
            https,
            http,
            state,
        }
    }

    fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.authority)
    }

    /// Starts pebble, which knows every name as this machine.
    fn pebble(&self, more: Value) -> Programs {
        let [dns, management] = free_ports();
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{}", self.authority),
            "managementListenAddress": "",
            "certificate": self.pki.path("authority.pem"),
            "privateKey": self.pki.path("authority.key"),
            "httpPort": self.http,
            "tlsPort": self.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let file = self.pki.path("pebble.json");
        fs::write(&file, json!({ "pebble": config }).to_string()).unwrap();
        let names = Command::new("pebble-challtestsrv")
            .args(["-dns01", &format!("127.0.0.1:{dns}"), "-defaultIPv6", ""])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-management", &format!("127.0.0.1:{management}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble is missing: tests/all installs it");
        let mut programs = Programs(vec![names]);
        let pebble = Command::new("pebble")
            .args(["-config".as_ref(), file.as_os_str()])
            .args(["-dnsserver", &format!("127.0.0.1:{dns}")])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            // It would refuse nonces at random.
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        programs.0.push(pebble.unwrap());
        for port in [management, self.authority] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                for program in &mut programs.0 {
                    assert!(program.try_wait().unwrap().is_none(), "pebble has ended");
                }
                std::thread::yield_now();
            }
        }
        programs
    }

    /// A configuration that orders these domains, with a plain listener beside.
    fn config(&self, domains: &[&str], challenge: &str) -> String {
        format!(
            "[server]\nworkers = 2\nstate_dir = '{}'\n\
             [[listeners]]\nbind = '127.0.0.1:{}'\n\
             [listeners.tls.acme]\ndomains = {domains:?}\nemail = 'ops@example.com'\n\
             directory = '{}'\nca = '{}'\nchallenge = '{challenge}'\n\
             [[listeners]]\nbind = '127.0.0.1:{}'\n{OK}",
            self.state.path().display(),
            self.https,
            self.directory(),
            self.pki.shown("ca.pem"),
            self.http,
        )
    }

    pub(crate) fn https(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.https).into()
    }

    /// A connection to the listener for plain HTTP.
    fn http_client(&self) -> Client {
        Client::connect(([127, 0, 0, 1], self.http).into())
    }

    /// The files of keys and certificates, by their names.
    fn kept(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.state.path().join("acme"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

/// Ports that are free now.
fn free_ports<const N: usize>() -> [u16; N] {
    let sockets: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    std::array::from_fn(|at| sockets[at].local_addr().unwrap().port())
}

/// A client that takes any certificate.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A client that takes any certificate, and offers these protocols.
pub(crate) fn client(protocols: &[&str]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder().dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    config.into()
}

/// The certificate that a client is shown that asks for `name`.
pub(crate) fn shown(address: SocketAddr, name: &str) -> Vec<u8> {
    let stream = connect(&client(&[]), address, name).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Whether a certificate was issued by pebble.
fn is_of_pebble(certificate: &[u8]) -> bool {
    certificate.windows(6).any(|bytes| bytes == b"Pebble")
}

/// All orders, whatever came of them.
fn orders(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_acme_orders_total", &[])
}

/// Waits until the authority has issued the certificate by a challenge over
/// HTTP. Returns the challenge's path, and what the path is answered with
/// later, when its token is no longer known: it is a request like any other.
fn ordered_by_a_request(site: &Site, gateway: &Gateway) -> (String, Message) {
    gateway.logged("certificate obtained");
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&json!(200), &json!("acme_challenge"))
    );
    let path = line["path"].as_str().unwrap().to_owned();
    let mut client = site.http_client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"));
    (path, client.response())
}

#[test]
fn a_certificate_is_ordered_by_a_handshake_and_a_restart_orders_nothing() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let text = site.config(&["shop.example"], "tls-alpn-01");
    let gateway = Gateway::start(&text);
    gateway.logged("certificate obtained");
    let mut stream = connect(&client(&["http/1.1"]), site.https(), "shop.example").unwrap();
    assert!(is_of_pebble(&stream.conn.peer_certificates().unwrap()[0]));
    let response = ask(&mut stream, "shop.example", "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let outcome = |name: &str| gateway.metric("tidegate_acme_orders_total", &[("outcome", name)]);
    assert_eq!((outcome("success"), orders(&gateway)), (1.0, 1.0));
    assert!(
        gateway.metric(
            "tidegate_tls_handshakes_total",
            &[("outcome", "acme_challenge")]
        ) >= 1.0
    );
    let expires = "tidegate_certificate_expiry_timestamp_seconds";
    assert!(gateway.metric(expires, &[("name", "shop.example")]) > 1e9);

    let kept = site.kept();
    assert_eq!(mode(&site.state.path().join("acme")), 0o700);
    assert!(
        kept.len() == 3 && kept.iter().all(|file| mode(file) == 0o600),
        "{kept:?}"
    );
    let before = shown(site.https(), "shop.example");
    drop(gateway);
    let gateway = Gateway::start(&text);
    assert!(shown(site.https(), "shop.example") == before);
    assert_eq!((orders(&gateway), site.kept()), (0.0, kept));
}

/// The file that the README tells people to start with.
#[test]
fn the_example_for_a_public_site_serves_https_and_sends_http_there() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let service = Upstream::answering(|_| ok("the service"));
    let authority = format!(
        "\"ops@example.com\", directory = '{}', ca = '{}'",
        site.directory(),
        site.pki.shown("ca.pem")
    );
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/https.toml");
    let text = fs::read_to_string(file)
        .unwrap()
        .replace("127.0.0.1:9000", &service.address().to_string())
        .replace("[::]:80", &format!("127.0.0.1:{}", site.http))
        .replace("[::]:443", &format!("127.0.0.1:{}", site.https))
        .replace(
            "/var/lib/tidegate",
            &site.state.path().display().to_string(),
        )
        .replace("\"ops@example.com\"", &authority);
    let gateway = Gateway::start(&text);
    gateway.logged("certificate obtained");
    let mut stream = connect(&client(&["http/1.1"]), site.https(), "shop.example.com").unwrap();
    let response = ask(&mut stream, "shop.example.com", "/").unwrap();
    assert!(response.ends_with("the service"), "{response}");
    let mut client = site.http_client();
    client.send("GET /cart?id=7 HTTP/1.1\r\nHost: shop.example.com\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status(), response.get("location")),
        (308, Some("https://shop.example.com/cart?id=7"))
    );
}

#[test]
fn a_certificate_is_ordered_by_a_request_whatever_routes_there_are() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let gateway = Gateway::start(&site.config(&["shop.example"], "http-01"));
    let (_, later) = ordered_by_a_request(&site, &gateway);
    assert_eq!(later.text(), "ok");
}

#[test]
fn a_listener_that_redirects_to_https_answers_the_authority_first() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let bind = format!("bind = '127.0.0.1:{}'\n", site.http);
    let redirecting = format!("{bind}redirect_https = true\n");
    let text = site.config(&["shop.example"], "http-01");
    let gateway = Gateway::start(&text.replace(&bind, &redirecting));
    let (path, response) = ordered_by_a_request(&site, &gateway);
    let location = format!("https://shop.example{path}");
    assert_eq!(
        (response.status(), response.get("location")),
        (308, Some(location.as_str()))
    );
}

#[test]
fn an_authority_needs_no_certificate_on_a_listener_that_asks_clients_for_one() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let text = site.config(&["shop.example"], "tls-alpn-01");
    let asking = format!(
        "[listeners.tls]\nclient_ca = '{}'\n[listeners.tls.acme]",
        site.pki.shown("ca.pem")
    );
    let gateway = Gateway::start(&text.replace("[listeners.tls.acme]", &asking));
    gateway.logged("certificate obtained");
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
    // Others still need one, also if they offer the authority's protocol
    // beside theirs.
    for protocols in [&["http/1.1"][..], &["acme-tls/1", "http/1.1"]] {
        let stream = connect(&client(protocols), site.https(), "shop.example");
        assert!(stream.is_err() || ask(&mut stream.unwrap(), "shop.example", "/").is_err());
    }
}

#[test]
fn a_refused_order_is_told_and_the_others_are_made() {
    let site = Site::new();
    let _pebble = site.pebble(json!({ "domainBlocklist": ["blocked.example"] }));
    let gateway = Gateway::start(&site.config(&["blocked.example", "shop.example"], "tls-alpn-01"));
    let line = gateway.logged("certificate not obtained");
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("the authority refuses") && message.contains("rejectedIdentifier"),
        "{line}"
    );
    gateway.logged("certificate obtained");
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
    assert!(connect(&client(&[]), site.https(), "blocked.example").is_err());
    let view: Value =
        serde_json::from_slice(&gateway.call_admin("GET", "/acme", &[]).body).unwrap();
    assert_eq!(
        (&view[0]["domain"], &view[0]["state"]),
        (&json!("blocked.example"), &json!("failing"))
    );
    assert_eq!(
        (&view[1]["domain"], &view[1]["state"]),
        (&json!("shop.example"), &json!("serving"))
    );
    assert!(
        view[0]["problem"]
            .as_str()
            .unwrap()
            .contains("rejectedIdentifier")
    );
}

#[test]
fn an_authority_that_is_down_at_first_is_asked_again_soon() {
    let site = Site::new();
    let gateway = Gateway::start(&site.config(&["shop.example"], "tls-alpn-01"));
    let line = gateway.logged("certificate not obtained");
    assert_eq!(line["outcome"], "unreachable", "{line}");
    assert!(connect(&client(&[]), site.https(), "shop.example").is_err());
    let _pebble = site.pebble(json!({}));
    gateway.logged("certificate obtained");
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
}

#[test]
fn an_old_certificate_serves_until_it_is_renewed() {
    let site = Site::new();
    let text = site.config(&["shop.example"], "tls-alpn-01");
    let day = Duration::from_secs(24 * 60 * 60);
    let file = keep(&site, &site.directory(), "shop.example", 80 * day);
    let old = crate::pki::certificate(&file);
    // The authority is not there yet.
    let gateway = Gateway::start(&text);
    gateway.logged("certificate not renewed");
    assert!(shown(site.https(), "shop.example") == old);
    let _pebble = site.pebble(json!({}));
    gateway.logged("certificate obtained");
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
}

/// Keeps a certificate for ninety days in the folder of the gateway, which was
/// obtained this long ago. Returns its file.
pub(crate) fn keep(site: &Site, directory: &str, domain: &str, age: Duration) -> PathBuf {
    let obtained = SystemTime::now() - age;
    let key = rcgen::KeyPair::generate().unwrap();
    site.pki.issue_with("kept", &[domain], &key, |params| {
        params.not_before = obtained.into();
        params.not_after = (obtained + Duration::from_secs(90 * 24 * 60 * 60)).into();
        params.use_authority_key_identifier_extension = true;
    });
    let folder = site.state.path().join("acme");
    fs::create_dir_all(&folder).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, directory.as_bytes());
    let digits: String = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = folder.join(format!("{domain}.{digits}.pem"));
    let mut file = fs::File::create(&path).unwrap();
    for part in ["kept.key", "kept.pem"] {
        file.write_all(&fs::read(site.pki.path(part)).unwrap())
            .unwrap();
    }
    file.set_modified(obtained).unwrap();
    path
}

#[test]
fn whatever_names_strangers_ask_for_each_domain_is_ordered_once() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let gateway = Gateway::start(&site.config(&["a.example", "b.example"], "tls-alpn-01"));
    let plain = client(&[]);
    let authority = client(&["acme-tls/1"]);
    let flood = || {
        for at in 0..30 {
            let _ = connect(&plain, site.https(), &format!("x{at}.example"));
            assert!(connect(&authority, site.https(), &format!("y{at}.example")).is_err());
            let _ = connect(&authority, site.https(), "a.example");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(flood);
        scope.spawn(flood);
        gateway.logged("certificate obtained");
        gateway.logged("certificate obtained");
    });
    assert_eq!(orders(&gateway), 2.0);
    // One account, two certificates, the lock.
    assert_eq!(site.kept().len(), 4);
    // Nothing is pending any more, and no request comes by such a handshake.
    assert!(connect(&authority, site.https(), "a.example").is_err());
    let mixed = client(&["acme-tls/1", "http/1.1"]);
    let mut stream = connect(&mixed, site.https(), "a.example").unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(
        ask(&mut stream, "a.example", "/")
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_reload_orders_only_what_is_new() {
    let site = Site::new();
    let _pebble = site.pebble(json!({}));
    let gateway = Gateway::start(&site.config(&["a.example"], "tls-alpn-01"));
    gateway.logged("certificate obtained");
    let first = shown(site.https(), "a.example");
    gateway.reload_with(&site.config(&["a.example", "b.example"], "tls-alpn-01"));
    let line = gateway.logged("certificate obtained");
    assert_eq!(line["domain"], "b.example");
    assert!(shown(site.https(), "a.example") == first);
    gateway.reload_with(&site.config(&["b.example"], "tls-alpn-01"));
    assert!(is_of_pebble(&shown(site.https(), "b.example")));
    gateway.reload_with(&site.config(&["a.example", "b.example"], "tls-alpn-01"));
    assert!(shown(site.https(), "a.example") == first, "it was kept");
    assert_eq!(orders(&gateway), 2.0);
}

#[test]
fn a_process_that_takes_over_has_the_certificate_and_orders_what_is_missing() {
    let site = Site::new();
    let text = site.config(&["shop.example"], "tls-alpn-01");
    let mut gateway = Start::new(&text).go();
    gateway.logged("certificate not obtained");
    gateway.signal(Signal::USR2);
    let process = gateway.logged("a new process has taken over")["process"].clone();
    let _successor = Successor(Pid::from_raw(process.as_i64().unwrap() as i32).unwrap());
    assert!(gateway.wait_alone().success());
    let _pebble = site.pebble(json!({}));
    let end = Instant::now() + TIMEOUT;
    while connect(&client(&[]), site.https(), "shop.example").is_err() {
        assert!(Instant::now() < end, "the new process orders nothing");
    }
    assert!(is_of_pebble(&shown(site.https(), "shop.example")));
}

/// A process that took over, killed on drop.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

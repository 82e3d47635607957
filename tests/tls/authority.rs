//! A scripted ACME authority, which lies about some domains.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use x509_cert::{der::Decode, request::CertReq};

use crate::pki::Pki;

/// An authority that answers by the first label of a domain. It runs until the
/// test process ends.
pub(crate) struct Authority {
    pub(crate) port: u16,
    /// The content of new orders, by domain.
    pub(crate) orders: Arc<Mutex<HashMap<String, Vec<Value>>>>,
}

/// A key that is known by its public half.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The state of the authority.
struct Script {
    url: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    orders: Arc<Mutex<HashMap<String, Vec<Value>>>>,
    /// Public keys of requests, by domain.
    keys: Mutex<HashMap<String, Vec<u8>>>,
    /// Nonces that were refused, as authorities do that have many servers.
    refused: AtomicUsize,
}

/// A response: its status, further lines of its head, its body.
type Answer = (u16, String, Vec<u8>);

impl Authority {
    /// Listens with the certificate `authority` of this PKI.
    pub(crate) fn start(pki: &Pki) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = pki.server("authority", false);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Scripted");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let orders = Arc::default();
        let script = Arc::new(Script {
            url: format!("https://127.0.0.1:{port}"),
            issuer,
            orders: Arc::clone(&orders),
            keys: Mutex::default(),
            refused: AtomicUsize::default(),
        });
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                thread::spawn(move || {
                    let session = ServerConnection::new(config).unwrap();
                    // A client may leave in the middle of a lie.
                    let _ = script.serve(StreamOwned::new(session, socket.unwrap()));
                });
            }
        });
        Self { port, orders }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }
}

impl Script {
    fn serve(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut first = String::new();
        stream.read_line(&mut first)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let payload = serde_json::from_slice::<Value>(&body).ok();
        let payload = payload.and_then(|jws| {
            let payload = BASE64_URL_SAFE_NO_PAD
                .decode(jws["payload"].as_str()?)
                .ok()?;
            serde_json::from_slice(&payload).ok()
        });
        let (status, lines, body) = self.answer(path, payload.unwrap_or_default());
        let body = if method == "HEAD" { Vec::new() } else { body };
        let head = format!(
            "HTTP/1.1 {status} X\r\nReplay-Nonce: abc\r\nContent-Length: {}\r\n{lines}Connection: close\r\n\r\n",
            body.len()
        );
        let stream = stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        stream.flush()
    }

    fn answer(&self, path: &str, payload: Value) -> Answer {
        let url = &self.url;
        let json = |value: Value| (200, String::new(), value.to_string().into_bytes());
        let (kind, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        match kind {
            "dir" => json(json!({
                "newNonce": format!("{url}/nonce"), "newAccount": format!("{url}/account"),
                "newOrder": format!("{url}/order"), "renewalInfo": format!("{url}/ari"),
            })),
            "nonce" => (200, String::new(), Vec::new()),
            "account" => (
                201,
                format!("Location: {url}/account/1\r\n"),
                b"{}".to_vec(),
            ),
            "ari" => {
                let at = SystemTime::now() - Duration::from_secs(3600);
                let (start, end) = (rfc3339(at), rfc3339(at + Duration::from_secs(60)));
                let window = json!({ "suggestedWindow": { "start": start, "end": end } });
                (
                    200,
                    "Retry-After: 21600\r\n".to_owned(),
                    window.to_string().into_bytes(),
                )
            }
            "order" if rest.is_empty() => self.new_order(&payload),
            "order" => json(self.order(rest)),
            "authz" => json(authorization(rest, url)),
            // Each time, until the library gives up.
            "finalize" if lie(rest) == "latenonces" => {
                (400, String::new(), problem("badNonce", "once more"))
            }
            "finalize" => {
                let request = payload["csr"].as_str().unwrap();
                let request = BASE64_URL_SAFE_NO_PAD.decode(request).unwrap();
                let request = CertReq::from_der(&request).unwrap();
                let key = request
                    .info
                    .public_key
                    .subject_public_key
                    .raw_bytes()
                    .to_vec();
                self.keys.lock().unwrap().insert(rest.to_owned(), key);
                json(self.order(rest))
            }
            "cert" => self.certificate(rest),
            _ => (404, String::new(), b"{}".to_vec()),
        }
    }

    fn new_order(&self, payload: &Value) -> Answer {
        let domain = payload["identifiers"][0]["value"].as_str().unwrap();
        let nonces = match lie(domain) {
            "z-honest" => 1,
            // One more, and the library gives up.
            "nonces" => 3,
            _ => 0,
        };
        if nonces > 0 && self.refused.fetch_add(1, Relaxed) < nonces {
            return (400, String::new(), problem("badNonce", "once more"));
        }
        let mut orders = self.orders.lock().unwrap();
        orders
            .entry(domain.to_owned())
            .or_default()
            .push(payload.clone());
        match lie(domain) {
            "limited" => (
                429,
                "Retry-After: 7200\r\n".to_owned(),
                problem("rateLimited", "too many\r\nFAKE LINE \u{1b}[2J"),
            ),
            "forever" => (
                503,
                "Retry-After: 18446744073709551615\r\n".to_owned(),
                problem("serverInternal", "later"),
            ),
            "moved" => (302, format!("Location: {}/order\r\n", self.url), Vec::new()),
            "nonsense" => (200, String::new(), b"<html>".to_vec()),
            _ => {
                self.keys.lock().unwrap().remove(domain);
                let mut order = self.order(domain);
                if let Some(replaces) = payload.get("replaces") {
                    order["replaces"] = replaces.clone();
                }
                let lines = format!("Location: {}/order/{domain}\r\n", self.url);
                (201, lines, order.to_string().into_bytes())
            }
        }
    }

    fn order(&self, domain: &str) -> Value {
        let url = &self.url;
        let is_final = self.keys.lock().unwrap().contains_key(domain);
        let status = match (lie(domain), is_final) {
            ("invalid", _) => "invalid",
            (_, true) => "valid",
            (_, false) => "ready",
        };
        json!({
            "status": status, "authorizations": [format!("{url}/authz/{domain}")],
            "finalize": format!("{url}/finalize/{domain}"), "certificate": format!("{url}/cert/{domain}"),
        })
    }

    fn certificate(&self, domain: &str) -> Answer {
        let name = match lie(domain) {
            "othername" => "bank.example".to_owned(),
            _ => domain.to_owned(),
        };
        let mut params = CertificateParams::new([name]).unwrap();
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 60 * 60);
        (params.not_before, params.not_after) = ((now - day).into(), (now + 90 * day).into());
        match lie(domain) {
            "expired" => params.not_after = (now - Duration::from_secs(60)).into(),
            "future" => params.not_before = (now + 30 * day).into(),
            _ => {}
        }
        let key = PublicKey(self.keys.lock().unwrap()[domain].clone());
        let other = KeyPair::generate().unwrap();
        let issued = match lie(domain) {
            "otherkey" => params.signed_by(&other, &self.issuer),
            _ => params.signed_by(&key, &self.issuer),
        };
        let pem = issued.unwrap().pem();
        let body = match lie(domain) {
            "nopem" => b"MIIB".to_vec(),
            "cut" => pem.as_bytes()[..pem.len() / 2].to_vec(),
            "empty" => Vec::new(),
            "huge" => vec![b'x'; 100 << 20],
            _ => pem.into_bytes(),
        };
        (200, String::new(), body)
    }
}

/// The first label of a domain, which says how it is answered.
fn lie(domain: &str) -> &str {
    domain.split('.').next().unwrap()
}

fn problem(kind: &str, detail: &str) -> Vec<u8> {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail })
        .to_string()
        .into_bytes()
}

fn authorization(domain: &str, url: &str) -> Value {
    let of = |kind: &str| json!({ "type": kind, "url": format!("{url}/chall/{domain}"), "token": "abc", "status": "pending" });
    let (name, status, challenges) = match lie(domain) {
        "nochallenge" => (domain, "pending", vec![of("dns-01")]),
        "stranger" => ("bank.example", "pending", vec![of("tls-alpn-01")]),
        "token" => {
            let mut challenge = of("tls-alpn-01");
            challenge["token"] = json!("../../etc/passwd");
            (domain, "pending", vec![challenge])
        }
        _ => (domain, "valid", vec![of("tls-alpn-01")]),
    };
    json!({ "identifier": { "type": "dns", "value": name }, "status": status, "challenges": challenges })
}

/// A time as JSON has it (RFC 3339), in seconds.
fn rfc3339(at: SystemTime) -> String {
    let text = httpdate::fmt_http_date(at);
    let words: Vec<_> = text
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(words[2]).unwrap() / 3 + 1;
    format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4])
}

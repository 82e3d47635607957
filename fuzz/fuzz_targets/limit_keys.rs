//! Keys of limits: expressions of a configuration, evaluated for a request. The
//! hashed bytes lead back to the parts of the key, so no two different keys
//! have the same bytes, and each part agrees with the request.
//!
//! Input: one key expression on each line, a line with the client's address, an
//! empty line, then the head of an HTTP/1 request.

#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use bytes::BytesMut;
use http::header;
use libfuzzer_sys::fuzz_target;
use tidegate::{call::{Client, Exchange, Facts, Flag, Progress, RequestId, RouteTag, Target}, policy::{HeadLimits, KeyPart, Limit}, config::{self, Environment}, http1::self, layer::hashed, message::Origin, telemetry::{FixedFields, Metrics}};
use tokio::time::Instant;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, headers: 50, keeps_underscores: false };
const ROUTE: &str = "a route";

fuzz_target!(|bytes: &[u8]| {
    let Some(empty) = bytes.windows(2).position(|two| two == b"\n\n") else { return };
    let Ok(lines) = std::str::from_utf8(&bytes[..empty]) else { return };
    let (mut lines, client) = (lines.lines().take(6).collect::<Vec<_>>(), lines.lines().next_back());
    let client: Option<IpAddr> = client.and_then(|line| line.parse().ok());
    if client.is_some() {
        lines.pop();
    }
    let Some(key) = read(&lines) else { return };
    let Some(exchange) = exchange(&bytes[empty + 2..], client.unwrap_or(Ipv4Addr::LOCALHOST.into())) else { return };
    let whole = hashed(&key, &exchange);
    let alone: Vec<_> = key.iter().map(|part| hashed(std::slice::from_ref(part), &exchange)).collect();
    assert_eq!(whole, alone.iter().cloned().collect::<Option<Vec<_>>>().map(|parts| parts.concat()));
    let Some(whole) = whole else { return };
    let mut rest = &whole[..];
    for part in &key {
        let (kind, name, value);
        ((kind, name, value), rest) = first(rest);
        assert_eq!((kind, name), expected_kind(part, &exchange));
        check(part, value, &exchange);
    }
    assert!(rest.is_empty());
});

/// The parts of a key with these expressions, read from a configuration.
fn read(expressions: &[&str]) -> Option<Vec<KeyPart>> {
    let key = serde_json::to_string(expressions).ok()?;
    let text = format!(
        "[limits.l]\nrate = \"1/s\"\nmax_keys = 10\nkey = {key}\n[[routes]]\nname = {ROUTE:?}\nlimits = [\"l\"]\n\
         match = {{ path = \"/{{id}}/{{a}}\" }}\nrespond = {{ status = 200 }}\n"
    );
    let config = config::parse("fuzzed.toml", &text, &Environment::new()).ok()?;
    config.limits.first().map(|limit: &Arc<Limit>| limit.key.clone())
}

fn exchange(head: &[u8], client: IpAddr) -> Option<Arc<Exchange>> {
    let parsed = http1::parse_request(&mut BytesMut::from(head), &LIMITS).ok()??;
    let (target, head) = (Target::parse(parsed.target).ok()?, parsed.head);
    let host = head.headers.get(&header::HOST).and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
    let path = String::from_utf8_lossy(target.normal_path()).into_owned();
    let segments = path.split('/').skip(1);
    let parameters = ["id", "a"].iter().zip(segments).map(|(name, value)| ((*name).into(), value.into())).collect();
    let route = tag();
    Some(Arc::new(Exchange {
        trace: None,
        client: Client { ip: client.to_canonical(), chain: None },
        identified: OnceLock::new(),
        id: RequestId::of(&head.headers),
        target,
        host: host.to_ascii_lowercase().into(),
        request: head,
        grpc: None,
        interim: None,
        origin: origin(),
        started: Instant::now(),
        facts: Facts::begin(&route.metrics),
        route,
        parameters,
        is_sent: Flag::default(),
        progress: Progress::default(),
    }))
}

/// Splits the hashed bytes after their first part. Returns its kind, name and
/// value, and the rest. The encoding is unambiguous.
fn first(bytes: &[u8]) -> ((u8, &[u8], &[u8]), &[u8]) {
    let (lengths, rest) = bytes.split_first_chunk::<8>().expect("lengths");
    let lengths = u64::from_ne_bytes(*lengths);
    let (name, rest) = rest.split_at((lengths >> 40) as usize);
    let (value, rest) = rest.split_at((lengths >> 8 & 0xffff_ffff) as usize);
    ((lengths as u8, name, value), rest)
}

/// The number of each kind of part, and the name that distinguishes several
/// parts of that kind.
fn expected_kind<'k>(part: &'k KeyPart, exchange: &Exchange) -> (u8, &'k [u8]) {
    match part {
        KeyPart::Route => (1, b""),
        KeyPart::ClientIp(prefixes) => match exchange.client.ip {
            IpAddr::V4(_) if prefixes.v4 == 32 => (2, b""),
            IpAddr::V4(_) => (12, b""),
            IpAddr::V6(_) => (3, b""),
        },
        KeyPart::Header(name) => (4, name.as_str().as_bytes()),
        KeyPart::Cookie(name) => (5, name.as_bytes()),
        KeyPart::Query(name) => (6, name.as_bytes()),
        KeyPart::Param(name) => (7, name.as_bytes()),
        KeyPart::Host => (8, b""),
        KeyPart::Path => (9, b""),
        KeyPart::Method => (10, b""),
        KeyPart::TlsSubject => (11, b""),
        KeyPart::Identity => (13, b""),
        KeyPart::Plan => (14, b""),
        KeyPart::Claim(name) => (15, name.as_bytes()),
    }
}

fn check(part: &KeyPart, value: &[u8], exchange: &Exchange) {
    let request = &exchange.request;
    match part {
        KeyPart::Route => assert_eq!(value, ROUTE.as_bytes()),
        KeyPart::ClientIp(prefixes) => match exchange.client.ip {
            IpAddr::V4(v4) => {
                let network = ipnet::Ipv4Net::new(v4, prefixes.v4).expect("a prefix").network();
                assert_eq!(value, network.octets());
            }
            IpAddr::V6(v6) => {
                let network = ipnet::Ipv6Net::new(v6, prefixes.v6).expect("a prefix").network();
                assert_eq!(value, network.octets());
            }
        },
        KeyPart::Header(name) => {
            assert!(!value.is_empty());
            // The value agrees up to blanks and the case of a scheme.
            let words = |value: &[u8]| {
                let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
                words.map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>()
            };
            assert!(request.headers.all(name).all(|line| words(line) == words(value)));
            assert!(!value.windows(2).any(|pair| pair == b"  ") && value.trim_ascii() == value);
        }
        KeyPart::Cookie(name) => {
            assert!(!value.is_empty());
            let mut lines = request.headers.all(&header::COOKIE);
            assert!(lines.any(|line| contains(line, name.as_bytes()) && line.len() > value.len()));
        }
        KeyPart::Query(name) => {
            let pairs = tidegate::call::query::pairs(exchange.target.query().unwrap_or_default());
            let mut named = pairs.filter(|(known, _)| **known == *name.as_bytes()).peekable();
            assert!(!value.is_empty() && named.peek().is_some() && named.all(|(_, other)| *other == *value));
        }
        KeyPart::Param(name) => {
            let known = exchange.parameters.iter().find(|(known, _)| **known == **name);
            assert_eq!(known.map(|(_, value)| decoded(value.as_bytes())), Some(decoded(value)));
            assert!(!value.is_empty());
        }
        KeyPart::Host => assert_eq!(value, exchange.host.as_bytes()),
        KeyPart::Path => assert_eq!(decoded(value), decoded(exchange.target.normal_path())),
        KeyPart::Method => assert_eq!(value, request.method.as_str().as_bytes()),
        KeyPart::TlsSubject => panic!("there is no TLS"),
        KeyPart::Identity | KeyPart::Plan | KeyPart::Claim(_) => panic!("nobody is identified"),
    }
}

/// Decodes all escapes. A plus sign does not stand for a space here.
fn decoded(path: &[u8]) -> Vec<u8> {
    let plus = path.split(|byte| *byte == b'+').map(tidegate::call::query::decode);
    plus.map(std::borrow::Cow::into_owned).collect::<Vec<_>>().join(&b'+')
}

fn contains(line: &[u8], value: &[u8]) -> bool {
    line.windows(value.len()).any(|part| part == value)
}

fn origin() -> Arc<Origin> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40000));
    let listener = Arc::new(FixedFields::listener("127.0.0.1:8080".into()));
    Arc::new(Origin::new(listener, address, address))
}

fn tag() -> Arc<RouteTag> {
    static TAG: OnceLock<Arc<RouteTag>> = OnceLock::new();
    let tag = || RouteTag {
        traced: None,
        name: Some(ROUTE.into()),
        limits: Vec::new(),
        limit_texts: [].into(),
        limit_headers: Default::default(),
        cors: None,
        refusal: None,
        metrics: Metrics::new(1).route(ROUTE),
        access: None,
    };
    Arc::clone(TAG.get_or_init(|| Arc::new(tag())))
}

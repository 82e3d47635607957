//! Keys that share a bucket, and keys that do not.

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::policy::Prefixes;

fn begin() -> KeyBuilder {
    KeyHasher::with_seed([7, 7]).key("limit")
}

/// A key of these parts, each with a text for its value.
fn of(parts: &[(KeyPart, &str)]) -> Key {
    let mut builder = begin();
    for (part, value) in parts {
        builder.add(part, &KeyValue::text(value.as_bytes()));
    }
    builder.finish()
}

fn ip(text: &str, v6: u8) -> Key {
    client(text, Prefixes { v4: 32, v6 })
}

fn client(text: &str, prefixes: Prefixes) -> Key {
    let mut builder = begin();
    let value = KeyValue::Address(prefixes.network(text.parse().unwrap()));
    builder.add(&KeyPart::ClientIp(prefixes), &value);
    builder.finish()
}

fn header(name: &'static str) -> KeyPart {
    KeyPart::Header(http::HeaderName::from_static(name))
}

#[test]
fn values_of_different_kinds_names_and_limits_never_share_a_bucket() {
    let text = "10.0.0.1";
    let keys = [
        begin().finish(),
        KeyHasher::with_seed([7, 7]).key("other").finish(),
        KeyHasher::with_seed([7, 8]).key("limit").finish(),
        ip(text, 64),
        of(&[(header("a"), text)]),
        of(&[(header("b"), text)]),
        of(&[(KeyPart::Cookie("a".into()), text)]),
        of(&[(KeyPart::Cookie("".into()), text)]),
        of(&[(KeyPart::Query("a".into()), text)]),
        of(&[(KeyPart::Param("a".into()), text)]),
        of(&[(KeyPart::Host, text)]),
        of(&[(KeyPart::Route, text)]),
        of(&[(KeyPart::Path, text)]),
        of(&[(KeyPart::Method, text)]),
        of(&[(KeyPart::TlsSubject, text)]),
        of(&[(KeyPart::Host, "ab"), (KeyPart::Path, "c")]),
        of(&[(KeyPart::Host, "a"), (KeyPart::Path, "bc")]),
        of(&[(KeyPart::Path, "c"), (KeyPart::Host, "ab")]),
    ];
    for (index, one) in keys.iter().enumerate() {
        assert!(
            keys[index + 1..].iter().all(|other| one != other),
            "key {index} is not alone"
        );
    }
}

#[test]
fn an_ipv6_client_is_its_network_and_a_mapped_address_is_ipv4() {
    assert_eq!(ip("2001:db8::1", 64), ip("2001:db8::ffff:1", 64));
    assert_ne!(ip("2001:db8::1", 64), ip("2001:db8:0:1::1", 64));
    assert_ne!(ip("2001:db8::1", 128), ip("2001:db8::2", 128));
    assert_eq!(ip("::ffff:192.0.2.1", 64), ip("192.0.2.1", 64));
    assert_ne!(ip("192.0.2.1", 64), ip("192.0.2.2", 64));
    assert_ne!(
        ip("192.0.2.1", 128),
        ip("::c000:201", 128),
        "a compatible address is not a mapped one"
    );
}

#[test]
fn an_ipv4_client_is_its_network_if_a_prefix_says_so() {
    let of_24 = |text: &str| client(text, Prefixes { v4: 24, v6: 56 });
    assert_eq!(of_24("203.0.113.1"), of_24("203.0.113.255"));
    assert_eq!(of_24("203.0.113.1"), of_24("::ffff:203.0.113.9"));
    assert_ne!(of_24("203.0.113.1"), of_24("203.0.112.1"));
    assert_ne!(
        of_24("203.0.113.0"),
        ip("203.0.113.0", 56),
        "the network is not its first address"
    );
    assert_eq!(
        of_24("2001:db8::1"),
        ip("2001:db8::1", 56),
        "the key of an IPv6 network is the one that it always was"
    );
}

proptest! {
    #[test]
    fn a_builder_that_waits_for_an_address_makes_the_key_that_adding_it_makes(
        name in "[a-z-]{0,20}",
        octets: [u8; 4],
        v4 in 1..=32_u8,
    ) {
        let prefixes = Prefixes { v4, v6: 64 };
        let IpNet::V4(network) = prefixes.network(octets.into()) else {
            return Err(TestCaseError::fail("an IPv6 network"));
        };
        let begun = KeyHasher::with_seed([7, 7]).key(&name);
        let waiting = begun.clone().before_v4(v4);
        let mut added = begun;
        added.add(&KeyPart::ClientIp(prefixes), &KeyValue::Address(network.into()));
        prop_assert_eq!(waiting.parts_v4(network.addr()), added.parts());
    }
}

#[test]
fn limits_with_the_same_parts_share_a_hash_and_have_keys_of_their_own() {
    let hasher = KeyHasher::with_seed([7, 7]);
    let of = |limit| {
        let mut builder = hasher.key(limit);
        builder.add(&KeyPart::Path, &KeyValue::text(b"/"));
        builder
    };
    let (rate, cap) = (of("rate"), of("cap"));
    assert_eq!(rate.parts(), cap.parts());
    assert_eq!(rate.of_parts(cap.parts()), rate.clone().finish());
    assert_ne!(rate.finish(), cap.finish());
}

#[test]
fn a_key_is_shown_as_a_hash_and_hashers_differ() {
    let (one, other) = (KeyHasher::new(), KeyHasher::new());
    assert_eq!(one.key("limit").finish(), one.key("limit").finish());
    assert_ne!(one.key("limit").finish(), other.key("limit").finish());
    assert_eq!(begin().finish().to_string().len(), 16);
}

#[test]
fn the_memory_of_a_key_does_not_depend_on_its_length() {
    let held = |length: usize| {
        let limiter = limiter(1, SECOND, 5, 1000);
        let value = "x".repeat(length);
        for n in 0..1000 {
            let key = of(&[(header("x-user"), &value), (KeyPart::Path, &n.to_string())]);
            ask(&limiter, START, key, 1).unwrap();
        }
        (limiter.stats().keys, limiter.stats().max_bytes)
    };
    assert_eq!(size_of::<Key>(), 8);
    assert_eq!(held(1), held(30_000));
}

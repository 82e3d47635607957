//! Networks: those of keys, of tiers and of overrides, and the header that names
//! the client.

use super::{
    super::Code,
    config_with,
    limits::{allowance, limit, refused},
};
use crate::policy::*;

#[test]
fn tiers_are_wider_networks_of_the_clients_address() {
    let tiers = limit("rate = '5/s'\nkey = 'client-ip'\ntiers = [{ prefix = 56, rate = '9/s', burst = 4 }, { prefix = 48, rate = '10/s' }]").tiers;
    let reported: Vec<_> = tiers
        .iter()
        .map(|tier| (&*tier.name, tier.networks, tier.allowance))
        .collect();
    assert_eq!(
        reported,
        [
            ("a/56", TierNetworks::V6(56), allowance(9, 4)),
            ("a/48", TierNetworks::V6(48), allowance(10, 10))
        ]
    );
    // An address that replaces a missing header counts, too.
    assert_eq!(
        limit("rate = '5/s'\nkey = 'header:x'\ntiers = [{ prefix = 56, rate = '9/s' }]")
            .tiers
            .len(),
        1
    );
    let tier = |keys: &str, prefix: u8| {
        format!("rate = '5/s'\n{keys}\ntiers = [{{ prefix = {prefix}, rate = '9/s' }}]")
    };
    refused(
        &tier("", 56),
        Code::Conflict,
        "which is no part of this key",
    );
    refused(
        &tier("key = 'header:x'\nmissing = 'skip'", 56),
        Code::Conflict,
        "which is no part of this key",
    );
    refused(
        &tier("key = 'client-ip'", 64),
        Code::Conflict,
        "a tier of /64 is not wider than the key's /64",
    );
    refused(
        &tier("key = 'client-ip/48'", 56),
        Code::Conflict,
        "not wider than the key's /48",
    );
    refused(
        &tier("key = 'client-ip'", 128),
        Code::BadValue,
        "the most is 127",
    );
    let twice = "rate = '5/s'\nkey = 'client-ip'\ntiers = [{ prefix = 56, rate = '9/s' }, { prefix = 56, rate = '8/s' }]";
    refused(twice, Code::Duplicate, "two tiers of /56");
}

#[test]
fn a_tier_has_networks_of_ipv4_of_ipv6_or_of_both() {
    let tiers = limit("rate = '5/s'\nkey = 'client-ip/24/56'\ntiers = [{ prefix4 = 16, rate = '9/s' }, { prefix4 = 20, prefix = 48, rate = '9/s' }, { prefix = 32, rate = '9/s' }]").tiers;
    let named: Vec<_> = tiers
        .iter()
        .map(|tier| (&*tier.name, tier.networks))
        .collect();
    assert_eq!(
        named,
        [
            ("a/v4-16", TierNetworks::V4(16)),
            ("a/20-48", TierNetworks::Both(Prefixes { v4: 20, v6: 48 })),
            ("a/32", TierNetworks::V6(32))
        ]
    );
    let tiers = |tiers: &str| format!("rate = '5/s'\nkey = 'client-ip/24/56'\ntiers = [{tiers}]");
    refused(
        &tiers("{ rate = '9/s' }"),
        Code::MissingKey,
        "`prefix = 56` for IPv6, `prefix4 = 24` for IPv4",
    );
    refused(
        &tiers("{ prefix4 = 24, rate = '9/s' }"),
        Code::Conflict,
        "a tier of /24 is not wider than the key's /24",
    );
    refused(
        &tiers("{ prefix4 = 16, rate = '9/s' }, { prefix4 = 16, prefix = 48, rate = '9/s' }"),
        Code::Duplicate,
        "two tiers of /16",
    );
    refused(
        &tiers("{ prefix4 = 32, rate = '9/s' }"),
        Code::BadValue,
        "the most is 31",
    );
    // The same number of bits of the other kind is another network.
    limit(
        "rate = '5/s'\nkey = 'client-ip'\ntiers = [{ prefix4 = 24, rate = '9/s' }, { prefix = 24, rate = '9/s' }]",
    );
}

#[test]
fn an_override_is_no_narrower_than_the_networks_of_the_key() {
    let over = |key: &str, network: &str| {
        format!(
            "rate = '5/s'\nkey = '{key}'\noverrides = [{{ match = '{network}', rate = '9/s' }}]"
        )
    };
    for (key, network) in [
        ("client-ip/24/56", "203.0.113.0/24"),
        ("client-ip/24/56", "203.0.0.0/16"),
        ("client-ip/24/56", "2001:db8::/56"),
        ("client-ip/56", "203.0.113.9"),
    ] {
        limit(&over(key, network));
    }
    refused(
        &over("client-ip/24/56", "203.0.113.9"),
        Code::BadValue,
        "all of an IPv4 /24 is one client for this key",
    );
    refused(
        &over("client-ip/24/56", "203.0.113.128/25"),
        Code::BadValue,
        "write \"203.0.113.0/24\", or key the limit by \"client-ip/25/56\"",
    );
    refused(
        &over("client-ip/24/56", "2001:db8::1"),
        Code::BadValue,
        "write \"2001:db8::/56\", or key the limit by \"client-ip/24/128\"",
    );
}

#[test]
fn the_header_that_names_the_client_is_one_that_can() {
    let header = |name: &str| config_with(&format!("[client_ip]\nheader = '{name}'"), "");
    let single = |name| ClientIpHeader::Single(http::HeaderName::from_static(name));
    for (name, read) in [
        (
            "x-forwarded-for",
            ClientIpHeader::Hops(HopsField::XForwardedFor),
        ),
        ("Forwarded", ClientIpHeader::Hops(HopsField::Forwarded)),
        ("CF-Connecting-IP", single("cf-connecting-ip")),
        ("x-edge-client", single("x-edge-client")),
    ] {
        assert_eq!(header(name).unwrap().client_ip.header, read);
    }
    for (name, said) in [
        ("x-forwarded-host", "names no client"),
        ("host", "names no client"),
        ("x_forwarded_for", "did you mean \"x-forwarded-for\"?"),
        ("x-forwarded-fro", "did you mean \"x-forwarded-for\"?"),
        ("forwarded:", "not the name of a header"),
    ] {
        let mistakes = header(name).unwrap_err().to_string();
        assert!(mistakes.contains(said), "{name}: {mistakes}");
    }
}

//! Tiers: a client that hops through IPv6 networks is stopped by the wider
//! networks.

use super::{TRUST, decisions, one_limit, status_for};

const THREE: &str = "key = 'client-ip'\nrate = '2/h'\ntiers = [{ prefix = 56, rate = '10/h' }, { prefix = 48, rate = '30/h' }]";

#[test]
fn a_client_that_hops_through_thousands_of_networks_is_stopped_by_the_wider_ones() {
    let gateway = one_limit(THREE, TRUST);
    let mut client = gateway.connect();
    let mut ask = |address: String| {
        let refused = client.exchange(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n"
        ));
        let named = if refused.status() == 429 {
            refused.problem()["violated-policies"].clone()
        } else {
            "".into()
        };
        (refused.status(), named.to_string())
    };
    // First 256 /64s of one /56, then thousands of /64s over the /56s of one
    // /48.
    let of_56: Vec<_> = (0..256)
        .map(|network| ask(format!("2001:db8:1:{network:x}::1")))
        .collect();
    assert_eq!(
        of_56.iter().filter(|(status, _)| *status == 200).count(),
        10
    );
    assert_eq!(of_56[20].1, "[\"l/56\"]");
    let of_48: Vec<_> = (0x100..0x1000)
        .map(|network| ask(format!("2001:db8:1:{network:x}::1")))
        .collect();
    assert_eq!(
        of_48.iter().filter(|(status, _)| *status == 200).count(),
        20,
        "30 for the /48, less the 10 of the first /56"
    );
    assert_eq!(of_48[3000].1, "[\"l/48\"]");
    assert_eq!(
        ask("2001:db8:2::1".into()).0,
        200,
        "the next /48 has a bucket of its own"
    );
}

#[test]
fn tiers_and_limit_decide_together() {
    let gateway = one_limit(THREE, TRUST);
    assert_eq!(
        [(); 5].map(|()| status_for(&gateway, "2001:db8::1")),
        [200, 200, 429, 429, 429]
    );
    // Refusals by the limit take nothing from its tiers: eight tokens are left
    // for the /56.
    let admitted = (1..=0x20)
        .filter(|network| status_for(&gateway, &format!("2001:db8:0:{network:x}::1")) == 200);
    assert_eq!(admitted.count(), 8);
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "refused")
        ),
        (10.0, 3.0)
    );
    assert_eq!(
        (
            decisions(&gateway, "l/56", "allowed"),
            decisions(&gateway, "l/56", "refused")
        ),
        (10.0, 24.0)
    );
    assert_eq!(
        (
            decisions(&gateway, "l/48", "allowed"),
            decisions(&gateway, "l/48", "refused")
        ),
        (10.0, 0.0)
    );
}

#[test]
fn clients_of_ipv4_have_no_tiers() {
    let gateway = one_limit(
        "key = 'client-ip'\nrate = '2/h'\ntiers = [{ prefix = 8, rate = '3/h' }]",
        TRUST,
    );
    let admitted = (0..20)
        .filter(|host| status_for(&gateway, &format!("192.0.2.{host}")) == 200)
        .count();
    let mapped = (20..40)
        .filter(|host| status_for(&gateway, &format!("::ffff:192.0.2.{host}")) == 200)
        .count();
    assert_eq!((admitted, mapped), (20, 20));
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l/8")]),
        0.0
    );
}

#[test]
fn a_client_that_hops_through_addresses_of_ipv4_is_stopped_by_their_network() {
    let gateway = one_limit(
        "key = 'client-ip'\nrate = '1/h'\ntiers = [{ prefix4 = 24, rate = '3/h' }, { prefix4 = 16, prefix = 48, rate = '5/h' }]",
        TRUST,
    );
    let admitted = |clients: &mut dyn Iterator<Item = String>| {
        clients
            .filter(|client| status_for(&gateway, client) == 200)
            .count()
    };
    assert_eq!(
        admitted(&mut (0..200).map(|host| format!("192.0.2.{host}"))),
        3
    );
    assert_eq!(
        admitted(&mut (0..200).map(|host| format!("::ffff:192.0.3.{host}"))),
        2,
        "5 for the /16, less the 3 of the first /24"
    );
    assert_eq!(
        admitted(&mut (0..20).map(|network| format!("2001:db8:0:{network:x}::1"))),
        5,
        "the /24 is about IPv4 alone"
    );
    assert_eq!(decisions(&gateway, "l/v4-24", "refused"), 197.0);
    assert_eq!(decisions(&gateway, "l/16-48", "refused"), 198.0 + 15.0);
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l/v4-24")]),
        2.0
    );
}

#[test]
fn a_tier_keeps_the_other_parts_of_the_key() {
    let limit =
        "key = ['client-ip', 'path']\nrate = '1/h'\ntiers = [{ prefix = 56, rate = '2/h' }]";
    let gateway = one_limit(limit, TRUST);
    let ask = |network: u16, path: &str| {
        gateway
            .ask(
                "GET",
                path,
                &[&format!("X-Forwarded-For: 2001:db8::{network}:0:0:0:1")],
            )
            .status()
    };
    let statuses = [ask(1, "/a"), ask(2, "/a"), ask(3, "/a"), ask(3, "/b")];
    assert_eq!(statuses, [200, 200, 429, 200]);
}

#[test]
fn an_address_that_replaces_a_missing_part_has_tiers_too() {
    let gateway = one_limit(
        "key = 'header:x-key'\nrate = '2/h'\ntiers = [{ prefix = 56, rate = '3/h' }]",
        TRUST,
    );
    let admitted = (0..20)
        .filter(|network| status_for(&gateway, &format!("2001:db8:0:{network:x}::1")) == 200)
        .count();
    assert_eq!(admitted, 3);
    let with_key = (0..20).filter(|network| {
        let client = format!("X-Forwarded-For: 2001:db8:0:{network:x}::1");
        gateway
            .ask("GET", "/", &[&client, &format!("X-Key: {network}")])
            .status()
            == 200
    });
    assert_eq!(
        with_key.count(),
        20,
        "requests with the key do not count for a network"
    );
}

#[test]
fn a_refusal_by_a_tier_names_the_tier() {
    let gateway = one_limit(
        "key = 'client-ip'\nrate = '5/h'\ntiers = [{ prefix = 56, rate = '1/h', burst = 1 }]",
        TRUST,
    );
    assert_eq!(status_for(&gateway, "2001:db8::1"), 200);
    let line = gateway.access_line();
    assert_eq!(
        (&line["limit"], &line["remaining"]),
        (&"l/56".into(), &0.into()),
        "the tier is the nearest limit: {line}"
    );
    assert_eq!(status_for(&gateway, "2001:db8:0:1::1"), 429);
    let line = gateway.access_line();
    assert_eq!(
        (&line["limit"], &line["reason"]),
        (&"l/56".into(), &"rate_limited".into())
    );
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l/56")]),
        1.0
    );
}

#[test]
fn every_tier_has_its_own_bounded_table() {
    let limit =
        "key = 'client-ip'\nrate = '1/h'\nmax_keys = 8\ntiers = [{ prefix = 56, rate = '1/h' }]";
    let gateway = one_limit(limit, TRUST);
    for network in 0..64 {
        status_for(&gateway, &format!("2001:db8:{network:x}::1"));
    }
    for limit in ["l", "l/56"] {
        let keys = gateway.metric("tidegate_limit_keys", &[("limit", limit)]);
        assert!(keys <= 8.0, "{limit}: {keys}");
        assert!(
            gateway.metric(
                "tidegate_limit_evictions_total",
                &[("limit", limit), ("kind", "overflow")]
            ) > 0.0
        );
    }
}

#[test]
fn a_reload_keeps_the_buckets_of_tiers_and_drops_those_of_removed_ones() {
    let text = |tiers: &str| {
        super::one_limit_text(&format!("key = 'client-ip'\nrate = '9/h'\n{tiers}"), TRUST)
    };
    let gateway = super::Gateway::start(&text("tiers = [{ prefix = 56, rate = '2/h' }]"));
    assert_eq!(
        [(); 3].map(|()| status_for(&gateway, "2001:db8::1")),
        [200, 200, 429]
    );
    gateway.reload_with(&text(
        "tiers = [{ prefix = 56, rate = '4/h' }, { prefix = 48, rate = '40/h' }]",
    ));
    assert_eq!(
        status_for(&gateway, "2001:db8:0:1::1"),
        429,
        "the bucket of the /56 is still exhausted"
    );
    // A request that ends after the reload counts under the names of the old
    // configuration.
    super::settle(&gateway);
    gateway.reload_with(&text(""));
    assert_eq!(status_for(&gateway, "2001:db8:0:1::1"), 200);
    assert!(!gateway.metrics().contains("l/56"), "{}", gateway.metrics());
}

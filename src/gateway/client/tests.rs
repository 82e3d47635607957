//! The client is the nearest address that no trusted proxy has.

use std::net::Ipv6Addr;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1";

fn client(header: HopsField, trusted: &[&str], lines: &[&str]) -> String {
    let networks: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let name = if header == HopsField::Forwarded {
        "forwarded"
    } else {
        "x-forwarded-for"
    };
    let headers = lines.iter().map(|line| (name, line.trim())).collect();
    let trust = Trust::new(&networks, ClientIpHeader::Hops(header), Arc::default());
    let peer = PEER.parse().unwrap();
    if trust.trusts(peer) {
        trust.named_client(peer, &headers).ip.to_string()
    } else {
        peer.to_string()
    }
}

#[test]
fn without_trust_the_peer_is_the_client_whatever_it_says() {
    assert_eq!(client(HopsField::XForwardedFor, &[], &["1.2.3.4"]), PEER);
    assert_eq!(
        client(HopsField::XForwardedFor, &["192.168.0.0/16"], &["1.2.3.4"]),
        PEER
    );
}

#[test]
fn the_walk_goes_from_the_right_and_ends_at_the_first_that_is_not_trusted() {
    let trusted = ["10.0.0.0/8"];
    for (lines, expected) in [
        (&["6.6.6.6, 1.2.3.4"][..], "1.2.3.4"),
        (&["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (&["6.6.6.6", "1.2.3.4", "10.0.0.2"], "1.2.3.4"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["1.2.3.4:5678"], "1.2.3.4"),
        (&["[2001:db8::1]:80"], "2001:db8::1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["::ffff:1.2.3.4"], "1.2.3.4"),
        (&["1.2.3.4, garbage, 10.0.0.2"], "10.0.0.2"),
        (&["1.2.3.4, "], "1.2.3.4"),
        (&[",1.2.3.4,, 10.0.0.2 ,"], "1.2.3.4"),
        (&["1.2.3.4:+80"], PEER),
        (&["[2001:db8::1]:+80"], PEER),
        (&[""], PEER),
        (&[], PEER),
    ] {
        assert_eq!(
            client(HopsField::XForwardedFor, &trusted, lines),
            expected,
            "{lines:?}"
        );
    }
}

#[test]
fn forwarded_is_walked_the_same_way() {
    let trusted = ["10.0.0.0/8"];
    for (line, expected) in [
        ("for=6.6.6.6, for=1.2.3.4;proto=https", "1.2.3.4"),
        ("For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        ("by=3.3.3.3;for=1.2.3.4, for=10.1.1.1", "1.2.3.4"),
        ("for=1.2.3.4, for=unknown", PEER),
        ("for=1.2.3.4, for=_hidden", PEER),
        ("for=6.6.6.6;host=\"a,b\", for=10.0.0.9", "6.6.6.6"),
        (r#"host="x;for=6.6.6.6;y=";for=1.2.3.4"#, "1.2.3.4"),
        (r#"for=1.2.3.4;host="a\",for=6.6.6.6;x=\"b""#, "1.2.3.4"),
        (r#"for=6.6.6.6, for="1.2.3.4"#, PEER),
        ("for=1.2.3.4, ", "1.2.3.4"),
    ] {
        assert_eq!(
            client(HopsField::Forwarded, &trusted, &[line]),
            expected,
            "{line}"
        );
    }
}

#[test]
fn a_field_with_one_address_is_believed_only_if_it_is_that() {
    let header = ClientIpHeader::Single(HeaderName::from_static("cf-connecting-ip"));
    let trust = Trust::new(&["10.0.0.0/8".parse().unwrap()], header, Arc::default());
    for (lines, expected) in [
        (&["1.2.3.4"][..], "1.2.3.4"),
        (&["\t1.2.3.4 "], "1.2.3.4"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["::ffff:1.2.3.4"], "1.2.3.4"),
        (&["10.0.0.9"], "10.0.0.9"),
        (&["1.2.3.4", "1.2.3.4"], PEER),
        (&["1.2.3.4", "6.6.6.6"], PEER),
        (&["1.2.3.4, 6.6.6.6"], PEER),
        (&["1.2.3.4:80"], PEER),
        (&["[2001:db8::1]"], PEER),
        (&["fe80::1%eth0"], PEER),
        (&["01.2.3.4"], PEER),
        (&["1.2.3"], PEER),
        (&["16909060"], PEER),
        (&["1.2.3.4\u{a0}"], PEER),
        (&["for=1.2.3.4"], PEER),
        (&[""], PEER),
        (&[], PEER),
    ] {
        let named = lines.iter().map(|line| ("cf-connecting-ip", *line));
        let headers = named.chain([("x-forwarded-for", "6.6.6.6")]).collect();
        let found = trust.named_client(PEER.parse().unwrap(), &headers);
        assert_eq!(found.ip.to_string(), expected, "{lines:?}");
    }
}

#[test]
fn overlapping_networks_count_as_one() {
    assert_eq!(
        client(
            HopsField::XForwardedFor,
            &["10.0.0.0/8", "10.0.0.0/24"],
            &["1.2.3.4, 10.9.9.9"]
        ),
        "1.2.3.4"
    );
}

/// A hop as proxies write it, and who it is; `None` for what nobody can be.
fn hops() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let v4 = any::<[u8; 4]>()
        .prop_map(|octets| IpAddr::from([10 + octets[0] % 2, octets[1], octets[2], octets[3]]));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)).to_canonical());
    let spelled = (prop_oneof![2 => v4, 1 => v6], 0..4_u8, any::<u16>());
    let spelled = spelled.prop_map(|(address, style, port)| {
        let text = match (address, style) {
            (address, 0) => address.to_string(),
            (IpAddr::V4(v4), 1) => format!("::ffff:{v4}"),
            (IpAddr::V4(v4), 2) => format!("[{}]:{port}", v4.to_ipv6_mapped()),
            (IpAddr::V4(v4), _) => format!("{v4}:{port}"),
            (IpAddr::V6(v6), 1) => format!("[{v6}]"),
            (IpAddr::V6(v6), _) => format!("[{v6}]:{port}"),
        };
        (text, Some(address))
    });
    let garbage = prop::sample::select(vec![
        "unknown",
        "1.2.3",
        "1.2.3.4:x",
        "1.2.3.4:+80",
        "[::1]:+80",
        "[::1]:",
        "[::1",
        "::1]:2",
        "1.2.3.4 5.6.7.8",
        "10.0.0.1/8",
        "[1.2.3.4]",
    ]);
    prop_oneof![6 => spelled, 1 => garbage.prop_map(|text| (text.to_owned(), None))]
}

/// The rightmost hop that is not trusted, or the last one before garbage:
/// what the walk has to find.
fn expected(hops: &[(String, Option<IpAddr>)]) -> IpAddr {
    let is_trusted = |address: &IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
    let mut client: IpAddr = PEER.parse().unwrap();
    for (_, hop) in hops.iter().rev() {
        match hop {
            Some(hop) if is_trusted(&client) => client = *hop,
            _ => break,
        }
    }
    client
}

proptest! {
    #[test]
    fn the_walk_finds_the_same_client_however_hops_are_spelled_and_split_over_lines(
        hops in prop::collection::vec((hops(), any::<bool>(), "[ \t]{0,2}"), 0..12),
    ) {
        for header in [HopsField::XForwardedFor, HopsField::Forwarded] {
            let mut lines: Vec<String> = Vec::new();
            for ((text, _), begins_a_line, space) in &hops {
                let element = match header {
                    HopsField::XForwardedFor => text.clone(),
                    HopsField::Forwarded => format!("proto=http;for=\"{text}\";host=\"a,b\""),
                };
                match lines.last_mut() {
                    Some(line) if !begins_a_line => *line += &format!("{space},{space}{element}"),
                    _ => lines.push(element),
                }
            }
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let known: Vec<_> = hops.iter().map(|(hop, ..)| hop.clone()).collect();
            prop_assert_eq!(client(header, &["10.0.0.0/8"], &lines), expected(&known).to_string(), "{:?}", lines);
        }
    }

    #[test]
    fn whatever_bytes_a_header_holds_a_client_is_found_in_its_canonical_form(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4),
    ) {
        let lines = lines.iter().map(|line| line.trim_ascii());
        let both = lines.filter(|line| HeaderValue::from_bytes(line).is_ok());
        let headers = both.flat_map(|line| [("x-forwarded-for", line), ("forwarded", line)]).collect();
        let everyone = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        for header in [HopsField::XForwardedFor, HopsField::Forwarded] {
            let found = Trust::new(&everyone, ClientIpHeader::Hops(header), Arc::default()).named_client(PEER.parse().unwrap(), &headers).ip;
            prop_assert_eq!(found, found.to_canonical());
        }
    }

    /// Proxies append to what the client sent: whatever that is, it names
    /// nobody in the place of the one that they name.
    #[test]
    fn whatever_a_client_begins_forwarded_with_it_names_nobody_else(
        left in r#"([ -~]{0,40}|(for=6\.6\.6\.6|host=|x=|["\\,;= ]|a){0,12})"#,
        right in prop::sample::select(vec![
            "for=1.2.3.4",
            "for=1.2.3.4;host=\"shop\";proto=http",
            "proto=http;host=\"\";for=\"1.2.3.4:80\"",
            "for=\"1.2.3.4\";by=\"[::1]\"",
        ]),
    ) {
        let found = client(HopsField::Forwarded, &["10.0.0.0/8"], &[&format!("{left}, {right}")]);
        prop_assert!(found == "1.2.3.4" || found == PEER, "{}", found);
    }

    #[test]
    fn whatever_stands_left_of_the_first_untrusted_hop_changes_nothing(left in "[ -~]{0,40}") {
        let line = format!("{left}, 1.2.3.4");
        // An open quote to the left would swallow the comma: it still
        // cannot invent another client.
        let found = client(HopsField::XForwardedFor, &["10.0.0.0/8"], &[&line]);
        prop_assert_eq!(found, "1.2.3.4");
    }
}

//! Who is the client: the peer, or whom trusted proxies name, walked from the right and never further than trust goes.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, header};
use ipnet::IpNet;

use crate::call::Client;

/// The header in which trusted proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whose word is taken for who the client is.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    /// First and last address of each range, IPv4 mapped into IPv6, sorted and without overlaps.
    ranges: Vec<(u128, u128)>,
    header: ClientHeader,
}

impl Trust {
    /// Trusts these networks to name the client in this header.
    pub(super) fn new(networks: &[IpNet], header: ClientHeader) -> Self {
        let mut ranges: Vec<_> = networks.iter().map(|net| (number(net.network()), number(net.broadcast()))).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self { ranges, header }
    }

    /// The client of a request that came from `peer`.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Client { ip: peer, peer_is_trusted: false };
        }
        let ip = match self.header {
            ClientHeader::XForwardedFor => self.walk(peer, list(headers, "x-forwarded-for").map(address)),
            ClientHeader::Forwarded => self.walk(peer, list(headers, header::FORWARDED.as_str()).map(forwarded_for)),
        };
        Client { ip, peer_is_trusted: true }
    }

    /// From hop to hop while each is trusted. Garbage ends the walk: the hop that sent it is the client.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }
}

fn number(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

/// The elements of a list header from the right, over all of its lines. Commas inside quotes do not separate.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().rev().flat_map(|value| Elements(Some(value.as_bytes())))
}

struct Elements<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut is_quoted = false;
        let comma = rest.iter().rposition(|byte| {
            is_quoted ^= *byte == b'"';
            *byte == b',' && !is_quoted
        });
        let element = comma.map_or(rest, |comma| &rest[comma + 1..]);
        self.0 = comma.map(|comma| &rest[..comma]);
        Some(element.trim_ascii())
    }
}

/// The address in `for=` of one element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let value = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    address(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    // The number alone would be allowed a sign.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let address: IpAddr = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse().ok().filter(|_| is_sound)?)
    } else if let Some((address, port)) = text.split_once(':').filter(|(_, port)| !port.contains(':')) {
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    } else {
        text.parse().ok()?
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn client(header: ClientHeader, trusted: &[&str], lines: &[&str]) -> String {
        let networks: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let name = if header == ClientHeader::Forwarded { "forwarded" } else { "x-forwarded-for" };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        Trust::new(&networks, header).client(PEER.parse().unwrap(), &headers).ip.to_string()
    }

    #[test]
    fn without_trust_the_peer_is_the_client_whatever_it_says() {
        assert_eq!(client(ClientHeader::XForwardedFor, &[], &["1.2.3.4"]), PEER);
        assert_eq!(client(ClientHeader::XForwardedFor, &["192.168.0.0/16"], &["1.2.3.4"]), PEER);
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
            (&["1.2.3.4, "], PEER),
            (&["1.2.3.4:+80"], PEER),
            (&["[2001:db8::1]:+80"], PEER),
            (&[""], PEER),
            (&[], PEER),
        ] {
            assert_eq!(client(ClientHeader::XForwardedFor, &trusted, lines), expected, "{lines:?}");
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
        ] {
            assert_eq!(client(ClientHeader::Forwarded, &trusted, &[line]), expected, "{line}");
        }
    }

    #[test]
    fn overlapping_networks_count_as_one() {
        assert_eq!(
            client(ClientHeader::XForwardedFor, &["10.0.0.0/8", "10.0.0.0/24"], &["1.2.3.4, 10.9.9.9"]),
            "1.2.3.4"
        );
    }

    /// A hop as proxies write it, and who it is; `None` for what nobody can be.
    fn hops() -> impl Strategy<Value = (String, Option<IpAddr>)> {
        let v4 =
            any::<[u8; 4]>().prop_map(|octets| IpAddr::from([10 + octets[0] % 2, octets[1], octets[2], octets[3]]));
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
            "",
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

    /// The rightmost hop that is not trusted, or the last one before garbage: what the walk has to find.
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
            for header in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
                let mut lines: Vec<String> = Vec::new();
                for ((text, _), begins_a_line, space) in &hops {
                    let element = match header {
                        ClientHeader::XForwardedFor => text.clone(),
                        ClientHeader::Forwarded => format!("proto=http;for=\"{text}\";host=\"a,b\""),
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
            let mut headers = HeaderMap::new();
            for line in &lines {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    headers.append("x-forwarded-for", value.clone());
                    headers.append("forwarded", value);
                }
            }
            let everyone = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            for header in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
                let found = Trust::new(&everyone, header).client(PEER.parse().unwrap(), &headers).ip;
                prop_assert_eq!(found, found.to_canonical());
            }
        }

        #[test]
        fn whatever_stands_left_of_the_first_untrusted_hop_changes_nothing(left in "[ -~]{0,40}") {
            let line = format!("{left}, 1.2.3.4");
            // An open quote to the left would swallow the comma: it still cannot invent another client.
            let found = client(ClientHeader::XForwardedFor, &["10.0.0.0/8"], &[&line]);
            prop_assert_eq!(found, "1.2.3.4");
        }
    }
}

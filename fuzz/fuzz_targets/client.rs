//! Who the client is, where proxies may say so: the peer, or an address that a header names past trusted hops only.
//!
//! Input, by lines: trusted networks; the peer; `f` for `Forwarded` or anything else for `X-Forwarded-For`; then the lines
//! of that header.

#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use tidegate::gateway::fuzzing::client;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(networks), Some(peer), Some(header)) = (line(), line(), line()) else { return };
    let networks: Vec<IpNet> = networks.split(' ').filter_map(|network| network.parse().ok()).collect();
    let (Ok(peer), reads_forwarded) = (peer.parse::<IpAddr>(), header == "f") else { return };
    let name = if reads_forwarded { "forwarded" } else { "x-forwarded-for" };
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }

    let found = client(&networks, reads_forwarded, peer, &headers);
    let trusts = |address: IpAddr| networks.iter().any(|network| holds(network, address));
    let peer = peer.to_canonical();
    assert_eq!(found.peer_is_trusted, trusts(peer));
    assert_eq!(found.ip, found.ip.to_canonical());
    if !found.peer_is_trusted {
        assert_eq!(found.ip, peer);
    }
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    assert!(found.ip == peer || lines.iter().any(|line| names(line, found.ip)), "{} comes from nowhere", found.ip);
    // Without quotes there is one way to find the elements.
    if !lines.iter().any(|line| line.contains(&b'"')) {
        let hops: Vec<_> = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).collect();
        let hops = hops.into_iter().rev().map(|hop| hop_address(hop.trim_ascii(), reads_forwarded));
        assert_eq!(found.ip, walked(peer, hops, trusts));
    }
});

/// Whether a network holds an address, IPv4 as what it is inside of IPv6 too.
fn holds(network: &IpNet, address: IpAddr) -> bool {
    let mapped = match address {
        IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    network.contains(&address) || mapped.is_some_and(|mapped| network.contains(&mapped))
}

/// Whether some part of the line, up to what cannot belong to an address, is this one, perhaps with a port behind it.
fn names(line: &[u8], address: IpAddr) -> bool {
    let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    line.split(|byte| !is_of_address(*byte)).filter_map(|part| std::str::from_utf8(part).ok()).any(|part| {
        let is = |text: &str| text.parse::<IpAddr>().is_ok_and(|named| named.to_canonical() == address);
        is(part) || part.rsplit_once(':').is_some_and(|(before, _)| is(before))
    })
}

fn walked(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    for hop in hops {
        match hop {
            Some(hop) if trusts(client) => client = hop,
            _ => break,
        }
    }
    client
}

fn hop_address(hop: &[u8], reads_forwarded: bool) -> Option<IpAddr> {
    if !reads_forwarded {
        return address(std::str::from_utf8(hop).ok()?);
    }
    let is_for = |pair: &&[u8]| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"for="));
    let named = hop.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).find(is_for)?;
    address(std::str::from_utf8(&named[4..]).ok()?)
}

fn address(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => match text.parse() {
            Ok(address) => (address, ""),
            Err(_) => {
                let colon = text.rfind(':')?;
                (IpAddr::V4(text[..colon].parse().ok()?), &text[colon..])
            }
        },
    };
    let digits = port.strip_prefix(':').unwrap_or("0");
    let is_port = (port.is_empty() || port.starts_with(':')) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && digits.parse::<u16>().is_ok()).then_some(address.to_canonical())
}

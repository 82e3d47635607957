//! The client's address when proxies may name it: the address is the peer, or
//! one that a header names past trusted hops only.
//!
//! Input, line by line: the trusted networks, the peer, `f` for `Forwarded` or
//! anything else for `X-Forwarded-For`, then the lines of that header.

#![no_main]

use std::net::IpAddr;

use http::HeaderValue;
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
    let lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).filter(|line| HeaderValue::from_bytes(line).is_ok()).collect();
    let headers = lines.iter().map(|line| (name, line)).collect();

    let found = client(&networks, reads_forwarded, peer, &headers);
    let trusts = |address: IpAddr| networks.iter().any(|network| holds(network, address));
    let peer = peer.to_canonical();
    assert_eq!(found.chain.is_some(), trusts(peer));
    assert_eq!(found.ip, found.ip.to_canonical());
    if found.chain.is_none() {
        assert_eq!(found.ip, peer);
    }
    assert!(found.ip == peer || lines.iter().any(|line| names(line, found.ip)), "{} comes from nowhere", found.ip);
    // Without quotes, the elements can be found by splitting at commas.
    if !lines.iter().any(|line| line.contains(&b'"')) {
        let hops: Vec<_> = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).collect();
        let hops = hops.into_iter().rev().map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()).take(MOST_HOPS);
        assert_eq!(found.ip, walked(peer, hops.map(|hop| hop_address(hop, reads_forwarded)), trusts));
    }
});

/// Maximum number of hops that the gateway reads.
const MOST_HOPS: usize = 64;

/// Whether a network contains an address, also as an IPv4-mapped IPv6 address.
fn holds(network: &IpNet, address: IpAddr) -> bool {
    let mapped = match address {
        IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    network.contains(&address) || mapped.is_some_and(|mapped| network.contains(&mapped))
}

/// Whether some part of the line, delimited by bytes that cannot belong to an
/// address, is this address, possibly with a port.
fn names(line: &[u8], address: IpAddr) -> bool {
    let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    // Each character of a quoted string may be escaped.
    let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'\\').collect();
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
    let pairs: Vec<_> =
        hop.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).collect();
    let split = |pair: &&[u8]| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..equals].to_ascii_lowercase(), pair[equals + 1..].to_vec()))
    };
    let is_token = |text: &[u8]| {
        let may_stand = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
        !text.is_empty() && text.iter().all(may_stand)
    };
    let pairs: Option<Vec<_>> = pairs.iter().map(split).collect();
    let pairs = pairs.filter(|pairs| pairs.iter().all(|(name, value)| is_token(name) && is_token(value)))?;
    let said = |name: &[u8]| pairs.iter().filter(|(known, _)| known == name).count();
    if [&b"for"[..], b"by", b"host", b"proto"].into_iter().any(|name| said(name) > 1) {
        return None;
    }
    let (_, named) = pairs.iter().find(|(name, _)| name == b"for")?;
    address(std::str::from_utf8(named).ok()?)
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

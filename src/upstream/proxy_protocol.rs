//! The header of the PROXY protocol that a connection to a server begins with.
//!
//! It names the client of the request that the connection is made for, and so
//! holds for the whole connection: only requests of the same client are sent on
//! it ([`Reuse::By`](super::http1::Reuse)). The gateway's own connections, such
//! as those of health checks, say that they speak for nobody (`LOCAL`).
//!
//! Source: "The PROXY protocol, versions 1 & 2" of HAProxy, 2.2.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::call::Exchange;

/// The bytes that version 2 begins with.
const BEGIN: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and a connection of the gateway itself.
const LOCAL: u8 = 0x20;
/// Version 2, and a connection for a client.
const PROXY: u8 = 0x21;
/// TCP over IPv4, and the bytes of two addresses and ports.
const OVER_IPV4: [u8; 3] = [0x11, 0, 12];
/// TCP over IPv6, and the bytes of two addresses and ports.
const OVER_IPV6: [u8; 3] = [0x21, 0, 36];

/// The ends of a client's connection, as a server is told them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientEnds {
    /// The client. Its port is 0 if a proxy names the client, as proxies tell
    /// no port.
    source: SocketAddr,
    /// The address that the client, or the proxy in front of it, connected to.
    destination: SocketAddr,
}

impl ClientEnds {
    /// The ends of the connection that a request came by.
    pub(super) fn of(exchange: &Exchange) -> Self {
        let (peer, local) = (exchange.origin.peer, exchange.origin.local);
        let client = exchange.client.ip;
        let port = match peer.ip().to_canonical() == client {
            true => peer.port(),
            false => 0,
        };
        Self {
            source: SocketAddr::new(client, port),
            destination: SocketAddr::new(local.ip().to_canonical(), local.port()),
        }
    }
}

/// The header for a connection that is made for this client; `None` for one
/// that the gateway makes for itself.
pub(super) fn header(client: Option<ClientEnds>) -> Vec<u8> {
    let mut header = BEGIN.to_vec();
    let Some(ClientEnds {
        source,
        destination,
    }) = client
    else {
        header.extend([LOCAL, 0, 0, 0]);
        return header;
    };
    header.push(PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend(OVER_IPV4);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        (source, destination) => {
            header.extend(OVER_IPV6);
            header.extend(in_ipv6(source).octets());
            header.extend(in_ipv6(destination).octets());
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

/// An address as one of IPv6, since the two ends have to be of one kind.
fn in_ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(source: &str, destination: &str) -> Vec<u8> {
        let ends = ClientEnds {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let header = header(Some(ends));
        assert_eq!(header[..13], [&BEGIN[..], &[0x21]].concat());
        header[13..].to_vec()
    }

    #[test]
    fn a_header_names_both_ends_in_the_form_of_their_addresses() {
        assert_eq!(
            body("192.0.2.7:4711", "198.51.100.1:443"),
            [
                0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb
            ]
        );
        let v6 = body("[2001:db8::1]:1", "[::1]:2");
        assert_eq!((v6.len(), &v6[..3]), (39, &[0x21, 0, 36][..]));
        assert_eq!(
            (v6[3], v6[18], v6[34], &v6[35..]),
            (0x20, 1, 1, &[0, 1, 0, 2][..])
        );
        let mixed = body("[2001:db8::1]:1", "192.0.2.7:2");
        assert_eq!(mixed[29..35], [0xff, 0xff, 192, 0, 2, 7]);
    }

    #[test]
    fn the_gateway_itself_speaks_for_nobody() {
        assert_eq!(header(None), [&BEGIN[..], &[0x20, 0, 0, 0]].concat());
    }
}

//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2): the
//! client behind a load balancer.
//!
//! If a listener requires it, every connection begins with such a header,
//! before TLS and before any request. It is required and never optional: a
//! client could otherwise send a header of its own and pass for any other
//! client.
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n
//! version 2   signature (12 bytes), version and command, family, length (2 bytes), addresses, extensions
//! ```
//!
//! [`parse`] is called again as bytes arrive. A header is at most 107 bytes long
//! in version 1, and 4,096 in version 2.
//!
//! `handshake` calls it in the connection's task, bounded by
//! `timeouts.headers`, and serves the connection for the client that the header
//! names.
//!
//! # Strictness
//!
//! Bytes that cannot begin a header are refused at once, at the first one that
//! differs. In version 1 the words are separated by single blanks, addresses
//! are of the family that is named, and nothing follows the ports. In version 2
//! the command is LOCAL or PROXY. A checksum among the extensions is not
//! verified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 2.
///
/// No request of HTTP and no record of TLS begins like this.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1 in bytes, with its CR LF (section 2.1).
///
/// A line that has no end within this length is malformed.
const LONGEST_V1: usize = 107;
/// Longest header of version 2 in bytes that is accepted. Addresses have at
/// most 216 bytes; the rest is for extensions (the name in a client's
/// certificate, identifiers of a cloud), which are skipped.
const LONGEST_V2: usize = 4096;

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes.
    ///
    /// The bytes behind it belong to TLS or to the first request.
    pub length: usize,
    /// The ends of the client's connection; `None` if the load balancer speaks
    /// for itself or does not know them.
    ///
    /// It is also `None` for sockets of Unix and for UNKNOWN, which have no
    /// address.
    pub ends: Option<Ends>,
}

/// Both ends of a client's connection: to a load balancer, or to the listener
/// itself.
///
/// Addresses of a header are as they were written: an IPv4 address inside of
/// IPv6 stays one of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// Parses the header at the beginning of `bytes`; `None` while it is not
/// complete.
///
/// Keeps no state: a call with more bytes begins anew. The bound on a header
/// bounds the cost of that.
///
/// # Errors
/// Says why it is malformed. Nothing is guessed then, since the bytes that
/// follow might be a forgery.
///
/// # Examples
/// ```
/// use tidegate::server::proxy_protocol::parse;
///
/// let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\n";
/// let header = parse(bytes).unwrap().unwrap();
/// assert_eq!(header.ends.unwrap().source, "192.0.2.1:4711".parse().unwrap());
/// assert!(bytes[header.length..].starts_with(b"GET"));
///
/// assert_eq!(parse(b"PROXY TC"), Ok(None), "more has to arrive");
/// assert!(parse(b"GET / HTTP/1.1\r\n").is_err());
/// ```
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return version_1(bytes);
    }
    Err("it does not begin with a PROXY protocol header")
}

/// Whether one of the two is a prefix of the other.
///
/// True for no bytes at all: anything may still come.
fn begins(bytes: &[u8], expected: &[u8]) -> bool {
    let length = bytes.len().min(expected.len());
    bytes[..length] == expected[..length]
}

/// The text form (section 2.1).
///
/// A number of a port consists of digits alone and fits into 16 bits. All that
/// follows UNKNOWN is skipped up to the end of the line, as the specification
/// demands.
fn version_1(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    const BAD: &str = "its PROXY protocol header (version 1) is malformed";
    let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(LONGEST_V1)], b"\r\n") else {
        return if bytes.len() < LONGEST_V1 {
            Ok(None)
        } else {
            Err(BAD)
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| BAD)?;
    let length = end + 2;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(BAD)?;
    if family == "UNKNOWN" {
        return Ok(Some(Header { length, ends: None }));
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (source, destination) = (address().ok_or(BAD)?, address().ok_or(BAD)?);
    let is_of_family = |address: IpAddr| match family {
        "TCP4" => address.is_ipv4(),
        "TCP6" => address.is_ipv6(),
        _ => false,
    };
    let mut port = || {
        let text = words.next()?;
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())?
    };
    let ports = (port().ok_or(BAD)?, port().ok_or(BAD)?);
    if !is_of_family(source) || !is_of_family(destination) || words.next().is_some() {
        return Err(BAD);
    }
    let ends = Ends {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
    };
    Ok(Some(Header {
        length,
        ends: Some(ends),
    }))
}

/// The binary form (section 2.2).
///
/// `bytes` may end within the signature. The length is checked before the
/// payload is awaited, so that no client makes the gateway wait for more than
/// the bound.
fn version_2(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let [kind, family, high, low] = match bytes.get(12..16) {
        Some(&[kind, family, high, low]) => [kind, family, high, low],
        _ => return Ok(None),
    };
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2 {
        return Err("its PROXY protocol header is too long");
    }
    let is_local = match kind {
        0x20 => true,
        0x21 => false,
        _ => return Err("its PROXY protocol header is of an unknown version or command"),
    };
    let Some(body) = bytes.get(16..length) else {
        return Ok(None);
    };
    // AF_UNIX and AF_UNSPEC have no address that could identify a client.
    let ends = match (is_local, family) {
        (false, 0x11) => Some(ends::<4, Ipv4Addr>(body)?),
        (false, 0x21) => Some(ends::<16, Ipv6Addr>(body)?),
        (true, _) | (false, 0x00 | 0x31) => None,
        _ => return Err("its PROXY protocol header is not about TCP"),
    };
    Ok(Some(Header { length, ends }))
}

/// Two addresses of `N` bytes, then two ports.
///
/// `N` is 4 or 16. Extensions behind the ports are not looked at.
fn ends<const N: usize, A>(body: &[u8]) -> Result<Ends, &'static str>
where
    A: From<[u8; N]> + Into<IpAddr>,
{
    const SHORT: &str = "its PROXY protocol header is shorter than its addresses";
    let (source, rest) = body.split_first_chunk::<N>().ok_or(SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(SHORT)?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    let end =
        |address: [u8; N], port| SocketAddr::new(A::from(address).into(), u16::from_be_bytes(port));
    Ok(Ends {
        source: end(*source, [a, b]),
        destination: end(*destination, [c, d]),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        Some(Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        })
    }

    fn v2(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[kind, family], &length, body].concat()
    }

    #[test]
    fn both_versions_name_both_ends() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\nGET /";
        let expected = ends("192.0.2.1:4711", "198.51.100.1:443");
        assert_eq!(
            parse(line).unwrap().unwrap(),
            Header {
                length: line.len() - 5,
                ends: expected
            }
        );
        let line = b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n";
        assert_eq!(
            parse(line).unwrap().unwrap().ends,
            ends("[2001:db8::1]:1", "[::1]:65535")
        );
        let body = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb, 9, 9, 9];
        let header = v2(0x21, 0x11, &body);
        assert_eq!(
            parse(&header).unwrap().unwrap(),
            Header {
                length: 31,
                ends: expected
            }
        );
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_keeps_its_address() {
        for bytes in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            v2(0x20, 0x00, &[]),
            v2(0x20, 0x11, &[0; 12]),
            v2(0x21, 0x00, &[]),
            v2(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(
                parse(&bytes),
                Ok(Some(Header {
                    length: bytes.len(),
                    ends: None
                }))
            );
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 +2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x11, &[0; 5000]),
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_addresses_are_read_as_they_were_written(source: (IpAddr, u16), destination: (IpAddr, u16), rest: Vec<u8>) {
            let (source, destination) = (SocketAddr::from(source), SocketAddr::from(destination));
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            prop_assume!(source.is_ipv4() == destination.is_ipv4());
            let line = format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
            let header = parse(&[line.as_bytes(), &rest].concat()).unwrap().unwrap();
            prop_assert_eq!(header, Header { length: line.len(), ends: Some(Ends { source, destination }) });
        }

        #[test]
        fn a_part_of_a_header_is_neither_refused_nor_taken(source: [u8; 12], cut in 0..28_usize) {
            let header = v2(0x21, 0x11, &source);
            prop_assert_eq!(parse(&header[..cut]), Ok(None));
            let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";
            prop_assert_eq!(parse(&line[..cut]), Ok(None));
        }

        #[test]
        fn no_bytes_are_read_beyond_and_none_make_it_panic(bytes: Vec<u8>, is_begun: bool, version: bool) {
            let begin: &[u8] = if !is_begun { b"" } else if version { SIGNATURE } else { b"PROXY TCP4 " };
            let bytes = [begin, &bytes].concat();
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.length <= bytes.len());
                prop_assert_eq!(parse(&bytes[..header.length]), Ok(Some(header)));
            }
        }
    }
}

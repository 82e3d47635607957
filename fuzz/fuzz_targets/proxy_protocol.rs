//! The first bytes on a listener with the PROXY protocol, from a balancer or
//! from a client that claims to be one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::server::proxy_protocol::parse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(header)) = parse(bytes) else { return };
    assert!(header.length <= bytes.len());
    // Bytes after the header do not affect the result.
    assert_eq!(parse(&bytes[..header.length]), Ok(Some(header)));
});

//! Whatever a balancer, or somebody who claims to be one, sends first.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::server::proxy_protocol::parse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(header)) = parse(bytes) else { return };
    assert!(header.length <= bytes.len());
    // What follows the header has no say in it.
    assert_eq!(parse(&bytes[..header.length]), Ok(Some(header)));
});

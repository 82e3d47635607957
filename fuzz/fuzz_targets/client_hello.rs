//! The first bytes on a TLS listener: the gateway decides whether they are a
//! whole ClientHello.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::tls::Hello;

fuzz_target!(|bytes: &[u8]| {
    let whole = Hello::default().is_whole(bytes);
    // The decision does not depend on how the bytes are cut, and once it is yes
    // it stays so.
    let mut hello = Hello::default();
    let first = (0..=bytes.len()).find(|end| hello.is_whole(&bytes[..*end]));
    assert_eq!(first.is_some(), whole);
    if let Some(first) = first {
        assert!(Hello::default().is_whole(&bytes[..first]));
    }
});

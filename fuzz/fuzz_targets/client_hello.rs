//! Whatever a client sends first where TLS is spoken: is it worth a turn yet?

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::tls::Hello;

fuzz_target!(|bytes: &[u8]| {
    let whole = Hello::default().is_whole(bytes);
    // However the bytes come, the answer is the same, and once it is yes it stays so.
    let mut hello = Hello::default();
    let first = (0..=bytes.len()).find(|end| hello.is_whole(&bytes[..*end]));
    assert_eq!(first.is_some(), whole);
    if let Some(first) = first {
        assert!(Hello::default().is_whole(&bytes[..first]));
    }
});

//! A configuration of NGINX: one that is read becomes the same file each time,
//! and `check` accepts it but for files that are not there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::{cli::imported, config::{self, Code, Environment}};

fuzz_target!(|source: &[u8]| {
    let text = String::from_utf8_lossy(source);
    // Reading a device may block forever.
    if text.contains("/dev") || text.contains("/proc") || text.contains("include") {
        return;
    }
    let Ok(made) = imported(source) else {
        return;
    };
    assert_eq!(imported(source).as_ref(), Ok(&made));
    if let Err(mistakes) = config::parse("tidegate.toml", &made, &Environment::new()) {
        let refused = mistakes.list.iter().find(|one| one.code != Code::Unreadable);
        assert!(refused.is_none(), "{}\n{made}", mistakes.render(false));
    }
});

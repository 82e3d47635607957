//! A configuration file: an accepted one can be built and shown, and a refused
//! one has diagnostics at places inside the text.

#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use tidegate::{config::{self, Config, Diagnostics, Environment}, build::{Process, build}, limit::KeyHasher, policy::LogFormat, telemetry::{AccessLog, Dropped, Form, Metrics}};

/// A path in a folder that does not exist, so that files named by the text do
/// not exist either.
const NAME: &str = "/nonexistent/fuzzed.toml";
/// Maximum number of keys of a limit that is built; more would exceed the
/// memory of a run.
const MOST_KEYS: usize = 100_000;

fuzz_target!(|text: &str| {
    // Reading a device may block forever.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    match config::parse(NAME, text, &environment()) {
        Ok(config) => accepted(config),
        Err(mistakes) => refused(&mistakes, text),
    }
});

fn environment() -> Environment {
    Environment::from([("PORT".to_owned(), "8080".to_owned()), ("EMPTY".to_owned(), String::new())])
}

fn accepted(config: Config) {
    assert!(config.shown().is_object());
    if config.limits.iter().all(|limit| limit.max_keys.get() <= MOST_KEYS) && config.store.is_none() {
        let (config, process) = (Arc::new(config), Process { metrics: Metrics::new(1), ..process().clone() });
        let built = build(Arc::clone(&config), None, &process).expect("an accepted configuration can be built");
        build(config, Some(&built.state), &process).expect("an accepted configuration can be built again");
    }
}

fn refused(mistakes: &Diagnostics, text: &str) {
    assert!(!mistakes.list.is_empty());
    for one in &mistakes.list {
        for place in one.places() {
            let span = place.span.clone();
            assert!(text.get(span.clone()).is_some(), "{span:?} is outside the text");
            let before = &text[..span.start];
            assert_eq!(place.line, 1 + before.matches('\n').count());
            let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
            assert_eq!(place.column, 1 + line.chars().count());
        }
        assert!(!one.message.is_empty());
    }
    let rendered = mistakes.render(false);
    assert!(mistakes.list.iter().all(|one| rendered.contains(one.code.as_str())));
    assert_eq!(mistakes.to_json().as_array().map(Vec::len), Some(mistakes.list.len()));
}

fn process() -> &'static Process {
    static PROCESS: OnceLock<Process> = OnceLock::new();
    PROCESS.get_or_init(|| {
        let dropped = Arc::new(Dropped::default());
        let (access, guard) = AccessLog::start(Form::Full(LogFormat::Json), std::io::sink(), 1, dropped).expect("a thread");
        std::mem::forget(guard);
        Process { workers: 1, metrics: Metrics::new(1), access, hasher: KeyHasher::with_seed([1, 2]), buffers: Default::default(), challenges: Default::default() }
    })
}

//! The number at a path of a JSON document: as serde_json finds it, and the same
//! whatever the pieces are.
//!
//! Input: a byte for the length of the pieces, then the document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::{policy::JsonPath, usage::UsageReader};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, document)) = bytes.split_first() else { return };
    let path = JsonPath::parse("a.1.b").unwrap();
    let found = |kind: &[u8], length: usize| {
        let mut reader = UsageReader::for_content_type(kind).unwrap();
        document.chunks(length).for_each(|piece| reader.read(&path, piece));
        reader.found()
    };
    let length = usize::from(*length).max(1);
    for kind in [&b"application/json"[..], b"text/event-stream"] {
        assert_eq!(found(kind, length), found(kind, usize::MAX));
    }
    // Of members with one name serde_json keeps the last, and the reader counts the largest.
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let member = |value: &Value, name: &str| match value {
        Value::Array(elements) => elements.get(name.parse::<usize>().ok()?).cloned(),
        value => value.get(name).cloned(),
    };
    let expected = path.members().iter().try_fold(value, |value, name| member(&value, name));
    if let Some(expected) = expected.as_ref().and_then(Value::as_u64) {
        assert!(found(b"application/json", length).is_some_and(|found| found >= expected));
    }
});

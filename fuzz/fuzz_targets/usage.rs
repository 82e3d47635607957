//! The number at a path of a JSON document: as serde_json finds it, and the same
//! whatever the pieces are. Of events it is that of the last one that has it.
//!
//! Input: a byte for the length of the pieces, then the document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::{policy::JsonPath, usage::UsageReader};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, document)) = bytes.split_first() else { return };
    let path = JsonPath::parse("a.1.b").unwrap();
    let read = |kind: &[u8], text: &[u8], length: usize| {
        let mut reader = UsageReader::for_content_type(kind).unwrap();
        text.chunks(length).for_each(|piece| reader.read(&path, piece));
        reader.found()
    };
    let found = |kind: &[u8], length: usize| read(kind, document, length);
    let length = usize::from(*length).max(1);
    for kind in [&b"application/json"[..], b"text/event-stream"] {
        assert_eq!(found(kind, length), found(kind, usize::MAX));
    }
    // A byte order mark is passed over before a body, and not in its events.
    let has_mark = |data: &&Vec<u8>| data.starts_with(b"\xEF\xBB\xBF");
    let last = events(document).iter().filter(|data| !has_mark(data)).filter_map(|data| read(b"application/json", data, usize::MAX)).next_back();
    assert_eq!(found(b"text/event-stream", length), last);
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

/// The data of each event of a stream ("HTML", 9.2.6), and of one that it breaks
/// off, line by line.
fn events(stream: &[u8]) -> Vec<Vec<u8>> {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut events, mut event, mut rest) = (Vec::new(), None, stream);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        rest = behind.strip_prefix(b"\r\n").or(behind.get(1..)).unwrap_or_default();
        if line.is_empty() {
            events.extend(event.take());
            continue;
        }
        let data = match line.strip_prefix(b"data") {
            Some([]) if !behind.is_empty() => &[][..],
            Some([b':', data @ ..]) => data.strip_prefix(b" ").unwrap_or(data),
            _ => continue,
        };
        event = Some(match event {
            None => data.to_vec(),
            Some(before) => [before, data.to_vec()].join(&b'\n'),
        });
    }
    events.extend(event);
    events
}

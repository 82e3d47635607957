//! The cost that a response states: the number at one path of a JSON document,
//! or of the events of a stream.
//!
//! A leaf. It reads the body of a response while it passes, in pieces of any
//! size, keeps none of it, and delays nothing. Each reader has a fixed size and
//! looks at each byte once, whatever the length and the depth of the body.
//!
//! ```
//! use tidegate::{policy::JsonPath, usage::UsageReader};
//!
//! let path = JsonPath::parse("usage.total_tokens").unwrap();
//! let mut reader = UsageReader::for_content_type(b"text/event-stream").unwrap();
//! for piece in ["data: {\"usage\": {\"total_", "tokens\": 21}}\n\ndata: [DONE]\n\n"] {
//!     reader.read(&path, piece.as_bytes());
//! }
//! assert_eq!(reader.found(), Some(21));
//! ```

mod events;
mod json;
mod name;
mod number;

use self::{
    events::{EventPart, EventReader},
    json::JsonReader,
};
use crate::policy::JsonPath;

/// Reads one path of a body that passes.
#[derive(Debug)]
pub struct UsageReader {
    /// Finds the data of events, each of which is a document; `None` if the
    /// body is JSON itself.
    events: Option<EventReader>,
    json: JsonReader,
    /// Bytes of a byte order mark before JSON that were passed; all of them
    /// after the first other byte.
    mark: usize,
}

/// A byte order mark, which some writers put before UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

impl UsageReader {
    /// The reader for a body of this type: of JSON (`application/json`, types
    /// that end in `+json`, and lines of JSON), or of events in JSON
    /// (`text/event-stream`). `None` for all other types.
    pub fn for_content_type(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|byte| matches!(byte, b';' | b','));
        let kind = value[..end.unwrap_or(value.len())].trim_ascii();
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        let is_json = |suffix: &[u8]| {
            let start = kind.len().checked_sub(suffix.len());
            start.is_some_and(|start| kind[start..].eq_ignore_ascii_case(suffix))
        };
        let events = match () {
            () if is("text/event-stream") => Some(EventReader::default()),
            () if is("application/json") || is("application/x-ndjson") || is_json(b"+json") => None,
            () => return None,
        };
        Some(Self {
            events,
            json: JsonReader::default(),
            mark: 0,
        })
    }

    /// Reads one more piece of the body. `path` is the same for all of them.
    pub fn read(&mut self, path: &JsonPath, piece: &[u8]) {
        let json = &mut self.json;
        match &mut self.events {
            None => json.read(path, behind_mark(&mut self.mark, piece)),
            Some(events) => events.read(piece, |part| match part {
                EventPart::Data(data) => json.read(path, data),
                EventPart::End => json.end(),
            }),
        }
    }

    /// The number, as far as the body has passed: of the last document or event
    /// that has it. `None` if there was none.
    pub fn found(&self) -> Option<u64> {
        self.json.found()
    }
}

/// The rest of a piece behind a byte order mark at the beginning of a body, of
/// which so many bytes have passed. Parsers of JSON may ignore one (RFC 8259,
/// 8.1). A part of one is no JSON.
fn behind_mark<'p>(passed: &mut usize, piece: &'p [u8]) -> &'p [u8] {
    let mut rest = piece;
    while let (Some(wanted), Some((first, others))) = (MARK.get(*passed), rest.split_first()) {
        if wanted != first {
            let is_part = std::mem::replace(passed, MARK.len()) > 0;
            return if is_part { MARK } else { rest };
        }
        *passed += 1;
        rest = others;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: &str, body: &str) -> Option<u64> {
        let path = JsonPath::parse("usage.n").unwrap();
        let mut reader = UsageReader::for_content_type(kind.as_bytes())?;
        for piece in body.as_bytes().chunks(3) {
            reader.read(&path, piece);
        }
        reader.found()
    }

    #[test]
    fn the_type_of_a_body_says_how_it_is_read() {
        let (json, events) = ("{\"usage\":{\"n\":5}}", "data: {\"usage\":{\"n\":5}}\n\n");
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.api+json",
            "application/x-ndjson",
        ] {
            assert_eq!(found(kind, json), Some(5), "{kind}");
            assert_eq!(found(kind, events), None, "{kind}");
        }
        for kind in ["text/event-stream", "text/event-stream;charset=utf-8"] {
            assert_eq!(found(kind, events), Some(5), "{kind}");
            assert_eq!(found(kind, json), None, "{kind}");
        }
        for kind in ["text/plain", "application/jsonp", "json", "", ";"] {
            assert_eq!(found(kind, json), None, "{kind}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_json_is_passed_over_and_a_part_of_one_is_no_json() {
        let path = JsonPath::parse("usage.n").unwrap();
        for (mark, expected) in [
            (&b"\xEF\xBB\xBF"[..], Some(5)),
            (b"\xEF\xBB", None),
            (b"\xEF\xBB\xBF\xEF\xBB\xBF", None),
            (b" \xEF\xBB\xBF", None),
        ] {
            let body = [mark, br#"{"usage":{"n":5}}"#].concat();
            for size in 1..=body.len() {
                let mut reader = UsageReader::for_content_type(b"application/json").unwrap();
                body.chunks(size)
                    .for_each(|piece| reader.read(&path, piece));
                assert_eq!(reader.found(), expected, "{mark:?} {size}");
            }
        }
    }

    #[test]
    fn the_last_event_that_has_the_path_counts() {
        let event = |data: &str| format!("data: {data}\n\n");
        let stream = [
            event("{\"usage\":{\"n\":50}}"),
            event("{\"usage\":null}"),
            event("nonsense {\"usage\":{\"n\":70}}"),
            event("{\"usage\":\ndata:{\"n\":\ndata:7}}"),
            event("{\"choices\":[]}"),
            event("[DONE]"),
        ];
        assert_eq!(found("text/event-stream", &stream.concat()), Some(7));
    }

    #[test]
    fn a_line_of_a_hundred_mebibytes_passes_in_fixed_memory() {
        let path = JsonPath::parse("usage.n").unwrap();
        for kind in ["application/json", "text/event-stream"] {
            let mut reader = UsageReader::for_content_type(kind.as_bytes()).unwrap();
            let prefix = if kind == "text/event-stream" {
                "data: "
            } else {
                ""
            };
            reader.read(&path, prefix.as_bytes());
            reader.read(&path, b"{\"text\":\"");
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..100 {
                reader.read(&path, &piece);
            }
            reader.read(&path, b"\",\"usage\":{\"n\":5}}");
            assert_eq!(reader.found(), Some(5), "{kind}");
        }
        assert!(size_of::<UsageReader>() <= 512);
    }
}

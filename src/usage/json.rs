//! The number at one path of a JSON document (RFC 8259), read while the
//! document passes in pieces of any size.
//!
//! Nothing of the document is kept but its place: the containers on the path
//! that are open, how many others are open inside of them, and how much of a
//! name has matched. So a document of any length and depth takes the same
//! memory, and each byte is looked at once.
//!
//! # Values that count
//!
//! * A whole number from 0 on. A fraction is rounded up, and a number above
//!   2^64 counts as 2^64 - 1. A negative number, a string and everything else
//!   count as nothing.
//! * The largest, if a document has the path several times: readers differ
//!   about which of two members with one name they see.
//! * The last document that has the path, if several follow one another, as in
//!   lines of JSON.
//!
//! Values beside the path are passed over by their brackets and quotes, and
//! are not checked. If something on the path is no JSON, the document counts as
//! nothing, and so does everything after it.

use memchr::memchr2;

use super::{name::MemberName, number::Number};
use crate::policy::JsonPath;

/// Reads one path of the documents that pass.
#[derive(Debug)]
pub(super) struct JsonReader {
    state: JsonState,
    /// Open containers on the path; their kinds and places are in `open`.
    depth: usize,
    open: [Container; JsonPath::MOST_MEMBERS],
    /// The name that is being read, compared as it passes.
    name: MemberName,
    /// The number that is being read.
    number: Number,
    /// The largest number in the present document.
    found: Option<u64>,
    /// The number of the last document before it that had one.
    earlier: Option<u64>,
}

/// An open container on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    /// An array, and the index of its present element.
    Array(usize),
}

/// The part of a document that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Before a document.
    Start,
    /// Before a value. It is on the path if `matches`, and may be the end of
    /// an empty array if `may_end`.
    Value { matches: bool, may_end: bool },
    /// Before the name of a member, or the end of an object if `may_end`.
    Member { may_end: bool },
    /// In a name.
    Name,
    /// Between a name and its value.
    Colon { matches: bool },
    /// After a value in a container on the path.
    Comma,
    /// In the number that is looked for.
    Number,
    /// In a number or word beside the path.
    Word,
    /// In a string beside the path, with this many containers open around it
    /// that are beside the path too; after a backslash if `is_escaped`.
    Text { beside: u64, is_escaped: bool },
    /// In this many containers beside the path; not 0.
    Beside(u64),
    /// After something that is no JSON.
    Broken,
}

impl JsonReader {
    /// A reader before the first document.
    pub(super) fn new() -> Self {
        Self {
            state: JsonState::Start,
            depth: 0,
            open: [Container::Object; JsonPath::MOST_MEMBERS],
            name: MemberName::default(),
            number: Number::default(),
            found: None,
            earlier: None,
        }
    }

    /// The number of the last document that has one; of the present document,
    /// as far as it has passed.
    pub(super) fn found(&self) -> Option<u64> {
        self.found.or(self.earlier)
    }

    /// Ends the present document: the next byte begins another one.
    pub(super) fn end(&mut self) {
        self.earlier = self.found();
        self.found = None;
        (self.state, self.depth) = (JsonState::Start, 0);
    }

    /// Reads one more piece.
    pub(super) fn read(&mut self, path: &JsonPath, piece: &[u8]) {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.state {
                JsonState::Text { beside, is_escaped } => self.pass_text(rest, beside, is_escaped),
                JsonState::Beside(beside) => self.pass_beside(rest, beside),
                JsonState::Name => self.read_name(path, rest),
                JsonState::Broken => return,
                state => self.step(path, state, rest[0]),
            };
        }
    }

    /// Passes over text beside the path, up to its end. Returns how much.
    fn pass_text(&mut self, rest: &[u8], beside: u64, is_escaped: bool) -> usize {
        let from = usize::from(is_escaped);
        let Some(at) = memchr2(b'"', b'\\', &rest[from..]) else {
            self.state = JsonState::Text {
                beside,
                is_escaped: false,
            };
            return rest.len();
        };
        let at = from + at;
        self.state = match (rest[at], beside) {
            (b'\\', _) => JsonState::Text {
                beside,
                is_escaped: true,
            },
            (_, 0) => JsonState::Comma,
            (_, beside) => JsonState::Beside(beside),
        };
        at + 1
    }

    /// Passes over containers beside the path. Returns how much.
    fn pass_beside(&mut self, rest: &[u8], mut beside: u64) -> usize {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = JsonState::Text {
                        beside,
                        is_escaped: false,
                    };
                    return at + 1;
                }
                b'{' | b'[' => beside += 1,
                b'}' | b']' => {
                    beside -= 1;
                    if beside == 0 {
                        self.state = JsonState::Comma;
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.state = JsonState::Beside(beside);
        rest.len()
    }

    /// Reads a name up to its end. Returns how much.
    fn read_name(&mut self, path: &JsonPath, rest: &[u8]) -> usize {
        let wanted = path.members()[self.depth - 1].as_bytes();
        for (at, byte) in rest.iter().enumerate() {
            if self.name.is_over(*byte, wanted) {
                self.state = JsonState::Colon {
                    matches: self.name.matches(wanted),
                };
                return at + 1;
            }
        }
        rest.len()
    }

    /// Reads one byte outside of text. Returns how many were read: 0 if the
    /// byte is to be read again, in the new state.
    fn step(&mut self, path: &JsonPath, state: JsonState, byte: u8) -> usize {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            && !matches!(state, JsonState::Number | JsonState::Word)
        {
            return 1;
        }
        match (state, byte) {
            (JsonState::Start, b'{' | b'[') => self.enter(path, byte),
            (JsonState::Value { may_end: true, .. }, b']')
            | (JsonState::Member { may_end: true }, b'}') => self.leave(),
            (JsonState::Value { matches, .. }, _) => self.begin(path, byte, matches),
            (JsonState::Member { .. }, b'"') => {
                self.name = MemberName::default();
                self.state = JsonState::Name;
            }
            (JsonState::Colon { matches }, b':') => {
                self.state = JsonState::Value {
                    matches,
                    may_end: false,
                }
            }
            (JsonState::Comma, _) => self.go_on(path, byte),
            (
                JsonState::Number | JsonState::Word,
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r',
            ) => {
                if state == JsonState::Number {
                    self.found = self.found.max(self.number.value());
                }
                self.state = JsonState::Comma;
                return 0;
            }
            (JsonState::Number, _) => self.number.add(byte),
            (JsonState::Word, b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') => {}
            _ => self.break_off(),
        }
        1
    }

    /// Begins a value, which is on the path if it `matches`.
    fn begin(&mut self, path: &JsonPath, byte: u8, matches: bool) {
        let is_wanted = matches && self.depth == path.members().len();
        match byte {
            b'{' | b'[' if matches && !is_wanted => self.enter(path, byte),
            b'{' | b'[' => self.state = JsonState::Beside(1),
            b'"' => {
                self.state = JsonState::Text {
                    beside: 0,
                    is_escaped: false,
                }
            }
            b'-' | b'0'..=b'9' if is_wanted => {
                self.number = Number::default();
                self.number.add(byte);
                self.state = JsonState::Number;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => self.state = JsonState::Word,
            _ => self.break_off(),
        }
    }

    /// Enters a container on the path.
    fn enter(&mut self, path: &JsonPath, bracket: u8) {
        let container = if bracket == b'{' {
            self.state = JsonState::Member { may_end: true };
            Container::Object
        } else {
            self.state = JsonState::Value {
                matches: is_index(&path.members()[self.depth], 0),
                may_end: true,
            };
            Container::Array(0)
        };
        self.open[self.depth] = container;
        self.depth += 1;
    }

    /// Leaves the innermost container on the path.
    fn leave(&mut self) {
        self.depth -= 1;
        match self.depth {
            0 => self.end(),
            _ => self.state = JsonState::Comma,
        }
    }

    /// Reads what follows a value in the innermost container on the path.
    fn go_on(&mut self, path: &JsonPath, byte: u8) {
        let container = &mut self.open[self.depth - 1];
        match (byte, container) {
            (b',', Container::Object) => self.state = JsonState::Member { may_end: false },
            (b',', Container::Array(index)) => {
                *index = index.saturating_add(1);
                self.state = JsonState::Value {
                    matches: is_index(&path.members()[self.depth - 1], *index),
                    may_end: false,
                };
            }
            (b'}', Container::Object) | (b']', Container::Array(_)) => self.leave(),
            _ => self.break_off(),
        }
    }

    /// Ends the reading at something that is no JSON: its document counts as
    /// nothing.
    fn break_off(&mut self) {
        self.found = None;
        self.state = JsonState::Broken;
    }
}

impl Default for JsonReader {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a member of a path is the element of an array with this index.
fn is_index(member: &str, index: usize) -> bool {
    let is_plain = member == "0" || !member.starts_with('0');
    is_plain && member.parse() == Ok(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    /// The number at `path` of a text that comes in pieces of this length.
    fn read(at: &str, text: &[u8], piece: usize) -> Option<u64> {
        let (path, mut reader) = (path(at), JsonReader::new());
        for piece in text.chunks(piece) {
            reader.read(&path, piece);
        }
        reader.found()
    }

    /// The same, which has to be alike for all pieces.
    fn found(path: &str, text: &str) -> Option<u64> {
        let whole = read(path, text.as_bytes(), usize::MAX);
        for piece in 1..9 {
            assert_eq!(read(path, text.as_bytes(), piece), whole, "{text}");
        }
        whole
    }

    #[test]
    fn a_whole_number_at_the_path_counts_and_nothing_else() {
        for (value, expected) in [
            ("12", Some(12)),
            ("0", Some(0)),
            ("12.0", Some(12)),
            ("12.5", Some(13)),
            ("1e2", Some(100)),
            ("1E+2", Some(100)),
            ("1e400", Some(u64::MAX)),
            (
                "99999999999999999999999999999999999999999999999",
                Some(u64::MAX),
            ),
            ("0.00000000000000000000000000000000000000000001", None),
            ("-1", None),
            ("-0", Some(0)),
            ("\"12\"", None),
            ("null", None),
            ("true", None),
            ("[12]", None),
            ("{\"total_tokens\":12}", None),
            ("1x", None),
            ("inf", None),
        ] {
            let text = format!("{{\"id\":7,\"usage\": {{\"a\":1,\"total_tokens\":{value} }} }}");
            assert_eq!(found("usage.total_tokens", &text), expected, "{value}");
        }
    }

    #[test]
    fn the_path_is_followed_from_the_root_alone() {
        for text in [
            r#"{"total_tokens":5}"#,
            r#"{"x":{"usage":{"total_tokens":5}}}"#,
            r#"{"choices":[{"usage":{"total_tokens":5}}]}"#,
            r#"{"text":"\",\"usage\":{\"total_tokens\":5}"}"#,
            r#"{"usage":{"x":{"total_tokens":5}}}"#,
            r#"{"usage":[{"total_tokens":5}]}"#,
            r#"{"usage":{"total_tokens\u0000":5,"total_token":5,"total_tokenss":5,"":5}}"#,
            r#""usage""#,
            "5",
            "",
        ] {
            assert_eq!(found("usage.total_tokens", text), None, "{text}");
        }
        assert_eq!(found("a.1.b", r#"[{"a":[1]}]"#), None);
        assert_eq!(
            found("a.1.b", r#"{"a":[{"b":1},{"b":2},{"b":3}]}"#),
            Some(2)
        );
        assert_eq!(found("a.1.b", r#"{"a":{"1":{"b":4}}}"#), Some(4));
        assert_eq!(found("a.01", r#"{"a":[1,2]}"#), None);
        assert_eq!(found("0.a", r#"[{"a":1},{"a":2}]"#), Some(1));
    }

    #[test]
    fn escapes_in_names_are_understood() {
        let text = r#"{"\u0075s\u0061ge":{"t\/":3,"\"":4,"\ud83d\ude00":5,"\n":6,"\ud83d":7,"\ud83dx":8}}"#;
        for (path, expected) in [
            ("usage.t/", Some(3)),
            ("usage.\"", Some(4)),
            ("usage.😀", Some(5)),
            ("usage.\n", Some(6)),
            ("usage.x", None),
            ("usage.u", None),
        ] {
            assert_eq!(found(path, text), expected, "{path}");
        }
    }

    #[test]
    fn of_repeats_the_largest_counts_and_of_documents_the_last_that_has_it() {
        let twice = r#"{"usage":{"n":5,"n":9,"n":7},"usage":null,"usage":{"n":8}}"#;
        assert_eq!(found("usage.n", twice), Some(9));
        let lines = "{\"n\":9}\n{\"n\":5}\n{\"done\":true}\n";
        assert_eq!(found("n", lines), Some(5));
        assert_eq!(found("n", "{\"n\":9} nonsense {\"n\":5}"), Some(9));
    }

    #[test]
    fn other_texts_count_as_nothing() {
        for text in [
            "<html>{\"n\":5}</html>",
            "{n:5}",
            "{\"n\"=5}",
            "{\"n\":5]",
            "{\"n\":5 5}",
            "{\"n\":5,,}",
            "[1,2,{\"n\":5}]",
            "\u{feff}{\"n\":5}",
            "\0\0\0",
        ] {
            assert_eq!(found("n", text), None, "{text}");
        }
    }

    #[test]
    fn depth_beside_the_path_takes_no_memory() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let text = format!("{{\"x\":{deep},\"n\":5}}");
        assert_eq!(read("n", text.as_bytes(), 4096), Some(5));
        let nested = "{\"usage\":".repeat(100) + "{\"n\":5}" + &"}".repeat(100);
        assert_eq!(found("usage.n", &nested), None);
        assert!(std::mem::size_of::<JsonReader>() <= 512);
    }

    /// A document, and how its text is written.
    fn document() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("\"a\""),
            Just("\"b\""),
            Just("\"\\u0061\""),
            Just("\"ab\""),
            Just("\"a\\\"\""),
            Just("\"\"")
        ];
        let leaf = prop_oneof![
            (0_u64..100).prop_map(|number| number.to_string()),
            Just("-5".to_owned()),
            Just("1.5e1".to_owned()),
            Just("null".to_owned()),
            Just("\"a\\\\\"".to_owned()),
            Just("\"{\\\"a\\\":1}\"".to_owned()),
        ];
        leaf.prop_recursive(6, 60, 5, move |inner| {
            let member = (name.clone(), "[ \n]{0,2}", inner.clone());
            prop_oneof![
                prop::collection::vec(member, 0..5).prop_map(|members| {
                    let members = members.iter().map(|(name, blank, value)| {
                        format!("{blank}{name}{blank}:{blank}{value}{blank}")
                    });
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
                prop::collection::vec(inner, 0..5)
                    .prop_map(|elements| format!("[{}]", elements.join(" ,"))),
            ]
        })
    }

    /// A value with all members of its objects, also those of one name.
    enum Tree {
        Leaf(Value),
        Array(Vec<Tree>),
        Object(Vec<(String, Tree)>),
    }

    impl<'de> serde::Deserialize<'de> for Tree {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Tree;

                fn expecting(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    Ok(())
                }
                fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                    Ok(Tree::Leaf(number.into()))
                }
                fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                    Ok(Tree::Leaf(number.into()))
                }
                fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
                    Ok(Tree::Leaf(number.into()))
                }
                fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                    Ok(Tree::Leaf(text.into()))
                }
                fn visit_unit<E>(self) -> Result<Tree, E> {
                    Ok(Tree::Leaf(Value::Null))
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(
                    self,
                    mut seq: A,
                ) -> Result<Tree, A::Error> {
                    let mut all = Vec::new();
                    while let Some(one) = seq.next_element()? {
                        all.push(one);
                    }
                    Ok(Tree::Array(all))
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Tree, A::Error> {
                    let mut all = Vec::new();
                    while let Some(one) = map.next_entry()? {
                        all.push(one);
                    }
                    Ok(Tree::Object(all))
                }
            }
            deserializer.deserialize_any(Visitor)
        }
    }

    /// The largest number at `path`, found in the whole of the document.
    fn largest(tree: &Tree, path: &[Box<str>]) -> Option<u64> {
        let Some((first, rest)) = path.split_first() else {
            let Tree::Leaf(value) = tree else {
                return None;
            };
            let number = value.as_f64().filter(|number| *number >= 0.0)?;
            return Some(number.ceil() as u64);
        };
        match tree {
            Tree::Leaf(_) => None,
            Tree::Array(elements) => largest(elements.get(first.parse::<usize>().ok()?)?, rest),
            Tree::Object(members) => {
                let members = members.iter().filter(|(name, _)| **name == **first);
                members.filter_map(|(_, value)| largest(value, rest)).max()
            }
        }
    }

    proptest! {
        #[test]
        fn a_document_in_pieces_reads_as_by_serde_json(
            text in document(),
            at in prop_oneof![Just("a"), Just("a.b"), Just("b.0"), Just("a.1.b"), Just("a.a.a"), Just("0"), Just("1.a")],
            pieces in prop::collection::vec(1_usize..9, 0..20),
        ) {
            let tree: Tree = serde_json::from_str(&text).unwrap();
            let (path, mut reader, mut rest) = (path(at), JsonReader::new(), text.as_bytes());
            for length in pieces {
                let (piece, others) = rest.split_at(length.min(rest.len()));
                reader.read(&path, piece);
                rest = others;
            }
            reader.read(&path, rest);
            prop_assert_eq!(reader.found(), largest(&tree, path.members()), "{}", text);
        }

        #[test]
        fn any_bytes_are_survived_in_any_pieces(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\u0123abn5-. "[..])], 0..60),
            piece in 1_usize..60,
        ) {
            prop_assert_eq!(read("a.b", &bytes, piece), read("a.b", &bytes, 1));
        }
    }
}

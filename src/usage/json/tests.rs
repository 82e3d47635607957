//! The number at a path is found as a whole JSON parser finds it, in pieces of any
//! length and in bounded memory.

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
    let text =
        r#"{"\u0075s\u0061ge":{"t\/":3,"\"":4,"\ud83d\ude00":5,"\n":6,"\ud83d":7,"\ud83dx":8}}"#;
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
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Tree::Array(all))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
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

//! Tests of blocks of fields, whole and in pieces.

use super::{
    fields::{FieldFault, MOST_ENTRIES, PADDED, PRIORITY},
    huffman::tests::short,
    *,
};

const FIELD: u8 = 0x40;

fn frame(kind: u8, length: usize, flags: u8, stream: u32) -> FrameHead {
    FrameHead {
        length,
        kind,
        flags,
        stream,
    }
}

/// A literal field with a spelled name, or the static one of `:path`, which
/// is added to the table.
fn literal(name: &str, value: &str, is_huffman: bool) -> Vec<u8> {
    let text = |text: &str| {
        let bytes = if is_huffman {
            short(text)
        } else {
            text.as_bytes().to_vec()
        };
        [
            vec![bytes.len() as u8 | if is_huffman { 0x80 } else { 0 }],
            bytes,
        ]
        .concat()
    };
    if name == ":path" {
        [vec![0x44], text(value)].concat()
    } else {
        [vec![FIELD], text(name), text(value)].concat()
    }
}

fn sent(blocks: &mut Blocks, stream: u32, block: &[u8]) -> (Option<FieldFault>, Vec<u8>) {
    let mut bytes = block.to_vec();
    blocks.frame(frame(HEADERS, block.len(), END_HEADERS, stream));
    blocks.payload(0..block.len());
    assert_eq!(blocks.look(&mut bytes), block.len());
    (blocks.take(stream), bytes)
}

fn fault(block: &[u8]) -> Option<FieldFault> {
    sent(&mut Blocks::default(), 1, block).0
}

#[test]
fn a_fragment_is_found_in_either_code() {
    for is_huffman in [false, true] {
        for text in [
            "/#", "/a#a", "#", "/@#", "/~~{#x", "/a?x#", "/ZZZ#", "/x\\#a",
        ] {
            assert_eq!(
                fault(&literal(":path", text, is_huffman)),
                Some(FieldFault::Fragment),
                "{text}"
            );
            assert_eq!(
                fault(&literal("a", text, is_huffman)),
                None,
                "{text}: any value may hold it"
            );
        }
        for text in ["/", "/a@a", "/@@", "/~{~", "/ZZ@a?@", "/{{{{", "/a\\\\@"] {
            assert_eq!(fault(&literal(":path", text, is_huffman)), None, "{text}");
        }
    }
}

#[test]
fn what_is_faulty_is_put_right_and_noted() {
    for is_huffman in [false, true] {
        for (name, value, kind) in [
            ("X-A", "b", FieldFault::Name),
            ("aB", "\0", FieldFault::Name),
            ("a b", "", FieldFault::Name),
            ("a{", "", FieldFault::Name),
            ("a", "b\0", FieldFault::Control),
            ("a", "b\n", FieldFault::Control),
            (":path", "/\r", FieldFault::Control),
        ] {
            let block = [&b"\x82\x86"[..], &literal(name, value, is_huffman), b"\x84"].concat();
            let mut blocks = Blocks::default();
            let (fault, right) = sent(&mut blocks, 1, &block);
            assert_eq!(
                (fault, right.len()),
                (Some(kind), block.len()),
                "{name} {value:?}"
            );
            assert_eq!(blocks.take(1), None, "it is forgotten");
            assert_eq!(
                sent(&mut Blocks::default(), 1, &right).0,
                None,
                "{name} {value:?}"
            );
        }
    }
    assert_eq!(
        sent(&mut Blocks::default(), 1, &literal("X-a", "b\x1f", false)).1,
        literal("x-a", "b!", false)
    );
}

#[test]
fn a_path_is_known_by_each_of_its_names() {
    for name in [
        &b"\x04"[..],
        b"\x05",
        b"\x14",
        b"\x44",
        b"\x00\x05:path",
        b"\x40\x84\xb9\x58\xd3\x3f",
    ] {
        for before in [
            &b"\x82\x86"[..],
            b"\x20\x3f\xe1\x1f\x82\x87\x41\x01a",
            b"\x00\x01a\x01#",
        ] {
            assert_eq!(
                fault(&[before, name, b"\x02/#"].concat()),
                Some(FieldFault::Fragment),
                "{before:?} {name:?}"
            );
        }
    }
    for broken in [
        &b"\x44"[..],
        b"\x44\x7f",
        b"\x44\x05/#",
        b"\x7f\xff\xff\xff\xff\xff\xff",
        b"\xff",
        b"\0",
    ] {
        assert_eq!(fault(broken), None, "{broken:?}");
    }
}

#[test]
fn a_field_from_the_table_has_its_fault_still() {
    let mut blocks = Blocks::default();
    let first = [literal(":path", "/#", false), literal("a", "b", false)].concat();
    assert_eq!(sent(&mut blocks, 1, &first).0, Some(FieldFault::Fragment));
    assert_eq!(
        sent(&mut blocks, 3, b"\x82\x86\xbf").0,
        Some(FieldFault::Fragment),
        "one entry is newer"
    );
    assert_eq!(
        sent(&mut blocks, 5, b"\x82\x86\xbe\x84").0,
        None,
        "the newest one is sound"
    );
    assert_eq!(
        sent(&mut blocks, 7, b"\x0f\x30\x02/#").0,
        Some(FieldFault::Fragment),
        "its name with another value"
    );
    assert_eq!(sent(&mut blocks, 9, b"\x0f\x30\x02/a").0, None);
    assert_eq!(
        sent(&mut blocks, 11, &literal("A", "b", true)).0,
        Some(FieldFault::Name)
    );
    assert_eq!(
        sent(&mut blocks, 13, b"\x0f\x2f\x01c").0,
        Some(FieldFault::Name),
        "its name with another value"
    );
    for stream in (15..15 + 2 * MOST_ENTRIES as u32).step_by(2) {
        sent(&mut blocks, stream, &literal("a", "b", false));
    }
    assert!(
        blocks.fields.are_all_sound(),
        "what has left the table is forgotten"
    );
}

#[test]
fn a_block_is_read_when_it_is_whole_with_padding_and_priority() {
    let block = [&b"\x82\x86"[..], &literal("a", "\0", false)].concat();
    let right = [&b"\x82\x86"[..], &literal("a", "!", false)].concat();
    let padded = |block: &[u8]| [&b"\x03\0\0\0\0\x10"[..], block, b"\0\0\0"].concat();
    for size in 1..=padded(&block).len() {
        let (mut blocks, bytes) = (Blocks::default(), padded(&block));
        blocks.frame(frame(
            HEADERS,
            bytes.len(),
            END_HEADERS | PADDED | PRIORITY,
            1,
        ));
        let mut here = b"before".to_vec();
        for (at, piece) in bytes.chunks(size).enumerate() {
            blocks.payload(here.len()..here.len() + piece.len());
            here.extend_from_slice(piece);
            let held_from = blocks.look(&mut here);
            if here.len() - held_from > 0 {
                assert_eq!(held_from, if at == 0 { 6 } else { 0 }, "{size}");
                here.drain(..held_from);
            }
        }
        assert_eq!(blocks.take(1), Some(FieldFault::Control), "{size}");
        assert!(here.ends_with(&padded(&right)), "{size}");
    }
    for size in 1..block.len() {
        let mut blocks = Blocks::default();
        let mut bytes = [&block[..size], b"the head", &block[size..]].concat();
        blocks.frame(frame(HEADERS, size, 0, 1));
        blocks.payload(0..size);
        blocks.frame(frame(CONTINUATION, block.len() - size, END_HEADERS, 1));
        blocks.payload(size + 8..bytes.len());
        assert_eq!(blocks.look(&mut bytes), bytes.len());
        assert_eq!(blocks.take(1), Some(FieldFault::Control), "{size}");
        assert_eq!(
            bytes,
            [&right[..size], b"the head", &right[size..]].concat()
        );
    }
}

#[test]
fn nothing_is_held_back_that_is_no_block() {
    let mut blocks = Blocks::default();
    blocks.frame(frame(HEADERS, 3, 0, 1));
    blocks.payload(0..3);
    assert_eq!(blocks.look(&mut [0; 3]), 0, "more is to come");
    blocks.frame(frame(0, 5, 0, 1));
    blocks.payload(3..8);
    assert_eq!(blocks.look(&mut [0; 8]), 8, "another frame comes");
    blocks.frame(frame(HEADERS, MOST_BYTES + 1, END_HEADERS, 1));
    blocks.payload(0..3);
    blocks.fields.note_entry(FieldFault::Name);
    assert_eq!(blocks.look(&mut [0; 3]), 3, "it is too long");
    assert!(
        blocks.fields.are_all_sound(),
        "indices are not known any more"
    );
    blocks.frame(frame(HEADERS, 1, 0, 1));
    (0..MOST_FRAMES).for_each(|_| blocks.frame(frame(CONTINUATION, 0, 0, 1)));
    assert_eq!(blocks.look(&mut [0; 1]), 1, "it goes on and on");
    blocks.frame(frame(HEADERS, 0, END_HEADERS, 3));
    assert_eq!(blocks.look(&mut []), 0);
    assert!(blocks.open.is_none());
}

#[test]
fn trailers_are_left_as_they_are_and_counted() {
    let mut blocks = Blocks::default();
    sent(&mut blocks, 1, b"\x82\x86\x84");
    let trailers = literal("X-A", "b", false);
    assert_eq!(sent(&mut blocks, 1, &trailers), (None, trailers));
    sent(&mut blocks, 3, &literal("X-B", "c", false));
    sent(&mut blocks, 3, &literal("x-t", "1", false));
    assert_eq!(
        sent(&mut blocks, 5, b"\xbe").0,
        None,
        "the field of the trailers"
    );
    assert_eq!(
        sent(&mut blocks, 7, b"\xbf").0,
        Some(FieldFault::Name),
        "the one before"
    );
}

#[test]
fn what_is_kept_is_bounded() {
    let mut blocks = Blocks::default();
    for stream in 1..1000 {
        let mut block = literal(":path", "/#", false);
        blocks.frame(frame(HEADERS, block.len(), END_HEADERS, stream));
        blocks.payload(0..block.len());
        blocks.look(&mut block);
    }
    assert_eq!(
        (blocks.streams.len(), blocks.fields.faulty_entries()),
        (MOST_STREAMS, MOST_ENTRIES)
    );
    assert_eq!(
        blocks.take(999),
        Some(FieldFault::Fragment),
        "the newest are known"
    );
}

//! Blocks of fields, before the library reads them (RFC 7541): what it takes
//! off unsaid, and what it ends a whole connection for though it is the fault
//! of one stream (RFC 9113, 8.1.1).
//!
//! A fragment of `:path` is gone before anybody sees it. Characters that no
//! name or value may hold (RFC 9113, 8.2.1) are put right in their place, by
//! bytes of the same length, so that both ends keep the same table of fields.
//! Either way the stream is noted, whose request is refused when it is taken.
//!
//! The library gets a block when all of it is here, so that it does not matter
//! how it is cut on its way. No table of fields is kept: only the places of
//! faulty ones are known. Blocks that are longer than the usual frame are left
//! as they are, and so are faulty trailers, whose request is on its way: the
//! library ends the connection then.

mod huffman;
mod read;

use std::ops::Range;

use self::read::{Holds, Rest};
use crate::http2::frames::{
    FrameHead,
    kind::{CONTINUATION, HEADERS},
};

/// Flags of HEADERS (RFC 9113, 6.2).
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Bytes of a stream's priority.
const PRIORITY_LENGTH: usize = 5;

/// Longest block that is read, and kept until it is whole: the usual longest
/// frame.
const MOST_BYTES: usize = 16 * 1024;
/// Most frames of a block that is kept: fewer than the library takes for a
/// flood.
const MOST_FRAMES: usize = 4;
/// Entries of a table of the usual size, each of 32 bytes at least (RFC 7541, 4.1):
/// older ones are gone.
const MOST_ENTRIES: usize = 4096 / 32;
/// Streams that are noted until their request is taken: more than begin between
/// two looks at a connection.
const MOST_STREAMS: usize = 256;

/// Indices of `:path` in the static table, and the first one of the dynamic
/// table.
const PATHS: [usize; 2] = [4, 5];
const FIRST_DYNAMIC: usize = 62;
const PATH: &[u8] = b":path";
const PATH_BY_HUFFMAN: &[u8] = b"\xb9\x58\xd3\x3f";

/// A reason for which a request is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its `:path` has a fragment.
    Fragment,
    /// The name of a field holds what none may, such as letters in upper case.
    Name,
    /// The value of a field holds a control character.
    Control,
}

/// A frame of a block, or a further piece of one, in the bytes that were
/// received.
#[derive(Debug, Clone)]
struct Part {
    head: FrameHead,
    /// Where its bytes are.
    at: Range<usize>,
    /// It begins here.
    begins: bool,
}

/// The blocks of one connection, and the faults among them.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Parts that were received and not looked at.
    parts: Vec<Part>,
    /// The current frame, if it is part of a block.
    current: Option<FrameHead>,
    /// The block that is not whole yet.
    open: Option<Open>,
    /// Where its bytes are.
    pieces: Vec<Range<usize>>,
    /// Where the dynamic table has faulty fields, from its newest entry on.
    entries: Vec<(usize, Fault)>,
    /// Streams whose requests are malformed.
    streams: Vec<(u32, Fault)>,
    /// The newest stream.
    newest: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    stream: u32,
    /// Those of its HEADERS frame.
    flags: u8,
    is_request: bool,
    /// Its frames so far, and their bytes.
    frames: usize,
    length: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// The block ends with it.
    ends: bool,
}

impl Blocks {
    /// A frame begins.
    pub(super) fn frame(&mut self, head: FrameHead) {
        let current = matches!(head.kind, HEADERS | CONTINUATION).then_some(head);
        if current.is_some() || self.current.is_some() {
            self.parts.push(Part {
                head,
                at: 0..0,
                begins: true,
            });
        }
        self.current = current;
    }

    /// These of the received bytes are behind its head.
    pub(super) fn payload(&mut self, at: Range<usize>) {
        let Some(head) = self.current else { return };
        match self.parts.last_mut() {
            Some(part) if part.at.is_empty() => part.at = at,
            _ => self.parts.push(Part {
                head,
                at,
                begins: false,
            }),
        }
    }

    /// Looks at what was noted of `bytes`. Returns where a block begins that is
    /// not whole yet: what is received next is noted as if it stood behind
    /// that.
    pub(super) fn look(&mut self, bytes: &mut [u8]) -> usize {
        if self.parts.is_empty() && self.pieces.is_empty() {
            return bytes.len();
        }
        for next in 0..self.parts.len() {
            let Some(Part { head, at, begins }) = self.parts.get(next).cloned() else {
                break;
            };
            let is_one = begins
                && head.kind == HEADERS
                && head.flags & END_HEADERS != 0
                && at.len() == head.length;
            if is_one && head.length <= MOST_BYTES {
                // Nearly all: a block of one frame, all of which is here.
                self.open = None;
                self.pieces.clear();
                let is_request = self.is_request(head.stream);
                let fault = self.block(
                    head.flags,
                    is_request,
                    bytes.get_mut(at).unwrap_or_default(),
                );
                self.note(head.stream, fault);
                continue;
            }
            if begins {
                self.begin(head);
            }
            if !at.is_empty() {
                self.go_on(at);
            }
            if let Some(open) = self.open.filter(|open| open.left == 0 && open.ends) {
                self.whole(open, bytes);
                self.open = None;
                self.pieces.clear();
            }
        }
        self.parts.clear();
        let begin = self.pieces.first().map_or(bytes.len(), |piece| piece.start);
        self.pieces
            .iter_mut()
            .for_each(|piece| *piece = piece.start - begin..piece.end - begin);
        begin
    }

    /// Whether any stream is noted.
    pub(super) fn are_any_noted(&self) -> bool {
        !self.streams.is_empty()
    }

    /// The fault of this stream's request; forgets it.
    pub(super) fn take(&mut self, stream: u32) -> Option<Fault> {
        let at = self
            .streams
            .iter()
            .position(|(known, _)| *known == stream)?;
        Some(self.streams.remove(at).1)
    }

    fn begin(
        &mut self,
        FrameHead {
            kind,
            flags,
            length,
            stream,
        }: FrameHead,
    ) {
        let before = self.open.take();
        let open = match kind {
            HEADERS => {
                let is_request = self.is_request(stream);
                self.pieces.clear();
                Some(Open {
                    stream,
                    flags,
                    is_request,
                    frames: 0,
                    length: 0,
                    left: 0,
                    ends: false,
                })
            }
            CONTINUATION => before.filter(|open| open.stream == stream),
            _ => None,
        };
        // Anything else amid a block is for the library to refuse, as is a
        // block that goes on for too long.
        self.open = open.and_then(|open| {
            let (frames, whole) = (open.frames + 1, open.length + length);
            let ends = flags & END_HEADERS != 0;
            let is_kept = frames <= MOST_FRAMES && whole <= MOST_BYTES;
            if !is_kept {
                // Nobody reads what it adds to the table, which places of
                // others depend on.
                self.entries.clear();
            }
            is_kept.then_some(Open {
                frames,
                length: whole,
                left: length,
                ends,
                ..open
            })
        });
        if self.open.is_none() {
            self.pieces.clear();
        }
    }

    fn go_on(&mut self, at: Range<usize>) {
        let Some(open) = &mut self.open else { return };
        open.left -= at.len().min(open.left);
        match self.pieces.last_mut() {
            Some(last) if last.end == at.start => last.end = at.end,
            _ => self.pieces.push(at),
        }
    }

    /// Whether a block on this stream begins a request; it is trailers
    /// otherwise.
    fn is_request(&mut self, stream: u32) -> bool {
        let is_new = stream > self.newest;
        self.newest = self.newest.max(stream);
        is_new
    }

    fn whole(
        &mut self,
        Open {
            stream,
            flags,
            is_request,
            ..
        }: Open,
        bytes: &mut [u8],
    ) {
        let pieces = std::mem::take(&mut self.pieces);
        let fault = match &pieces[..] {
            [] => None,
            [piece] => self.block(
                flags,
                is_request,
                bytes.get_mut(piece.clone()).unwrap_or_default(),
            ),
            pieces => {
                let piece = |at: &Range<usize>| bytes.get(at.clone()).unwrap_or_default().to_vec();
                let mut block = pieces.iter().flat_map(piece).collect::<Vec<_>>();
                let fault = self.block(flags, is_request, &mut block);
                let places = pieces.iter().flat_map(|piece| piece.clone());
                for (at, byte) in places.zip(block) {
                    bytes
                        .get_mut(at)
                        .into_iter()
                        .for_each(|place| *place = byte);
                }
                fault
            }
        };
        self.pieces = pieces;
        self.note(stream, fault);
    }

    fn note(&mut self, stream: u32, fault: Option<Fault>) {
        if let Some(fault) = fault {
            // The oldest never became requests: the library has refused them
            // for something else.
            let beyond = (self.streams.len() + 1).saturating_sub(MOST_STREAMS);
            self.streams.drain(..beyond);
            self.streams.push((stream, fault));
        }
    }

    fn block(&mut self, flags: u8, is_request: bool, block: &mut [u8]) -> Option<Fault> {
        // A request that is like others is made of fields from the table alone,
        // as each byte tells.
        if flags & (PADDED | PRIORITY) == 0
            && self.entries.is_empty()
            && block.iter().all(|byte| *byte >= 0x80)
        {
            return None;
        }
        let padding = if flags & PADDED != 0 {
            block.first().copied().map_or(0, usize::from)
        } else {
            0
        };
        let begin = usize::from(flags & PADDED != 0)
            + if flags & PRIORITY != 0 {
                PRIORITY_LENGTH
            } else {
                0
            };
        let end = block.len().saturating_sub(padding);
        let fields = block.get_mut(begin..end).unwrap_or_default();
        if is_request {
            return self.fields(fields);
        }
        if !self.entries.is_empty() {
            // Read for what is added to the table, and left as it is.
            self.fields(&mut fields.to_vec());
        }
        None
    }

    /// Puts right what is faulty of these fields, and says what was.
    fn fields(&mut self, block: &mut [u8]) -> Option<Fault> {
        let mut fault = None;
        let mut rest = Rest { block, at: 0 };
        while let Some(first) = rest.first() {
            // Fields from the table are nearly all, and sound where nothing in
            // it is faulty.
            if (0x80..0xff).contains(&first) && self.entries.is_empty() {
                rest.at += 1;
                continue;
            }
            let bits = match first {
                0x80.. => 7,
                0x40.. => 6,
                0x20.. => 5,
                _ => 4,
            };
            let Some(index) = rest.integer(bits) else {
                break;
            };
            match bits {
                7 => fault = fault.or(self.entry(index)),
                5 => {}
                _ => {
                    let Some(found) = self.literal(index, &mut rest) else {
                        break;
                    };
                    fault = fault.or(found);
                    if bits == 6 && (found.is_some() || !self.entries.is_empty()) {
                        self.added(found);
                    }
                }
            }
        }
        fault
    }

    /// Takes a field whose name has this index, or is spelled if that is 0;
    /// `None` if it cannot be read.
    fn literal(&self, index: usize, rest: &mut Rest<'_>) -> Option<Option<Fault>> {
        let of_name = self.entry(index);
        let (is_path, is_wrong) = if index == 0 {
            let name = rest.text()?;
            let known = if name.is_huffman {
                PATH_BY_HUFFMAN
            } else {
                PATH
            };
            (*name.bytes == *known, name.repair_name())
        } else {
            (
                PATHS.contains(&index) || of_name == Some(Fault::Fragment),
                of_name == Some(Fault::Name),
            )
        };
        let value = rest.text()?;
        let holds = value.repair_value();
        Some(match holds {
            _ if is_wrong => Some(Fault::Name),
            Holds { control: true, .. } => Some(Fault::Control),
            Holds { fragment: true, .. } if is_path => Some(Fault::Fragment),
            Holds { .. } => None,
        })
    }

    /// The fault of an entry of the table.
    fn entry(&self, index: usize) -> Option<Fault> {
        let known = self
            .entries
            .iter()
            .find(|(entry, _)| FIRST_DYNAMIC + entry == index);
        known.map(|(_, fault)| *fault)
    }

    /// The table has one entry more, the newest.
    fn added(&mut self, fault: Option<Fault>) {
        self.entries.iter_mut().for_each(|(entry, _)| *entry += 1);
        self.entries.retain(|(entry, _)| *entry < MOST_ENTRIES);
        self.entries.extend(fault.map(|fault| (0, fault)));
    }
}

#[cfg(test)]
mod tests {
    use super::{huffman::tests::short, *};

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

    fn sent(blocks: &mut Blocks, stream: u32, block: &[u8]) -> (Option<Fault>, Vec<u8>) {
        let mut bytes = block.to_vec();
        blocks.frame(frame(HEADERS, block.len(), END_HEADERS, stream));
        blocks.payload(0..block.len());
        assert_eq!(blocks.look(&mut bytes), block.len());
        (blocks.take(stream), bytes)
    }

    fn fault(block: &[u8]) -> Option<Fault> {
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
                    Some(Fault::Fragment),
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
                ("X-A", "b", Fault::Name),
                ("aB", "\0", Fault::Name),
                ("a b", "", Fault::Name),
                ("a{", "", Fault::Name),
                ("a", "b\0", Fault::Control),
                ("a", "b\n", Fault::Control),
                (":path", "/\r", Fault::Control),
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
                    Some(Fault::Fragment),
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
        assert_eq!(sent(&mut blocks, 1, &first).0, Some(Fault::Fragment));
        assert_eq!(
            sent(&mut blocks, 3, b"\x82\x86\xbf").0,
            Some(Fault::Fragment),
            "one entry is newer"
        );
        assert_eq!(
            sent(&mut blocks, 5, b"\x82\x86\xbe\x84").0,
            None,
            "the newest one is sound"
        );
        assert_eq!(
            sent(&mut blocks, 7, b"\x0f\x30\x02/#").0,
            Some(Fault::Fragment),
            "its name with another value"
        );
        assert_eq!(sent(&mut blocks, 9, b"\x0f\x30\x02/a").0, None);
        assert_eq!(
            sent(&mut blocks, 11, &literal("A", "b", true)).0,
            Some(Fault::Name)
        );
        assert_eq!(
            sent(&mut blocks, 13, b"\x0f\x2f\x01c").0,
            Some(Fault::Name),
            "its name with another value"
        );
        for stream in (15..15 + 2 * MOST_ENTRIES as u32).step_by(2) {
            sent(&mut blocks, stream, &literal("a", "b", false));
        }
        assert!(
            blocks.entries.is_empty(),
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
            assert_eq!(blocks.take(1), Some(Fault::Control), "{size}");
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
            assert_eq!(blocks.take(1), Some(Fault::Control), "{size}");
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
        blocks.entries.push((0, Fault::Name));
        assert_eq!(blocks.look(&mut [0; 3]), 3, "it is too long");
        assert!(blocks.entries.is_empty(), "places are not known any more");
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
            Some(Fault::Name),
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
            (blocks.streams.len(), blocks.entries.len()),
            (MOST_STREAMS, MOST_ENTRIES)
        );
        assert_eq!(
            blocks.take(999),
            Some(Fault::Fragment),
            "the newest are known"
        );
    }
}

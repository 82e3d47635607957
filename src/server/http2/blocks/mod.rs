//! Blocks of fields (RFC 7541) as they are received, looked at before h2 reads
//! them.
//!
//! h2 hides two things that the gateway has to see. It removes a fragment from
//! `:path` without telling, and it ends a whole connection for a field that is
//! the fault of one stream only (RFC 9113, 8.1.1, permits to end the stream).
//! So faulty fields are found here, repaired in their place, and noted for
//! their stream, whose request is refused when it is accepted.
//!
//! * This file collects blocks: a block may come in several frames, and a frame
//!   in several reads.
//! * `fields` checks and repairs the fields of a whole block.
//! * `read` reads integers and strings, `huffman` strings in Huffman code.
//!
//! h2 gets a block when all of it is here, so that it does not matter how it is
//! cut on its way.
//!
//! # Bounds
//!
//! A block of more than 16 KiB or four frames is not kept: h2 reads it as it
//! comes, and ends the connection if it is faulty. At most 256 streams are
//! noted.

mod fields;
mod huffman;
mod read;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::fields::FieldChecker;
pub(super) use self::fields::FieldFault;
use crate::http2::frames::{
    FrameHead,
    kind::{CONTINUATION, HEADERS},
};

/// The flag of the last frame of a block (RFC 9113, 6.2).
const END_HEADERS: u8 = 0x4;

/// Longest block that is checked, and kept until it is whole: the usual longest
/// frame.
const MOST_BYTES: usize = 16 * 1024;
/// Most frames of a block that is kept: fewer than h2 takes for a flood.
const MOST_FRAMES: usize = 4;
/// Streams that are noted until their request is accepted: more than begin
/// between two looks at a connection.
const MOST_STREAMS: usize = 256;

/// A frame of a block, or a further piece of one, in the bytes that were
/// received.
#[derive(Debug, Clone)]
struct BlockPart {
    head: FrameHead,
    /// The range of its bytes.
    at: Range<usize>,
    /// Whether the frame begins with it.
    begins: bool,
}

impl BlockPart {
    /// Whether it is a whole block, as nearly all are, and not too long.
    fn is_block(&self) -> bool {
        let FrameHead {
            kind,
            flags,
            length,
            ..
        } = self.head;
        let is_whole_frame = self.begins && self.at.len() == length;
        is_whole_frame && kind == HEADERS && flags & END_HEADERS != 0 && length <= MOST_BYTES
    }
}

/// A stream whose request is malformed.
#[derive(Debug)]
struct FaultyStream {
    stream: u32,
    fault: FieldFault,
}

/// The blocks of one connection, and the faults among them.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Parts that were received and not yet looked at.
    parts: Vec<BlockPart>,
    /// The current frame, if it is part of a block.
    current: Option<FrameHead>,
    /// The block that is not whole yet.
    open: Option<OpenBlock>,
    /// The ranges of its bytes.
    pieces: Vec<Range<usize>>,
    fields: FieldChecker,
    /// Streams whose requests are malformed, in the order of their blocks.
    streams: Vec<FaultyStream>,
    /// The newest stream.
    newest: u32,
}

/// A block of which more is to come.
#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    stream: u32,
    /// The flags of its HEADERS frame.
    flags: u8,
    is_request: bool,
    /// Frames so far.
    frames: usize,
    /// Bytes of these frames.
    length: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// Whether the block ends with the current frame.
    ends: bool,
}

impl Blocks {
    /// Notes that a frame begins.
    pub(super) fn frame(&mut self, head: FrameHead) {
        let current = matches!(head.kind, HEADERS | CONTINUATION).then_some(head);
        if current.is_some() || self.current.is_some() {
            self.parts.push(BlockPart {
                head,
                at: 0..0,
                begins: true,
            });
        }
        self.current = current;
    }

    /// Notes that the bytes `at` are payload of the current frame.
    pub(super) fn payload(&mut self, at: Range<usize>) {
        let Some(head) = self.current else { return };
        match self.parts.last_mut() {
            Some(part) if part.at.is_empty() => part.at = at,
            _ => self.parts.push(BlockPart {
                head,
                at,
                begins: false,
            }),
        }
    }

    /// Checks and repairs the blocks that were noted in `bytes`. Returns the
    /// offset at which a block begins that is not whole yet, or the length of
    /// `bytes`. The ranges of the next call count from there.
    pub(super) fn look(&mut self, bytes: &mut [u8]) -> usize {
        if self.parts.is_empty() && self.pieces.is_empty() {
            return bytes.len();
        }
        let mut parts = std::mem::take(&mut self.parts);
        for part in parts.drain(..) {
            self.look_at(part, bytes);
        }
        // The allocation is kept for the next blocks.
        self.parts = parts;
        let begin = self.pieces.first().map_or(bytes.len(), |piece| piece.start);
        for piece in &mut self.pieces {
            *piece = piece.start - begin..piece.end - begin;
        }
        begin
    }

    /// Whether any stream is noted.
    pub(super) fn are_any_noted(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Takes the fault of this stream's request, if it has one.
    pub(super) fn take(&mut self, stream: u32) -> Option<FieldFault> {
        let at = self
            .streams
            .iter()
            .position(|noted| noted.stream == stream)?;
        Some(self.streams.remove(at).fault)
    }

    fn look_at(&mut self, part: BlockPart, bytes: &mut [u8]) {
        let is_block = part.is_block();
        let BlockPart { head, at, begins } = part;
        if is_block {
            self.close();
            let is_request = self.is_request(head.stream);
            let block = bytes.get_mut(at).unwrap_or_default();
            let fault = self.fields.check(head.flags, is_request, block);
            return self.note(head.stream, fault);
        }
        if begins {
            self.begin(head);
        }
        if !at.is_empty() {
            self.extend(at);
        }
        if let Some(open) = self.open.filter(|open| open.left == 0 && open.ends) {
            let fault = self.check(open, bytes);
            self.note(open.stream, fault);
            self.close();
        }
    }

    /// Begins a block, or goes on with the open one, by the frame with this
    /// head.
    fn begin(&mut self, head: FrameHead) {
        let before = match head.kind {
            HEADERS => {
                self.close();
                Some(OpenBlock {
                    stream: head.stream,
                    flags: head.flags,
                    is_request: self.is_request(head.stream),
                    frames: 0,
                    length: 0,
                    left: 0,
                    ends: false,
                })
            }
            CONTINUATION => self.open.filter(|open| open.stream == head.stream),
            // Any other frame amid a block is for h2 to refuse.
            _ => None,
        };
        let Some(before) = before else {
            return self.close();
        };
        let (frames, length) = (before.frames + 1, before.length + head.length);
        if frames > MOST_FRAMES || length > MOST_BYTES {
            // The block is not checked, and so neither is anything that it adds
            // to the table.
            self.fields.forget();
            return self.close();
        }
        self.open = Some(OpenBlock {
            frames,
            length,
            left: head.length,
            ends: head.flags & END_HEADERS != 0,
            ..before
        });
    }

    /// Adds the bytes `at` to the open block.
    fn extend(&mut self, at: Range<usize>) {
        let Some(open) = &mut self.open else { return };
        open.left -= at.len().min(open.left);
        match self.pieces.last_mut() {
            Some(last) if last.end == at.start => last.end = at.end,
            _ => self.pieces.push(at),
        }
    }

    /// Forgets the open block, because it is whole or not kept.
    fn close(&mut self) {
        self.open = None;
        self.pieces.clear();
    }

    /// Checks and repairs a block that is whole. One in several pieces is put
    /// together for that, and repaired piece by piece.
    fn check(&mut self, open: OpenBlock, bytes: &mut [u8]) -> Option<FieldFault> {
        let OpenBlock {
            flags, is_request, ..
        } = open;
        if let [piece] = &self.pieces[..] {
            let block = bytes.get_mut(piece.clone()).unwrap_or_default();
            return self.fields.check(flags, is_request, block);
        }
        let mut block = Vec::with_capacity(open.length);
        for piece in &self.pieces {
            block.extend_from_slice(bytes.get(piece.clone()).unwrap_or_default());
        }
        let fault = self.fields.check(flags, is_request, &mut block);
        let mut repaired = &block[..];
        for piece in &self.pieces {
            let place = bytes.get_mut(piece.clone()).unwrap_or_default();
            let (now, later) = repaired.split_at(place.len());
            place.copy_from_slice(now);
            repaired = later;
        }
        fault
    }

    /// Whether a block on this stream begins a request; it is trailers
    /// otherwise.
    fn is_request(&mut self, stream: u32) -> bool {
        let is_new = stream > self.newest;
        self.newest = self.newest.max(stream);
        is_new
    }

    fn note(&mut self, stream: u32, fault: Option<FieldFault>) {
        let Some(fault) = fault else { return };
        // The oldest never became requests: h2 has refused them for something
        // else.
        if self.streams.len() == MOST_STREAMS {
            self.streams.remove(0);
        }
        self.streams.push(FaultyStream { stream, fault });
    }
}

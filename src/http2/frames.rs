//! Frames in a stream of bytes that arrives in any pieces: found by the nine
//! bytes before each (RFC 9113, 4.1), whatever is in them.
//!
//! h2 decodes frames itself and tells little about them, so the code around it
//! watches the bytes on their way: `server::http2` to count frames that cost
//! work and to look at header blocks, `upstream::http2` for the settings of a
//! server. Nothing is decoded here, and nothing is held back.

use std::ops::Range;

/// Bytes of a frame's head: length, type, flags, stream.
const HEAD_LENGTH: usize = 9;

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    #![allow(missing_docs, reason = "names of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

/// Finds frames, and keeps the beginning of those of one kind.
#[derive(Debug)]
pub struct Frames {
    /// The head of the next frame, as far as it has arrived.
    head: [u8; HEAD_LENGTH],
    /// Bytes of `head` that have arrived.
    have: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// The kind of frame that is kept, and how many bytes of it at most.
    keep: (u8, usize),
    /// Whether the current frame is of the kind that is kept.
    is_kept: bool,
    /// Bytes that are kept and were not taken. Bounded by `keep`.
    kept: Vec<u8>,
}

/// The content of a frame's head.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    /// Bytes of the payload, at most 2^24 - 1.
    pub length: usize,
    /// See [`kind`].
    pub kind: u8,
    /// The flags, whose meaning depends on the kind.
    pub flags: u8,
    /// The stream of the frame; 0 for the connection.
    pub stream: u32,
}

/// A part of the stream of bytes.
#[derive(Debug, Clone)]
pub enum FramePiece {
    /// A frame whose head is complete.
    Head(FrameHead),
    /// A piece of a payload, or of the bytes before the first frame: its range
    /// within the bytes of the present call.
    Payload(Range<usize>),
}

impl Default for Frames {
    /// Finds frames and keeps nothing.
    fn default() -> Self {
        Self::new(0, kind::GOAWAY, 0)
    }
}

impl Frames {
    /// Skips the first `before` bytes, which are no frame (the client's
    /// preface), and keeps at most `most` bytes of frames of this kind.
    pub fn new(before: usize, kind: u8, most: usize) -> Self {
        Self {
            head: [0; HEAD_LENGTH],
            have: 0,
            left: before,
            keep: (kind, most),
            is_kept: false,
            kept: Vec::new(),
        }
    }

    /// Follows the next `bytes`, and calls `seen` for each frame whose head is
    /// complete and for each piece of a payload, in their order. Takes time in
    /// proportion to the number of frames, not of bytes.
    pub fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(FramePiece)) {
        let all = bytes.len();
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            if self.is_kept {
                let room = self.keep.1.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&bytes[..skipped.min(room)]);
            }
            if skipped > 0 {
                let at = all - bytes.len();
                seen(FramePiece::Payload(at..at + skipped));
            }
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_LENGTH - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD_LENGTH {
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.have = 0;
                self.is_kept = kind == self.keep.0;
                // The first bit is reserved (RFC 9113, 4.1).
                let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
                seen(FramePiece::Head(FrameHead {
                    length: self.left,
                    kind,
                    flags,
                    stream,
                }));
            }
        }
    }

    /// Whether the last frame is complete and the next one may begin.
    pub fn is_between(&self) -> bool {
        self.left == 0
    }

    /// Whether anything is kept that was not taken.
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Takes the bytes that were kept since the last call.
    pub fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.resize(HEAD_LENGTH + usize::from(length), 0xff);
        frame
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(frames in prop::collection::vec((0_u8..12, 0_u8..40), 0..20), cut in 1_usize..30) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, length)| frame(*kind, *length)).collect();
            let (mut found, mut payload) = (Vec::new(), 0);
            let mut scanner = Frames::new(0, kind::SETTINGS, usize::MAX);
            for piece in bytes.chunks(cut) {
                scanner.pass(piece, |seen| match seen {
                    FramePiece::Head(head) => found.push((head.kind, head.length as u8)),
                    FramePiece::Payload(at) => payload += piece[at].len(),
                });
            }
            prop_assert_eq!(payload, frames.iter().map(|(_, length)| usize::from(*length)).sum::<usize>());
            let kept: usize = frames.iter().filter(|(kind, _)| *kind == kind::SETTINGS).map(|(_, length)| usize::from(*length)).sum();
            prop_assert_eq!(scanner.take_kept().len(), kept);
            prop_assert_eq!(found, frames);
        }
    }
}

//! Memory for lines, and the pen that writes a line into it in small pieces of
//! known size.
//!
//! A line has some thirty pieces, most of them shorter than a cache line. With
//! a vector, each of them would be a call of `memcpy`, which for a dozen bytes
//! costs more than the copy, and another look at the capacity. Here the memory
//! is initialised once, and pieces are copied by a few moves of a fixed size:
//! those of a constant size, those with padding, and short ones by their two
//! ends. A line that finds no room is written again into more memory, so that
//! no piece has to make room.

use std::mem;

/// The memory of whole lines, one after the other.
#[derive(Debug, Default)]
pub(super) struct LineText {
    /// Initialised memory, of which the first `used` bytes are lines.
    memory: Vec<u8>,
    /// At most the length of `memory`.
    used: usize,
}

impl LineText {
    /// The lines.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[..self.used]
    }

    /// The bytes of all lines.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// True if there is no line.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The bytes of all memory.
    pub(super) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Forgets all lines and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Appends a text. Without room for it, the memory grows, to `least` bytes
    /// at first and to twice the size later, and `write` is called again, which
    /// must write the same then.
    pub(super) fn append(&mut self, least: usize, mut write: impl FnMut(Pen<'_>) -> Pen<'_>) {
        while !self.has_appended(&mut write) {
            self.grow(least);
        }
    }

    /// Appends a text if there is room for it.
    fn has_appended(&mut self, write: &mut impl FnMut(Pen<'_>) -> Pen<'_>) -> bool {
        let room = self.memory.get_mut(self.used..).unwrap_or_default();
        let before = room.len();
        let left = write(Pen { room }).room.len();
        if left > 0 {
            self.used += before - left;
        }
        left > 0
    }

    /// Makes more room.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, least: usize) {
        let size = least.max(self.memory.len() * 2);
        self.memory.resize(size.max(2 * AT_ONCE), 0);
    }
}

/// The size of a copy that is made at once, however much of it a piece has.
pub(super) const AT_ONCE: usize = 64;

/// Writes one text, piece by piece. A piece that finds no room takes all of it,
/// so that an empty room means that the text is not whole.
///
/// Functions that are not inlined take a pen and return it: a pen that is lent
/// would be stored before and loaded after each piece.
pub(super) struct Pen<'a> {
    /// The memory after the last piece.
    room: &'a mut [u8],
}

impl Pen<'_> {
    /// The pen, for a function that returns it. Nothing must be written until
    /// then.
    #[inline(always)]
    pub(super) fn lend(&mut self) -> Self {
        Self {
            room: mem::take(&mut self.room),
        }
    }

    /// Writes a constant.
    #[inline(always)]
    pub(super) fn constant<const N: usize>(&mut self, text: &[u8; N]) {
        self.begin_of(text, N);
    }

    /// Writes the first `length` bytes of `text`, at most `N`. All of it is
    /// copied: a copy of a fixed size needs no loop.
    #[inline(always)]
    pub(super) fn begin_of<const N: usize>(&mut self, text: &[u8; N], length: usize) {
        let room = mem::take(&mut self.room);
        if let Some(to) = room.first_chunk_mut() {
            *to = *text;
            self.room = &mut room[length.min(N)..];
        }
    }

    /// Writes text of any length.
    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some(to) = self.take(text.len()) {
            match text.len() {
                16..=32 => copy_ends::<16>(text, to),
                8..=15 => copy_ends::<8>(text, to),
                4..=7 => copy_ends::<4>(text, to),
                0..=3 => copy_few(text, to),
                _ => to.copy_from_slice(text),
            }
        }
    }

    /// Takes the next `length` bytes of the room, to be written to.
    #[inline(always)]
    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        let (taken, room) = mem::take(&mut self.room).split_at_mut_checked(length)?;
        self.room = room;
        Some(taken)
    }
}

/// Copies `N` to `2 * N` bytes as two pieces of `N`, which overlap.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *to = *from;
    }
}

/// Copies up to three bytes, without the loop that would become a call.
#[inline(always)]
fn copy_few(from: &[u8], to: &mut [u8]) {
    match (from, to) {
        ([a], [x]) => *x = *a,
        ([a, b], [x, y]) => (*x, *y) = (*a, *b),
        ([a, b, c], [x, y, z]) => (*x, *y, *z) = (*a, *b, *c),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_length_is_written_whole() {
        let text: Vec<u8> = (0..200).collect();
        for least in [0, 1, 70, 1000] {
            let mut lines = LineText::default();
            let mut expected = Vec::new();
            for length in 0..text.len() {
                lines.append(least, |mut pen| {
                    pen.text(&text[..length]);
                    pen.constant(b"constant");
                    pen.begin_of(b"only this", 4);
                    pen
                });
                expected.extend_from_slice(&text[..length]);
                expected.extend_from_slice(b"constantonly");
            }
            assert_eq!(lines.as_slice(), expected);
        }
    }

    #[test]
    fn memory_grows_to_the_least_size_and_then_doubles_and_is_kept() {
        let mut lines = LineText::default();
        append(&mut lines, b"line");
        assert_eq!((lines.as_slice(), lines.capacity()), (&b"line"[..], 1000));
        append(&mut lines, &[b'a'; 1500]);
        assert_eq!((lines.len(), lines.capacity()), (1504, 2000));
        lines.clear();
        assert!(lines.is_empty() && lines.capacity() == 2000);
    }

    fn append(lines: &mut LineText, text: &[u8]) {
        lines.append(1000, |mut pen| {
            pen.text(text);
            pen
        });
    }
}

//! Integers and strings of a block (RFC 7541, 5), read one after the other.
//!
//! Nothing is copied or decoded. A string is a slice of the block in whichever
//! code it has, so that it can be repaired in its place.
//!
//! # Malformed blocks
//!
//! Each function returns `None` for something that is cut off or too large, and
//! the caller stops there. The position is of no use afterwards. h2 reads the
//! same bytes and ends the connection for the error, so that none is reported
//! from here.
//!
//! Every access is checked: no length that a client can send makes a function
//! leave the block, or panic.

use super::huffman::{self, Contents};

/// The part of a block that was not read yet.
pub(super) struct Unread<'b> {
    /// The whole block.
    pub(super) block: &'b mut [u8],
    /// The offset of the next byte.
    ///
    /// It may be beyond the end after a string that is cut off.
    pub(super) at: usize,
}

/// A string as it is written (RFC 7541, 5.2).
pub(super) struct HpackString<'b> {
    /// Its bytes in its code.
    pub(super) bytes: &'b mut [u8],
    /// Whether they are in Huffman code.
    pub(super) is_huffman: bool,
}

impl Unread<'_> {
    /// The next byte; `None` at the end of the block.
    #[inline]
    pub(super) fn first(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    /// Reads a byte.
    ///
    /// Widened to `usize`, in which integers are put together.
    fn byte(&mut self) -> Option<usize> {
        let byte = self.first()?;
        self.at += 1;
        Some(usize::from(byte))
    }

    /// Reads an integer of which the first byte has this many `bits` (RFC 7541,
    /// 5.1); `None` if it is cut off or has more than five bytes.
    ///
    /// The value is below 2^29, far above any index or length that fits into a
    /// block. Zeros in the last bytes are accepted.
    #[inline]
    pub(super) fn integer(&mut self, bits: u32) -> Option<usize> {
        let most = (1_usize << bits) - 1;
        let mut value = self.byte()? & most;
        if value < most {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a string; `None` if it is cut off.
    ///
    /// The first bit is the mark of Huffman code, and the other seven begin the
    /// length in bytes (RFC 7541, 5.2). The slice borrows the block, so that
    /// one string is repaired before the next is read.
    pub(super) fn text(&mut self) -> Option<HpackString<'_>> {
        let is_huffman = self.first()? & 0x80 != 0;
        let length = self.integer(7)?;
        let at = self.at;
        self.at += length;
        Some(HpackString {
            bytes: self.block.get_mut(at..at.checked_add(length)?)?,
            is_huffman,
        })
    }
}

impl HpackString<'_> {
    /// Replaces each character that no name may hold. Returns whether there was
    /// any.
    ///
    /// Each such character becomes `x`. Besides upper case these are blanks,
    /// controls, separators and everything beyond ASCII. An empty name counts
    /// as sound here.
    pub(super) fn repair_name(self) -> bool {
        if self.is_huffman {
            return huffman::repair_name(self.bytes);
        }
        // Pseudo-fields begin with a colon.
        let name = if self.bytes.first() == Some(&b':') {
            &mut self.bytes[1..]
        } else {
            self.bytes
        };
        let is_sound = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
        };
        let mut has_any = false;
        for byte in name.iter_mut().filter(|byte| !is_sound(byte)) {
            *byte = b'x';
            has_any = true;
        }
        has_any
    }

    /// Replaces each control character but tabs. Returns what the value held.
    ///
    /// Each such character becomes `!`. A `#` is reported and left in its
    /// place, because it is a fault in a path only.
    pub(super) fn repair_value(self) -> Contents {
        if self.is_huffman {
            return huffman::repair_value(self.bytes);
        }
        // Without an early end, so that the compiler can look at many bytes at
        // once.
        let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
        let control = self
            .bytes
            .iter()
            .fold(false, |any, byte| any | is_control(*byte));
        if control {
            self.bytes
                .iter_mut()
                .filter(|byte| is_control(**byte))
                .for_each(|byte| *byte = b'!');
        }
        Contents {
            control,
            fragment: memchr::memchr(b'#', self.bytes).is_some(),
        }
    }
}

//! Integers and texts of a block, read from its bytes one by one (RFC 7541, 5).

use super::huffman;

/// The part of a block that was not read yet.
pub(super) struct Rest<'b> {
    pub(super) block: &'b mut [u8],
    pub(super) at: usize,
}

/// A string as it is written (RFC 7541, 5.2).
pub(super) struct Text<'b> {
    pub(super) bytes: &'b mut [u8],
    pub(super) is_huffman: bool,
}

/// Contents of a value that may not be there, or not in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holds {
    pub(super) control: bool,
    pub(super) fragment: bool,
}

impl Rest<'_> {
    #[inline]
    pub(super) fn first(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn byte(&mut self) -> Option<usize> {
        let byte = self.first()?;
        self.at += 1;
        Some(usize::from(byte))
    }

    /// An integer whose first byte has so many bits of it (RFC 7541, 5.1).
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

    pub(super) fn text(&mut self) -> Option<Text<'_>> {
        let is_huffman = self.first()? & 0x80 != 0;
        let length = self.integer(7)?;
        let at = self.at;
        self.at += length;
        Some(Text {
            bytes: self.block.get_mut(at..at.checked_add(length)?)?,
            is_huffman,
        })
    }
}

impl Text<'_> {
    /// Puts another character in place of each that no name may hold. Whether
    /// there was any.
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
        let mut any = false;
        for byte in name.iter_mut().filter(|byte| !is_sound(byte)) {
            (*byte, any) = (b'x', true);
        }
        any
    }

    /// Puts another character in place of each control character, but for tabs.
    pub(super) fn repair_value(self) -> Holds {
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
        Holds {
            control,
            fragment: memchr::memchr(b'#', self.bytes).is_some(),
        }
    }
}

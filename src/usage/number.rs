//! A number of a JSON document, read while it passes.

/// Bytes of the longest number that is read, if it is not of digits alone.
const LONGEST: usize = 32;

/// A number as it passes.
#[derive(Debug, Default)]
pub(super) struct Number {
    /// Its value, while it is of digits only.
    whole: u64,
    /// Whether there is anything else in it.
    is_other: bool,
    /// Its beginning, and how many bytes it has.
    text: [u8; LONGEST],
    length: usize,
}

impl Number {
    /// Reads one more byte of it.
    pub(super) fn add(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' if !self.is_other => {
                self.whole = self
                    .whole
                    .saturating_mul(10)
                    .saturating_add(u64::from(byte - b'0'));
            }
            _ => self.is_other = true,
        }
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    /// Its value, rounded up, and at most [`u64::MAX`]. `None` for a negative
    /// one, for one that is too long to be read, and for a text that is no
    /// number.
    pub(super) fn value(&self) -> Option<u64> {
        if !self.is_other {
            return Some(self.whole);
        }
        let text = std::str::from_utf8(self.text.get(..self.length)?).ok()?;
        let is_number = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let number: f64 = Some(text).filter(|_| is_number)?.parse().ok()?;
        // Rounds up, and saturates.
        (number >= 0.0).then(|| number.ceil() as u64)
    }
}

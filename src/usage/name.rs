//! The name of a member, compared with the wanted one while it passes.

/// A name, compared with the wanted one as it passes.
#[derive(Debug, Default)]
pub(super) struct MemberName {
    /// Bytes that match so far.
    matched: usize,
    differs: bool,
    escape: Escape,
    /// The first half of a character in two escapes; 0 for none.
    high: u32,
}

/// How much of an escape has passed.
#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    None,
    /// A backslash.
    Begun,
    /// Some hexadecimal digits of a code.
    Code { digits: u8, code: u32 },
}

impl MemberName {
    /// Reads one byte; true if it is the quote that ends the name.
    pub(super) fn is_over(&mut self, byte: u8, wanted: &[u8]) -> bool {
        match (self.escape, byte) {
            (Escape::None, b'"') => return true,
            (Escape::None, b'\\') => self.escape = Escape::Begun,
            (Escape::None, byte) => self.compare(&[byte], wanted),
            (Escape::Begun, b'u') => self.escape = Escape::Code { digits: 0, code: 0 },
            (Escape::Begun, byte) => {
                self.escape = Escape::None;
                let meant = match byte {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                };
                self.compare(&[meant], wanted);
            }
            (Escape::Code { digits, code }, byte) => {
                let digit = char::from(byte).to_digit(16);
                self.differs |= digit.is_none();
                let code = code * 16 + digit.unwrap_or(0);
                self.escape = Escape::Code {
                    digits: digits + 1,
                    code,
                };
                if digits == 3 {
                    self.escape = Escape::None;
                    self.compare_code(code, wanted);
                }
            }
        }
        false
    }

    /// Compares the character of an escape, which may be half of one.
    fn compare_code(&mut self, code: u32, wanted: &[u8]) {
        let high = std::mem::take(&mut self.high);
        match (high, code) {
            (0, 0xD800..=0xDBFF) => self.high = code,
            (0, code) => self.compare_char(code, wanted),
            (high, 0xDC00..=0xDFFF) => {
                self.compare_char(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00), wanted);
            }
            _ => self.differs = true,
        }
    }

    /// Compares one character.
    fn compare_char(&mut self, code: u32, wanted: &[u8]) {
        match char::from_u32(code) {
            Some(char) => self.compare(char.encode_utf8(&mut [0; 4]).as_bytes(), wanted),
            None => self.differs = true,
        }
    }

    /// Compares further bytes of the name.
    fn compare(&mut self, bytes: &[u8], wanted: &[u8]) {
        let rest = wanted.get(self.matched..).unwrap_or_default();
        self.differs |= self.high != 0 || !rest.starts_with(bytes);
        if !self.differs {
            self.matched += bytes.len();
        }
    }

    /// Whether the name that is over is the wanted one.
    pub(super) fn matches(&self, wanted: &[u8]) -> bool {
        !self.differs && self.high == 0 && self.matched == wanted.len()
    }
}

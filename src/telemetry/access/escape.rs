//! Text that a client chose, written so that it can neither end the line nor
//! begin a field.
//!
//! The text between quotes is always the inside of a valid JSON string (RFC
//! 8259, 7), in both formats: readers of `key=value` pairs know the same
//! escapes. Bytes that are not UTF-8 become U+FFFD. Beyond the characters that
//! JSON has to escape, those are escaped that can deceive a person at a
//! terminal: controls, the line separators U+2028 and U+2029, and the marks
//! that turn the direction of text (bidirectional text spoofing, Unicode TR36).
//!
//! Nearly all text needs no escape, so it is searched eight bytes at a time and
//! copied as a whole.

/// Written after a value that was cut.
const CUT: &str = "…";

/// Appends `text` as the inside of a JSON string. Of a longer text, the first
/// `longest` bytes are written, cut between characters, and `…` after them. An
/// escaped byte takes at most six bytes.
///
/// The fast path copies printable ASCII without quotes and backslashes. All
/// other text goes character by character: valid characters that are harmless
/// stay as they are, in any script.
pub(super) fn escape(text: &[u8], longest: usize, out: &mut Vec<u8>) {
    let kept = cut(text, longest);
    if is_printable_without(kept, *b"\"\\") {
        out.extend_from_slice(kept);
    } else {
        for chunk in kept.utf8_chunks() {
            escape_str(chunk.valid(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    if kept.len() < text.len() {
        out.extend_from_slice(CUT.as_bytes());
    }
}

/// Whether text needs no quotes in a line of `key=value` pairs: it is printable
/// ASCII without quotes, backslash, `=` and blank, and not empty.
///
/// An empty value is not bare, so that it is written as `""` and not as
/// nothing.
pub(super) fn is_bare(text: &[u8]) -> bool {
    !text.is_empty() && is_printable_without(text, *b"\"\\= ")
}

/// Whether text is printable ASCII and has none of `unwanted`. Checks eight
/// bytes at a time.
fn is_printable_without<const N: usize>(text: &[u8], unwanted: [u8; N]) -> bool {
    match text.last_chunk() {
        Some(last) => {
            // The last eight bytes overlap with those before them.
            let mut strange = strange_bytes(u64::from_le_bytes(*last), unwanted);
            for word in text.as_chunks().0 {
                strange |= strange_bytes(u64::from_le_bytes(*word), unwanted);
            }
            strange == 0
        }
        None => text
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && !unwanted.contains(byte)),
    }
}

/// Returns other than 0 if any of the eight bytes is a control character, not
/// ASCII, or unwanted.
///
/// A byte is below `n` if taking `n` from it borrows from its highest bit; a
/// byte that equals another is 0, below 1, after an exclusive or ("Bit
/// Twiddling Hacks", S. E. Anderson, "Determine if a word has a byte less than
/// n"). A borrow can only mark bytes above one that is marked rightly, so the
/// result is right as a whole, although its bits do not name the bytes.
fn strange_bytes<const N: usize>(word: u64, unwanted: [u8; N]) -> u64 {
    let delete = word.wrapping_add(EACH);
    let mut strange = word | delete | below(word, b' ');
    for byte in unwanted {
        strange |= below(word ^ (EACH * u64::from(byte)), 1);
    }
    strange & (EACH << 7)
}

/// The highest bit of each byte of `word` that is below `n`, among other bits.
fn below(word: u64, n: u8) -> u64 {
    word.wrapping_sub(EACH * u64::from(n)) & !word
}

/// 1 in each byte of a word.
const EACH: u64 = u64::from_le_bytes([1; 8]);

/// Cuts between characters: at most three continuation bytes are given up with
/// the one that began them.
///
/// `longest` must be at least 3. A text that is not UTF-8 there, with four
/// continuation bytes in a row, is cut at `longest`.
fn cut(text: &[u8], longest: usize) -> &[u8] {
    if text.len() <= longest {
        return text;
    }
    for end in (longest - 3..=longest).rev() {
        let is_inside = text[end] & 0xc0 == 0x80;
        if !is_inside {
            return &text[..end];
        }
    }
    &text[..longest]
}

/// Appends valid text with escapes where they are needed.
///
/// Runs of characters without escapes are copied as a whole.
fn escape_str(text: &str, out: &mut Vec<u8>) {
    let mut plain_from = 0;
    for (at, strange) in text.char_indices().filter(|&(_, c)| must_escape(c)) {
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + strange.len_utf8();
        match strange {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\n' => out.extend_from_slice(b"\\n"),
            // All of these are below U+10000: four digits.
            _ => unicode(strange as u32, out),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// True for the characters that JSON escapes, and for those that a terminal
/// obeys, that some readers take for the end of a line, or that turn the
/// direction of the text after them.
fn must_escape(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\\' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends an escape of four hexadecimal digits.
fn unicode(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    hex(u64::from(code), 4, out);
}

/// Appends the lowest `digits` hexadecimal digits of a number, at most 16.
pub(super) fn hex(number: u64, digits: usize, out: &mut Vec<u8>) {
    let mut text = [0; 16];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    out.extend_from_slice(&text[text.len().saturating_sub(digits)..]);
}

/// The two hexadecimal digits of each byte: every line has the 16 digits of a
/// key, and two at a time take a third of the instructions.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::{super::line::LONG, *};

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(escaped("curl/8.5.0 (x; y)".as_bytes()), "curl/8.5.0 (x; y)");
        assert_eq!(escaped("grüße/日本".as_bytes()), "grüße/日本");
    }

    #[test]
    fn quotes_controls_and_line_ends_are_escaped() {
        assert_eq!(
            escaped(b"a\"b\\c\r\n\t\0\x1b[31m\x7f"),
            r#"a\"b\\c\r\n\t\u0000\u001b[31m\u007f"#
        );
        assert_eq!(
            escaped("\u{85}\u{9b}\u{2028}\u{2029}\u{202e}".as_bytes()),
            r"\u0085\u009b\u2028\u2029\u202e"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_become_a_replacement_character() {
        assert_eq!(escaped(b"a\xffb\xe2\x82"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for (place, length) in (0..17)
            .map(|place| (place, 17))
            .chain((0..5).map(|place| (place, 5)))
        {
            for byte in 0..=255_u8 {
                let mut text = [b'a'; 17];
                text[place] = byte;
                let text = &text[..length];
                let printable = matches!(byte, b' '..=b'~');
                assert_eq!(
                    is_printable_without(text, *b"\"\\"),
                    printable && !b"\"\\".contains(&byte),
                    "{byte}"
                );
                assert_eq!(
                    is_bare(text),
                    printable && !b"\"\\= ".contains(&byte),
                    "{byte}"
                );
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        let mut out = Vec::new();
        escape("aaäää".as_bytes(), 5, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "aaä…");
        let mut out = Vec::new();
        escape("aaaaa".as_bytes(), 5, &mut out);
        assert_eq!(out, b"aaaaa");
    }

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, LONG, &mut out);
        String::from_utf8(out).unwrap()
    }
}

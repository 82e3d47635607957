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

use super::pen::Pen;

/// Written after a value that was cut.
const CUT: &str = "…";

/// Appends `text` as the inside of a JSON string. Of a longer text, the first
/// `longest` bytes are written, cut between characters, and `…` after them. An
/// escaped byte takes at most six bytes.
///
/// The fast path copies printable ASCII without quotes and backslashes. All
/// other text goes character by character: valid characters that are harmless
/// stay as they are, in any script.
#[inline(always)]
pub(super) fn escape(text: &[u8], longest: usize, pen: &mut Pen<'_>) {
    if text.len() <= longest && is_printable_without(text, *b"\"\\") {
        pen.text(text);
    } else {
        *pen = escape_or_cut(text, longest, pen.lend());
    }
}

/// Appends text character by character, up to its first `longest` bytes.
#[cold]
#[inline(never)]
fn escape_or_cut<'a>(text: &[u8], longest: usize, mut pen: Pen<'a>) -> Pen<'a> {
    let kept = cut(text, longest);
    for chunk in kept.utf8_chunks() {
        escape_str(chunk.valid(), &mut pen);
        if !chunk.invalid().is_empty() {
            pen.text("\u{fffd}".as_bytes());
        }
    }
    if kept.len() < text.len() {
        pen.text(CUT.as_bytes());
    }
    pen
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
#[inline(always)]
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
        None => strange_bytes(up_to_seven(text), unwanted) == 0,
    }
}

/// Up to seven bytes as a word, with copies of them or printable bytes in the
/// place of others.
#[inline(always)]
fn up_to_seven(text: &[u8]) -> u64 {
    match (text.first_chunk(), text.last_chunk(), text) {
        (Some(first), Some(last), _) => {
            u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32)
        }
        (_, _, [a]) => u64::from_le_bytes([*a; 8]),
        (_, _, [a, b]) => u64::from_le_bytes([*a, *b, *a, *b, *a, *b, *a, *b]),
        (_, _, [a, b, c]) => u64::from_le_bytes([*a, *b, *c, *c, *a, *b, *c, *c]),
        _ => u64::from_le_bytes([b'a'; 8]),
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
fn escape_str(text: &str, pen: &mut Pen<'_>) {
    let mut plain_from = 0;
    for (at, strange) in text.char_indices().filter(|&(_, c)| must_escape(c)) {
        pen.text(&text.as_bytes()[plain_from..at]);
        plain_from = at + strange.len_utf8();
        match strange {
            '"' => pen.constant(b"\\\""),
            '\\' => pen.constant(b"\\\\"),
            '\t' => pen.constant(b"\\t"),
            '\r' => pen.constant(b"\\r"),
            '\n' => pen.constant(b"\\n"),
            // All of these are below U+10000: four digits.
            _ => unicode(strange as u32, pen),
        }
    }
    pen.text(&text.as_bytes()[plain_from..]);
}

/// True for the characters that JSON escapes, and for those that a terminal
/// obeys, that some readers take for the end of a line, or that turn the
/// direction of the text after them.
fn must_escape(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\\' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends an escape of four hexadecimal digits.
fn unicode(code: u32, pen: &mut Pen<'_>) {
    pen.constant(b"\\u");
    pen.text(format!("{code:04x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{
        super::{line::LONG, pen::LineText},
        *,
    };

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
        assert_eq!(cut_at_5("aaäää"), "aaä…");
        assert_eq!(cut_at_5("aaaaa"), "aaaaa");
    }

    fn escaped(text: &[u8]) -> String {
        written(text, LONG)
    }

    fn cut_at_5(text: &str) -> String {
        written(text.as_bytes(), 5)
    }

    fn written(text: &[u8], longest: usize) -> String {
        let mut lines = LineText::default();
        lines.append(0, |mut pen| {
            escape(text, longest, &mut pen);
            pen
        });
        String::from_utf8(lines.as_slice().to_vec()).unwrap()
    }
}

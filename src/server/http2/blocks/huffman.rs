//! Strings in Huffman code (RFC 7541, appendix B), read from code to code and
//! repaired in their place.
//!
//! The code is canonical: codes are in the order of their lengths, so that the
//! next 32 bits, taken as a number, tell the length of the next code. A string
//! need not be decoded to be searched for a few codes.
//!
//! A code is replaced by one of the same length, because the block must keep
//! its length: the frame's head and the string's own length are before it.
//! Control characters have no such neighbour and become several shorter codes.
//!
//! # Why strings are not decoded
//!
//! Decoding would cost a table look-up and a write for each character, and a
//! buffer for each string. The gateway only has to know whether one of a few
//! characters occurs. Most values hold none of the long codes at all, which a
//! search for eight ones in a row shows for eight bytes at a time.
//!
//! # Faulty strings
//!
//! Strings that are malformed, by padding of eight bits or more or by the code
//! of the end of a string (RFC 7541, 5.2), are not found here: h2 decodes each
//! string anyway, and ends the connection for them. Reading never leaves the
//! slice, whichever bytes are in it.

/// Characters that a value held and that it may not hold, or not in a path.
///
/// The same type describes strings that are not in Huffman code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    /// Control characters other than tabs, all of which were replaced.
    pub(super) control: bool,
    /// A `#`, which begins a fragment.
    pub(super) fragment: bool,
}

/// Each length of codes in bits, after the smallest 32 bits that begin with a
/// longer code.
///
/// Lengths that no character has, such as 9 and 16 to 18, are left out. Bits at
/// or above the last number begin a code of [`LONGEST`] bits.
const LENGTHS: [(u32, usize); 20] = [
    (0x5000_0000, 5),
    (0xb800_0000, 6),
    (0xf800_0000, 7),
    (0xfe00_0000, 8),
    (0xff40_0000, 10),
    (0xffa0_0000, 11),
    (0xffc0_0000, 12),
    (0xfff0_0000, 13),
    (0xfff8_0000, 14),
    (0xfffe_0000, 15),
    (0xfffe_6000, 19),
    (0xfffe_e000, 20),
    (0xffff_4800, 21),
    (0xffff_b000, 22),
    (0xffff_ea00, 23),
    (0xffff_f600, 24),
    (0xffff_f800, 25),
    (0xffff_fbc0, 26),
    (0xffff_fe20, 27),
    (0xffff_fff0, 28),
];
/// The length of the longest codes, in bits.
///
/// They belong to LF, CR, 0x16, and the end of a string.
const LONGEST: usize = 30;

/// Replaces each character that no name may hold by one that it may hold and
/// whose code is as long. Returns whether there was any. Characters with codes
/// of 19 bits or more stay: `\\`, controls, and everything beyond ASCII.
///
/// A colon at the very beginning is sound, and so are all lower case letters,
/// digits and the marks that a token may have (RFC 9110, 5.6.2). The string
/// keeps its length in bits.
pub(super) fn repair_name(bytes: &mut [u8]) -> bool {
    let mut at_first = true;
    replace(bytes, |length, code| {
        let is_first = std::mem::replace(&mut at_first, false);
        match (length, code) {
            // Blank, `/`, `=` and A become b.
            (6, 0x14 | 0x18 | 0x20 | 0x21) => Some(0x23),
            // A colon begins pseudo-fields.
            (7, 0x5c) if is_first => None,
            // `:`, B to W and Y become j.
            (7, 0x5c..=0x73) => Some(0x74),
            // `,`, `;`, X and Z become &.
            (8, 0xfa..=0xfd) => Some(0xf8),
            // `"`, `(`, `)` and `?` become !.
            (10, 0x3f9..=0x3fc) => Some(0x3f8),
            // `>` becomes #.
            (12, 0xffb) => Some(0xffa),
            // NUL, `@`, `[` and `]` become $.
            (13, 0x1ff8 | 0x1ffa..=0x1ffc) => Some(0x1ff9),
            // `}` becomes ^.
            (14, 0x3ffd) => Some(0x3ffc),
            // `<` and `{` become `.
            (15, 0x7ffc | 0x7ffe) => Some(0x7ffd),
            _ => None,
        }
    })
}

/// Replaces each control character by characters that a value may hold and
/// whose codes are as long together. Returns what the value held.
///
/// Where several characters replace one, the field takes more room in the table
/// of this end, which can only drop older fields early: the connection ends if
/// the client refers to them then.
///
/// Most values return after the search for eight ones, unread. `#` has a code
/// of twelve bits that begins with nine ones, and so passes that search, too.
pub(super) fn repair_value(bytes: &mut [u8]) -> Contents {
    if !have_eight_ones(bytes) {
        return Contents {
            control: false,
            fragment: false,
        };
    }
    let mut fragment = false;
    let control = replace(bytes, |length, code| match (length, code) {
        // NUL becomes $, ...
        (13, 0x1ff8) => Some(0x1ff9),
        // ... 0x01 becomes 0bbb, ...
        (23, 0x7f_ffd8) => Some(0x23 << 12 | 0x23 << 6 | 0x23),
        // ... CR, LF and 0x16 become six times 0, and the others, 0x7f among
        // them, four times j.
        (30, 0x3fff_fffc..=0x3fff_fffe) => Some(0),
        (28, 0xfff_ffe2..=0xfff_fffc) => Some(0x74 << 21 | 0x74 << 14 | 0x74 << 7 | 0x74),
        (12, 0xffa) => {
            fragment = true;
            None
        }
        _ => None,
    });
    Contents { control, fragment }
}

/// Whether eight ones stand in a row, as in the codes that are looked for, and
/// in few others.
///
/// A row that crosses from one byte to the next counts. Bytes behind the end
/// count as zeros. The cost is about one step for seven bytes.
fn have_eight_ones(bytes: &[u8]) -> bool {
    let have_row = |bits: u64| {
        let two = bits & bits << 1;
        let four = two & two << 2;
        four & four << 4 != 0
    };
    // A row lies within two bytes, and each two that stand together within one
    // of these eight.
    let mut rest = bytes;
    while let Some(eight) = rest.first_chunk() {
        if have_row(u64::from_be_bytes(*eight)) {
            return true;
        }
        rest = &rest[7..];
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    have_row(u64::from_be_bytes(last))
}

/// Replaces each code for which `other` has another one of the same length, by
/// the length in bits and the code. Returns whether there was any.
///
/// Stops in front of the first code that is cut off by the end of the string.
/// `other` is called once for each code, in their order.
fn replace(bytes: &mut [u8], mut other: impl FnMut(usize, u32) -> Option<u32>) -> bool {
    let (mut at, mut any) = (0, false);
    while at < bytes.len() * 8 {
        let five = (0..5).fold(0_u64, |bits, next| {
            bits << 8 | u64::from(*bytes.get(at / 8 + next).unwrap_or(&0xff))
        });
        let bits = (five >> (8 - at % 8)) as u32;
        let length = LENGTHS
            .iter()
            .find(|(beyond, _)| bits < *beyond)
            .map_or(LONGEST, |(_, length)| *length);
        // The padding behind the last code is shorter than one.
        if at + length > bytes.len() * 8 {
            break;
        }
        if let Some(code) = other(length, bits >> (32 - length)) {
            put(bytes, at..at + length, code);
            any = true;
        }
        at += length;
    }
    any
}

/// Writes the last bits of `code` to the bits `at`.
///
/// Other bits of the bytes at both ends stay as they are. The range is that of
/// a code which was read, and so lies within `bytes`.
fn put(bytes: &mut [u8], at: std::ops::Range<usize>, code: u32) {
    let end = at.end;
    for bit in at {
        let mask = 0x80 >> (bit % 8);
        let is_one = code >> (end - 1 - bit) & 1 != 0;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte = if is_one { *byte | mask } else { *byte & !mask };
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Codes of the characters that tests use.
    const CODES: [(char, u32, usize); 26] = [
        ('0', 0x0, 5),
        ('a', 0x3, 5),
        ('t', 0x9, 5),
        (' ', 0x14, 6),
        ('-', 0x16, 6),
        ('/', 0x18, 6),
        ('A', 0x21, 6),
        ('b', 0x23, 6),
        (':', 0x5c, 7),
        ('B', 0x5d, 7),
        ('Y', 0x73, 7),
        ('j', 0x74, 7),
        ('x', 0x79, 7),
        ('&', 0xf8, 8),
        ('X', 0xfc, 8),
        ('Z', 0xfd, 8),
        ('?', 0x3fc, 10),
        ('#', 0xffa, 12),
        ('\0', 0x1ff8, 13),
        ('$', 0x1ff9, 13),
        ('@', 0x1ffa, 13),
        ('~', 0x1ffd, 13),
        ('{', 0x7ffe, 15),
        ('`', 0x7ffd, 15),
        ('\\', 0x7fff0, 19),
        ('\u{7f}', 0xfff_fffc, 28),
    ];
    const LINE_ENDS: [(char, u32, usize); 2] = [('\n', 0x3fff_fffc, 30), ('\r', 0x3fff_fffd, 30)];

    /// A text in the code of Huffman.
    pub(in super::super) fn short(text: &str) -> Vec<u8> {
        let mut bits = Vec::new();
        for c in text.chars() {
            let (_, code, length) = CODES
                .iter()
                .chain(&LINE_ENDS)
                .find(|(known, ..)| *known == c)
                .expect("a code");
            bits.extend((0..*length).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | *bit as u8))
            .collect()
    }

    #[test]
    fn a_name_is_put_right_by_codes_of_the_same_length() {
        for (text, right) in [
            ("X-A", "&-b"),
            ("BYt", "jjt"),
            ("aZ", "a&"),
            ("a {\0:", "ab`$j"),
            (":x:A", ":xjb"),
        ] {
            let mut bytes = short(text);
            assert!(repair_name(&mut bytes), "{text}");
            assert_eq!(bytes, short(right), "{text}");
            assert!(!repair_name(&mut bytes), "{right}");
        }
        assert!(!repair_name(&mut short(":a-b~#&")) && !repair_name(&mut []));
    }

    #[test]
    fn a_value_is_put_right_by_codes_of_the_same_length() {
        for (text, right) in [
            ("a\0b", "a$b"),
            ("a\nb", "a000000b"),
            ("\r\n/", "000000000000/"),
            ("{~\0", "{~$"),
            ("\u{7f}", "jjjj"),
        ] {
            let mut bytes = short(text);
            assert_eq!(
                repair_value(&mut bytes),
                Contents {
                    control: true,
                    fragment: false
                },
                "{text:?}"
            );
            assert_eq!(bytes, short(right), "{text:?}");
        }
        for before in 0..20 {
            let text = "a".repeat(before) + "#";
            assert!(repair_value(&mut short(&text)).fragment, "{text}");
        }
        for text in ["", "a", "{{\\~@$?ZZ"] {
            assert_eq!(
                repair_value(&mut short(text)),
                Contents {
                    control: false,
                    fragment: false
                },
                "{text}"
            );
        }
    }
}

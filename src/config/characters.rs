//! Characters that are not what they seem: quotes of print, letters of other
//! alphabets, signs that nobody sees.
//!
//! They get into a configuration from word processors, chats and web pages, or
//! from a keyboard with another layout. A message that only repeats the text
//! would show nothing wrong. So the message names the first of them by its
//! number, as `U+0430`, and says what it is taken for.
//!
//! The letters are those of Cyrillic, Greek and Armenian that common fonts draw
//! like Latin ones, a small part of the table of confusables of Unicode
//! (UTS #39).

use std::ops::Range;

/// Quotes of print, and what is taken for one.
pub(super) const QUOTES: [char; 16] = [
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}',
    '\u{ab}', '\u{bb}', '\u{2039}', '\u{203a}', '\u{2032}', '\u{2033}', '\u{b4}', '`',
];

/// Letters and signs that look like another one: each word is an ASCII
/// character, then those that are taken for it.
const LOOK_ALIKES: &str = "\
    a\u{430}\u{3b1}\u{251} e\u{435}\u{450}\u{451} o\u{43e}\u{3bf}\u{585} \
    p\u{440}\u{3c1} c\u{441}\u{3f2} y\u{443}\u{3b3} x\u{445}\u{3c7} \
    i\u{456}\u{3b9}\u{131}\u{2170} s\u{455} j\u{458} h\u{4bb}\u{43d} d\u{501} \
    v\u{3bd}\u{475} k\u{43a}\u{3ba} m\u{43c} t\u{442}\u{3c4} b\u{432} r\u{433} \
    n\u{578}\u{3b7}\u{43f} u\u{57d}\u{3c5} g\u{261}\u{581} q\u{51b} \
    w\u{461}\u{51d}\u{3c9} l\u{217c}\u{4cf} A\u{410}\u{391} B\u{412}\u{392} \
    E\u{415}\u{395} H\u{41d}\u{397} I\u{406}\u{399} J\u{408} K\u{41a}\u{39a} \
    M\u{41c}\u{39c} N\u{39d} O\u{41e}\u{39f} P\u{420}\u{3a1} C\u{421}\u{3f9} S\u{405} \
    T\u{422}\u{3a4} X\u{425}\u{3a7} Y\u{423}\u{3a5} Z\u{396} .\u{3002}\u{2024}\u{b7} \
    ,\u{60c}\u{3001} /\u{2044}\u{2215} :\u{2236}\u{5c3} =\u{a78a}\u{2550} \
    *\u{2217}\u{66d}";

/// Whether TOML allows this character in a key without quotes.
pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The first character of a text that looks like another one or like nothing,
/// by its number: "U+0430, which looks like `a`".
pub(super) fn stranger(text: &str) -> Option<String> {
    let (c, what) = text.chars().find_map(|c| Some((c, seeming(c)?)))?;
    Some(format!("U+{:04X}, {what}", u32::from(c)))
}

/// The impression that a character gives, if it is a wrong one.
fn seeming(c: char) -> Option<String> {
    let like = match c {
        // The wide forms of printed ASCII, in its order.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        _ if c.is_ascii() => None,
        _ => LOOK_ALIKES
            .split(' ')
            .find(|word| word.contains(c))
            .and_then(|word| word.chars().next()),
    };
    if let Some(like) = like {
        return Some(format!("which looks like `{like}`"));
    }
    let what = match c {
        _ if !c.is_ascii() && QUOTES.contains(&c) => "a typographic quote",
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a no-break space",
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
            "which nobody sees"
        }
        '\u{feff}' | '\u{ad}' => "which nobody sees",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "which looks like `-`",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "which ends no line in TOML",
        _ if !c.is_ascii() && c.is_whitespace() => "which looks like a space",
        _ if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => "a control character",
        _ => return None,
    };
    Some(what.to_owned())
}

/// Puts `sign` in the place of each of these bytes, but for the ASCII
/// characters in `kept`. The text stays as long as it is, so that places in it
/// stay, too.
pub(super) fn mask(text: &mut String, bytes: Range<usize>, sign: char, kept: &[u8]) {
    let sign_of = |byte| match kept.contains(&byte) {
        true => char::from(byte),
        false => sign,
    };
    let masked: String = text[bytes.clone()].bytes().map(sign_of).collect();
    text.replace_range(bytes, &masked);
}

/// Whether a text is a name that most languages have for a variable: letters,
/// digits and `_` of ASCII, with no digit at its beginning.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first character that is not ASCII, where only ASCII can be.
pub(super) fn not_ascii(text: &str) -> Option<String> {
    let c = text.chars().find(|c| !c.is_ascii())?;
    let code = u32::from(c);
    Some(format!(
        "`{c}` (U+{code:04X}), and keys have ASCII letters only"
    ))
}

/// [`stranger`] as the end of a help; empty where there is none.
pub(super) fn and_stranger(text: &str) -> String {
    stranger(text).map_or_else(String::new, |stranger| format!(" (there is {stranger})"))
}

//! The one normal form of a path (RFC 3986, 6.2.2), to which patterns are held
//! and in which requests are compared.
//!
//! It decides which route, and so which limits, apply to a request: if two
//! spellings of one path had two normal forms, a client could choose between
//! two buckets. In the normal form
//!
//! * escaped unreserved characters are decoded, and other escapes are in upper
//!   case: an escaped slash is a character of its segment and not a slash;
//! * characters that cannot stand in a path are escaped, among them a `%` that
//!   begins no escape;
//! * repeated slashes are one;
//! * dot segments are resolved, and none leads above the root.
//!
//! The configuration normalises the patterns of routes, and `gateway` the path
//! of each request. Routes that do not rewrite the path forward it as received.
//! Services that understand a path in another way than the RFC are the concern
//! of `gateway::path_variants`.
//!
//! ```
//! use tidegate::policy::path::normal_form;
//!
//! assert_eq!(normal_form(b"/a//b/../%7euser/%2f").as_deref(), Some("/a/~user/%2F"));
//! assert_eq!(normal_form(b"/already/normal"), None);
//! ```

use percent_encoding::{percent_decode, percent_encode_byte};

/// A byte that may not stand in a path without an escape, and `%`.
const ODD: u8 = 1;
/// A byte that may begin no segment of a path which is surely in its normal
/// form: a slash or a dot.
const NO_BEGIN: u8 = 2;
/// A slash. Shifted by one bit, it is what may not come after it.
const SLASH: u8 = NO_BEGIN << 1;
/// A semicolon.
const SEMICOLON: u8 = 8;

/// The classes of each byte. Characters that may stand in a path without an
/// escape are `pchar` of RFC 3986, 3.3, and the slash.
const CLASSES: [u8; 256] = {
    let mut classes = [ODD; 256];
    let (mut at, others) = (0, b"-._~!$&'()*+,;=:@/");
    while at < others.len() {
        classes[others[at] as usize] = match others[at] {
            b'/' => SLASH | NO_BEGIN,
            b'.' => NO_BEGIN,
            b';' => SEMICOLON,
            _ => 0,
        };
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            classes[byte] = 0;
        }
        byte += 1;
    }
    classes
};

/// Whether a byte may stand in a path without an escape (`pchar` of RFC 3986,
/// 3.3). True for the slash too, and false for `%`.
pub fn is_plain(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & ODD == 0
}

/// The normal form of a path without its query, or `None` if the path is
/// already in it. The normal form is ASCII, begins with a slash, and is its own
/// normal form.
///
/// Takes any bytes. A path in the normal form, which is the common case, costs
/// three passes over its bytes and no allocation.
///
/// ```
/// use tidegate::policy::path::normal_form;
///
/// // The root has no parent, and a path that ends in a dot segment ends in a slash.
/// assert_eq!(normal_form(b"/../a/.").as_deref(), Some("/a/"));
/// // Bytes that are no escape and cannot stand in a path are escaped.
/// assert_eq!(normal_form("/100%/caf\u{e9}".as_bytes()).as_deref(), Some("/100%25/caf%C3%A9"));
/// ```
pub fn normal_form(path: &[u8]) -> Option<String> {
    (!is_normal(path)).then(|| without_dots(&escaped(path)))
}

/// Whether a path is surely in its normal form: a few that are count as others,
/// such as `/.well-known`.
fn is_normal(path: &[u8]) -> bool {
    !path.is_empty() && normal_begin(path).length == path.len()
}

/// The begin of a text that is a path in its normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormalBegin {
    /// Its bytes. 0 if the text does not begin with a slash.
    pub length: usize,
    /// Whether it has a `;`.
    pub has_semicolon: bool,
}

/// The longest begin of `text` that is surely in the normal form of a path. It
/// ends before a query. One pass, as every request pays for it.
///
/// ```
/// use tidegate::policy::path::normal_begin;
///
/// assert_eq!(normal_begin(b"/a/b?c").length, 4);
/// assert_eq!(normal_begin(b"/a//b").length, 3);
/// assert_eq!(normal_begin(b"a").length, 0);
/// ```
pub fn normal_begin(text: &[u8]) -> NormalBegin {
    let (mut length, mut seen, mut ends) = (0, 0, ODD);
    if text.starts_with(b"/") {
        for byte in text {
            let class = CLASSES[usize::from(*byte)];
            if class & ends != 0 {
                break;
            }
            seen |= class;
            ends = ODD | ((class & SLASH) >> 1);
            length += 1;
        }
    }
    NormalBegin {
        length,
        has_semicolon: seen & SEMICOLON != 0,
    }
}

/// A path whose escapes are normal: escaped unreserved characters are decoded,
/// other escapes are in upper case, and characters that cannot stand in a path
/// are escaped. Slashes and dot segments stay as they are. This is the first
/// half of [`normal_form`].
///
/// ```
/// assert_eq!(tidegate::policy::path::escaped(b"/%41//../%2f"), "/A//../%2F");
/// ```
pub fn escaped(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len() + 16);
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        let decoded = first_escape(rest);
        match decoded {
            Some(value) if is_unreserved(value) => out.push(char::from(value)),
            Some(value) => out.push_str(percent_encode_byte(value)),
            None if is_plain(*byte) => out.push(char::from(*byte)),
            None => out.push_str(percent_encode_byte(*byte)),
        }
        rest = if decoded.is_some() { &rest[3..] } else { after };
    }
    out
}

/// The byte for which the escape (`%` and two hexadecimal digits) at the
/// beginning of `text` stands, or `None` if `text` does not begin with an
/// escape.
///
/// ```
/// use tidegate::policy::path::first_escape;
///
/// assert_eq!(first_escape(b"%2fetc"), Some(b'/'));
/// assert_eq!(first_escape(b"%zz"), None);
/// ```
pub fn first_escape(text: &[u8]) -> Option<u8> {
    if text.first() != Some(&b'%') {
        return None;
    }
    let mut decoded = percent_decode(text.get(..3)?);
    let byte = decoded.next()?;
    // Three bytes that are no escape stay three bytes.
    decoded.next().is_none().then_some(byte)
}

/// Whether an escape of this character means the same as the character itself
/// (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Resolves dot segments (RFC 3986, 5.2.4) and merges slashes, in a path whose
/// escapes are normal already: an escaped dot has become a dot by then.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_with_slash = false;
    for segment in path.split('/') {
        ends_with_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_with_slash || out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> String {
        normal_form(path.as_bytes()).unwrap_or_else(|| path.to_owned())
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(path in "(/|\\.|%2[eEfF]|%7[bB]|%|[a-c]|é| ){0,20}") {
            let once = normal(&path);
            prop_assert_eq!(normal(&once), once.clone());
            prop_assert!(once.starts_with('/') && !once.contains("//") && once.is_ascii());
        }

        #[test]
        fn a_begin_that_is_taken_for_normal_is(text in "/?(/|\\.|[a-c]|;|%41|é|\\?|#| ){0,20}") {
            let NormalBegin { length, has_semicolon } = normal_begin(text.as_bytes());
            let (begin, rest) = text.split_at(length);
            if length > 0 {
                prop_assert_eq!(without_dots(&escaped(begin.as_bytes())), begin);
            }
            prop_assert_eq!(has_semicolon, begin.contains(';'));
            // It is the longest one: no byte more is taken.
            let next = rest.bytes().next();
            let ends = |byte| !is_plain(byte) || (begin.ends_with('/') && b"/.".contains(&byte));
            prop_assert!(length == 0 || next.is_none_or(ends), "{} {}", begin, rest);
        }
    }

    #[test]
    fn the_normal_form_is_that_of_rfc_3986() {
        for (path, expected) in [
            ("/a/./b/../c", "/a/c"),
            ("/../../x", "/x"),
            ("/%41%2fb", "/A%2Fb"),
            ("//a///b/", "/a/b/"),
            ("/a/%2e%2E/b", "/b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/%zz", "/%25zz"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn only_a_percent_sign_before_two_hexadecimal_digits_is_an_escape() {
        let decoded = ["%2f", "%2Fa", "%25", "%", "%2", "%zz", "%%4", "a%2f", ""];
        let bytes = decoded.map(|text| first_escape(text.as_bytes()));
        let [slash, percent] = [b'/', b'%'].map(Some);
        assert_eq!(
            bytes,
            [slash, slash, percent, None, None, None, None, None, None]
        );
    }
}

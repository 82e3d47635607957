//! The variants of a path: how a service might read it that is more lenient
//! than RFC 3986. Such a service takes an escaped slash or a backslash for a
//! slash, decodes twice, drops path parameters (`;...`), accepts overlong
//! UTF-8, cuts at NUL, or treats dot segments and repeated slashes in its own
//! way.
//!
//! Routes are found by the one normal form, but most paths are forwarded as
//! received. [`Disguises`](super::disguise) asks here which other paths a
//! service could see. The variants are those known from attacks (CAPEC-64, -71,
//! -72, -79; `..;/` of Tomcat; `%u002f` of IIS).
//!
//! # Bounds
//!
//! A path has at most two beginnings (as received, and without parameters),
//! four rounds of decoding from each, four texts in a round and three
//! treatments of dots: at most 96 variants, of which equal ones are examined
//! once. Decoding only makes a path shorter. The caller bounds its length, and
//! asks `is_plain` first, so that ordinary paths allocate nothing.
//!
//! The list errs on the side of more: a variant that no service has costs a
//! request with a strange path, and a variant that is missing is a way around a
//! limit.

use std::borrow::Cow;

use crate::policy::path::{escaped, first_escape};

/// Times that a path is decoded: once more than the usual double escape, since
/// a proxy may stand before the service.
const MAX_DECODINGS: usize = 3;

/// One way to read a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathVariant {
    /// The path in the form that routes compare.
    ///
    /// It begins with a slash, has normal escapes, and may end without the
    /// slash that the request had.
    pub(super) path: Vec<u8>,
    /// Its dot segments are kept, as few services do.
    pub(super) keeps_dots: bool,
    /// Its dot segments lead above the beginning of the path.
    ///
    /// It is then as if they had stopped at the root.
    pub(super) climbs: bool,
}

/// How a service treats dot segments and repeated slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dots {
    /// Repeated slashes are merged, then dot segments are resolved.
    Merged,
    /// Dot segments are resolved, and `..` removes an empty segment (RFC 3986,
    /// 5.2.4).
    Unmerged,
    /// Dot segments are ordinary names.
    ///
    /// They are then compared by their names alone, and repeated slashes are
    /// merged.
    Kept,
}

/// Whether a path, as received, can be read in one way only. True for nearly
/// all paths.
///
/// It looks for more than can matter, and so may be false for a path with one
/// variant. It takes a few passes over the bytes and allocates nothing.
pub(super) fn is_plain(path: &[u8]) -> bool {
    !matches!(path.last(), Some(0x85 | 0xa0))
        && !path
            .iter()
            .any(|byte| matches!(byte, b';' | b'\\' | 0xc0 | 0xc1 | 0xe0 | 0xf0))
        && memchr::memmem::find(path, b"/..").is_none()
        && memchr::memchr_iter(b'%', path).all(|at| !is_odd_escape(&path[at..]))
}

/// Whether the escape at the beginning of `rest` means more to some services
/// than a character of a name.
///
/// Escapes of unreserved characters are odd only as dots, since the rest of
/// them mean themselves to every service. A blank is odd only at the end of the
/// path.
fn is_odd_escape(rest: &[u8]) -> bool {
    match unescaped(rest) {
        None => false,
        Some((_, length)) if length > 3 => true,
        Some((byte, length)) => match byte {
            0 | b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | b'.' | 0xc0 | 0xc1 => true,
            // Shorter than three bytes need be, hence overlong.
            0xe0 => unescaped(&rest[length..]).is_some_and(|(next, _)| next < 0xa0),
            0xf0 => unescaped(&rest[length..]).is_some_and(|(next, _)| next < 0x90),
            byte => is_blank(byte) && rest.len() == length,
        },
    }
}

/// Whether some services remove this byte from the end of a path.
fn is_blank(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, 0x85 | 0xa0)
}

/// Whether `is_taken` returns true for any variant of `path`.
///
/// Variants are made one after the other and only as far as needed: the first
/// one that is taken ends the search. Each different variant is asked for once.
pub(super) fn any(path: &[u8], is_taken: impl FnMut(&PathVariant) -> bool) -> bool {
    let mut search = Search {
        seen: Vec::with_capacity(16),
        is_taken,
    };
    if search.finds_decoded(Cow::Borrowed(path)) {
        return true;
    }
    // Some services drop parameters before they decode, others afterwards.
    match without_parameters(path) {
        Some(path) => search.finds_decoded(Cow::Owned(path)),
        None => false,
    }
}

/// A search among the variants of one path. Its methods return whether a
/// variant is taken.
struct Search<F> {
    /// The variants that were asked for, none of which is taken.
    seen: Vec<PathVariant>,
    /// Whether a variant is taken.
    is_taken: F,
}

impl<F: FnMut(&PathVariant) -> bool> Search<F> {
    /// Searches a path and its decoded forms, each also without oddities.
    fn finds_decoded(&mut self, mut path: Cow<'_, [u8]>) -> bool {
        for _ in 0..=MAX_DECODINGS {
            if self.finds_text(&path) {
                return true;
            }
            if let Some(even) = without_oddities(&path)
                && self.finds_text(&even)
            {
                return true;
            }
            match decoded(&path) {
                Some(next) => path = Cow::Owned(next),
                None => break,
            }
        }
        false
    }

    /// Searches a path as it stands, and without its parameters.
    fn finds_text(&mut self, path: &[u8]) -> bool {
        if self.finds_resolved(path) {
            return true;
        }
        match without_parameters(path) {
            Some(path) => self.finds_resolved(&path),
            None => false,
        }
    }

    /// Searches a path with its dots treated in each way.
    fn finds_resolved(&mut self, path: &[u8]) -> bool {
        let treatments: &[Dots] = if has_dots(path) {
            &[Dots::Merged, Dots::Unmerged, Dots::Kept]
        } else {
            &[Dots::Merged]
        };
        for dots in treatments {
            let variant = resolved(path, *dots);
            if self.seen.contains(&variant) {
                continue;
            }
            if (self.is_taken)(&variant) {
                return true;
            }
            self.seen.push(variant);
        }
        false
    }
}

/// Whether a segment is `..`, so that services differ in what they make of the
/// path.
fn has_dots(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|segment| segment == b"..")
}

/// Decodes all escapes once; `None` if there are none.
///
/// All escapes are decoded in one pass, so that the result may contain new
/// ones. Text that only looks like an escape stays as it is.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', path)?;
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, ..] = rest {
        let (byte, length) = unescaped(rest).unwrap_or((*byte, 1));
        out.push(byte);
        rest = &rest[length..];
    }
    (out.len() < path.len()).then_some(out)
}

/// The byte for which the escape at the beginning of `rest` stands, and the
/// escape's length. Besides `%2f` this reads `%u002f` as IIS does: with
/// full-width forms (U+FF01 to U+FF5E), and other Unicode slashes and dots as
/// ASCII ones.
///
/// The length is 3 or 6 bytes. `None` if `rest` begins with no escape, or with
/// one of a character that does not fit into a byte.
fn unescaped(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [b'%', b'u' | b'U', digits @ ..] => {
            let code = hexadecimal(digits.get(..4)?)?;
            let narrow = match code {
                0xff01..=0xff5e => code - 0xfee0,
                0x2044 | 0x2215 => u32::from(b'/'),
                0x2216 => u32::from(b'\\'),
                0x2024 => u32::from(b'.'),
                code => code,
            };
            Some((u8::try_from(narrow).ok()?, 6))
        }
        _ => first_escape(rest).map(|byte| (byte, 3)),
    }
}

/// The number that at most eight hexadecimal digits stand for; `None` if
/// another character is among them.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let mut number = 0;
    for digit in digits {
        number = number * 16 + char::from(*digit).to_digit(16)?;
    }
    Some(number)
}

/// Replaces backslashes by slashes and overlong forms by their characters, cuts
/// at the first NUL, `?` or `#`, and trims blanks at the end; `None` if that
/// changes nothing.
fn without_oddities(path: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memchr3(0, b'?', b'#', path).unwrap_or(path.len());
    let mut rest = &path[..end];
    while let [before @ .., last] = rest
        && is_blank(*last)
    {
        rest = before;
    }
    let mut out = Vec::with_capacity(rest.len());
    while let [byte, tail @ ..] = rest {
        let (meant, after) = overlong(rest).unwrap_or((*byte, tail));
        out.push(if meant == b'\\' { b'/' } else { meant });
        rest = after;
    }
    (out != path).then_some(out)
}

/// The ASCII character that a careless decoder sees in an overlong UTF-8 form
/// (RFC 3629, 3), and the bytes behind it.
///
/// Forms of two, three and four bytes are recognised. `None` if `bytes` begin
/// with anything else, also with a form that is cut short.
fn overlong(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (high, low, rest) = match bytes {
        [high @ (0xc0 | 0xc1), low, rest @ ..]
        | [0xe0, high @ (0x80 | 0x81), low, rest @ ..]
        | [0xf0, 0x80, high @ (0x80 | 0x81), low, rest @ ..] => (*high, *low, rest),
        _ => return None,
    };
    (0x80..0xc0)
        .contains(&low)
        .then_some(((high & 1) << 6 | (low & 0x3f), rest))
}

/// Cuts every segment at its first `;`; `None` if there is none.
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b';', path)?;
    let mut out = Vec::with_capacity(path.len());
    let mut is_parameter = false;
    for byte in path {
        is_parameter = *byte != b'/' && (is_parameter || *byte == b';');
        if !is_parameter {
            out.push(*byte);
        }
    }
    Some(out)
}

/// The path that a service sees which treats dot segments and repeated slashes
/// in this way.
///
/// Where `..` would lead above the root, it removes nothing, and the variant
/// says so in `climbs`. An empty path becomes `/`.
fn resolved(path: &[u8], dots: Dots) -> PathVariant {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut climbs = false;
    for (at, segment) in path.split(|byte| *byte == b'/').enumerate() {
        match segment {
            b"" if at == 0 || dots != Dots::Unmerged => {}
            b"." if dots != Dots::Kept => {}
            b".." if dots != Dots::Kept => climbs |= segments.pop().is_none(),
            segment => segments.push(segment),
        }
    }
    let mut path = vec![b'/'];
    path.extend_from_slice(&segments.join(&b'/'));
    PathVariant {
        path: escaped(&path).into_bytes(),
        keeps_dots: dots == Dots::Kept,
        climbs,
    }
}

#[cfg(test)]
mod tests;

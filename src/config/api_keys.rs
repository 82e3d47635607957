//! Files of API keys: read and checked as a whole, or refused with the lines
//! that are wrong.
//!
//! ```toml
//! [[keys]]
//! name = "acme"
//! plan = "gold"
//! sha256 = "15d1ddacb965c9734d5938ce514df3d6f774d4efde504ef9bfd0c89420ad3433"
//! claims = { org = "acme", scope = ["orders:read", "orders:write"] }
//! ```
//!
//! `tidegate key` writes such files. `sha256` may be a list: an owner has
//! several keys while one is replaced by another.
//!
//! # Memory
//!
//! A file may have a million keys. It is cut before each line with `[[keys]]`,
//! and the pieces are read one after the other, so that there is never a tree
//! of the whole file. Each key goes at once into the form that it is kept in.
//!
//! # Time
//!
//! TOML takes 4 us for a key, which are most of a reload with a million. So a
//! piece of the form that nearly all have is read line by line.

use std::{collections::HashMap, fmt, path::Path};

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{source, syntax};
use crate::policy::{ApiKeys, CollectedKeys, KeyDigest, KeyOwner, is_exact_in_field};

/// Longest file of keys, in bytes: some two million keys.
const LONGEST: u64 = 512 * 1024 * 1024;

/// Bytes of the longest name of an owner. It is an id in header fields, keys
/// and access lines.
const LONGEST_NAME: usize = 256;

/// Mistakes of one file that are told.
const MOST_MISTAKES: usize = 10;

/// The line before each key.
const HEADER: &str = "[[keys]]";

/// One key, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    name: String,
    sha256: Digests,
    plan: Option<String>,
    #[serde(default)]
    claims: Map<String, Value>,
}

/// One digest, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Digests {
    One(String),
    Several(Vec<String>),
}

/// A piece of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePiece {
    #[serde(default)]
    keys: Vec<WrittenKey>,
}

/// The line with the claims of a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsLine {
    claims: Map<String, Value>,
}

/// A mistake in a file of keys, with its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMistake {
    /// The line of the mistake, or of the key that has it.
    pub line: usize,
    /// The mistake, and how to write it. Repeats no digest.
    pub why: String,
}

impl fmt::Display for KeyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The keys of a file. Blocks.
///
/// # Errors
/// Half a sentence for each mistake, to follow the name of the file.
pub(super) fn read(file: &Path) -> Result<ApiKeys, Vec<String>> {
    let text = source::read(file, LONGEST).map_err(|why| vec![why])?;
    parse(&text).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The keys in the text of a file.
///
/// # Errors
/// The first ten mistakes.
pub fn parse(text: &str) -> Result<ApiKeys, Vec<KeyMistake>> {
    let mut reading = KeysReader::default();
    for OneKey { line, text } in pieces(text) {
        reading.piece(line, text);
        if reading.mistakes.len() >= MOST_MISTAKES {
            break;
        }
    }
    let KeysReader {
        mut keys, mistakes, ..
    } = reading;
    keys.is_blank = text.trim().is_empty();
    match mistakes.is_empty() {
        true => Ok(keys.finish()),
        false => Err(mistakes),
    }
}

/// The part of a file that describes one key, or what stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneKey<'t> {
    /// The line of its first byte, from 1.
    pub line: usize,
    /// From its `[[keys]]` to the byte before the next one.
    pub text: &'t str,
}

/// The parts of a file, in order; together they are the whole of it.
pub fn pieces(text: &str) -> impl Iterator<Item = OneKey<'_>> {
    let (mut rest, mut line) = (text, 1);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(next_header(rest));
        let one = OneKey { line, text: piece };
        line += memchr::memchr_iter(b'\n', piece.as_bytes()).count();
        rest = after;
        Some(one)
    })
}

/// Where the next key begins behind the first byte; the end if none does.
fn next_header(text: &str) -> usize {
    let bytes = text.as_bytes();
    let starts = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    let is_header = |start: &usize| {
        let line = &bytes[*start..];
        let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        line[indent.count()..].starts_with(HEADER.as_bytes())
    };
    let mut headers = starts.filter(is_header);
    headers.next().unwrap_or(text.len())
}

/// The name in a piece; `None` if the piece cannot be read or has no key.
pub fn name_of(piece: &str) -> Option<String> {
    let piece: FilePiece = toml::from_str(piece).ok()?;
    Some(piece.keys.into_iter().next()?.name)
}

/// An owner as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOwner {
    /// Its name.
    pub name: String,
    /// Its plan.
    pub plan: Option<String>,
    /// The digests of its keys, in hexadecimal digits.
    pub digests: Vec<String>,
}

/// The owners in a sound file, in its order.
pub fn owners(text: &str) -> impl Iterator<Item = ListedOwner> {
    let pieces = pieces(text).filter_map(|piece| toml::from_str::<FilePiece>(piece.text).ok());
    pieces.flat_map(|piece| piece.keys).map(|key| ListedOwner {
        name: key.name,
        plan: key.plan,
        digests: match key.sha256 {
            Digests::One(digest) => vec![digest],
            Digests::Several(digests) => digests,
        },
    })
}

/// A file while it is read.
#[derive(Default)]
struct KeysReader {
    keys: CollectedKeys,
    mistakes: Vec<KeyMistake>,
    /// The line of each name.
    names: HashMap<Box<str>, usize, RandomState>,
    /// The line of each digest.
    digests: HashMap<KeyDigest, usize, RandomState>,
}

impl KeysReader {
    /// Reads the piece that begins in this line.
    fn piece(&mut self, line: usize, text: &str) {
        if let Some(key) = usual_key(text) {
            return self.key(line, key);
        }
        match toml::from_str::<FilePiece>(text) {
            Ok(piece) => piece.keys.into_iter().for_each(|key| self.key(line, key)),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let before = text.get(..at).unwrap_or_default();
                // The message of a value is one sentence, that of syntax may
                // have several lines.
                let why = error.message().lines().next().unwrap_or_default();
                self.mistake(line + before.matches('\n').count(), why.to_owned());
            }
        }
    }

    fn mistake(&mut self, line: usize, why: String) {
        self.mistakes.push(KeyMistake { line, why });
    }

    /// Adds one key, or its first mistake.
    fn key(&mut self, line: usize, key: WrittenKey) {
        if let Err(why) = self.sound(line, key) {
            self.mistake(line, why);
        }
    }

    /// Adds one key.
    ///
    /// # Errors
    /// The name, plan, claims or a digest break a rule, or one of them is listed twice;
    /// the text says which.
    fn sound(&mut self, line: usize, key: WrittenKey) -> Result<(), String> {
        let name = key.name;
        if name.len() > LONGEST_NAME || !is_exact_in_field(&name) {
            return Err(format!(
                "`name` has 1 to {LONGEST_NAME} bytes without control characters and outer blanks"
            ));
        }
        if let Some(plan) = &key.plan {
            syntax::name(plan).map_err(|wrong| format!("`plan` of `{name}`: {}", wrong.why))?;
        }
        check_claims(&name, &key.claims)?;
        if let Some(first) = self.names.insert(name.as_str().into(), line) {
            return Err(format!(
                "the name `{name}` stands in line {first} already; one owner with several keys has a list of `sha256`"
            ));
        }
        let digests = match key.sha256 {
            Digests::One(digest) => vec![digest],
            Digests::Several(digests) => digests,
        };
        if digests.is_empty() {
            return Err(format!("`{name}` has no `sha256`"));
        }
        let owner = KeyOwner {
            name,
            plan: key.plan,
            claims: key.claims,
        };
        let mut read = Vec::with_capacity(digests.len());
        for digest in digests {
            let digest = read_digest(&digest).ok_or_else(|| {
                format!(
                    "`sha256` of `{}` is not 64 hexadecimal digits, as `sha256sum` prints them",
                    owner.name
                )
            })?;
            if let Some(first) = self.digests.insert(digest, line) {
                return Err(format!(
                    "`{}` has a key that stands in line {first} already; two owners cannot share one",
                    owner.name
                ));
            }
            read.push(digest);
        }
        match self.keys.add(&owner, &read) {
            true => Ok(()),
            false => Err("the names and claims of all keys are longer than 4 GiB".to_owned()),
        }
    }
}

/// The key in a piece of the form that `tidegate key` writes; `None` for a piece
/// of another form, and for one with a mistake, which TOML has to tell.
fn usual_key(text: &str) -> Option<WrittenKey> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    if lines.next()? != HEADER {
        return None;
    }
    let (mut name, mut plan, mut sha256, mut claims) = (None, None, None, None);
    for line in lines {
        let (slot, value) = if let Some(value) = line.strip_prefix("name = ") {
            (&mut name, value)
        } else if let Some(value) = line.strip_prefix("sha256 = ") {
            (&mut sha256, value)
        } else if let Some(value) = line.strip_prefix("plan = ") {
            (&mut plan, value)
        } else if line.starts_with("claims = ") && claims.is_none() {
            claims = Some(toml::from_str::<ClaimsLine>(line).ok()?.claims);
            continue;
        } else {
            return None;
        };
        if slot.replace(plain_text(value)?.to_owned()).is_some() {
            return None;
        }
    }
    Some(WrittenKey {
        name: name?,
        sha256: Digests::One(sha256?),
        plan,
        claims: claims.unwrap_or_default(),
    })
}

/// The text between quotes, where TOML has nothing to replace or to refuse in
/// it.
fn plain_text(value: &str) -> Option<&str> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = |byte: u8| !byte.is_ascii_control() && !matches!(byte, b'"' | b'\\');
    text.bytes().all(is_plain).then_some(text)
}

/// Checks that claims are texts, whole numbers, flags, or lists of these, and
/// that a header field can tell each text.
fn check_claims(name: &str, claims: &Map<String, Value>) -> Result<(), String> {
    let is_scalar = |value: &Value| match value {
        Value::String(text) => is_exact_in_field(text),
        Value::Number(number) => number.is_i64(),
        value => value.is_boolean(),
    };
    for (claim, value) in claims {
        let is_sound = match value {
            Value::Array(items) => items.iter().all(is_scalar),
            value => is_scalar(value),
        };
        if !is_sound {
            return Err(format!(
                "the claim `{claim}` of `{name}` is a string without control characters and outer blanks, a whole number, a flag, or a list of these"
            ));
        }
    }
    Ok(())
}

/// The digest in 64 hexadecimal digits.
fn read_digest(text: &str) -> Option<KeyDigest> {
    let mut digest = KeyDigest::default();
    let digits = text.as_bytes().as_chunks::<2>();
    if digits.0.len() != digest.len() || !digits.1.is_empty() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.0) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;

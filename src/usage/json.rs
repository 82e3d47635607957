//! The number at one path of a JSON document (RFC 8259), read while the
//! document passes in pieces of any size.
//!
//! Nothing of the document is kept but its place: the containers on the path
//! that are open, how many others are open inside of them, and how much of a
//! name has matched. So a document of any length and depth takes the same
//! memory, and each byte is looked at once.
//!
//! # Values that count
//!
//! * A whole number from 0 on. A fraction is rounded up, and a number above
//!   2^64 counts as 2^64 - 1. A negative number, a string and everything else
//!   count as nothing.
//! * The largest, if a document has the path several times: readers differ
//!   about which of two members with one name they see.
//! * The last document that has the path, if several follow one another, as in
//!   lines of JSON.
//!
//! Values beside the path are passed over by their brackets and quotes, and
//! are not checked. If something on the path is no JSON, the document counts as
//! nothing, and so does everything after it.

use memchr::memchr2;

use super::{name::MemberName, number::Number};
use crate::policy::JsonPath;

/// Reads one path of the documents that pass.
#[derive(Debug)]
pub(super) struct JsonReader {
    state: JsonState,
    /// Open containers on the path; their kinds and places are in `open`.
    depth: usize,
    open: [Container; JsonPath::MOST_MEMBERS],
    /// The name that is being read, compared as it passes.
    name: MemberName,
    /// The number that is being read.
    number: Number,
    /// The largest number in the present document.
    found: Option<u64>,
    /// The number of the last document before it that had one.
    earlier: Option<u64>,
}

/// An open container on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    /// An array, and the index of its present element.
    Array(usize),
}

/// The part of a document that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Before a document.
    Start,
    /// Before a value. It is on the path if `matches`, and may be the end of
    /// an empty array if `may_end`.
    Value { matches: bool, may_end: bool },
    /// Before the name of a member, or the end of an object if `may_end`.
    Member { may_end: bool },
    /// In a name.
    Name,
    /// Between a name and its value.
    Colon { matches: bool },
    /// After a value in a container on the path.
    Comma,
    /// In the number that is looked for.
    Number,
    /// In a number or word beside the path.
    Word,
    /// In a string beside the path, with this many containers open around it
    /// that are beside the path too; after a backslash if `is_escaped`.
    Text { beside: u64, is_escaped: bool },
    /// In this many containers beside the path; not 0.
    Beside(u64),
    /// After something that is no JSON.
    Broken,
}

impl JsonReader {
    /// A reader before the first document.
    pub(super) fn new() -> Self {
        Self {
            state: JsonState::Start,
            depth: 0,
            open: [Container::Object; JsonPath::MOST_MEMBERS],
            name: MemberName::default(),
            number: Number::default(),
            found: None,
            earlier: None,
        }
    }

    /// The number of the last document that has one; of the present document,
    /// as far as it has passed.
    pub(super) fn found(&self) -> Option<u64> {
        self.found.or(self.earlier)
    }

    /// Ends the present document: the next byte begins another one.
    pub(super) fn end(&mut self) {
        self.earlier = self.found();
        self.found = None;
        (self.state, self.depth) = (JsonState::Start, 0);
    }

    /// Reads one more piece.
    pub(super) fn read(&mut self, path: &JsonPath, piece: &[u8]) {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.state {
                JsonState::Text { beside, is_escaped } => self.pass_text(rest, beside, is_escaped),
                JsonState::Beside(beside) => self.pass_beside(rest, beside),
                JsonState::Name => self.read_name(path, rest),
                JsonState::Broken => return,
                state => self.step(path, state, rest[0]),
            };
        }
    }

    /// Passes over text beside the path, up to its end. Returns how much.
    fn pass_text(&mut self, rest: &[u8], beside: u64, is_escaped: bool) -> usize {
        let from = usize::from(is_escaped);
        let Some(at) = memchr2(b'"', b'\\', &rest[from..]) else {
            self.state = JsonState::Text {
                beside,
                is_escaped: false,
            };
            return rest.len();
        };
        let at = from + at;
        self.state = match (rest[at], beside) {
            (b'\\', _) => JsonState::Text {
                beside,
                is_escaped: true,
            },
            (_, 0) => JsonState::Comma,
            (_, beside) => JsonState::Beside(beside),
        };
        at + 1
    }

    /// Passes over containers beside the path. Returns how much.
    fn pass_beside(&mut self, rest: &[u8], mut beside: u64) -> usize {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = JsonState::Text {
                        beside,
                        is_escaped: false,
                    };
                    return at + 1;
                }
                b'{' | b'[' => beside += 1,
                b'}' | b']' => {
                    beside -= 1;
                    if beside == 0 {
                        self.state = JsonState::Comma;
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.state = JsonState::Beside(beside);
        rest.len()
    }

    /// Reads a name up to its end. Returns how much.
    fn read_name(&mut self, path: &JsonPath, rest: &[u8]) -> usize {
        let wanted = path.members()[self.depth - 1].as_bytes();
        for (at, byte) in rest.iter().enumerate() {
            if self.name.is_over(*byte, wanted) {
                self.state = JsonState::Colon {
                    matches: self.name.matches(wanted),
                };
                return at + 1;
            }
        }
        rest.len()
    }

    /// Reads one byte outside of text. Returns how many were read: 0 if the
    /// byte is to be read again, in the new state.
    fn step(&mut self, path: &JsonPath, state: JsonState, byte: u8) -> usize {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            && !matches!(state, JsonState::Number | JsonState::Word)
        {
            return 1;
        }
        match (state, byte) {
            (JsonState::Start, b'{' | b'[') => self.enter(path, byte),
            (JsonState::Value { may_end: true, .. }, b']')
            | (JsonState::Member { may_end: true }, b'}') => self.leave(),
            (JsonState::Value { matches, .. }, _) => self.begin(path, byte, matches),
            (JsonState::Member { .. }, b'"') => {
                self.name = MemberName::default();
                self.state = JsonState::Name;
            }
            (JsonState::Colon { matches }, b':') => {
                self.state = JsonState::Value {
                    matches,
                    may_end: false,
                }
            }
            (JsonState::Comma, _) => self.go_on(path, byte),
            (
                JsonState::Number | JsonState::Word,
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r',
            ) => {
                if state == JsonState::Number {
                    self.found = self.found.max(self.number.value());
                }
                self.state = JsonState::Comma;
                return 0;
            }
            (JsonState::Number, _) => self.number.add(byte),
            (JsonState::Word, b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') => {}
            _ => self.break_off(),
        }
        1
    }

    /// Begins a value, which is on the path if it `matches`.
    fn begin(&mut self, path: &JsonPath, byte: u8, matches: bool) {
        let is_wanted = matches && self.depth == path.members().len();
        match byte {
            b'{' | b'[' if matches && !is_wanted => self.enter(path, byte),
            b'{' | b'[' => self.state = JsonState::Beside(1),
            b'"' => {
                self.state = JsonState::Text {
                    beside: 0,
                    is_escaped: false,
                }
            }
            b'-' | b'0'..=b'9' if is_wanted => {
                self.number = Number::default();
                self.number.add(byte);
                self.state = JsonState::Number;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => self.state = JsonState::Word,
            _ => self.break_off(),
        }
    }

    /// Enters a container on the path.
    fn enter(&mut self, path: &JsonPath, bracket: u8) {
        let container = if bracket == b'{' {
            self.state = JsonState::Member { may_end: true };
            Container::Object
        } else {
            self.state = JsonState::Value {
                matches: is_index(&path.members()[self.depth], 0),
                may_end: true,
            };
            Container::Array(0)
        };
        self.open[self.depth] = container;
        self.depth += 1;
    }

    /// Leaves the innermost container on the path.
    fn leave(&mut self) {
        self.depth -= 1;
        match self.depth {
            0 => self.end(),
            _ => self.state = JsonState::Comma,
        }
    }

    /// Reads what follows a value in the innermost container on the path.
    fn go_on(&mut self, path: &JsonPath, byte: u8) {
        let container = &mut self.open[self.depth - 1];
        match (byte, container) {
            (b',', Container::Object) => self.state = JsonState::Member { may_end: false },
            (b',', Container::Array(index)) => {
                *index = index.saturating_add(1);
                self.state = JsonState::Value {
                    matches: is_index(&path.members()[self.depth - 1], *index),
                    may_end: false,
                };
            }
            (b'}', Container::Object) | (b']', Container::Array(_)) => self.leave(),
            _ => self.break_off(),
        }
    }

    /// Ends the reading at something that is no JSON: its document counts as
    /// nothing.
    fn break_off(&mut self) {
        self.found = None;
        self.state = JsonState::Broken;
    }
}

impl Default for JsonReader {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a member of a path is the element of an array with this index.
fn is_index(member: &str, index: usize) -> bool {
    let is_plain = member == "0" || !member.starts_with('0');
    is_plain && member.parse() == Ok(index)
}

#[cfg(test)]
mod tests;

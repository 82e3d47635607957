//! The fields of one block: faulty ones are found and repaired in their place.
//!
//! A field on the wire is an index into a table, or a literal whose name is an
//! index or spelled (RFC 7541, 6). Literals are looked at byte by byte. Indices
//! refer to literals of earlier blocks, so that [`FieldChecker`] remembers which
//! entries of the dynamic table are faulty, and nothing else of the table: a
//! block without literals costs one look at each of its bytes, as long as no
//! entry is faulty.
//!
//! # Repair
//!
//! Characters that no name or value may hold (RFC 9113, 8.2.1) are replaced by
//! characters of the same encoded length. h2 then accepts the field and adds it
//! to its table, as the client does, so that both ends keep the same table
//! (RFC 7541, 2.2). The request is refused nevertheless.
//!
//! # Bounds
//!
//! A table of the usual size has at most 128 entries, of which as many are
//! remembered at most.

use super::{huffman::Contents, read::Unread};

/// Flags of HEADERS (RFC 9113, 6.2): the payload is padded.
pub(super) const PADDED: u8 = 0x8;
/// The payload begins with a priority.
pub(super) const PRIORITY: u8 = 0x20;
/// Bytes of a stream's priority.
const PRIORITY_LENGTH: usize = 5;

/// Entries of a table of the usual size, each of 32 bytes at least (RFC 7541,
/// 4.1): older ones are gone.
pub(super) const MOST_ENTRIES: usize = 4096 / 32;

/// Indices of `:path` in the static table (RFC 7541, appendix A).
const PATHS: [usize; 2] = [4, 5];
/// The first index of the dynamic table, that of its newest entry.
const FIRST_DYNAMIC: usize = 62;
/// The name `:path` as it is spelled.
const PATH: &[u8] = b":path";
/// The same name in Huffman code.
const PATH_IN_HUFFMAN_CODE: &[u8] = b"\xb9\x58\xd3\x3f";

/// The reason for which a field makes its request malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::http2) enum FieldFault {
    /// Its `:path` has a fragment, which h2 would remove.
    Fragment,
    /// The name of a field holds a character that none may hold, such as a
    /// letter in upper case.
    Name,
    /// The value of a field holds a control character.
    Control,
}

/// An entry of the dynamic table that is faulty.
#[derive(Debug, Clone, Copy)]
struct FaultyEntry {
    /// The entries that are newer.
    age: usize,
    fault: FieldFault,
}

/// The fields of a connection, as far as they are faulty.
#[derive(Debug, Default)]
pub(super) struct FieldChecker {
    /// Faulty entries of the dynamic table, at most [`MOST_ENTRIES`].
    entries: Vec<FaultyEntry>,
}

impl FieldChecker {
    /// Checks and repairs a block, the payload of a HEADERS frame with `flags`
    /// and of its continuations. Returns the first fault.
    ///
    /// Trailers (`is_request` is false) are left as they are, and have no fault:
    /// their request is on its way already, and h2 ends the connection for
    /// them. They are read for the entries that they add to the table.
    pub(super) fn check(
        &mut self,
        flags: u8,
        is_request: bool,
        block: &mut [u8],
    ) -> Option<FieldFault> {
        // A request that is like others is made of indices alone, which begin
        // with a bit that is set.
        let is_bare = flags & (PADDED | PRIORITY) == 0;
        if is_bare && self.are_all_sound() && block.iter().all(|byte| *byte >= 0x80) {
            return None;
        }
        let fields = without_padding(flags, block);
        if is_request {
            return self.check_fields(fields);
        }
        if !self.are_all_sound() {
            self.check_fields(&mut fields.to_vec());
        }
        None
    }

    /// Forgets the faulty entries, because a block that is not checked changes
    /// their indices.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Whether no entry of the dynamic table is known to be faulty.
    pub(super) fn are_all_sound(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks and repairs all fields of a block. Stops at one that is
    /// malformed: h2 ends the connection for it.
    fn check_fields(&mut self, block: &mut [u8]) -> Option<FieldFault> {
        let mut fault = None;
        let mut rest = Unread { block, at: 0 };
        while let Some(first) = rest.first() {
            // Nearly all fields are indices of one byte.
            if (0x80..0xff).contains(&first) && self.are_all_sound() {
                rest.at += 1;
                continue;
            }
            // The bits of the first byte that belong to the index.
            let bits = match first {
                0x80.. => 7,
                0x40.. => 6,
                0x20.. => 5,
                _ => 4,
            };
            let Some(index) = rest.integer(bits) else {
                break;
            };
            match bits {
                // A field of the table.
                7 => fault = fault.or(self.fault_of(index)),
                // A change of the table's size.
                5 => {}
                // A literal, which with six bits is added to the table.
                _ => {
                    let Some(Literal { fault: found }) = self.literal(index, &mut rest) else {
                        break;
                    };
                    fault = fault.or(found);
                    if bits == 6 {
                        self.added(found);
                    }
                }
            }
        }
        fault
    }

    /// Checks and repairs a literal whose name has this `index`, or is spelled
    /// if that is 0; `None` if it is malformed.
    fn literal(&self, index: usize, rest: &mut Unread<'_>) -> Option<Literal> {
        let fault_of_name = self.fault_of(index);
        let mut is_path = PATHS.contains(&index) || fault_of_name == Some(FieldFault::Fragment);
        let mut is_wrong = fault_of_name == Some(FieldFault::Name);
        if index == 0 {
            let name = rest.text()?;
            let path = if name.is_huffman {
                PATH_IN_HUFFMAN_CODE
            } else {
                PATH
            };
            is_path = *name.bytes == *path;
            is_wrong = name.repair_name();
        }
        let value = rest.text()?;
        let fault = match value.repair_value() {
            _ if is_wrong => Some(FieldFault::Name),
            Contents { control: true, .. } => Some(FieldFault::Control),
            Contents { fragment: true, .. } if is_path => Some(FieldFault::Fragment),
            Contents { .. } => None,
        };
        Some(Literal { fault })
    }

    /// The fault of an entry of the table.
    fn fault_of(&self, index: usize) -> Option<FieldFault> {
        let is_it = |entry: &&FaultyEntry| FIRST_DYNAMIC + entry.age == index;
        self.entries.iter().find(is_it).map(|entry| entry.fault)
    }

    /// Notes that the table has one entry more, its newest.
    fn added(&mut self, fault: Option<FieldFault>) {
        for entry in &mut self.entries {
            entry.age += 1;
        }
        self.entries.retain(|entry| entry.age < MOST_ENTRIES);
        if let Some(fault) = fault {
            self.entries.push(FaultyEntry { age: 0, fault });
        }
    }
}

/// A literal field that was read.
struct Literal {
    fault: Option<FieldFault>,
}

/// The fields in a payload with `flags`.
fn without_padding(flags: u8, block: &mut [u8]) -> &mut [u8] {
    let (mut begin, mut end) = (0, block.len());
    if flags & PADDED != 0 {
        let padding = block.first().copied().map_or(0, usize::from);
        begin += 1;
        end = end.saturating_sub(padding);
    }
    if flags & PRIORITY != 0 {
        begin += PRIORITY_LENGTH;
    }
    block.get_mut(begin..end).unwrap_or_default()
}

#[cfg(test)]
impl FieldChecker {
    /// Adds an entry with this fault.
    pub(super) fn note_entry(&mut self, fault: FieldFault) {
        self.added(Some(fault));
    }

    /// The entries that are remembered.
    pub(super) fn faulty_entries(&self) -> usize {
        self.entries.len()
    }
}

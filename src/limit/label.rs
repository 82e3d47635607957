//! What a key is made of, for people: its parts' values, cut where they are long. Written only when a key enters a list
//! of the heaviest; decoded only when somebody asks.
//!
//! A part is two bytes (what it is, and its length) and its value. The buffer of a key that left is used again, so
//! that a flood of new keys allocates nothing once it is warm.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::key::network;

/// Most bytes of one value that are kept; the rest is an ellipsis.
const LONGEST_PART: usize = 128;

/// The parts of a key in the making, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Label {
    bytes: Vec<u8>,
}

/// One part of a label as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its value: text as received, addresses as networks where only a prefix counts.
    pub value: String,
    /// It stands in for a part that the request did not have.
    pub is_fallback: bool,
}

impl Label {
    /// Adds a value that is a text.
    pub fn text(&mut self, value: &[u8]) {
        let kept = value.get(..LONGEST_PART).unwrap_or(value);
        self.part(if kept.len() < value.len() { CUT } else { TEXT }, kept);
    }

    /// Adds an address: whole for IPv4 and IPv4-mapped IPv6, else its network of `v6_prefix` bits.
    pub fn ip(&mut self, address: IpAddr, v6_prefix: u8) {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.part(ADDRESS, &v4.octets()),
            IpAddr::V6(v6) => {
                let mut value = [v6_prefix.min(128); 17];
                value[..16].copy_from_slice(&network(v6, v6_prefix).to_be_bytes());
                self.part(ADDRESS, &value);
            }
        }
    }

    /// The parts from byte `from` of this label on (what [`Self::len`] was before them) stand in for missing ones.
    pub fn mark_fallback(&mut self, from: usize) {
        if let Some(kind) = self.bytes.get_mut(from) {
            *kind |= FALLBACK;
        }
    }

    /// Bytes it takes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no part, as the key of a limit that has one bucket for everybody.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The parts as they are shown.
    pub fn parts(&self) -> Vec<Part> {
        let (mut parts, mut rest) = (Vec::new(), &*self.bytes);
        while let [kind, length, after @ ..] = rest {
            let Some((value, next)) = after.split_at_checked(usize::from(*length)) else {
                break;
            };
            parts.push(Part {
                value: shown(kind & !FALLBACK, value),
                is_fallback: kind & FALLBACK != 0,
            });
            rest = next;
        }
        parts
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn part(&mut self, kind: u8, value: &[u8]) {
        self.bytes.reserve(2 + value.len());
        self.bytes
            .extend([kind, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        self.bytes.extend_from_slice(value);
    }
}

const TEXT: u8 = 0;
const CUT: u8 = 1;
const ADDRESS: u8 = 2;
/// Added to one of the others.
const FALLBACK: u8 = 0x80;

fn shown(kind: u8, value: &[u8]) -> String {
    match (kind, value) {
        (ADDRESS, value) => address(value).unwrap_or_default(),
        // A character that the cut went through is left out.
        (CUT, value) => {
            let whole = value.len()
                - (0..value.len().min(3))
                    .find(|back| is_boundary(value, *back))
                    .unwrap_or(0);
            format!("{}…", String::from_utf8_lossy(&value[..whole]))
        }
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// Whether no character of UTF-8 is begun and not ended by all but the last `back` bytes.
fn is_boundary(value: &[u8], back: usize) -> bool {
    str::from_utf8(&value[..value.len() - back])
        .map_or_else(|error| error.error_len().is_some(), |_| true)
}

fn address(value: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let (v6, prefix) = (<[u8; 16]>::try_from(value.get(..16)?).ok()?, value.get(16)?);
    let v6 = Ipv6Addr::from(v6);
    Some(if *prefix == 128 {
        v6.to_string()
    } else {
        format!("{v6}/{prefix}")
    })
}

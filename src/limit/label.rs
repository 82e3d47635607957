//! The parts of a key for people: their values, cut where they are long. A
//! label is written only when a key enters a list of the heaviest, and decoded
//! only when somebody looks at the list.
//!
//! A part is two bytes (its kind and its length) and its value. The buffer of a
//! key that leaves the list is used again, so that a flood of new keys
//! allocates nothing once it is warm.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::key::KeyValue;

/// Most bytes of one value that are kept. An ellipsis stands for the rest.
const LONGEST_PART: usize = 128;

/// The parts of a key, in order.
///
/// ```
/// use tidegate::limit::{KeyValue, Label};
///
/// let mut label = Label::default();
/// label.add(&KeyValue::Address("2001:db8::/64".parse().unwrap()));
/// label.add(&KeyValue::text(b"tenant-7"));
/// let shown: Vec<_> = label.parts().into_iter().map(|part| part.value).collect();
/// assert_eq!(shown, ["2001:db8::/64", "tenant-7"]);
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Label {
    bytes: Vec<u8>,
}

/// One part of a label as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The value: text as received, an address as a network if only a prefix of
    /// it counts.
    pub value: String,
    /// The part stands in for one that the request lacked.
    pub is_stand_in: bool,
}

impl Label {
    /// Adds the value of a part.
    pub fn add(&mut self, value: &KeyValue<'_>) {
        self.part(value, 0);
    }

    /// Adds the value of a part that stands in for a missing one.
    pub fn add_stand_in(&mut self, value: &KeyValue<'_>) {
        self.part(value, STAND_IN);
    }

    /// Whether it has no part, like the key of a limit with one bucket for
    /// everybody.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Decodes the parts.
    pub fn parts(&self) -> Vec<Part> {
        let (mut parts, mut rest) = (Vec::new(), &*self.bytes);
        while let [kind, length, after @ ..] = rest {
            let Some((value, next)) = after.split_at_checked(usize::from(*length)) else {
                break;
            };
            parts.push(Part {
                value: shown(kind & !STAND_IN, value),
                is_stand_in: kind & STAND_IN != 0,
            });
            rest = next;
        }
        parts
    }

    /// Removes all parts and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds a value, cut to its longest length, with a flag beside its kind.
    fn part(&mut self, value: &KeyValue<'_>, flag: u8) {
        match value {
            KeyValue::Text(text) => {
                let kept = text.get(..LONGEST_PART).unwrap_or(text);
                let kind = if kept.len() < text.len() { CUT } else { TEXT };
                self.write(kind | flag, kept);
            }
            KeyValue::Address(IpNet::V4(net)) => {
                let mut value = [net.prefix_len(); 5];
                value[..4].copy_from_slice(&net.addr().octets());
                self.write(ADDRESS | flag, &value);
            }
            KeyValue::Address(IpNet::V6(net)) => {
                let mut value = [net.prefix_len(); 17];
                value[..16].copy_from_slice(&net.addr().octets());
                self.write(ADDRESS | flag, &value);
            }
        }
    }

    /// Adds the bytes of a part behind its kind and length.
    fn write(&mut self, kind: u8, value: &[u8]) {
        self.bytes.reserve(2 + value.len());
        self.bytes
            .extend([kind, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        self.bytes.extend_from_slice(value);
    }
}

/// Text as it was received.
const TEXT: u8 = 0;
/// The beginning of a longer text.
const CUT: u8 = 1;
/// 4 bytes of IPv4 or 16 bytes of IPv6, and the length of the prefix.
const ADDRESS: u8 = 2;
/// A flag beside one of the kinds: the part is a stand-in.
const STAND_IN: u8 = 0x80;

/// A value for people. Bytes that are not UTF-8 become U+FFFD.
fn shown(kind: u8, value: &[u8]) -> String {
    match (kind, value) {
        (ADDRESS, value) => address(value).unwrap_or_default(),
        // A character that the cut went through is dropped.
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

/// Whether `value` without its last `back` bytes ends with a whole character of
/// UTF-8.
fn is_boundary(value: &[u8], back: usize) -> bool {
    str::from_utf8(&value[..value.len() - back])
        .map_or_else(|error| error.error_len().is_some(), |_| true)
}

/// An address in text; a network with its prefix unless that is all of it.
fn address(value: &[u8]) -> Option<String> {
    let (prefix, octets) = value.split_last()?;
    let network = match octets.len() {
        4 => IpNet::new(
            Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
            *prefix,
        ),
        _ => IpNet::new(
            Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
            *prefix,
        ),
    };
    let network = network.ok()?;
    Some(if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    })
}

//! The encoding of Protocol Buffers, for the few messages that the gateway
//! itself writes and reads: <https://protobuf.dev/programming-guides/encoding/>.
//!
//! A message is a row of fields, each with a number and a wire type.
//! The caller knows what the numbers mean.

/// The wire types of a field, in the lower three bits of its tag.
const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
/// The wire type of bytes, texts and messages.
pub const BYTES: u32 = 2;
const FIXED_32: u32 = 5;

/// The value of a field, if it is of a kind that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireValue<'a> {
    /// A whole number or an enumeration.
    Varint(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// A value of four or eight bytes.
    Fixed,
}

/// Takes the first field of a message off, with its number. `None` at the end,
/// and if the field is malformed; `rest` is of no use then.
pub fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, WireValue<'a>)> {
    let tag = take_varint(rest)?;
    let value = match (tag & 7) as u32 {
        VARINT => WireValue::Varint(take_varint(rest)?),
        BYTES => {
            let length = usize::try_from(take_varint(rest)?).ok()?;
            WireValue::Bytes(rest.split_off(..length)?)
        }
        FIXED_64 => rest.split_off(..8).map(|_| WireValue::Fixed)?,
        FIXED_32 => rest.split_off(..4).map(|_| WireValue::Fixed)?,
        _ => return None,
    };
    Some((tag >> 3, value))
}

/// Takes a number off, of at most ten bytes of seven bits each.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Writes the tag and the length of a field of bytes.
pub fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_tag(out, number, BYTES);
    put_varint(out, length as u64);
}

/// Writes a field of bytes.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a field that is a whole number.
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, VARINT);
    put_varint(out, value);
}

/// Writes a field of eight bytes.
pub fn put_fixed_64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a field of four bytes.
pub fn put_fixed_32(out: &mut Vec<u8>, number: u32, value: u32) {
    put_tag(out, number, FIXED_32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The tag of a field.
pub const fn tag(number: u32, wire_type: u32) -> u32 {
    number << 3 | wire_type
}

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(out, tag(number, wire_type).into());
}

/// Writes a number in groups of seven bits, the lowest first.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a field of `length` bytes with its tag and its length.
pub fn bytes_length(number: u32, length: usize) -> usize {
    varint_length(tag(number, BYTES).into()) + varint_length(length as u64) + length
}

/// Bytes of a number.
pub fn varint_length(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_that_is_written_is_read(written in any::<u64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, written);
            prop_assert_eq!(bytes.len(), varint_length(written));
            let mut rest = bytes.as_slice();
            prop_assert_eq!((take_varint(&mut rest), rest), (Some(written), &[][..]));
        }

        #[test]
        fn fields_that_are_written_are_read(number in 1..1_u32 << 29, value: u64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_bytes(&mut out, number, &bytes);
            prop_assert_eq!(out.len(), bytes_length(number, bytes.len()));
            put_varint_field(&mut out, number, value);
            put_fixed_64(&mut out, number, value);
            put_fixed_32(&mut out, number, 1);
            let mut rest = out.as_slice();
            let expected = [
                WireValue::Bytes(&bytes),
                WireValue::Varint(value),
                WireValue::Fixed,
                WireValue::Fixed,
            ];
            for value in expected {
                prop_assert_eq!(take_field(&mut rest), Some((number.into(), value)));
            }
            prop_assert_eq!((take_field(&mut rest), rest), (None, &[][..]));
        }
    }
}

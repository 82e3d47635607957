//! Values other than text, written without an allocation: numbers, addresses,
//! durations.
//!
//! Both full forms use these functions, and the form for terminals some of
//! them, so that a number reads alike everywhere. Nothing here needs escapes:
//! the bytes are ASCII that no client chose.

use std::{net::IpAddr, time::Duration};

use super::{line::Line, pen::Pen};

/// Writes a number in decimal.
#[inline(always)]
pub(super) fn integer(number: u64, pen: &mut Pen<'_>) {
    match number {
        0..=9 => pen.constant(&[b'0' + number as u8]),
        10..EIGHT_DIGITS => {
            let digits = eight_digits(number as u32);
            // The number is not 0, so that a digit is left.
            let zeros = digits.trailing_zeros() / 8;
            let text = (digits | ZEROS) >> (8 * zeros);
            pen.begin_of(&text.to_le_bytes(), 8 - zeros as usize);
        }
        _ => *pen = long_integer(number, pen.lend()),
    }
}

/// Writes a number of more than eight digits.
#[cold]
#[inline(never)]
fn long_integer<'a>(number: u64, mut pen: Pen<'a>) -> Pen<'a> {
    pen.text(itoa::Buffer::new().format(number).as_bytes());
    pen
}

/// Writes a status, which has three digits.
#[inline(always)]
pub(super) fn status(status: u16, pen: &mut Pen<'_>) {
    match status {
        100..=999 => pen.constant(&three_digits(status.into())),
        _ => integer(status.into(), pen),
    }
}

/// The digits of a number below 1000.
#[inline(always)]
pub(super) fn three_digits(number: u32) -> [u8; 3] {
    let [tens, ones] = PAIRS[number as usize % 100];
    [b'0' + (number / 100) as u8, tens, ones]
}

/// The two decimal digits of each number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// Writes a duration in milliseconds, with three decimals; the rest is cut
/// off.
///
/// The number saturates at 2^64 milliseconds, half a billion years.
#[inline(always)]
pub(super) fn millis(duration: Duration, pen: &mut Pen<'_>) {
    let micros = duration.subsec_micros();
    if duration.as_secs() == 0 && micros < 10_000 {
        let [a, b, c] = three_digits(micros % 1000);
        pen.constant(&[b'0' + (micros / 1000) as u8, b'.', a, b, c]);
    } else {
        *pen = long_millis(duration, pen.lend());
    }
}

/// Writes a duration of ten milliseconds or more.
#[inline(never)]
fn long_millis<'a>(duration: Duration, mut pen: Pen<'a>) -> Pen<'a> {
    let millis = duration
        .as_secs()
        .saturating_mul(1000)
        .saturating_add(duration.subsec_millis().into());
    integer(millis, &mut pen);
    let [a, b, c] = three_digits(duration.subsec_micros() % 1000);
    pen.constant(&[b'.', a, b, c]);
    pen
}

/// Writes the address of the client. The client is nearly always the peer,
/// whose address exists as text already.
///
/// The two differ if a trusted proxy or the PROXY protocol names the client.
/// Only then is the address formatted.
#[inline(always)]
pub(super) fn client(line: &Line<'_>, pen: &mut Pen<'_>) {
    match line.client {
        None => pen.text(line.peer_ip.as_bytes()),
        Some(client) => *pen = other_client(client, pen.lend()),
    }
}

/// Writes an address that is not that of the peer.
#[inline(never)]
fn other_client<'a>(client: IpAddr, mut pen: Pen<'a>) -> Pen<'a> {
    pen.text(client.to_canonical().to_string().as_bytes());
    pen
}

/// Writes the 16 hexadecimal digits of a number.
#[inline(always)]
pub(super) fn hex(number: u64, pen: &mut Pen<'_>) {
    let mut text = [0; 16];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = HEX[usize::from(byte)];
    }
    pen.constant(&text);
}

/// The two hexadecimal digits of each byte: every line has the 16 digits of a
/// key, and two at a time take a third of the instructions.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// The first number that has more than eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

/// The digit 0 in each byte.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// The eight decimal digits of a number below [`EIGHT_DIGITS`], each in a byte
/// of its own from 0 to 9, the first digit in the lowest byte.
///
/// Halves the number three times, and divides all parts at once, by a
/// multiplication and a shift ("How to print integers really fast", P. Khuong,
/// 2017).
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    let number = u64::from(number);
    // Two numbers of four digits.
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    // Four of two digits.
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    // Eight of one digit.
    let tens = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::pen::LineText, *};

    #[test]
    fn durations_are_milliseconds_with_three_decimals() {
        let written = |duration| text(|pen| millis(duration, pen));
        assert_eq!(written(Duration::ZERO), "0.000");
        assert_eq!(written(Duration::from_nanos(1_234_567)), "1.234");
        assert_eq!(written(Duration::from_micros(5)), "0.005");
        assert_eq!(written(Duration::from_secs(61)), "61000.000");
        assert_eq!(written(Duration::from_micros(99_999_999)), "99999.999");
        assert_eq!(written(Duration::from_micros(100_000_007)), "100000.007");
        assert_eq!(written(Duration::MAX), format!("{}.999", u64::MAX));
    }

    #[test]
    fn numbers_around_each_power_of_ten_are_decimal() {
        for power in 0..20 {
            let number = 10_u64.pow(power);
            for number in [number - 1, number, number + 1] {
                assert_eq!(text(|pen| integer(number, pen)), number.to_string());
            }
        }
        assert_eq!(text(|pen| integer(u64::MAX, pen)), u64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn every_number_is_decimal(number: u32, shift in 0..32_u32) {
            let number = u64::from(number >> shift);
            prop_assert_eq!(text(|pen| integer(number, pen)), number.to_string());
        }

        #[test]
        fn every_duration_is_decimal(micros in 0..200_000_000_u64) {
            let expected = format!("{}.{:03}", micros / 1000, micros % 1000);
            prop_assert_eq!(text(|pen| millis(Duration::from_micros(micros), pen)), expected);
        }
    }

    fn text(write: impl Fn(&mut Pen<'_>)) -> String {
        let mut lines = LineText::default();
        lines.append(0, |mut pen| {
            write(&mut pen);
            pen
        });
        String::from_utf8(lines.as_slice().to_vec()).unwrap()
    }
}

//! Whether a client's first message, the ClientHello, has arrived completely.
//!
//! Handshakes take turns, as their signatures are the most expensive work that
//! a stranger can cause. A client gets its turn once its ClientHello is
//! complete, so that one that sends it slowly keeps no other client waiting.
//!
//! Only the headers of records and the length of the message are read here (RFC
//! 8446, 4 and 5.1); rustls parses and judges the rest. Bytes that are
//! certainly no ClientHello count as complete, so that rustls refuses them at
//! once.

/// The most bytes that are awaited. Real messages have one or two KiB, or a few
/// more with a large ticket.
const MOST: usize = 32 * 1024;
/// The length of a record's header (RFC 8446, 5.1).
const RECORD_HEAD: usize = 5;
/// The longest payload of a record, with what a cipher may add.
const LONGEST_RECORD: usize = (1 << 14) + 256;
/// The content type of a record that carries handshake messages.
const HANDSHAKE: u8 = 22;
/// The first byte of the version in every record.
const MAJOR: u8 = 3;
/// The type of the handshake message ClientHello.
const CLIENT_HELLO: u8 = 1;

/// Progress of a ClientHello. Each byte is looked at once, however the message
/// is cut into records and segments.
#[derive(Debug, Default)]
pub struct Hello {
    /// Offset of the next record's header.
    next: usize,
    /// Length of the message's part in the records before `next`.
    have: usize,
    /// The message's header, type and length, as far as it has arrived.
    head: [u8; 4],
}

impl Hello {
    /// Whether the message is complete in `bytes`, which must begin with the
    /// bytes of earlier calls.
    ///
    /// Also true if `bytes` are certainly no ClientHello, as nothing more has
    /// to arrive to refuse them.
    ///
    /// ```
    /// use tidegate::tls::Hello;
    ///
    /// // A record of four bytes with an empty ClientHello, which arrives after its header.
    /// let bytes = [22, 3, 1, 0, 4, 1, 0, 0, 0];
    /// let mut hello = Hello::default();
    /// assert!(!hello.is_whole(&bytes[..5]));
    /// assert!(hello.is_whole(&bytes));
    /// assert!(Hello::default().is_whole(b"GET / HTTP/1.1"), "no TLS at all");
    /// ```
    pub fn is_whole(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() >= MOST {
            return true;
        }
        loop {
            let Some(record) = bytes.get(self.next..) else {
                return false;
            };
            let is_handshake = record
                .iter()
                .zip([HANDSHAKE, MAJOR])
                .all(|(byte, expected)| *byte == expected);
            if !is_handshake {
                return true;
            }
            let &[_, _, _, high, low, ref payload @ ..] = record else {
                return false;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 || length > LONGEST_RECORD {
                return true;
            }
            let Some(payload) = payload.get(..length) else {
                return false;
            };
            if let Some(missing) = self.head.get_mut(self.have..) {
                missing
                    .iter_mut()
                    .zip(payload)
                    .for_each(|(to, from)| *to = *from);
            }
            self.next += RECORD_HEAD + length;
            self.have += length;
            let [kind, a, b, c] = self.head;
            let whole = self.head.len() + u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO || self.have >= self.head.len() && self.have >= whole {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello with a body of `length`, in records of at most `cut`.
    fn hello(length: usize, cut: usize) -> Vec<u8> {
        let mut message = vec![CLIENT_HELLO];
        message.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
        message.resize(4 + length, 7);
        let record = |piece: &[u8]| {
            [
                &[
                    HANDSHAKE,
                    MAJOR,
                    1,
                    (piece.len() >> 8) as u8,
                    piece.len() as u8,
                ],
                piece,
            ]
            .concat()
        };
        message.chunks(cut).flat_map(record).collect()
    }

    proptest! {
        #[test]
        fn a_hello_is_whole_with_its_last_byte_however_it_is_cut(
            length in 1_usize..600, cut in 1_usize..700, pieces in prop::collection::vec(1_usize..200, 1..20),
        ) {
            let bytes = hello(length, cut);
            let mut state = Hello::default();
            let mut seen = 0;
            for piece in pieces.into_iter().cycle() {
                prop_assert!(!state.is_whole(&bytes[..seen]));
                if seen + piece >= bytes.len() {
                    break;
                }
                seen += piece;
            }
            prop_assert!(!state.is_whole(&bytes[..bytes.len() - 1]));
            prop_assert!(state.is_whole(&bytes));
        }

        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in prop::collection::vec(prop_oneof![Just(22), Just(3), Just(0), any::<u8>()], 0..300)) {
            let mut state = Hello::default();
            let mut was_whole = false;
            for end in 0..=bytes.len() {
                if !was_whole {
                    was_whole = state.is_whole(&bytes[..end]);
                }
            }
            prop_assert_eq!(Hello::default().is_whole(&bytes), was_whole);
        }
    }

    #[test]
    fn what_is_no_hello_is_not_waited_for() {
        for bytes in [
            &b"\x80"[..],
            b"\x16\x09",
            b"\x17\x03\x03",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\xff\xff",
            b"\x16\x03\x01\0\x01\x02",
        ] {
            assert!(Hello::default().is_whole(bytes), "{bytes:?}");
        }
        assert!(
            Hello::default().is_whole(&hello(MOST, 1 << 14)[..MOST]),
            "longer than any"
        );
    }
}

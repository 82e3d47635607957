//! `traceparent` of W3C Trace Context: the trace that a request belongs to, and
//! the span that it comes from.

use wide::u8x16;

/// Bytes of the field in version 00.
const LENGTH: usize = 55;

/// The name of the field in a line of a head, and the bytes of that line.
const NAME: &[u8] = b"traceparent: ";
const LINE: usize = NAME.len() + LENGTH + 2;

/// The parts of the field: `00-<trace id>-<span id>-<flags>`.
const TRACE_ID: std::ops::Range<usize> = 3..35;
const SPAN_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

/// The flag of a request that is recorded.
const SAMPLED: u8 = 1;
/// The flag of a trace whose id is random (Level 2 of the recommendation).
const RANDOM: u8 = 2;

/// A `traceparent`, as it is written: version 00, in lower case, with no flags
/// but those that are known.
///
/// It is kept as text, as it is usually only copied: to the server, and to the
/// access line.
///
/// ```
/// use tidegate::traces::TraceParent;
///
/// let field = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent = TraceParent::parse(field).unwrap();
/// assert!(parent.is_sampled());
/// assert_eq!(parent.trace_id(), b"0af7651916cd43dd8448eb211c80319c");
/// assert_eq!(parent.as_bytes(), field);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; LENGTH]);

impl TraceParent {
    /// Reads the value of the field; `None` if it is malformed, after which a
    /// trace begins anew.
    ///
    /// A higher version may go on behind a hyphen, and is read as version 00
    /// (Trace Context, "Versioning of traceparent").
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_first_chunk::<LENGTH>()?;
        let version = &known[..2];
        let is_whole = match version {
            b"00" => rest.is_empty(),
            b"ff" => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let are_hyphens = [2, 35, 52].into_iter().all(|at| known[at] == b'-');
        let is_hex = |part: &[u8]| {
            part.iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let are_hex = [version, &known[TRACE_ID], &known[SPAN_ID], &known[FLAGS]];
        let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
        let is_sound = is_whole
            && are_hyphens
            && are_hex.into_iter().all(is_hex)
            && !is_zero(&known[TRACE_ID])
            && !is_zero(&known[SPAN_ID]);
        if !is_sound {
            return None;
        }
        let mut parent = Self(*known);
        parent.0[..2].copy_from_slice(b"00");
        parent.set_flags(parent.flags() & (SAMPLED | RANDOM));
        Some(parent)
    }

    /// The first span of a trace. The halves of the trace's id, and the id of
    /// the span, are not zero.
    #[inline]
    pub fn new(trace_id: (u64, u64), span_id: u64, is_sampled: bool) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..19].copy_from_slice(&digits(trace_id.0));
        text[19..35].copy_from_slice(&digits(trace_id.1));
        text[SPAN_ID].copy_from_slice(&digits(span_id));
        let mut parent = Self(text);
        if is_sampled {
            parent.set_flags(SAMPLED);
        }
        parent
    }

    /// Another span of the same trace.
    #[inline]
    pub fn with_span(mut self, span_id: u64) -> Self {
        self.0[SPAN_ID].copy_from_slice(&digits(span_id));
        self
    }

    /// The same with this flag.
    pub fn with_sampled(mut self, is_sampled: bool) -> Self {
        let others = self.flags() & !SAMPLED;
        self.set_flags(others | u8::from(is_sampled));
        self
    }

    /// The text of the field.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The line of the field in a head.
    #[inline]
    pub fn line(&self) -> [u8; LINE] {
        let mut line = [0; LINE];
        let (name, rest) = line.split_at_mut(NAME.len());
        let (value, end) = rest.split_at_mut(LENGTH);
        name.copy_from_slice(NAME);
        value.copy_from_slice(&self.0);
        end.copy_from_slice(b"\r\n");
        line
    }

    /// The id of the trace in 32 digits.
    #[inline]
    pub fn trace_id(&self) -> &[u8] {
        &self.0[TRACE_ID]
    }

    /// Whether the request is recorded by its caller, or the span is.
    pub fn is_sampled(&self) -> bool {
        self.flags() & SAMPLED != 0
    }

    /// All flags, of which two are known.
    pub fn flags(&self) -> u8 {
        number(&self.0[FLAGS]) as u8
    }

    /// The ids of the trace and of the span as numbers.
    pub fn ids(&self) -> (u128, u64) {
        let span_id = number(&self.0[SPAN_ID]) as u64;
        (number(&self.0[TRACE_ID]), span_id)
    }

    fn set_flags(&mut self, flags: u8) {
        self.0[FLAGS].copy_from_slice(&digits(flags.into())[14..]);
    }
}

/// A number in 16 hexadecimal digits, all at once: its half bytes are spread
/// over the bytes of a vector, and each becomes a digit.
#[inline]
fn digits(number: u64) -> [u8; 16] {
    let halves = |bits: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(bits & 0x0f0f_0f0f_0f0f_0f0f).to_be_bytes());
        u8x16::new(bytes)
    };
    let values = u8x16::unpack_low(halves(number >> 4), halves(number));
    let above_nine = values.saturating_sub(u8x16::splat(9));
    // All bits of a byte that becomes a letter.
    let letters = u8x16::splat(0) - above_nine.min(u8x16::splat(1));
    let to_letter = u8x16::splat(b'a' - b'0' - 10);
    (values + u8x16::splat(b'0') + (letters & to_letter)).to_array()
}

/// The number in digits that were checked.
fn number(digits: &[u8]) -> u128 {
    digits.iter().fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        };
        number << 4 | u128::from(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_sound_field_is_read_and_written_in_version_00() {
        for (value, written) in [
            (format!("00-{TRACE}-{SPAN}-00"), "00"),
            (format!("00-{TRACE}-{SPAN}-01"), "01"),
            // The flag of Level 2 stays, and unknown ones do not.
            (format!("00-{TRACE}-{SPAN}-02"), "02"),
            (format!("00-{TRACE}-{SPAN}-03"), "03"),
            (format!("00-{TRACE}-{SPAN}-ff"), "03"),
            (format!("00-{TRACE}-{SPAN}-fc"), "00"),
            (format!("01-{TRACE}-{SPAN}-01"), "01"),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), "01"),
            (format!("cc-{TRACE}-{SPAN}-01-"), "01"),
        ] {
            let parent = TraceParent::parse(value.as_bytes()).expect(&value);
            let expected = format!("00-{TRACE}-{SPAN}-{written}");
            assert_eq!(parent.as_bytes(), expected.as_bytes(), "{value}");
        }
    }

    #[test]
    fn a_malformed_field_is_none() {
        let zero_trace = "0".repeat(32);
        let zero_span = "0".repeat(16);
        let upper = TRACE.to_uppercase();
        for value in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{zero_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{zero_span}-01"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn another_span_and_another_decision_leave_the_rest() {
        let field = format!("00-{TRACE}-{SPAN}-03");
        let parent = TraceParent::parse(field.as_bytes()).unwrap();
        let next = parent.with_span(0xabc).with_sampled(false);
        let expected = format!("00-{TRACE}-0000000000000abc-02");
        assert_eq!(next.as_bytes(), expected.as_bytes());
        let (trace, span) = parent.ids();
        assert_eq!(
            format!("{trace:032x} {span:016x}"),
            format!("{TRACE} {SPAN}")
        );
    }

    proptest! {
        #[test]
        fn any_ids_are_written_as_the_field_has_them(high: u64, low: u64, span: u64, is_sampled: bool) {
            let parent = TraceParent::new((high, low), span, is_sampled);
            let flags = u8::from(is_sampled);
            let expected = format!("00-{high:016x}{low:016x}-{span:016x}-{flags:02x}");
            prop_assert_eq!(parent.as_bytes(), expected.as_bytes());
            let is_zero = span == 0 || (high, low) == (0, 0);
            prop_assert_eq!(TraceParent::parse(parent.as_bytes()), (!is_zero).then_some(parent));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(value in prop::collection::vec(any::<u8>(), 0..70)) {
            if let Some(parent) = TraceParent::parse(&value) {
                prop_assert_eq!(TraceParent::parse(parent.as_bytes()), Some(parent));
            }
        }
    }
}

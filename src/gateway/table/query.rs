//! The request's query in the route match, decoded when a candidate route asks for it and never before.

use std::{borrow::Cow, cell::OnceCell};

/// Query parameters of one request.
#[derive(Debug)]
pub(super) struct Query<'r> {
    raw: Option<&'r [u8]>,
    /// Sorted, so that a long query costs many candidates a short search each.
    decoded: OnceCell<Vec<Pair<'r>>>,
}

type Pair<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

impl<'r> Query<'r> {
    /// The query as received, without its `?`.
    pub(super) fn new(raw: Option<&'r [u8]>) -> Self {
        Self { raw, decoded: OnceCell::new() }
    }

    /// Whether the parameter `name` is there with this value, if only once among others.
    pub(super) fn holds(&self, name: &str, value: &str) -> bool {
        let wanted = (name.as_bytes(), value.as_bytes());
        self.decoded().binary_search_by(|(name, value)| (name.as_ref(), value.as_ref()).cmp(&wanted)).is_ok()
    }

    fn decoded(&self) -> &[Pair<'r>] {
        self.decoded.get_or_init(|| {
            let parts = self.raw.unwrap_or_default().split(|&byte| byte == b'&').filter(|part| !part.is_empty());
            let mut pairs: Vec<Pair<'r>> = parts.map(pair).collect();
            pairs.sort_unstable();
            pairs
        })
    }
}

fn pair(part: &[u8]) -> Pair<'_> {
    match part.iter().position(|&byte| byte == b'=') {
        Some(equals) => (decode(&part[..equals]), decode(&part[equals + 1..])),
        None => (decode(part), Cow::Borrowed(b"")),
    }
}

/// Takes percent-escapes and `+` back; a `%` without two hex digits behind it stands for itself.
fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'+' => (b' ', after),
            b'%' => escape(after).unwrap_or((b'%', after)),
            other => (other, after),
        };
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(decoded)
}

fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = after.split_first_chunk::<2>()?;
    Some((hex(high)? << 4 | hex(low)?, rest))
}

fn hex(digit: u8) -> Option<u8> {
    // A hex digit is below 16, so nothing is cut off.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

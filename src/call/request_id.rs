//! The identity of a request: the client's own if it is presentable, otherwise 128 random bits.

use http::HeaderMap;

/// The header that carries it, in and out.
pub const HEADER: &str = "x-request-id";

/// Longest identity that is taken over from a client.
const LONGEST: usize = 128;

/// A request's identity: printable ASCII without spaces or quotes.
#[derive(Debug, Clone)]
pub struct RequestId(Form);

#[derive(Debug, Clone)]
enum Form {
    Given(Box<str>),
    Made([u8; 32]),
}

impl RequestId {
    /// The client's if it sent a presentable one, otherwise a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|value| is_presentable(value));
        Self(match given {
            Some(value) => Form::Given(value.into()),
            None => Form::Made(hex(rand::random())),
        })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Given(text) => text,
            Form::Made(digits) => std::str::from_utf8(digits).unwrap_or_default(),
        }
    }
}

fn is_presentable(value: &str) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte))
}

fn hex(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * index)) as usize & 15];
    }
    digits
}

//! The identity of a request: the client's own if it is presentable, otherwise
//! one of our own.

use std::cell::Cell;

use http::{HeaderMap, HeaderName};

/// The header that carries it, in and out.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

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
    /// A new one.
    pub fn made() -> Self {
        Self(Form::Made(next()))
    }

    /// The client's if it sent a presentable one, otherwise a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get(HEADER)
            .and_then(|value| value.to_str().ok())
            .filter(|value| is_presentable(value));
        Self(match given {
            Some(value) => Form::Given(value.into()),
            None => Form::Made(next()),
        })
    }

    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Given(text) => text.as_bytes(),
            Form::Made(digits) => digits,
        }
    }
}

fn is_presentable(value: &str) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte))
}

/// 64 random bits of the thread and a count, in hexadecimal digits: unique
/// without a look at the random numbers for each request.
fn next() -> [u8; 32] {
    thread_local! {
        static LAST: Cell<([u8; 16], u64)> = Cell::new((hex(rand::random()), rand::random::<u32>().into()));
    }
    let (thread, count) = LAST.get();
    LAST.set((thread, count.wrapping_add(1)));
    let mut digits = [0; 32];
    digits[..16].copy_from_slice(&thread);
    digits[16..].copy_from_slice(&hex(count));
    digits
}

fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

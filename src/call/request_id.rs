//! The identity of a request: the client's own if it is presentable, otherwise one of our own.

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
    /// The client's if it sent a presentable one, otherwise a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|value| is_presentable(value));
        Self(match given {
            Some(value) => Form::Given(value.into()),
            None => Form::Made(hex(next())),
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

/// 64 random bits of the thread and a count: unique without a look at the random numbers for each request.
fn next() -> [u8; 16] {
    thread_local! {
        static LAST: Cell<(u64, u64)> = Cell::new((rand::random(), rand::random::<u32>().into()));
    }
    let (thread, count) = LAST.get();
    LAST.set((thread, count.wrapping_add(1)));
    (u128::from(thread) << 64 | u128::from(count)).to_be_bytes()
}

fn hex(bytes: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

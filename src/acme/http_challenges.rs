//! Responses to authorities that look for a challenge by HTTP (HTTP-01, RFC
//! 8555, 8.3).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

/// Where authorities look, up to the token.
const PATH: &[u8] = b"/.well-known/acme-challenge/";

/// The tokens of the challenges that are pending, each with its response.
///
/// There is one for each order that is under way, and orders run one after the
/// other, so that the map stays small. A token is 22 characters or more of an
/// authority's choice, and no secret.
#[derive(Debug, Default)]
pub struct HttpChallenges {
    /// The number of tokens, so that a request costs one read while there is
    /// none.
    count: AtomicUsize,
    /// The responses by token.
    by_token: Mutex<HashMap<Box<str>, Arc<str>>>,
}

impl HttpChallenges {
    /// The response to a request for `path`, as the client sent it; `None` for
    /// everything that is no pending challenge.
    #[inline]
    pub fn response(&self, path: &[u8]) -> Option<Arc<str>> {
        match self.count.load(Relaxed) {
            0 => None,
            _ => self.find(path),
        }
    }

    fn find(&self, path: &[u8]) -> Option<Arc<str>> {
        let token = std::str::from_utf8(path.strip_prefix(PATH)?).ok()?;
        self.by_token.lock().get(token).cloned()
    }

    /// Responds to requests for `token` with `response`, until the guard is
    /// dropped.
    #[must_use]
    pub(super) fn show(self: &Arc<Self>, token: &str, response: &str) -> ShownToken {
        let mut by_token = self.by_token.lock();
        by_token.insert(token.into(), response.into());
        self.count.store(by_token.len(), Relaxed);
        ShownToken {
            challenges: Arc::clone(self),
            token: token.into(),
        }
    }
}

/// A token that is responded to; no longer, once this is dropped.
#[derive(Debug)]
pub(super) struct ShownToken {
    /// Where it is responded to.
    challenges: Arc<HttpChallenges>,
    /// The token.
    token: Box<str>,
}

impl Drop for ShownToken {
    fn drop(&mut self) {
        let mut by_token = self.challenges.by_token.lock();
        by_token.remove(&self.token);
        self.challenges.count.store(by_token.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_responded_to_while_it_is_shown() {
        let challenges = Arc::new(HttpChallenges::default());
        let path = b"/.well-known/acme-challenge/abc";
        assert_eq!(challenges.response(path), None);
        let shown = challenges.show("abc", "abc.thumb");
        assert_eq!(challenges.response(path).as_deref(), Some("abc.thumb"));
        for other in [
            &b"/.well-known/acme-challenge/"[..],
            b"/.well-known/acme-challenge/abd",
            b"/.well-known/acme-challenge/abc/",
            b"/.well-known/acme-challenge/\xff",
            b"/abc",
            b"",
        ] {
            assert_eq!(challenges.response(other), None, "{other:?}");
        }
        drop(shown);
        assert_eq!(challenges.response(path), None);
    }
}

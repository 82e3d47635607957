//! What a route changes in answers on their way back: those of its upstream, and those that it gives by itself.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::{body::Trailers, message::Response};

/// Fields that are taken out and put in.
#[derive(Debug, Clone, Default)]
pub struct AnswerChanges {
    /// Set, in place of what the answer had.
    set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    remove: Vec<HeaderName>,
    /// The names of both.
    decided: Option<Arc<[HeaderName]>>,
}

impl AnswerChanges {
    /// Sets these fields, in place of what the answer has, and removes those.
    pub fn new(set: Vec<(HeaderName, HeaderValue)>, remove: Vec<HeaderName>) -> Self {
        let decided: Vec<_> = set
            .iter()
            .map(|(name, _)| name)
            .chain(&remove)
            .cloned()
            .collect();
        let decided = (!decided.is_empty()).then(|| decided.into());
        Self {
            set,
            remove,
            decided,
        }
    }

    /// Makes them. Nor may the answer's trailers say what its head does not.
    pub(super) fn make_in(&self, answer: &mut Response) {
        if let Some(names) = self.decided.as_ref().filter(|_| !answer.body.is_whole()) {
            answer
                .body
                .set_trailers(Trailers::Without(Arc::clone(names)));
        }
        for name in &self.remove {
            answer.fields.remove(name);
        }
        for (name, value) in &self.set {
            answer.fields.remove(name);
            answer.fields.push(name.as_str(), value.as_bytes());
        }
    }
}

//! What a route changes in answers on their way back: those of its upstream, and those that it gives by itself.

use http::{HeaderName, HeaderValue};

use crate::message::Response;

/// Fields that are taken out and put in.
#[derive(Debug, Clone, Default)]
pub struct AnswerChanges {
    /// Set, in place of what the answer had.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl AnswerChanges {
    /// Makes them.
    pub(super) fn make_in(&self, answer: &mut Response) {
        for name in &self.remove {
            answer.fields.remove(name);
        }
        for (name, value) in &self.set {
            answer.fields.remove(name);
            answer.fields.push(name.as_str(), value.as_bytes());
        }
    }
}

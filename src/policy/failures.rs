//! The ways in which an attempt at a server fails, as a set.
//!
//! Retries and ejections name the same failures with the same words:
//! [`Retry`](super::Retry) and [`Ejection`](super::Ejection) say what follows
//! from them.

use super::StatusSet;

/// Some of the ways in which an attempt fails. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// No connection was made. For retries also a pooled one that turned out to
    /// be closed before any byte of the response.
    pub connect: bool,
    /// The connection broke: for retries before any byte of the response, for
    /// ejections at any time before its end. For ejections also a response that
    /// is not HTTP.
    pub reset: bool,
    /// The attempt timed out.
    pub timeout: bool,
    /// The response has one of these statuses.
    pub statuses: StatusSet,
}

impl FromIterator<Failures> for Failures {
    fn from_iter<I: IntoIterator<Item = Failures>>(parts: I) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.connect |= part.connect;
            all.reset |= part.reset;
            all.timeout |= part.timeout;
            all.statuses = [all.statuses, part.statuses].into_iter().collect();
        }
        all
    }
}

//! An error on its way through the stack of a route, with the facts that layers
//! need about the attempt that ended with it.
//!
//! Retry asks whether a server may have seen the request and whether another
//! server is left; rate limits give tokens back for a request that no server
//! has seen.

use super::Error;

/// An error on its way out through the layers of a route.
///
/// `Failed::from(error)` is for a request that a server may have seen, or that
/// failed by the client's own doing: it has used the tokens it took.
/// [`Failed::unseen`] is for a request that no server has seen.
///
/// ```
/// use tidegate::error::{Error, Failed, Seen};
///
/// let refused = Failed::unseen(Error::NoHealthyServer { upstream: "app".into() });
/// assert_eq!(refused.seen, Seen::No);
/// assert_eq!(Failed::from(Error::ClientGone).seen, Seen::Maybe);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The error.
    pub error: Error,
    /// Whether a server may have seen one of the request's attempts.
    pub seen: Seen,
    /// Whether there is a healthy server that was not tried yet. Known only of
    /// an attempt that no server has seen, and false otherwise.
    pub has_alternative: bool,
}

/// Whether a server may have seen a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// No server has: it is safe to send the request again, whatever its
    /// method, and it gets its tokens back.
    No,
    /// A server may have acted on it.
    Maybe,
}

impl Failed {
    /// A request that failed before any server could see it.
    pub fn unseen(error: Error) -> Self {
        Self {
            error,
            seen: Seen::No,
            has_alternative: false,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            seen: Seen::Maybe,
            has_alternative: false,
        }
    }
}

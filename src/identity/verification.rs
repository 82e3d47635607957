//! The answer of an identity to a credential, at once or later.

use std::{fmt, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{claims::Identified, rejected::Rejected};

/// A credential, and what is known of the request that it came with.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'r> {
    /// The credential, which is not empty.
    pub credential: &'r [u8],
    /// The address of the client, which shares what is bounded by address.
    pub client: IpAddr,
    /// The present moment.
    pub now: Instant,
}

/// The client that a credential stands for, or why none is known.
pub type Verified = Result<Arc<Identified>, NotIdentified>;

/// The verification of a credential.
pub enum Verification {
    /// The answer is known.
    Done(Verified),
    /// The answer comes later. It comes within a time that the method bounds,
    /// as no timeout of a route covers this wait. Must be polled on the worker
    /// that asked; dropping it gives up all that it holds.
    Pending(PendingVerification),
}

/// An answer that comes later.
pub type PendingVerification = Pin<Box<dyn Future<Output = Verified> + Send>>;

/// Why a credential identifies nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIdentified {
    /// It does not verify.
    Rejected(Rejected),
    /// Nobody can say at the moment whether it does.
    Unavailable {
        /// When it is worth to try again, from now.
        retry_after: Duration,
    },
}

impl From<Rejected> for NotIdentified {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(verified) => f.debug_tuple("Done").field(verified).finish(),
            Self::Pending(_) => f.debug_tuple("Pending").finish_non_exhaustive(),
        }
    }
}

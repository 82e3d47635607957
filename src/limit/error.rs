//! Why a limit, or a quota for single keys of it, cannot be made.

use thiserror::Error;

/// Why a limit, or a quota for single keys of it, could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimiterError {
    /// There is no memory for so many keys.
    #[error("no memory for {max_keys} keys")]
    TooManyKeys {
        /// The bound that was asked for.
        max_keys: usize,
    },
    /// The limit has seen too many different quotas for single keys.
    #[error(
        "single keys have had more than 65535 different rates and bursts; a restart forgets them"
    )]
    TooManyQuotas,
}

//! A share that is drawn: of the access lines that are written, of the requests
//! that are recorded in traces.

use std::fmt;

/// A share in millionths. Displayed as a fraction of one.
///
/// ```
/// use tidegate::policy::SampledShare;
///
/// let share = SampledShare::of_million(1000);
/// assert!(share.takes(999) && !share.takes(1000));
/// assert_eq!(share.to_string(), "0.001");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledShare(u32);

impl SampledShare {
    /// The whole, in millionths of it.
    pub const ALL: u32 = 1_000_000;

    /// So many of a million; more are all.
    pub fn of_million(parts: u32) -> Self {
        Self(parts.min(Self::ALL))
    }

    /// Whether it takes the one that draws this number below [`Self::ALL`].
    pub fn takes(self, drawn: u32) -> bool {
        drawn < self.0
    }

    /// The fraction of one, from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL)
    }
}

impl fmt::Display for SampledShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fraction())
    }
}

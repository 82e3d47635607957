//! Quotas that some keys of a limit have instead of its own.
//!
//! A bucket's debt is a time, so it means something only together with the
//! quota under which it came about. Each slot of the table therefore has a
//! *class*: 0 for the limit's own quota, or the number of another one in this
//! list. A request under a different quota first converts the debt, keeping the
//! share of the bucket that is used. So quotas of single keys can come, change
//! and go at any time, and a key that was exhausted never gets a fresh bucket
//! by it.
//!
//! # Reloads
//!
//! The list belongs to the limit and not to one of its cores. A reload of the
//! limit's own quota changes the meaning of class 0 alone: debts of that class
//! are converted as they move to the next table, and those of all other classes
//! move as they are.

use parking_lot::Mutex;

use super::{Gcra, LimiterError};

/// The most different quotas that single keys of one limit can have had in its
/// life; some 16 bytes each.
const MOST_CLASSES: usize = u16::MAX as usize;

/// The quotas by class, from 1 on. The list only grows, since a slot may hold a
/// debt of any of them. Requests come here only when a debt is converted, or
/// given back under another quota than the limit's own.
#[derive(Debug, Default)]
pub(super) struct Classes(Mutex<Vec<Gcra>>);

impl Classes {
    /// Returns the quota with its class: that of an equal quota, if there was
    /// one before.
    ///
    /// # Errors
    /// The list is full.
    pub(super) fn register(&self, quota: Gcra) -> Result<Gcra, LimiterError> {
        let quota = quota.with_class(0);
        let mut known = self.0.lock();
        let index = match known.iter().position(|known| *known == quota) {
            Some(index) => index,
            None if known.len() == MOST_CLASSES => return Err(LimiterError::TooManyQuotas),
            None => {
                known.push(quota);
                known.len() - 1
            }
        };
        u16::try_from(index + 1)
            .map(|class| quota.with_class(class))
            .map_err(|_| LimiterError::TooManyQuotas)
    }

    /// The quota of a class; `None` for class 0, the limit's own.
    pub(super) fn get(&self, class: u16) -> Option<Gcra> {
        let index = usize::from(class).checked_sub(1)?;
        self.0.lock().get(index).copied()
    }
}

#[cfg(test)]
impl Classes {
    /// A list with no room left.
    pub(super) fn full() -> Self {
        let quota = |emission| Gcra::from_parts(emission, 1);
        Self(Mutex::new((1..=MOST_CLASSES as u64).map(quota).collect()))
    }
}

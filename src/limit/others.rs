//! Numbers that some keys of a limit have instead of its own.
//!
//! A bucket's debt is a time, so it means something only together with the rate and burst under which it came about. Each
//! slot of the table therefore has a *class*: 0 for the limit's own numbers, or the place of others in this list. Who
//! comes with other numbers than those converts the debt first, by the share of the bucket that is used. So numbers of
//! single keys can come, change and go at any time, and nobody who was exhausted has a fresh bucket.

use parking_lot::Mutex;

use super::bucket::Pace;
use super::{Quota, SettingsError};

/// Different numbers that one limit can have seen in its life; some 16 bytes each.
const MOST_NUMBERS: usize = u16::MAX as usize;

/// The numbers by class, from 1 on. Only grows: a slot may hold a debt in any of them. Requests come here only when a
/// debt is converted or given back under other numbers.
#[derive(Debug, Default)]
pub(super) struct Others(Mutex<Vec<Pace>>);

impl Others {
    /// The quota with its class: that of the same numbers, where these were here before.
    pub(super) fn class_of(&self, quota: Quota) -> Result<Quota, SettingsError> {
        let mut known = self.0.lock();
        let place = match known.iter().position(|pace| *pace == quota.pace()) {
            Some(place) => place,
            None if known.len() == MOST_NUMBERS => return Err(SettingsError::TooManyNumbers),
            None => {
                known.push(quota.pace());
                known.len() - 1
            }
        };
        u16::try_from(place + 1)
            .map(|class| quota.of_class(class))
            .map_err(|_| SettingsError::TooManyNumbers)
    }

    /// What a class stands for; nothing for the limit's own numbers.
    pub(super) fn numbers(&self, class: u16) -> Option<Pace> {
        let place = usize::from(class).checked_sub(1)?;
        self.0.lock().get(place).copied()
    }
}

#[cfg(test)]
impl Others {
    /// With as many numbers as there can be.
    pub(super) fn full() -> Self {
        let pace = |emission| Pace {
            emission,
            burst: std::num::NonZeroU32::MIN,
        };
        Self(Mutex::new((1..=MOST_NUMBERS as u64).map(pace).collect()))
    }
}

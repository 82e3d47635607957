//! The two steps of a decision for a bucket in its usual state: its key is in
//! the first slot of its window, and nobody changes it at this moment.
//! Everything else takes the way in `core`, which decides alike.
//!
//! Both steps are inlined, so that an offer stays in registers: a decision of
//! two limits takes 205 instructions instead of 487.

use std::time::Duration;

use super::Gcra;
use super::core::{Core, Taken, Want};
use super::table::Glance;

/// Tokens that a glance has found available.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuickOffer<'a> {
    bucket: Glance<'a>,
    want: Want<'a>,
    /// The quota that counts.
    gcra: &'a Gcra,
    /// The bucket's TAT once the tokens are taken.
    tat: u64,
}

impl Core {
    /// The first step, which takes nothing: an offer, or the time to wait for
    /// the tokens. `None` if the bucket is not in its usual state.
    #[inline(always)]
    pub(super) fn glance<'a>(&'a self, want: Want<'a>) -> Option<Result<QuickOffer<'a>, Duration>> {
        let bucket = self.table.glance(want.key)?;
        if bucket.class != want.class() {
            return None;
        }
        let gcra = want.quota.unwrap_or(&self.gcra);
        let tat = gcra.conform(want.now, bucket.tat, want.cost);
        Some(tat.map(|tat| QuickOffer {
            bucket,
            want,
            gcra,
            tat,
        }))
    }
}

impl QuickOffer<'_> {
    /// The second step: takes exactly this. `None` if another thread changed
    /// the bucket in between; nothing was taken then.
    #[inline(always)]
    pub(super) fn accept(self) -> Option<Taken> {
        let is_taken = self.bucket.replace(self.tat);
        is_taken.then(|| Taken::of(&self.want, self.gcra, self.tat))
    }
}

//! Limits that keep their debts over a restart, each with the identity by which
//! a file of debts is recognised as its own.
//!
//! A debt is the time until a bucket is full again. The process writes debts to
//! a file while it runs and at its end, and reads them at its start, so that an
//! orderly restart gives no client a fresh burst. This file only says which
//! limits take part, and under which identity; files are read and written by
//! `app`.
//!
//! The identity is a hash under the secret seed of the process, as bucket keys
//! are. A file that was written under another seed, or for other parts of a
//! key, holds keys that no request would find, and is refused as a whole.

use std::{num::NonZeroUsize, sync::Arc};

use super::state::State;
use crate::{
    limit::{KeyValue, Limiter},
    policy::{KeyPart, Limit, Missing, TierNetworks},
};

/// A limit, or a tier of one, whose debts outlive the process.
#[derive(Debug)]
pub struct Persisted<'s> {
    /// Its name.
    pub name: &'s Arc<str>,
    /// Equal in two processes exactly if the keys of its buckets are: a file
    /// with another identity cannot be used.
    pub identity: u64,
    /// Its buckets.
    pub limiter: &'s Limiter,
    /// The most keys that have a bucket.
    pub max_keys: NonZeroUsize,
}

impl State {
    /// The limits with `persist = true`, each followed by its tiers.
    ///
    /// The order is that of the configuration. Candidates are left out: they
    /// refuse nobody, so that nothing depends on their debts.
    pub fn persisted(&self) -> Vec<Persisted<'_>> {
        let mut persisted = Vec::new();
        for limit in &self.config.limits {
            if !limit.persist {
                continue;
            }
            persisted.extend(self.persisted_as(&limit.name, limit, None));
            for tier in &limit.tiers {
                persisted.extend(self.persisted_as(&tier.name, limit, Some(tier.networks)));
            }
        }
        persisted
    }

    /// A limit, or its tier with these networks, under the name of its buckets.
    ///
    /// `tier` is `None` for the limit itself. The result is `None` if no
    /// buckets have this name.
    fn persisted_as<'s>(
        &'s self,
        name: &'s Arc<str>,
        limit: &Limit,
        tier: Option<TierNetworks>,
    ) -> Option<Persisted<'s>> {
        // Made by the hasher itself, so that another seed is another identity.
        let mut identity = self.hasher.key(name);
        let parts = made_of(limit, tier);
        identity.add(&KeyPart::Path, &KeyValue::text(parts.as_bytes()));
        Some(Persisted {
            name,
            identity: identity.finish().hash(),
            limiter: self.limits.get(name)?,
            max_keys: limit.max_keys,
        })
    }
}

/// A text that describes the keys of a limit's buckets. The identity in files
/// of earlier versions is hashed from it: it must stay as it is.
///
/// The parts are joined by commas, and the part that stands in for a missing
/// one follows behind `|`, empty if there is none. A tier puts its own prefix
/// length in the position of the limit's. Rate and burst are left out: they may
/// change without making keys invalid.
fn made_of(limit: &Limit, tier: Option<TierNetworks>) -> String {
    let mut parts = Vec::new();
    for part in &limit.key {
        parts.push(part_text(part, tier));
    }
    let missing = match &limit.missing {
        Missing::Use(other) => part_text(other, tier),
        Missing::Skip | Missing::Refuse => String::new(),
    };
    format!("{}|{missing}", parts.join(","))
}

/// A part of a key in the text of [`made_of`]: as in the configuration, but
/// that an address has its IPv6 prefix, or that of a tier, even if it is the
/// default. An IPv4 prefix is there unless addresses count whole.
fn part_text(part: &KeyPart, tier: Option<TierNetworks>) -> String {
    let KeyPart::ClientIp(own) = part else {
        return part.to_string();
    };
    match tier {
        None if own.v4 == 32 => format!("client-ip/{}", own.v6),
        None => format!("client-ip/{}/{}", own.v4, own.v6),
        Some(TierNetworks::V6(v6)) => format!("client-ip/{v6}"),
        Some(TierNetworks::V4(v4)) => format!("client-ip/{v4}/"),
        Some(TierNetworks::Both(both)) => format!("client-ip/{}/{}", both.v4, both.v6),
    }
}

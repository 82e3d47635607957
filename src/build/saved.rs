//! Limits that keep their debts over a restart, each with the identity by which
//! a file of debts is recognised as its own.

use std::{num::NonZeroUsize, sync::Arc};

use super::state::State;
use crate::{
    limit::{KeyValue, Limiter},
    policy::{KeyPart, Limit, Missing},
};

/// A limit, or a tier of one, whose debts outlive the process.
#[derive(Debug)]
pub struct Persisted<'s> {
    /// Its name.
    pub name: &'s Arc<str>,
    /// Equal in two processes exactly if the keys of its buckets are: a file with
    /// another identity cannot be used.
    pub identity: u64,
    /// Its buckets.
    pub limiter: &'s Limiter,
    /// The most keys that have a bucket.
    pub max_keys: NonZeroUsize,
}

impl State {
    /// The limits with `persist = true`, each followed by its tiers.
    pub fn persisted(&self) -> impl Iterator<Item = Persisted<'_>> {
        let limits = self.config.limits.iter().filter(|limit| limit.persist);
        limits.flat_map(move |limit| {
            let tiers = limit
                .tiers
                .iter()
                .map(|tier| (&tier.name, Some(tier.prefix)));
            let all = std::iter::once((&limit.name, None)).chain(tiers);
            all.filter_map(move |(name, prefix)| self.persisted_as(name, limit, prefix))
        })
    }

    /// A limit, or its tier with this prefix length, under the name of its
    /// buckets.
    fn persisted_as<'s>(
        &'s self,
        name: &'s Arc<str>,
        limit: &Limit,
        prefix: Option<u8>,
    ) -> Option<Persisted<'s>> {
        // Made by the hasher itself, so that another seed is another identity.
        let mut identity = self.hasher.key(name);
        let parts = made_of(limit, prefix);
        identity.add(&KeyPart::Path, &KeyValue::text(parts.as_bytes()));
        Some(Persisted {
            name,
            identity: identity.finish().hash(),
            limiter: self.limits.get(name)?,
            max_keys: limit.max_keys,
        })
    }
}

/// A text that describes the keys of a limit's buckets. The identity in files of
/// earlier versions is hashed from it: it must stay as it is.
fn made_of(limit: &Limit, prefix: Option<u8>) -> String {
    let part = |part: &KeyPart| match part {
        KeyPart::ClientIp { v6_prefix } => format!("client-ip/{}", prefix.unwrap_or(*v6_prefix)),
        other => other.to_string(),
    };
    let missing = match &limit.missing {
        Missing::Use(other) => part(other),
        Missing::Skip | Missing::Refuse => String::new(),
    };
    let parts: Vec<_> = limit.key.iter().map(part).collect();
    format!("{}|{missing}", parts.join(","))
}

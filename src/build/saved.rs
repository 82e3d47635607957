//! Which limits keep their debts over a restart, and by what a file of debts is
//! known to be theirs.

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
    /// The same in another process exactly if the keys of its buckets are.
    pub identity: u64,
    /// Its buckets.
    pub limiter: &'s Limiter,
    /// Most of them.
    pub max_keys: NonZeroUsize,
}

impl State {
    /// Those with `persist = true`.
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

/// What the keys of its buckets are made of. Stands in files of earlier
/// versions: it must stay as it is.
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

//! The keys of a request under all limits of its route, as access lines have
//! them if the configuration asks for that.
//!
//! They are those by which the limits decide, so that a line leads to the keys
//! of `/limits`. A limit that does not apply to the request, as this lacks a
//! part of the key, has none.

use super::{key, question::Inquiry};

impl Inquiry<'_> {
    /// Notes the key of the request under each limit and tier.
    #[cold]
    pub(super) fn note_keys(&self) {
        let exchange = self.exchange;
        let mut keys = Vec::new();
        for limit in self.limits.iter() {
            let own = limit.key(exchange);
            keys.extend(own.map(|key| (limit.name, key.hash())));
            let tiers = limit.policy.tiers.iter().zip(&limit.tiers);
            for (index, (tier, buckets)) in tiers.enumerate() {
                let bits = tier.bits(exchange.client.ip);
                let key =
                    bits.and_then(|bits| key::wider(&buckets.begun, &limit.policy, bits, exchange));
                keys.extend(key.map(|key| (limit.name + 1 + index, key.finish().hash())));
            }
        }
        let mut facts = exchange.facts.lock();
        facts.chosen.get_or_insert_default().keys = keys;
    }
}

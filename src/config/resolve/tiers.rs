//! `tiers` of a limit: buckets of wider networks of the client's address.
//!
//! A tier counts networks of IPv4, of IPv6, or of both. Its name says which, as
//! it stands in metrics and views.

use std::sync::Arc;

use super::{
    allowance::Beside,
    checks::{Unique, every},
    limits::numbers,
};
use crate::config::{
    field::Given,
    problem::Code,
    wire::{limits as wire, tables::NamedEntry},
};
use crate::policy::{KeyPart, Missing, Prefixes, Tier, TierNetworks};

/// Buckets of wider networks. They bound a client that owns many small
/// networks; a tier as narrow as the key would count the same again.
///
/// Each tier has a bucket for the client's network by its own prefixes. A
/// prefix is given once, and is shorter than that of the key, as bits count
/// from the left. `None` if any tier has a mistake; that the key has no client
/// address is reported once, for all of them.
pub(super) fn tiers(
    entry: &NamedEntry<wire::Limit>,
    missing: &Missing,
    beside: &mut Beside<'_>,
) -> Option<Vec<Tier>> {
    let tiers = &entry.field.value()?.tiers;
    let own = narrowest_client(beside.key, missing);
    if tiers.is_present() && own.is_none() {
        let message =
            "tiers are wider networks of the client's address, which is no part of this key";
        let help = "add \"client-ip\" to `key`, or leave `tiers` out";
        let problems = &mut beside.problems;
        problems.error(Code::Conflict, tiers.at(), message, help);
    }
    let mut prefixes = Unique::new();
    every(tiers, |field| {
        let tier = field.value()?;
        let networks = networks(tier);
        if !tier.prefix.is_present() && !tier.prefix4.is_present() {
            let message = "a tier needs the size of its networks";
            let help = "add `prefix = 56` for IPv6, `prefix4 = 24` for IPv4, or both";
            beside
                .problems
                .error(Code::MissingKey, field.at(), message, help);
        }
        let of_v6 = (tier.prefix.read(), tier.prefix.place(field.at()));
        let of_v4 = (tier.prefix4.read(), tier.prefix4.place(field.at()));
        for (is_v4, (prefix, at)) in [(false, of_v6), (true, of_v4)] {
            let Some(prefix) = prefix else { continue };
            let own = own.map(|own| if is_v4 { own.v4 } else { own.v6 });
            if let Some(own) = own.filter(|own| prefix >= *own) {
                let message = format!("a tier of /{prefix} is not wider than the key's /{own}");
                let help = "write fewer bits, or leave it out";
                beside.problems.error(Code::Conflict, at, message, help);
            }
            if prefixes.add((is_v4, prefix), at).is_some() {
                let message = format!("two tiers of /{prefix}");
                let help = "keep one of the two";
                beside.problems.error(Code::Duplicate, at, message, help);
            }
        }
        let networks = networks?;
        let own = numbers(field.at(), &tier.rate, &tier.burst, &tier.in_flight);
        Some(Tier {
            name: name(&entry.name, networks),
            networks,
            allowance: beside.allowance(&own)?,
        })
    })
}

/// The networks of a tier. `None` if it names none, or has a mistake in one.
pub(super) fn networks(tier: &wire::Tier) -> Option<TierNetworks> {
    match (tier.prefix4.optional()?, tier.prefix.optional()?) {
        (Some(v4), Some(v6)) => Some(TierNetworks::Both(Prefixes { v4, v6 })),
        (Some(v4), None) => Some(TierNetworks::V4(v4)),
        (None, Some(v6)) => Some(TierNetworks::V6(v6)),
        (None, None) => None,
    }
}

/// Bits of an address by which the key tells clients apart: the fewest of its
/// parts and of the stand-in. `None` if the client's address is no part.
///
/// The fewest bits make the widest network. A tier has to be wider than every
/// one of them, as it would otherwise count the same requests a second time.
fn narrowest_client(key: &[KeyPart], missing: &Missing) -> Option<Prefixes> {
    let stand_in = match missing {
        Missing::Use(part) if !key.is_empty() => Some(part),
        _ => None,
    };
    let of_client = |part: &KeyPart| match part {
        KeyPart::ClientIp(prefixes) => Some(*prefixes),
        _ => None,
    };
    let fewest = |one: Prefixes, other: Prefixes| Prefixes {
        v4: one.v4.min(other.v4),
        v6: one.v6.min(other.v6),
    };
    key.iter()
        .chain(stand_in)
        .filter_map(of_client)
        .reduce(fewest)
}

/// The name of the buckets of a tier, by the bits of its prefixes.
pub(super) fn name(limit: &str, networks: TierNetworks) -> Arc<str> {
    match networks {
        TierNetworks::V4(v4) => format!("{limit}/v4-{v4}").into(),
        TierNetworks::V6(v6) => format!("{limit}/{v6}").into(),
        TierNetworks::Both(Prefixes { v4, v6 }) => format!("{limit}/{v4}-{v6}").into(),
    }
}

//! `[limits.NAME]`.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;

use super::{
    super::{
        problem::{Code, Problem, Problems},
        syntax::{self, header, key, status},
        units,
    },
    overrides,
    reader::Reader,
};
use crate::policy::{Candidate, Cost, KeyPart, Limit, Missing, Quota, QuotaError, Tier};

pub(super) fn limit(name: &str, limit: Reader<'_>, problems: &mut Problems) -> Option<Limit> {
    let quota = quota(limit, problems);
    let cost = cost(limit, problems);
    let most = cost.as_ref().map_or(0, Cost::most);
    if let Some(quota) = quota
        && most > quota.burst().get()
    {
        let burst = quota.burst();
        let place = limit
            .table("cost")
            .given("max")
            .map_or(limit.place("cost"), |max| max.span);
        let problem = Problem::new(
            Code::Conflict,
            place,
            format!("a cost of {most} never fits into a burst of {burst}"),
        );
        problems.report(problem.help("lower the cost, or raise `burst`"));
    }
    if limit.is_broken("key") {
        return None;
    }
    let key = limit.list("key", key::part);
    let (missing, stand_ins) = missing(limit, &key, most, problems)?;
    let tiers = tiers(name, limit, (&key, &missing), most, problems);
    let overrides = overrides::overrides(limit, &key, most, problems);
    let candidate = candidate(name, limit, most, problems);
    Some(Limit {
        name: syntax::name(name).ok()?,
        quota: quota?,
        shared: limit.text("scope")? == "shared",
        cost: cost?,
        shadow: limit.text("mode")? == "shadow",
        candidate: candidate?,
        count: limit
            .entry("count")
            .map(|_| limit.list("count", status::statuses)),
        overrides: overrides?,
        tiers: tiers?,
        key,
        missing,
        stand_ins,
        max_keys: limit.at_least_one("max_keys")?,
        persist: limit.flag("persist")?,
        status: StatusCode::from_u16(u16::try_from(limit.whole("status")?).ok()?).ok()?,
    })
}

/// How an absent part of the key is dealt with, and the quota of requests without one, where it is another.
fn missing(
    limit: Reader<'_>,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<(Missing, Option<Quota>)> {
    if limit
        .given("missing")
        .is_none_or(|given| given.table().is_none())
    {
        return Some((limit.parsed("missing", key::missing)?, None));
    }
    let table = limit.table("missing");
    if key.is_empty() {
        let message =
            "without a key there is one bucket for everyone, and nothing that can be absent";
        let problem = Problem::new(Code::Conflict, limit.place("missing"), message);
        problems.report(problem.help("add `key`, or leave `missing` out"));
    }
    let quota = quota_for(table, most, problems)?;
    Some((Missing::Use(table.parsed("key", key::part)?), Some(quota)))
}

/// What outlives the process is written somewhere.
pub(super) fn need_a_place(
    limits: &[(&str, Reader<'_>)],
    server: Reader<'_>,
    problems: &mut Problems,
) {
    if problems.incomplete || server.is_broken("state_dir") || server.given("state_dir").is_some() {
        return;
    }
    for (_, limit) in limits
        .iter()
        .filter(|(_, limit)| limit.flag("persist") == Some(true))
    {
        let message = "`persist = true` has nowhere to write: `[server]` has no `state_dir`";
        let problem = Problem::new(Code::Conflict, limit.place("persist"), message);
        problems.report(problem.help(
            "name a folder for it, such as `state_dir = \"/var/lib/tidegate\"` in `[server]`",
        ));
    }
}

/// `rate` and `burst` of a limit, a tier or the like.
pub(super) fn quota(reader: Reader<'_>, problems: &mut Problems) -> Option<Quota> {
    let rate = reader.parsed("rate", units::rate)?;
    let burst = if reader.given("burst").is_some() {
        reader.at_least_one_u32("burst")?
    } else {
        rate.count
    };
    let quota = Quota::new(rate, burst);
    if let Err(QuotaError::TooSlow { burst }) = quota {
        let message =
            format!("a burst of {burst} at this rate takes more than 73 years to come back");
        let problem = Problem::new(Code::Conflict, reader.place("burst"), message);
        problems.report(problem.help("lower `burst` or raise `rate`"));
    }
    quota.ok()
}

/// As [`quota`], of something through which a request of the limit has to fit.
pub(super) fn quota_for(reader: Reader<'_>, most: u32, problems: &mut Problems) -> Option<Quota> {
    let quota = quota(reader, problems)?;
    if most > quota.burst().get() {
        let burst = quota.burst();
        let message = format!(
            "a cost of {most}, which this limit's requests can have, never fits into a burst of {burst}"
        );
        let place = if reader.given("burst").is_some() {
            reader.place("burst")
        } else {
            reader.place("rate")
        };
        problems.report(
            Problem::new(Code::Conflict, place, message)
                .help(format!("set `burst` to {most} or more")),
        );
    }
    Some(quota)
}

fn cost(limit: Reader<'_>, problems: &mut Problems) -> Option<Cost> {
    if limit.given("cost").and_then(|node| node.table()).is_none() {
        return Some(Cost::Fixed(u32::try_from(limit.whole("cost")?).ok()?));
    }
    let cost = limit.table("cost");
    let whole = |key| {
        cost.whole(key)
            .and_then(|number| u32::try_from(number).ok())
    };
    let (name, default, max) = (
        cost.parsed("header", header::name)?,
        whole("default")?,
        whole("max")?,
    );
    if default > max {
        let message = format!(
            "a default of {default} is above the most that a request can cost, `max = {max}`"
        );
        let problem = Problem::new(Code::Conflict, cost.place("default"), message);
        problems.report(problem.help(format!("lower `default` to {max} or less, or raise `max`")));
    }
    Some(Cost::Header { name, default, max })
}

/// `Some(None)` is a limit without a candidate.
fn candidate(
    name: &str,
    limit: Reader<'_>,
    most: u32,
    problems: &mut Problems,
) -> Option<Option<Candidate>> {
    if limit.entry("candidate").is_none() {
        return Some(None);
    }
    let quota = quota_for(limit.table("candidate"), most, problems)?;
    Some(Some(Candidate {
        name: candidate_name(name),
        quota,
    }))
}

fn candidate_name(limit: &str) -> Arc<str> {
    format!("{limit}/candidate").into()
}

fn tiers(
    name: &str,
    limit: Reader<'_>,
    (key, missing): (&[KeyPart], &Missing),
    most: u32,
    problems: &mut Problems,
) -> Option<Vec<Tier>> {
    let parts = key.iter().chain(match missing {
        Missing::Use(part) if !key.is_empty() => Some(part),
        _ => None,
    });
    let of_client = |part: &KeyPart| match part {
        KeyPart::ClientIp { v6_prefix } => Some(u64::from(*v6_prefix)),
        _ => None,
    };
    let own = parts.filter_map(of_client).min();
    if limit.given("tiers").is_some() && own.is_none() {
        let message =
            "tiers are wider networks of the client's address, which is no part of this key";
        let help = "add \"client-ip\" to `key`, or leave `tiers` out";
        problems.report(Problem::new(Code::Conflict, limit.place("tiers"), message).help(help));
    }
    let mut tiers: Vec<(u64, Option<Tier>)> = Vec::new();
    for reader in limit.tables("tiers") {
        let Some(prefix) = reader.whole("prefix") else {
            continue;
        };
        if own.is_some_and(|own| prefix >= own) {
            let message = format!(
                "a tier of /{prefix} is not wider than the key's /{}",
                own.unwrap_or_default()
            );
            let help = "write fewer bits, or leave it out";
            problems
                .report(Problem::new(Code::Conflict, reader.place("prefix"), message).help(help));
        }
        if tiers.iter().any(|(other, _)| *other == prefix) {
            let problem = Problem::new(
                Code::Duplicate,
                reader.place("prefix"),
                format!("two tiers of /{prefix}"),
            );
            problems.report(problem.help("keep one of the two"));
        }
        let quota = quota_for(reader, most, problems);
        let tier = |(quota, prefix_bits)| Tier {
            name: tier_name(name, prefix),
            prefix: prefix_bits,
            quota,
        };
        tiers.push((prefix, quota.zip(u8::try_from(prefix).ok()).map(tier)));
    }
    if tiers.len() < limit.tables("tiers").len() {
        return None;
    }
    tiers.into_iter().map(|(_, tier)| tier).collect()
}

fn tier_name(limit: &str, prefix: u64) -> Arc<str> {
    format!("{limit}/{prefix}").into()
}

/// No limit is called as the buckets beside another one are.
pub(super) fn unique_names(limits: &[(&str, Reader<'_>)], problems: &mut Problems) {
    let beside = limits.iter().flat_map(|(name, limit)| {
        let tiers = limit
            .tables("tiers")
            .into_iter()
            .filter_map(|tier| Some(tier_name(name, tier.whole("prefix")?)));
        let candidate = limit.entry("candidate").map(|_| candidate_name(name));
        tiers
            .chain(candidate)
            .map(|beside| (beside, limit.at))
            .collect::<Vec<_>>()
    });
    let beside: BTreeMap<_, _> = beside.collect();
    for (name, limit) in limits {
        if let Some(other) = beside.get(*name) {
            let message = format!("`{name}` is what the buckets beside another limit are called");
            let problem =
                Problem::new(Code::Duplicate, limit.at, message).also(*other, "the other limit");
            problems.report(problem.help("give this one another name"));
        }
    }
}

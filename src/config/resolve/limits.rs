//! `[limits.NAME]`.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use super::{
    super::{
        field::{Field, Given},
        problem::{Code, Problem, Problems},
        source::Span,
        syntax,
        wire::{
            File,
            limits::{self as wire, Burst, Mode, Scope},
            syntaxes::PerTime,
            tables::{Either, NamedEntry},
            text::Text,
        },
    },
    overrides,
};
use crate::policy::{Candidate, Cost, KeyPart, Limit, Missing, Quota, QuotaError, Rate, Tier};

pub(super) fn limits(file: &File, problems: &mut Problems) -> Vec<Option<Limit>> {
    if file.limits.is_broken() {
        return vec![None];
    }
    let entries = file.limits.elements();
    unique_names(entries, problems);
    need_a_place(entries, file, problems);
    entries.iter().map(|entry| limit(entry, problems)).collect()
}

fn limit(entry: &NamedEntry<wire::Limit>, problems: &mut Problems) -> Option<Limit> {
    let limit = entry.section.value()?;
    let at = entry.section.at();
    let pace = Pace::of(&limit.rate, &limit.burst, at);
    let quota = pace.quota(problems);
    let cost = cost(limit, at, problems);
    let most = cost.as_ref().map_or(0, Cost::most);
    if let Some(quota) = quota
        && most > quota.burst().get()
    {
        let burst = quota.burst();
        problems.error(
            Code::Conflict,
            place_of_cost(limit, at),
            format!("a cost of {most} never fits into a burst of {burst}"),
            "lower the cost, or raise `burst`",
        );
    }
    if limit.key.is_broken() {
        return None;
    }
    let key = limit.key.read().unwrap_or_default();
    let (missing, stand_ins) = missing(limit, at, &key, most, problems)?;
    let tiers = tiers(entry, &key, &missing, most, problems);
    let overrides = overrides::overrides(&limit.overrides, &key, most, problems);
    let candidate = candidate(entry, limit, most, problems);
    Some(Limit {
        name: syntax::name(&entry.name).ok()?,
        quota: quota?,
        shared: limit.scope.value? == Scope::Shared,
        cost: cost?,
        shadow: limit.mode.value? == Mode::Shadow,
        candidate: candidate?,
        count: limit.count.read(),
        overrides: overrides?,
        tiers: tiers?,
        key,
        missing,
        stand_ins,
        max_keys: limit.max_keys.read()?,
        persist: limit.persist.value?,
        status: limit.status.read()?,
    })
}

/// How an absent part of the key is dealt with, and the quota of requests
/// without one, where it is another.
fn missing(
    limit: &wire::Limit,
    at: Span,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<(Missing, Option<Quota>)> {
    let at = limit.missing.place(at);
    let table = match limit.missing.value()? {
        Either::Short(missing) => return Some((missing.value.clone(), None)),
        Either::Long(table) => table,
    };
    if key.is_empty() {
        let message =
            "without a key there is one bucket for everyone, and nothing that can be absent";
        problems.error(
            Code::Conflict,
            at,
            message,
            "add `key`, or leave `missing` out",
        );
    }
    let quota = Pace::of(&table.rate, &table.burst, at).quota_for(most, problems)?;
    Some((Missing::Use(table.key.read()?), Some(quota)))
}

/// A limit that outlives the process needs a folder to be written to.
fn need_a_place(entries: &[NamedEntry<wire::Limit>], file: &File, problems: &mut Problems) {
    let has_a_place = match file.server.entry() {
        Some(server) => server
            .value()
            .is_none_or(|server| server.state_dir.is_present()),
        None => false,
    };
    if problems.incomplete || has_a_place {
        return;
    }
    for limit in entries.iter().filter_map(|entry| entry.section.value()) {
        if limit.persist.value == Some(true) {
            let message = "`persist = true` has nowhere to write: `[server]` has no `state_dir`";
            let at = limit.persist.at();
            problems.error(
                Code::Conflict,
                at,
                message,
                "name a folder for it, such as `state_dir = \"/var/lib/tidegate\"` in `[server]`",
            );
        }
    }
}

/// `rate` and `burst` of a limit, a tier or the like.
pub(super) struct Pace {
    rate: Option<Rate>,
    /// `None`: the number of the rate.
    burst: Option<NonZeroU32>,
    is_broken: bool,
    /// Where the burst stands, or else the section.
    at_burst: Span,
    /// Where the burst stands, or else the rate.
    at: Span,
}

impl Pace {
    /// `section` is the place of the section that has the two.
    pub(super) fn of(
        rate: &Field<Text<PerTime>>,
        burst: &Option<Field<Burst>>,
        section: Span,
    ) -> Self {
        Self::new(rate.read(), rate.place(section), burst, section)
    }

    pub(super) fn new(
        rate: Option<Rate>,
        at_rate: Span,
        burst: &Option<Field<Burst>>,
        section: Span,
    ) -> Self {
        Self {
            rate,
            burst: burst.read(),
            is_broken: burst.is_broken(),
            at_burst: burst.place(section),
            at: burst.given().map_or(at_rate, |_| burst.place(section)),
        }
    }

    fn quota(&self, problems: &mut Problems) -> Option<Quota> {
        let rate = self.rate?;
        if self.is_broken {
            return None;
        }
        let quota = Quota::new(rate, self.burst.unwrap_or(rate.count));
        if let Err(QuotaError::TooSlow { burst }) = quota {
            let message =
                format!("a burst of {burst} at this rate takes more than 73 years to come back");
            problems.error(
                Code::Conflict,
                self.at_burst,
                message,
                "lower `burst` or raise `rate`",
            );
        }
        quota.ok()
    }

    /// The quota of something through which a request of the limit has to fit.
    pub(super) fn quota_for(&self, most: u32, problems: &mut Problems) -> Option<Quota> {
        let quota = self.quota(problems)?;
        let burst = quota.burst();
        if most > burst.get() {
            let message = format!(
                "a cost of {most}, which this limit's requests can have, never fits into a burst of {burst}"
            );
            problems.error(
                Code::Conflict,
                self.at,
                message,
                format!("set `burst` to {most} or more"),
            );
        }
        Some(quota)
    }
}

fn cost(limit: &wire::Limit, at: Span, problems: &mut Problems) -> Option<Cost> {
    let cost = match limit.cost.value()? {
        Either::Short(cost) => return Some(Cost::Fixed(cost.0)),
        Either::Long(cost) => cost,
    };
    let (name, default, max) = (
        cost.header.read()?,
        cost.default.read()?,
        cost.max.read()?.get(),
    );
    if default > max {
        let message = format!(
            "a default of {default} is above the most that a request can cost, `max = {max}`"
        );
        let at = cost.default.place(limit.cost.place(at));
        problems.error(
            Code::Conflict,
            at,
            message,
            format!("lower `default` to {max} or less, or raise `max`"),
        );
    }
    Some(Cost::Header { name, default, max })
}

/// Where the most that a request can cost is written.
fn place_of_cost(limit: &wire::Limit, at: Span) -> Span {
    match limit.cost.value() {
        Some(Either::Long(cost)) => cost.max.place(limit.cost.place(at)),
        _ => limit.cost.place(at),
    }
}

/// `Some(None)` is a limit without a candidate.
fn candidate(
    entry: &NamedEntry<wire::Limit>,
    limit: &wire::Limit,
    most: u32,
    problems: &mut Problems,
) -> Option<Option<Candidate>> {
    let Some(field) = &limit.candidate else {
        return Some(None);
    };
    let candidate = field.value()?;
    let pace = Pace::of(&candidate.rate, &candidate.burst, field.at());
    Some(Some(Candidate {
        name: candidate_name(&entry.name),
        quota: pace.quota_for(most, problems)?,
    }))
}

fn candidate_name(limit: &str) -> Arc<str> {
    format!("{limit}/candidate").into()
}

fn tiers(
    entry: &NamedEntry<wire::Limit>,
    key: &[KeyPart],
    missing: &Missing,
    most: u32,
    problems: &mut Problems,
) -> Option<Vec<Tier>> {
    let limit = entry.section.value()?;
    let own = narrowest_client(key, missing);
    if limit.tiers.is_present() && own.is_none() {
        let message =
            "tiers are wider networks of the client's address, which is no part of this key";
        let help = "add \"client-ip\" to `key`, or leave `tiers` out";
        let at = limit.tiers.at();
        problems.error(Code::Conflict, at, message, help);
    }
    if limit.tiers.is_broken() {
        return None;
    }
    let mut before: Vec<u8> = Vec::new();
    let mut tiers = Vec::new();
    for field in limit.tiers.elements() {
        let tier = field.value();
        let (Some(tier), Some(prefix)) = (tier, tier.and_then(|tier| tier.prefix.read())) else {
            tiers.push(None);
            continue;
        };
        let section = field.at();
        let at = tier.prefix.place(section);
        if let Some(own) = own.filter(|own| prefix >= *own) {
            let message = format!("a tier of /{prefix} is not wider than the key's /{own}");
            let help = "write fewer bits, or leave it out";
            problems.error(Code::Conflict, at, message, help);
        }
        if before.contains(&prefix) {
            problems.error(
                Code::Duplicate,
                at,
                format!("two tiers of /{prefix}"),
                "keep one of the two",
            );
        }
        before.push(prefix);
        let pace = Pace::of(&tier.rate, &tier.burst, section);
        tiers.push(pace.quota_for(most, problems).map(|quota| Tier {
            name: tier_name(&entry.name, prefix),
            prefix,
            quota,
        }));
    }
    tiers.into_iter().collect()
}

/// Bits of an IPv6 address by which the key tells clients apart, at least.
fn narrowest_client(key: &[KeyPart], missing: &Missing) -> Option<u8> {
    let stand_in = match missing {
        Missing::Use(part) if !key.is_empty() => Some(part),
        _ => None,
    };
    let of_client = |part: &KeyPart| match part {
        KeyPart::ClientIp { v6_prefix } => Some(*v6_prefix),
        _ => None,
    };
    key.iter().chain(stand_in).filter_map(of_client).min()
}

fn tier_name(limit: &str, prefix: u8) -> Arc<str> {
    format!("{limit}/{prefix}").into()
}

/// No limit is called as the buckets beside another one are.
fn unique_names(entries: &[NamedEntry<wire::Limit>], problems: &mut Problems) {
    let mut beside: BTreeMap<Arc<str>, Span> = BTreeMap::new();
    for entry in entries {
        let Some(limit) = entry.section.value() else {
            continue;
        };
        let at = entry.section.at();
        for tier in limit.tiers.elements().iter().filter_map(Given::value) {
            if let Some(prefix) = tier.prefix.read() {
                beside.insert(tier_name(&entry.name, prefix), at);
            }
        }
        if limit.candidate.is_present() {
            beside.insert(candidate_name(&entry.name), at);
        }
    }
    for entry in entries {
        let name = entry.name.as_str();
        if let Some(other) = beside.get(name) {
            let message = format!("`{name}` is what the buckets beside another limit are called");
            let at = entry.section.at();
            let problem =
                Problem::new(Code::Duplicate, at, message).also(*other, "the other limit");
            problems.report(problem.help("give this one another name"));
        }
    }
}

//! `[limits.NAME]`: token buckets, or caps on requests in flight, one for each
//! key.
//!
//! Beside its own buckets, a limit may have others that decide or count with
//! them: those of stand-ins for an absent key, of a candidate, of wider
//! networks (`tiers`), and with other numbers for some keys (`overrides`). All
//! of them see the same requests, so that the most expensive request has to fit
//! into the burst of each.
//!
//! A tier or a candidate has a name made of that of its limit, under which it
//! stands in metrics and views. No limit may have such a name.
//!
//! # Order within a limit
//!
//! 1. The limit's own allowance, which says of which kind the limit is, and
//!    keys that its kind does not have.
//! 2. The cost, whose largest value has to fit into the burst of each bucket.
//! 3. The key, and how requests without a part of it are counted.
//! 4. Everything beside the own buckets, with the largest cost and the key at
//!    hand: stand-ins, tiers, overrides, the candidate.
//!
//! If the cost has a mistake, the largest cost counts as 0, so that no second
//! mistake follows from it.

use std::{collections::HashMap, sync::Arc};

use super::{
    allowance::{Beside, LimitKind, NumberKey, Numbers},
    checks::every,
    cost, overrides, tiers,
};
use crate::config::{
    field::{Field, Given},
    problem::{Code, Problem, Problems},
    source::Span,
    syntax,
    wire::{
        File,
        limits::{self as wire, Burst, Mode, MostInFlight, Scope},
        scalar::Scalar,
        syntaxes::PerTime,
        tables::{Either, NamedEntry},
    },
};
use crate::policy::{Allowance, Ban, BanAt, Candidate, Cost, KeyPart, Limit, Missing};

/// Resolves all limits, in the order of their names. `None` if any of them, or
/// the section itself, has a mistake.
///
/// Two checks look at all limits together, before any of them is built: names
/// that would stand twice in metrics, and limits that outlive the process
/// without a folder to be written to.
pub(super) fn limits(file: &File, problems: &mut Problems) -> Option<Vec<Limit>> {
    let entries = file.limits.elements();
    unique_names(entries, problems);
    for entry in entries {
        need_a_place(entry, file, problems);
    }
    every(&file.limits, |entry| limit(entry, problems))
}

/// One limit. Its largest cost and its key are resolved first: everything
/// beside its own buckets has to fit to them.
fn limit(entry: &NamedEntry<wire::Limit>, problems: &mut Problems) -> Option<Limit> {
    let limit = entry.field.value()?;
    let at = entry.field.at();
    let own = numbers(at, &limit.rate, &limit.burst, &limit.in_flight);
    let kind = own.kind();
    if kind == LimitKind::InFlight {
        refuse_keys_of_rates(limit, problems);
    }
    let cost = cost::cost(limit, problems);
    let is_in_bytes = cost.as_ref().is_none_or(Cost::is_in_bytes);
    let allowance = own.allowance(is_in_bytes, problems);
    let most = cost.as_ref().map_or(0, Cost::most);
    let quota = allowance.and_then(|allowance| allowance.rate());
    let burst = quota.map(|quota| quota.burst());
    if let Some(burst) = burst.filter(|burst| (1..most).contains(burst)) {
        let message = format!("a cost of {most} never fits into a burst of {burst}");
        let help = "lower the cost, or raise `burst`";
        problems.error(Code::Conflict, cost::place(limit, at), message, help);
    }
    let key = limit.key.optional()?.unwrap_or_default();
    let missing = missing(limit, &key, problems)?;
    let mut beside = Beside {
        key: &key,
        kind,
        most,
        is_in_bytes,
        problems,
    };
    let stand_ins = stand_ins(limit, &mut beside);
    let tiers = tiers::tiers(entry, &missing, &mut beside);
    let overrides = overrides::overrides(&limit.overrides, &mut beside);
    let plans = overrides::plans(&limit.plans, &mut beside);
    let candidate = limit
        .candidate
        .if_given(|table| candidate(&entry.name, (table, limit.candidate.at()), &mut beside));
    refuse_delay_of_shared(limit, beside.problems);
    let ban = limit
        .ban
        .if_given(|table| ban(table, beside.key, beside.problems));
    Some(Limit {
        delay: limit.delay.read(),
        ban: ban?,
        name: syntax::name(&entry.name).ok()?,
        allowance: allowance?,
        shared: limit.scope.value? == Scope::Shared,
        cost: cost?,
        shadow: limit.mode.value? == Mode::Shadow,
        candidate: candidate?,
        count: limit.count.read(),
        overrides: overrides?,
        plans: plans?,
        tiers: tiers?,
        missing,
        stand_ins: stand_ins?,
        max_keys: limit.max_keys.read()?,
        persist: limit.persist.value?,
        status: limit.status.read()?,
        key,
    })
}

/// The keys of a table that say how much a key may have; `at` is its place.
pub(super) fn numbers<'f>(
    at: Span,
    rate: &'f Option<Field<Scalar<PerTime>>>,
    burst: &'f Option<Field<Burst>>,
    in_flight: &'f Option<Field<MostInFlight>>,
) -> Numbers<'f> {
    Numbers {
        at,
        rate: NumberKey::new("rate", rate, rate.read()),
        rate_text: rate.value().map(|rate| &*rate.text),
        burst,
        in_flight: NumberKey::new("in_flight", in_flight, in_flight.read()),
    }
}

/// Reports keys beside `in_flight` that are about tokens.
fn refuse_keys_of_rates(limit: &wire::Limit, problems: &mut Problems) {
    let persists = limit.persist.value == Some(true);
    let keys = [
        (
            "delay",
            limit.delay.entry().map(|field| field.at()),
            "no time brings a permit back",
        ),
        (
            "cost",
            limit.cost.entry().map(|field| field.at()),
            "a request is in flight once, whatever it costs",
        ),
        (
            "count",
            limit.count.entry().map(|field| field.at()),
            "a permit comes back with any response",
        ),
        (
            "persist",
            limit
                .persist
                .entry()
                .map(|field| field.at())
                .filter(|_| persists),
            "no request is in flight over a restart",
        ),
    ];
    for (name, at, reason) in keys {
        if let Some(at) = at {
            let message = format!("`{name}` has no meaning beside `in_flight`: {reason}");
            let help = format!("leave `{name}` out");
            problems.error(Code::Conflict, at, message, help);
        }
    }
}

/// How requests are counted in which a part of the key is absent or empty.
///
/// The long form has a quota of its own for stand-ins, which `stand_ins`
/// resolves. It needs a key, since without one no part can be absent.
fn missing(limit: &wire::Limit, key: &[KeyPart], problems: &mut Problems) -> Option<Missing> {
    match limit.missing.value()? {
        Either::Short(missing) => Some(missing.value.clone()),
        Either::Long(table) => {
            if key.is_empty() {
                let message = "without a key there is one bucket for everyone, and nothing that can be absent";
                let help = "add `key`, or leave `missing` out";
                problems.error(Code::Conflict, limit.missing.at(), message, help);
            }
            table.key.read().map(Missing::Use)
        }
    }
}

/// A limit that outlives the process needs a folder to be written to, and one
/// that is shared needs a store: it would count alone, and so admit several
/// times its rate.
///
/// Nothing is reported while a part of the file could not be read, as the other
/// section may stand there, and a `[server]` that is broken may have the folder.
fn need_a_place(entry: &NamedEntry<wire::Limit>, file: &File, problems: &mut Problems) {
    let Some(limit) = entry.field.value().filter(|_| !problems.incomplete) else {
        return;
    };
    let has_folder = match file.server.value() {
        Some(server) => server.state_dir.is_present(),
        None => file.server.is_broken(),
    };
    if limit.persist.value == Some(true) && !has_folder {
        let message = "`persist = true` has nowhere to write: `[server]` has no `state_dir`";
        let help =
            "name a folder for it, such as `state_dir = \"/var/lib/tidegate\"` in `[server]`";
        problems.error(Code::Conflict, limit.persist.at(), message, help);
    }
    if limit.scope.value == Some(Scope::Shared) && !file.store.is_present() {
        let name = &entry.name;
        let message =
            format!("limit `{name}` is shared, and there is no store to share it through");
        let help =
            "name it: `[store]` with `url = \"redis://127.0.0.1:6379\"`, or leave `scope` out";
        problems.error(Code::Conflict, limit.scope.at(), message, help);
    }
}

/// The allowance of requests with a stand-in for an absent part of the key;
/// `Some(None)`: the limit's own.
///
/// Requests with a stand-in have buckets apart from those of the key. An
/// allowance of their own lets a limit be narrow for requests that do not say
/// whose they are.
fn stand_ins(limit: &wire::Limit, beside: &mut Beside<'_>) -> Option<Option<Allowance>> {
    match limit.missing.value()? {
        Either::Short(_) => Some(None),
        Either::Long(table) => {
            let at = limit.missing.at();
            let own = numbers(at, &table.rate, &table.burst, &table.in_flight);
            beside.allowance(&own).map(Some)
        }
    }
}

/// Reports a `delay` beside a store: a queue here knows nothing of the requests
/// that wait in other gateways.
fn refuse_delay_of_shared(limit: &wire::Limit, problems: &mut Problems) {
    if let Some(delay) = limit.delay.entry()
        && limit.scope.value == Some(Scope::Shared)
    {
        let message = "requests can only wait for tokens that this gateway counts alone, and the limit is shared";
        let help = "leave `delay` out, or `scope`";
        problems.error(Code::Conflict, delay.at(), message, help);
    }
}

/// How keys come to be banned. `None` after a mistake.
///
/// At the accept nothing of a client is known but its address. A ban that is
/// shorter than the time of its count is fine: a new count begins with it.
fn ban(table: &wire::Ban, key: &[KeyPart], problems: &mut Problems) -> Option<Ban> {
    let at = table.at.value?;
    if at == BanAt::Connection && !matches!(key, [KeyPart::ClientIp(_)]) {
        let message = "only an address can be banned at the connection: nothing else of a client is known by then";
        let help = "set `key = \"client-ip\"`, or leave `at` out";
        problems.error(Code::Conflict, table.at.at(), message, help);
    }
    Some(Ban {
        refusals: table.refusals.read()?,
        within: table.within.read()?,
        time: table.r#for.read()?,
        at,
    })
}

/// Numbers to try.
///
/// The candidate sees the requests of the limit with the same key and cost, and
/// refuses nothing. `None` after a mistake.
fn candidate(
    limit: &str,
    (table, at): (&wire::Candidate, Span),
    beside: &mut Beside<'_>,
) -> Option<Candidate> {
    let own = numbers(at, &table.rate, &table.burst, &table.in_flight);
    let allowance = beside.allowance(&own)?;
    let name = candidate_name(limit);
    Some(Candidate { name, allowance })
}

/// The name of the buckets of a limit's candidate, in metrics and views.
fn candidate_name(limit: &str) -> Arc<str> {
    format!("{limit}/candidate").into()
}

/// No limit has the name of the buckets beside another one: both would have the
/// same row in metrics and views.
///
/// Two names of buckets beside limits are never the same: each begins with the
/// name of its limit, and ends with a word without a slash.
fn unique_names(entries: &[NamedEntry<wire::Limit>], problems: &mut Problems) {
    let mut beside: HashMap<Arc<str>, Span> = HashMap::new();
    for NamedEntry { name, field } in entries {
        let Some(limit) = field.value() else {
            continue;
        };
        for networks in limit.tiers.values().filter_map(tiers::networks) {
            beside.insert(tiers::name(name, networks), field.at());
        }
        if limit.candidate.is_present() {
            beside.insert(candidate_name(name), field.at());
        }
    }
    for NamedEntry { name, field } in entries {
        if let Some(other) = beside.get(name.as_str()) {
            let message = format!("`{name}` is what the buckets beside another limit are called");
            let problem = Problem::new(Code::Duplicate, field.at(), message);
            let problem = problem.also(*other, "the other limit");
            problems.report(problem.help("give this one another name"));
        }
    }
}

//! `overrides` of a limit: other numbers for some keys.
//!
//! An override has a list of patterns, and a pattern has a value for each part
//! of the limit's key: `*` for any, a network for the client's address, or the
//! value itself in the form that requests have (a host in lower case, a path in
//! normal form). The first override with a pattern that fits a key wins.
//!
//! A network in a pattern is no narrower than that of a bucket. By default one
//! bucket counts an IPv6 /64, and of two addresses in it the first to come
//! would choose the numbers for both.

use ipnet::IpNet;

use super::{
    allowance::{Beside, NumberKey, Numbers},
    checks::every,
};
use crate::config::{
    field::{Field, Given},
    problem::Code,
    source::Span,
    syntax::{address, host, path},
    wire::{
        limits as wire,
        lists::{OneOrMany, Tables},
        scalar::{Or, Scalar, Unlimited},
        syntaxes::{KeyValue, PerTime},
        tables::{Named, NamedEntry},
    },
    wrong::Wrong,
};
use crate::policy::{Allowance, KeyPart, Override, Plan, Prefixes, ValuePattern};

/// Most overrides of one limit: bounds the memory of their table, and the time
/// in which networks are compared one by one.
const MOST_OVERRIDES: usize = 10_000;
/// A value, or several, as the file has them.
type Pattern = Field<OneOrMany<Scalar<KeyValue>>>;

/// Any value.
///
/// The sign stands for a whole part of a key, and is no sign within a value.
const ANY: &str = "*";

/// The overrides of a limit, in the order of the file.
///
/// Absent is an empty list. `None` after a mistake; two mistakes are about the
/// list as a whole, and its items are not looked at then: a limit without a
/// key, and too many overrides.
pub(super) fn overrides(
    entry: &Option<Field<Tables<wire::Override>>>,
    limit: &mut Beside<'_>,
) -> Option<Vec<Override>> {
    let Some(field) = entry else {
        return Some(Vec::new());
    };
    let at = field.at();
    let number = field.value()?.len();
    if limit.key.is_empty() {
        let message =
            "without a key there is one bucket for everyone, and nobody to make an exception for";
        let help = "add `key`, or leave `overrides` out";
        limit.problems.error(Code::Conflict, at, message, help);
        return None;
    }
    if number > MOST_OVERRIDES {
        let message = format!("a limit has at most {MOST_OVERRIDES} overrides");
        let help =
            "put values that have the same numbers into one `match`, which is a list of any length";
        limit.problems.error(Code::BadValue, at, message, help);
        return None;
    }
    every(entry, |field| {
        an_override(field.value()?, field.at(), limit)
    })
}

/// One override: its patterns, and its allowance; `None` is no bound at all.
/// `at` is its place.
///
/// The burst beside a rate follows the rules of the limit's own: absent, it is
/// the count of the rate.
fn an_override(table: &wire::Override, at: Span, limit: &mut Beside<'_>) -> Option<Override> {
    let matches = patterns(table, limit);
    let keys = ExceptionKeys {
        at,
        rate: &table.rate,
        burst: &table.burst,
        in_flight: &table.in_flight,
    };
    let allowance = keys.allowance(limit)?;
    let matches = matches?;
    Some(Override { matches, allowance })
}

/// The allowances of plans, in the order of their names.
pub(super) fn plans(
    entry: &Option<Field<Named<wire::Plan>>>,
    limit: &mut Beside<'_>,
) -> Option<Vec<Plan>> {
    every(entry, |plan: &NamedEntry<wire::Plan>| {
        let table = plan.field.value()?;
        let keys = ExceptionKeys {
            at: plan.field.at(),
            rate: &table.rate,
            burst: &table.burst,
            in_flight: &table.in_flight,
        };
        Some(Plan {
            name: plan.name.as_str().into(),
            allowance: keys.allowance(limit)?,
        })
    })
}

/// The keys of a table that say how much some keys of a limit may have.
struct ExceptionKeys<'f> {
    /// The place of the table.
    at: Span,
    rate: &'f Option<Field<Or<Unlimited, PerTime>>>,
    burst: &'f Option<Field<wire::Burst>>,
    in_flight: &'f Option<Field<Or<Unlimited, wire::InFlightNumber>>>,
}

impl ExceptionKeys<'_> {
    /// The allowance: `Some(None)` is no bound at all; `None` after a mistake.
    fn allowance(&self, limit: &mut Beside<'_>) -> Option<Option<Allowance>> {
        let (rate, in_flight) = (self.rate.read(), self.in_flight.read());
        let numbers = Numbers {
            at: self.at,
            rate: NumberKey::new("rate", self.rate, rate.flatten()),
            rate_text: self.rate.value().map(|rate| &*rate.text),
            burst: self.burst,
            in_flight: NumberKey::new("in_flight", self.in_flight, in_flight.flatten()),
        };
        let is_unlimited = matches!(rate, Some(None)) || matches!(in_flight, Some(None));
        if !is_unlimited {
            return limit.allowance(&numbers).map(Some);
        }
        if !limit.fits(&numbers) {
            return None;
        }
        if self.burst.is_present() {
            let message = "what is unlimited has no bucket";
            let help = "leave `burst` out, or write a rate";
            let at = self.burst.at();
            limit.problems.error(Code::Conflict, at, message, help);
        }
        Some(None)
    }
}

/// The patterns of `match`.
///
/// Numbers of values are compared first. Patterns that do not fit the key would
/// give misleading messages about their values.
fn patterns(table: &wire::Override, limit: &mut Beside<'_>) -> Option<Vec<Vec<ValuePattern>>> {
    for field in table.r#match.value()?.iter() {
        if !fits(field, limit) {
            return None;
        }
    }
    every(&table.r#match, |field| pattern(field, limit))
}

/// Whether a pattern has a value for each part of the key. A pattern that could
/// not be read was reported, and fits.
fn fits(field: &Pattern, limit: &mut Beside<'_>) -> bool {
    let parts = limit.key.len();
    let values = field.value().map_or(parts, |items| items.len());
    if values == parts {
        return true;
    }
    let values = counted(values, "value");
    let key = counted(parts, "part");
    let message = format!("`match` has {values} for a key of {key}");
    let example = vec!["\"*\""; parts].join(", ");
    let help = match parts {
        1 => "write one value; several of them are a list: `match = [\"a\", \"b\"]`".to_owned(),
        _ => format!(
            "write a value for each part in a list of its own, \"*\" for any: `match = [[{example}]]`"
        ),
    };
    let at = field.at();
    limit.problems.error(Code::BadValue, at, message, help);
    false
}

/// "one value", "2 values".
fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("one {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// One pattern of `match`: a value, or a list with one for each part of the
/// key.
fn pattern(field: &Pattern, limit: &mut Beside<'_>) -> Option<Vec<ValuePattern>> {
    let mut patterns = Vec::new();
    for (item, part) in field.value()?.iter().zip(limit.key) {
        let text = item.value().map(|text| text.value.as_str());
        let pattern = text.map(|text| value(text, part));
        if let (Some(text), Some(Err(wrong))) = (text, &pattern) {
            let message = format!("`match` cannot have `{text}` here: {}", wrong.why);
            let problems = &mut limit.problems;
            problems.error(Code::BadValue, item.at(), message, &wrong.help);
        }
        patterns.push(pattern.and_then(Result::ok));
    }
    patterns.into_iter().collect()
}

/// The pattern for one part of a key, in the form in which requests have it.
///
/// Values of headers, cookies and the like are compared as they are, byte by
/// byte.
fn value(text: &str, part: &KeyPart) -> Result<ValuePattern, Wrong> {
    let text = match part {
        _ if text == ANY => return Ok(ValuePattern::Any),
        KeyPart::ClientIp(prefixes) => {
            return network(text, *prefixes).map(ValuePattern::Network);
        }
        KeyPart::Host => host::asked(text),
        KeyPart::Path => path::normal_form(text),
        _ => text.to_owned(),
    };
    Ok(ValuePattern::Text(text.into()))
}

/// A network that is no narrower than a bucket: clients that share a bucket
/// cannot have different numbers.
///
/// Where IPv4 addresses count whole, an IPv4 network of any width fits. An
/// address without a prefix is a network of all of its bits, which for IPv6 is
/// refused with the network around it as help.
fn network(text: &str, prefixes: Prefixes) -> Result<IpNet, Wrong> {
    let network = address::network(text)?;
    let wider = prefixes.network(network.addr());
    let (bits, most) = (network.prefix_len(), wider.prefix_len());
    if bits <= most {
        return Ok(network);
    }
    let (kind, narrower) = match network {
        IpNet::V4(_) => (
            "IPv4",
            Prefixes {
                v4: bits,
                ..prefixes
            },
        ),
        IpNet::V6(_) => (
            "IPv6",
            Prefixes {
                v6: bits,
                ..prefixes
            },
        ),
    };
    let key = match narrower {
        Prefixes { v4: 32, v6 } => format!("client-ip/{v6}"),
        Prefixes { v4, v6 } => format!("client-ip/{v4}/{v6}"),
    };
    let why = format!("all of an {kind} /{most} is one client for this key");
    let help = format!("write \"{wider}\", or key the limit by \"{key}\"");
    Err(Wrong::new(why, help))
}

//! `overrides` of a limit: each pattern fits the key, and every address is no
//! narrower than a bucket.

use ipnet::IpNet;

use super::{
    super::{
        field::{Field, Given},
        problem::{Code, Problems},
        syntax::{address, host, path},
        wire::{
            limits as wire,
            lists::{OneOrMany, Tables},
            syntaxes::KeyValue,
            text::Text,
        },
        wrong::Wrong,
    },
    limits::Pace,
};
use crate::policy::{KeyPart, Override, ValuePattern};

/// Most overrides of one limit: bounds the memory of their table, and the time
/// in which networks are compared one by one.
const MOST_OVERRIDES: usize = 10_000;
/// Any value.
const ANY: &str = "*";

pub(super) fn overrides(
    entry: &Option<Field<Tables<wire::Override>>>,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<Vec<Override>> {
    let Some(field) = entry else {
        return Some(Vec::new());
    };
    let at = field.at();
    if key.is_empty() && field.value.is_some() {
        let message =
            "without a key there is one bucket for everyone, and nobody to make an exception for";
        problems.error(
            Code::Conflict,
            at,
            message,
            "add `key`, or leave `overrides` out",
        );
        return None;
    }
    let tables = entry.elements();
    if tables.len() > MOST_OVERRIDES {
        let message = format!("a limit has at most {MOST_OVERRIDES} overrides");
        problems.error(
            Code::BadValue,
            at,
            message,
            "put values that have the same numbers into one `match`, which is a list of any length",
        );
        return None;
    }
    let all: Vec<_> = tables
        .iter()
        .map(|one| an_override(one, key, most, problems))
        .collect();
    all.into_iter().collect()
}

fn an_override(
    field: &Field<wire::Override>,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<Override> {
    let table = field.value()?;
    let at = field.at();
    let matches = patterns(table, key, problems);
    let rate = table.rate.read();
    if rate == Some(None) && table.burst.is_present() {
        let message = "what is unlimited has no bucket";
        problems.error(
            Code::Conflict,
            table.burst.place(at),
            message,
            "leave `burst` out, or write a rate",
        );
    }
    let quota = match rate? {
        None => None,
        rate => {
            let pace = Pace::new(rate, table.rate.place(at), &table.burst, at);
            Some(pace.quota_for(most, problems)?)
        }
    };
    Some(Override {
        matches: matches?,
        quota,
    })
}

/// The patterns of `match`.
fn patterns(
    table: &wire::Override,
    key: &[KeyPart],
    problems: &mut Problems,
) -> Option<Vec<Vec<ValuePattern>>> {
    let fields = &table.r#match.value()?.0;
    if !fields.iter().all(|field| fits(field, key, problems)) {
        return None;
    }
    let patterns: Vec<_> = fields
        .iter()
        .map(|field| pattern(field, key, problems))
        .collect();
    patterns.into_iter().collect()
}

/// Whether there is a value for each part of the key.
fn fits(
    field: &Field<OneOrMany<Text<KeyValue>>>,
    key: &[KeyPart],
    problems: &mut Problems,
) -> bool {
    let Some(items) = field.value() else {
        return true;
    };
    if items.0.len() == key.len() {
        return true;
    }
    let message = format!(
        "`match` has {} for a key of {}",
        values(items.0.len()),
        parts(key.len())
    );
    let example = vec!["\"*\""; key.len()].join(", ");
    let help = if key.len() == 1 {
        "write one value; several of them are a list: `match = [\"a\", \"b\"]`".to_owned()
    } else {
        format!(
            "write a value for each part in a list of its own, \"*\" for any: `match = [[{example}]]`"
        )
    };
    let at = field.at();
    problems.error(Code::BadValue, at, message, help);
    false
}

/// One pattern of `match`: a value, or a list with one for each part of the
/// key.
fn pattern(
    field: &Field<OneOrMany<Text<KeyValue>>>,
    key: &[KeyPart],
    problems: &mut Problems,
) -> Option<Vec<ValuePattern>> {
    let mut patterns = Vec::new();
    for (item, part) in field.value()?.0.iter().zip(key) {
        let pattern = item.value().map(|text| value(&text.value, part));
        if let (Some(Err(wrong)), Some(text)) = (&pattern, item.value()) {
            let message = format!("`match` cannot have `{}` here: {}", text.text, wrong.why);
            let at = item.at();
            problems.error(Code::BadValue, at, message, wrong.help.clone());
        }
        patterns.push(pattern.and_then(Result::ok));
    }
    patterns.into_iter().collect()
}

/// The value that a part has to have, as requests have it.
fn value(text: &str, part: &KeyPart) -> Result<ValuePattern, Wrong> {
    let text = match part {
        _ if text == ANY => return Ok(ValuePattern::Any),
        KeyPart::ClientIp { v6_prefix } => {
            return network(text, *v6_prefix).map(ValuePattern::Network);
        }
        KeyPart::Host => host::asked(text),
        KeyPart::Path => path::normal_form(text),
        _ => text.to_owned(),
    };
    Ok(ValuePattern::Text(text.into()))
}

/// A network that is no narrower than a bucket: clients that share a bucket
/// cannot have different numbers.
fn network(text: &str, v6_prefix: u8) -> Result<IpNet, Wrong> {
    let network = address::network(text)?;
    match network {
        IpNet::V6(v6) if v6.prefix_len() > v6_prefix => {
            let wider = ipnet::Ipv6Net::new(v6.addr(), v6_prefix)
                .map(|net| net.trunc().to_string())
                .unwrap_or_default();
            let why = format!("all of an IPv6 /{v6_prefix} is one client for this key");
            Err(Wrong::new(
                why,
                format!(
                    "write \"{wider}\", or key the limit by \"client-ip/{}\"",
                    v6.prefix_len()
                ),
            ))
        }
        network => Ok(network),
    }
}

fn values(number: usize) -> String {
    if number == 1 {
        "one value".to_owned()
    } else {
        format!("{number} values")
    }
}

fn parts(number: usize) -> String {
    if number == 1 {
        "one part".to_owned()
    } else {
        format!("{number} parts")
    }
}

//! `overrides` of a limit: each pattern fits the key, and every address is no narrower than a bucket.

use ipnet::IpNet;

use super::{
    super::{
        problem::{Code, Problem, Problems, Wrong},
        syntax::{address, host, path},
        tree::Node,
    },
    limits,
    reader::Reader,
};
use crate::policy::{KeyPart, Override, ValuePattern};

/// Overrides of one limit; a request keeps the place of its own in two bytes.
const MOST_OVERRIDES: usize = 10_000;
/// Any value.
const ANY: &str = "*";

pub(super) fn overrides(
    limit: Reader<'_>,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<Vec<Override>> {
    if key.is_empty() && limit.given("overrides").is_some() {
        let message =
            "without a key there is one bucket for everyone, and nobody to make an exception for";
        let problem = Problem::new(Code::Conflict, limit.place("overrides"), message);
        problems.report(problem.help("add `key`, or leave `overrides` out"));
        return None;
    }
    if limit.tables("overrides").len() > MOST_OVERRIDES {
        let message = format!("a limit has at most {MOST_OVERRIDES} overrides");
        let problem = Problem::new(Code::BadValue, limit.place("overrides"), message);
        problems.report(problem.help(
            "put values that have the same numbers into one `match`, which is a list of any length",
        ));
        return None;
    }
    let all: Vec<_> = limit
        .tables("overrides")
        .into_iter()
        .map(|one| an_override(one, key, most, problems))
        .collect();
    all.into_iter().collect()
}

fn an_override(
    reader: Reader<'_>,
    key: &[KeyPart],
    most: u32,
    problems: &mut Problems,
) -> Option<Override> {
    let all_fit = reader
        .items("match")
        .iter()
        .all(|node| fits(node, key, problems));
    let matches: Vec<_> = if all_fit {
        reader
            .items("match")
            .iter()
            .map(|node| pattern(node, key, problems))
            .collect()
    } else {
        vec![None]
    };
    let unlimited = reader.text("rate") == Some("unlimited");
    if unlimited && reader.given("burst").is_some() {
        let problem = Problem::new(
            Code::Conflict,
            reader.place("burst"),
            "what is unlimited has no bucket",
        );
        problems.report(problem.help("leave `burst` out, or write a rate"));
    }
    let quota = if unlimited {
        None
    } else {
        Some(limits::quota_for(reader, most, problems)?)
    };
    Some(Override {
        matches: matches.into_iter().collect::<Option<_>>()?,
        quota,
    })
}

/// Whether there is a value for each part of the key.
fn fits(node: &Node, key: &[KeyPart], problems: &mut Problems) -> bool {
    let items = node.items();
    if items.len() != key.len() && !node.is_broken() {
        let message = format!(
            "`match` has {} for a key of {}",
            values(items.len()),
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
        problems.report(Problem::new(Code::BadValue, node.span, message).help(help));
        return false;
    }
    true
}

/// One pattern of `match`: a value, or a list with one for each part of the key.
fn pattern(node: &Node, key: &[KeyPart], problems: &mut Problems) -> Option<Vec<ValuePattern>> {
    let patterns = node.items().iter().zip(key).map(|(item, part)| {
        let text = item.text()?;
        value(text, part)
            .map_err(|wrong| report(item, text, wrong, problems))
            .ok()
    });
    patterns.collect::<Vec<_>>().into_iter().collect()
}

fn report(item: &Node, text: &str, wrong: Wrong, problems: &mut Problems) {
    let message = format!("`match` cannot have `{text}` here: {}", wrong.why);
    problems.report(Problem::new(Code::BadValue, item.span, message).help(wrong.help));
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

/// Whom a bucket counts together cannot have different numbers.
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

//! Parts of keys that count something else than they seem to, and exceptions that are never looked at.

use super::super::{
    super::{
        model::{Config, KeyPart, ValuePattern},
        problem::{Code, Problem, Problems},
        syntax::key,
        tree::Node,
    },
    reader::Reader,
};

/// An IPv6 network as wide as this belongs to a provider; whoever writes less thinks of IPv4.
const WIDEST_V6: u8 = 32;
/// Headers in which proxies name the client. They are taken from trusted proxies only, and of these many pass on the words of
/// the client itself.
const NAMES_OF_CLIENTS: [&str; 6] =
    ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"];

pub(super) fn report(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    let keeps_underscores = config.listeners.iter().any(|listener| listener.keeps_underscores);
    let parts = |reader, key, problems: &mut Problems| parts(reader, key, keeps_underscores, problems);
    for ((_, reader), limit) in root.named("limits").into_iter().zip(&config.limits) {
        parts(reader, "key", problems);
        parts(reader, "missing", problems);
        for tier in reader.tables("tiers") {
            let prefix = tier.whole("prefix").and_then(|prefix| u8::try_from(prefix).ok());
            if let (Some(prefix), Some(node)) = (prefix, tier.given("prefix")) {
                wide(prefix, node, problems);
            }
        }
        let is_for_all = |patterns: &Vec<ValuePattern>| patterns.iter().all(|pattern| *pattern == ValuePattern::Any);
        let all = limit.overrides.iter().position(|one| one.matches.iter().any(is_for_all));
        if let Some(hidden) = all.and_then(|all| reader.tables("overrides").into_iter().nth(all + 1)) {
            let message =
                "this is never looked at: an override before it is for every key, and the first that matches wins";
            let problem = Problem::warning(Code::NeverMatches, hidden.at, message);
            problems.report(problem.help("put the one with \"*\" last"));
        }
    }
    for reader in root.tables("routes") {
        parts(reader.table("concurrency"), "fair_by", problems);
    }
    for (_, reader) in root.named("upstreams") {
        parts(reader.table("concurrency"), "fair_by", problems);
        parts(reader, "hash_key", problems);
    }
}

fn parts(reader: Reader<'_>, key: &str, keeps_underscores: bool, problems: &mut Problems) {
    for node in reader.items(key) {
        match node.text().map(key::part) {
            Some(Ok(KeyPart::ClientIp { v6_prefix })) => wide(v6_prefix, node, problems),
            Some(Ok(KeyPart::Header(name))) if NAMES_OF_CLIENTS.contains(&name.as_str()) => {
                let message = format!(
                    "`{name}` is missing unless a trusted proxy sends it, and many pass on what their client wrote there"
                );
                let help = "write \"client-ip\", and name your proxies in `trusted_proxies` of `[client_ip]`";
                problems.report(Problem::warning(Code::Exposed, node.span, message).help(help));
            }
            Some(Ok(KeyPart::Header(name))) if name.as_str().contains('_') && !keeps_underscores => {
                let message = format!("`{name}` is always missing: header lines whose name holds `_` are dropped");
                let hyphens = name.as_str().replace('_', "-");
                let help = format!("have it sent as `{hyphens}`, or set `underscores = \"keep\"` on the listener");
                problems.report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
            }
            _ => {}
        }
    }
}

fn wide(v6_prefix: u8, node: &Node, problems: &mut Problems) {
    if v6_prefix < WIDEST_V6 {
        let message = format!(
            "/{v6_prefix} is a number of IPv6 bits, and as many hold whole providers; IPv4 addresses count whole"
        );
        let help = "write \"client-ip\" (IPv6 by /64), or a prefix such as \"client-ip/56\" or \"client-ip/48\"";
        problems.report(Problem::warning(Code::Misleading, node.span, message).help(help));
    }
}

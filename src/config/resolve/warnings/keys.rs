//! Parts of keys that count something else than they seem to, and exceptions that are never looked at.

use super::super::{
    super::{
        Config,
        problem::{Code, Problem, Problems},
        source::Span,
        syntax::key,
        tree::Node,
    },
    reader::Reader,
};
use super::overrides;
use crate::policy::{Cost, KeyPart, Limit};

/// An IPv6 network as wide as this belongs to a provider; whoever writes less thinks of IPv4.
const WIDEST_V6: u8 = 32;
/// Headers in which proxies name the client. They are taken from trusted proxies only, and of these many pass on the words of
/// the client itself.
const NAMES_OF_CLIENTS: [&str; 13] = [
    "x-forwarded-for",
    "x-original-forwarded-for",
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "cf-connecting-ip",
    "fastly-client-ip",
];

pub(super) fn report(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    let known = Known {
        underscores: config
            .listeners
            .iter()
            .any(|listener| listener.limits.head.keeps_underscores),
        certificates: config
            .listeners
            .iter()
            .any(|one| one.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())),
    };
    let parts = |reader, key, problems: &mut Problems| parts(reader, key, known, problems);
    for ((_, reader), limit) in root.named("limits").into_iter().zip(&config.limits) {
        for_everyone(reader, limit, problems);
        parts(reader, "key", problems);
        parts(reader, "missing", problems);
        for tier in reader.tables("tiers") {
            let prefix = tier
                .whole("prefix")
                .and_then(|prefix| u8::try_from(prefix).ok());
            if let (Some(prefix), Some(node)) = (prefix, tier.given("prefix")) {
                wide(prefix, node, problems);
            }
        }
        overrides::report(reader, limit, problems);
        cost(reader, limit, known, problems);
    }
    for reader in root.tables("routes") {
        parts(reader.table("concurrency"), "fair_by", problems);
    }
    for (_, reader) in root.named("upstreams") {
        parts(reader.table("concurrency"), "fair_by", problems);
        parts(reader, "hash_key", problems);
    }
}

/// A limit without a key: one bucket, though its name or its other keys say that there is one for each of something.
fn for_everyone(reader: Reader<'_>, limit: &Limit, problems: &mut Problems) {
    if !limit.key.is_empty() {
        return;
    }
    let name = &limit.name;
    if name.starts_with("per-") || name.starts_with("per_") {
        let message = format!("`{name}` has no `key`: it is one bucket for everyone together");
        let help = "add `key = \"client-ip\"` or another part; or call it by another name, such as \"overall\"";
        problems.report(Problem::warning(Code::Misleading, reader.at, message).help(help));
    }
    if reader.given("missing").is_some() {
        let message = "without a `key` no part of it can be missing";
        let problem = Problem::warning(Code::NoEffect, reader.place("missing"), message);
        problems.report(problem.help("add `key`, or leave `missing` out"));
    }
}

/// The parts that a request can have here.
#[derive(Clone, Copy)]
struct Known {
    /// Header lines whose name holds `_`.
    underscores: bool,
    /// Certificates of clients.
    certificates: bool,
}

/// A cost that a header tells which no request has.
fn cost(reader: Reader<'_>, limit: &Limit, known: Known, problems: &mut Problems) {
    let Cost::Header { name, .. } = &limit.cost else {
        return;
    };
    if name.as_str().contains('_') && !known.underscores {
        dropped(
            name.as_str(),
            reader.table("cost").place("header"),
            problems,
        );
    }
}

fn dropped(name: &str, at: Span, problems: &mut Problems) {
    let message =
        format!("`{name}` is always missing: header lines whose name holds `_` are dropped");
    let hyphens = name.replace('_', "-");
    let help =
        format!("have it sent as `{hyphens}`, or set `underscores = \"keep\"` on the listener");
    problems.report(Problem::warning(Code::NeverMatches, at, message).help(help));
}

fn parts(reader: Reader<'_>, key: &str, known: Known, problems: &mut Problems) {
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
            Some(Ok(KeyPart::Header(name)))
                if name.as_str().contains('_') && !known.underscores =>
            {
                dropped(name.as_str(), node.span, problems);
            }
            Some(Ok(KeyPart::TlsSubject)) if !known.certificates => {
                let message =
                    "`tls:subject` is always missing: no listener asks clients for a certificate";
                let help = "set `client_ca` in `[listeners.tls]`, or choose another key";
                problems
                    .report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
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

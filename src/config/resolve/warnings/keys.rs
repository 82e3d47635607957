//! Parts of keys that count something else than they seem to, and exceptions
//! that are never looked at.

use super::super::super::{
    configuration::Config,
    field::{Field, Given},
    problem::{Code, Problems},
    source::Span,
    wire::{
        File, limits as wire,
        lists::OneOrList,
        routes::Concurrency,
        syntaxes::{Absent, Part},
        tables::{Either, NamedEntry},
        text::Text,
    },
};
use super::overrides;
use crate::policy::{Cost, KeyPart, Limit, Missing};

/// An IPv6 network as wide as this belongs to a provider; whoever writes less
/// thinks of IPv4.
const WIDEST_V6: u8 = 32;
/// Headers in which proxies name the client. They are taken from trusted
/// proxies only, and of these many pass on the words of the client itself.
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

pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    let parts = Parts {
        underscores: config
            .listeners
            .iter()
            .any(|listener| listener.limits.head.keeps_underscores),
        certificates: config
            .listeners
            .iter()
            .any(|one| one.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())),
    };
    for (entry, limit) in file.limits.elements().iter().zip(&config.limits) {
        parts.of_limit(entry, limit, problems);
    }
    for route in file.routes.elements().iter().filter_map(Given::value) {
        parts.of_queue(&route.concurrency, problems);
    }
    for entry in file.upstreams.elements() {
        if let Some(upstream) = entry.section.value() {
            parts.of_queue(&upstream.concurrency, problems);
            parts.of_key(&upstream.hash_key, problems);
        }
    }
}

/// A limit without a key: one bucket, though its name or its other keys say
/// that there is one for each of something.
fn for_everyone(table: &wire::Limit, at: Span, limit: &Limit, problems: &mut Problems) {
    if !limit.key.is_empty() {
        return;
    }
    let name = &limit.name;
    if name.starts_with("per-") || name.starts_with("per_") {
        let message = format!("`{name}` has no `key`: it is one bucket for everyone together");
        let help = "add `key = \"client-ip\"` or another part; or call it by another name, such as \"overall\"";
        problems.warn(Code::Misleading, at, message, help);
    }
    if table.missing.is_present() {
        let message = "without a `key` no part of it can be missing";
        problems.warn(
            Code::NoEffect,
            table.missing.place(at),
            message,
            "add `key`, or leave `missing` out",
        );
    }
}

/// The parts that a request can have here.
#[derive(Clone, Copy)]
struct Parts {
    /// Header lines whose name holds `_`.
    underscores: bool,
    /// Certificates of clients.
    certificates: bool,
}

impl Parts {
    fn of_limit(self, entry: &NamedEntry<wire::Limit>, limit: &Limit, problems: &mut Problems) {
        let Some(table) = entry.section.value() else {
            return;
        };
        let at = entry.section.at();
        for_everyone(table, at, limit, problems);
        self.of_key(&table.key, problems);
        self.of_missing(&table.missing, problems);
        for tier in table.tiers.elements().iter().filter_map(Given::value) {
            if let Some(prefix) = tier.prefix.read() {
                wide(prefix, tier.prefix.place(at), problems);
            }
        }
        overrides::report(table, limit, problems);
        self.of_cost(table, limit, problems);
    }

    fn of_key(self, key: &Option<Field<OneOrList<Text<Part>>>>, problems: &mut Problems) {
        for field in key.elements() {
            if let Some(part) = field.value() {
                self.of_part(&part.value, field.at(), problems);
            }
        }
    }

    fn of_missing(
        self,
        missing: &Field<Either<Text<Absent>, wire::StandIns>>,
        problems: &mut Problems,
    ) {
        if let Some(Either::Short(text)) = missing.given()
            && let Missing::Use(part) = &text.value
        {
            self.of_part(part, missing.at(), problems);
        }
    }

    fn of_queue(self, concurrency: &Option<Field<Concurrency>>, problems: &mut Problems) {
        if let Some(concurrency) = concurrency.value() {
            self.of_key(&concurrency.fair_by, problems);
        }
    }

    /// A cost that a header tells which no request has.
    fn of_cost(self, table: &wire::Limit, limit: &Limit, problems: &mut Problems) {
        let (Cost::Header { name, .. }, Some(Either::Long(cost))) =
            (&limit.cost, table.cost.value())
        else {
            return;
        };
        if self.drops(name.as_str()) {
            dropped(name.as_str(), cost.header.at(), problems);
        }
    }

    fn drops(self, header: &str) -> bool {
        header.contains('_') && !self.underscores
    }

    fn of_part(self, part: &KeyPart, at: Span, problems: &mut Problems) {
        match part {
            KeyPart::ClientIp { v6_prefix } => wide(*v6_prefix, at, problems),
            KeyPart::Header(name) if NAMES_OF_CLIENTS.contains(&name.as_str()) => {
                let message = format!(
                    "`{name}` is missing unless a trusted proxy sends it, and many pass on what their client wrote there"
                );
                let help = "write \"client-ip\", and name your proxies in `trusted_proxies` of `[client_ip]`";
                problems.warn(Code::Exposed, at, message, help);
            }
            KeyPart::Header(name) if self.drops(name.as_str()) => {
                dropped(name.as_str(), at, problems);
            }
            KeyPart::TlsSubject if !self.certificates => {
                let message =
                    "`tls:subject` is always missing: no listener asks clients for a certificate";
                let help = "set `client_ca` in `[listeners.tls]`, or choose another key";
                problems.warn(Code::NeverMatches, at, message, help);
            }
            _ => {}
        }
    }
}

fn dropped(name: &str, at: Span, problems: &mut Problems) {
    let message =
        format!("`{name}` is always missing: header lines whose name holds `_` are dropped");
    let hyphens = name.replace('_', "-");
    let help =
        format!("have it sent as `{hyphens}`, or set `underscores = \"keep\"` on the listener");
    problems.warn(Code::NeverMatches, at, message, help);
}

fn wide(v6_prefix: u8, at: Span, problems: &mut Problems) {
    if v6_prefix < WIDEST_V6 {
        let message = format!(
            "/{v6_prefix} is a number of IPv6 bits, and as many hold whole providers; IPv4 addresses count whole"
        );
        let help = "write \"client-ip\" (IPv6 by /64), or a prefix such as \"client-ip/56\" or \"client-ip/48\"";
        problems.warn(Code::Misleading, at, message, help);
    }
}

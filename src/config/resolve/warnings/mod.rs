//! Settings that are allowed and yet probably a mistake. A warning has a place
//! and says what to write instead, as an error does.
//!
//! Warnings are looked for once everything else is sound. Each section of the
//! file has its policy then, at the same place in a list of the same length, so
//! that both are walked together: the section says what is written and where,
//! the policy has the values, also those of absent keys.
//!
//! There are four kinds. A section may be *unused*; a value may *never match*;
//! a key may have *no effect* beside the others; and a setting may be
//! *misleading* or *exposed*, as it says something else than its author thinks.
//! A warning has to be right nearly always, because it teaches people to look
//! at warnings; what is only unusual is not reported.

mod addresses;
mod identities;
mod keys;
mod listeners;
mod log;
mod origins;
mod overrides;
mod patterns;
mod statuses;
mod templates;
mod times;
mod unused;

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::{File, process, routes},
};
use crate::policy::{Action, Listener, Route};

/// Reports all warnings of a configuration without errors.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    unused::report(file, problems);
    identities::report(file, config, problems);
    keys::report(file, config, problems);
    log::report(file, problems);
    listeners::report(file, config, problems);
    statuses::report(file, problems);
    addresses::report(file, config, problems);
    for (table, route) in file.routes.values().zip(&config.routes) {
        patterns::report(table, route, problems);
        origins::of_route(table, route, config, problems);
        times::of_route(table, route, config, problems);
        identities::of_route(table, route, config, problems);
        mirror(table, route, problems);
        locations(table, route, problems);
    }
    for (entry, upstream) in file.upstreams.elements().iter().zip(&config.upstreams) {
        if let Some(table) = entry.field.value() {
            times::of_upstream(table, upstream, config, problems);
            addresses::loops(table, upstream, config, problems);
        }
    }
    for (table, listener) in file.listeners.values().zip(&config.listeners) {
        certificates(table, listener, problems);
    }
    super::acme::report(file, problems);
}

/// A mirror to the very servers that have the request already: they would do
/// everything twice, also what changes their data.
fn mirror(table: &routes::Route, route: &Route, problems: &mut Problems) {
    let (Some(table), Some(mirror)) = (table.mirror.value(), &route.mirror) else {
        return;
    };
    let name = &mirror.upstream;
    let is_own = matches!(&route.action, Action::Forward(upstream) if upstream == name);
    if is_own && mirror.percent > 0 {
        let message = format!("`{name}` gets each request twice: it is the upstream of this route");
        let help = "name another upstream, or leave `mirror` out";
        problems.warn(Code::Misleading, table.upstream.at(), message, help);
    }
}

/// Locations that are mapped back where no service sends any.
fn locations(table: &routes::Route, route: &Route, problems: &mut Problems) {
    let Some(table) = table.response.value() else {
        return;
    };
    let is_served = matches!(route.action, Action::Forward(_) | Action::Split(_));
    if route.response.locations && table.locations.is_own() && !is_served {
        let message = "`locations` maps what services send, and no service responds here";
        let help =
            "leave it out: the gateway's own responses have the URLs that the file gives them";
        problems.warn(Code::NoEffect, table.locations.at(), message, help);
    }
}

/// Certificates without a name. Clients compare the host with the
/// subjectAltName of a certificate and with nothing else (RFC 9525), so that
/// none of them accepts it.
fn certificates(table: &process::Listener, listener: &Listener, problems: &mut Problems) {
    let (Some(table), Some(tls)) = (table.tls.value(), &listener.tls) else {
        return;
    };
    for (certificate, identity) in table.certificates.values().zip(&tls.certificates) {
        if identity.names.is_empty() {
            let message = format!(
                "{} stands for no name: it has no subjectAltName, and clients look at nothing else",
                identity.file.display()
            );
            let help = "have it issued with the names of the site, such as `openssl req ... -addext subjectAltName=DNS:shop.example.com`";
            problems.warn(Code::NeverMatches, certificate.cert.at(), message, help);
        }
    }
}

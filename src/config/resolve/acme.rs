//! `[listeners.tls] acme`: certificates that the gateway orders itself, and the
//! keys elsewhere in the file that they need.

use std::{collections::HashMap, sync::Arc};

use super::tls;
use crate::config::{
    field::Given,
    include::Loading,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{File, process as wire},
};
use crate::policy::{Acme, AcmeChallenge};

/// The orders of a listener. The file of authorities is read here, which blocks.
pub(super) fn acme(acme: &wire::Acme, loading: &mut Loading<'_>) -> Option<Acme> {
    let ca = tls::authorities(&acme.ca, tls::Peers::Servers, loading);
    if acme.domains.is_broken() {
        return None;
    }
    Some(Acme {
        domains: acme.domains.read()?.into(),
        email: acme.email.optional()?,
        directory: acme.directory.read()?,
        ca: ca?,
        challenge: acme.challenge.value?,
    })
}

/// The settings by which a certificate is ordered, but for the domain.
type WayToOrder<'a> = (
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<&'a str>,
    Option<AcmeChallenge>,
);

/// Reports orders that have no folder for their keys, and a domain that two
/// listeners order in two ways.
///
/// Two listeners may name one domain with equal settings: they share the
/// certificate, which is ordered once.
pub(super) fn check(file: &File, problems: &mut Problems) {
    let has_folder = file
        .server
        .value()
        .is_some_and(|server| server.state_dir.is_present());
    let mut orders: HashMap<Box<str>, (WayToOrder<'_>, Span)> = HashMap::new();
    for listener in file.listeners.values() {
        let acme = listener.tls.value().map(|tls| &tls.acme);
        let Some((acme, at)) = acme.and_then(|acme| Some((acme.value()?, acme.at()))) else {
            continue;
        };
        if !has_folder && !file.server.is_broken() && !problems.incomplete {
            let message = "`acme` without a folder for its keys and certificates";
            let help = "add `state_dir = \"/var/lib/tidegate\"` to `[server]`: without it each start would order all certificates again, which authorities refuse soon";
            problems.error(Code::MissingKey, at, message, help);
        }
        let order = (
            acme.directory.read(),
            acme.email.read(),
            acme.ca.value().map(|ca| ca.text.as_str()),
            acme.challenge.value,
        );
        for field in acme.domains.elements() {
            let Some(domain) = field.read() else { continue };
            let Some((other, first)) = orders.get(&domain) else {
                orders.insert(domain, (order.clone(), field.at()));
                continue;
            };
            if *other != order {
                let message = format!("`{domain}` is ordered in two ways");
                let help = "give both listeners the same `directory`, `email`, `ca` and `challenge`: they share the certificate";
                let problem = Problem::new(Code::Conflict, field.at(), message);
                problems.report(problem.also(*first, "the other").help(help));
            }
        }
    }
}

/// Warns of a challenge by HTTP that no listener answers: those with TLS do not.
pub(super) fn report(file: &File, problems: &mut Problems) {
    let mut listeners = file.listeners.values();
    if listeners.any(|listener| !listener.tls.is_present()) {
        return;
    }
    for listener in file.listeners.values() {
        let acme = listener.tls.value().and_then(|tls| tls.acme.value());
        if let Some(acme) = acme
            && acme.challenge.value == Some(AcmeChallenge::Http01)
        {
            let message = "no listener answers the challenge http-01: all of them have TLS";
            let help = "add a listener on port 80, `bind = \"0.0.0.0:80\"` with `redirect_https = true`, or leave `challenge` out";
            problems.warn(Code::NoEffect, acme.challenge.at(), message, help);
        }
    }
}

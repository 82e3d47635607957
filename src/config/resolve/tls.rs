//! `[listeners.tls]` and `[upstreams.NAME.tls]`: the files they name are read
//! here, watched, and held against each other.

use std::time::SystemTime;

use super::super::{
    certificates::{self, Wrong},
    field::{Field, Given, section},
    include::Loading,
    problem::{Code, Problem},
    source::Span,
    wire::{self, lists::Tables, process::Certificate, syntaxes::PemFile, text::Text},
};
use crate::policy::{Authorities, Identity, ListenerTls, UpstreamTls};

/// `Some(None)` is a listener without TLS.
pub(super) fn listener(
    entry: &Option<Field<wire::process::ListenerTls>>,
    loading: &mut Loading<'_>,
) -> Option<Option<ListenerTls>> {
    let Some(field) = entry else {
        return Some(None);
    };
    let tls = field.value()?;
    let certificates = identities(&tls.certificates, loading);
    let client_ca = authorities(&tls.client_ca, Trust::Clients, loading);
    let certificates = certificates?;
    if certificates.is_empty() {
        return None;
    }
    Some(Some(ListenerTls {
        certificates,
        client_ca: client_ca?,
        min_version: tls.min_version.value?,
    }))
}

fn identities(
    tables: &Field<Tables<Certificate>>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Identity>> {
    let identities: Vec<_> = tables
        .value()?
        .0
        .iter()
        .map(|table| {
            let certificate = table.value()?;
            identity(&certificate.cert, &certificate.key, loading)
        })
        .collect();
    identities.into_iter().collect()
}

pub(super) fn upstream(
    entry: &Option<Field<wire::upstreams::UpstreamTls>>,
    loading: &mut Loading<'_>,
) -> Option<UpstreamTls> {
    let field = section(entry);
    let tls = field.value()?;
    if tls.server_name.is_broken() {
        return None;
    }
    let ca = authorities(&tls.ca, Trust::Servers, loading);
    let identity = match (&tls.client_cert, &tls.client_key) {
        (Some(cert), Some(key)) => identity(cert, key, loading).map(Some),
        (None, None) => Some(None),
        (Some(cert), None) => alone(cert, "client_cert", "client_key", loading),
        (None, Some(key)) => alone(key, "client_key", "client_cert", loading),
    };
    Some(UpstreamTls {
        ca: ca?,
        server_name: tls
            .server_name
            .given()
            .map(|name| name.text.as_str().into()),
        identity: identity?,
    })
}

/// Reports a certificate without its key, or a key without its certificate.
fn alone<T>(
    file: &Field<Text<PemFile>>,
    given: &str,
    absent: &str,
    loading: &mut Loading<'_>,
) -> Option<T> {
    let at = file.given().map(|_| file.at())?;
    loading.problems.error(
        Code::MissingKey,
        at,
        format!("`{given}` without `{absent}`"),
        format!("add `{absent}`: a certificate and its key go together"),
    );
    None
}

fn identity(
    cert: &Field<Text<PemFile>>,
    key: &Field<Text<PemFile>>,
    loading: &mut Loading<'_>,
) -> Option<Identity> {
    let (at_certificate, at_key) = (cert.at(), key.at());
    let certificate = loading.sources.beside(at_certificate, &cert.value()?.text);
    let key = loading.sources.beside(at_key, &key.value()?.text);
    loading.sources.watched.file(&certificate);
    loading.sources.watched.file(&key);
    match certificates::identity(&certificate, &key) {
        Ok(identity) => {
            if let Some(expiry) = identity.expiry(SystemTime::now()) {
                loading.problems.warn(
                    Code::Expiry,
                    at_certificate,
                    expiry,
                    "renew it; a changed file is read without a restart",
                );
            }
            Some(identity)
        }
        Err(Wrong::Certificates(why)) => unusable(
            at_certificate,
            &format!("{} {why}", certificate.display()),
            loading,
        ),
        Err(Wrong::Key(why)) => unusable(at_key, &format!("{} {why}", key.display()), loading),
    }
}

/// The peers whose certificates authorities sign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Clients,
    Servers,
}

/// `Some(None)` where the key is absent.
fn authorities(
    entry: &Option<Field<Text<PemFile>>>,
    trust: Trust,
    loading: &mut Loading<'_>,
) -> Option<Option<Authorities>> {
    let Some(field) = entry else {
        return Some(None);
    };
    let at = field.at();
    let file = loading.sources.beside(at, &field.value()?.text);
    loading.sources.watched.file(&file);
    match certificates::authorities(&file) {
        Ok(authorities) => {
            let by_name = trust == Trust::Servers;
            for why in certificates::useless(&authorities, by_name, SystemTime::now()) {
                let message = format!(
                    "{} holds a certificate that is no authority's and {why}",
                    file.display()
                );
                loading.problems.warn(Code::NeverMatches, at, message, "name the authority that signs the certificates, or a certificate as it is shown, with its names and not expired");
            }
            Some(Some(authorities))
        }
        Err(why) => unusable(at, &format!("{} {why}", file.display()), loading),
    }
}

fn unusable<T>(at: Span, message: &str, loading: &mut Loading<'_>) -> Option<T> {
    loading
        .problems
        .report(Problem::new(Code::Unreadable, at, message));
    None
}

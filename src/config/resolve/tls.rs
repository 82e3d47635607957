//! `[listeners.tls]` and `[upstreams.NAME.tls]`: the files they name are read here, watched, and held against each other.

use std::time::SystemTime;

use super::{
    super::{
        certificates::{self, Wrong},
        include::Loading,
        problem::{Code, Problem},
        source::Span,
    },
    reader::Reader,
};
use crate::policy::{Authorities, Identity, ListenerTls, TlsVersion, UpstreamTls};

/// `Some(None)` is a listener without TLS.
pub(super) fn listener(
    listener: Reader<'_>,
    loading: &mut Loading<'_>,
) -> Option<Option<ListenerTls>> {
    if listener.is_broken("tls") {
        return None;
    }
    if listener.given("tls").is_none() {
        return Some(None);
    }
    let tls = listener.table("tls");
    let certificates: Vec<_> = tls
        .tables("certificates")
        .into_iter()
        .map(|of| identity(of, CERTIFICATE, loading))
        .collect();
    let client_ca = authorities(tls, "client_ca", loading);
    let min_version = match tls.text("min_version")? {
        "1.3" => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let certificates: Vec<_> = certificates.into_iter().collect::<Option<_>>()?;
    if certificates.is_empty() {
        return None;
    }
    Some(Some(ListenerTls {
        certificates,
        client_ca: client_ca?,
        min_version,
    }))
}

pub(super) fn upstream(tls: Reader<'_>, loading: &mut Loading<'_>) -> Option<UpstreamTls> {
    let server_name = match tls.given("server_name") {
        Some(name) => Some(name.text()?.into()),
        None if tls.is_broken("server_name") => return None,
        None => None,
    };
    let ca = authorities(tls, "ca", loading);
    let identity = match (tls.given("client_cert"), tls.given("client_key")) {
        (Some(_), Some(_)) => identity(tls, CLIENT, loading).map(Some),
        (None, None) if !tls.is_broken("client_cert") && !tls.is_broken("client_key") => Some(None),
        (Some(_), None) if !tls.is_broken("client_key") => alone(tls, CLIENT, loading),
        (None, Some(_)) if !tls.is_broken("client_cert") => {
            alone(tls, [CLIENT[1], CLIENT[0]], loading)
        }
        _ => None,
    };
    Some(UpstreamTls {
        ca: ca?,
        server_name,
        identity: identity?,
    })
}

/// The keys that name a certificate and its key.
type Pair = [&'static str; 2];
const CERTIFICATE: Pair = ["cert", "key"];
const CLIENT: Pair = ["client_cert", "client_key"];

fn alone<T>(tls: Reader<'_>, [given, absent]: Pair, loading: &mut Loading<'_>) -> Option<T> {
    let problem = Problem::new(
        Code::MissingKey,
        tls.place(given),
        format!("`{given}` without `{absent}`"),
    );
    loading.problems.report(problem.help(format!(
        "add `{absent}`: a certificate and its key go together"
    )));
    None
}

fn identity(
    of: Reader<'_>,
    [certificate, key]: Pair,
    loading: &mut Loading<'_>,
) -> Option<Identity> {
    let (at_certificate, at_key) = (of.place(certificate), of.place(key));
    let certificate = loading
        .sources
        .beside(at_certificate, of.text(certificate)?);
    let key = loading.sources.beside(at_key, of.text(key)?);
    loading.sources.watched.file(&certificate);
    loading.sources.watched.file(&key);
    match certificates::identity(&certificate, &key) {
        Ok(identity) => {
            if let Some(expiry) = identity.expiry(SystemTime::now()) {
                let problem = Problem::warning(Code::Expiry, at_certificate, expiry);
                loading
                    .problems
                    .report(problem.help("renew it; a changed file is read without a restart"));
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

/// `Some(None)` where the key is absent.
fn authorities(
    of: Reader<'_>,
    key: &str,
    loading: &mut Loading<'_>,
) -> Option<Option<Authorities>> {
    if of.is_broken(key) {
        return None;
    }
    let Some(name) = of.text(key) else {
        return Some(None);
    };
    let at = of.place(key);
    let file = loading.sources.beside(at, name);
    loading.sources.watched.file(&file);
    match certificates::authorities(&file) {
        Ok(authorities) => {
            for why in certificates::useless(&authorities, key == "ca", SystemTime::now()) {
                let message = format!(
                    "{} holds a certificate that is no authority's and {why}",
                    file.display()
                );
                let problem = Problem::warning(Code::NeverMatches, at, message);
                loading.problems.report(problem.help("name the authority that signs the certificates, or a certificate as it is shown, with its names and not expired"));
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

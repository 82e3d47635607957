//! `[listeners.tls]` and `[upstreams.NAME.tls]`: the files that they name are
//! read, watched, and held against each other.
//!
//! Certificates are parsed here and not at the first handshake, so that a
//! reload with a bad file is refused as a whole. `certificates` knows how to
//! read them; this file knows which belong together and where a mistake stands
//! in the configuration.
//!
//! Reading and parsing block. They are done while a configuration is loaded, on
//! a thread that serves no requests. Each file is watched from the moment that
//! it is named, so that a renewed certificate is a change, and so is the repair
//! of one that could not be used.

use std::{path::Path, time::SystemTime};

use super::{acme, checks::every, files};
use crate::config::{
    certificates::{self, FileFault},
    field::{Field, Given, Nested, section},
    include::Loading,
    problem::{Code, Problem},
    wire::{process, scalar::Scalar, syntaxes::PemFile, upstreams},
};
use crate::policy::{Authorities, KeyedCertificate, ListenerTls, UpstreamTls};

/// The name of a file with certificates or a key.
type Pem = Field<Scalar<PemFile>>;

/// TLS of a listener. At least one certificate is required, given or ordered,
/// as a handshake cannot begin without.
///
/// The version of TLS, and whether clients are asked for a certificate, are
/// taken from the section, which `field` is. `None` after a mistake, here or in
/// a file.
pub(super) fn listener(
    field: &Field<Box<process::ListenerTls>>,
    loading: &mut Loading<'_>,
) -> Option<ListenerTls> {
    let tls = field.value()?;
    let certificates = every(&tls.certificates, |field| {
        let certificate = field.value()?;
        identity(&certificate.cert, &certificate.key, loading)
    });
    let client_ca = authorities(&tls.client_ca, Peers::Clients, loading);
    let acme = tls.acme.if_given(|acme| acme::acme(acme, loading));
    if !tls.certificates.is_present() && !tls.acme.is_present() {
        if !loading.problems.incomplete {
            let message = "TLS needs a certificate";
            let help = "add `certificates = [{ cert = \"certs/site.pem\", key = \"certs/site.key\" }]`, or `acme = { domains = [\"shop.example.com\"] }` to have the gateway order them";
            let problems = &mut loading.problems;
            problems.error(Code::MissingKey, field.at(), message, help);
        }
        return None;
    }
    Some(ListenerTls {
        certificates: certificates?,
        acme: acme?,
        client_ca: client_ca?,
        min_version: tls.min_version.value?,
    })
}

/// TLS towards the servers of an upstream; an absent section has defaults, as
/// the scheme of a server's URL decides whether it is used.
///
/// A certificate for the gateway itself needs both of its files or none.
/// Without `ca`, the servers are held against the authorities that the system
/// trusts.
pub(super) fn upstream(
    entry: &Nested<upstreams::UpstreamTls>,
    loading: &mut Loading<'_>,
) -> Option<UpstreamTls> {
    let tls = section(entry)?;
    if tls.server_name.is_broken() {
        return None;
    }
    let ca = authorities(&tls.ca, Peers::Servers, loading);
    let identity = match (&tls.client_cert, &tls.client_key) {
        (Some(cert), Some(key)) => identity(cert, key, loading).map(Some),
        (None, None) => Some(None),
        (Some(cert), None) => alone(cert, "client_cert", "client_key", loading),
        (None, Some(key)) => alone(key, "client_key", "client_cert", loading),
    };
    let server_name = tls.server_name.given();
    Some(UpstreamTls {
        ca: ca?,
        server_name: server_name.map(|name| name.text.as_str().into()),
        identity: identity?,
    })
}

/// Reports a certificate without its key, or a key without its certificate, at
/// the one that is given. It returns nothing, in the type of its caller.
fn alone<T>(name: &Pem, given: &str, absent: &str, loading: &mut Loading<'_>) -> Option<T> {
    name.given()?;
    let message = format!("`{given}` without `{absent}`");
    let help = format!("add `{absent}`: a certificate and its key go together");
    let problems = &mut loading.problems;
    problems.error(Code::MissingKey, name.at(), message, help);
    None
}

/// A certificate chain with its private key. One that expires soon, or has
/// expired, causes a warning: the gateway keeps serving with it.
///
/// Both files are watched even if the first cannot be used. The mistake stands
/// at the key that names the file with the fault.
fn identity(cert: &Pem, key: &Pem, loading: &mut Loading<'_>) -> Option<KeyedCertificate> {
    let cert_file = files::watched(cert, loading);
    let key_file = files::watched(key, loading)?;
    let cert_file = cert_file?;
    match certificates::identity(&cert_file, &key_file) {
        Ok(identity) => {
            if let Some(expiry) = identity.expiry(SystemTime::now()) {
                let help = "renew it; a changed file is read without a restart";
                loading.problems.warn(Code::Expiry, cert.at(), expiry, help);
            }
            Some(identity)
        }
        Err(FileFault::Certificates(why)) => unusable(cert, &cert_file, &why, loading),
        Err(FileFault::Key(why)) => unusable(key, &key_file, &why, loading),
    }
}

/// The peers whose certificates authorities sign. Servers are accepted by their
/// name, clients by any certificate that an authority signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Peers {
    /// They present a certificate to a listener.
    Clients,
    /// They present one to the gateway, and it has to be valid for their name.
    Servers,
}

/// Certificates of authorities; `Some(None)` where the key is absent.
///
/// A certificate that is no authority's is accepted, as it may be a peer's own.
/// One that can match no peer causes a warning.
pub(super) fn authorities(
    name: &Option<Pem>,
    peers: Peers,
    loading: &mut Loading<'_>,
) -> Option<Option<Authorities>> {
    let Some(name) = name else {
        return Some(None);
    };
    let file = files::watched(name, loading)?;
    match certificates::authorities(&file) {
        Ok(authorities) => {
            let by_name = peers == Peers::Servers;
            for why in certificates::useless(&authorities, by_name, SystemTime::now()) {
                let file = file.display();
                let message =
                    format!("{file} holds a certificate that is no authority's and {why}");
                let help = "name the authority that signs the certificates, or a certificate as it is shown, with its names and not expired";
                let at = name.at();
                loading.problems.warn(Code::NeverMatches, at, message, help);
            }
            Some(Some(authorities))
        }
        Err(why) => unusable(name, &file, &why, loading),
    }
}

/// Reports that the file which a key names cannot be used.
fn unusable<T>(name: &Pem, file: &Path, why: &str, loading: &mut Loading<'_>) -> Option<T> {
    let message = format!("{} {why}", file.display());
    let problem = Problem::new(Code::Unreadable, name.at(), message);
    loading.problems.report(problem);
    None
}

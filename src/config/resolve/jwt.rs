//! `[identities.NAME.jwt]`: tokens, and the keys of their issuer.
//!
//! An identity has public keys or a secret, and its algorithms are of the same
//! kind. So no public key can be taken for a secret, which everybody would know.

use std::{path::Path, sync::Arc};

use super::{
    checks::{GivenKey, exclude},
    files, tls,
};
use crate::config::{
    field::{Field, Given},
    include::Loading,
    problem::{Code, Problem},
    source::{self, Span},
    syntax::identity::KeyPlace,
    wire::{
        identities::Jwt as WrittenJwt,
        scalar::Scalar,
        syntaxes::{FileName, KeysAt},
    },
};
use crate::policy::{
    Algorithm, Jwt, KeySet, KeyType, KeyUrl, ServerAddress, TokenKeys, UpstreamTls,
};

/// Longest file of keys, in bytes.
const LONGEST_KEYS: u64 = 256 * 1024;

/// The tokens of an identity. `at` is the place of the section.
pub(super) fn jwt(written: &WrittenJwt, at: Span, loading: &mut Loading<'_>) -> Option<Jwt> {
    let algorithms = algorithms(written, loading);
    let keys = keys(written, at, loading);
    if written.audience.is_none() && matches!(keys, Some(TokenKeys::Fetched(_))) {
        let message = "tokens that the issuer has made for other services are accepted, too";
        let help = "add `audience = [\"NAME\"]`, as the issuer names this service in `aud`";
        let problems = &mut loading.problems;
        problems.warn(Code::Exposed, written.keys.at(), message, help);
    }
    let issuer = written.issuer.optional()?;
    let audience = written.audience.optional()?.unwrap_or_default();
    Some(Jwt {
        keys: keys?,
        algorithms: algorithms?,
        issuer: issuer.map(Into::into),
        audience: audience.into_iter().map(Into::into).collect(),
        id: written.id.read()?,
        leeway: written.leeway.read()?,
    })
}

/// The algorithms, all of public keys or all of a secret.
fn algorithms(written: &WrittenJwt, loading: &mut Loading<'_>) -> Option<Vec<Algorithm>> {
    let has_secret = written.secret_file.is_some();
    let mut is_right = true;
    for field in written.algorithms.elements() {
        let Some(algorithm) = field.read() else {
            continue;
        };
        if (algorithm.kind() == KeyType::Secret) == has_secret {
            continue;
        }
        is_right = false;
        let (message, help) = match (has_secret, written.algorithms.is_present()) {
            (true, false) => (
                "a secret needs its algorithm".to_owned(),
                "add `algorithms = [\"HS256\"]`, as the issuer signs",
            ),
            (true, true) => (
                format!(
                    "{} takes a public key, and this identity has a secret",
                    algorithm.name()
                ),
                "write \"HS256\", \"HS384\" or \"HS512\", or name the public keys with `keys`",
            ),
            (false, _) => (
                format!(
                    "{} takes a secret, and this identity has public keys",
                    algorithm.name()
                ),
                "name the secret with `secret_file` in place of `keys`, or leave it out: whoever knows a public key could sign",
            ),
        };
        let at = match written.algorithms.is_present() {
            true => field.at(),
            false => written.secret_file.at(),
        };
        loading.problems.error(Code::Conflict, at, message, help);
        break;
    }
    written.algorithms.read().filter(|_| is_right)
}

/// The keys: at a URL, in a file, or a secret.
fn keys(written: &WrittenJwt, at: Span, loading: &mut Loading<'_>) -> Option<TokenKeys> {
    let ways = [
        GivenKey::given("keys", &written.keys),
        GivenKey::given("secret_file", &written.secret_file),
    ];
    let help = "keep one of the two, and give the other one an identity of its own";
    if exclude(&ways, "", help, &mut loading.problems) {
        return None;
    }
    if let Some(name) = &written.secret_file {
        let set = secret(name, written, loading)?;
        return Some(TokenKeys::Fixed(Arc::new(set)));
    }
    let Some(field) = &written.keys else {
        if !loading.problems.incomplete {
            let message = "there are no keys that signatures are checked by";
            let help =
                "add `keys = \"https://idp.example.com/.well-known/jwks.json\"`, or a file of keys";
            loading.problems.error(Code::MissingKey, at, message, help);
        }
        return None;
    };
    match field.read()? {
        KeyPlace::Url(server, target) => {
            let ca = tls::authorities(&written.ca, tls::Peers::Servers, loading)?;
            let is_secure = server.secure_as.is_some();
            check_plain(field, is_secure || is_here(&server.address), loading);
            if !is_secure && ca.is_some() {
                no_tls(written, loading);
            }
            Some(TokenKeys::Fetched(Box::new(KeyUrl {
                server,
                target: target.into(),
                tls: UpstreamTls {
                    ca,
                    ..UpstreamTls::default()
                },
            })))
        }
        KeyPlace::File(_) => {
            if written.ca.is_some() {
                no_tls(written, loading);
            }
            let set = file(field, loading)?;
            Some(TokenKeys::Fixed(Arc::new(set)))
        }
    }
}

/// Whether a server is on this machine.
fn is_here(address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Tcp { host, .. } => {
            let ip = host.parse::<std::net::IpAddr>();
            &**host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        }
        ServerAddress::Unix(_) => true,
        ServerAddress::Srv { .. } => false,
    }
}

/// Reports keys that come over a network without TLS.
fn check_plain(keys: &Field<Scalar<KeysAt>>, is_safe: bool, loading: &mut Loading<'_>) {
    if !is_safe {
        let message =
            "the keys come without TLS: whoever can change them on the way can make tokens";
        let help = "write a URL with `https://`, and `ca` if its authority is your own";
        loading
            .problems
            .warn(Code::Exposed, keys.at(), message, help);
    }
}

/// Reports authorities where no TLS is spoken.
fn no_tls(written: &WrittenJwt, loading: &mut Loading<'_>) {
    let message = "`ca` has no effect: `keys` is no URL with `https://`";
    let help = "leave it out, or write a URL with `https://`";
    let problems = &mut loading.problems;
    problems.error(Code::Conflict, written.ca.at(), message, help);
}

/// The keys in a file, which is watched.
fn file(name: &Field<Scalar<KeysAt>>, loading: &mut Loading<'_>) -> Option<KeySet> {
    let file = files::watched(name, loading)?;
    match read(&file) {
        Ok(set) => Some(set),
        Err(why) => {
            let message = format!("{} {why}", file.display());
            let help = "write a key set (JWKS), or public keys in PEM; `openssl x509 -pubkey -noout` takes the key out of a certificate";
            let problem = Problem::new(Code::Unreadable, name.at(), message);
            loading.problems.report(problem.help(help));
            None
        }
    }
}

/// A key set in JSON, or public keys in PEM.
fn read(file: &Path) -> Result<KeySet, String> {
    let bytes = source::read_secret(file, LONGEST_KEYS)?;
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let set = match first {
        Some(b'{') => KeySet::from_jwks(&bytes),
        _ => KeySet::from_pem(&bytes),
    };
    set.map_err(|fault| fault.to_string())
}

/// The secret in a file, which is watched: the text of one line.
fn secret(
    name: &Field<Scalar<FileName>>,
    written: &WrittenJwt,
    loading: &mut Loading<'_>,
) -> Option<KeySet> {
    let help = "put the secret that the issuer signs with into it, in one line";
    let secret = files::secret(name, files::one_line, help, loading)?;
    let algorithms = written.algorithms.read().unwrap_or_default();
    let shortest = algorithms.into_iter().map(Algorithm::shortest_secret);
    let shortest = shortest.max().unwrap_or_default();
    if secret.0.len() < shortest {
        let message = format!(
            "the secret has {} bytes, and the algorithm needs {shortest} (RFC 7518, 3.2)",
            secret.0.len()
        );
        let help = "make one with `openssl rand -hex 32` or longer, for the issuer and for here";
        let problems = &mut loading.problems;
        problems.error(Code::BadValue, name.at(), message, help);
        return None;
    }
    Some(KeySet::of_secret(secret.0.as_bytes()))
}

//! Identities of a configuration: what verified credentials, and how each route
//! asks for them.
//!
//! An identity that is configured as before is kept with the credentials that
//! it knows. A changed one begins with none, so that a key that was taken out
//! of its file is refused at once. Counters go on in both cases, and so do the
//! keys that were fetched from a URL that stays.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    destinations,
    error::BuildError,
    limits,
    named::Named,
    state::{Process, State},
};
use crate::{
    call::RouteTag,
    config::Config,
    identity::{
        AskedClaims, Authenticator, CredentialCounts, KeySource, SignatureChecks, TokenVerifier,
        Verifier,
    },
    layer::{AuthService, FailureLimit, HiddenCredentials, IdentifyLayer, RouteIdentity},
    policy::{
        self, Authentication, Balance, HeaderChanges, HeaderText, Jwt, KeyPart, KeyUrl, Missing,
        RequestValue, RequiredClaim, TokenKeys,
    },
};

/// The identities of a configuration, and the threads that they share.
pub(super) struct Identities {
    pub(super) by_name: Named<Arc<Authenticator>>,
    /// `None` if no identity has tokens.
    pub(super) checks: Option<Arc<SignatureChecks>>,
}

/// The identities of `config`, with what those before them know.
///
/// # Errors
/// [`BuildError::Identity`].
pub(super) fn identities(
    config: &Config,
    earlier: Option<&State>,
    process: &Process,
) -> Result<Identities, BuildError> {
    let checks = checks(config, earlier, process)?;
    let mut identities = Named::new();
    let asked = Arc::new(AskedClaims {
        texts: claims(config).into_iter().map(Into::into).collect(),
        conditions: conditions(config).into_iter().cloned().collect(),
    });
    for policy in &config.identities {
        let before = earlier.and_then(|earlier| earlier.identities.get(&policy.name));
        check_emptied(policy, before)?;
        let authenticator = match before {
            Some(before) if before.implements(policy, &asked) => Arc::clone(before),
            before => {
                let counts = before.map(|before| Arc::clone(&before.counts));
                let verifier = match (&policy.method, &checks) {
                    (Authentication::ApiKeys(keys), _) => Verifier::ApiKeys(Arc::clone(keys)),
                    (Authentication::Jwt(jwt), Some(checks)) => {
                        let tokens = tokens(&policy.name, jwt, checks, before);
                        Verifier::Tokens(Arc::new(tokens?))
                    }
                    (Authentication::Jwt(_), None) => continue,
                    (Authentication::Forward(_), _) => Verifier::Service,
                };
                Arc::new(Authenticator::new(
                    Arc::clone(policy),
                    verifier,
                    Arc::clone(&asked),
                    process.workers,
                    counts.unwrap_or_else(|| Arc::new(CredentialCounts::new(process.workers))),
                ))
            }
        };
        identities.insert(Arc::clone(&policy.name), authenticator);
    }
    Ok(Identities {
        by_name: identities,
        checks,
    })
}

/// Refuses a file of keys that had some and has nothing any more. A program that
/// writes it in place has cut it, and is about to write it: everybody would be
/// refused for that moment.
fn check_emptied(
    policy: &policy::Identity,
    before: Option<&Arc<Authenticator>>,
) -> Result<(), BuildError> {
    let before = before.map(|before| &before.policy.method);
    match (&policy.method, before) {
        (Authentication::ApiKeys(keys), Some(Authentication::ApiKeys(before)))
            if keys.is_blank() && !before.is_empty() =>
        {
            Err(BuildError::Identity {
                name: Arc::clone(&policy.name),
                why: format!(
                    "its file of keys is empty, and had {} before; to refuse all of them, leave a comment in it, such as `# no keys`",
                    before.len()
                ),
            })
        }
        _ => Ok(()),
    }
}

/// The threads that check signatures, which go on over reloads; none without
/// tokens.
fn checks(
    config: &Config,
    earlier: Option<&State>,
    process: &Process,
) -> Result<Option<Arc<SignatureChecks>>, BuildError> {
    let has_tokens = |one: &&Arc<policy::Identity>| matches!(one.method, Authentication::Jwt(_));
    let Some(identity) = config.identities.iter().find(has_tokens) else {
        return Ok(None);
    };
    if let Some(checks) = earlier.and_then(|earlier| earlier.checks.as_ref()) {
        return Ok(Some(Arc::clone(checks)));
    }
    let started = SignatureChecks::start(process.workers);
    let started = started.map_err(|error| BuildError::Identity {
        name: Arc::clone(&identity.name),
        why: format!("no thread can be started for its signatures ({error})"),
    });
    Ok(Some(Arc::new(started?)))
}

/// Verifies the tokens of the identity of this name.
fn tokens(
    name: &Arc<str>,
    jwt: &Arc<Jwt>,
    checks: &Arc<SignatureChecks>,
    before: Option<&Arc<Authenticator>>,
) -> Result<TokenVerifier, BuildError> {
    let (jwt, checks) = (Arc::clone(jwt), Arc::clone(checks));
    match &jwt.keys {
        TokenKeys::Fixed(set) => {
            let set = Arc::clone(set);
            Ok(TokenVerifier::fixed(jwt, &set, checks))
        }
        TokenKeys::Fetched(url) => {
            let source = source(name, url, before)?;
            Ok(TokenVerifier::fetched(jwt, source, checks))
        }
    }
}

/// The keys at a URL, with those that were fetched before.
fn source(
    name: &Arc<str>,
    url: &KeyUrl,
    before: Option<&Arc<Authenticator>>,
) -> Result<Arc<KeySource>, BuildError> {
    let before = before.and_then(|before| before.source());
    if let Some(before) = before.filter(|before| before.implements(url)) {
        return Ok(Arc::clone(before));
    }
    let source = KeySource::new(Arc::clone(name), url.clone());
    let source = source.map_err(|why| BuildError::Identity {
        name: Arc::clone(name),
        why,
    });
    source.map(Arc::new)
}

/// The conditions of all routes on claims.
fn conditions(config: &Config) -> BTreeSet<&RequiredClaim> {
    let routes = config.routes.iter();
    routes.flat_map(|route| &route.identify.require).collect()
}

/// The names of all claims that keys and header fields have in them. Others are
/// not kept of a client.
fn claims(config: &Config) -> BTreeSet<&str> {
    let mut claims = BTreeSet::new();
    for limit in &config.limits {
        claims.extend(limit.key.iter().filter_map(of_key));
        if let Missing::Use(part) = &limit.missing {
            claims.extend(of_key(part));
        }
    }
    for upstream in &config.upstreams {
        if let Balance::Hash(parts) = &upstream.balance {
            claims.extend(parts.iter().filter_map(of_key));
        }
        let fair_by = upstream.concurrency.iter().flat_map(|cap| &cap.fair_by);
        claims.extend(fair_by.filter_map(of_key));
    }
    for route in &config.routes {
        let fair_by = route.concurrency.iter().flat_map(|cap| &cap.fair_by);
        claims.extend(fair_by.filter_map(of_key));
        let changes = [&route.request.headers, &route.response.headers];
        for (_, text) in changes.into_iter().flat_map(HeaderChanges::written) {
            claims.extend(of_header(text));
        }
    }
    claims
}

/// The claim that a part of a key asks for.
fn of_key(part: &KeyPart) -> Option<&str> {
    match part {
        KeyPart::Claim(name) => Some(name),
        _ => None,
    }
}

/// The claims that a field asks for.
fn of_header(text: &HeaderText) -> impl Iterator<Item = &str> {
    text.values().filter_map(|value| match value {
        RequestValue::Claim(name) => Some(&**name),
        _ => None,
    })
}

/// The layer that identifies the clients of a route.
pub(super) fn layer(route: &policy::Route, state: &State, process: &Process) -> IdentifyLayer {
    let identify = &route.identify;
    let names = limits::names(route, &state.config);
    let identities = identify.by.iter().filter_map(|name| {
        let authenticator = state.identities.get(name)?;
        let failures = authenticator.policy.limit.as_ref();
        let asking = match &authenticator.policy.method {
            Authentication::Forward(forward) => Some(auth_service(forward, state, process)?),
            Authentication::ApiKeys(_) | Authentication::Jwt(_) => None,
        };
        Some(RouteIdentity {
            asking,
            authenticator: Arc::clone(authenticator),
            failures: failures.and_then(|limit| failure_limit(limit, &names, state, process)),
        })
    });
    IdentifyLayer::new(
        identities.collect(),
        identify.refuses_anonymous,
        identify.require.clone(),
    )
}

/// The way to ask a service about clients; `None` if the state lacks the
/// service.
fn auth_service(
    forward: &Arc<policy::ForwardAuth>,
    state: &State,
    process: &Process,
) -> Option<Arc<AuthService>> {
    let tag = RouteTag::aside(None, process.metrics.unseen_route());
    Some(Arc::new(AuthService {
        policy: Arc::clone(forward),
        service: destinations::ask_service(forward, state)?,
        tag: Arc::new(tag),
    }))
}

/// The bound on wrong credentials by the limit of this name. `names` are those
/// of the route's limits.
fn failure_limit(
    name: &Arc<str>,
    names: &[Arc<str>],
    state: &State,
    process: &Process,
) -> Option<FailureLimit> {
    let limit = state.config.limits.iter().find(|one| one.name == *name)?;
    Some(FailureLimit {
        limit: Arc::clone(limit),
        limiter: state.limits.get(name)?.clone(),
        top: state.tops.get(name)?.clone(),
        begun: process.hasher.key(name),
        bans: state.bans.get(name).cloned(),
        name: names.iter().position(|one| one == name)?,
    })
}

/// The credentials that the service of a route does not get.
pub(super) fn hidden(route: &policy::Route, state: &State) -> HiddenCredentials {
    if route.identify.keeps_credentials {
        return HiddenCredentials::default();
    }
    let identities = route.identify.by.iter();
    let identities = identities.filter_map(|name| state.identities.get(name));
    HiddenCredentials::new(identities.flat_map(|one| one.policy.credentials()))
}

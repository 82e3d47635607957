//! `[identities.NAME]`: ways to authenticate clients, and what a route asks of
//! them.

use std::sync::Arc;

use http::HeaderName;

use super::{
    checks::{GivenKey, every, exclude},
    files, forward, jwt,
    references::RouteContext,
};
use crate::config::{
    api_keys,
    field::{Field, Given},
    include::Loading,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{
        File,
        identities::{Anonymous, Credentials, Identity as WrittenIdentity},
        routes::Route,
        scalar::Scalar,
        syntaxes::FileName,
        tables::NamedEntry,
    },
};
use crate::policy::{
    Allowance, ApiKeys, Authentication, Cost, CredentialPlace, Identification, Identity, KeyPart,
    Limit, RequiredClaim,
};

/// Resolves all identities, in the order of their names. `limits` are those of
/// the file, `None` if they have a mistake.
pub(super) fn identities(
    file: &File,
    limits: Option<&[Limit]>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Identity>> {
    every(&file.identities, |entry| identity(entry, limits, loading))
}

/// One identity.
fn identity(
    entry: &NamedEntry<WrittenIdentity>,
    limits: Option<&[Limit]>,
    loading: &mut Loading<'_>,
) -> Option<Identity> {
    let identity = entry.field.value()?;
    let name = name(entry, &mut loading.problems);
    let method = method(entry, identity, loading);
    if let (Some(name), Some(limits)) = (&identity.limit, limits) {
        check_limit(name.read(), name.at(), limits, &mut loading.problems);
    }
    let from = identity.from.optional()?;
    let method = method?;
    Some(Identity {
        name: name?,
        from: from.unwrap_or_else(|| usual_places(&method)),
        plan: identity.plan.optional()?,
        limit: identity.limit.optional()?,
        method,
    })
}

/// The name of an identity. It stands before an id as `NAME:ID`, and in a
/// quoted string of `WWW-Authenticate`.
fn name(entry: &NamedEntry<WrittenIdentity>, problems: &mut Problems) -> Option<Arc<str>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !entry.name.is_empty() && entry.name.chars().all(is_plain) {
        return Some(entry.name.as_str().into());
    }
    let message = format!("`{}` is not the name of an identity", entry.name);
    let help = "write letters, digits, `-`, `_` and `.`, such as `[identities.partners]`";
    problems.error(Code::BadValue, entry.field.at(), message, help);
    None
}

/// How the credentials of an identity are verified: the one of the keys that
/// say so.
fn method(
    entry: &NamedEntry<WrittenIdentity>,
    identity: &WrittenIdentity,
    loading: &mut Loading<'_>,
) -> Option<Authentication> {
    let ways = [
        GivenKey::given("api_keys", &identity.api_keys),
        GivenKey::given("forward", &identity.forward),
        GivenKey::given("jwt", &identity.jwt),
    ];
    let help = "keep one of the two, and give the other one a section of its own";
    if exclude(&ways, "", help, &mut loading.problems) {
        return None;
    }
    if let Some(field) = &identity.jwt {
        let jwt = jwt::jwt(field.value()?, field.at(), loading);
        return jwt.map(|jwt| Authentication::Jwt(Arc::new(jwt)));
    }
    if let Some(file) = &identity.api_keys {
        return keys(file, loading).map(|keys| Authentication::ApiKeys(Arc::new(keys)));
    }
    if let Some(forward) = &identity.forward {
        let name = format!("identities.{}", entry.name);
        let forward = forward::forward(forward.value()?, &name, &mut loading.problems);
        return forward.map(|forward| Authentication::Forward(Arc::new(forward)));
    }
    if !loading.problems.incomplete {
        let message = format!(
            "the identity `{}` does not say how credentials are verified",
            entry.name
        );
        let help = "add `api_keys = \"partners.keys.toml\"`, a file that `tidegate key new` makes, `jwt` with the `keys` of an issuer of tokens, or `forward` with the `url` of a service";
        let at = entry.field.at();
        loading.problems.error(Code::MissingKey, at, message, help);
    }
    None
}

/// Where credentials usually stand, if the file does not say.
fn usual_places(method: &Authentication) -> Vec<CredentialPlace> {
    match method {
        Authentication::ApiKeys(_) => vec![
            CredentialPlace::Header(HeaderName::from_static("x-api-key")),
            CredentialPlace::Bearer,
        ],
        // The service looks for them itself.
        Authentication::Forward(_) => Vec::new(),
        Authentication::Jwt(_) => vec![CredentialPlace::Bearer],
    }
}

/// The keys in a file, which is watched. Each mistake in the file is reported at
/// the key that names it.
fn keys(name: &Field<Scalar<FileName>>, loading: &mut Loading<'_>) -> Option<ApiKeys> {
    let file = files::watched(name, loading)?;
    let mistakes = match api_keys::read(&file) {
        Ok(keys) => return Some(keys),
        Err(mistakes) => mistakes,
    };
    for why in mistakes {
        let message = format!("{} {why}", file.display());
        let help = "`tidegate key new --file FILE --name NAME` writes such a file, and `tidegate key list --file FILE` shows it";
        let problem = Problem::new(Code::Unreadable, name.at(), message);
        loading.problems.report(problem.help(help));
    }
    None
}

/// The limit of wrong credentials counts by the address of the client alone, in
/// this gateway: nothing else is known of a request that is not identified. Each
/// of them takes one token from the bucket of its address, or is refused.
fn check_limit(name: Option<Arc<str>>, at: Span, limits: &[Limit], problems: &mut Problems) {
    let Some(name) = name else { return };
    let Some(limit) = limits.iter().find(|limit| limit.name == name) else {
        if !problems.incomplete {
            let message = format!("there is no limit `{name}`");
            let help = format!(
                "define it: `[limits.{name}]` with `key = \"client-ip\"` and `rate = \"10/m\"`"
            );
            problems.error(Code::UnknownName, at, message, help);
        }
        return;
    };
    if !matches!(*limit.key, [KeyPart::ClientIp { .. }]) {
        let message = format!(
            "wrong credentials are charged by the client's address, and the key of `{name}` is another one"
        );
        let help = "name a limit with `key = \"client-ip\"`";
        problems.error(Code::Conflict, at, message, help);
    } else if limit.shared {
        let message = format!("wrong credentials are counted here, and `{name}` in the store");
        let help = "name a limit without `scope = \"shared\"`";
        problems.error(Code::Conflict, at, message, help);
    } else if let Allowance::InFlight(_) = limit.allowance {
        let message =
            format!("wrong credentials are counted, and `{name}` is a cap on requests in flight");
        let help = "name a limit with a `rate`, such as `rate = \"10/m\"`";
        problems.error(Code::Conflict, at, message, help);
    }
    for key in without_effect(limit) {
        let message = format!(
            "`{key}` of `{name}` has no effect here: each wrong credential takes one token from the bucket of its address"
        );
        let help = format!(
            "name a limit without `{key}`; of its own, it has `key`, `rate`, `burst`, `mode`, `status`, `ban`, `max_keys` and `persist`"
        );
        problems.error(Code::Conflict, at, message, help);
    }
}

/// The keys of a limit that say nothing about wrong credentials.
fn without_effect(limit: &Limit) -> impl Iterator<Item = &'static str> {
    let given = [
        ("cost", limit.cost != Cost::Fixed(1)),
        ("count", limit.count.is_some()),
        ("candidate", limit.candidate.is_some()),
        ("tiers", !limit.tiers.is_empty()),
        ("plans", !limit.plans.is_empty()),
        ("overrides", !limit.overrides.is_empty()),
        ("delay", limit.delay.is_some()),
    ];
    given
        .into_iter()
        .filter_map(|(key, is_given)| is_given.then_some(key))
}

/// The identities of a route, and the conditions on its clients.
pub(super) fn of_route(route: &Route, context: &mut RouteContext<'_>) -> Option<Identification> {
    context.check_identities(route);
    let by = route.identify.read()?;
    if by.is_empty() {
        let removes = route.credentials.own() == Some(&Credentials::Remove);
        let keys = [
            ("require", route.require.is_own(), route.require.at()),
            ("credentials", removes, route.credentials.at()),
        ];
        for (key, _, at) in keys.into_iter().filter(|(_, is_own, _)| *is_own) {
            let message = format!("`{key}` has no effect: the route identifies nobody");
            let help = "add `identify = [\"NAME\"]`, with the name of a section of `[identities]`";
            context.problems.error(Code::Conflict, at, message, help);
        }
    }
    let mut require = Vec::new();
    for pair in route.require.elements() {
        require.push(RequiredClaim {
            claim: pair.name.read()?,
            values: pair.field.read()?.into_iter().map(Into::into).collect(),
        });
    }
    Some(Identification {
        refuses_anonymous: route.anonymous.value? == Anonymous::Refuse,
        keeps_credentials: route.credentials.value? == Credentials::Pass,
        require: if by.is_empty() { Vec::new() } else { require },
        by,
    })
}

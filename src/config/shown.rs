//! The running configuration as JSON: the language's own keys and units,
//! defaults filled in, secrets left out.
//!
//! The view is itself a valid configuration but for the secrets, and has the
//! same meaning. It is made from the tree of the file by the
//! [`language`](super::language), and from the built configuration where a
//! default depends on another key. Three kinds of values may be secrets:
//!
//! - the URL of a store: its password is replaced, and so is everything in the
//!   place of a host that is not plainly an address;
//! - headers, parameters and the like: values under the name of a secret are
//!   replaced, and values from the environment are shown as `${NAME}`;
//! - keys of a limit in its overrides: values of headers, cookies and queries
//!   are replaced.

use serde_json::{Map, Value as Json, json};

use super::{
    configuration::Config,
    language::{self, Kind, LanguageKey, Section},
    redact,
    tree::{Entry, Node, Table, Value},
    units,
};
use crate::policy::{Allowance, CheckKind, HealthCheck, KeyPart, Limit, ValuePattern};

/// Tables whose absence means something: they are shown only when given.
const ONLY_WHEN_GIVEN: [&str; 16] = [
    "respond",
    "redirect",
    "concurrency",
    "adaptive",
    "candidate",
    "store",
    "traces",
    "mirror",
    "health_check",
    "tls",
    "acme",
    "cors",
    "refusal",
    "jwt",
    "ban",
    "forward",
];

const REDACTED: &str = "[redacted]";

impl Config {
    /// The configuration as JSON with defaults filled in and secrets redacted,
    /// for `/config`. Made when it is asked for: for thousands of routes it
    /// takes as long as everything else of a reload.
    ///
    /// ```
    /// use tidegate::config::{Environment, parse};
    ///
    /// let file = "[upstreams.app]
    /// servers = ['http://127.0.0.1:9000']
    ///
    /// [[routes]]
    /// name = 'app'
    /// upstream = 'app'
    /// request.set_headers = { x-api-key = 'hunter2' }";
    /// let config = parse("tidegate.toml", file, &Environment::new()).expect("a valid file");
    /// let route = &config.shown()["routes"][0];
    /// assert_eq!(route["timeouts"]["total"], "30s");
    /// assert_eq!(route["request"]["set_headers"]["x-api-key"], "[redacted]");
    /// ```
    pub fn shown(&self) -> Json {
        let mut shown = section(language::file(), Some(&self.tree));
        // They are merged into the routes.
        shown.remove("defaults");
        let mut shown = Json::Object(shown);
        for (at, listener) in self.listeners.iter().enumerate() {
            if let Some(name) = &listener.name {
                shown["listeners"][at]["name"] = json!(**name);
            }
            if listener.bind.ip().is_none() {
                shown["listeners"][at]["mode"] = json!(format!("{:04o}", listener.mode));
            }
        }
        // Names of headers do not tell which of them are credentials here.
        let headers = shown.pointer_mut("/traces/headers");
        for value in headers.and_then(Json::as_object_mut).into_iter().flatten() {
            *value.1 = json!(REDACTED);
        }
        for limit in &self.limits {
            complete(&mut shown["limits"][&*limit.name], limit);
        }
        for identity in &self.identities {
            // The default depends on how credentials are verified.
            if !identity.from.is_empty() {
                let from = identity.from.iter().map(ToString::to_string);
                shown["identities"][&*identity.name]["from"] = from.collect();
            }
        }
        for upstream in &self.upstreams {
            if let Some(HealthCheck {
                kind: CheckKind::Grpc(_) | CheckKind::Tcp,
                ..
            }) = &upstream.health_check
                && let Some(check) =
                    shown["upstreams"][&*upstream.name]["health_check"].as_object_mut()
            {
                // They have a default, and belong to the other kind.
                check.remove("method");
                check.remove("statuses");
            }
        }
        for (at, route) in self.routes.iter().enumerate() {
            let attempt = units::duration_text(route.timeouts.attempt);
            shown["routes"][at]["timeouts"]["attempt"] = json!(attempt);
            if let Some(cors) = &route.cors {
                let names = cors.expose.iter().map(|name| name.as_str());
                shown["routes"][at]["cors"]["expose"] = names.collect();
            }
        }
        shown
    }
}

/// Fills in the bursts of a limit, which are those of its rates by default, and
/// takes out the values of keys that may be credentials. The view has the
/// tables of the limit: it was made from the same file.
fn complete(view: &mut Json, limit: &Limit) {
    show_burst(view, limit.allowance);
    if let Some(candidate) = &limit.candidate {
        show_burst(&mut view["candidate"], candidate.allowance);
    }
    if let Some(allowance) = limit.stand_ins {
        show_burst(&mut view["missing"], allowance);
    }
    for (at, tier) in limit.tiers.iter().enumerate() {
        show_burst(&mut view["tiers"][at], tier.allowance);
    }
    for plan in &limit.plans {
        if let Some(allowance) = plan.allowance {
            show_burst(&mut view["plans"][&*plan.name], allowance);
        }
    }
    for (at, one) in limit.overrides.iter().enumerate() {
        let shown = &mut view["overrides"][at];
        if let Some(allowance) = one.allowance {
            show_burst(shown, allowance);
        }
        let patterns = one.matches.iter();
        shown["match"] = patterns
            .map(|pattern| shown_pattern(pattern, &limit.key))
            .collect();
    }
}

/// Shows the burst of a table that has a rate.
fn show_burst(view: &mut Json, allowance: Allowance) {
    if let Allowance::Rate(quota) = allowance {
        view["burst"] = json!(quota.burst());
    }
}

/// One pattern of an override. `*` and networks are shown; values of headers,
/// cookies and queries are not, nor those of a parameter with the name of a
/// secret.
fn shown_pattern(pattern: &[ValuePattern], key: &[KeyPart]) -> Json {
    let shown = |(pattern, part): (&ValuePattern, &KeyPart)| match (pattern, part) {
        (ValuePattern::Any, _) => json!("*"),
        (ValuePattern::Network(network), _) => json!(network),
        (ValuePattern::Text(_), KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_)) => {
            json!(REDACTED)
        }
        (ValuePattern::Text(_), KeyPart::Param(name)) if redact::is_secret_name(name) => {
            json!(REDACTED)
        }
        (ValuePattern::Text(text), _) => json!(text),
    };
    pattern.iter().zip(key).map(shown).collect()
}

/// `table` is what the file has of the section, `None` if it is absent. A key
/// that is absent has its default, or is left out if it has none.
fn section(section: &Section, table: Option<&Table>) -> Map<String, Json> {
    let value = |key: &LanguageKey| Some((key.name.clone(), value(key, table)?));
    section.keys.iter().filter_map(value).collect()
}

/// `None` for a key that is not shown: it is absent and without a default, or
/// its absence has a meaning.
fn value(key: &LanguageKey, table: Option<&Table>) -> Option<Json> {
    match (table.and_then(|table| table.get(&key.name)), &key.kind) {
        (Some(entry), kind) => Some(given(kind, &entry.node)),
        (None, Kind::Table(_)) if ONLY_WHEN_GIVEN.contains(&key.name.as_str()) => None,
        (None, Kind::Table(inner)) => Some(Json::Object(section(inner, None))),
        (None, _) => key.default.clone(),
    }
}

/// Null for a value that does not fit its kind, which a configuration without
/// errors does not have.
fn given(kind: &Kind, node: &Node) -> Json {
    match (kind, &node.value) {
        (Kind::Table(inner), Value::Table(table)) => Json::Object(section(inner, Some(table))),
        (Kind::Either(_, long), Value::Table(_) | Value::List(_)) => given(long, node),
        (Kind::Named(of), Value::Table(table)) => {
            let named = |(name, entry): (&str, &Entry)| (name.to_owned(), given(of, &entry.node));
            Json::Object(table.iter().map(named).collect())
        }
        (Kind::Map(_, of), Value::Table(table)) => {
            let pair = |(name, entry): (&str, &Entry)| match **of {
                Kind::Text(_) => (name.to_owned(), free_text(name, &entry.node)),
                _ => (name.to_owned(), given(of, &entry.node)),
            };
            Json::Object(table.iter().map(pair).collect())
        }
        (Kind::Tables(of) | Kind::List(of) | Kind::OneOrList(of), Value::List(items)) => {
            items.iter().map(|item| given(of, item)).collect()
        }
        (Kind::OneOrList(of), Value::Text(_)) => given(of, node),
        (Kind::Text(syntax), Value::Text(text)) if syntax.is_secret => {
            json!(without_password(&text.text))
        }
        (Kind::Text(syntax), Value::Text(text)) if syntax.example.is_none() => {
            json!(redact::queries(text.shown()))
        }
        (kind, Value::Text(text)) if text.variable().is_some() => typed(kind, &text.text),
        (_, Value::Text(text)) => json!(redact::queries(&text.text)),
        (_, Value::Whole(number)) => json!(number),
        (_, Value::Flag(flag)) => json!(flag),
        _ => Json::Null,
    }
}

/// A value from the environment, in the type that the key wants.
///
/// A text that does not convert is shown as text, with secrets in queries
/// covered.
fn typed(kind: &Kind, text: &str) -> Json {
    let items = || {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    let other = match kind {
        Kind::Flag => text.trim().parse().ok().map(Json::Bool),
        Kind::Whole { .. } => text.trim().parse::<u64>().ok().map(Json::from),
        Kind::Either(of, _) if matches!(**of, Kind::Flag) => {
            text.trim().parse().ok().map(Json::Bool)
        }
        Kind::Either(of, _) | Kind::Or(_, of) if matches!(**of, Kind::Whole { .. }) => {
            text.trim().parse::<u64>().ok().map(Json::from)
        }
        Kind::List(_) => Some(items().collect()),
        _ => None,
    };
    other.unwrap_or_else(|| json!(redact::queries(text)))
}

/// The URL of a store without what stands between the user and the host, or may
/// be a password in the host's place.
fn without_password(url: &str) -> String {
    let secret = redact::secret_of_store(url);
    if secret.is_empty() {
        return url.to_owned();
    }
    let (before, after) = (&url[..secret.start], &url[secret.end..]);
    let user = url[secret].split_once(':').map_or("", |(user, _)| user);
    if after.is_empty() || user.is_empty() {
        return format!("{before}{REDACTED}{after}");
    }
    format!("{before}{user}:{REDACTED}{after}")
}

/// The value of a header or the like. A value from the environment is shown as
/// it was written, because it may be a secret.
fn free_text(name: &str, node: &Node) -> Json {
    match &node.value {
        Value::Text(_) if redact::is_secret_name(name) => json!(REDACTED),
        Value::Text(text) => json!(text.shown()),
        Value::List(items) => items.iter().map(|item| free_text(name, item)).collect(),
        _ => Json::Null,
    }
}

//! The running configuration as JSON: the language's own keys and units,
//! defaults filled in, secrets left out.

use serde_json::{Map, Value as Json, json};

use super::{
    configuration::Config,
    language::{self, Key, Kind, Section},
    redact,
    tree::{Entry, Node, Table, Value},
    units,
};
use crate::policy::{KeyPart, Limit, ValuePattern};

/// Tables whose absence means something: they are shown only when given.
const ONLY_WHEN_GIVEN: [&str; 9] = [
    "respond",
    "redirect",
    "concurrency",
    "adaptive",
    "candidate",
    "store",
    "mirror",
    "health_check",
    "tls",
];

const REDACTED: &str = "[redacted]";

/// The view of a whole configuration. Routes are shown with their defaults
/// merged in, so `defaults` is not.
pub(super) fn view(root: &Table, config: &Config) -> Json {
    let mut shown = section(language::file(), Some(root));
    shown.remove("defaults");
    for limit in &config.limits {
        complete(
            shown
                .get_mut("limits")
                .and_then(|limits| limits.get_mut(&*limit.name)),
            limit,
        );
    }
    let routes = shown.get_mut("routes").and_then(Json::as_array_mut);
    for (view, route) in routes.into_iter().flatten().zip(&config.routes) {
        set(
            view.get_mut("timeouts"),
            "attempt",
            json!(units::duration_text(route.timeouts.attempt)),
        );
    }
    Json::Object(shown)
}

/// Fills in the bursts of a limit, and takes out the values of keys that may be
/// credentials.
fn complete(view: Option<&mut Json>, limit: &Limit) {
    let Some(view) = view else { return };
    set(Some(&mut *view), "burst", json!(limit.quota.burst()));
    if let Some(candidate) = &limit.candidate {
        set(
            view.get_mut("candidate"),
            "burst",
            json!(candidate.quota.burst()),
        );
    }
    if let Some(quota) = &limit.stand_ins {
        set(view.get_mut("missing"), "burst", json!(quota.burst()));
    }
    for (at, tier) in limit.tiers.iter().enumerate() {
        set(
            view.get_mut("tiers").and_then(|tiers| tiers.get_mut(at)),
            "burst",
            json!(tier.quota.burst()),
        );
    }
    for (at, one) in limit.overrides.iter().enumerate() {
        let mut shown = view
            .get_mut("overrides")
            .and_then(|overrides| overrides.get_mut(at));
        if let Some(quota) = &one.quota {
            set(shown.as_deref_mut(), "burst", json!(quota.burst()));
        }
        let patterns = one
            .matches
            .iter()
            .map(|pattern| shown_pattern(pattern, &limit.key));
        set(shown, "match", patterns.collect());
    }
}

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

/// Fills in a default that depends on another key.
fn set(view: Option<&mut Json>, key: &str, value: Json) {
    if let Some(view) = view.and_then(Json::as_object_mut) {
        view.insert(key.to_owned(), value);
    }
}

fn section(section: &Section, table: Option<&Table>) -> Map<String, Json> {
    let value = |key: &Key| Some((key.name.clone(), value(key, table)?));
    section.keys.iter().filter_map(value).collect()
}

fn value(key: &Key, table: Option<&Table>) -> Option<Json> {
    match (table.and_then(|table| table.get(&key.name)), &key.kind) {
        (Some(entry), kind) => Some(given(kind, &entry.node)),
        (None, Kind::Table(_)) if ONLY_WHEN_GIVEN.contains(&key.name.as_str()) => None,
        (None, Kind::Table(inner)) => Some(Json::Object(section(inner, None))),
        (None, _) => key.default.clone(),
    }
}

fn given(kind: &Kind, node: &Node) -> Json {
    match (kind, &node.value) {
        (Kind::Table(inner), Value::Table(table)) => Json::Object(section(inner, Some(table))),
        (Kind::Either(_, long), Value::Table(_) | Value::List(_)) => given(long, node),
        (Kind::Named(of), Value::Table(table)) => {
            let named = |(name, entry): (&String, &Entry)| (name.clone(), given(of, &entry.node));
            Json::Object(table.entries.iter().map(named).collect())
        }
        (Kind::Map(_), Value::Table(table)) => {
            let pair =
                |(name, entry): (&String, &Entry)| (name.clone(), free_text(name, &entry.node));
            Json::Object(table.entries.iter().map(pair).collect())
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
fn typed(kind: &Kind, text: &str) -> Json {
    let items = || {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    let other = match kind {
        Kind::Flag => text.trim().parse().ok().map(Json::Bool),
        Kind::Whole { .. } => text.trim().parse::<u64>().ok().map(Json::from),
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
        _ => Json::Null,
    }
}

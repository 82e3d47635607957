//! The variables of OpenTelemetry in the environment: they apply to everything
//! about traces that has no key in the configuration.

use std::{env, sync::LazyLock};

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// The id of this process in its spans, the same over all reloads.
static INSTANCE: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));

/// The attributes of this process in all of its spans: those of
/// `OTEL_RESOURCE_ATTRIBUTES`, and its version and an id unless they are among
/// them. Its name is `service_name`, or else `OTEL_SERVICE_NAME`, or the
/// attribute of the environment, or `tidegate`.
pub(super) fn attributes(service_name: Option<&str>) -> Vec<(String, String)> {
    let named = variable("OTEL_SERVICE_NAME");
    let named = Some(&*named).filter(|name| !name.is_empty());
    completed(
        pairs(&variable("OTEL_RESOURCE_ATTRIBUTES")),
        service_name.or(named),
    )
}

/// These attributes with the `name` of the service, and with what is missing.
fn completed(mut attributes: Vec<(String, String)>, name: Option<&str>) -> Vec<(String, String)> {
    if let Some(name) = name {
        set(&mut attributes, "service.name", name);
    }
    for (key, value) in [
        ("service.name", "tidegate"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &INSTANCE),
    ] {
        if attributes.iter().all(|(present, _)| present != key) {
            set(&mut attributes, key, value);
        }
    }
    attributes
}

/// Sets a value, in the place of one with the same key.
fn set(pairs: &mut Vec<(String, String)>, key: &str, value: &str) {
    pairs.retain(|(present, _)| present != key);
    pairs.push((key.to_owned(), value.to_owned()));
}

/// Further fields of requests to the collector: those of
/// `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, or else of
/// `OTEL_EXPORTER_OTLP_HEADERS`. Pairs that are no fields are left out.
pub(super) fn headers() -> Vec<(HeaderName, HeaderValue)> {
    let of_traces = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS");
    let text = match of_traces.is_empty() {
        true => variable("OTEL_EXPORTER_OTLP_HEADERS"),
        false => of_traces,
    };
    let field = |(name, value): (String, String)| {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    pairs(&text).into_iter().filter_map(field).collect()
}

/// A variable; empty if it is absent, or not in UTF-8.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Reads `key=value,key=value`, with percent-encoded values (OpenTelemetry,
/// "Resource SDK"). Pairs that are malformed are left out, and of several with
/// one key, the last counts.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for member in text.split(',') {
        let Some((key, value)) = member.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), percent_decode_str(value.trim()).decode_utf8());
        if let (false, Ok(value)) = (key.is_empty(), value) {
            set(&mut pairs, key, &value);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_malformed_ones_are_left_out() {
        let read = pairs(" a=b , c = d%20e,f,=g,h=%ff,a=again,i=j=k");
        let expected = [("c", "d e"), ("a", "again"), ("i", "j=k")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn what_the_environment_says_is_completed_and_the_given_name_counts_first() {
        let value = |text: &str, name, key: &str| {
            let attributes = completed(pairs(text), name);
            let found = attributes.iter().filter(|(present, _)| present == key);
            let [(_, value)] = &found.collect::<Vec<_>>()[..] else {
                panic!("{key} in {attributes:?}");
            };
            value.clone()
        };
        let text = "service.name=shop,service.instance.id=pod-7";
        assert_eq!(value(text, Some("edge"), "service.name"), "edge");
        assert_eq!(value(text, None, "service.name"), "shop");
        assert_eq!(value("", None, "service.name"), "tidegate");
        assert_eq!(value(text, None, "service.instance.id"), "pod-7");
        assert_eq!(value("", None, "service.instance.id"), *INSTANCE);
        assert_eq!(
            value(text, None, "service.version"),
            env!("CARGO_PKG_VERSION")
        );
    }
}

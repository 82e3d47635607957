//! Where spans go.

use super::{super::wrong::Wrong, identity};
use crate::policy::UpstreamServer;

/// The path that a collector takes spans at (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// The URL of a collector, with its path or without: the server, and the path
/// that spans are sent to.
///
/// Other exporters are given either form.
///
/// # Errors
/// Anything else.
pub(in crate::config) fn collector(text: &str) -> Result<(UpstreamServer, String), Wrong> {
    let help = "write a URL such as \"http://127.0.0.1:4318\"";
    let (server, target) =
        identity::asked_url(text).map_err(|wrong| Wrong::new(wrong.why, help))?;
    let target = match target.trim_end_matches('/') {
        whole if whole.ends_with(PATH) || whole.contains('?') => whole.to_owned(),
        base => format!("{base}{PATH}"),
    };
    Ok((server, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_with_the_path_of_traces_or_without() {
        for (text, target) in [
            ("http://127.0.0.1:4318", "/v1/traces"),
            ("http://127.0.0.1:4318/", "/v1/traces"),
            ("http://127.0.0.1:4318/v1/traces", "/v1/traces"),
            ("https://otlp.example.com/otlp", "/otlp/v1/traces"),
            (
                "https://otlp.example.com/otlp/v1/traces/",
                "/otlp/v1/traces",
            ),
            ("https://otlp.example.com/in?tenant=a", "/in?tenant=a"),
        ] {
            let (_, found) = collector(text).unwrap();
            assert_eq!(found, target, "{text}");
        }
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://collector:4317",
            "http://a:b@collector",
        ] {
            assert!(collector(text).is_err(), "{text}");
        }
    }
}

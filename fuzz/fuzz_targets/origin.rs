//! Origins of pages: one that a route permits is that of a pattern, as a reader
//! of URLs understands it, and nobody else is told anything.
//!
//! Input: a line with the patterns, then the lines of `Origin`.

#![no_main]

use std::sync::Arc;

use http::{HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use tidegate::{
    config::{self, Environment},
    gateway::fuzzing::cors_fields,
    policy::{Cors, OriginPattern, Route},
};

const ALLOWED: &str = "access-control-allow-origin: ";

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Some(patterns) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) else { return };
    let origins: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).filter(|line| HeaderValue::from_bytes(line).is_ok()).collect();
    let Some(cors) = read(patterns) else { return };
    let headers = origins.iter().map(|line| ("origin", line)).collect();
    let fields = cors_fields(&cors, &headers);
    let fields = String::from_utf8(fields).expect("an origin is ASCII");
    let allowed: Vec<_> = fields.lines().filter_map(|line| line.strip_prefix(ALLOWED)).collect();
    if cors.is_for_all() {
        assert_eq!(allowed, ["*"]);
        return;
    }
    assert!(fields.to_ascii_lowercase().contains("vary: origin\r\n"));
    let [origin] = origins[..] else {
        assert!(allowed.is_empty(), "{} origins", origins.len());
        return;
    };
    let is_permitted = cors.origins.iter().any(|pattern| matches(pattern, origin));
    let expected = is_permitted.then(|| std::str::from_utf8(origin).expect("an origin is ASCII"));
    assert_eq!(allowed, Vec::from_iter(expected));
});

/// The section with these patterns, read from a configuration.
fn read(patterns: &str) -> Option<Cors> {
    let origins = serde_json::to_string(&patterns.split(' ').collect::<Vec<_>>()).ok()?;
    let text = format!("[[routes]]\nname = \"r\"\nrespond = {{ status = 200 }}\ncors = {{ origins = {origins} }}\n");
    let config = config::parse("fuzzed.toml", &text, &Environment::new()).ok()?;
    config.routes.first().and_then(|route: &Arc<Route>| route.cors.clone())
}

fn matches(pattern: &OriginPattern, origin: &[u8]) -> bool {
    let (scheme, rest) = match pattern {
        OriginPattern::Any => return true,
        OriginPattern::Exact(exact) => return exact.as_bytes() == origin,
        OriginPattern::Subdomains { scheme, rest } => (scheme, rest),
    };
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let Ok(url) = origin.parse::<Uri>() else { return false };
    // Scheme, host and port are the whole of it, in the one form that browsers write.
    let (Some(own_scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return false };
    let is_plain = format!("{own_scheme}://{authority}") == origin && origin.to_ascii_lowercase() == origin;
    let (suffix, port) = rest.rsplit_once(':').map_or((&**rest, None), |(suffix, port)| (suffix, Some(port)));
    let Some(labels) = authority.host().strip_suffix(suffix) else { return false };
    is_plain
        && format!("{own_scheme}://") == **scheme
        && !authority.as_str().contains('@')
        && authority.port().map(|port| port.as_str().to_owned()).as_deref() == port
        && labels.split('.').all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)))
        && origin.len() <= 320
}

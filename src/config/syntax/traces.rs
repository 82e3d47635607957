//! Where spans go, and how many.

use super::{
    super::{units, wrong::Wrong},
    identity,
};
use crate::policy::{SampledShare, UpstreamServer};

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

/// A share of the requests: `"1%"`, `"0.1%"`.
///
/// # Errors
/// Anything else, and more than the whole.
pub(in crate::config) fn sample(text: &str) -> Result<SampledShare, Wrong> {
    let help = "write a percentage such as \"1%\" or \"0.1%\"";
    let number = text.strip_suffix('%').unwrap_or_default();
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(percent) if is_plain && percent <= 100.0 => Ok(SampledShare::of_percent(percent)),
        Ok(_) if is_plain => Err(Wrong::new("it is more than the whole", help)),
        _ => {
            let meant = text
                .parse::<f64>()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share));
            let right = meant.map(|share| format!("write \"{}\"", units::percent_of(share)));
            Err(Wrong::new("it is not a percentage", help).or_advice(right))
        }
    }
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

    #[test]
    fn a_share_may_be_a_fraction_of_a_percent() {
        for (text, percent) in [("1%", 1.0), ("0.1%", 0.1), ("100%", 100.0), ("0%", 0.0)] {
            assert_eq!(sample(text).unwrap(), SampledShare::of_percent(percent));
        }
        for text in ["", "%", "1", "101%", "-1%", "1e1%", "1 %", "nan%", ".%"] {
            assert!(sample(text).is_err(), "{text}");
        }
        assert_eq!(sample("0.25").unwrap_err().help, "write \"25%\"");
        assert_eq!(sample("0.07").unwrap_err().help, "write \"7%\"");
    }
}

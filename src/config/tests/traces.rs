//! `[traces]`: where spans go, and which requests have some.

use super::{super::Code, config_with, only, places};
use crate::policy::{SampledShare, TrustParent};

#[test]
fn traces_have_a_collector_and_all_else_by_default() {
    let config = config_with("[traces]\notlp = \"http://127.0.0.1:4318\"", "").unwrap();
    let traces = config.traces.as_ref().unwrap();
    assert_eq!(&*traces.export.collector.url, "http://127.0.0.1:4318");
    assert_eq!(&*traces.export.target, "/v1/traces");
    assert_eq!(
        traces.sampling.share,
        SampledShare::of_million(SampledShare::ALL)
    );
    assert_eq!(traces.sampling.trust, TrustParent::Proxies);
    assert_eq!(config.shown()["traces"]["timeout"], "10s");
    let without = config_with("", "").unwrap();
    assert!(without.traces.is_none() && without.shown().get("traces").is_none());
    assert_eq!(without.changed_sections(&config), ["traces"]);
}

#[test]
fn an_invalid_key_of_traces_is_reported_at_its_place() {
    for (traces, line) in [
        ("sample = \"1%\"", 1),
        ("otlp = \"127.0.0.1:4318\"", 2),
        ("otlp = \"http://a:b@collector\"", 2),
        ("otlp = \"http://collector\"\nsample = \"101%\"", 3),
        ("otlp = \"http://collector\"\nsample = 0.1", 3),
        ("otlp = \"http://collector\"\ntrust_parent = \"proxies\"", 3),
        ("otlp = \"http://collector\"\nservice_name = \"\"", 3),
        ("otlp = \"http://collector\"\nheaders = { host = \"a\" }", 3),
        ("otlp = \"http://collector\"\ntimeout = \"0s\"", 3),
    ] {
        let found = places(config_with(&format!("[traces]\n{traces}"), ""));
        let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [line], "{traces}");
    }
}

#[test]
fn a_share_as_a_decimal_number_is_written_as_a_percentage() {
    for (sample, right) in [
        ("0.01", "`\"1%\"`"),
        ("0.07", "`\"7%\"`"),
        ("1.5", "`\"1.5%\"`"),
        ("1", "`\"1%\"`"),
    ] {
        let traces = format!("[traces]\notlp = \"http://collector\"\nsample = {sample}");
        let (code, said) = only(config_with(&traces, ""));
        assert_eq!(code, Code::WrongType);
        assert!(said.contains(right), "{said}");
    }
}

#[test]
fn the_port_for_grpc_is_a_warning() {
    let config = config_with("[traces]\notlp = \"http://collector:4317\"", "").unwrap();
    let [warning] = &config.warnings.list[..] else {
        panic!("{:?}", config.warnings.list);
    };
    assert_eq!(warning.code, Code::Misleading);
}

#[test]
fn the_headers_of_a_collector_are_shown_nowhere() {
    let headers = "headers = { x-honeycomb-team = \"hunter2\", authorization = \"hunter2\" }";
    let traces = format!("[traces]\notlp = \"http://collector\"\n{headers}");
    let config = config_with(&traces, "").unwrap();
    assert!(!format!("{:?} {}", config.traces, config.shown()).contains("hunter2"));
    for traces in [
        format!("[traces]\notlp = \"collector\"\n{headers}\n"),
        format!("[traces]\n{headers}\nx = 1"),
        "[traces]\nheaders = \"hunter2\"".to_owned(),
        "[traces]\nheaders = { x-team = \"hunter2 \" }".to_owned(),
    ] {
        let found = config_with(&traces, "").unwrap_err();
        for shown in [found.render(false), found.to_json().to_string()] {
            assert!(!shown.contains("hunter2"), "{traces}\n{shown}");
        }
    }
}

//! Pages of other origins: the section of a route, and combinations that no
//! browser accepts.

use std::time::Duration;

use http::Method;

use super::super::Code;
use super::{config_with, only, places};
use crate::policy::OriginPattern;

#[test]
fn a_section_needs_only_origins() {
    let config = config_with("", "cors = { origins = ['https://app.example.com'] }").unwrap();
    let cors = config.routes[0].cors.as_ref().unwrap();
    let origin = OriginPattern::Exact("https://app.example.com".into());
    assert_eq!(cors.origins, [origin]);
    assert_eq!(cors.methods, [Method::GET, Method::HEAD, Method::POST]);
    assert_eq!(
        cors.expose,
        ["ratelimit", "ratelimit-policy", "retry-after"]
    );
    assert!(!cors.credentials && cors.headers.is_empty());
    assert_eq!(cors.max_age, Duration::from_secs(600));
    assert_eq!(config_with("", "").unwrap().routes[0].cors, None);
}

#[test]
fn the_view_has_the_fields_that_are_exposed_by_default() {
    let old = "response = { limit_headers = 'both' }\ncors = { origins = ['*'] }";
    let shown = config_with("", old).unwrap().shown();
    assert_eq!(shown["routes"][0]["cors"]["expose"][3], "x-ratelimit-limit");
    let own = "response = { limit_headers = 'both' }\ncors = { origins = ['*'], expose = ['x-a'] }";
    let config = config_with("", own).unwrap();
    assert_eq!(config.routes[0].cors.as_ref().unwrap().expose, ["x-a"]);
    assert!(
        config_with("", "").unwrap().shown()["routes"][0]
            .get("cors")
            .is_none()
    );
}

#[test]
fn a_route_overrides_the_defaults_key_by_key() {
    let defaults = "[defaults.cors]\norigins = ['https://a.example']\ncredentials = true\n";
    let config = config_with(defaults, "cors = { origins = ['https://b.example'] }").unwrap();
    let cors = config.routes[0].cors.as_ref().unwrap();
    assert!(cors.credentials && cors.allows(b"https://b.example"));
    assert!(!cors.allows(b"https://a.example"));
}

#[test]
fn a_section_without_origins_is_a_mistake() {
    let (code, text) = only(config_with("", "cors = { max_age = '1h' }"));
    assert_eq!(code, Code::MissingKey);
    assert!(text.contains("origins = ["), "{text}");
}

#[test]
fn an_origin_that_no_browser_sends_gets_the_right_one_as_advice() {
    let (code, text) = only(config_with(
        "",
        "cors = { origins = ['https://app.example.com/'] }",
    ));
    assert_eq!(code, Code::BadValue);
    assert!(
        text.ends_with("no slash at the end | write \"https://app.example.com\""),
        "{text}"
    );
}

#[test]
fn a_star_beside_credentials_is_a_mistake_in_every_list() {
    let lists = "cors = { credentials = true, origins = ['*'],\nmethods = ['*'],\nheaders = ['*', 'authorization'],\nexpose = ['*'] }";
    let found = places(config_with("", lists));
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|(_, code)| *code == Code::Conflict));
    let null = "cors = { credentials = true, origins = ['null'] }";
    let (code, text) = only(config_with("", null));
    assert!(
        code == Code::Conflict && text.contains("sandboxed"),
        "{text}"
    );
}

#[test]
fn a_star_stands_alone_where_it_is_everything() {
    for key in ["origins", "methods"] {
        let other = if key == "origins" {
            "https://a.example"
        } else {
            "GET"
        };
        let rest = if key == "methods" {
            ", origins = ['*']"
        } else {
            ""
        };
        let route = format!("cors = {{ {key} = ['*', '{other}']{rest} }}");
        let (code, text) = only(config_with("", &route));
        assert!(
            code == Code::Conflict && text.contains(&format!("{key} = [\"*\"]")),
            "{text}"
        );
    }
    // The one that `*` does not include has to be listed beside it.
    assert!(
        config_with(
            "",
            "cors = { origins = ['*'], headers = ['*', 'authorization'] }"
        )
        .is_ok()
    );
}

#[test]
fn fields_of_the_protocol_are_set_in_one_place() {
    let route = "cors = { origins = ['*'] }\nresponse = { set_headers = { Access-Control-Allow-Origin = '*' } }";
    let (code, text) = only(config_with("", route));
    assert!(
        code == Code::Conflict && text.contains("take it out of `set_headers`"),
        "{text}"
    );
}

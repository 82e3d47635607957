//! Fields and bodies of refusals: the files that a route names.

use std::{fs, sync::Arc};

use super::super::{Code, Config, Diagnostics, Environment, load};
use super::{config_with, only, places};
use crate::policy::BodyKind;

/// Reads a file with two routes, of which the first has these keys, with other
/// files beside it.
fn with_files(keys: &str, files: &[(&str, &str)]) -> Result<Config, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let second = "[[routes]]\nname = 'b'\nrespond = {}\nmatch = { path = '/b' }\n";
    let text = format!("{second}[[routes]]\nname = 'a'\nrespond = {{}}\n{keys}");
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, text).unwrap();
    load(&file, &Environment::new())
}

#[test]
fn a_status_comes_before_its_class_and_a_file_is_read_once() {
    let keys =
        "[defaults.refusal.bodies]\n4xx = ['a.html', 'a.json']\n429 = 'a.html'\n503 = 'b.TXT'";
    let files = [("a.html", "<p>"), ("a.json", "{}"), ("b.TXT", "")];
    let config = with_files(keys, &files).unwrap();
    let [b, a] = &config.routes[..] else {
        panic!("two routes");
    };
    let kinds = |status| {
        let refusal = a.refusal.as_ref().unwrap();
        let status = http::StatusCode::from_u16(status).unwrap();
        let bodies = refusal.bodies(status).iter();
        bodies.map(|body| body.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(429), [BodyKind::Html]);
    assert_eq!(kinds(413), [BodyKind::Html, BodyKind::Json]);
    assert_eq!(kinds(503), [BodyKind::Text]);
    assert!(kinds(502).is_empty());
    let shared = |route: &crate::policy::Route| {
        Arc::clone(&route.refusal.as_ref().unwrap().bodies[0].bodies[0])
    };
    assert!(Arc::ptr_eq(&shared(a), &shared(b)));
    let shown = config.shown();
    let bodies = &shown["routes"][0]["refusal"]["bodies"];
    assert_eq!(bodies["4xx"], serde_json::json!(["a.html", "a.json"]));
    assert_eq!(bodies["429"], "a.html");
    let watched = config.watched.files().iter();
    assert_eq!(watched.filter(|file| file.ends_with("a.html")).count(), 1);
}

#[test]
fn a_mistake_in_a_file_is_told_once_with_its_line_and_the_right_name() {
    let keys = "[defaults.refusal.bodies]\n429 = 'a.html'";
    let text = only(with_files(keys, &[("a.html", "<p>\n{retry_aftr}")])).1;
    assert!(
        text.contains("a.html:2 has `{retry_aftr}`")
            && text.contains("did you mean `{retry_after}`?"),
        "{text}"
    );
    let text = only(with_files(
        "refusal.bodies = { 429 = 'a.json' }",
        &[("a.json", "{,}")],
    ))
    .1;
    assert!(text.contains("a.json:1 is not JSON"), "{text}");
    let (code, text) = only(with_files("refusal.bodies = { 429 = 'a.txt' }", &[]));
    assert!(
        code == Code::Unreadable && text.contains("there is no such file"),
        "{text}"
    );
    let long = "x".repeat(64 * 1024 + 1);
    let text = only(with_files(
        "refusal.bodies = { 429 = 'a.txt' }",
        &[("a.txt", &long)],
    ))
    .1;
    assert!(text.contains("a.txt is longer than 64KiB"), "{text}");
}

#[test]
fn bodies_that_no_refusal_can_have_are_mistakes() {
    let (code, text) = only(config_with("", "refusal.bodies = { 429 = '429.php' }"));
    assert!(code == Code::BadValue && text.contains("`.html`"), "{text}");
    let files = [("a.html", ""), ("b.htm", "")];
    let keys = "refusal.bodies = { 404 = ['a.html', 'b.htm'] }";
    let (code, text) = only(with_files(keys, &files));
    assert!(
        code == Code::Duplicate && text.contains("text/html"),
        "{text}"
    );
    for status in ["200", "3xx"] {
        let keys = format!("refusal.bodies = {{ {status} = 'a.html' }}");
        let (code, text) = only(with_files(&keys, &files));
        assert!(
            code == Code::NeverMatches && text.contains(status),
            "{text}"
        );
    }
    for status in ["42", "6xx", "default"] {
        let keys = format!("refusal.bodies = {{ {status} = 'a.html' }}");
        assert_eq!(only(with_files(&keys, &files)).0, Code::BadValue);
    }
}

#[test]
fn the_type_of_a_refusal_is_that_of_its_body() {
    let keys = "refusal.headers = { Content-Type = 'text/html' }";
    let (code, text) = only(config_with("", keys));
    assert!(
        code == Code::Conflict && text.contains("extension"),
        "{text}"
    );
    let keys = "refusal.headers = { X-A = '1', x-a = '2', content-length = '3' }";
    assert_eq!(places(config_with("", keys)).len(), 2);
}

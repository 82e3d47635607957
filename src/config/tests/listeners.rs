//! Promises about listeners: their names and addresses.

use super::{Code, config_with, only, places};

#[test]
fn a_listener_is_named_by_its_bind_unless_it_has_a_name() {
    let listeners = "[[listeners]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listeners]]\nbind = \"[::0]:81\"\n[[listeners]]\nbind = \"0.0.0.0:0\"";
    let config = config_with(listeners, "").unwrap();
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|of| of.name.as_deref())
        .collect();
    assert_eq!(names, [Some("web"), Some("[::0]:81"), None]);
    let shown = &config.shown()["listeners"];
    assert_eq!(
        (&shown[0]["name"], &shown[1]["name"]),
        (&"web".into(), &"[::0]:81".into())
    );
}

#[test]
fn two_listeners_with_one_name_are_a_mistake() {
    let listeners = |one: &str, other: &str| {
        config_with(&format!("[[listeners]]\n{one}\n[[listeners]]\n{other}"), "")
    };
    let both = listeners(
        "name = \"a\"\nbind = \"0.0.0.0:1\"",
        "name = \"a\"\nbind = \"0.0.0.0:2\"",
    );
    assert_eq!(places(both), [(5, Code::Duplicate)]);
    let by_default = listeners(
        "bind = \"0.0.0.0:1\"",
        "name = \"0.0.0.0:1\"\nbind = \"0.0.0.0:2\"",
    );
    let (code, message) = only(by_default);
    assert_eq!(code, Code::Duplicate);
    assert!(message.contains("for its `bind`"), "{message}");
    let bad = listeners(
        "name = \"a\\\"b\"\nbind = \"0.0.0.0:1\"",
        "bind = \"0.0.0.0:2\"",
    );
    assert_eq!(places(bad), [(2, Code::BadValue)]);
}

//! Limits that need something else: a store that they are shared through, or a
//! folder that they are kept in.

use super::{super::Code, config_with, only, places};

#[test]
fn a_shared_limit_without_a_store_is_reported_where_to_name_one() {
    let limit = "[limits.a]\nrate = \"1/s\"\nscope = \"shared\"";
    let (code, text) = only(config_with(limit, ""));
    assert_eq!(code, Code::Conflict);
    assert!(
        text.contains("`a` is shared") && text.contains("[store]"),
        "{text}"
    );
    assert_eq!(places(config_with(limit, "")), [(3, Code::Conflict)]);
    let config = config_with(&format!("[store]\nurl = \"redis://store\"\n{limit}"), "").unwrap();
    assert!(config.limits[0].shared && !config.store.unwrap().is_cluster);
}

#[test]
fn an_invalid_store_is_reported_at_its_place() {
    for (store, line) in [
        ("[store]\ntimeout = \"1s\"", 1),
        ("[store]\nurl = \"http://store\"", 2),
        ("[store]\nurl = []", 2),
        ("[store]\nurl = [\"redis://a\", \"redis://b/2\"]", 2),
        ("[store]\nurl = \"redis://a\"\nlease = \"101%\"", 3),
        ("[store]\nurl = \"redis://a\"\ntimeout = \"0s\"", 3),
        ("[store]\nurl = \"redis://a\"\non_error = \"pass\"", 3),
    ] {
        let found = places(config_with(store, ""));
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [line],
            "{store}"
        );
    }
}

#[test]
fn a_persistent_limit_needs_a_folder() {
    let limit = "[limits.l]\nrate = \"1/s\"\npersist = true";
    let (code, text) = only(config_with(limit, ""));
    assert_eq!(code, Code::Conflict);
    assert!(
        text.contains("nowhere to write") && text.contains("state_dir = \"/var/lib/tidegate\""),
        "{text}"
    );
    let config = config_with(&format!("[server]\nstate_dir = \"state\"\n{limit}"), "").unwrap();
    assert!(config.limits[0].persist);
    assert_eq!(
        config.server.state_dir.as_deref(),
        Some("state".as_ref()),
        "relative to the file"
    );
    assert!(
        !config_with("[limits.l]\nrate = \"1/s\"", "")
            .unwrap()
            .limits[0]
            .persist
    );
}

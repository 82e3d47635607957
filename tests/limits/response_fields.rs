//! Response fields that report the state of a limit.

use super::support::gateway::{Gateway, responding};

#[test]
fn responses_report_the_state_of_the_nearest_limit() {
    let limits = "[limits.wide]\nrate = '100/h'\n[limits.l]\nrate = '1/m'\nburst = 3\n";
    let gateway = Gateway::start(&format!(
        "{limits}{}",
        responding("r", "limits = ['wide', 'l']")
    ));
    let first = gateway.get("/");
    assert_eq!(first.get("ratelimit-policy"), Some("\"l\";q=3;w=180"));
    assert_eq!(
        (first.get("ratelimit"), first.get("x-ratelimit-limit")),
        (Some("\"l\";r=2;t=60"), None)
    );
    gateway.status("/");
    gateway.status("/");
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status(), refused.get("retry-after")),
        (429, Some("60"))
    );
    assert_eq!(refused.get("ratelimit"), Some("\"l\";r=0;t=60"));
}

#[test]
fn the_form_of_the_fields_is_configurable() {
    for (style, old, new) in [
        ("x-ratelimit", true, false),
        ("both", true, true),
        ("off", false, false),
    ] {
        let response = format!("[routes.response]\nlimit_headers = '{style}'\n");
        let limit = "[limits.l]\nrate = '1/m'\nburst = 3\n";
        let gateway = Gateway::start(&format!(
            "{limit}{}{response}",
            responding("r", "limits = ['l']")
        ));
        let answer = gateway.get("/");
        let fields = [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ]
        .map(|name| answer.get(name));
        assert_eq!(
            fields,
            if old {
                [Some("3"), Some("2"), Some("60")]
            } else {
                [None; 3]
            },
            "{style}"
        );
        assert_eq!(answer.get("ratelimit").is_some(), new, "{style}");
    }
}

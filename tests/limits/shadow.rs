//! Limits in shadow mode, and candidates for other numbers.

use super::{
    decisions, one_limit,
    support::{
        Upstream,
        gateway::{Gateway, responding, upstream_table},
    },
};

#[test]
fn a_limit_in_shadow_mode_refuses_nothing_and_is_logged() {
    let gateway = one_limit("rate = '2/h'\nmode = 'shadow'", "");
    assert_eq!([(); 5].map(|()| gateway.status("/")), [200; 5]);
    let lines: Vec<_> = (0..5)
        .map(|_| gateway.access_line()["shadow"].clone())
        .collect();
    assert_eq!(
        lines.iter().filter(|shadow| *shadow == "l").count(),
        3,
        "{lines:?}"
    );
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "shadow_refused")
        ),
        (2.0, 3.0)
    );
    assert_eq!(decisions(&gateway, "l", "refused"), 0.0);
    assert!(gateway.get("/").get("retry-after").is_none());
}

#[test]
fn a_limit_in_shadow_mode_does_not_refuse_a_missing_key() {
    let gateway = one_limit(
        "key = 'header:x-user'\nmissing = 'refuse'\nrate = '2/h'\nmode = 'shadow'",
        "",
    );
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(gateway.access_line()["shadow"], "l");
    assert_eq!(decisions(&gateway, "l", "shadow_refused"), 1.0);
}

#[test]
fn limits_in_shadow_mode_and_enforced_ones_are_independent() {
    let gateway = Gateway::start(&format!(
        "[limits.shadow]\nrate = '2/h'\nmode = 'shadow'\n[limits.live]\nrate = '4/h'\n{}",
        responding("r", "limits = ['shadow', 'live']")
    ));
    assert_eq!(
        [(); 6].map(|()| gateway.status("/")),
        [200, 200, 200, 200, 429, 429]
    );
    assert_eq!(
        gateway.get("/").problem()["violated-policies"],
        serde_json::json!(["live"])
    );
    // The shadow would also have refused the requests that the enforced limit
    // refused.
    assert_eq!(
        (
            decisions(&gateway, "shadow", "allowed"),
            decisions(&gateway, "shadow", "shadow_refused")
        ),
        (2.0, 5.0)
    );
}

#[test]
fn a_refusal_takes_no_tokens_from_a_limit_in_shadow_mode() {
    let gateway = Gateway::start(&format!(
        "[limits.shadow]\nrate = '3/h'\nmode = 'shadow'\n[limits.live]\nkey = 'path'\nrate = '1/h'\n{}",
        responding("r", "limits = ['shadow', 'live']")
    ));
    assert_eq!(
        ["/a", "/a", "/a", "/a", "/b", "/c"].map(|path| gateway.status(path)),
        [200, 429, 429, 429, 200, 200]
    );
    assert_eq!(decisions(&gateway, "shadow", "shadow_refused"), 0.0);
}

#[test]
fn a_limit_keeps_its_buckets_when_it_becomes_enforced() {
    let text = |mode: &str| super::one_limit_text(&format!("rate = '3/h'\nmode = '{mode}'"), "");
    let gateway = Gateway::start(&text("shadow"));
    assert_eq!([(); 2].map(|()| gateway.status("/")), [200; 2]);
    gateway.reload_with(&text("enforce"));
    assert_eq!([(); 2].map(|()| gateway.status("/")), [200, 429]);
}

#[test]
fn a_candidate_refuses_nothing_and_counts_the_same_keys() {
    let limit = "key = 'path'\nrate = '4/h'\ncandidate = { rate = '2/h' }";
    let gateway = one_limit(limit, "");
    let statuses = |path: &str| [(); 5].map(|()| gateway.status(path));
    assert_eq!(
        (statuses("/a"), statuses("/b")),
        ([200, 200, 200, 200, 429], [200, 200, 200, 200, 429])
    );
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "refused")
        ),
        (8.0, 2.0)
    );
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        6.0,
        "three of five requests for each key"
    );
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l/candidate")]),
        2.0
    );
}

#[test]
fn a_candidate_decides_independently_of_the_enforced_numbers() {
    let gateway = one_limit("rate = '1/h'\ncandidate = { rate = '4/h' }", "");
    assert_eq!(
        [(); 6].map(|()| gateway.status("/")),
        [200, 429, 429, 429, 429, 429]
    );
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "the candidate refuses the fifth and the sixth request"
    );
}

#[test]
fn a_candidate_of_a_counting_limit_counts_the_same_responses() {
    let login_service = Upstream::answering(|request| {
        let status = if request.target() == "/wrong" {
            "401 Unauthorized"
        } else {
            "200 OK"
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    });
    let limit = "[limits.l]\nrate = '4/h'\ncount = ['401']\ncandidate = { rate = '2/h' }\n";
    let upstream = upstream_table("u", &[&login_service], "");
    let gateway = Gateway::start(&format!(
        "{limit}{upstream}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n"
    ));
    let statuses = ["/wrong", "/right", "/right", "/wrong", "/right", "/wrong"]
        .map(|path| gateway.status(path));
    assert_eq!(statuses, [401, 200, 200, 401, 200, 401]);
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "the candidate refuses the requests after two failures"
    );
}

#[test]
fn a_reload_keeps_the_buckets_of_a_candidate() {
    let text = |rate: &str| {
        super::one_limit_text(
            &format!("rate = '99/h'\ncandidate = {{ rate = '{rate}' }}"),
            "",
        )
    };
    let gateway = Gateway::start(&text("2/h"));
    assert_eq!([(); 3].map(|()| gateway.status("/")), [200; 3]);
    gateway.reload_with(&text("4/h"));
    gateway.status("/");
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "an exhausted key stays exhausted"
    );
}

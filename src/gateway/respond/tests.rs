//! Refusals and their fields are what their rules make of them.

use std::num::NonZeroU32;

use super::*;
use crate::{
    call::REQUEST_ID_HEADER,
    policy::{Allowance, Quota, Rate},
};

#[test]
fn retry_after_is_rounded_up_and_never_zero() {
    for (after, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
        assert_eq!(retry_seconds(Duration::from_millis(after)), seconds);
    }
}

#[test]
fn names_that_are_written_as_text_are_those_of_their_fields() {
    for (text, name) in [
        (REQUEST_ID, &REQUEST_ID_HEADER),
        (RETRY_AFTER, &header::RETRY_AFTER),
    ] {
        assert_eq!(text, format!("{name}: ").as_bytes());
    }
    assert!(PROBLEM_LINES.ends_with(OWN_LINES));
    assert!(OWN_LINES.ends_with(&[b"\r\n", REQUEST_ID].concat()));
}

#[test]
fn a_body_that_was_rendered_before_says_what_a_new_one_would() {
    let rate = Rate {
        count: 1,
        period: SOON,
    };
    let quota = Quota::new(rate, NonZeroU32::MIN).expect("a sound quota");
    let text = LimitText::new(Allowance::Rate(quota), false);
    for (id, status) in [("1", 429), ("a-longer-id", 429), ("3", 503)] {
        let error = Error::RateLimited {
            limits: ["per-client".into()].into_iter().collect(),
            retry_after: SOON,
            status: StatusCode::from_u16(status).expect("a status"),
        };
        let [kept, new] = [Some(&text), None].map(|text| {
            let response = to_request(&error, Some("orders"), text, id.as_bytes());
            (response.fields, response.body.as_whole())
        });
        assert_eq!(kept, new);
    }
}

#[test]
fn a_refusal_names_the_limits_and_when_to_come_back() {
    let error = Error::RateLimited {
        limits: ["per-client".into(), "daily".into()].into_iter().collect(),
        retry_after: Duration::from_millis(1500),
        status: StatusCode::TOO_MANY_REQUESTS,
    };
    let response = to_request(&error, Some("orders"), None, b"id-1");
    assert_eq!(response.status, 429);
    assert_eq!(response.fields.get(&header::RETRY_AFTER), Some(&b"2"[..]));
    let body: serde_json::Value =
        serde_json::from_slice(&response.body.as_whole().unwrap()).expect("a JSON body");
    assert_eq!(
        body["violated-policies"],
        serde_json::json!(["per-client", "daily"])
    );
    assert_eq!(
        body["detail"],
        "limit \"per-client\", \"daily\" is exhausted"
    );
    assert_eq!(
        (&body["route"], &body["request_id"], &body["status"]),
        (&"orders".into(), &"id-1".into(), &429.into())
    );
}

//! Limits on requests in flight: valid and invalid settings.

use super::{
    super::Code,
    config_with,
    limits::{limit, refused},
    only,
};
use crate::policy::Allowance;

#[test]
fn a_limit_of_requests_in_flight_has_numbers_of_that_kind_only() {
    let eight = |most: u32| Allowance::InFlight(most.try_into().unwrap());
    let limit = limit(
        "key = 'header:x'\nin_flight = 8\nmissing = { key = 'client-ip', in_flight = 1 }\ncandidate = { in_flight = 4 }
        tiers = [{ prefix = 56, in_flight = 16 }]\noverrides = [{ match = 'a', in_flight = 64 }, { match = 'b', in_flight = 'unlimited' }]",
    );
    assert_eq!(
        (limit.allowance, limit.stand_ins),
        (eight(8), Some(eight(1)))
    );
    assert_eq!(limit.candidate.unwrap().allowance, eight(4));
    assert_eq!(limit.tiers[0].allowance, eight(16));
    let overrides = [limit.overrides[0].allowance, limit.overrides[1].allowance];
    assert_eq!(overrides, [Some(eight(64)), None]);
}

#[test]
fn a_limit_is_of_one_kind() {
    refused(
        "rate = '5/s'\nin_flight = 8",
        Code::Conflict,
        "`rate` and `in_flight` exclude each other",
    );
    refused(
        "burst = 5\nin_flight = 8",
        Code::Conflict,
        "a cap has no bucket",
    );
    refused("key = 'host'", Code::MissingKey, "or `in_flight = 8`");
    refused("in_flight = 0", Code::BadValue, "the least is 1");
    refused("in_flight = '8/s'", Code::WrongType, "a whole number");
    for (beside, rate) in [
        ("missing = { key = 'client-ip', rate = '5/s' }", "rate"),
        ("candidate = { rate = '5/s' }", "rate"),
        ("tiers = [{ prefix = 56, rate = '5/s' }]", "rate"),
        ("overrides = [{ match = 'a', rate = '5/s' }]", "rate"),
        ("overrides = [{ match = 'a', rate = 'unlimited' }]", "rate"),
    ] {
        let other = beside.replace("rate = '5/s'", "in_flight = 5");
        let other = other.replace("rate = 'unlimited'", "in_flight = 'unlimited'");
        refused(
            &format!("key = 'header:x'\nin_flight = 8\n{beside}"),
            Code::Conflict,
            &format!("`{rate}` does not fit to this limit, which has `in_flight`"),
        );
        refused(
            &format!("key = 'header:x'\nrate = '8/s'\n{other}"),
            Code::Conflict,
            "`in_flight` does not fit to this limit, which has `rate`",
        );
    }
    let missing = "key = 'header:x'\nin_flight = 8\ntiers = [{ prefix = 56 }]";
    refused(missing, Code::MissingKey, "`in_flight` is missing");
    let misspelt = "key = 'host'\nrates = '5/s'";
    refused(misspelt, Code::UnknownKey, "`rate`");
}

#[test]
fn keys_about_tokens_have_no_meaning_beside_a_number_in_flight() {
    for key in ["cost = 2", "count = ['401']", "persist = true"] {
        let keys = format!("in_flight = 8\n{key}");
        let text = format!("[server]\nstate_dir = '/var/lib/tidegate'\n[limits.a]\n{keys}");
        let (code, text) = only(config_with(&text, ""));
        assert_eq!(code, Code::Conflict, "{text}");
        assert!(text.contains("has no meaning beside `in_flight`"), "{text}");
    }
    assert!(config_with("[limits.a]\nin_flight = 8\npersist = false", "").is_ok());
}

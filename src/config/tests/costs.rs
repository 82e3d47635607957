//! Costs that are known in the end, and sizes in the numbers of limits.

use super::{
    super::Code,
    limits::{limit, refused},
};
use crate::policy::{Cost, CostSource};

#[test]
fn a_cost_that_is_known_in_the_end_has_a_source_a_reserve_and_a_bound() {
    let cost = |keys: &str| {
        let limit = limit(&format!("rate = '50/s'\ncost = {{ {keys} }}"));
        let Cost::InTheEnd(cost) = limit.cost else {
            panic!("{keys}")
        };
        let max = cost.max.map(|max| max.get());
        (cost.source, cost.reserve.get(), max)
    };
    let (source, reserve, max) = cost("from = 'response-header:X-Cost', reserve = 10, max = 1000");
    let name = http::HeaderName::from_static("x-cost");
    assert_eq!(source, CostSource::ResponseHeader(name));
    assert_eq!(
        (reserve, max),
        (10, Some(1000)),
        "a bound may be above the burst"
    );
    let (source, ..) = cost("from = 'response-json:usage.total_tokens'");
    assert!(
        matches!(source, CostSource::ResponseJson(path) if path.to_string() == "usage.total_tokens")
    );
    assert_eq!(cost("from = 'bytes'"), (CostSource::Bytes, 1, None));
    for (keys, code, expected) in [
        ("from = 'x-cost'", Code::BadValue, "no cost is found there"),
        (
            "from = 'header:x-cost'",
            Code::BadValue,
            "known before it begins",
        ),
        (
            "from = 'response-json:'",
            Code::BadValue,
            "it is not a path",
        ),
        (
            "from = 'response-json:a..b'",
            Code::BadValue,
            "it is not a path",
        ),
        (
            "from = 'bytes', header = 'x', max = 1",
            Code::Conflict,
            "exclude each other",
        ),
        (
            "from = 'bytes', reserve = 0",
            Code::BadValue,
            "the least is 1",
        ),
        (
            "from = 'bytes', reserve = 51",
            Code::Conflict,
            "never fits into a burst of 50",
        ),
        (
            "from = 'bytes', reserve = 5, max = 4",
            Code::Conflict,
            "above the most",
        ),
        (
            "from = 'bytes', default = 5",
            Code::Conflict,
            "`default` has no meaning",
        ),
        (
            "header = 'x', max = 5, reserve = 2",
            Code::Conflict,
            "`reserve` has no meaning",
        ),
        (
            "from = 'response-header:x', reserve = '1B'",
            Code::Conflict,
            "this cost is none",
        ),
    ] {
        refused(
            &format!("rate = '50/s'\ncost = {{ {keys} }}"),
            code,
            expected,
        );
    }
}

#[test]
fn numbers_of_bytes_may_be_sizes_and_others_not() {
    let limit =
        limit("rate = '10MiB/s'\nburst = '50MiB'\ncost = { from = 'bytes', reserve = '64KiB' }");
    let quota = limit.allowance.rate().unwrap();
    assert_eq!((quota.rate().count, quota.burst()), (10 << 20, 50 << 20));
    assert_eq!(limit.cost.most(), 64 << 10);
    let message = "a size is a number of bytes";
    refused("rate = '10MiB/s'", Code::Conflict, message);
    refused("rate = '5/s'\nburst = '1kB'", Code::Conflict, message);
    let candidate = "rate = '5/s'\ncandidate = { rate = '1kB/s' }";
    refused(candidate, Code::Conflict, message);
    refused(
        "rate = '5/s'\nburst = '5GiB'\ncost = { from = 'bytes' }",
        Code::BadValue,
        "the most is 4294967295",
    );
}

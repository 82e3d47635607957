//! The body of a `PUT`, and names in a path.

use super::*;

#[test]
fn what_a_put_may_hold_is_told() {
    let why = |body: &str| wanted(body.as_bytes()).unwrap_err();
    let read = wanted(br#"{"rate": "10/s", "ttl": "1h"}"#).unwrap();
    assert_eq!(read.allowance.rate().unwrap().burst(), 10);
    assert!(why("").contains("JSON object such as"));
    assert!(why("[]").contains("JSON object such as"));
    assert!(why(r#"{"rate": "10/s"}"#).contains("`ttl` is needed"));
    assert!(why(r#"{"rate": 10, "ttl": "1h"}"#).contains("`rate` is needed, as a string"));
    assert!(why(r#"{"rate": "10", "ttl": "1h"}"#).contains("\"10/s\""));
    assert!(why(r#"{"rate": "10/s", "ttl": "1"}"#).contains("\"1s\""));
    assert!(why(r#"{"rate": "10/s", "ttl": "0s"}"#).contains("more than nothing"));
    assert!(why(r#"{"rate": "10/s", "ttl": "31d"}"#).contains("at most"));
    assert!(why(r#"{"rate": "10/s", "ttl": "1h", "burst": 0}"#).contains("from 1"));
    assert!(why(r#"{"rate": "10/s", "ttl": "1h", "brust": 5}"#).contains("no field `brust`"));
}

#[test]
fn a_name_in_a_path_may_be_escaped() {
    assert_eq!(
        ["a", "a%20b", "a/56", "%", "%zz", "%4"].map(name),
        ["a", "a b", "a/56", "%", "%zz", "%4"]
    );
}

#[test]
fn a_list_is_of_the_heaviest_keys_or_of_those_that_are_banned() {
    use WantedKeys::{Banned, Heaviest};
    let read = |query: &str| wanted_keys(query).unwrap();
    assert_eq!([read(""), read("n=7")], [Heaviest(SHOWN), Heaviest(7)]);
    assert_eq!(
        [
            read("banned=true"),
            read("n=1000&banned=true"),
            read("banned=false")
        ],
        [Banned(SHOWN), Banned(1000), Heaviest(SHOWN)]
    );
    for wrong in ["n=0", "n=1001", "n=x", "banned=yes", "m=1"] {
        let why = wanted_keys(wrong).unwrap_err();
        assert!(why.starts_with(&format!("`{wrong}`")), "{why}");
        assert!(why.contains("?n=, from 1 to 1000") && why.contains("?banned=true"));
    }
}

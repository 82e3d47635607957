//! Bans of limits: valid and invalid settings.

use std::time::Duration;

use super::{
    super::Code,
    APP,
    limits::{limit, refused},
    warnings::{fine, last_line},
};
use crate::policy::BanAt;

#[test]
fn a_ban_has_a_number_and_two_times_and_is_at_the_request_by_default() {
    let minute = Duration::from_secs(60);
    let ban = |keys: &str| limit(&format!("rate = '5/s'\nkey = 'client-ip/24/56'\n{keys}")).ban;
    let read = ban("ban = { refusals = 50, within = '1m', for = '10m' }").unwrap();
    assert_eq!(
        (read.refusals.get(), read.within, read.time, read.at),
        (50, minute, minute * 10, BanAt::Request)
    );
    // A pause for those that come too fast.
    let read = ban("ban = { refusals = 1, within = '1m', for = '1s', at = 'connection' }").unwrap();
    assert_eq!((read.time, read.at), (minute / 60, BanAt::Connection));
    assert_eq!(ban(""), None);
}

#[test]
fn a_ban_that_is_incomplete_or_out_of_range_says_what_would_be_right() {
    let with = |ban: &str, code, says: &str| {
        refused(
            &format!("rate = '5/s'\nkey = 'client-ip'\nban = {ban}"),
            code,
            says,
        );
    };
    for (ban, says) in [
        ("{ refusals = 5, for = '10m' }", "`within` is missing"),
        ("{ refusals = 5, within = '1m' }", "`for` is missing"),
        ("{ within = '1m', for = '10m' }", "`refusals` is missing"),
    ] {
        with(ban, Code::MissingKey, says);
    }
    for (refusals, says) in [("0", "the least is 1"), ("1000001", "the most is 1000000")] {
        let ban = format!("{{ refusals = {refusals}, within = '1m', for = '10m' }}");
        with(&ban, Code::BadValue, says);
    }
    with(
        "{ refusals = 5, within = '0s', for = '10m' }",
        Code::BadValue,
        "within",
    );
    with(
        "{ refusals = 5, within = '1m', for = 10 }",
        Code::WrongType,
        "for",
    );
    with(
        "{ refusals = 5, within = '1m', for = '10m', at = 'accept' }",
        Code::BadValue,
        "one of `request`, `connection`",
    );
    with(
        "{ refusals = 5, within = '1m', time = '10m', for = '1m' }",
        Code::UnknownKey,
        "`time`",
    );
    with("'10m'", Code::WrongType, "ban");
}

#[test]
fn only_an_address_alone_is_banned_at_the_connection() {
    for key in ["", "key = 'header:x'", "key = ['client-ip', 'path']"] {
        refused(
            &format!(
                "rate = '5/s'\n{key}\nban = {{ refusals = 5, within = '1m', for = '10m', at = 'connection' }}"
            ),
            Code::Conflict,
            "set `key = \"client-ip\"`, or leave `at` out",
        );
    }
}

#[test]
fn a_ban_of_everyone_or_of_nobody_is_reported() {
    let file = |keys: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\nrate = \"1/s\"\n{keys}"
        )
    };
    let ban = |at: &str| format!("ban = {{ refusals = 50, within = '1m', for = '10m'{at} }}");
    last_line(
        &file(&ban("")),
        Code::Misleading,
        "for what some of them have done | add `key = \"client-ip\"`",
    );
    let at_connection = ban(", at = 'connection'");
    let by_address = format!("key = 'client-ip'\n{at_connection}");
    last_line(
        &file(&format!("mode = 'shadow'\n{by_address}")),
        Code::NoEffect,
        "bans nobody, so that it closes no connection",
    );
    fine(&file(&by_address));
    fine(&file(&format!(
        "mode = 'shadow'\nkey = 'client-ip'\n{}",
        ban("")
    )));
}

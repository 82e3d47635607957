//! Identities: a request is served as the client that its credentials prove,
//! and as nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod api_keys;
mod fields;
mod forward;
mod guesses;
mod jwt;
#[path = "../support/mod.rs"]
mod support;
mod who;

use std::{path::Path, process::Command};

use support::{
    TIMEOUT, Upstream,
    gateway::{Gateway, upstream_table},
    ok,
};
use tokio::time::Instant;

/// Runs `tidegate key` with these arguments, and returns what it prints.
#[track_caller]
fn key(arguments: &[&str]) -> String {
    let output = command(arguments);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{failed}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn command(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("key")
        .args(arguments)
        .output()
        .unwrap()
}

/// Makes a key of this owner in a file.
#[track_caller]
fn new_key(file: &Path, name: &str, more: &[&str]) -> String {
    let file = file.to_str().unwrap();
    key(&[&["new", "--file", file, "--name", name], more].concat())
}

/// A gateway with the identity `partners`, whose keys are in this file.
#[track_caller]
fn gateway(file: &Path, identity: &str, more: &str) -> Gateway {
    Gateway::start(&text(file, identity, more))
}

fn text(file: &Path, identity: &str, more: &str) -> String {
    format!(
        "[identities.partners]\napi_keys = {:?}\n{identity}\n{more}\n",
        file.display()
    )
}

/// A service that answers with the header lines that it got.
fn echo() -> Upstream {
    Upstream::answering(|request| ok(&String::from_utf8_lossy(&request.head.raw)))
}

/// A route `r` to this service.
fn route_to(service: &Upstream, more: &str, request: &str) -> String {
    format!(
        "{}[[routes]]\nname = 'r'\nupstream = 'u'\nidentify = ['partners']\n{more}\n[routes.request]\n{request}\n",
        upstream_table("u", &[service], "")
    )
}

/// Waits until no request is in flight: all of them have been counted.
#[track_caller]
fn settle(gateway: &Gateway) {
    let end = Instant::now() + TIMEOUT;
    while gateway.metric("tidegate_in_flight", &[]) > 0.0 {
        assert!(Instant::now() < end, "requests stay in flight");
    }
}

//! JSON Web Tokens: who has a good one is served, and nobody else.

mod attacks;
mod issuer;
mod keys;
mod queue;
mod tokens;

use crate::support::{
    Upstream,
    gateway::{Gateway, responding},
};

const ROUTE: &str = "identify = ['users']\n";

/// A gateway with the identity `users`, whose `jwt` has these keys.
#[track_caller]
fn gateway(jwt: &str, more: &str) -> Gateway {
    Gateway::start(&text(jwt, more))
}

fn text(jwt: &str, more: &str) -> String {
    let route = responding("r", ROUTE);
    format!(
        "[identities.users]\nplan = 'claim:plan'\n[identities.users.jwt]\n{jwt}\n{more}\n{route}"
    )
}

/// A gateway whose keys are at this server.
#[track_caller]
fn by(server: &Upstream, jwt: &str) -> Gateway {
    gateway(&format!("keys = '{}/keys'\n{jwt}", server.url()), "")
}

#[track_caller]
fn status(gateway: &Gateway, token: &str) -> u16 {
    let line = format!("Authorization: Bearer {token}");
    gateway.ask("GET", "/", &[&line]).status()
}

//! `set_real_ip_from` and `real_ip_header` as `[client_ip]`.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    notes::{Note, Outcome},
    scope::Scope,
    toml::{self, Block, text},
};

/// The proxies that any server trusts, and the field that they write.
pub(super) fn client_ip(scopes: &[&Scope<'_>]) -> Block {
    let mut block = Block::default();
    let mut trusted: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    let mut header = None;
    for scope in scopes {
        for directive in scope.all("set_real_ip_from") {
            let network = directive.argument(0);
            let is_network =
                network.parse::<ipnet::IpNet>().is_ok() || network.parse::<IpAddr>().is_ok();
            match is_network {
                true if known.insert(network) => trusted.push(network.to_owned()),
                true => {}
                false => block.notes.push(Note::new(
                    directive,
                    Outcome::Lost,
                    "proxies are networks or addresses",
                )),
            }
        }
        header = header.or(scope.one("real_ip_header"));
    }
    if trusted.is_empty() {
        return block;
    }
    let recursive = scopes
        .iter()
        .find_map(|scope| scope.one("real_ip_recursive"));
    if let Some(directive) = recursive.filter(|directive| directive.argument(0) == "off") {
        let why =
            "the nearest address that is no trusted proxy counts, however many hops it is away";
        block
            .notes
            .push(Note::new(directive, Outcome::Differs, why));
    }
    let name = header.map_or("X-Real-IP", |directive| directive.argument(0));
    let name = name.to_ascii_lowercase();
    if let ("proxy_protocol", Some(directive)) = (name.as_str(), header) {
        let why = "a listener with `proxy_protocol` takes the address from there";
        block
            .notes
            .push(Note::new(directive, Outcome::Needless, why));
        return block;
    }
    block.title.push("the client's address; fields with several are read from the right, past all trusted proxies (`real_ip_recursive on`)".to_owned());
    block.lines.push("[client_ip]".to_owned());
    block.set("trusted_proxies", &toml::list(&trusted));
    if name != "x-forwarded-for" {
        block.set("header", &text(&name));
    }
    block
}

//! `set_real_ip_from` and `real_ip_header` as `[client_ip]`.

use std::collections::BTreeSet;

use super::{
    access,
    notes::{Note, Outcome},
    scope::Scope,
    toml::{self, Block, text},
    tree::Directive,
};

/// The proxies that any server trusts, and the field that they write.
pub(super) fn client_ip(scopes: &[&Scope<'_>]) -> Block {
    let mut block = Block::default();
    for scope in scopes
        .iter()
        .filter(|scope| scope.all("set_real_ip_from").is_empty())
    {
        for name in ["real_ip_header", "real_ip_recursive"] {
            let why = "it does nothing without `set_real_ip_from`";
            let note = |directive| Note::new(directive, Outcome::Needless, why);
            block.notes.extend(scope.one(name).map(note));
        }
    }
    let trusted = networks(scopes, &mut block.notes);
    if trusted.is_empty() {
        return block;
    }
    let trusting = || {
        let trusts = |scope: &&&Scope<'_>| !scope.all("set_real_ip_from").is_empty();
        scopes.iter().filter(trusts)
    };
    let mut headers = trusting().filter_map(|scope| scope.one("real_ip_header"));
    let header = headers.next();
    let name = header.map_or("X-Real-IP", |directive| directive.argument(0));
    let name = name.to_ascii_lowercase();
    for other in headers.filter(|other| !other.argument(0).eq_ignore_ascii_case(&name)) {
        let why = format!("there is one field with the client's address for all routes, `{name}`");
        block.notes.push(Note::new(other, Outcome::Lost, why));
    }
    let recursive = trusting().find_map(|scope| scope.one("real_ip_recursive"));
    let is_recursive = recursive.is_some_and(|directive| directive.argument(0) == "on");
    if let (false, "x-forwarded-for", Some(directive)) = (is_recursive, name.as_str(), header) {
        let why = "addresses of trusted proxies in it are passed over, as with `real_ip_recursive on`: who connects through one of these networks can claim any address";
        block
            .notes
            .push(Note::new(directive, Outcome::Differs, why));
    }
    if let ("proxy_protocol", Some(directive)) = (name.as_str(), header) {
        let why = "a listener with `proxy_protocol` takes the address from there, whoever connects: let only the proxies reach it";
        block
            .notes
            .push(Note::new(directive, Outcome::Differs, why));
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

/// The networks of `set_real_ip_from`, each once.
fn networks(scopes: &[&Scope<'_>], notes: &mut Vec<Note>) -> Vec<String> {
    // Most servers inherit one list.
    let mut lists: Vec<_> = scopes
        .iter()
        .map(|scope| scope.all("set_real_ip_from"))
        .collect();
    lists.dedup_by(|list, before| std::ptr::eq(*list, *before));
    let texts = |list: &[&Directive]| -> BTreeSet<String> {
        list.iter().map(|one| one.argument(0).to_owned()).collect()
    };
    let is_of_all = lists.windows(2).all(|two| texts(two[0]) == texts(two[1]));
    let mut trusted: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for directive in lists.into_iter().flatten() {
        let network = directive.argument(0);
        if access::network(network).is_none() {
            let why = "trusted proxies are networks or addresses";
            notes.push(Note::new(directive, Outcome::Lost, why));
            continue;
        }
        if !is_of_all {
            let why = "all servers trust it here, so that a client behind it can claim an address in the rules of each";
            notes.push(Note::new(directive, Outcome::Differs, why));
        }
        if known.insert(network) {
            trusted.push(network.to_owned());
        }
    }
    trusted
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    #[test]
    fn proxies_of_one_server_are_said_to_be_those_of_all() {
        let text = "http { server { set_real_ip_from 10.0.0.0/8; return 204; } server { listen 81; real_ip_header X-A; return 204; } }";
        let made = imported(text.as_bytes()).unwrap();
        assert!(
            made.contains("set_real_ip_from 10.0.0.0/8; -- differs: all servers trust it here"),
            "{made}"
        );
        assert!(
            made.contains(
                "real_ip_header X-A; -- not needed: it does nothing without `set_real_ip_from`"
            ),
            "{made}"
        );
    }

    #[test]
    fn without_recursion_a_trusted_client_is_said_to_claim_any_address() {
        let made = |recursive: &str| {
            let text = format!(
                "http {{ set_real_ip_from 10.0.0.1; real_ip_header X-Forwarded-For; {recursive} server {{ return 204; }} }}"
            );
            imported(text.as_bytes()).unwrap()
        };
        let told = "can claim any address";
        assert!(made("").contains(told) && made("real_ip_recursive off;").contains(told));
        assert!(!made("real_ip_recursive on;").contains(told));
    }

    #[test]
    fn two_fields_for_the_address_of_clients_are_not_one() {
        let text = "http { set_real_ip_from 10.0.0.1; server { real_ip_header X-A; return 204; } server { real_ip_header X-B; return 204; } }";
        let made = imported(text.as_bytes()).unwrap();
        assert!(made.contains("header = \"x-a\""), "{made}");
        assert!(
            made.contains("real_ip_header X-B; -- not carried over"),
            "{made}"
        );
    }
}

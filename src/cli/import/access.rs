//! `allow`, `deny`, `limit_except` and the directives that ask who somebody is,
//! as conditions of a route. Others than those get 403 from a second route.
//!
//! Nothing is opened: where the rules have no counterpart, the route leads
//! nowhere.

use super::{
    notes::{Note, Outcome},
    reasons,
    scope::Scope,
    toml,
    tree::Directive,
};

/// The clients that may use a route.
#[derive(Debug)]
pub(super) enum Access {
    /// Those for whom these conditions hold; everybody, if there are none.
    Some(Vec<String>),
    Nobody,
    /// The rules have no counterpart.
    Unknown,
}

/// Reads the rules of a location.
pub(super) fn of(scope: &Scope<'_>, others: &[&Directive], notes: &mut Vec<Note>) -> Access {
    let mut is_unknown = false;
    for directive in scope.all("auth") {
        if directive.argument(0) != "off" {
            notes.push(reasons::note(directive));
            is_unknown = true;
        }
    }
    let mut conditions = Vec::new();
    match addresses(scope, notes) {
        Access::Some(mut found) => conditions.append(&mut found),
        Access::Nobody => return Access::Nobody,
        Access::Unknown => is_unknown = true,
    }
    for directive in others.iter().filter(|other| other.name == "limit_except") {
        directive.read();
        let inside = directive.inside();
        let denies_all = matches!(inside, [one] if one.name == "deny" && one.argument(0) == "all");
        if !denies_all {
            let why = "other methods are refused to all clients here";
            notes.push(Note::new(directive, Outcome::Unguarded, why));
        }
        let mut methods = directive.arguments.clone();
        // NGINX counts HEAD as GET.
        if methods.iter().any(|method| method == "GET")
            && !methods.iter().any(|method| method == "HEAD")
        {
            methods.push("HEAD".to_owned());
        }
        conditions.push(format!("methods = {}", toml::list(&methods)));
    }
    match is_unknown {
        true => Access::Unknown,
        false => Access::Some(conditions),
    }
}

/// Reads `allow` and `deny`, of which the first that has the address counts.
fn addresses(scope: &Scope<'_>, notes: &mut Vec<Note>) -> Access {
    let (mut allowed, mut denied): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for directive in scope.all("access") {
        let (address, allows) = (directive.argument(0), directive.name == "allow");
        if address == "all" {
            return match (allows, allowed.is_empty(), denied.is_empty()) {
                (false, true, _) => Access::Nobody,
                (false, false, _) => conditions(&allowed, &denied),
                (true, true, _) => conditions(&allowed, &denied),
                // Those that are allowed before are among those denied.
                (true, false, _) => unknown(directive, notes),
            };
        }
        let is_network =
            address.parse::<ipnet::IpNet>().is_ok() || address.parse::<std::net::IpAddr>().is_ok();
        if !is_network || !allows && !allowed.is_empty() {
            return unknown(directive, notes);
        }
        let list = if allows { &mut allowed } else { &mut denied };
        list.push(address.to_owned());
    }
    // Nobody else is refused, so that `allow` changes nothing.
    conditions(&[], &denied)
}

fn unknown(directive: &Directive, notes: &mut Vec<Note>) -> Access {
    let why = "of the rules for addresses, those that deny have to come before those that allow";
    notes.push(Note::new(directive, Outcome::Unguarded, why));
    Access::Unknown
}

fn conditions(allowed: &[String], denied: &[String]) -> Access {
    let mut conditions = Vec::new();
    if !allowed.is_empty() {
        conditions.push(format!("clients = {}", toml::list(allowed)));
    }
    if !denied.is_empty() {
        conditions.push(format!("not_clients = {}", toml::list(denied)));
    }
    Access::Some(conditions)
}

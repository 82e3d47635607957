//! Help for a name that nothing has: the definition that is missing.

use crate::config::{characters::is_of_name, redact, syntax::address, units};

/// How to define a name that is unknown. The URL of a server or a rate in the
/// place of a name belongs into the definition.
///
/// `noun` is "upstream", "limit", "identity" or "listener". A login in the text
/// is covered.
pub(super) fn definition(noun: &str, name: &str) -> String {
    let quoted = redact::logins(name);
    let url = address::with_scheme(name);
    let is_url = name.contains(':') && address::server_url(&url).is_ok();
    if noun == "upstream" && is_url {
        let url = redact::logins(&url);
        return format!(
            "write `upstream = \"app\"` here, and define it: `[upstreams.app]` with `servers = [\"{url}\"]`"
        );
    }
    if noun == "limit" && units::rate(name).is_ok() {
        return format!(
            "write `limits = [\"per-client\"]` here, and define it: `[limits.per-client]` with `rate = \"{name}\"`"
        );
    }
    if noun == "listener" {
        return format!("give a `[[listeners]]` this name: `name = \"{quoted}\"`");
    }
    let section = match noun {
        "identity" => "identities".to_owned(),
        noun => format!("{noun}s"),
    };
    match name.chars().all(is_of_name) {
        true => format!("define it: `[{section}.{name}]`"),
        false => format!("define it: `[{section}.\"{quoted}\"]`"),
    }
}

//! `[listeners.tls]`: certificates of servers and of clients.

use std::collections::BTreeSet;

use super::{
    notes::{Note, Outcome},
    paths::Paths,
    scope::Scope,
    toml::{Block, text},
    variables::without_variables,
};

/// Writes the certificates of all servers, the default one's first.
pub(super) fn write(scopes: &[&Scope<'_>], paths: &Paths, block: &mut Block) {
    let mut certificates: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for scope in scopes {
        let files = scope.all("ssl_certificate");
        for (cert, key) in files.iter().zip(scope.all("ssl_certificate_key")) {
            let names = [cert, key].map(|file| without_variables(file.argument(0)));
            let [Some(cert_file), Some(key_file)] = names else {
                block.notes.push(Note::new(
                    cert,
                    Outcome::Lost,
                    "names of files have no variables",
                ));
                continue;
            };
            let [cert_file, key_file] = [cert_file, key_file].map(|file| text(&paths.name(&file)));
            let line = format!("  {{ cert = {cert_file}, key = {key_file} }},");
            if known.insert(line.clone()) {
                certificates.push(line);
            }
        }
    }
    if certificates.len() > 1 {
        block
            .title
            .push("a certificate is chosen by the names in it, not by `server_name`".to_owned());
    }
    block.lines.push(String::new());
    block.lines.push("[listeners.tls]".to_owned());
    block.lines.push("certificates = [".to_owned());
    block.lines.append(&mut certificates);
    block.lines.push("]".to_owned());
    versions(scopes, block);
    clients(scopes, paths, block);
}

/// The oldest version of TLS.
fn versions(scopes: &[&Scope<'_>], block: &mut Block) {
    let Some(directive) = scopes.first().and_then(|scope| scope.one("ssl_protocols")) else {
        return;
    };
    let has = |version: &str| directive.arguments.iter().any(|given| given == version);
    if has("TLSv1") || has("TLSv1.1") || has("SSLv3") {
        block.notes.push(Note::new(
            directive,
            Outcome::Lost,
            "the oldest version is TLS 1.2",
        ));
    }
    match (has("TLSv1.3"), has("TLSv1.2")) {
        (true, false) if directive.arguments.len() == 1 => {
            block.set("min_version", "\"1.3\"");
        }
        (true, _) => {}
        (false, _) => {
            let note = Note::new(directive, Outcome::Differs, "TLS 1.3 is offered, too");
            block.notes.push(note);
        }
    }
}

/// Certificates of clients.
fn clients(scopes: &[&Scope<'_>], paths: &Paths, block: &mut Block) {
    let mut chosen: Option<String> = None;
    for scope in scopes {
        let Some(directive) = scope.one("ssl_verify_client") else {
            continue;
        };
        let mut note = |outcome, why: &str| block.notes.push(Note::new(directive, outcome, why));
        let file = scope
            .value("ssl_client_certificate")
            .and_then(without_variables);
        match (directive.argument(0), file) {
            ("on", Some(file)) if chosen.as_ref().is_none_or(|chosen| *chosen == file) => {
                let is_of_all = scopes.iter().all(|other| other.is_on("ssl_verify_client"));
                if !is_of_all {
                    let why =
                        "clients of all servers of the listener have to present a certificate";
                    note(Outcome::Differs, why);
                }
                chosen = Some(file);
            }
            ("on", Some(_)) => {
                let why = "all servers of a listener accept clients of the same authorities (`client_ca`)";
                note(Outcome::Unguarded, why);
            }
            ("off", _) => {}
            _ => {
                let why = "a certificate is required of all clients of a listener (`client_ca`), or of none";
                note(Outcome::Unguarded, why);
            }
        }
    }
    if let Some(file) = chosen {
        block.set("client_ca", &text(&paths.name(&file)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    /// The file for two servers of a listener.
    fn made(first: &str, second: &str) -> String {
        let keys = "listen 443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key; return 204;";
        let text = format!(
            "http {{ server {{ {keys} {first} }} server {{ server_name b; {keys} {second} }} }}"
        );
        imported(text.as_bytes()).unwrap()
    }

    #[test]
    fn authorities_of_clients_that_differ_are_told_first() {
        let verify = |ca: &str| format!("ssl_verify_client on; ssl_client_certificate {ca};");
        let made_two = made(&verify("a.ca"), &verify("b.ca"));
        assert!(
            made_two.contains("client_ca = \"/nonexistent/a.ca\""),
            "{made_two}"
        );
        assert!(
            made_two.contains("ssl_verify_client on; -- NOT CARRIED OVER"),
            "{made_two}"
        );
        let same = made(&verify("a.ca"), &verify("a.ca"));
        assert!(!same.contains("ssl_verify_client"), "{same}");
    }

    #[test]
    fn an_end_of_the_versions_of_tls_is_not_carried_over() {
        let made = made("ssl_protocols TLSv1.2;", "");
        assert!(
            made.contains("ssl_protocols TLSv1.2; -- differs: TLS 1.3 is offered, too"),
            "{made}"
        );
    }
}

//! Certificates that the gateway orders itself: defaults, and the keys that they
//! need elsewhere.

use std::fs;

use super::super::{Code, Config, Diagnostics, Environment, load};
use crate::policy::AcmeChallenge;

/// A folder with this configuration and a route.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let route = "[[routes]]\nname = \"main\"\nrespond = {}\n";
        fs::write(
            folder.0.path().join("tidegate.toml"),
            format!("{text}{route}"),
        )
        .unwrap();
        folder
    }

    fn load(&self) -> Result<Config, Diagnostics> {
        load(&self.0.path().join("tidegate.toml"), &Environment::new())
    }
}

const ACME: &str =
    "[[listeners]]\nbind = \"127.0.0.1:1\"\n[listeners.tls.acme]\ndomains = [\"Shop.example\"]\n";
const STATE: &str = "[server]\nstate_dir = \"state\"\n";

#[test]
fn certificates_that_are_ordered_have_defaults_and_need_a_folder() {
    let folder = Folder::new(&format!("{STATE}{ACME}"));
    let tls = folder.load().unwrap().listeners.remove(0).tls.unwrap();
    let acme = tls.acme.unwrap();
    assert_eq!(&*acme.domains[0], "shop.example");
    assert!(
        acme.directory
            .starts_with("https://acme-v02.api.letsencrypt.org/")
    );
    assert_eq!(
        (acme.challenge, acme.email, acme.ca),
        (AcmeChallenge::TlsAlpn01, None, None)
    );
    let mistakes = Folder::new(ACME).load().unwrap_err();
    let first = &mistakes.list[0];
    assert_eq!(
        (first.code, first.place.as_ref().unwrap().line),
        (Code::MissingKey, 3)
    );
    assert!(
        first.help.as_ref().unwrap().contains("state_dir"),
        "{mistakes}"
    );
}

#[test]
fn tls_without_any_certificate_is_a_mistake() {
    let folder = Folder::new("[[listeners]]\nbind = \"127.0.0.1:1\"\n[listeners.tls]\n");
    let mistakes = folder.load().unwrap_err();
    let first = &mistakes.list[0];
    assert_eq!((mistakes.list.len(), first.code), (1, Code::MissingKey));
    let help = first.help.as_ref().unwrap();
    assert!(
        help.contains("certificates = [") && help.contains("acme = {"),
        "{help}"
    );
}

#[test]
fn a_domain_is_ordered_in_one_way() {
    let other = |more: &str| format!("{STATE}{ACME}{}{more}", ACME.replace(":1", ":2"));
    assert!(Folder::new(&other("")).load().is_ok());
    let mistakes = Folder::new(&other("email = \"ops@example.com\"\n"))
        .load()
        .unwrap_err();
    let first = &mistakes.list[0];
    assert_eq!((mistakes.list.len(), first.code), (1, Code::Conflict));
    assert_eq!(first.place.as_ref().unwrap().line, 10);
    assert!(
        first
            .message
            .contains("`shop.example` is ordered in two ways"),
        "{mistakes}"
    );
}

#[test]
fn a_wildcard_is_not_ordered() {
    let folder = Folder::new(&format!("{STATE}{}", ACME.replace("Shop", "*.shop")));
    let mistakes = folder.load().unwrap_err();
    assert!(mistakes.list[0].message.contains("dns-01"), "{mistakes}");
}

#[test]
fn a_challenge_that_no_listener_answers_is_a_warning() {
    let text = format!("{STATE}{ACME}challenge = \"http-01\"\n");
    let config = Folder::new(&text).load().unwrap();
    let warnings = &config.warnings.list;
    assert_eq!((warnings.len(), warnings[0].code), (1, Code::NoEffect));
    assert!(
        warnings[0].message.contains("http-01"),
        "{}",
        config.warnings
    );
    let plain = format!("{text}[[listeners]]\nbind = \"127.0.0.1:2\"\n");
    let config = Folder::new(&plain).load().unwrap();
    assert_eq!(config.warnings.list.len(), 0, "{}", config.warnings);
}

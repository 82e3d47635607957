//! Certificates and keys: which are accepted, which are refused at which place,
//! and that keys are never shown.

use crate::policy::TlsVersion;
use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;

use super::super::{Code, Config, Diagnostics, Environment, Severity, load};

const ROUTE: &str = "[[routes]]\nname = \"main\"\nrespond = {}\n";
const TLS: &str = "[[listeners]]\nbind = \"127.0.0.1:1\"\n[listeners.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";

/// A folder with `a.pem`, its key `a.key`, another key `b.key`, and
/// `tidegate.toml`.
struct Folder(TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("tidegate.toml", &format!("{text}{ROUTE}"));
        folder.certify("a", |_| {});
        folder.write("b.key", &KeyPair::generate().unwrap().serialize_pem());
        folder
    }

    fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names = [
            "Site.example".to_owned(),
            "*.site.example".to_owned(),
            "192.0.2.1".to_owned(),
        ];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        self.write(
            &format!("{name}.pem"),
            &params.self_signed(&key).unwrap().pem(),
        );
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self) -> Result<Config, Diagnostics> {
        load(&self.path("tidegate.toml"), &Environment::new())
    }

    /// The only mistake: its place in the line, and its text.
    #[track_caller]
    fn mistake(&self) -> String {
        let mistakes = self.load().unwrap_err();
        assert_eq!(mistakes.list.len(), 1, "{mistakes}");
        assert_eq!(mistakes.list[0].code, Code::Unreadable);
        assert!(
            mistakes.watched.files().contains(&self.path("a.pem")),
            "the broken file is not watched"
        );
        mistakes.list[0].message.clone()
    }
}

#[test]
fn a_certificate_without_a_name_is_reported() {
    let folder = Folder::new(TLS);
    folder.certify("a", |params| params.subject_alt_names.clear());
    let config = folder.load().unwrap();
    assert_eq!(config.warnings.list.len(), 1, "{}", config.warnings);
    let warning = &config.warnings.list[0];
    assert_eq!(
        (warning.severity, warning.code),
        (Severity::Warning, Code::NeverMatches)
    );
    assert_eq!(warning.place.as_ref().unwrap().line, 4);
    assert!(
        warning.message.contains("a.pem stands for no name"),
        "{}",
        warning.message
    );
    assert!(
        warning
            .help
            .as_deref()
            .unwrap()
            .contains("-addext subjectAltName=DNS:"),
        "{:?}",
        warning.help
    );
}

#[test]
fn a_certificate_is_read_with_its_names_and_its_files_are_watched() {
    let config = Folder::new(TLS).load().unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    let names: Vec<_> = tls.certificates[0]
        .names
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(names, ["site.example", "*.site.example", "192.0.2.1"]);
    assert_eq!(
        (tls.min_version, &tls.client_ca),
        (TlsVersion::Tls12, &None)
    );
    let watched: Vec<_> = config
        .watched
        .files()
        .iter()
        .filter_map(|file| file.file_name())
        .collect();
    assert_eq!(watched, ["tidegate.toml", "a.pem", "a.key"]);
}

#[test]
fn another_certificate_in_the_same_file_is_another_configuration() {
    let folder = Folder::new(TLS);
    let before = folder.load().unwrap();
    assert_eq!(folder.load().unwrap().listeners, before.listeners);
    folder.certify("a", |_| {});
    assert_ne!(folder.load().unwrap().listeners, before.listeners);
}

#[test]
fn problems_of_a_file_are_reported_with_its_name() {
    let folder = Folder::new(TLS);
    let (certificate, key) = ["a.pem", "a.key"]
        .map(|name| fs::read_to_string(folder.path(name)).unwrap())
        .into();
    let broken = certificate.replace("MII", "!!!");
    let other_key = fs::read_to_string(folder.path("b.key")).unwrap();
    for (file, text, says) in [
        ("a.pem", "", "holds no certificate"),
        ("a.pem", &key, "holds no certificate"),
        (
            "a.pem",
            &certificate[..certificate.len() / 2],
            "is not PEM: it breaks off",
        ),
        ("a.pem", &broken, "is not PEM: its base64 is damaged"),
        (
            "a.pem",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "holds no sound certificate",
        ),
        ("a.key", "", "holds no private key"),
        ("a.key", &certificate, "holds no private key"),
        ("a.key", &other_key, "is not the key of this certificate"),
        (
            "a.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted key",
        ),
        (
            "a.key",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
            "encrypted key",
        ),
        (
            "a.key",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
            "holds no key of a kind",
        ),
    ] {
        let kept = fs::read_to_string(folder.path(file)).unwrap();
        folder.write(file, text);
        let said = folder.mistake();
        assert!(
            said.contains(&format!("{} ", folder.path(file).display())) && said.contains(says),
            "{said}"
        );
        folder.write(file, &kept);
    }
    fs::remove_file(folder.path("a.key")).unwrap();
    assert!(
        folder
            .mistake()
            .contains("a.key cannot be read: there is no such file")
    );
}

#[test]
fn authorities_have_the_same_rules() {
    let text = format!("{TLS}client_ca = \"ca.pem\"\n");
    let folder = Folder::new(&text);
    assert!(folder.mistake().contains("ca.pem cannot be read"));
    folder.certify("ca", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let tls = folder.load().unwrap().listeners.remove(0).tls.unwrap();
    assert_eq!(tls.client_ca.unwrap().certificates.len(), 1);
    folder.write(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    );
    assert!(
        folder
            .mistake()
            .contains("holds no sound certificate of an authority")
    );
}

#[test]
fn an_expired_certificate_is_a_warning_and_no_mistake() {
    let folder = Folder::new(TLS);
    let config = folder.load().unwrap();
    assert_eq!(config.warnings.list.len(), 0, "{}", config.warnings);
    folder.certify("a", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1)
    });
    let warnings = Arc::clone(&folder.load().unwrap().warnings);
    assert_eq!(warnings.list.len(), 1, "{warnings}");
    let one = &warnings.list[0];
    assert_eq!((one.severity, one.code), (Severity::Warning, Code::Expiry));
    assert_eq!(
        one.message,
        format!(
            "{}: the certificate has expired",
            folder.path("a.pem").display()
        )
    );
    assert!(
        one.place.is_some(),
        "the warning is where the file is named"
    );
}

#[test]
fn a_key_is_never_shown() {
    let folder = Folder::new(TLS);
    let config = folder.load().unwrap();
    let shown = format!("{config:?} {}", config.shown());
    assert!(shown.contains("a.key"));
    let key = fs::read_to_string(folder.path("a.key")).unwrap();
    for line in key.lines() {
        assert!(!shown.contains(line), "{line}");
    }
    folder.write("a.pem", &key);
    assert!(
        !folder
            .load()
            .unwrap_err()
            .render(false)
            .contains(key.lines().nth(1).unwrap())
    );
}

fn upstream(url: &str, tls: &str) -> Folder {
    Folder::new(&format!("[upstreams.app]\nservers = [\"{url}\"]\n{tls}\n"))
}

#[test]
fn the_name_of_a_server_is_the_host_of_its_url_or_a_given_name() {
    let name = |folder: Folder| {
        let name = folder.load().unwrap().upstreams[0].servers[0]
            .secure_as
            .clone();
        name.map(|name| name.to_str().into_owned())
    };
    assert_eq!(name(upstream("http://a.internal", "")), None);
    assert_eq!(
        name(upstream("https://a.internal", "")).as_deref(),
        Some("a.internal")
    );
    assert_eq!(
        name(upstream("https://192.0.2.1", "")).as_deref(),
        Some("192.0.2.1")
    );
    let named = upstream(
        "https://192.0.2.1",
        "[upstreams.app.tls]\nserver_name = \"b.internal\"",
    );
    assert_eq!(name(named).as_deref(), Some("b.internal"));
}

#[test]
fn a_certificate_for_servers_comes_with_its_key() {
    let tls = "[upstreams.app.tls]\nclient_cert = \"a.pem\"\nclient_key = \"a.key\"";
    assert!(
        upstream("https://a", tls).load().unwrap().upstreams[0]
            .tls
            .identity
            .is_some()
    );
    let mismatch = tls.replace("a.key", "b.key");
    assert!(
        upstream("https://a", &mismatch)
            .mistake()
            .contains("is not the key of this certificate")
    );
    for alone in ["client_cert = \"a.pem\"", "client_key = \"a.key\""] {
        let mistakes = upstream("https://a", &format!("[upstreams.app.tls]\n{alone}"))
            .load()
            .unwrap_err();
        assert_eq!(mistakes.list[0].code, Code::MissingKey, "{mistakes}");
    }
}

#[test]
fn tls_that_no_server_speaks_is_a_mistake() {
    let mistakes = upstream("http://a", "[upstreams.app.tls]\nserver_name = \"a\"")
        .load()
        .unwrap_err();
    assert_eq!(mistakes.list[0].code, Code::Conflict);
    let mistakes = upstream("https://-", "").load().unwrap_err();
    assert!(
        mistakes.list[0]
            .message
            .contains("what a certificate can stand for"),
        "{mistakes}"
    );
}

#[test]
fn a_trusted_certificate_that_cannot_be_verified_is_a_warning() {
    let upstream = "[upstreams.app]\nservers = [\"https://192.0.2.1\"]\ntls = { ca = \"b.pem\" }\n";
    let listener = TLS.to_owned() + "client_ca = \"b.pem\"\n";
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let nameless = |params: &mut CertificateParams| params.subject_alt_names.clear();
    let authority = |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let fine = |_: &mut CertificateParams| {};
    for (text, change, expected) in [
        (
            upstream,
            &old as &dyn Fn(&mut CertificateParams),
            Some("has expired"),
        ),
        (upstream, &nameless, Some("stands for no name")),
        (upstream, &authority, None),
        (upstream, &fine, None),
        (&*listener, &old, Some("has expired")),
        (&listener, &nameless, None),
    ] {
        let folder = Folder::new(text);
        folder.certify("b", change);
        let config = folder.load().unwrap();
        let warned = config
            .warnings
            .list
            .iter()
            .find(|warning| warning.message.contains("no authority's"));
        assert_eq!(
            warned.is_some(),
            expected.is_some(),
            "{:?}",
            config.warnings.list
        );
        if let (Some(warning), Some(expected)) = (warned, expected) {
            assert!(
                warning.message.contains(expected) && warning.code == Code::NeverMatches,
                "{}",
                warning.message
            );
        }
    }
}

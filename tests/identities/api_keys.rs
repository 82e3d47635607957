//! API keys: made, listed and removed by the command, known by their digest.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use super::{command, gateway, key, new_key, settle, support::gateway::responding, text};

const ROUTE: &str = "identify = ['partners']\n";

#[test]
fn a_key_is_printed_once_and_only_its_digest_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("partners.keys.toml");
    let made = new_key(&file, "acme", &["--plan", "gold", "--claim", "org=a"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&made) && !text.contains(&made[4..]));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let listed = key(&["list", "--file", file.to_str().unwrap()]);
    let fields: Vec<_> = listed.split('\t').collect();
    assert_eq!(fields[..2], ["acme", "gold"]);
    assert!(text.contains(fields[2]));
}

#[test]
fn a_claim_that_is_given_several_times_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let claims = ["scope=orders:read", "org=acme", "scope=orders:write"];
    let claims = claims.map(|claim| ["--claim", claim]).concat();
    let made = new_key(&file, "acme", &claims);
    let text = fs::read_to_string(&file).unwrap();
    let list = r#"claims = { "scope" = ["orders:read", "orders:write"], "org" = "acme" }"#;
    assert!(text.contains(list), "{text}");
    let route = format!("{ROUTE}require = {{ scope = ['orders:write'], org = ['acme'] }}\n");
    let gateway = gateway(&file, "", &responding("r", &route));
    let line = format!("X-Api-Key: {made}");
    assert_eq!(gateway.ask("GET", "/", &[&line]).status(), 200);
}

#[test]
fn a_changed_file_keeps_its_owner_group_and_mode() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    new_key(&file, "acme", &[]);
    // Only root may give a file away.
    let is_root = fs::metadata(&file).unwrap().uid() == 0;
    if is_root {
        chown(&file, Some(65534), Some(65533)).unwrap();
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let rights = || {
        let about = fs::metadata(&file).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o777)
    };
    let before = rights();
    new_key(&file, "globex", &[]);
    key(&["remove", "--file", file.to_str().unwrap(), "--name", "acme"]);
    assert_eq!(rights(), before);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing else stays in the folder");
}

#[test]
fn a_request_with_a_key_is_served_and_one_without_or_with_another_is_401() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let gateway = gateway(&file, "", &responding("r", ROUTE));
    for line in [
        format!("X-Api-Key: {key}"),
        format!("Authorization: Bearer {key}"),
        format!("authorization: BEARER   {key}"),
    ] {
        assert_eq!(gateway.ask("GET", "/", &[&line]).status(), 200, "{line}");
    }
    let without = gateway.get("/");
    assert_eq!(without.status(), 401);
    assert_eq!(
        without.head.all("www-authenticate"),
        [
            "ApiKey realm=\"partners\", header=\"x-api-key\"",
            "Bearer realm=\"partners\""
        ]
    );
    for wrong in [
        "tgk_00",
        &key[..key.len() - 1],
        &format!("{key}0"),
        &key.to_uppercase(),
        &"x".repeat(10_000),
    ] {
        let line = format!("Authorization: Bearer {wrong}");
        let refused = gateway.ask("GET", "/", &[&line]);
        assert_eq!(refused.status(), 401);
        let challenges = refused.head.all("www-authenticate");
        assert!(
            challenges[1].contains("error=\"invalid_token\""),
            "{challenges:?}"
        );
        assert!(!refused.text().contains(wrong));
    }
    settle(&gateway);
    assert_eq!(
        gateway.metric(
            "tidegate_credentials_total",
            &[("identity", "partners"), ("outcome", "rejected")]
        ),
        5.0
    );
    assert_eq!(
        gateway.metric("tidegate_refusals_total", &[("reason", "unauthenticated")]),
        6.0
    );
}

#[test]
fn a_removed_key_is_refused_after_the_reload_and_a_new_one_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let path = file.to_str().unwrap();
    let (old, kept) = (new_key(&file, "acme", &[]), new_key(&file, "globex", &[]));
    let gateway = gateway(&file, "", &responding("r", ROUTE));
    let status = |key: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-Api-Key: {key}")])
            .status()
    };
    assert_eq!([status(&old), status(&kept)], [200, 200]);
    key(&["remove", "--file", path, "--name", "acme"]);
    let new = new_key(&file, "initech", &[]);
    gateway.reload();
    assert_eq!([status(&old), status(&kept), status(&new)], [401, 200, 200]);
}

#[test]
fn an_emptied_file_changes_nothing_and_the_last_key_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let path = file.to_str().unwrap();
    let made = new_key(&file, "acme", &[]);
    let gateway = gateway(&file, "", &responding("r", ROUTE));
    let ask = || {
        let line = format!("X-Api-Key: {made}");
        gateway.ask("GET", "/", &[&line]).status()
    };
    let sound = fs::read_to_string(&file).unwrap();
    for emptied in ["", "\n \n"] {
        fs::write(&file, emptied).unwrap();
        let (status, outcome) = gateway.reload();
        assert_eq!(status, 422, "{outcome:#}");
        assert!(
            outcome
                .to_string()
                .contains("its file of keys is empty, and had 1 before"),
            "{outcome:#}"
        );
        assert_eq!(ask(), 200);
    }
    fs::write(&file, sound).unwrap();
    key(&["remove", "--file", path, "--name", "acme"]);
    assert_eq!(gateway.reload().0, 200);
    assert_eq!(ask(), 401);
    let again = new_key(&file, "acme", &[]);
    assert!(key(&["list", "--file", path]).starts_with("acme"));
    gateway.reload();
    let line = format!("X-Api-Key: {again}");
    assert_eq!(gateway.ask("GET", "/", &[&line]).status(), 200);
}

#[test]
fn an_owner_has_two_keys_while_one_replaces_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let first = new_key(&file, "acme", &["--plan", "gold"]);
    let second = new_key(&file, "acme", &["--add"]);
    let third = new_key(&file, "acme", &["--add"]);
    let gateway = gateway(&file, "", &responding("r", ROUTE));
    for key in [first, second, third] {
        let line = format!("X-Api-Key: {key}");
        assert_eq!(gateway.ask("GET", "/", &[&line]).status(), 200);
    }
    let again = command(&["new", "--file", file.to_str().unwrap(), "--name", "acme"]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("`--add` gives it a further key"));
}

#[test]
fn a_file_with_a_broken_line_changes_nothing_and_the_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let sound = fs::read_to_string(&file).unwrap();
    let gateway = gateway(&file, "", &responding("r", ROUTE));
    for (broken, expected) in [
        (
            format!("{sound}\n[[keys]]\nname = \"b\"\nsha256 = \"12\"\n"),
            "line 5",
        ),
        (format!("{sound}\n[[keys]\n"), "line 5"),
        (
            format!("{sound}\n{sound}"),
            "the name `acme` stands in line 1 already",
        ),
        (
            format!("{sound}\n{}", sound.replace("acme", "other")),
            "a key that stands in line 1 already",
        ),
    ] {
        fs::write(&file, &broken).unwrap();
        let (status, outcome) = gateway.reload();
        assert_eq!(status, 422, "{outcome:#}");
        assert!(outcome.to_string().contains(expected), "{outcome:#}");
        let line = format!("X-Api-Key: {key}");
        assert_eq!(gateway.ask("GET", "/", &[&line]).status(), 200);
    }
}

#[test]
fn a_key_may_stand_in_a_query_or_a_cookie_and_is_masked_in_the_access_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &["--plan", "gold"]);
    let from = "from = ['query:k', 'cookie:session']";
    let gateway = gateway(&file, from, &responding("r", ROUTE));
    assert_eq!(gateway.get(&format!("/?a=1&k={key}")).status(), 200);
    let line = gateway.access_line();
    assert_eq!(line["query"], "a=1&k=***");
    assert_eq!(
        (&line["identity"], &line["plan"]),
        (&"partners".into(), &"gold".into())
    );
    let cookie = format!("Cookie: a=1; session={key}");
    assert_eq!(gateway.ask("GET", "/", &[&cookie]).status(), 200);
    assert_eq!(gateway.status("/"), 401);
}

#[test]
fn a_key_in_a_query_is_masked_wherever_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = new_key(&file, "acme", &[]);
    let routes = "match = { path = '/a' }\nidentify = ['partners']\n";
    let gateway = gateway(
        &file,
        "from = 'query:k'",
        &(responding("a", routes)
            + "[[routes]]\nname = 'b'\nmatch = { path = '/b' }\nrespond = { status = 204 }\n"),
    );
    for (path, status) in [("/a", 200), ("/b", 204), ("/", 404)] {
        assert_eq!(gateway.get(&format!("{path}?x=1&k={key}")).status(), status);
        assert_eq!(gateway.access_line()["query"], "x=1&k=***");
    }
    assert_eq!(gateway.get(&format!("/b?x=1;k={key}")).status(), 204);
    assert_eq!(gateway.access_line()["query"], "x=1;k=***");
}

#[test]
fn wrong_keys_are_charged_to_the_address_and_good_ones_from_it_pass() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let (seen, unseen) = (new_key(&file, "acme", &[]), new_key(&file, "globex", &[]));
    let limit = "[limits.guesses]\nkey = 'client-ip'\nrate = '2/h'\n[server]\nworkers = 2\n";
    let gateway = gateway(
        &file,
        "limit = 'guesses'",
        &(limit.to_owned() + &responding("r", ROUTE)),
    );
    let status = |key: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-Api-Key: {key}")])
            .status()
    };
    assert_eq!(status(&seen), 200);
    assert_eq!([status("a"), status("b"), status("c")], [401, 401, 429]);
    // Each connection may be another worker's, which has seen neither.
    for _ in 0..16 {
        assert_eq!([status(&seen), status(&unseen)], [200, 200]);
    }
    // A changed file forgets all that was seen.
    let new = new_key(&file, "initech", &[]);
    gateway.reload();
    for _ in 0..16 {
        assert_eq!([status(&seen), status(&unseen), status(&new)], [200; 3]);
    }
    assert_eq!(status("a"), 429);
    // Without credentials nothing is guessed.
    assert_eq!(gateway.status("/"), 401);
}

#[test]
fn an_address_that_goes_on_guessing_is_banned_and_known_clients_behind_it_pass() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let (known, unknown) = (new_key(&file, "acme", &[]), new_key(&file, "globex", &[]));
    let limit = "[limits.guesses]\nkey = 'client-ip'\nrate = '1/h'\nban = { refusals = 2, within = '1m', for = '10m' }\n[server]\nworkers = 1\n";
    let gateway = gateway(
        &file,
        "limit = 'guesses'",
        &(limit.to_owned() + &responding("r", ROUTE)),
    );
    let ask = |key: &str| gateway.ask("GET", "/", &[&format!("X-Api-Key: {key}")]);
    assert_eq!(ask(&known).status(), 200);
    let guessed = ["a", "b", "c"].map(|key| ask(key).status());
    assert_eq!(guessed, [401, 429, 429]);
    let banned = ask("d");
    let rest: u64 = banned.get("retry-after").unwrap().parse().unwrap();
    assert_eq!(banned.status(), 429);
    assert!((590..=600).contains(&rest), "{rest}");
    let labels = [("reason", "banned"), ("route", "r")];
    gateway.await_metric("tidegate_refusals_total", &labels, 1.0);
    assert_eq!([ask(&known).status(), ask(&unknown).status()], [200, 200]);
    let listed = gateway.call_admin("GET", "/limits/guesses/top?banned=true", &[]);
    assert!(listed.text().contains("127.0.0.1"), "{}", listed.text());
}

#[test]
fn a_gateway_does_not_start_without_the_file_of_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tidegate.toml");
    let absent = folder.path().join("absent.toml");
    fs::write(&config, text(&absent, "", &responding("r", ROUTE))).unwrap();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", config.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
    assert!(
        !checked.status.success() && told.contains("there is no such file"),
        "{told}"
    );
}

#[test]
fn a_reload_says_which_identities_are_new_changed_and_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    new_key(&file, "acme", &[]);
    let other = |name: &str| format!("[identities.{name}]\napi_keys = {:?}\n", file.display());
    let route = responding("r", ROUTE);
    let gateway = gateway(&file, "", &(other("old") + &other("kept") + &route));
    gateway.rewrite(&text(
        &file,
        "from = ['bearer']",
        &(other("new") + &other("kept") + &route),
    ));
    // The gateway watches its file, too, and may have read it before.
    gateway.reload();
    let line = gateway.logged("configuration reloaded");
    let told = "; identities: 1 kept, 1 changed (partners), 1 new (new), 1 gone (old); ";
    assert!(line.to_string().contains(told), "{line:#}");
}

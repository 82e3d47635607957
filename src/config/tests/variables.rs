//! Values from the environment.

use super::{
    super::{Environment, parse},
    APP,
};

#[test]
fn a_value_that_is_one_variable_takes_the_type_that_its_key_wants() {
    let environment = Environment::from([
        ("BURST".into(), "7".into()),
        ("ON".into(), "false".into()),
        ("BALANCE".into(), "hash".into()),
        ("PROXIES".into(), "10.0.0.1, 10.1.0.0/16".into()),
        ("WORDS".into(), "many".into()),
    ]);
    let read = |text: &str| {
        parse(
            "a.toml",
            &format!("{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n{text}"),
            &environment,
        )
    };
    let limit = |keys: &str| {
        read(&format!(
            "limits = [\"l\"]\n[limits.l]\nrate = \"${{NO:-9/s}}\"\n{keys}"
        ))
    };
    for (written, burst) in [("${BURST}", 7), ("${BURST:-5}", 7), ("${NO:-5}", 5)] {
        assert_eq!(
            limit(&format!("burst = \"{written}\"")).unwrap().limits[0]
                .allowance
                .rate()
                .unwrap()
                .burst(),
            burst
        );
    }
    let config = read("[server]\nworkers = \"${NO:-auto}\"\n[log]\naccess = \"${ON}\"\nlevel = \"${NO:-warn}\"\n[client_ip]\ntrusted_proxies = \"${PROXIES}\"").unwrap();
    assert_eq!((config.server.workers, config.log.access), (None, false));
    assert_eq!(config.client_ip.trusted_proxies.len(), 2);
    assert_eq!(
        read("[server]\nworkers = \"${BURST}\"")
            .unwrap()
            .server
            .workers
            .unwrap()
            .get(),
        7
    );
    assert_eq!(
        read("request = { max_body = \"${NO:-1KiB}\" }")
            .unwrap()
            .routes[0]
            .request
            .max_body,
        Some(1024)
    );
    assert_eq!(
        limit("cost = \"${NO:-2}\"").unwrap().limits[0].cost.most(),
        2
    );
    for (text, says) in [
        (
            "limits = [\"l\"]\n[limits.l]\nrate = \"9/s\"\nburst = \"${WORDS}\"",
            "the environment variable WORDS does not hold a whole number",
        ),
        (
            "limits = [\"l\"]\n[limits.l]\nrate = \"9/s\"\nburst = \"${NO:-0}\"",
            "`burst` cannot be `${NO:-0}`: the least is 1",
        ),
        (
            "[log]\naccess = \"${WORDS}\"",
            "the environment variable WORDS does not hold true or false",
        ),
        (
            "[log]\nlevel = \"${WORDS}\"",
            "`level` cannot be `${WORDS}`: there is no such choice",
        ),
        (
            "[log]\naccess = \"x${ON}\"",
            "`access` is true or false, not a string",
        ),
    ] {
        let mistakes = read(text).unwrap_err();
        assert_eq!(mistakes.list.len(), 1, "{mistakes}");
        assert!(mistakes.list[0].message.contains(says), "{mistakes}");
        assert!(!mistakes.render(false).contains("many"), "{mistakes}");
    }
}

#[test]
fn the_environment_reaches_every_string_and_its_secrets_stay_out_of_the_view() {
    let environment = Environment::from([
        ("PORT".into(), "81".into()),
        ("TOKEN".into(), "hunter2".into()),
    ]);
    let text = "[[listeners]]\nbind = \"127.0.0.1:${PORT}\"\n[[routes]]\nname = \"a\"\nrespond = { body = \"${TOKEN}\", headers = { x-a = \"${TOKEN}\" } }
        response = { set_headers = { authorization = \"literal\" } }";
    let config = parse("a.toml", text, &environment).unwrap();
    assert_eq!(config.listeners[0].bind.ip().unwrap().port(), 81);
    assert_eq!(config.shown()["listeners"][0]["bind"], "127.0.0.1:81");
    let shown = config.shown().to_string();
    assert!(
        !shown.contains("hunter2") && !shown.contains("literal") && shown.contains("${TOKEN}"),
        "{shown}"
    );
}

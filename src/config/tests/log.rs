//! Choices about access lines.

use super::super::{Code, Environment, load};
use super::{config_with, only, warnings::fine};
use crate::config::tests::{APP, warnings::warned};

const ROUTE: &str = "[[routes]]\nname = \"app\"\nupstream = \"app\"\n";

#[test]
fn the_status_alone_counts_before_its_class() {
    let log = "[log]\nfields = ['header:Referer', 'cookie:Theme']\nkeys = true\nsample = { '2xx' = '10%', '204' = '0.1%', '3xx' = '0%' }\n";
    let log = config_with(log, "").unwrap().log;
    let fields: Vec<_> = log.fields.iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["header:referer", "cookie:Theme"]);
    assert!(log.keys);
    let share = |status, is_telling| {
        let mut sample = log.sample.iter();
        let found = sample.find(|sample| sample.concerns(status, is_telling));
        found.map(|sample| sample.share.to_string())
    };
    assert_eq!(share(200, false).as_deref(), Some("0.1"));
    assert_eq!(share(204, false).as_deref(), Some("0.001"));
    assert_eq!(share(204, true), None);
    assert_eq!((share(302, true), share(404, false)), (None, None));
}

#[test]
fn credentials_cannot_be_logged() {
    for field in [
        "header:cookie",
        "response-header:set-cookie",
        "header:authorization",
    ] {
        let (code, said) = only(config_with(&format!("[log]\nfields = ['{field}']\n"), ""));
        assert_eq!(code, Code::BadValue, "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    std::fs::write(folder.path().join("keys.toml"), "# none\n").unwrap();
    for (from, sends, field) in [
        (
            "from = ['header:x-partner', 'cookie:p']",
            "",
            "header:X-Partner",
        ),
        ("from = ['header:x-partner', 'cookie:p']", "", "cookie:p"),
        ("", "send = ['x-ticket']", "header:x-ticket"),
    ] {
        let how = match sends {
            "" => format!("api_keys = 'keys.toml'\n{from}"),
            _ => format!("forward = {{ url = 'http://127.0.0.1:1/', {sends} }}"),
        };
        let text = format!(
            "[log]\nfields = ['{field}']\n[identities.partners]\n{how}\n{APP}{ROUTE}identify = ['partners']\n"
        );
        std::fs::write(&file, text).unwrap();
        let (code, said) = only(load(&file, &Environment::new()));
        assert_eq!(code, Code::Conflict, "{said}");
        assert!(
            said.contains("`partners`") && said.contains("`identity`"),
            "{said}"
        );
    }
}

#[test]
fn more_fields_than_a_line_may_have_are_refused() {
    let fields = |count| {
        let names: Vec<_> = (0..count).map(|at| format!("'header:x-{at}'")).collect();
        config_with(&format!("[log]\nfields = [{}]\n", names.join(", ")), "")
    };
    assert!(fields(16).is_ok());
    let (_, said) = only(fields(17));
    assert!(
        said.contains("at most 16") && said.contains("name fewer"),
        "{said}"
    );
}

#[test]
fn choices_without_lines_and_fields_like_secrets_are_reported() {
    for choice in [
        "fields = ['header:referer']",
        "keys = true",
        "sample = { '2xx' = '1%' }",
    ] {
        let text = format!("[log]\naccess = false\n{choice}\n{APP}{ROUTE}");
        let (line, code, _) = warned(&text);
        assert_eq!((line, code), (3, Code::NoEffect));
    }
    let text = |field: &str| format!("[log]\nfields = ['{field}']\n{APP}{ROUTE}");
    for field in [
        "header:x-api-key",
        "cookie:sessionid",
        "response-header:x-csrf-token",
    ] {
        let (line, code, said) = warned(&text(field));
        assert_eq!((line, code), (2, Code::Exposed));
        assert!(said.contains("`keys = true`"), "{said}");
    }
    fine(&text("header:referer"));
}

#[test]
fn a_field_in_two_spellings_is_one_field() {
    let fields = "[log]\nfields = ['header:referer', 'header:Referer']\n";
    let (code, said) = only(config_with(fields, ""));
    assert_eq!(code, Code::Duplicate, "{said}");
    // Names of cookies have a letter case.
    assert!(config_with("[log]\nfields = ['cookie:a', 'cookie:A']\n", "").is_ok());
    for keys in [
        "request.remove_headers = ['X-A', 'x-a']",
        "request.keep_headers = ['X-Real-IP', 'x-real-ip']",
        "response.remove_headers = ['X-A', 'x-a']",
        "match.hosts = ['A.example', 'a.example']",
        "cors = { origins = ['*'], headers = ['X-A', 'x-a'] }",
        "cors = { origins = ['*'], expose = ['X-A', 'x-a'] }",
    ] {
        let (code, said) = only(config_with("", keys));
        assert_eq!(code, Code::Duplicate, "{said}");
        assert!(said.contains("in another spelling"), "{said}");
    }
}

#[test]
fn one_share_for_all_lines_is_shown_and_written_for_a_class() {
    for (written, right) in [
        ("'10%'", "write `sample = { \"2xx\" = \"10%\" }`"),
        ("0.1", "write `sample = { \"2xx\" = \"10%\" }`"),
        ("true", "such as `sample = { \"2xx\" = \"1%\" }`"),
        ("{ '2xx' = 0.001 }", "write `\"0.1%\"`"),
        ("{ '2xx' = 0.07 }", "write `\"7%\"`"),
    ] {
        let mistakes = config_with(&format!("[log]\nsample = {written}\n"), "").unwrap_err();
        let text = mistakes.render(false);
        assert!(text.contains(right), "{text}");
        assert!(!text.contains("***"), "{text}");
    }
}

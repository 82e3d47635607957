//! Every mistake is told, once, at its place, with what would be right.

use proptest::prelude::*;

use super::{
    super::{Code, Environment, parse},
    places, read,
};

const TEN: &str = r#"
[[listeners]]
bind = ":8080"
max_headers = "100"

[upstreams.app]
servers = ["http://127.0.0.1:9000"]
balance = "hash"

[limits.per-client]
rate = "100"
burst = 0

[[routes]]
name = "app"
upstream = "ap"
limts = ["per-client"]
limits = ["per-cleint"]
[routes.match]
path = "/a//b"
[routes.timeouts]
total = 30
"#;

#[test]
fn ten_mistakes_in_one_file_are_told_at_once() {
    let expected = [
        (3, Code::BadValue),
        (4, Code::WrongType),
        (8, Code::NotBuilt),
        (11, Code::BadValue),
        (12, Code::BadValue),
        (16, Code::UnknownName),
        (17, Code::UnknownKey),
        (18, Code::UnknownName),
        (20, Code::BadValue),
        (22, Code::WrongType),
    ];
    assert_eq!(places(read(TEN)), expected);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_the_refusal_can_be_shown(text: String) {
        if let Err(diagnostics) = parse("test.toml", &text, &Environment::new()) {
            prop_assert!(!diagnostics.render(true).is_empty());
        }
    }

    #[test]
    fn text_that_looks_like_toml_is_read_or_refused(
        lines in proptest::collection::vec(
            "(\\[?\\[?(routes|upstreams|limits|a)(\\.match|\\.x)?\\]?\\]?|(name|servers|rate|a|host) ?= ?(\"[a-z/{}$]{0,5}\"?|[0-9]{1,3}s?|\\[('é',?)*\\]?|\\{a=1\\}?|'''é?|\"\"\")|#é|\r)",
            0..12,
        )
    ) {
        if let Err(diagnostics) = parse("test.toml", &lines.join("\n"), &Environment::new()) {
            prop_assert!(!diagnostics.render(false).is_empty());
            prop_assert!(!diagnostics.list.is_empty());
        }
    }
}

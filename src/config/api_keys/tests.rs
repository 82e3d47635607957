//! Files of API keys are read, and each mistake is told with its line.

use super::*;

const DIGEST: &str = "15d1ddacb965c9734d5938ce514df3d6f774d4efde504ef9bfd0c89420ad3433";

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = parse(text).expect_err("a mistake");
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_owner_may_have_several_keys_a_plan_and_claims() {
    let other = DIGEST.replace('e', "1");
    let text = format!(
        "# keys\n\n[[keys]]\nname = \"acme\"\nsha256 = [\"{DIGEST}\", \"{other}\"]\nplan = \"gold\"\n\n  [keys.claims]\n  org = \"a\"\n  n = 1\n[[keys]]\nname = \"b\"\nsha256 = \"{}\"\n",
        DIGEST.replace('e', "2")
    );
    let keys = parse(&text).unwrap();
    assert_eq!(keys.len(), 3);
    for digest in [DIGEST, &other] {
        let owner = keys.owner(&read_digest(digest).unwrap()).unwrap();
        assert_eq!(
            (owner.name.as_str(), owner.plan.as_deref()),
            ("acme", Some("gold"))
        );
        assert_eq!(owner.claims["n"], 1);
    }
}

#[test]
fn each_mistake_is_told_with_its_line() {
    let key =
        |name: &str, digest: &str| format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n");
    for (text, line, why) in [
        (key("a", "12"), 1, "64 hexadecimal digits"),
        (key("", DIGEST), 1, "`name` has 1 to 256 bytes"),
        (key("root ", DIGEST), 1, "`name` has 1 to 256 bytes"),
        (key("root\\n", DIGEST), 1, "`name` has 1 to 256 bytes"),
        (
            key("a", DIGEST) + &key("a", &DIGEST.replace('e', "1")),
            4,
            "`a` stands in line 1 already",
        ),
        (
            key("a", DIGEST) + &key("b", &DIGEST.to_uppercase()),
            4,
            "a key that stands in line 1 already",
        ),
        (
            format!("{}pan = 1\n", key("a", DIGEST)),
            4,
            "unknown field `pan`",
        ),
        (format!("\n{}x y\n", key("a", DIGEST)), 5, ""),
        ("[[keys]]\nname = \"a\"\n".to_owned(), 1, "sha256"),
        ("key = 1\n".to_owned(), 1, "unknown field `key`"),
        (
            format!("{}claims = {{ a = {{}} }}\n", key("a", DIGEST)),
            1,
            "the claim `a` of `a`",
        ),
        (
            format!("{}claims = {{ a = [1, 0.5] }}\n", key("a", DIGEST)),
            1,
            "the claim `a` of `a`",
        ),
        (
            format!("{}claims = {{ a = [\"b\", \" c\"] }}\n", key("a", DIGEST)),
            1,
            "the claim `a` of `a`",
        ),
        (
            format!("{}plan = \"a\\\"b\"\n", key("a", DIGEST)),
            1,
            "`plan` of `a`",
        ),
    ] {
        let told = mistakes(&text);
        let [told] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            told.starts_with(&format!("line {line}: ")) && told.contains(why),
            "{told}"
        );
        assert!(!told.contains(DIGEST));
    }
}

#[test]
fn a_file_with_many_mistakes_tells_ten() {
    assert_eq!(mistakes(&"[[keys]]\nname = 1\n".repeat(100)).len(), 10);
}

#[test]
fn an_empty_file_has_no_keys() {
    assert!(parse("").unwrap().is_empty() && parse("# none yet\n").unwrap().is_empty());
}

#[test]
fn a_key_as_the_command_writes_it_is_read_without_the_parser_of_toml() {
    let text = format!(
        "[[keys]]\nname = \"acme\"\nplan = \"gold\"\nsha256 = \"{DIGEST}\"\nclaims = {{ org = \"a\" }}\n\n"
    );
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        assert_eq!(usual_key(&text).unwrap().name, "acme");
    }
    for other in [
        "# x\n",
        "name = \"b\"\n",
        "[keys.claims]\na = 1\n",
        "x = 1\n",
    ] {
        assert_eq!(usual_key(&format!("{text}{other}")), None, "{other}");
    }
}

proptest::proptest! {
    #[test]
    fn a_piece_that_is_read_line_by_line_is_what_toml_reads(
        lines in proptest::collection::vec("(name|plan|sha256|claims|x) ?= ?(\"[a\\\\\"\u{1}\t\u{e4}' #]{0,3}\"|'a'|1|\\[\"a\"\\]|\\{ a = (1|\"b\"|\\[1\\]) \\})( # \"a\")?", 0..5),
        end in "\r?\n",
    ) {
        let text = format!("[[keys]]{end}name = \"n\"{end}sha256 = \"d\"{end}{}{end}", lines.join(&end));
        for text in [text.replace("name = \"n\"", ""), text.replace("sha256 = \"d\"", ""), text] {
            if let Some(key) = usual_key(&text) {
                let piece: FilePiece = toml::from_str(&text).unwrap();
                proptest::prop_assert_eq!(&piece.keys[..], &[key]);
            }
        }
    }

    #[test]
    fn the_pieces_of_a_file_are_all_of_it(text in "([ \t]?\\[\\[keys\\]\\]|[a\r]|\n){0,30}") {
        let whole: String = pieces(&text).map(|piece| piece.text).collect();
        proptest::prop_assert_eq!(&whole, &text);
        let mut before = 1;
        for piece in pieces(&text) {
            proptest::prop_assert_eq!(piece.line, before);
            before += piece.text.matches('\n').count();
        }
    }
}

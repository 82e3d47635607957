//! Mistakes of grammar hide no mistakes behind them and cause no others.

use super::{super::Code, APP, places, read};

#[test]
fn several_mistakes_of_grammar_are_reported_at_once() {
    let text =
        "[server]\nworkers = \n[log]\nlevel = info\n[shutdown]\ndrain = \"1s\ndelay = \"1\"\n";
    let expected = [
        (2, Code::Syntax),
        (4, Code::Syntax),
        (6, Code::Syntax),
        (7, Code::BadValue),
    ];
    assert_eq!(places(read(text)), expected);
}

#[test]
fn an_open_list_costs_only_itself() {
    let text = format!(
        "{APP}[[routes]]\nname = \"a\"\nlimits = [\"x\"\nupstream = \"app\"\ntimeouts = {{ total = 1 }}\n"
    );
    assert_eq!(
        places(read(&text)),
        [(5, Code::Syntax), (7, Code::WrongType)]
    );
}

#[test]
fn an_open_list_over_many_lines_costs_only_itself() {
    let text = "[[routes]]\nname = \"a\"\nlimits = [\n  \"x\",\n  \"y\"\nrespond = {}\nretry = 1\n";
    assert_eq!(
        places(read(text)),
        [(3, Code::Syntax), (7, Code::WrongType)]
    );
}

#[test]
fn a_forgotten_comma_is_one_mistake() {
    let text =
        "[[routes]]\nname = \"a\"\nlimits = [\n  \"x\"\n  \"y\"\n]\nrespond = {}\nretry = 1\n";
    assert_eq!(
        places(read(text)),
        [(5, Code::Syntax), (8, Code::WrongType)]
    );
}

#[test]
fn a_broken_header_does_not_move_its_keys_elsewhere() {
    let text = format!(
        "{APP}[upstreams.b\nservers = [\"http://b\"]\n[upstreams.b.pool]\nmax_idle = 1\n[log]\nx = 1\n"
    );
    assert_eq!(
        places(read(&text)),
        [(3, Code::Syntax), (8, Code::UnknownKey)]
    );
}

#[test]
fn a_key_given_twice_is_one_mistake() {
    let text = "[log]\naccess = true\naccess = false\n[[routes]]\nname = \"a\"\nrespond = {}\n";
    assert_eq!(places(read(text)), [(3, Code::Syntax)]);
}

#[test]
fn a_table_given_twice_is_one_mistake() {
    let text =
        "[log]\naccess = true\n[log]\nlevel = \"warn\"\n[[routes]]\nname = \"a\"\nrespond = {}\n";
    assert_eq!(places(read(text)), [(3, Code::Syntax)]);
}

#[test]
fn an_unclosed_text_over_many_lines_is_one_mistake() {
    let text = "[[routes]]\nname = \"a\"\nrespond = { body = '''x\n[log]\nlevel = \"info\"\n";
    assert_eq!(places(read(text)).first(), Some(&(3, Code::Syntax)));
}

#[test]
fn a_broken_line_does_not_make_names_unknown() {
    let text =
        "[upstreams.app\nservers = [\"http://a\"]\n[[routes]]\nname = \"a\"\nupstream = \"app\"\n";
    assert_eq!(places(read(text)), [(1, Code::Syntax)]);
}

#[test]
fn windows_line_ends_are_line_ends() {
    let text =
        "[log]\r\nlevel = \"info\"\r\nlevl = 1\r\n[[routes]]\r\nname = \"a\"\r\nrespond = {}\r\n";
    assert_eq!(places(read(text)), [(3, Code::UnknownKey)]);
}

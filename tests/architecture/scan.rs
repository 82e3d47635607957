//! The tests of the shape pass on an empty folder too, so that the scan itself
//! is held to something known.

use crate::{
    names::Names,
    reading::{Facts, read},
    source::{Source, all},
};

fn facts(module: &str, raw: &str) -> Facts {
    read(raw, &path(module)).unwrap()
}

fn path(joined: &str) -> Vec<String> {
    joined
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn source(module: &str, raw: &str) -> Source {
    Source {
        shown: format!("src/{}.rs", module.replace("::", "/")),
        raw: raw.to_owned(),
        module: path(module),
        is_test: false,
        facts: facts(module, raw),
    }
}

#[test]
fn the_scan_finds_the_source() {
    assert!(all().len() > 50, "found only {} files", all().len());
    assert!(all().iter().any(|source| source.is_test));
}

#[test]
fn the_scan_sees_imports_functions_and_tests() {
    let raw = r##"//! x
use crate::{runtime::Timer, body::{self, Body}, http1, layer::{retry::Budget}};
pub(in crate::layer) fn one(a: &str) -> [u8; 2] {
    let _ = ("crate::config", '"', b'{', r#"crate::cli {"#); // crate::cli
    wait! { _ = super::super::error::of(crate::limit::decide) => {} }
}
impl Two {
    fn two(&self) {
        let (_, _) = self.each(|one| one);
    }
}
#[cfg(test)]
mod tests {
    use crate::config;
}
"##;
    let source = source("layer::policy", raw);
    let seen: Vec<_> = crate::imports::named(&source)
        .into_iter()
        .map(|named| (named.line, named.path.join(" ")))
        .collect();
    let expected = [
        (2, "runtime Timer"),
        (2, "body"),
        (2, "body Body"),
        (2, "http1"),
        (2, "layer retry Budget"),
        (5, "error of"),
        (5, "limit decide"),
    ];
    assert_eq!(seen, expected.map(|(line, path)| (line, path.to_owned())));
    let facts = &source.facts;
    let functions: Vec<_> = facts
        .functions
        .iter()
        .map(|function| (function.name.as_str(), function.lines))
        .collect();
    assert_eq!(functions, [("one", 4), ("Two::two", 3)]);
    assert_eq!((facts.length, facts.closures, facts.tuple_lets), (11, 1, 1));
    assert_eq!(facts.test_modules, [path("layer::policy::tests")]);
}

/// Otherwise every `use super::Name` would be a circle.
#[test]
fn a_name_leads_through_re_exports_to_the_file_that_declares_it() {
    let sources = [
        source(
            "pool",
            "mod idle; pub use self::idle::{Idle, Idle as Kept}; pub use idle::*;",
        ),
        source("pool::idle", "pub struct Idle; pub fn take() {}"),
        source(
            "server",
            "use crate::pool::{self, Kept}; pub struct Server; mod listener;",
        ),
        source(
            "server::listener",
            "use super::*; mod inner { pub struct Here; }",
        ),
    ];
    let names = Names::new(sources.iter());
    let files = |module: &str, name: &str| -> Vec<String> {
        let found = names.files(&path(module), &path(name));
        found.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(files("server", "Kept::new"), ["src/pool/idle.rs"]);
    assert_eq!(files("server", "pool::Idle"), ["src/pool/idle.rs"]);
    assert_eq!(files("server", "pool::take"), ["src/pool/idle.rs"]);
    assert_eq!(files("server::listener", "Kept"), ["src/pool/idle.rs"]);
    assert_eq!(
        files("server::listener", "super::Server"),
        ["src/server.rs"]
    );
    assert_eq!(
        files("server", "listener::inner::Here"),
        ["src/server/listener.rs"]
    );
    assert_eq!(
        files("server::listener::inner", "super::super::Server"),
        ["src/server.rs"]
    );
    // A module alone, a foreign crate, and a name of nothing.
    assert!(files("server", "crate::pool::idle").is_empty());
    assert!(files("server", "tokio::spawn").is_empty());
    assert!(files("server", "local").is_empty());
}

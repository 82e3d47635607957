//! The files under `src/`, each parsed once into what the tests of its shape
//! ask for.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use crate::reading::{Facts, read};

/// A file under `src/`.
pub struct Source {
    /// Its path from the root of the project, as an editor opens it.
    pub shown: String,
    pub raw: String,
    /// The path of its module: `layer`, `retry`, `budget`. Empty for `lib.rs`.
    pub module: Vec<String>,
    /// Only compiled for tests: below a `#[cfg(test)] mod NAME;`.
    pub is_test: bool,
    pub facts: Facts,
}

impl Source {
    /// The top-level module, or `lib` and `main` for the roots of the two
    /// crates.
    pub fn area(&self) -> &str {
        match self.shown.as_str() {
            "src/lib.rs" => "lib",
            "src/main.rs" => "main",
            _ => &self.module[0],
        }
    }

    fn parse(root: &Path, path: &Path) -> Self {
        let raw = fs::read_to_string(path).unwrap();
        let inside = path.strip_prefix(root).unwrap();
        let module = module_of(inside);
        let facts =
            read(&raw, &module).unwrap_or_else(|error| panic!("{}: {error}", inside.display()));
        Self {
            shown: Path::new("src").join(inside).display().to_string(),
            raw,
            module,
            is_test: false,
            facts,
        }
    }
}

static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<Source> = files(&root)
        .iter()
        .map(|path| Source::parse(&root, path))
        .collect();
    let tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| source.facts.test_modules.clone())
        .collect();
    for source in &mut sources {
        source.is_test = tests.iter().any(|test| source.module.starts_with(test));
    }
    sources
});

/// Every file under `src/`, in the order of their paths.
pub fn all() -> &'static [Source] {
    &ALL
}

/// The files that are not only there for tests.
pub fn production() -> impl Iterator<Item = &'static Source> {
    all().iter().filter(|source| !source.is_test)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `layer/retry/mod.rs` and `layer/retry.rs` are both `layer::retry`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

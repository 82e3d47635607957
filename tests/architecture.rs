//! The shape of the source: who may import whom, how long files and functions may be, and that every file says what it
//! is for. A careful look at the text, not a compiler: comments, literals and tests are blanked out first.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Everything of ours that a module may name: itself always, and what stands on the right.
const MAY_USE: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli", "app"]),
    // A command starts the application or talks to one.
    (
        "cli",
        &[
            "app",
            "reload",
            "config",
            "policy",
            "telemetry",
            "tls",
            "admin",
        ],
    ),
    // The only file that knows every module.
    (
        "app",
        &[
            "admin",
            "alarm",
            "body",
            "build",
            "call",
            "config",
            "policy",
            "duration",
            "error",
            "gateway",
            "http1",
            "http2",
            "inherited",
            "io",
            "layer",
            "limit",
            "message",
            "reload",
            "server",
            "store",
            "telemetry",
            "tls",
            "upstream",
            "watch",
        ],
    ),
    (
        "reload",
        &[
            "build",
            "gateway",
            "config",
            "policy",
            "inherited",
            "server",
            "http1",
            "telemetry",
            "tls",
        ],
    ),
    (
        "admin",
        &[
            "build",
            "reload",
            "config",
            "policy",
            "http2",
            "limit",
            "server",
            "telemetry",
            "upstream",
            "duration",
            "http1",
        ],
    ),
    // Bytes become a request; what a route is, is not known here.
    (
        "server",
        &[
            "alarm",
            "body",
            "error",
            "http1",
            "http2",
            "io",
            "message",
            "telemetry",
            "tls",
        ],
    ),
    // Runs for each reload: from a configuration to something that serves.
    (
        "build",
        &[
            "call",
            "config",
            "error",
            "gateway",
            "layer",
            "limit",
            "policy",
            "store",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    // Runs for each request; the policies come to it built.
    (
        "gateway",
        &[
            "body",
            "call",
            "policy",
            "error",
            "http1",
            "layer",
            "message",
            "server",
            "telemetry",
            "upstream",
        ],
    ),
    // Plain settings come from `build`: a policy never sees the configuration.
    (
        "layer",
        &[
            "alarm",
            "body",
            "call",
            "error",
            "http1",
            "io",
            "limit",
            "message",
            "store",
            "telemetry",
        ],
    ),
    // Where limits are counted that several gateways share.
    ("store", &["alarm", "duration", "limit", "telemetry"]),
    // A request becomes bytes again. `call::Outgoing` is what it is handed.
    (
        "upstream",
        &[
            "alarm",
            "body",
            "call",
            "duration",
            "error",
            "http1",
            "http2",
            "io",
            "message",
            "telemetry",
            "tls",
        ],
    ),
    (
        "call",
        &["body", "duration", "error", "message", "telemetry"],
    ),
    ("message", &["body", "http1", "tls"]),
    ("body", &["error"]),
    ("http1", &["error"]),
    ("http2", &["body", "error", "http1"]),
    // Leaves. Messages of any module say durations alike.
    ("alarm", &[]),
    // Every policy as plain data: the configuration resolves into it.
    ("policy", &[]),
    ("config", &["duration", "policy"]),
    ("duration", &[]),
    ("error", &["duration"]),
    ("inherited", &[]),
    ("io", &[]),
    ("limit", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("watch", &["config"]),
];

/// Lines of a file, tests not counted.
const LONGEST_FILE: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 60;

/// Files that are longer since the source has the default form of rustfmt. The list only gets shorter.
const STILL_TOO_LONG: &[&str] = &[
    "src/app/mod.rs",
    "src/body.rs",
    "src/call/mod.rs",
    "src/config/advice.rs",
    "src/config/check.rs",
    "src/config/parse.rs",
    "src/config/slips.rs",
    "src/config/tests/advice.rs",
    "src/config/tests/mistakes.rs",
    "src/config/tests/values.rs",
    "src/config/tests/warnings.rs",
    "src/build/keys.rs",
    "src/build/mod.rs",
    "src/gateway/table/tests.rs",
    "src/http1/head.rs",
    "src/layer/forward.rs",
    "src/reload.rs",
    "src/server/connection.rs",
    "src/server/http2/blocks.rs",
    "src/store/decide.rs",
    "src/store/tests/simulation.rs",
    "src/telemetry/access/tests.rs",
    "src/telemetry/metrics/render.rs",
    "src/telemetry/metrics/tests.rs",
];
/// Functions that are longer for the same reason, each as `file function`.
const STILL_TOO_LONG_FUNCTIONS: &[&str] = &[
    "src/app/drain.rs drain",
    "src/app/mod.rs start",
    "src/config/advice.rs in_a_table",
    "src/config/advice.rs right_type",
    "src/config/advice.rs right_value",
    "src/config/misplaced.rs further_in",
    "src/config/resolve/warnings/times.rs retries",
    "src/config/slips.rs explain",
    "src/config/slips.rs bare",
    "src/config/syntax/key.rs meant",
    "src/gateway/enter.rs enter",
    "src/layer/rate_limit/trial.rs admit",
    "src/server/entrance.rs enter",
    "src/telemetry/metrics/render.rs requests",
    "src/upstream/mod.rs send",
];

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut mistakes = Vec::new();
    for file in production() {
        let Some(allowed) = table.get(file.module()) else {
            mistakes.push(format!(
                "{}: module `{}` is not in the table",
                file.shown,
                file.module()
            ));
            continue;
        };
        for Import { line, path } in file.imports() {
            let to = path[0].as_str();
            let is_module = table.contains_key(to);
            if is_module && to != file.module() && !allowed.contains(&to) {
                mistakes.push(format!(
                    "{}:{line}: `{}` may not use `{to}`",
                    file.shown,
                    file.module()
                ));
            }
        }
    }
    report(&mistakes);
}

/// Files beside the policies that are no policy: what several of them need.
const SHARED_BY_LAYERS: &[&str] = &["answer_changes", "content", "key"];

#[test]
fn a_layer_knows_no_other_layer() {
    let files: Vec<_> = production()
        .into_iter()
        .filter(|file| file.module() == "layer")
        .collect();
    let policies: BTreeSet<_> = files
        .iter()
        .filter_map(|file| file.parts.get(1).cloned())
        .collect();
    assert!(policies.len() > 3, "found only {policies:?}");
    let mut mistakes = Vec::new();
    for file in files.iter().filter(|file| file.parts.len() > 1) {
        for Import { line, path } in file
            .imports()
            .iter()
            .filter(|import| import.path[0] == "layer")
        {
            let is_shared = |name: &String| SHARED_BY_LAYERS.contains(&name.as_str());
            let is_foreign = |name: &String| {
                policies.contains(name) && *name != file.parts[1] && !is_shared(name)
            };
            if path.get(1).is_some_and(is_foreign) {
                mistakes.push(format!(
                    "{}:{line}: a layer names another: `{}`",
                    file.shown,
                    path.join("::")
                ));
            }
        }
    }
    report(&mistakes);
}

#[test]
fn files_are_short_enough_to_be_read_at_once() {
    let too_long = |file: &Source| {
        let lines = file.length();
        (lines > LONGEST_FILE && !STILL_TOO_LONG.contains(&file.shown.as_str()))
            .then(|| format!("{}: {lines} lines, at most {LONGEST_FILE}", file.shown))
    };
    report(&production().iter().filter_map(too_long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short_enough_to_be_read_at_once() {
    let mut mistakes = Vec::new();
    for file in production() {
        for Function { line, name, lines } in file.functions() {
            let shown = &file.shown;
            let is_excused = STILL_TOO_LONG_FUNCTIONS.contains(&format!("{shown} {name}").as_str());
            if lines > LONGEST_FUNCTION && !is_excused {
                mistakes.push(format!(
                    "{shown}:{line}: `{name}` has {lines} lines, at most {LONGEST_FUNCTION}"
                ));
            }
        }
    }
    report(&mistakes);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = |file: &Source| {
        (!file.raw.starts_with("//! "))
            .then(|| format!("{}:1: opens without a `//!` sentence", file.shown))
    };
    report(&sources().iter().filter_map(silent).collect::<Vec<_>>());
}

/// The tests above pass on an empty folder too, so that the scan itself is held to something known.
#[test]
fn the_scan_sees_imports_functions_and_tests() {
    let raw = r##"//! x
use crate::{alarm::Alarm, body::{self, Body}, http1, layer::{retry::Budget}};
pub(in crate::layer) fn one(a: &str) -> [u8; 2] {
    let _ = ("crate::config", '"', b'{', r#"crate::cli {"#); // crate::cli
    super::super::error::of(crate::limit::decide)
}
#[cfg(test)]
mod tests {
    use crate::config;
}
"##;
    let file = Source::new(PathBuf::from("layer/policy.rs"), raw.to_owned());
    let seen: Vec<_> = file
        .imports()
        .into_iter()
        .map(|import| (import.line, import.path.join(" ")))
        .collect();
    let expected = [
        (2, "alarm Alarm"),
        (2, "body self"),
        (2, "body Body"),
        (2, "http1"),
        (2, "layer retry"),
        (3, "layer"),
        (5, "limit decide"),
        (5, "error of"),
    ];
    assert_eq!(seen, expected.map(|(line, path)| (line, path.to_owned())));
    let functions: Vec<_> = file
        .functions()
        .into_iter()
        .map(|function| (function.name, function.lines))
        .collect();
    assert_eq!(functions, [("one".to_owned(), 4)]);
    assert_eq!(file.length(), 6);
}

fn report(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

/// A file under `src/`.
struct Source {
    /// As an editor opens it.
    shown: String,
    raw: String,
    /// The same length and lines, without comments, literals and tests.
    code: String,
    /// Its module's path: `layer`, `retry`, `budget`.
    parts: Vec<String>,
    /// Where modules that it declares are.
    folder: PathBuf,
}

struct Import {
    line: usize,
    /// From the crate's root, its first one or two names.
    path: Vec<String>,
}

struct Function {
    line: usize,
    name: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let raw = fs::read_to_string(&path).unwrap();
                found.push(Source::new(
                    path.strip_prefix(&root).unwrap().to_owned(),
                    raw,
                ));
            }
        }
    }
    assert!(found.len() > 50, "found only {} files", found.len());
    found.sort_by(|one, other| one.shown.cmp(&other.shown));
    found
}

/// Sources that are not only there for tests: without files that some `#[cfg(test)] mod NAME;` declares.
fn production() -> Vec<Source> {
    let all = sources();
    let tests: Vec<PathBuf> = all.iter().flat_map(Source::test_modules).collect();
    let is_test = |file: &Source| {
        let path = Path::new(&file.shown)
            .strip_prefix("src")
            .unwrap()
            .with_extension("");
        tests.iter().any(|test| path.starts_with(test))
    };
    all.into_iter().filter(|file| !is_test(file)).collect()
}

impl Source {
    fn new(path: PathBuf, raw: String) -> Self {
        let stem = path.with_extension("");
        let is_whole_folder =
            stem.ends_with("mod") || path == Path::new("lib.rs") || path == Path::new("main.rs");
        let folder = if is_whole_folder {
            stem.parent().unwrap().to_owned()
        } else {
            stem.clone()
        };
        let named = if stem.ends_with("mod") {
            &folder
        } else {
            &stem
        };
        let parts = named
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let code = without_tests(&without_literals(&raw));
        Self {
            shown: Path::new("src").join(path).to_string_lossy().into_owned(),
            raw,
            code,
            parts,
            folder,
        }
    }

    fn module(&self) -> &str {
        &self.parts[0]
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Lines up to the last that is not a test.
    fn length(&self) -> usize {
        self.code.trim_end().lines().count()
    }

    fn test_modules(&self) -> Vec<PathBuf> {
        let code = without_literals(&self.raw);
        let declared = code.match_indices(TEST).filter_map(|(at, _)| {
            let name = code[at + TEST.len()..]
                .trim_start()
                .strip_prefix("mod ")?
                .split_once(';')?
                .0
                .to_owned();
            name.chars().all(is_of_word).then_some(name)
        });
        declared.map(|name| self.folder.join(name)).collect()
    }

    fn imports(&self) -> Vec<Import> {
        let roots: &[&str] = if self.module() == "main" {
            &["crate", "tidegate"]
        } else {
            &["crate"]
        };
        let mut found = Vec::new();
        for root in roots {
            for at in words(&self.code, root) {
                self.import(at, &self.code[at + root.len()..], &[], &mut found);
            }
        }
        for at in words(&self.code, "super") {
            // Only the first of a chain; the others are counted from there.
            if !self.code[..at].trim_end().ends_with("::") {
                let mut parts = self.parts.clone();
                let mut rest = &self.code[at..];
                while let Some(after) = rest.strip_prefix("super") {
                    parts.pop();
                    rest = after.strip_prefix("::").unwrap_or(after);
                }
                let after = if rest.starts_with(is_of_word) || rest.starts_with('{') {
                    rest
                } else {
                    ""
                };
                self.import(at, &format!("::{after}"), &parts, &mut found);
            }
        }
        found
    }

    /// What follows `crate` or a chain of `super`s: `::name::other` or `::{name, other::{..}}`.
    fn import(&self, at: usize, after: &str, parent: &[String], found: &mut Vec<Import>) {
        let Some(after) = after.strip_prefix("::") else {
            return;
        };
        let line = self.line(at);
        for names in paths(after, 2) {
            let path = parent.iter().cloned().chain(names).take(2).collect();
            found.push(Import { line, path });
        }
    }

    fn functions(&self) -> Vec<Function> {
        let function = |at: usize| {
            let after = self.code[at + 2..].trim_start();
            let name: String = after.chars().take_while(|c| is_of_word(*c)).collect();
            // `fn(u8) -> u8` is a type, and a trait's method may have no body.
            let body = at + self.code[at..].find(['{', ';'])?;
            let body = if self.code[body..].starts_with(';') {
                after_arrays(&self.code, at)?
            } else {
                body
            };
            let end = closing(&self.code, body)?;
            let lines = self.line(end) - self.line(at) + 1;
            (!name.is_empty()).then(|| Function {
                line: self.line(at),
                name,
                lines,
            })
        };
        words(&self.code, "fn")
            .into_iter()
            .filter_map(function)
            .collect()
    }
}

const TEST: &str = "#[cfg(test)]";

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands as a whole word.
fn words(code: &str, word: &str) -> Vec<usize> {
    let is_whole = |at: &usize| {
        !code[..*at].ends_with(is_of_word) && !code[at + word.len()..].starts_with(is_of_word)
    };
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(is_whole)
        .collect()
}

/// The first `depth` names of a path, or of each path in a group.
fn paths(text: &str, depth: usize) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group)
            .into_iter()
            .flat_map(|member| paths(member, depth))
            .collect();
    }
    let name: String = text.chars().take_while(|c| is_of_word(*c)).collect();
    if name.is_empty() {
        return Vec::new();
    }
    let after = text[name.len()..].strip_prefix("::").filter(|_| depth > 1);
    let tails = after
        .map(|after| paths(after, depth - 1))
        .unwrap_or_default();
    if tails.is_empty() {
        return vec![vec![name]];
    }
    tails
        .into_iter()
        .map(|tail| [vec![name.clone()], tail].concat())
        .collect()
}

/// What stands between the commas of a group, up to the brace that ends it.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}

/// The opening brace of a function whose signature holds an array's semicolon; `None` for one without a body.
fn after_arrays(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at + offset),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(open + offset);
        }
    }
    None
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(at) = out[from..].find(TEST).map(|at| from + at) {
        let Some(open) = out[at..].find(['{', ';']).map(|open| at + open) else {
            break;
        };
        let end = if out[open..].starts_with(';') {
            open
        } else {
            closing(&out, open).unwrap_or(out.len() - 1)
        };
        out.replace_range(at..=end, &blank(&out[at..=end]));
        from = end;
    }
    out
}

/// Blanks comments, strings and characters, and keeps lines and lengths.
fn without_literals(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let length = literal(rest, out.ends_with(is_of_word)).unwrap_or(0);
        if length > 0 {
            out.push_str(&blank(&rest[..length]));
        } else {
            out.push(c);
        }
        rest = &rest[length.max(if length == 0 { c.len_utf8() } else { 0 })..];
    }
    out
}

fn blank(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

/// How long the comment or literal is that `rest` begins with.
fn literal(rest: &str, in_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if let Some(after) = rest.strip_prefix('"') {
        return Some(1 + until_unescaped(after, '"'));
    }
    if !in_word && let Some(length) = raw_string(rest) {
        return Some(length);
    }
    character(rest)
}

fn until_unescaped(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

/// A character, not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(1 + until_unescaped(inside, '\''));
    }
    inside[first.len_utf8()..]
        .starts_with('\'')
        .then_some(first.len_utf8() + 2)
}

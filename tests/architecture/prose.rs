//! Plain English in comments, messages and documents: no sentence begins with a
//! relative pronoun, and no task, client or request is a "he".
//!
//! "Who joined the line by the old number is looked at here" has to be read
//! twice; "Requests queued under the old limit are checked again here" does
//! not.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use crate::{report, source::all};

#[test]
fn sentences_begin_with_their_subject_and_nobody_is_a_he() {
    let mistakes: Vec<_> = by_area().into_values().flatten().collect();
    report(&mistakes);
}

/// The sentences that are found, by the top-level module or the document.
pub fn by_area() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in all() {
        let area = format!("src/{}", source.area());
        let sentences = found.entry(area).or_default();
        sentences.extend(odd_sentences(&source.shown, &comments(&source.raw)));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in documents(root) {
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let sentences = odd_sentences(&shown, &paragraphs(&text));
        found.insert(shown, sentences);
    }
    found
}

/// A run of lines that belong together.
struct Paragraph {
    line: usize,
    text: String,
}

static BEGINS_ODDLY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?:^|[.!?:]["')]?\s+)(?:[-*+] |\d+\. |[|#]+ )?(?:What|Who|Whom|Whose|Whatever|Whoever)\b[^.?!]*[.?!]?"#,
    )
    .unwrap()
});
static IS_A_HE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:[Hh]e|[Hh]im|[Hh]is|[Hh]imself)\b").unwrap());

fn odd_sentences(shown: &str, paragraphs: &[Paragraph]) -> Vec<String> {
    let mut found = Vec::new();
    for Paragraph { line, text } in paragraphs {
        for sentence in BEGINS_ODDLY.find_iter(text) {
            // A question may begin with its pronoun.
            if !sentence.as_str().ends_with('?') {
                let begin = sentence
                    .as_str()
                    .trim_start_matches(['.', '!', '?', ':', ' ']);
                found.push(format!("  {shown}:{line}: {begin}"));
            }
        }
        for pronoun in IS_A_HE.find_iter(text) {
            found.push(format!("  {shown}:{line}: \"{}\"", pronoun.as_str()));
        }
    }
    found
}

/// The comments of a Rust file, and the texts that begin a string.
fn comments(raw: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut open: Option<Paragraph> = None;
    let mut is_example = false;
    for (at, whole) in raw.lines().enumerate() {
        let line = whole.trim_start();
        let comment = ["///", "//!", "//"]
            .into_iter()
            .find_map(|marker| line.strip_prefix(marker))
            .map(str::trim);
        if let Some("```" | "```text" | "```toml" | "```json") = comment {
            is_example = !is_example;
        }
        match comment {
            Some(text) if !text.is_empty() && !is_example && !text.starts_with(['*', '-']) => {
                append(&mut open, at + 1, text);
            }
            Some(text) if text.starts_with(['*', '-']) && !is_example => {
                found.extend(open.take());
                append(&mut open, at + 1, text.trim_start_matches(['*', '-', ' ']));
            }
            _ => found.extend(open.take()),
        }
        if comment.is_none() {
            let after = line.split_once("// ").map(|(_, text)| text);
            found.extend(after.map(|text| paragraph(at + 1, text)));
            let strings = line.split('"').skip(1).step_by(2);
            found.extend(strings.map(|text| paragraph(at + 1, text)));
        }
    }
    found.extend(open);
    found
}

fn paragraph(line: usize, text: &str) -> Paragraph {
    let text = text.to_owned();
    Paragraph { line, text }
}

fn append(open: &mut Option<Paragraph>, line: usize, text: &str) {
    match open {
        Some(paragraph) => {
            paragraph.text.push(' ');
            paragraph.text.push_str(text);
        }
        None => *open = Some(paragraph(line, text)),
    }
}

/// The paragraphs, headings, list items and cells of a document without its
/// examples.
fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut open: Option<Paragraph> = None;
    let mut is_example = false;
    for (at, whole) in text.lines().enumerate() {
        let line = whole.trim();
        if line.starts_with("```") {
            is_example = !is_example;
        }
        let is_code = is_example || whole.starts_with("    ");
        let starts_anew = line.starts_with(['#', '-', '*', '|']);
        if line.is_empty() || is_code || starts_anew {
            found.extend(open.take());
        }
        if is_code || line.is_empty() {
            continue;
        }
        if line.starts_with('|') {
            let cells = line
                .split('|')
                .map(str::trim)
                .filter(|cell| !cell.is_empty());
            found.extend(cells.map(|cell| paragraph(at + 1, cell)));
        } else {
            append(
                &mut open,
                at + 1,
                line.trim_start_matches(['#', '-', '*', ' ']),
            );
        }
    }
    found.extend(open);
    found
}

/// Every document in Markdown outside of `target`.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![
        root.join("README.md"),
        root.join("CONTRIBUTING.md"),
        root.join("CHANGELOG.md"),
    ];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

//! Which files depend on each other, and the circles among them.
//!
//! A file depends on each file that declares something it names. A `mod.rs`
//! that only re-exports a name does not depend on its file, and whoever uses
//! the re-export depends on the file that declares it.

use std::collections::BTreeMap;

use crate::{
    names::Names,
    report,
    source::{Source, production},
};

/// A circle of two files is one thought in two halves; more cannot be read one
/// after the other.
const LARGEST_CIRCLE: usize = 2;

#[test]
fn no_circle_of_files_is_larger_than_two() {
    let large = circles()
        .into_iter()
        .filter(|circle| circle.len() > LARGEST_CIRCLE);
    let mistakes: Vec<_> = large
        .map(|circle| format!("a circle:\n{}", arrows(&circle)))
        .collect();
    report(&mistakes);
}

/// Every circle of at least two files.
pub fn circles() -> Vec<Vec<&'static str>> {
    let graph = dependencies();
    let mut search = Search {
        graph: &graph,
        numbers: BTreeMap::new(),
        lowest: BTreeMap::new(),
        stack: Vec::new(),
        circles: Vec::new(),
    };
    for file in graph.keys() {
        if !search.numbers.contains_key(file) {
            search.visit(file);
        }
    }
    search.circles.sort();
    search.circles
}

/// For each file the files that it depends on, each with the first place that
/// names something of it.
type Graph = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

fn dependencies() -> Graph {
    let names = Names::of_the_crate();
    let shown: BTreeMap<&str, &'static str> = production()
        .map(|source| (source.shown.as_str(), source.shown.as_str()))
        .collect();
    let mut graph = Graph::new();
    for source in production() {
        let to = graph.entry(&source.shown).or_default();
        for Place { line, module, path } in places(source) {
            for file in names.files(module, path) {
                if file != source.shown {
                    let why = || format!("{line}: {}", path.join("::"));
                    to.entry(shown[file]).or_insert_with(why);
                }
            }
        }
    }
    graph
}

/// A path and where it stands.
struct Place<'a> {
    line: usize,
    module: &'a [String],
    path: &'a [String],
}

/// The paths by which a file depends on others.
fn places(source: &Source) -> impl Iterator<Item = Place<'_>> {
    let imports = source.facts.imports.iter();
    let imports = imports.filter(|import| !import.is_re_export && import.name.is_some());
    let imports = imports.map(|import| Place {
        line: import.line,
        module: &import.module,
        path: &import.path,
    });
    let mentions = source.facts.mentions.iter().map(|mention| Place {
        line: mention.line,
        module: &mention.module,
        path: &mention.path,
    });
    imports.chain(mentions)
}

/// The dependencies between the files of a circle, one a line.
fn arrows(circle: &[&'static str]) -> String {
    let graph = dependencies();
    let mut lines = Vec::new();
    for file in circle {
        for (to, why) in graph[file].iter().filter(|(to, _)| circle.contains(*to)) {
            lines.push(format!("  {file}:{why} -> {to}"));
        }
    }
    lines.join("\n")
}

/// Tarjan's search for strongly connected components.
struct Search<'a> {
    graph: &'a Graph,
    numbers: BTreeMap<&'static str, usize>,
    lowest: BTreeMap<&'static str, usize>,
    stack: Vec<&'static str>,
    circles: Vec<Vec<&'static str>>,
}

impl Search<'_> {
    fn visit(&mut self, file: &'static str) {
        let number = self.numbers.len();
        self.numbers.insert(file, number);
        self.lowest.insert(file, number);
        self.stack.push(file);
        for next in self.graph[file].keys() {
            let reached = match self.numbers.get(next) {
                None => {
                    self.visit(next);
                    self.lowest[next]
                }
                Some(number) if self.stack.contains(next) => *number,
                Some(_) => continue,
            };
            self.lowest
                .entry(file)
                .and_modify(|low| *low = reached.min(*low));
        }
        if self.lowest[file] == number {
            let start = self.stack.iter().position(|one| *one == file).unwrap();
            let mut circle = self.stack.split_off(start);
            circle.sort_unstable();
            if circle.len() > 1 {
                self.circles.push(circle);
            }
        }
    }
}

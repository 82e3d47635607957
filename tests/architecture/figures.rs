//! What is measured of the source and not tested, printed as a table:
//! `cargo test --test architecture -- --ignored --nocapture figures`.

use crate::{
    circles::circles,
    lengths::LONGEST_FUNCTION,
    path, prose,
    source::{Source, production},
    twins::twins,
};

#[test]
#[ignore = "prints figures and tests nothing"]
fn figures() {
    print_twins();
    print_circles();
    print_sizes();
    print_prose();
}

fn row(figure: &str, value: impl std::fmt::Display) {
    println!("| {figure:<64} | {value:>12} |");
}

fn print_twins() {
    let twins = twins();
    row(
        "types outside `policy` and `config` with a twin there",
        twins.len(),
    );
    for twin in twins {
        println!(
            "    policy::{} = {} ({}:{})",
            twin.policy, twin.name, twin.file, twin.line
        );
    }
}

fn print_circles() {
    let circles = circles();
    let large = || circles.iter().filter(|circle| circle.len() > 2);
    row("circles of two files", circles.len() - large().count());
    row("circles of more files", large().count());
    row("files in them", large().map(Vec::len).sum::<usize>());
    for circle in &circles {
        println!("    {}", circle.join(", "));
    }
}

/// Lines of the source without its tests.
#[derive(Default)]
struct Lines {
    all: usize,
    documentation: usize,
    code: usize,
}

impl Lines {
    fn count(&mut self, source: &Source) {
        for line in source.raw.lines().take(source.facts.length) {
            let line = line.trim_start();
            self.all += 1;
            if line.starts_with("///") || line.starts_with("//!") {
                self.documentation += 1;
            } else if !line.is_empty() && !line.starts_with("//") {
                self.code += 1;
            }
        }
    }
}

fn print_sizes() {
    let mut lines = Lines::default();
    let mut config = Lines::default();
    for source in production() {
        lines.count(source);
        if source.area() == "config" {
            config.count(source);
        }
    }
    row("files", production().count());
    row("lines", lines.all);
    row("lines of `config`", config.all);
    row("lines of code of `config`", config.code);
    row("files that a plain GET runs through", path::files());
    row("lines of its functions", path::lines());
    row(
        "lines that are documentation, percent",
        share(lines.documentation, lines.all, 100),
    );
    let opened = production().filter(|source| source.raw.starts_with("//! "));
    row(
        "files that open with `//!`, percent",
        share(opened.count(), production().count(), 100),
    );
    let functions = production().flat_map(|source| &source.facts.functions);
    let long = functions.filter(|function| function.lines > LONGEST_FUNCTION);
    row("functions of more than 60 lines", long.count());
    let closures = production().map(|source| source.facts.closures).sum();
    row(
        "closures in 1000 lines of code",
        share(closures, lines.code, 1000),
    );
    let tuples = production().map(|source| source.facts.tuple_lets).sum();
    row(
        "`let`s of a tuple in 1000 lines of code",
        share(tuples, lines.code, 1000),
    );
}

fn share(part: usize, whole: usize, of: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
    let share = part as f64 * of as f64 / whole as f64;
    format!("{share:.1}")
}

fn print_prose() {
    let areas = prose::by_area();
    row(
        "sentences that begin with What or Who, or have a he",
        areas.values().map(Vec::len).sum::<usize>(),
    );
    for (area, found) in areas.iter().filter(|(_, found)| !found.is_empty()) {
        println!("    (\"{area}\", {}),", found.len());
    }
}

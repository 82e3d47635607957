//! The head of the file, which says what came out of the source, and the same
//! in a sentence.

use super::{
    notes::printable,
    toml::{Counts, Document},
};

/// In what the two differ for every configuration.
const GENERALLY: [&str; 5] = [
    "In general:",
    "- The most specific route counts, not the order of the file; requests without a route get 404.",
    "- Bodies of requests are streamed to the service. A path that a service could read in two ways gets 400.",
    "- A server that fails 5 times in a row gets no requests for 10s (NGINX: once), unless other servers fail in the same way.",
    "- Clients over HTTP/2 are served by every listener; X-Forwarded-For and its like are written for every service.",
];

/// The whole file.
pub(super) fn file(source: &str, document: &Document<'_>) -> String {
    let source = printable(source);
    let mut lines = vec![
        format!("Made from {source} by `tidegate import`."),
        String::new(),
    ];
    let Counts {
        lost,
        differs,
        needless,
    } = document.counts();
    lines.push(format!("Carried over: {}.", carried(document)));
    lines.push(format!("Not carried over: {lost}. Differs: {differs}. Not needed: {needless}. Each has a comment with its line."));
    let unguarded = document.unguarded();
    if !unguarded.is_empty() {
        lines.push(String::new());
        lines.push(
            "LOOK AT THESE FIRST, as they guard something and are not carried over:".to_owned(),
        );
        lines.extend(unguarded.iter().map(|line| format!("  {line}")));
    }
    lines.push(String::new());
    lines.extend(GENERALLY.map(str::to_owned));
    let mut out = String::new();
    for line in lines {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    out + &document.body().0
}

/// The same in a sentence.
pub(super) fn sentence(document: &Document<'_>) -> String {
    let Counts { lost, differs, .. } = document.counts();
    let mut said = format!(
        "{}; {lost} not carried over, {differs} with another meaning",
        carried(document)
    );
    let unguarded = document.unguarded().len();
    if unguarded > 0 {
        let verb = if unguarded == 1 { "guards" } else { "guard" };
        said += &format!("; {unguarded} of them {verb} something, see the head of the result");
    }
    said
}

fn carried(document: &Document<'_>) -> String {
    let count = |number: usize, thing: &str| {
        format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
    };
    [
        count(document.blocks_of("[[listeners]]"), "listener"),
        count(document.blocks_of("[upstreams."), "upstream"),
        count(document.blocks_of("[limits."), "limit"),
        count(document.blocks_of("[[routes]]"), "route"),
    ]
    .join(", ")
}

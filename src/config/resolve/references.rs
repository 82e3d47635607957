//! Names: each route has its own, and those it mentions exist.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        problem::{Code, Problem, Problems},
        source::Span,
        suggest,
        tree::Node,
    },
    reader::Reader,
};

/// What routes may name. `None`: not known, because part of the configuration could not be read.
#[derive(Debug)]
pub(super) struct Names<'a> {
    upstreams: Option<BTreeSet<&'a str>>,
    limits: Option<BTreeSet<&'a str>>,
}

impl<'a> Names<'a> {
    /// All names that are given; a broken upstream exists, too.
    pub(super) fn of(root: &Reader<'a>, problems: &Problems) -> Self {
        let names = |key| {
            let known = !problems.incomplete && !root.is_broken(key);
            known.then(|| root.named(key).into_iter().map(|(name, _)| name).collect())
        };
        Self { upstreams: names("upstreams"), limits: names("limits") }
    }

    pub(super) fn check_upstream(&self, node: &Node, problems: &mut Problems) {
        check(self.upstreams.as_ref(), "upstream", node, problems);
    }

    pub(super) fn check_limits(&self, nodes: &[Node], problems: &mut Problems) {
        nodes.iter().for_each(|node| check(self.limits.as_ref(), "limit", node, problems));
    }
}

fn check(known: Option<&BTreeSet<&str>>, what: &str, node: &Node, problems: &mut Problems) {
    let (Some(known), Some(name)) = (known, node.text()) else { return };
    if known.contains(name) {
        return;
    }
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it: `[{what}s.{name}]`"),
    };
    let message = format!("there is no {what} `{name}`");
    problems.report(Problem::new(Code::UnknownName, node.span, message).label(format!("no such {what}")).help(help));
}

/// No two routes have one name.
pub(super) fn unique_names(routes: &[Reader<'_>], problems: &mut Problems) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for route in routes {
        let Some(name) = route.text("name") else { continue };
        match first.get(name) {
            None => drop(first.insert(name, route.place("name"))),
            Some(first) => {
                let problem =
                    Problem::new(Code::Duplicate, route.place("name"), format!("two routes are named `{name}`"));
                let help = "a name is a route's identity in logs, metrics and over reloads; give each its own";
                problems.report(problem.also(*first, "first here").help(help));
            }
        }
    }
}

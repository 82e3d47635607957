//! Exceptions of a limit that no key gets: an earlier one takes it, or the value is a pattern of another language.

use std::collections::HashSet;

use super::super::{
    super::{
        problem::{Code, Problem, Problems},
        tree::Node,
    },
    reader::Reader,
};
use crate::policy::{Limit, ValuePattern};

/// Earlier exceptions for more than one key that a later one is compared with. Exact values are looked up.
const MOST_WIDE: usize = 64;

pub(super) fn report(limit_table: Reader<'_>, limit: &Limit, problems: &mut Problems) {
    let mut exact: HashSet<String> = HashSet::new();
    let mut wide: Vec<&[ValuePattern]> = Vec::new();
    for (table, one) in limit_table
        .tables("overrides")
        .into_iter()
        .zip(&limit.overrides)
    {
        let is_taken = |patterns: &Vec<ValuePattern>| {
            exact.contains(&format!("{patterns:?}"))
                || wide.iter().any(|earlier| covers(earlier, patterns))
        };
        if !one.matches.is_empty() && one.matches.iter().all(is_taken) {
            let message = "this is never looked at: an override before it takes all that it matches, and the first wins";
            let problem = Problem::warning(Code::NeverMatches, table.at, message);
            problems.report(problem.help("put the narrower one first, or take it out"));
        }
        for patterns in &one.matches {
            if patterns.iter().any(is_wide) && wide.len() < MOST_WIDE {
                wide.push(patterns);
            } else {
                exact.insert(format!("{patterns:?}"));
            }
        }
        let is_pattern = |node: &&Node| {
            let text = node.text().unwrap_or_default();
            text.len() > 1
                && (text.ends_with('*')
                    || text.starts_with('*')
                    || text.starts_with('^') && text.ends_with('$'))
        };
        if let Some(node) = table
            .items("match")
            .iter()
            .flat_map(Node::items)
            .find(is_pattern)
        {
            let message = "only a key with these very characters is meant: a value is no pattern";
            let problem = Problem::warning(Code::NeverMatches, node.span, message);
            problems.report(problem.help(
                "write whole values, as many as needed in one `match`; \"*\" alone is any value",
            ));
        }
    }
}

fn is_wide(pattern: &ValuePattern) -> bool {
    match pattern {
        ValuePattern::Any => true,
        ValuePattern::Network(network) => network.prefix_len() < network.max_prefix_len(),
        ValuePattern::Text(_) => false,
    }
}

fn covers(earlier: &[ValuePattern], later: &[ValuePattern]) -> bool {
    earlier.iter().zip(later).all(|pair| match pair {
        (ValuePattern::Any, _) => true,
        (ValuePattern::Network(earlier), ValuePattern::Network(later)) => earlier.contains(later),
        (earlier, later) => earlier == later,
    })
}

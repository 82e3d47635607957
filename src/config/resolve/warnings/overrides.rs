//! Overrides of a limit that no key gets: an earlier one takes it, or the value
//! is a pattern of another language.

use std::collections::HashSet;

use crate::config::{
    field::Given,
    problem::{Code, Problems},
    source::Span,
    wire::limits::{self as wire, Override},
};
use crate::policy::{Limit, ValuePattern};

/// Earlier patterns for more than one key that a later one is compared with, so
/// that the time for a list of thousands stays linear. Exact values are looked
/// up.
const MOST_WIDE: usize = 64;

/// Reports overrides of one limit. They are walked in their order, as the first
/// that matches wins.
///
/// An override is never looked at if each of its patterns is taken by an
/// earlier override. Patterns of the same override are not compared with each
/// other.
pub(super) fn report(table: &wire::Limit, limit: &Limit, problems: &mut Problems) {
    let mut earlier = Earlier::default();
    for (field, one) in table.overrides.elements().iter().zip(&limit.overrides) {
        if !one.matches.is_empty() && one.matches.iter().all(|patterns| earlier.takes(patterns)) {
            let message = "this is never looked at: an override before it takes all that it matches, and the first wins";
            let help = "put the narrower one first, or take it out";
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
        for patterns in &one.matches {
            earlier.add(patterns);
        }
        if let Some(at) = field.value().and_then(pattern_of_others) {
            let message = "only a key with these very characters is meant: a value is no pattern";
            let help =
                "write whole values, as many as needed in one `match`; \"*\" alone is any value";
            problems.warn(Code::NeverMatches, at, message, help);
        }
    }
}

/// The keys that the overrides before one take.
#[derive(Default)]
struct Earlier<'a> {
    /// Patterns without a wide value, and wide ones above [`MOST_WIDE`], as
    /// text.
    exact: HashSet<String>,
    /// Patterns that may take more than one key, at most [`MOST_WIDE`].
    wide: Vec<&'a [ValuePattern]>,
}

impl<'a> Earlier<'a> {
    /// Whether no key is left for these patterns.
    fn takes(&self, patterns: &[ValuePattern]) -> bool {
        self.exact.contains(&format!("{patterns:?}"))
            || self.wide.iter().any(|earlier| covers(earlier, patterns))
    }

    /// Adds patterns, which later ones are compared with.
    fn add(&mut self, patterns: &'a [ValuePattern]) {
        if patterns.iter().any(is_wide) && self.wide.len() < MOST_WIDE {
            self.wide.push(patterns);
        } else {
            self.exact.insert(format!("{patterns:?}"));
        }
    }
}

/// The place of a value that looks like a pattern.
fn pattern_of_others(table: &Override) -> Option<Span> {
    let keys = table.r#match.elements().iter();
    let mut values = keys.flat_map(Given::elements);
    let pattern = values.find(|field| {
        let text = field.value().map_or("", |value| &value.text);
        let is_bounded = text.starts_with('^') && text.ends_with('$');
        text.len() > 1 && (text.ends_with('*') || text.starts_with('*') || is_bounded)
    })?;
    Some(pattern.at())
}

/// Whether a value takes more than one key.
fn is_wide(pattern: &ValuePattern) -> bool {
    match pattern {
        ValuePattern::Any => true,
        ValuePattern::Network(network) => network.prefix_len() < network.max_prefix_len(),
        ValuePattern::Text(_) => false,
    }
}

/// Whether the earlier pattern takes every key that the later one takes.
fn covers(earlier: &[ValuePattern], later: &[ValuePattern]) -> bool {
    earlier.iter().zip(later).all(|pair| match pair {
        (ValuePattern::Any, _) => true,
        (ValuePattern::Network(earlier), ValuePattern::Network(later)) => earlier.contains(later),
        (earlier, later) => earlier == later,
    })
}

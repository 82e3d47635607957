//! The regular expressions of one host in the route match, all tried in one
//! pass over the path.
//!
//! # Cost
//!
//! All expressions are searched for together, in time that is linear in the
//! length of the path: the crate `regex` does not backtrack. A path that no
//! expression takes costs one search, others cost two. Expressions come from
//! the configuration, and the compiled size of each is bounded. The scratch
//! memory of a match is pooled by the crate.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use regex::bytes::{RegexSet, RegexSetBuilder};

/// Routes whose path is a regular expression.
#[derive(Debug)]
pub(super) struct Regexes {
    /// All expressions, each anchored at both ends.
    set: RegexSet,
    /// The rank of each expression's route; ascending, so that the order of the
    /// set is that of precedence.
    ranks: Box<[usize]>,
}

/// Sets that are already compiled: a route with a hundred hosts compiles its
/// expression once, and all share its memory.
pub(super) type Sets<'a> = HashMap<Vec<&'a str>, RegexSet, RandomState>;

impl Regexes {
    /// Compiles expressions, given in the order of their ranks.
    ///
    /// `sets` holds the sets of earlier hosts of the same table, and gets this
    /// one.
    ///
    /// # Errors
    /// The expressions together exceed the bound on their compiled size, or one
    /// of them is no expression.
    pub(super) fn build<'a>(
        patterns: &[(usize, &'a str)],
        sets: &mut Sets<'a>,
    ) -> Result<Self, regex::Error> {
        let (ranks, patterns): (Vec<usize>, Vec<&str>) = patterns.iter().copied().unzip();
        let set = match sets.get(&patterns) {
            Some(set) => set.clone(),
            None => sets
                .entry(patterns.clone())
                .or_insert(compile(&patterns)?)
                .clone(),
        };
        Ok(Self {
            set,
            ranks: ranks.into(),
        })
    }

    /// The best route whose expression takes the whole of `path` and that
    /// `admits` the rest of the request.
    ///
    /// `admits` is asked for ranks from the best on, until it returns true, and
    /// only for expressions that match.
    pub(super) fn find(&self, path: &[u8], admits: impl Fn(usize) -> bool) -> Option<usize> {
        // `*` is no path; only routes for every path take it.
        if !path.starts_with(b"/") {
            return None;
        }
        // Invalid UTF-8 becomes U+FFFD, which `.` matches: otherwise a single
        // 0xff would lead a request around `/admin/.*`.
        let path = String::from_utf8_lossy(path);
        // Checked first because it allocates nothing, unlike the list of
        // matches.
        if !self.set.is_match(path.as_bytes()) {
            return None;
        }
        self.set
            .matches(path.as_bytes())
            .iter()
            .map(|at| self.ranks[at])
            .find(|&rank| admits(rank))
    }
}

/// Compiles expressions into one set, each for the whole path.
fn compile(patterns: &[&str]) -> Result<RegexSet, regex::Error> {
    // The group keeps an alternative from escaping the anchors, and inline
    // flags from reaching them.
    RegexSetBuilder::new(patterns.iter().map(|pattern| format!("^(?:{pattern})$")))
        .size_limit(PATTERN_BYTES.saturating_mul(patterns.len()))
        .build()
}

/// Bytes up to which one expression compiles by default. A set gets that much
/// for each expression, so that those that compile alone also compile together.
const PATTERN_BYTES: usize = 10 << 20;

//! The regular expressions of one host in the route match, all tried in one
//! pass over the path.

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

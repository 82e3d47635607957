//! The second step of the route match: from the request's path to the routes of
//! one host, in the order of path classes.

use super::{
    fixed::Fixed,
    lookup::{Rank, Ranked},
    parameters::Parameters,
    regexes::{Regexes, Sets},
};
use crate::policy::PathPattern;

/// The routes of one host by path.
#[derive(Debug)]
pub(super) struct Paths {
    fixed: Fixed,
    parameters: Parameters,
    regexes: Option<Regexes>,
}

impl Paths {
    /// Arranges the routes of one host, given in the order of their ranks.
    pub(super) fn build<'a>(
        routes: &[Ranked<'a>],
        sets: &mut Sets<'a>,
    ) -> Result<Self, regex::Error> {
        let (mut fixed, mut parameters, mut patterns) =
            (Fixed::default(), Parameters::default(), Vec::new());
        for &Ranked { rank, path } in routes {
            match path {
                PathPattern::Any => fixed.insert_prefix("", rank),
                PathPattern::Prefix(prefix) => fixed.insert_prefix(prefix, rank),
                PathPattern::Exact(path) => fixed.insert_exact(path, rank),
                PathPattern::Parameters(pattern) => parameters.insert(pattern, rank),
                PathPattern::Regex(pattern) => patterns.push((rank, pattern.as_str())),
            }
        }
        let regexes = if patterns.is_empty() {
            None
        } else {
            Some(Regexes::build(&patterns, sets)?)
        };
        Ok(Self {
            fixed,
            parameters,
            regexes,
        })
    }

    /// The best route for `path` that `admits` the rest of the request.
    pub(super) fn find(&self, path: &[u8], admits: &impl Fn(Rank) -> bool) -> Option<Rank> {
        let first = |ranks: &[Rank]| ranks.iter().copied().find(|&rank| admits(rank));
        let walk = self.fixed.walk(path);
        first(walk.exact())
            // Of several patterns that match the path, none is more specific:
            // the ranks decide.
            .or_else(|| self.parameters.walk(path).filter_map(first).min())
            .or_else(|| self.regexes.as_ref()?.find(path, admits))
            .or_else(|| walk.prefixes().find_map(first))
    }
}

//! The first step of the route match: from the request's host to the routes for
//! it, most specific first.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{lookup::Rank, paths::Paths, trie::Trie};
use crate::policy::HostPattern;

/// Paths by host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<str>, Paths, RandomState>,
    /// Suffixes by label from the right. A tree, because with a map of suffixes
    /// a host of thousands of labels would need thousands of suffixes to be
    /// hashed as a whole.
    wildcards: Trie<Option<Paths>>,
    any: Option<Paths>,
}

impl Hosts {
    /// Sets the paths of a host, which has none yet; `None` is any host.
    pub(super) fn insert(&mut self, host: Option<&HostPattern>, paths: Paths) {
        match host {
            Some(HostPattern::Exact(host)) => drop(self.exact.insert(host.as_str().into(), paths)),
            Some(HostPattern::Wildcard(suffix)) => {
                *self.wildcards.entry(suffix.rsplit('.')) = Some(paths)
            }
            None => self.any = Some(paths),
        }
    }

    /// The first route that `look` finds: under the exact host, then the
    /// wildcards from the longest, then any host.
    pub(super) fn find(&self, host: &str, look: impl Fn(&Paths) -> Option<Rank>) -> Option<Rank> {
        (self.exact.get(host).and_then(&look))
            // Usually there are no wildcards, and the host need not be split.
            .or_else(|| {
                if self.wildcards.is_empty() {
                    None
                } else {
                    self.wildcards(host).find_map(&look)
                }
            })
            .or_else(|| self.any.as_ref().and_then(&look))
    }

    /// The paths of the wildcards that match `host`, the longest first.
    fn wildcards(&self, host: &str) -> impl Iterator<Item = &Paths> {
        let (mut place, mut rest) = (self.wildcards.root(), host);
        // Stops before the first label: `*.x` requires at least one more.
        while let Some((before, label)) = rest
            .rsplit_once('.')
            .filter(|(before, _)| !before.is_empty())
        {
            let Some(next) = place.step(label.as_bytes()) else {
                break;
            };
            (place, rest) = (next, before);
        }
        place.upwards().flatten()
    }
}

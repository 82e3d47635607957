//! First step of the route match: from the request's host to the routes that answer to it, most specific first.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{Rank, paths::Paths, trie::Trie};
use crate::policy::HostPattern;

/// Paths by host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<str>, Paths, RandomState>,
    /// Suffixes by label from the right. A tree and not a map of suffixes: a host of thousands of labels would have
    /// thousands of suffixes, each to be hashed whole.
    wildcards: Trie<Option<Paths>>,
    any: Option<Paths>,
}

impl Hosts {
    /// Sets the paths of a host that has none yet; `None` is any host.
    pub(super) fn insert(&mut self, host: Option<&HostPattern>, paths: Paths) {
        match host {
            Some(HostPattern::Exact(host)) => drop(self.exact.insert(host.as_str().into(), paths)),
            Some(HostPattern::Wildcard(suffix)) => {
                *self.wildcards.entry(suffix.rsplit('.')) = Some(paths)
            }
            None => self.any = Some(paths),
        }
    }

    /// What `look` finds first: under the exact host, the wildcards from the longest, any host.
    pub(super) fn find(&self, host: &str, look: impl Fn(&Paths) -> Option<Rank>) -> Option<Rank> {
        (self.exact.get(host).and_then(&look))
            // Mostly there are none, and the host need not be taken apart.
            .or_else(|| {
                if self.wildcards.is_empty() {
                    None
                } else {
                    self.wildcards(host).find_map(&look)
                }
            })
            .or_else(|| self.any.as_ref().and_then(&look))
    }

    /// Paths of the wildcards that take `host`, the longest first.
    fn wildcards(&self, host: &str) -> impl Iterator<Item = &Paths> {
        let (mut place, mut rest) = (self.wildcards.root(), host);
        // A label with nothing before it is not stepped over: `*.x` wants at least one more.
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

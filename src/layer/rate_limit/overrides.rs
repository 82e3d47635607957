//! Which key has other numbers than its limit: exact values by one look into a table, however many there are; networks
//! one by one.
//!
//! Patterns are sorted into groups by which parts of the key they fix. A request makes one key for each group, over just
//! these parts, and looks for it; the pattern that stands first in the file wins.

use std::{collections::HashMap, net::IpAddr};

use foldhash::fast::RandomState;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    super::key::{KeyPart, feed_text},
    LimitPolicy, key,
};
use crate::{
    call::Exchange,
    limit::{Gcra, Key, KeyBuilder},
};

/// Exceptions of one limit.
#[derive(Debug, Default)]
pub struct Overrides {
    groups: Vec<Group>,
    /// By place in the file; after them those of `stand_ins`.
    numbers: Vec<Option<Gcra>>,
    /// The place of the numbers for keys in which another part stands in for an absent one.
    stand_ins: Option<usize>,
}

/// What a part of the key has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Anything.
    Any,
    /// This value.
    Text(Box<str>),
    /// The client's address in this network, which is no narrower than the key's own.
    Network(IpNet),
}

/// Patterns that fix the same parts.
#[derive(Debug)]
struct Group {
    /// Which parts these are; networks that are wider than a bucket are none of them.
    fixed: Box<[bool]>,
    /// By the key over the fixed parts: the first in the file.
    exact: HashMap<Key, usize, RandomState>,
    /// Those with networks, in the order of the file.
    networks: Vec<Network>,
}

#[derive(Debug)]
struct Network {
    place: usize,
    /// All of these hold the client's address.
    within: SmallVec<[IpNet; 1]>,
    /// Over the fixed parts.
    key: Key,
}

impl Overrides {
    /// One more exception, for keys that match any of `patterns`; each has an item for each part of the key, which is
    /// begun as `begun`. Without numbers it passes everything.
    pub fn push(
        &mut self,
        begun: &KeyBuilder,
        parts: &[KeyPart],
        patterns: &[Vec<Pattern>],
        numbers: Option<Gcra>,
    ) {
        let place = self.numbers.len();
        self.numbers.push(numbers);
        for pattern in patterns {
            self.sort_in(place, begun, parts, pattern);
        }
    }

    /// Numbers for keys in which another part stands in for an absent one. To be called after all [`Self::push`]es.
    pub fn set_stand_ins(&mut self, numbers: Gcra) {
        self.stand_ins = Some(self.numbers.len());
        self.numbers.push(Some(numbers));
    }

    fn sort_in(
        &mut self,
        place: usize,
        begun: &KeyBuilder,
        parts: &[KeyPart],
        pattern: &[Pattern],
    ) {
        let (mut builder, mut within) = (begun.clone(), SmallVec::new());
        let mut fixed = Vec::with_capacity(parts.len());
        for (part, pattern) in parts.iter().zip(pattern) {
            let (is_fixed, fed) = match (pattern, part) {
                (Pattern::Any, _) => (false, builder),
                (Pattern::Text(text), part) => (true, feed_text(builder, part, text)),
                (Pattern::Network(net), KeyPart::ClientIp(prefix))
                    if is_one_bucket(net, *prefix) =>
                {
                    (true, builder.ip(net.network(), *prefix))
                }
                (Pattern::Network(net), _) => {
                    within.push(*net);
                    (false, builder)
                }
            };
            builder = fed;
            fixed.push(is_fixed);
        }
        let (key, group) = (builder.finish(), self.group(fixed.into()));
        if within.is_empty() {
            group.exact.entry(key).or_insert(place);
        } else {
            group.networks.push(Network { place, within, key });
        }
    }

    fn group(&mut self, fixed: Box<[bool]>) -> &mut Group {
        let at = self
            .groups
            .iter()
            .position(|group| group.fixed == fixed)
            .unwrap_or_else(|| {
                self.groups.push(Group {
                    fixed,
                    exact: HashMap::default(),
                    networks: Vec::new(),
                });
                self.groups.len() - 1
            });
        &mut self.groups[at]
    }

    /// The exception for a request with this key, by its place; nothing if there is none. Patterns are about values of the
    /// key: no pattern, not even one for any value, is about a request without one.
    pub(super) fn find(&self, limit: &LimitPolicy, key: Key, exchange: &Exchange) -> Option<usize> {
        if key::has_stand_in(limit, exchange) {
            return self.stand_ins;
        }
        let place = |group: &Group| {
            let is_whole = group.fixed.iter().all(|fixed| *fixed);
            let key = if is_whole {
                key
            } else {
                key::find_some(limit, &group.fixed, exchange)?
            };
            group.find(key, exchange.client.ip)
        };
        self.groups.iter().filter_map(place).min()
    }

    /// What is allowed there; nothing if that is everything.
    pub(super) fn numbers(&self, place: usize) -> Option<&Gcra> {
        self.numbers.get(place).and_then(Option::as_ref)
    }
}

impl Group {
    fn find(&self, key: Key, client: IpAddr) -> Option<usize> {
        let exact = self.exact.get(&key).copied();
        let before = self
            .networks
            .iter()
            .take_while(|network| exact.is_none_or(|exact| network.place < exact));
        let holds = |network: &&Network| {
            network.key == key && network.within.iter().all(|net| net.contains(&client))
        };
        before
            .filter(holds)
            .map(|network| network.place)
            .next()
            .or(exact)
    }
}

/// Whether all of a network has the same key.
fn is_one_bucket(net: &IpNet, v6_prefix: u8) -> bool {
    match net {
        IpNet::V4(v4) => v4.prefix_len() == 32,
        IpNet::V6(v6) => v6.prefix_len() == v6_prefix,
    }
}

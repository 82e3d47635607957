//! Allowances that some keys of a limit have instead of its own: those named by
//! `overrides`, those of `stand_ins`, and those of `plans`.
//!
//! Patterns are sorted into groups by the parts of the key that they fix. For
//! each group a request makes one key over just these parts and looks it up, so
//! exact values cost one look-up however many there are. Networks are compared
//! one by one. Of all patterns that match, the first in the file wins.
//!
//! # Cost
//!
//! A look-up costs one hash over the fixed parts for each group, and one
//! comparison for each network that stands before the exact match in the file.
//! The number of groups is bounded by the ways in which patterns fix parts, and
//! does not grow with the number of keys. Nothing is locked: overrides do not
//! change between reloads.
//!
//! # Which key counts
//!
//! Overrides compare keys and not texts, in the spelling that requests get
//! (`key::spelling`). A pattern for a credential therefore also matches the
//! other spellings that share its bucket. A key in which another part stands in
//! for an absent one has `stand_ins` or the limit's own allowance, and never an
//! override.

use std::{collections::HashMap, iter, net::IpAddr};

use foldhash::fast::RandomState;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    super::key::named,
    key,
    limits::{Counter, KeyAllowance},
};
use crate::{
    call::Exchange,
    limit::{Key, KeyBuilder, KeyValue, LimiterError},
    policy::{KeyPart, Limit, ValuePattern},
};

/// The overrides of one limit.
#[derive(Debug)]
pub struct Overrides {
    /// The patterns, sorted by the parts that they fix. Each group is searched
    /// for each request.
    groups: Vec<PatternGroup>,
    /// In the order of the file.
    rules: Vec<Rule>,
    /// The rule for keys in which another part stands in for an absent one.
    stand_ins: Option<Rule>,
    /// The rules of plans, for keys that no override names.
    plans: HashMap<Box<str>, Rule, RandomState>,
}

/// A replacement for the limit's own allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every request is admitted, by the tiers as well.
    Unlimited,
    /// This allowance counts.
    Allowed(KeyAllowance),
}

/// Patterns that fix the same parts.
#[derive(Debug)]
struct PatternGroup {
    /// For each part of the key, whether the patterns fix it. A network wider
    /// than a bucket fixes nothing.
    fixed: Box<[bool]>,
    /// The first rule in the file for each key over the fixed parts.
    exact: HashMap<Key, usize, RandomState>,
    /// Patterns with networks, in the order of the file.
    networks: Vec<Network>,
}

/// A pattern that fixes parts and says in which networks the client has to be.
#[derive(Debug)]
struct Network {
    rule: usize,
    /// The client's address is in all of these.
    within: SmallVec<[IpNet; 1]>,
    /// The key over the fixed parts.
    key: Key,
}

impl Overrides {
    /// Builds the overrides of `limit`, whose keys begin as `begun`; `None` if
    /// it has none.
    ///
    /// # Errors
    /// Fails if single keys of the limit have had too many different quotas.
    pub fn build(
        limit: &Limit,
        counter: &Counter,
        begun: &KeyBuilder,
    ) -> Result<Option<Self>, LimiterError> {
        if limit.overrides.is_empty() && limit.stand_ins.is_none() && limit.plans.is_empty() {
            return Ok(None);
        }
        let rule = |allowance| counter.prepare(allowance).map(Rule::Allowed);
        let mut built = Self {
            groups: Vec::new(),
            rules: Vec::with_capacity(limit.overrides.len()),
            stand_ins: limit.stand_ins.map(rule).transpose()?,
            plans: HashMap::default(),
        };
        for plan in &limit.plans {
            let rule = plan.allowance.map_or(Ok(Rule::Unlimited), rule)?;
            built.plans.insert(plan.name.clone(), rule);
        }
        for one in &limit.overrides {
            let rule = one.allowance.map_or(Ok(Rule::Unlimited), rule)?;
            let index = built.rules.len();
            built.rules.push(rule);
            for pattern in &one.matches {
                built.sort_in(index, begun, &limit.key, pattern);
            }
        }
        Ok(Some(built))
    }

    /// Adds one pattern of the rule with index `rule`. A network that is a
    /// single bucket is an exact value; a wider one is compared by itself.
    fn sort_in(
        &mut self,
        rule: usize,
        begun: &KeyBuilder,
        parts: &[KeyPart],
        pattern: &[ValuePattern],
    ) {
        let (mut builder, mut within) = (begun.clone(), SmallVec::new());
        let mut fixed = Vec::with_capacity(parts.len());
        for (part, pattern) in iter::zip(parts, pattern) {
            let value = match pattern {
                ValuePattern::Any => None,
                ValuePattern::Text(text) => Some(KeyValue::Text(named(part, text.as_bytes()))),
                ValuePattern::Network(net) => {
                    let bucket = one_bucket(net, part);
                    if bucket.is_none() {
                        within.push(*net);
                    }
                    bucket
                }
            };
            if let Some(value) = &value {
                builder.add(part, value);
            }
            fixed.push(value.is_some());
        }
        let (key, group) = (builder.finish(), self.group(fixed.into()));
        if within.is_empty() {
            group.exact.entry(key).or_insert(rule);
        } else {
            group.networks.push(Network { rule, within, key });
        }
    }

    /// The group of the patterns that fix these parts; made if there is none
    /// yet.
    fn group(&mut self, fixed: Box<[bool]>) -> &mut PatternGroup {
        let known = self.groups.iter().position(|group| group.fixed == fixed);
        let index = known.unwrap_or_else(|| {
            self.groups.push(PatternGroup {
                fixed,
                exact: HashMap::default(),
                networks: Vec::new(),
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// The rule for a request with this key; `None` if the limit's own allowance
    /// counts. Patterns are about values of the key: none of them, not even one
    /// for any value, is about a request that lacks a part.
    ///
    /// `key` is the whole key of the request, which saves a hash for patterns
    /// that fix all parts.
    pub(super) fn find(
        &self,
        begun: &KeyBuilder,
        limit: &Limit,
        key: Key,
        exchange: &Exchange,
    ) -> Option<Rule> {
        if key::has_stand_in(limit, exchange) {
            return self.stand_ins.or_else(|| self.of_plan(exchange));
        }
        let mut first: Option<usize> = None;
        for group in &self.groups {
            let key = if group.fixed.contains(&false) {
                key::partial(begun, limit, &group.fixed, exchange)?
            } else {
                key
            };
            if let Some(rule) = group.find(key, exchange.client.ip)
                && first.is_none_or(|first| rule < first)
            {
                first = Some(rule);
            }
        }
        match first {
            Some(first) => self.rules.get(first).copied(),
            None => self.of_plan(exchange),
        }
    }

    /// The rule of the client's plan; `None` if it has none that the limit
    /// names.
    fn of_plan(&self, exchange: &Exchange) -> Option<Rule> {
        let plan = exchange.identified.get()?.plan.as_deref()?;
        self.plans.get(plan).copied()
    }
}

impl PatternGroup {
    /// The index of the first rule in the file that matches, with `key` over
    /// the fixed parts of the group and a client at this address. `None` if no
    /// pattern of the group matches.
    fn find(&self, key: Key, client: IpAddr) -> Option<usize> {
        let exact = self.exact.get(&key).copied();
        for network in &self.networks {
            if exact.is_some_and(|exact| network.rule >= exact) {
                break;
            }
            if network.key == key && network.within.iter().all(|net| net.contains(&client)) {
                return Some(network.rule);
            }
        }
        exact
    }
}

/// The value of `part` that all addresses of a network have; `None` if they
/// have several.
fn one_bucket(net: &IpNet, part: &KeyPart) -> Option<KeyValue<'static>> {
    let KeyPart::ClientIp(prefixes) = *part else {
        return None;
    };
    let is_one = net.prefix_len() == prefixes.bits(net);
    is_one.then(|| KeyValue::Address(net.trunc()))
}

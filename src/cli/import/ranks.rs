//! The order of expressions.
//!
//! NGINX takes the first expression of the file that a path has. The gateway
//! asks routes with `methods` first, then those with more conditions on
//! clients, and only then goes by the order of the file. So that a route with
//! conditions does not take what an earlier location refuses, the earlier one
//! gets conditions that hold for everybody, and is written a second time with
//! the methods of the later one.

use ipnet::IpNet;

use super::{
    access::Conditions,
    names::Names,
    pcre::head,
    toml::{Block, text},
    whole::are_disjoint,
};

/// The response to clients whom the rules of a location keep out.
pub(super) const REFUSED: &str = "respond = { status = 403 }";
/// Later routes that are looked at one by one. More count as one that has paths
/// in common with all.
const MOST_LATER: usize = 256;
/// Every client. `0.0.0.0/0` and `::/0`
const ALL: [IpNet; 2] = [
    IpNet::V4(ipnet::Ipv4Net::new_assert(
        std::net::Ipv4Addr::UNSPECIFIED,
        0,
    )),
    IpNet::V6(ipnet::Ipv6Net::new_assert(
        std::net::Ipv6Addr::UNSPECIFIED,
        0,
    )),
];
/// No client: nobody connects from the address of all.
const NONE: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(
    std::net::Ipv4Addr::BROADCAST,
    32,
));

/// A route, in the order of NGINX.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// Without its name and its match.
    pub(super) block: Block,
    /// The lines behind its match.
    pub(super) tables: Vec<String>,
    pub(super) name: String,
    /// The conditions of the share of its server, and of its path.
    pub(super) base: Vec<String>,
    pub(super) own: Conditions,
    /// Its `path_regex`, if it has one.
    pub(super) expression: Option<String>,
}

impl Rule {
    /// The route for those who may not use this one.
    pub(super) fn refused(&self) -> Self {
        let mut block = Block::titled("all others of this location");
        block.lines.push(REFUSED.to_owned());
        Self {
            block,
            name: format!("{} refused", self.name),
            base: self.base.clone(),
            expression: self.expression.clone(),
            ..Self::default()
        }
    }
}

/// The conditions of later routes, up to which an earlier one has to be raised.
#[derive(Debug, Clone, Default)]
struct Need {
    /// The text that its paths begin with.
    head: String,
    /// Conditions on clients.
    fields: usize,
    methods: Vec<String>,
}

impl Need {
    fn add(&mut self, other: &Self) {
        self.fields = self.fields.max(other.fields);
        for method in &other.methods {
            if !self.methods.contains(method) {
                self.methods.push(method.clone());
            }
        }
    }
}

/// The blocks of the rules, which the gateway asks in this order.
pub(super) fn ordered(rules: Vec<Rule>, names: &mut Names) -> Vec<Block> {
    let mut later: Vec<Need> = Vec::new();
    let mut ordered = Vec::new();
    // Methods that the rule before takes, for the same clients.
    let taken: Vec<Vec<String>> = (0..rules.len())
        .map(
            |at| match at.checked_sub(1).map(|before| [&rules[before], &rules[at]]) {
                Some([before, rule])
                    if before.base == rule.base
                        && before.own.clients == rule.own.clients
                        && before.own.not_clients == rule.own.not_clients =>
                {
                    before.own.methods.clone()
                }
                _ => Vec::new(),
            },
        )
        .collect();
    for (mut rule, taken) in rules.into_iter().zip(taken).rev() {
        let Some(expression) = &rule.expression else {
            ordered.push(rule);
            continue;
        };
        let head = head(expression).to_owned();
        let mut need = Need::default();
        let common = later
            .iter()
            .filter(|other| !are_disjoint(&other.head, &head));
        common.for_each(|other| need.add(other));
        raise(&mut rule, need.fields);
        need.methods.retain(|method| !taken.contains(method));
        let copy = (rule.own.methods.is_empty() && !need.methods.is_empty())
            .then(|| copy(&rule, need.methods));
        for rule in [Some(rule), copy].into_iter().flatten() {
            remember(&mut later, &rule.own, &head);
            ordered.push(rule);
        }
    }
    let ordered = ordered.into_iter().rev();
    ordered.map(|rule| written(rule, names)).collect()
}

/// Gives a rule so many conditions on clients.
fn raise(rule: &mut Rule, fields: usize) {
    if fields_of(&rule.own) >= fields {
        return;
    }
    let told = "the networks are those of all clients: the route is asked before a later expression with conditions, as in NGINX";
    rule.block.title.push(told.to_owned());
    if rule.own.clients.is_empty() {
        rule.own.clients = ALL.to_vec();
    }
    if fields_of(&rule.own) < fields {
        rule.own.not_clients = vec![NONE];
    }
}

/// The same route for these methods only.
fn copy(rule: &Rule, methods: Vec<String>) -> Rule {
    let told = "the same as the next route, for the methods of a later expression: routes with methods are asked first";
    let mut block = Block::titled(told);
    block.lines.clone_from(&rule.block.lines);
    Rule {
        block,
        tables: rule.tables.clone(),
        name: format!("{} methods", rule.name),
        base: rule.base.clone(),
        own: Conditions {
            methods,
            ..rule.own.clone()
        },
        expression: rule.expression.clone(),
    }
}

fn fields_of(conditions: &Conditions) -> usize {
    let lists = [&conditions.clients, &conditions.not_clients];
    lists.iter().filter(|list| !list.is_empty()).count()
}

fn remember(later: &mut Vec<Need>, own: &Conditions, head: &str) {
    let need = Need {
        head: head.to_owned(),
        fields: fields_of(own),
        methods: own.methods.clone(),
    };
    if need.fields == 0 && need.methods.is_empty() {
        return;
    }
    later.push(need);
    if later.len() > MOST_LATER {
        let mut all = Need::default();
        later.iter().for_each(|need| all.add(need));
        *later = vec![all];
    }
}

/// Writes the name and the match.
fn written(rule: Rule, names: &mut Names) -> Block {
    let Rule {
        mut block,
        mut tables,
        name,
        base,
        own,
        ..
    } = rule;
    if block.lines.is_empty() {
        // Nothing but comments.
        return block;
    }
    let mut lines = vec!["[[routes]]".to_owned()];
    lines.push(format!("name = {}", text(&names.unique(&name))));
    lines.append(&mut block.lines);
    let conditions = [base, own.lines()].concat();
    if !conditions.is_empty() {
        lines.push(format!("match = {{ {} }}", conditions.join(", ")));
    }
    lines.append(&mut tables);
    block.lines = lines;
    block
}

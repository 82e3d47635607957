//! Keys that a `map` empties for some networks, so that their requests are not
//! counted: the way in which NGINX exempts networks from a limit.
//!
//! ```text
//! geo $counted { default 1; 10.0.0.0/8 0; }
//! map $counted $key { 0 ""; 1 $binary_remote_addr; }
//! limit_req_zone $key zone=one:10m rate=10r/s;
//! ```

use std::collections::BTreeMap;

use super::{
    access,
    tree::{Directive, Place},
    variables::Key,
};

/// The `map` and `geo` of a file, by the variable that each makes.
#[derive(Debug, Default)]
pub(super) struct Variables<'a> {
    made: BTreeMap<&'a str, &'a Directive>,
}

/// A key with the networks that are not counted.
#[derive(Debug)]
pub(super) struct Exempting {
    pub(super) key: Key,
    pub(super) networks: Vec<String>,
    /// Where the two directives stand.
    pub(super) places: [Place; 2],
}

impl<'a> Variables<'a> {
    /// Adds `map` or `geo`.
    pub(super) fn add(&mut self, directive: &'a Directive) {
        let variable = directive.arguments.last().map_or("", String::as_str);
        if let Some(name) = variable.strip_prefix('$') {
            self.made.insert(name, directive);
        }
    }

    /// All of them.
    pub(super) fn directives(&self) -> impl Iterator<Item = &'a Directive> {
        self.made.values().copied()
    }

    /// Reads a variable as a key of this kind; `None` if it is another one.
    pub(super) fn exempting(&self, name: &str) -> Option<Exempting> {
        let map = self.made.get(name).filter(|map| map.name == "map")?;
        let source = map.argument(0).strip_prefix('$')?;
        let geo = self.made.get(source).filter(|geo| geo.name == "geo")?;
        let is_of_clients = geo.arguments.len() == 1;
        if !is_of_clients {
            return None;
        }
        let mut counted = None;
        for entry in map
            .inside()
            .iter()
            .filter(|entry| !entry.argument(0).is_empty())
        {
            let key = Key::read(entry.argument(0)).ok()?;
            if counted.as_ref().is_some_and(|other| *other != key) {
                return None;
            }
            counted = Some(key);
        }
        let key = counted.filter(|key| key.parts == ["client-ip"])?;
        let mut networks = Vec::new();
        let mut default = "";
        for entry in geo.inside() {
            let is_counted = !mapped(map, entry.argument(0))?.is_empty();
            match (entry.name.as_str(), is_counted) {
                ("default", _) => default = entry.argument(0),
                // A network within an exempt one would be counted again.
                (_, true) => return None,
                (network, false) => networks.push(network.to_owned()),
            }
        }
        let is_network = |text: &String| access::network(text).is_some();
        let is_counted = !mapped(map, default)?.is_empty();
        (is_counted && networks.iter().all(is_network)).then_some(Exempting {
            key,
            networks,
            places: [map.place, geo.place],
        })
    }
}

/// The value that a `map` gives for another; `None` if it has an expression.
fn mapped<'m>(map: &'m Directive, value: &str) -> Option<&'m str> {
    let mut default = "";
    for entry in map.inside() {
        match entry.name.as_str() {
            name if name == value && !matches!(name, "default" | "hostnames" | "volatile") => {
                return Some(entry.argument(0));
            }
            "default" => default = entry.argument(0),
            name if name.starts_with('~') => return None,
            _ => {}
        }
    }
    Some(default)
}

//! `limit_req` and `limit_conn` as limits.
//!
//! NGINX keeps a rate and a state for each key in a zone, and each place that
//! names the zone brings its own burst. A limit of tidegate has both, so that a
//! zone with two bursts becomes two limits, with buckets of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    exemptions::Variables,
    names::{Names, table_name},
    notes::{Note, Outcome},
    scope::Scope,
    toml::{self, Block},
    tree::{Directive, Place, Tree},
    units::{self, ZoneRate},
    variables::Key,
};

/// The longest `delay`, in milliseconds.
const LONGEST_DELAY: u64 = 60_000;
/// The status of refusals in NGINX.
const NGINX_STATUS: u16 = 503;
/// The status of refusals here.
const OWN_STATUS: u16 = 429;

/// A zone, and what it is keyed by.
#[derive(Debug)]
struct Zone<'a> {
    directive: &'a Directive,
    /// Or the name of a variable that no key has.
    key: Result<Key, String>,
    /// Networks that are not counted.
    exempt: Vec<String>,
    /// `None` for connections, and for a rate that cannot be read.
    rate: Option<ZoneRate>,
    is_used: bool,
}

/// Everything in which two limits of one zone can differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Variant {
    zone: String,
    numbers: Numbers,
    status: u16,
    is_shadow: bool,
    /// The server, if the key has `$server_name`.
    server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Numbers {
    /// Further requests at once, and how many of them do not wait.
    Rate {
        burst: u64,
        undelayed: u64,
    },
    InFlight(u64),
}

/// The zones of a file, and the limits that have been made of them.
#[derive(Debug, Default)]
pub(super) struct Limits<'a> {
    zones: BTreeMap<&'a str, Zone<'a>>,
    made: BTreeMap<Variant, String>,
    names: Names,
    /// The zones and servers that have a limit.
    seen: BTreeSet<(String, Option<String>)>,
    /// The `map` and `geo` of the file.
    pub(super) variables: Variables<'a>,
    /// Where those stand that have become exemptions.
    pub(super) carried: BTreeSet<Place>,
    /// One for each limit.
    pub(super) blocks: Vec<Block>,
}

impl<'a> Limits<'a> {
    /// Reads `limit_req_zone` or `limit_conn_zone`.
    pub(super) fn zone(&mut self, directive: &'a Directive) {
        let arguments = directive.arguments.iter();
        let name = arguments
            .clone()
            .find_map(|text| text.strip_prefix("zone="));
        let name = name.unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default();
        let rate = arguments
            .clone()
            .find_map(|text| text.strip_prefix("rate="));
        let zone = Zone {
            directive,
            key: Key::read(directive.argument(0)),
            exempt: Vec::new(),
            rate: rate.and_then(ZoneRate::read),
            is_used: false,
        };
        self.zones.entry(name).or_insert(zone);
    }

    /// Reads the keys that a `map` empties for some networks. All of them are
    /// known by now.
    pub(super) fn exempt(&mut self) {
        for zone in self.zones.values_mut() {
            let Err(variable) = &zone.key else {
                continue;
            };
            let is_alone = zone.directive.argument(0).trim_start_matches('$') == variable;
            let found = self.variables.exempting(variable).filter(|_| is_alone);
            if let Some(found) = found {
                self.carried.extend(found.places);
                zone.key = Ok(found.key);
                zone.exempt = found.networks;
            }
        }
    }

    /// Notes about zones that no limit is made of. One that a place names guards
    /// something there.
    pub(super) fn unused(&self, tree: &Tree) -> Vec<Note> {
        let mut users: BTreeMap<&str, &Directive> = BTreeMap::new();
        for directive in tree.every() {
            let mut named = directive.arguments.iter();
            let zone = match directive.name.as_str() {
                "limit_req" => named.find_map(|text| text.strip_prefix("zone=")),
                "limit_conn" => named.next().map(String::as_str),
                _ => None,
            };
            zone.map(|zone| users.entry(zone).or_insert(directive));
        }
        let unused = self.zones.iter().filter(|(_, zone)| !zone.is_used);
        let note = |(name, zone): (&&str, &Zone<'a>)| match users.get(name) {
            Some(user) => {
                let place = tree.shown(user.place);
                let why = format!("no route has the limit of {place}");
                Note::new(zone.directive, Outcome::Lost, why)
            }
            None => {
                let why = "nothing limits by this zone";
                Note::new(zone.directive, Outcome::Needless, why)
            }
        };
        unused.map(note).collect()
    }

    /// The names of the limits that count at a place of this server.
    pub(super) fn of(
        &mut self,
        scope: &Scope<'a>,
        server: &str,
        notes: &mut Vec<Note>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for directive in scope.all("limit_req") {
            let variant = requests(directive, scope);
            names.extend(self.limit(directive, variant, server, notes));
        }
        for directive in scope.all("limit_conn") {
            let variant = connections(directive, scope);
            names.extend(self.limit(directive, variant, server, notes));
        }
        names.dedup();
        names
    }

    /// The limit of a variant; makes it if it is the first of its kind.
    fn limit(
        &mut self,
        directive: &Directive,
        variant: Result<Variant, &'static str>,
        server: &str,
        notes: &mut Vec<Note>,
    ) -> Option<String> {
        let mut lost = |why: &str| {
            notes.push(Note::new(directive, Outcome::Unguarded, why));
            None
        };
        let mut variant = match variant {
            Ok(variant) => variant,
            Err(why) => return lost(why),
        };
        let Some(zone) = self.zones.get_mut(variant.zone.as_str()) else {
            return lost("there is no such zone");
        };
        zone.is_used = true;
        zone.directive.read();
        let key = match &zone.key {
            Ok(key) => key,
            Err(variable) => return lost(&format!("${variable} cannot be in a key")),
        };
        let is_rate = matches!(variant.numbers, Numbers::Rate { .. });
        if is_rate && zone.rate.is_none() {
            return lost("the rate of its zone cannot be read");
        }
        variant.server = key.by_server.then(|| server.to_owned());
        if let Some(name) = self.made.get(&variant) {
            return Some(name.clone());
        }
        let of = (variant.zone.clone(), variant.server.clone());
        let is_second = !self.seen.insert(of);
        let wanted = match &variant.server {
            Some(server) => format!("{}-{server}", variant.zone),
            None => variant.zone.clone(),
        };
        let name = self.names.unique(&wanted);
        let mut block = block(zone, key, &variant, &name);
        if is_second {
            let why = "the zone has other numbers elsewhere; here these are two limits, with buckets of their own";
            let note = Note::new(directive, Outcome::Differs, why);
            block.notes.push(note);
        }
        self.blocks.push(block);
        self.made.insert(variant, name.clone());
        Some(name)
    }
}

/// A limit as the file has it.
fn block(zone: &Zone<'_>, key: &Key, variant: &Variant, name: &str) -> Block {
    let mut block = Block::default();
    block.title.push(format!("zone {} of NGINX", variant.zone));
    let note = |why: &&str| Note::new(zone.directive, Outcome::Differs, *why);
    block.notes.extend(key.differences.iter().map(note));
    write(&mut block, name, key, zone.rate, variant);
    if !zone.exempt.is_empty() {
        let networks = toml::list(&zone.exempt);
        let number = match variant.numbers {
            Numbers::Rate { .. } => "rate",
            Numbers::InFlight(_) => "in_flight",
        };
        let exempt = format!("[{{ match = {networks}, {number} = \"unlimited\" }}]");
        block.set("overrides", &exempt);
    }
    block
}

/// Reads `limit_req zone=one burst=5 nodelay`.
fn requests(directive: &Directive, scope: &Scope<'_>) -> Result<Variant, &'static str> {
    let (mut zone, mut burst, mut undelayed) = (None, 0, 0);
    for argument in &directive.arguments {
        match argument.split_once('=') {
            Some(("zone", name)) => zone = Some(name.to_owned()),
            Some(("burst", number)) => {
                burst = number.parse().map_err(|_| "its burst is no number")?
            }
            Some(("delay", number)) => {
                undelayed = number.parse().map_err(|_| "its delay is no number")?;
            }
            None if argument == "nodelay" => undelayed = u64::MAX,
            _ => return Err("it has an argument that is not known"),
        }
    }
    Ok(Variant {
        zone: zone.ok_or("it names no zone")?,
        numbers: Numbers::Rate {
            burst,
            undelayed: undelayed.min(burst),
        },
        status: status(scope, "limit_req_status"),
        is_shadow: scope.is_on("limit_req_dry_run"),
        server: None,
    })
}

/// Reads `limit_conn addr 10`.
fn connections(directive: &Directive, scope: &Scope<'_>) -> Result<Variant, &'static str> {
    let number = directive
        .argument(1)
        .parse()
        .ok()
        .filter(|number| *number > 0);
    Ok(Variant {
        zone: directive.argument(0).to_owned(),
        numbers: Numbers::InFlight(number.ok_or("it has no number of connections")?),
        status: status(scope, "limit_conn_status"),
        is_shadow: scope.is_on("limit_conn_dry_run"),
        server: None,
    })
}

fn status(scope: &Scope<'_>, name: &str) -> u16 {
    let given = scope.value(name).and_then(|text| text.parse().ok());
    given.unwrap_or(NGINX_STATUS)
}

/// Writes a limit.
fn write(block: &mut Block, name: &str, key: &Key, rate: Option<ZoneRate>, variant: &Variant) {
    block.lines.push(format!("[limits.{}]", table_name(name)));
    if !key.parts.is_empty() {
        block.set("key", &key.parts_toml());
    }
    match (variant.numbers, rate) {
        (Numbers::InFlight(number), _) => block.set("in_flight", &number.to_string()),
        (Numbers::Rate { burst, undelayed }, Some(rate)) => {
            write_rate(block, rate, burst, undelayed, variant.is_shadow);
        }
        (Numbers::Rate { .. }, None) => {}
    }
    if key.may_be_empty {
        block.set("missing", "\"skip\"");
    }
    if variant.status != OWN_STATUS {
        block.set("status", &variant.status.to_string());
        if variant.status == NGINX_STATUS {
            block.title.push(
                "NGINX answers 503 by default; without `status` clients get 429, which says more"
                    .to_owned(),
            );
        }
    }
    if variant.is_shadow {
        block.set("mode", "\"shadow\"");
    }
}

/// Writes a rate with its burst, so that as many requests at once are admitted
/// as in NGINX: the first, and `burst` further ones.
fn write_rate(block: &mut Block, rate: ZoneRate, burst: u64, undelayed: u64, is_shadow: bool) {
    block.set("rate", &format!("\"{}\"", rate.text()));
    let delayed = match is_shadow {
        // Nobody waits for a limit that is only tried.
        true => 0,
        false => burst - undelayed,
    };
    let in_time = LONGEST_DELAY / rate.time_of(1).max(1);
    let waiting = delayed.min(in_time);
    let at_once = (burst - waiting).saturating_add(1);
    block.set("burst", &at_once.to_string());
    if waiting == 0 && delayed == 0 {
        return;
    }
    let mut told = format!(
        "NGINX paces {delayed} requests of the burst, as it has no `nodelay`: here a request waits for its token, at most for `delay`"
    );
    if waiting < delayed {
        told += "; nothing waits for more than 1m here, so that fewer are paced";
    }
    block.title.push(told);
    if waiting > 0 {
        let delay = units::duration(rate.time_of(waiting));
        block.set("delay", &format!("\"{delay}\""));
    }
}

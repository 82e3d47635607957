//! Names that routes mention: they exist, and the route has the parameters that
//! they ask for.
//!
//! A limit or an upstream may be keyed by a parameter of the path, such as `id`
//! of `/orders/{id}`. It is defined apart from routes, so that each route that
//! names it has to have that parameter in its path.
//!
//! # Incomplete files
//!
//! A name counts as unknown only if every definition was read. A syntax error,
//! an included file that cannot be read, or a broken section of the names may
//! hide a definition, and a second mistake about it would mislead.
//!
//! A name that is misspelt in one place gets the nearest defined one as help. A
//! name that resembles none gets the definition that it lacks, ready to be
//! copied.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{definition::definition, process};
use crate::config::{
    characters,
    field::{Field, Given},
    problem::{Code, Problem, Problems},
    source::Span,
    suggest,
    syntax::{path, template},
    wire::{
        File,
        identities::Identity,
        limits::Limit,
        routes::Route,
        tables::{Either, Named, NamedEntry},
        upstreams::Upstream,
    },
};
use crate::policy::{HeaderText, KeyPart, Missing, PathPattern, RequestValue, Template};

/// Most limits and tiers of one route. The record of a decision has a bit for
/// each of them in a `u64`. All of them decide on each request of the route, so
/// that many more would be slow, too.
const MOST_DECIDING: usize = 64;

/// The upstreams and limits that a file defines, which routes may name.
pub(super) struct Definitions<'a> {
    upstreams: Known<'a>,
    limits: Known<'a>,
    identities: Known<'a>,
    listeners: Known<'a>,
}

/// All upstreams or all limits.
struct Known<'a> {
    /// How one of them is called.
    noun: &'static str,
    /// The key of theirs that asks for parameters, as a message calls it.
    key: &'static str,
    /// Their requirements on routes. A broken section is there, too, and asks
    /// for nothing.
    required: BTreeMap<&'a str, Requirements>,
    /// Whether no other name can exist. A part of the file that could not be
    /// read may define one.
    is_complete: bool,
}

/// Requirements of an upstream or a limit on the routes that name it.
#[derive(Default)]
struct Requirements {
    /// Its key. The path of each route has to have the parameters in it.
    key: Vec<KeyPart>,
    /// How many buckets decide: the limit's and one for each tier.
    deciding: usize,
    /// The limit that an identity charges for wrong credentials, which decides
    /// on the route as well.
    charged: Option<Arc<str>>,
}

impl<'a> Definitions<'a> {
    /// The names of a file. They are incomplete if `problems` says that a part
    /// of it could not be read, or if the section of the names is wrong.
    pub(super) fn of(file: &'a File, problems: &Problems) -> Self {
        Self {
            upstreams: Known::new(
                "upstream",
                "`hash_key`",
                &file.upstreams,
                of_upstream,
                problems,
            ),
            limits: Known::new("limit", "key", &file.limits, of_limit, problems),
            identities: Known::new("identity", "", &file.identities, of_identity, problems),
            listeners: Known::listeners(file, problems),
        }
    }
}

/// An upstream that hashes by a parameter requires it of each route, also of
/// those that copy or split.
fn of_upstream(upstream: &Upstream) -> Requirements {
    Requirements {
        key: upstream.hash_key.read().unwrap_or_default(),
        ..Requirements::default()
    }
}

/// An identity requires nothing of a route, but may have a limit that decides.
fn of_identity(identity: &Identity) -> Requirements {
    Requirements {
        charged: identity.limit.read(),
        ..Requirements::default()
    }
}

/// A limit requires the parameters of its key, and of the part that stands in
/// for an absent one.
fn of_limit(limit: &Limit) -> Requirements {
    let mut key = limit.key.read().unwrap_or_default();
    if let Some(Either::Short(missing)) = limit.missing.value()
        && let Missing::Use(part) = &missing.value
    {
        key.push(part.clone());
    }
    Requirements {
        key,
        deciding: 1 + limit.tiers.elements().len(),
        charged: None,
    }
}

/// A route while its keys are resolved: the names that it may mention, the
/// parameters that its path has, and the list of mistakes.
///
/// Its checks report a mistake and return nothing: a name that is unknown
/// leaves no hole in the route, and the configuration is refused anyway.
pub(super) struct RouteContext<'a> {
    /// All that the file defines, shared by all routes.
    names: &'a Definitions<'a>,
    /// Parameters of its path. `None` while the path is wrong: nothing is known
    /// about them then, and nothing is reported.
    parameters: Option<Vec<&'a str>>,
    /// The list of the whole load. Callers report mistakes of the route here,
    /// too.
    pub(super) problems: &'a mut Problems,
}

impl<'a> RouteContext<'a> {
    /// `path` is that of the route, `None` if it is wrong.
    pub(super) fn new(
        names: &'a Definitions<'a>,
        path: Option<&'a PathPattern>,
        problems: &'a mut Problems,
    ) -> Self {
        let parameters = path.map(|path| match path {
            PathPattern::Parameters(path) => path::parameters(path).unwrap_or_default(),
            _ => Vec::new(),
        });
        Self {
            names,
            parameters,
            problems,
        }
    }

    /// The upstream exists, and the path has the parameters by which it chooses
    /// a server.
    pub(super) fn check_upstream(&mut self, name: &str, at: Span) {
        self.check(&self.names.upstreams, name, at);
    }

    /// The limits exist, are not too many, and the path has the parameters by
    /// which they are keyed.
    ///
    /// A limit that stands there twice was reported by the deserializer. The
    /// number of deciding buckets is reported at the list, as no single limit
    /// is to blame for it.
    pub(super) fn check_limits(&mut self, route: &Route) {
        let mut deciding = 0;
        for field in route.limits.elements() {
            if let Some(name) = field.value() {
                deciding += self.check(&self.names.limits, &name.value, field.at());
            }
        }
        deciding += self.charged(route).len();
        if deciding > MOST_DECIDING {
            let message = format!(
                "a route has at most {MOST_DECIDING} limits, including tiers and those of its identities; these are {deciding}"
            );
            self.problems
                .error(Code::Conflict, route.limits.at(), message, "name fewer");
        }
    }

    /// The limits that only the identities of the route name.
    fn charged(&self, route: &Route) -> BTreeSet<Arc<str>> {
        let identities = route.identify.read().unwrap_or_default();
        let required = &self.names.identities.required;
        let charged = identities
            .iter()
            .filter_map(|name| required.get(&**name)?.charged.clone());
        let own = route.limits.read().unwrap_or_default();
        charged.filter(|name| !own.contains(name)).collect()
    }

    /// The listeners exist.
    pub(super) fn check_listeners(&mut self, route: &Route) {
        let Some(matches) = route.r#match.value() else {
            return;
        };
        for field in matches.listeners.elements() {
            if let Some(name) = field.value() {
                self.check(&self.names.listeners, &name.value, field.at());
            }
        }
    }

    /// The identities exist.
    pub(super) fn check_identities(&mut self, route: &Route) {
        for field in route.identify.elements() {
            if let Some(name) = field.value() {
                self.check(&self.names.identities, &name.value, field.at());
            }
        }
    }

    /// Checks a name and its parameters. Returns how many of its buckets
    /// decide.
    ///
    /// An unknown name has no buckets. The parameters are left out while the
    /// path is wrong, and the buckets are still counted.
    fn check(&mut self, known: &Known<'_>, name: &str, at: Span) -> usize {
        let noun = known.noun;
        let Some(required) = known.required.get(name) else {
            if known.is_complete {
                self.problems.report(known.unknown(name, at));
            }
            return 0;
        };
        let Some(parameters) = &self.parameters else {
            return required.deciding;
        };
        for part in &required.key {
            let KeyPart::Param(parameter) = part else {
                continue;
            };
            if parameters.contains(&&**parameter) {
                continue;
            }
            let message = format!(
                "the {} of {noun} `{name}` has `param:{parameter}`, and this route's path has no `{{{parameter}}}`",
                known.key
            );
            let help = format!("write a path such as \"/orders/{{{parameter}}}\", or another key");
            self.problems.error(Code::UnknownName, at, message, help);
        }
        required.deciding
    }

    /// Reports places in the value of a header that nothing on this route fills
    /// in.
    pub(super) fn check_header_text(&mut self, text: &HeaderText, at: Span) {
        let Some(parameters) = self.parameters.clone() else {
            return;
        };
        for value in text.values() {
            if self.is_filled_in(value, at, &parameters) {
                continue;
            }
            let message = format!(
                "nothing fills in `{{{value}}}`: it is neither a word that is known nor a parameter of this route's path"
            );
            let help = template::help_for_header(&value.to_string(), &parameters);
            self.problems.error(Code::UnknownName, at, message, help);
        }
    }

    /// Reports places in a template of a URL that nothing fills in. `built_in`
    /// are those that every route fills in.
    ///
    /// Each unknown place is reported, all of them at the place of the whole
    /// template.
    pub(super) fn check_template(
        &mut self,
        key: &str,
        template: &Template,
        at: Span,
        built_in: &[&str],
    ) {
        let Some(parameters) = self.parameters.clone() else {
            return;
        };
        let known = [built_in, &parameters].concat();
        for value in template.values() {
            if self.is_filled_in(value, at, &parameters) {
                continue;
            }
            let message = format!("nothing fills in `{{{value}}}` of `{key}`");
            let help = match known.as_slice() {
                [] => "parameters come from `match.path`, such as \"/orders/{id}\"; this route has none".to_owned(),
                known => format!("there is `{{{}}}`", known.join("}`, `{")),
            };
            self.problems.error(Code::UnknownName, at, message, help);
        }
    }

    /// Whether a value is no parameter, or one of these. Reports a word that
    /// could mean a parameter as well.
    fn is_filled_in(&mut self, value: &RequestValue, at: Span, parameters: &[&str]) -> bool {
        let name = value.to_string();
        let is_parameter = parameters.contains(&&*name);
        if matches!(value, RequestValue::Param(_)) {
            return is_parameter;
        }
        if is_parameter {
            let message = format!(
                "`{{{name}}}` is a word of the language here, not the parameter of the path"
            );
            let help =
                format!("give the parameter in `match.path` another name, such as `{{{name}_id}}`");
            self.problems.warn(Code::Misleading, at, message, help);
        }
        true
    }
}

impl<'a> Known<'a> {
    /// The requirements of each entry by its name. A broken entry requires
    /// nothing, but its name is known: a route that names it is not wrong.
    fn new<T>(
        noun: &'static str,
        key: &'static str,
        section: &'a Option<Field<Named<T>>>,
        of: fn(&T) -> Requirements,
        problems: &Problems,
    ) -> Self {
        let mut required = BTreeMap::new();
        for NamedEntry { name, field } in section.elements() {
            required.insert(name.as_str(), field.value().map(of).unwrap_or_default());
        }
        Self {
            noun,
            key,
            required,
            is_complete: !problems.incomplete && !section.is_broken(),
        }
    }

    /// The listeners by their names. One on port 0 without a name has none that
    /// a file could know.
    fn listeners(file: &'a File, problems: &Problems) -> Self {
        let mut required = BTreeMap::new();
        let mut is_complete = !problems.incomplete && !file.listeners.is_broken();
        for field in file.listeners.elements() {
            match field.value() {
                Some(listener) if !listener.name.is_broken() => {
                    let name = process::name(listener);
                    required.extend(name.map(|name| (name, Requirements::default())));
                }
                _ => is_complete = false,
            }
        }
        Self {
            noun: "listener",
            key: "",
            required,
            is_complete,
        }
    }

    /// The mistake of a name that is none of these. Its help is the nearest of
    /// them, or how to define the name.
    fn unknown(&self, name: &str, at: Span) -> Problem {
        let noun = self.noun;
        let known: Vec<_> = self.required.keys().copied().collect();
        let help = match suggest::nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?{}", characters::and_stranger(name)),
            None => definition(noun, name),
        };
        let message = format!("there is no {noun} `{name}`");
        let problem = Problem::new(Code::UnknownName, at, message);
        problem.label(format!("no such {noun}")).help(help)
    }
}

//! The changes that a reload has made, by the names of limits, identities,
//! upstreams and routes: for the log and for the response of the admin
//! listener.
//!
//! A report is made of two configurations alone. It knows only names and
//! whether policies are equal, so that it holds no secret.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::config::Config;

/// The change of one limit, identity, upstream or route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The configuration of it is as before, and its state is kept.
    ///
    /// Equality is that of the policy after defaults and includes: comments and
    /// the order of keys in a file do not matter.
    Kept,
    /// Its configuration differs; its state is kept.
    ///
    /// Two things are exceptions. Buckets begin full if their key is another
    /// one now. An identity verifies each credential again.
    Changed,
    /// It was not there before.
    ///
    /// Its state begins anew, also if a thing of this name has existed earlier
    /// in the life of the process.
    New,
    /// It is not there any more.
    ///
    /// Requests that are in flight keep the parts that they use to their end.
    Gone,
}

impl Change {
    /// The word for it in the log and in the admin listener's response.
    pub fn word(self) -> &'static str {
        match self {
            Change::Kept => "kept",
            Change::Changed => "changed",
            Change::New => "new",
            Change::Gone => "gone",
        }
    }
}

/// The changes of a reload, of everything that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Limits by name.
    pub limits: BTreeMap<Arc<str>, Change>,
    /// Identities by name. One whose file has other keys is a changed one.
    pub identities: BTreeMap<Arc<str>, Change>,
    /// Upstreams by name.
    pub upstreams: BTreeMap<Arc<str>, Change>,
    /// Routes by name.
    pub routes: BTreeMap<Arc<str>, Change>,
}

impl Report {
    /// The differences between two configurations.
    ///
    /// `before` is `None` at the start of the process: everything is new then.
    pub(super) fn between(before: Option<&Config>, after: &Config) -> Self {
        Self {
            limits: compare(
                before.map(|config| &*config.limits),
                &after.limits,
                |limit| &limit.name,
            ),
            identities: compare(
                before.map(|config| &*config.identities),
                &after.identities,
                |identity| &identity.name,
            ),
            upstreams: compare(
                before.map(|config| &*config.upstreams),
                &after.upstreams,
                |upstream| &upstream.name,
            ),
            routes: compare(
                before.map(|config| &*config.routes),
                &after.routes,
                |route| &route.name,
            ),
        }
    }

    /// The four kinds with their names.
    ///
    /// Their order is fixed: limits, identities, upstreams, routes. The log has
    /// them in this order.
    pub fn kinds(&self) -> [(&'static str, &BTreeMap<Arc<str>, Change>); 4] {
        [
            ("limits", &self.limits),
            (IDENTITIES, &self.identities),
            ("upstreams", &self.upstreams),
            ("routes", &self.routes),
        ]
    }
}

/// Compares the policies of one kind before and after a reload.
///
/// `name` is unique within a kind. A thing that was renamed is one that is gone
/// and one that is new. The cost is that of one sorted map over all names.
fn compare<T: PartialEq>(
    before: Option<&[Arc<T>]>,
    after: &[Arc<T>],
    name: fn(&T) -> &Arc<str>,
) -> BTreeMap<Arc<str>, Change> {
    let mut earlier = BTreeMap::new();
    let mut changes = BTreeMap::new();
    for policy in before.unwrap_or_default() {
        earlier.insert(name(policy), policy);
        changes.insert(Arc::clone(name(policy)), Change::Gone);
    }
    for policy in after {
        let change = match earlier.get(name(policy)) {
            None => Change::New,
            Some(earlier) if *earlier == policy => Change::Kept,
            Some(_) => Change::Changed,
        };
        changes.insert(Arc::clone(name(policy)), change);
    }
    changes
}

/// The name of a kind that most gateways have nothing of: a log line does not
/// speak of it then.
const IDENTITIES: &str = "identities";

/// Names of a kind that a log line spells out; of more it gives the number.
const MOST_NAMES: usize = 10;

/// One text for a log message, such as `limits: 3 kept, 1 changed (per-client);
/// upstreams: none; routes: 2 kept`. Names of things that were kept are left
/// out, as they are most of a large configuration.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told =
            |(kind, changes): &(&str, &BTreeMap<_, _>)| *kind != IDENTITIES || !changes.is_empty();
        for (index, (kind, changes)) in self.kinds().into_iter().filter(told).enumerate() {
            write!(f, "{}{kind}:", if index == 0 { "" } else { "; " })?;
            let mut separator = " ";
            for change in [Change::Kept, Change::Changed, Change::New, Change::Gone] {
                let mut names = Vec::new();
                for (name, is) in changes {
                    if *is == change {
                        names.push(&**name);
                    }
                }
                if names.is_empty() {
                    continue;
                }
                write!(f, "{separator}{} {}", names.len(), change.word())?;
                if change != Change::Kept {
                    let more = if names.len() > MOST_NAMES {
                        ", …"
                    } else {
                        ""
                    };
                    write!(
                        f,
                        " ({}{more})",
                        names[..names.len().min(MOST_NAMES)].join(", ")
                    )?;
                }
                separator = ", ";
            }
            if changes.is_empty() {
                write!(f, " none")?;
            }
        }
        Ok(())
    }
}

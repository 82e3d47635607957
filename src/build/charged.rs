//! The limits that decide on a route although it does not name them: its
//! identities charge them for wrong credentials.

use std::sync::Arc;

use crate::{config::Config, policy};

/// The limits on wrong credentials that the identities of a route name and the
/// route does not, each once.
pub(super) fn charged<'c>(
    route: &'c policy::Route,
    config: &'c Config,
) -> Vec<&'c Arc<policy::Limit>> {
    let mut charged: Vec<&Arc<policy::Limit>> = Vec::new();
    for name in &route.identify.by {
        let identity = config.identities.iter().find(|one| one.name == *name);
        let Some(name) = identity.and_then(|identity| identity.limit.as_ref()) else {
            continue;
        };
        let is_known = route.limits.contains(name) || charged.iter().any(|one| one.name == *name);
        if !is_known {
            charged.extend(config.limits.iter().find(|limit| limit.name == *name));
        }
    }
    charged
}

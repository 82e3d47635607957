//! `[store]`: the Redis or Valkey through which gateways share limits, and the
//! limits that need it.
//!
//! # One server or a cluster
//!
//! A URL in brackets is a cluster, even if it is the only one: the gateway
//! learns the other nodes from those that are named. A URL without brackets is
//! one server. The form decides, because the scheme and the port are the same
//! for both.
//!
//! # Passwords
//!
//! A password may stand in a URL, or in a file that `password_file` names. The
//! file is watched like the configuration itself, and can be readable to the
//! gateway alone. Its password counts for all servers.

use super::files;
use crate::config::{
    field::Given,
    include::Loading,
    problem::Code,
    wire::{lists::OneOrList, process as wire},
};
use crate::policy::Store;

/// The store. A password from a file replaces those in URLs.
///
/// `None` if the section has a mistake, its password cannot be read, or none of
/// its URLs is sound.
pub(super) fn store(store: &wire::Store, loading: &mut Loading<'_>) -> Option<Store> {
    let mut servers = store.url.read()?;
    // The URL may hold a password where there is no file.
    if let Some(name) = &store.password_file {
        let help = "put the store's password into it, in one line";
        let password = files::secret(name, files::one_line, help, loading)?;
        for server in &mut servers {
            server.password = Some(password.clone());
        }
    }
    // A list of URLs is a cluster, also if it has only one.
    let is_cluster = !OneOrList::is_one_alone(&store.url);
    if is_cluster && servers.iter().any(|server| server.database != 0) {
        let message = "a cluster has no databases besides 0";
        let help = "leave the number at the end of the URL out";
        let at = store.url.at();
        loading.problems.error(Code::Conflict, at, message, help);
    }
    Some(Store {
        servers: Some(servers).filter(|servers| !servers.is_empty())?,
        is_cluster,
        timeout: store.timeout.read()?,
        on_error: store.on_error.value?,
        lease: store.lease.read()?,
    })
}

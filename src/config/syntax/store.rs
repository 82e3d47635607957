//! Where a store is: `"redis://user:password@host:port/database"`, or
//! `"rediss://"` for TLS.
//!
//! The password ends at the last `@`, and may have any character before it:
//! nothing in the URL is an escape.
//!
//! The schemes `valkey` and `valkeys` mean the same as `redis` and `rediss`. A
//! store with a cluster has a list of such URLs, one for each server that is
//! asked first.

use std::sync::Arc;

use super::{super::wrong::Wrong, address};
use crate::policy::{Secret, StoreServer};

/// The port of Redis and Valkey when a URL names none.
const PORT: u16 = 6379;

/// One server of a store.
///
/// # Errors
/// Anything else. No message quotes the text, which may hold a password.
///
/// The user, the password, the port and the database may be absent. The port is
/// then 6379, and the database 0. A text before `@` without a colon is a user
/// without a password; a password from a file may be added to it later.
pub(in crate::config) fn server(text: &str) -> Result<StoreServer, Wrong> {
    let help = "write a URL such as \"redis://127.0.0.1:6379\", or \"rediss://\" for TLS";
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let why = "it begins with neither redis:// nor rediss://";
    let tls = match &*scheme.to_ascii_lowercase() {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(Wrong::new(why, help)),
    };
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(Secret(password.to_owned()))),
        None => (login, None),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { "0" } else { database };
    let why = "what follows the host is not the number of a database";
    let database = database.parse().map_err(|_| Wrong::new(why, help))?;
    let why = "it has no host, with a port from 1 to 65535 or without";
    let address = address::host_and_port(authority, help);
    let (host, port) = address.map_err(|_| Wrong::new(why, help))?;
    Ok(StoreServer {
        host: host.into(),
        port: port.unwrap_or(PORT),
        tls,
        database,
        user: (!user.is_empty()).then(|| Arc::from(user)),
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_store_is_and_who_asks() {
        let plain = server("redis://store").unwrap();
        assert_eq!(
            (&*plain.host, plain.port, plain.tls, plain.database),
            ("store", 6379, false, 0)
        );
        assert_eq!((plain.user, plain.password), (None, None));
        let full = server("rediss://gate:p@ss:word@[::1]:7000/3").unwrap();
        assert_eq!(
            (&*full.host, full.port, full.tls, full.database),
            ("::1", 7000, true, 3)
        );
        assert_eq!(
            (full.user.as_deref(), full.password),
            (Some("gate"), Some(Secret("p@ss:word".to_owned())))
        );
        assert_eq!(server("redis://:secret@store").unwrap().user, None);
    }

    #[test]
    fn what_is_no_url_of_a_store_is_told() {
        for text in [
            "",
            "store:6379",
            "http://store",
            "redis://",
            "redis://store:0",
            "redis://store/one",
        ] {
            assert!(server(text).is_err(), "{text:?}");
        }
    }
}

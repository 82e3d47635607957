//! The vocabulary of the gateway: every policy as plain data, with names
//! resolved, ranges checked and defaults filled in.
//!
//! The configuration resolves into these types ([`config`](crate::config)), and
//! the parts that run take them as they are: the limiter takes a [`Quota`], a
//! layer takes [`Timeouts`], an upstream takes a [`Pool`]. There is no second
//! set of types in between. The module is a leaf: nothing here reads a file,
//! waits, or knows another module.
//!
//! # Parse, don't validate
//!
//! A value of these types is valid by its construction or by the code of
//! `config` that made it, so that the parts that run have no error for it.
//! Ranges that matter to arithmetic are in the types (`NonZeroU32`,
//! [`Quota::new`]). Further ranges are documented at each field and are those
//! of the configuration language. Durations are at most 365 days, sizes of
//! buffers at most 1 GiB.
//!
//! # Identity
//!
//! Limits, upstreams and routes have a name, which is unique among items of
//! their kind. A reload finds the running item of the same name and keeps its
//! state: buckets, connections, the health of servers. All types compare by
//! `==`, which is how a reload tells items that changed from those that did
//! not.
//!
//! # Examples
//!
//! Every default is filled in, and durations and rates are no longer text:
//!
//! ```
//! use std::time::Duration;
//!
//! use tidegate::{config, policy::{Action, PathPattern}};
//!
//! let text = r#"
//!     [upstreams.app]
//!     servers = ["http://127.0.0.1:9000"]
//!
//!     [[routes]]
//!     name = "orders"
//!     upstream = "app"
//!     match = { path_prefix = "/orders" }
//!     timeouts = { total = "5s" }
//! "#;
//! let config = config::parse("tidegate.toml", text, &config::Environment::new()).unwrap();
//! let route = &config.routes[0];
//! assert_eq!(route.matches.path, PathPattern::Prefix("/orders".to_owned()));
//! assert_eq!(route.action, Action::Forward("app".into()));
//! // An attempt may take as long as the whole request, unless it is configured.
//! assert_eq!(route.timeouts.attempt, Duration::from_secs(5));
//! assert_eq!(route.retry.attempts.get(), 2);
//! ```

mod acme;
mod allowance;
mod api_keys;
mod certificate;
mod concurrency;
mod cors;
mod cost;
mod failures;
mod headers;
mod health;
mod identity;
mod json_path;
mod jwt;
mod key;
mod limits;
mod log;
pub mod path;
mod process;
mod quota;
mod refusal;
mod retry;
mod routes;
mod secret;
mod share;
mod statuses;
mod store;
mod template;
mod tls;
mod traces;
mod upstreams;

pub use self::{
    acme::*, allowance::*, api_keys::*, certificate::*, concurrency::*, cors::*, cost::*,
    failures::*, headers::*, health::*, identity::*, json_path::*, jwt::*, key::*, limits::*,
    log::*, process::*, quota::*, refusal::*, retry::*, routes::*, secret::*, share::*,
    statuses::*, store::*, template::*, tls::*, traces::*, upstreams::*,
};

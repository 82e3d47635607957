//! The language as structs: every section with its keys, what each may hold,
//! its default, and a sentence about it.
//!
//! The structs derive [`serde::Deserialize`], and the JSON Schema for editors
//! is derived from them, too. A key is a field:
//!
//! ```text
//! /// Longest wait for requests in flight.
//! // The default total timeout of a route: by then every request has its
//! // response's head.
//! #[serde(default = "Scalar::<AnyDuration>::secs::<30>")]
//! pub(in crate::config) drain: Field<Scalar<AnyDuration>>,
//! ```
//!
//! - The doc comment is the description of the key in the schema, in the help
//!   of diagnostics, and at the beginning of its row in the reference, where a
//!   test holds it. It is one sentence, with semicolons.
//! - The type says what the key may hold, and holds the value that runs.
//! - The default is written as in the file, so that editors and `/config` can
//!   show it; its reason stands beside it. A field without a default is
//!   required, an [`Option`] may be absent.
//!
//! | type | a value such as |
//! |---|---|
//! | [`scalar::Scalar`] of a [`scalar::Syntax`] | `"10s"`, `"GET"`, `"/orders"` |
//! | [`numbers::Whole`] | `100` |
//! | [`scalar::Or`] | `"off"`, or a value of another type |
//! | [`lists::List`] and others | `["a", "b"]`, or `"a"` |
//! | [`tables::Pairs`] | `{ x-version = "2" }` |
//! | [`tables::Named`] | `[limits.NAME]` |
//! | [`tables::Either`] | `1`, or `{ header = "x-cost", max = 100 }` |
//! | `bool`, an enum, a struct | `true`, `"json"`, a section |

pub(super) mod cors;
pub(super) mod identities;
pub(super) mod limits;
pub(super) mod lists;
pub(super) mod numbers;
pub(super) mod process;
pub(super) mod refusal;
pub(super) mod routes;
pub(super) mod scalar;
pub(super) mod syntaxes;
pub(super) mod tables;
pub(super) mod traces;
pub(super) mod transform;
pub(super) mod upstreams;

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    identities::Identity,
    limits::Limit,
    lists::{Set, Tables},
    process::{Admin, ClientIp, Listener, Log, Server, Shutdown, Store},
    routes::{Defaults, Route},
    scalar::Scalar,
    syntaxes::FileName,
    tables::Named,
    traces::Traces,
    upstreams::Upstream,
};
use super::field::{Field, Nested};

/// The configuration of tidegate.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(super) struct File {
    /// Patterns of further files, relative to this one, which are read in name
    /// order as if they were part of it, and watched too; `*` stands for any
    /// characters of a file's name.
    pub(super) include: Option<Field<Set<Scalar<FileName>>>>,
    /// The process itself.
    pub(super) server: Nested<Server>,
    /// Addresses for clients; absent: one on `0.0.0.0:8080`.
    pub(super) listeners: Option<Field<Tables<Listener>>>,
    /// The client's address, for keys and logs.
    pub(super) client_ip: Nested<ClientIp>,
    /// The admin listener: metrics, health, views, reload.
    pub(super) admin: Nested<Admin>,
    /// Redis or Valkey, for limits with `scope = "shared"; absent: none.
    pub(super) store: Nested<Store>,
    /// Logs and access lines.
    pub(super) log: Nested<Log>,
    /// Spans of requests for a collector (OpenTelemetry); absent: none.
    pub(super) traces: Nested<Traces>,
    /// How long a drain may take.
    pub(super) shutdown: Nested<Shutdown>,
    /// Services behind the gateway, by name.
    pub(super) upstreams: Option<Field<Named<Upstream>>>,
    /// Ways to authenticate clients, by name.
    pub(super) identities: Option<Field<Named<Identity>>>,
    /// Token buckets, or caps on requests in flight, by name, shared by every
    /// route that names them.
    pub(super) limits: Option<Field<Named<Limit>>>,
    /// Keys that routes inherit; a route's own keys override them one by one.
    pub(super) defaults: Nested<Defaults>,
    /// Which requests go where; the most specific match wins.
    pub(super) routes: Option<Field<Tables<Route>>>,
}

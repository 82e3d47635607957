//! `[routes.refusal]`: fields and bodies for the responses by which the gateway
//! refuses a request.
//!
//! A body is a template that was parsed when the configuration was loaded. It
//! is shared by all routes that name its file, and compares by its text, so
//! that a changed file changes these routes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Statuses;

/// How refusals of a route look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Fields that are set on each refusal, in the place of those of the
    /// gateway.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Bodies by status. A range comes before those that include it.
    pub bodies: Vec<BodiesOfStatus>,
}

impl Refusal {
    /// The bodies for a refusal with this status, of which the client's
    /// `Accept` chooses one; none if the status has no body of its own.
    pub fn bodies(&self, status: StatusCode) -> &[Arc<RefusalBody>] {
        let mut bodies = self.bodies.iter();
        let own = bodies.find(|bodies| bodies.statuses.contains(status));
        own.map_or(&[], |bodies| &bodies.bodies)
    }
}

/// The bodies for some statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodiesOfStatus {
    /// The statuses, all of them from 400 on.
    pub statuses: Statuses,
    /// At least one, each of another type, in the order of the configuration.
    pub bodies: Vec<Arc<RefusalBody>>,
}

/// A body with places that each refusal fills in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalBody {
    /// Its type, by which places are escaped.
    pub kind: BodyKind,
    /// Its text, taken apart.
    pub parts: Vec<BodyPart>,
}

/// The type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// `text/html`
    Html,
    /// `application/json`
    Json,
    /// `text/plain`
    Text,
    /// `application/xml`
    Xml,
}

impl BodyKind {
    /// The media type without parameters, in lower case.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html",
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Xml => "application/xml",
        }
    }

    /// The value of `Content-Type`. JSON is always UTF-8 and names no charset
    /// (RFC 8259, 11).
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPart {
    /// Text that is sent as it is.
    Text(Bytes),
    /// A place inside of text, and in JSON inside of a string. Without a value
    /// it is empty.
    Inside(Placeholder),
    /// A place in JSON that stands for a whole value: a number, or a string
    /// with its quotes; `null` without a value.
    Value(Placeholder),
}

/// The values that a refusal can fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// Whole seconds, as in `Retry-After`; none if the refusal has no such
    /// field.
    RetryAfter,
    /// The names of the limits that refused, separated by commas, or of the
    /// route or upstream whose cap is reached; none for other refusals.
    Limit,
    /// The name of the route.
    Route,
    /// The id of the request, as in `X-Request-Id`.
    RequestId,
    /// The status.
    Status,
}

impl Placeholder {
    /// All of them with their names, in the order in which messages list them.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("retry_after", Self::RetryAfter),
        ("limit", Self::Limit),
        ("route", Self::Route),
        ("request_id", Self::RequestId),
        ("status", Self::Status),
    ];

    /// The placeholder of this name.
    pub fn of(name: &str) -> Option<Self> {
        let mut all = Self::NAMES.iter();
        all.find(|(known, _)| *known == name).map(|(_, one)| *one)
    }
}

//! The small languages, each with its name, an example, and the function of
//! `syntax` or `units` that reads it.
//!
//! The pattern is for editors, which underline a string while it is typed. It
//! may let wrong strings pass, and never refuses a right one; it is also used
//! to guess which key a misplaced value belongs to. The function decides.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use super::super::{
    syntax::{
        self, acme, address, body, cost, header, host,
        identity::{self, KeyPlace},
        key, log, origin, path, store, template, traces,
    },
    units,
    wrong::{Rejection, Wrong},
};
use super::scalar::Syntax;
use crate::policy::{
    Algorithm, BodyKind, ClientIpHeader, CostSource, CredentialPlace, Failures, HeaderText,
    HostPattern, KeyPart, ListenAddress, LogField, Missing, OriginPattern, PathPattern, Rate,
    SampledShare, Statuses, StoreServer, Template, UpstreamServer,
};

/// Declares languages:
/// `Type = value it holds, name, example, pattern, function`. Numbers with a
/// unit add the function that gives the help for a number alone.
macro_rules! syntaxes {
    ($($(#[$about:meta])* $name:ident = $value:ty, $called:literal, $example:literal, $pattern:literal, $parse:expr$(, $number:expr)?;)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub(in crate::config) enum $name {}

        impl Syntax for $name {
            type Value = $value;
            const EXAMPLE: &'static str = $example;
            const PATTERN: &'static str = $pattern;

            fn name() -> String {
                $called.to_owned()
            }

            fn parse(text: &str) -> Result<$value, Rejection> {
                $parse(text).map_err(Rejection::Value)
            }

            $(fn instead_of_number(number: i64) -> String {
                let positive = u64::try_from(number).ok();
                positive
                    .and_then($number)
                    .unwrap_or_else(|| format!("write one such as `\"{}\"`", $example))
            })?
        }
    )*};
}

syntaxes! {
    /// An address with the number of its bits that count; without it, one
    /// address.
    Network = IpNet, "a network", "10.0.0.0/8", "^[0-9a-fA-F:.]+(/[0-9]+)?$", address::network;
    /// Scheme, host and port of a server behind the gateway, or the path of its
    /// socket.
    ServerAt = UpstreamServer, "the URL of a server", "http://10.0.0.1:9001", "^((srv\\+)?[hH][tT][tT][pP][sS]?://|unix:/)", address::server;
    /// A value of `Host` for which the admin listener answers.
    AdminHost = String, "a host", "tidegate.internal:9901", "", address::admin_host;
    /// A host that a certificate is ordered for.
    Domain = Box<str>, "the name of a host", "shop.example.com", r"^[^*/:,; ]+$", acme::domain;
    /// An address of electronic mail.
    EmailAddress = Arc<str>, "an email address", "ops@example.com", "^[^@ ]+@[^@ ]+$", acme::email;
    /// The directory of an ACME authority, as a URL.
    AcmeDirectory = Arc<str>, "\"letsencrypt\", \"letsencrypt-staging\" or the URL of a directory", "letsencrypt", "^(letsencrypt|letsencrypt-staging|[hH][tT][tT][pP][sS]://.*)$", acme::directory;
    /// A host that a route takes, exactly or with `*.` for further labels.
    Host = HostPattern, "a host", "*.example.com", r"^((\*\.)?[^*/:,; ]+|\[.*\])$", host::pattern;
    /// A file or folder, relative to the file that names it.
    FileName = String, "the name of a file", "admin.token", "", syntax::file_name;
    /// A certificate, a key, authorities.
    PemFile = String, "the name of a file", "certs/site.pem", "", syntax::file_name;
    /// The body of a refusal; the extension tells its type.
    BodyFile = BodyKind, "the name of a file", "errors/429.html", r"\.([hH][tT][mM][lL]?|[jJ][sS][oO][nN]|[tT][xX][tT]|[xX][mM][lL])$", body::file;
    /// A name in certificates of servers.
    ServerName = rustls::pki_types::ServerName<'static>, "the name of a server", "orders.internal", "", address::server_name;
    /// An origin of pages, exactly or with `*.` for further labels.
    Origin = OriginPattern, "an origin", "https://app.example.com", "^(\\*|null|[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@]+)$", origin::pattern;
    /// The name of a route, an upstream or a limit: an identity over reloads,
    /// and a label of metrics.
    Name = Arc<str>, "a name", "per-client", "^[ -~]+$", syntax::name;
    /// A property of a request by which buckets, queues and servers are chosen.
    Part = KeyPart, "part of a key", "client-ip", "^((route|client-ip|host|path|method|tls:subject|identity|plan)$|(client-ip/|header:|cookie:|query:|param:|claim:).)", key::part;
    /// The way out when a part of a key is absent or empty.
    Absent = Missing, "\"skip\", \"refuse\" or part of a key", "client-ip", "^((skip|refuse|route|client-ip|host|path|method|tls:subject|identity|plan)$|(client-ip/|header:|cookie:|query:|param:|claim:).)", key::missing;
    /// `401`, or `4xx` for all statuses of a class.
    StatusOrClass = Statuses, "a status or a class of them", "401", "^[2-5]([0-9][0-9]|xx)$", header::statuses;
    /// The same, of access lines, most of which are about requests that pass.
    LoggedStatus = Statuses, "a status or a class of them", "2xx", "^[2-5]([0-9][0-9]|xx)$", header::statuses;
    /// The same, of requests that have failed.
    FailedStatus = Statuses, "a status or a class of them", "503", "^[45]([0-9][0-9]|xx)$", header::failed_statuses;
    /// The place of a cost that is known in the end.
    CostAt = CostSource, "the place of a cost", "response-header:x-cost", "^(response-(header|trailer|json):.|((request|response)-)?bytes$)", cost::source;
    /// A value that a part of a key may have.
    KeyValue = String, "a value", "*", "", not_empty_value;
    MethodName = Method, "a method", "GET", "^[^ /]+$", header::method;
    /// Any header, to be looked at.
    Header = HeaderName, "the name of a header", "x-version", "^[^ :/=]+$", header::name;
    /// The header in which proxies name the client.
    ClientHeader = ClientIpHeader, "the name of a header", "cf-connecting-ip", "^[^ :/=]+$", header::client;
    /// A header that may be changed.
    ChangeableHeader = HeaderName, "the name of a header", "x-from", "^[^ :/=]+$", header::changeable;
    /// The host that a health check asks for.
    CheckHost = Box<str>, "a host", "orders.internal", "^[^/@ ]+$", address::check_host;
    /// A service of gRPC.
    GrpcService = Box<str>, "the name of a service", "shop.Orders", "^[ -~]+$", grpc_service;
    /// A header of a health check.
    CheckHeader = HeaderName, "the name of a header", "x-check", "^[^ :/=]+$", header::of_check;
    /// A header that may be passed on from peers that are not trusted.
    KeptHeader = HeaderName, "the name of a header", "x-real-ip", "^[^ :/=]+$", header::kept;
    /// A value that is compared or sent as it is, byte by byte.
    Value = HeaderValue, "the value of a header", "tidegate", "", header::value;
    /// A value of a header with places that are filled in for each request.
    FilledValue = HeaderText, "the value of a header", "{client_ip}", "", template::header_value;
    /// A place in a request that may hold a credential.
    CredentialAt = CredentialPlace, "a place of a credential", "bearer", "^(bearer$|(header:|query:|cookie:).)", identity::credential_place;
    /// A field of a message that access lines have.
    LoggedField = LogField, "a field of a message", "header:referer", "^(header:|response-header:|cookie:).", log::field;
    /// The name of a claim, which may be a path with dots.
    ClaimName = Box<str>, "the name of a claim", "scope", "", identity::claim_name;
    /// A claim, as a part of a key is written.
    ClaimOf = Box<str>, "a claim", "claim:plan", "^claim:.", identity::claim;
    /// A field of a message, as a place of a credential is written.
    HeaderOf = HeaderName, "a header", "header:x-auth-user", "^header:.", identity::header_of;
    /// Scheme, host, port and path of a service that is asked.
    AskedUrl = (UpstreamServer, String), "a URL", "http://127.0.0.1:4180/verify", "^[hH][tT][tT][pP][sS]?://", identity::asked_url;
    /// Scheme, host and port of a collector of spans, with its path or without.
    CollectorAt = (UpstreamServer, String), "the URL of a collector", "http://127.0.0.1:4318", "^[hH][tT][tT][pP][sS]?://", traces::collector;
    /// The keys of an issuer, at a URL or in a file.
    KeysAt = KeyPlace, "a URL or the name of a file", "https://idp.example.com/.well-known/jwks.json", "", identity::key_place;
    /// An algorithm of signatures.
    TokenAlgorithm = Algorithm, "an algorithm", "RS256", "^(RS|PS|HS)(256|384|512)$|^ES(256|384)$|^EdDSA$", identity::algorithm;
    /// A failure that may be tried again.
    Reason = Failures, "\"connect\", \"reset\", \"timeout\" or a status", "503", "^(connect|reset|timeout|[45][0-9][0-9])$", header::retry_reason;
    /// A failure that counts against a server.
    ServerFailure = Failures, "\"connect\", \"reset\", \"timeout\", a status or a class of them", "5xx", "^(connect|reset|timeout|[45]([0-9][0-9]|xx))$", header::failure;
    /// A whole path, in which `{name}` stands for one segment.
    WholePath = PathPattern, "a path", "/orders/{id}", "^/", path::whole;
    /// Path and query of a request line.
    Target = String, "a path", "/healthz", "^/", path::target;
    /// The first segments of a path.
    Prefix = PathPattern, "a path", "/orders", "^/", path::prefix;
    /// A path without parameters that is taken off or put on.
    Literal = String, "a path", "/orders", "^/", path::literal;
    /// An expression that the whole path must match.
    PathRegex = PathPattern, "a regular expression", "^/o/[0-9]+$", "", path::regex;
    /// A path made of the parameters of the match.
    RewriteTo = Template, "a path", "/v2/{id}", "^/", template::rewrite;
    /// A URL made of the request and of the parameters of the match.
    RedirectTo = Template, "a URL or a path", "https://{host}{path}", "^(/|https?://)", template::redirect;
    /// Free text, which may come from the environment and be a secret: it is
    /// shown as written.
    Anything = String, "a string", "", "", anything;
    /// The name of a parameter in the query of a URL, decoded.
    QueryName = String, "the name of a parameter", "beta", "", not_empty;
    /// Any text but none.
    NotEmpty = String, "a string", "orders:write", "", not_empty;
}

// Numbers with a unit.
syntaxes! {
    /// A time that may be none at all.
    AnyDuration = Duration, "a duration", "250ms", "^([0-9]+(ns|us|µs|ms|s|min|m|h|d))+$", units::duration, with_unit_of_time;
    /// A wait for tokens.
    Delay = Duration, "a duration", "500ms", "^([0-9]+(ns|us|µs|ms|s|min|m|h|d))+$", delay, with_unit_of_time;
    /// A difference of clocks.
    Leeway = Duration, "a duration", "30s", "^([0-9]+(ns|us|µs|ms|s|min|m|h|d))+$", identity::leeway, with_unit_of_time;
    /// A time that ends something: zero would end it before it began.
    PositiveDuration = Duration, "a duration", "10s", "^([0-9]+(ns|us|µs|ms|s|min|m|h|d))+$", positive, with_unit_of_time;
    /// Bytes that memory is kept for.
    BufferBytes = usize, "a size", "64KiB", "^(0|[0-9]+([kKMGT]i?)?B)$", buffer, with_unit_of_size;
    /// Bytes of a request's head: every client may make the gateway hold as
    /// much.
    HeadBytes = usize, "a size", "32KiB", "^(0|[0-9]+([kKMGT]i?)?B)$", head, with_unit_of_size;
    /// Bytes that only pass through.
    Bytes = u64, "a size", "10MiB", "^(0|[0-9]+([kKMGT]i?)?B)$", units::size, with_unit_of_size;
    Percent = f64, "a percentage", "20%", "^[0-9]+%$", units::percent, with_percent;
    /// At most the whole.
    Share = u8, "a percentage", "5%", "^[0-9]+%$", units::share, with_percent;
    /// A share that is drawn, which may be below a percent.
    Sampled = SampledShare, "a percentage", "1%", "^[0-9]+([.][0-9]+)?%$", units::sampled, with_percent;
    /// A bound above a share.
    Bound = u16, "a percentage", "125%", "^[0-9]+%$", units::bound, with_percent;
    PerTime = Rate, "a rate", "100/s", "^[0-9]+([kKMGT]?i?B)?/[0-9a-z]+$", units::rate, with_time;
    /// Where a listener listens.
    ListenAt = ListenAddress, "an address with a port", "0.0.0.0:8080", "(:[0-9]+|^unix:/.+)$", address::listen_at, with_address;
    /// The permissions of a file, in octal digits.
    FileMode = u32, "permissions", "0660", "^0?[0-7]{3}$", file_mode, with_quotes;
    Bind = SocketAddr, "an address with a port", "0.0.0.0:8080", ":[0-9]+$", address::bind, with_address;
}

/// The URL of a store, which may hold a password.
#[derive(Debug, Clone)]
pub(in crate::config) enum StoreAt {}

impl Syntax for StoreAt {
    type Value = StoreServer;
    const EXAMPLE: &'static str = "redis://127.0.0.1:6379";
    const PATTERN: &'static str = "^(redis|valkey)s?://";
    const IS_SECRET: bool = true;

    fn name() -> String {
        "the URL of a store".to_owned()
    }

    fn parse(text: &str) -> Result<StoreServer, Rejection> {
        store::server(text).map_err(Rejection::Value)
    }
}

fn with_unit_of_time(number: u64) -> Option<String> {
    (number > 0).then(|| format!("a duration has a unit: `\"{number}s\"` or `\"{number}ms\"`"))
}

fn with_unit_of_size(number: u64) -> Option<String> {
    Some(match number {
        1024.. => format!("a size has a unit: `\"{}\"`", units::size_text(number)),
        _ => format!("a size has a unit: `\"{number}B\"` or `\"{number}KiB\"`"),
    })
}

fn with_percent(number: u64) -> Option<String> {
    Some(format!("write `\"{number}%\"`"))
}

fn with_time(number: u64) -> Option<String> {
    (number > 0).then(|| format!("a rate has a time: `\"{number}/s\"`"))
}

fn with_address(number: u64) -> Option<String> {
    (number > 0).then(|| format!("write an address and a port: `\"0.0.0.0:{number}\"`"))
}

/// The longest wait for tokens.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

fn delay(text: &str) -> Result<Duration, Wrong> {
    match positive(text)? {
        // Clients and the proxies before them rarely wait longer.
        long if long > LONGEST_DELAY => {
            let help =
                "lower it, or raise the rate: a client that has waited a minute has usually left";
            Err(Wrong::new("the most is 1m", help))
        }
        delay => Ok(delay),
    }
}

/// Permissions of a file: three octal digits behind a zero.
fn file_mode(text: &str) -> Result<u32, Wrong> {
    let digits = text.strip_prefix('0').unwrap_or(text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_octal => Ok(mode),
        _ => {
            let help =
                "write three octal digits, such as \"0660\": the owner and the group may connect";
            Err(Wrong::new("it is not the mode of a file", help))
        }
    }
}

fn with_quotes(number: u64) -> Option<String> {
    (number <= 777).then(|| format!("write it in quotes: `\"{number:04}\"`"))
}

fn positive(text: &str) -> Result<Duration, Wrong> {
    let duration = match text.trim() {
        // Zero has no unit, and is refused for being zero.
        "0" => Duration::ZERO,
        _ => units::duration(text)?,
    };
    match duration {
        Duration::ZERO => Err(Wrong::new(
            "it has to be longer than nothing",
            "write one such as \"10s\"",
        )),
        duration => Ok(duration),
    }
}

fn buffer(text: &str) -> Result<usize, Wrong> {
    size_within(text, 0, 1 << 30)
}

fn head(text: &str) -> Result<usize, Wrong> {
    size_within(text, 256, 1 << 20)
}

fn size_within(text: &str, least: usize, most: usize) -> Result<usize, Wrong> {
    let size = usize::try_from(units::size(text)?).unwrap_or(usize::MAX);
    let help = format!(
        "write a size from {} to {}",
        units::size_text(least as u64),
        units::size_text(most as u64)
    );
    match size {
        _ if size < least => Err(Wrong::new("it is too small", help)),
        _ if size > most => Err(Wrong::new("it is too large", help)),
        _ => Ok(size),
    }
}

fn not_empty_value(text: &str) -> Result<String, Wrong> {
    match text {
        "" => Err(Wrong::new(
            "an empty value counts as missing",
            "write the value, or \"*\" for any",
        )),
        _ => Ok(text.to_owned()),
    }
}

fn anything(text: &str) -> Result<String, Wrong> {
    Ok(text.to_owned())
}

/// The longest name of a service that a health check asks about.
const LONGEST_SERVICE: usize = 255;

fn grpc_service(text: &str) -> Result<Box<str>, Wrong> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.len() {
        1..=LONGEST_SERVICE if is_plain => Ok(text.into()),
        0 => {
            let help = "leave it out to ask for the server as a whole";
            Err(Wrong::new("it is empty", help))
        }
        _ => {
            let help = "write the package and the service, such as \"shop.Orders\"";
            Err(Wrong::new("it is not the name of a service", help))
        }
    }
}

fn not_empty(text: &str) -> Result<String, Wrong> {
    match text {
        "" => Err(Wrong::new("it is empty", "name it")),
        _ => Ok(text.to_owned()),
    }
}

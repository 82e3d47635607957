//! The kinds of values that several sections share.

use std::time::Duration;

use super::{
    super::{
        problem::Wrong,
        syntax::{self, address, header, host, key, path, status, store, template},
        units,
    },
    Kind, Syntax,
};

/// A time that may be none at all.
pub(super) const DURATION: Kind = Kind::Text(&Syntax {
    name: "a duration",
    example: "250ms",
    check: |text| units::duration(text).map(drop),
});

/// A time that ends something: zero would end it before it began.
pub(super) const POSITIVE_DURATION: Kind = Kind::Text(&Syntax {
    name: "a duration",
    example: "10s",
    check: positive,
});

/// A number of bytes that memory is kept for.
pub(super) const BUFFER_SIZE: Kind = Kind::Text(&Syntax {
    name: "a size",
    example: "64KiB",
    check: |text| size_within(text, 0, 1 << 30),
});

/// Bytes of a request's head: every client may make the gateway hold as much.
pub(super) const HEAD_SIZE: Kind = Kind::Text(&Syntax {
    name: "a size",
    example: "32KiB",
    check: |text| size_within(text, 256, 1 << 20),
});

/// A number of bytes that only pass through.
pub(super) const SIZE: Kind = Kind::Text(&Syntax {
    name: "a size",
    example: "10MiB",
    check: |text| units::size(text).map(drop),
});

pub(super) const PERCENT: Kind = Kind::Text(&Syntax {
    name: "a percentage",
    example: "20%",
    check: |text| units::percent(text).map(drop),
});

/// At most the whole.
pub(super) const SHARE: Kind = Kind::Text(&Syntax {
    name: "a percentage",
    example: "5%",
    check: |text| units::share(text).map(drop),
});

/// A bound above a share.
pub(super) const BOUND: Kind = Kind::Text(&Syntax {
    name: "a percentage",
    example: "125%",
    check: |text| units::bound(text).map(drop),
});

pub(super) const RATE: Kind = Kind::Text(&Syntax {
    name: "a rate",
    example: "100/s",
    check: |text| units::rate(text).map(drop),
});

pub(super) const BIND: Kind = Kind::Text(&Syntax {
    name: "an address with a port",
    example: "0.0.0.0:8080",
    check: |text| address::bind(text).map(drop),
});

pub(super) const NETWORK: Kind = Kind::Text(&Syntax {
    name: "a network",
    example: "10.0.0.0/8",
    check: |text| address::network(text).map(drop),
});

pub(super) const SERVER_URL: Syntax = Syntax {
    name: "the URL of a server",
    example: "http://10.0.0.1:9001",
    check: |text| address::server_url(text).map(drop),
};

/// What the language calls the one kind of URL that may hold a password.
pub(in crate::config) const STORE_URL_NAME: &str = "the URL of a store";

/// May hold a password: see `redact`.
pub(super) const STORE_URL: Kind = Kind::Text(&Syntax {
    name: STORE_URL_NAME,
    example: "redis://127.0.0.1:6379",
    check: |text| store::server(text).map(drop),
});

pub(super) const ADMIN_HOST: Kind = Kind::Text(&Syntax {
    name: "a host",
    example: "tidegate.internal:9901",
    check: |text| address::admin_host(text).map(drop),
});

pub(super) const HOST_PATTERN: Kind = Kind::Text(&Syntax {
    name: "a host",
    example: "*.example.com",
    check: |text| host::pattern(text).map(drop),
});

pub(super) const FILE: Kind = Kind::Text(&Syntax {
    name: "the name of a file",
    example: "admin.token",
    check: syntax::file_name,
});

/// A certificate, a key, authorities.
pub(super) const PEM_FILE: Kind = Kind::Text(&Syntax {
    name: "the name of a file",
    example: "certs/site.pem",
    check: syntax::file_name,
});

pub(super) const SERVER_NAME: Syntax = Syntax {
    name: "the name of a server",
    example: "orders.internal",
    check: |text| address::server_name(text).map(drop),
};

pub(super) const NAME: Syntax = Syntax {
    name: "a name",
    example: "per-client",
    check: |text| syntax::name(text).map(drop),
};

pub(super) const KEY_PART: Kind = Kind::Text(&Syntax {
    name: "part of a key",
    example: "client-ip",
    check: |text| key::part(text).map(drop),
});

pub(super) static MISSING: Syntax = Syntax {
    name: "\"skip\", \"refuse\" or part of a key",
    example: "client-ip",
    check: |text| key::missing(text).map(drop),
};

pub(super) const STATUSES: Kind = Kind::Text(&Syntax {
    name: "a status or a class of them",
    example: "401",
    check: |text| status::statuses(text).map(drop),
});

/// A value that a part of a key may have.
pub(super) const KEY_VALUE: Kind = Kind::Text(&Syntax {
    name: "a value",
    example: "*",
    check: not_empty_value,
});

pub(super) const METHOD: Kind = Kind::Text(&Syntax {
    name: "a method",
    example: "GET",
    check: |text| header::method(text).map(drop),
});

/// Any header, to be looked at.
pub(super) const HEADER_NAME: Syntax = Syntax {
    name: "the name of a header",
    example: "x-version",
    check: |text| header::name(text).map(drop),
};

/// A header that may be changed.
pub(super) const CHANGEABLE_HEADER: Syntax = Syntax {
    name: "the name of a header",
    example: "x-from",
    check: |text| header::changeable(text).map(drop),
};

/// A header that may be passed on from peers that are not trusted.
pub(super) const KEPT_HEADER: Syntax = Syntax {
    name: "the name of a header",
    example: "x-real-ip",
    check: |text| header::kept(text).map(drop),
};

pub(super) const HEADER_VALUE: Syntax = Syntax {
    name: "the value of a header",
    example: "tidegate",
    check: |text| header::value(text).map(drop),
};

pub(super) const RETRY_REASON: Kind = Kind::Text(&Syntax {
    name: "\"connect\", \"reset\", \"timeout\" or a status",
    example: "503",
    check: |text| header::retry_reason(text).map(drop),
});

pub(super) const PATH: Kind = Kind::Text(&Syntax {
    name: "a path",
    example: "/orders/{id}",
    check: |text| path::whole(text).map(drop),
});

pub(super) const CHECK_PATH: Kind = Kind::Text(&Syntax {
    name: "a path",
    example: "/healthz",
    check: |text| path::target(text).map(drop),
});

pub(super) const PATH_PREFIX: Kind = Kind::Text(&Syntax {
    name: "a path",
    example: "/orders",
    check: |text| path::prefix(text).map(drop),
});

pub(super) const PATH_REGEX: Kind = Kind::Text(&Syntax {
    name: "a regular expression",
    example: "^/o/[0-9]+$",
    check: |text| path::regex(text).map(drop),
});

pub(super) const REWRITE: Kind = Kind::Text(&Syntax {
    name: "a path",
    example: "/v2/{id}",
    check: template::rewrite,
});

pub(super) const REDIRECT: Kind = Kind::Text(&Syntax {
    name: "a URL or a path",
    example: "https://{host}{path}",
    check: template::redirect,
});

/// Any text.
pub(super) const FREE_TEXT: Syntax = Syntax {
    name: "a string",
    example: "ok",
    check: |_| Ok(()),
};

pub(super) const QUERY_NAME: Syntax = Syntax {
    name: "the name of a parameter",
    example: "beta",
    check: not_empty,
};

fn positive(text: &str) -> Result<(), Wrong> {
    let is_zero = text.trim() == "0";
    match if is_zero {
        Duration::ZERO
    } else {
        units::duration(text)?
    } {
        Duration::ZERO => Err(Wrong::new(
            "it has to be longer than nothing",
            "write one such as \"10s\"",
        )),
        _ => Ok(()),
    }
}

fn size_within(text: &str, least: u64, most: u64) -> Result<(), Wrong> {
    let size = units::size(text)?;
    let help = format!(
        "write a size from {} to {}",
        units::size_text(least),
        units::size_text(most)
    );
    match size {
        _ if size < least => Err(Wrong::new("it is too small", help)),
        _ if size > most => Err(Wrong::new("it is too large", help)),
        _ => Ok(()),
    }
}

fn not_empty_value(text: &str) -> Result<(), Wrong> {
    match text {
        "" => Err(Wrong::new(
            "an empty value counts as missing",
            "write the value, or \"*\" for any",
        )),
        _ => Ok(()),
    }
}

fn not_empty(text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        Err(Wrong::new("it is empty", "name it"))
    } else {
        Ok(())
    }
}

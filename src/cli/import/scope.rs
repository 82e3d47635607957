//! The directives that count at a place: those of its own block, and those
//! that it inherits from the blocks around it.
//!
//! NGINX inherits in two ways. Of a directive with one value, the innermost
//! counts. Directives that make a list, such as `proxy_set_header`, are
//! inherited as a whole, unless the inner block has one of them.

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use super::tree::Directive;

/// Directives with one value.
const SINGLE: &[&str] = &[
    "client_header_timeout",
    "client_max_body_size",
    "default_type",
    "keepalive_timeout",
    "large_client_header_buffers",
    "limit_conn_dry_run",
    "limit_conn_status",
    "limit_req_dry_run",
    "limit_req_status",
    "proxy_connect_timeout",
    "proxy_next_upstream",
    "proxy_next_upstream_timeout",
    "proxy_next_upstream_tries",
    "proxy_read_timeout",
    "grpc_connect_timeout",
    "grpc_next_upstream",
    "grpc_next_upstream_timeout",
    "grpc_next_upstream_tries",
    "grpc_read_timeout",
    "grpc_ssl_certificate",
    "grpc_ssl_certificate_key",
    "grpc_ssl_name",
    "grpc_ssl_trusted_certificate",
    "grpc_ssl_verify",
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "real_ip_header",
    "real_ip_recursive",
    "ssl_client_certificate",
    "ssl_protocols",
    "ssl_verify_client",
    "underscores_in_headers",
];

/// Directives that make a list, by the name of the list: `allow` and `deny`
/// make one together.
const LISTS: &[(&str, &str)] = &[
    ("add_header", "add_header"),
    ("allow", "access"),
    ("deny", "access"),
    ("auth_basic", "auth_basic"),
    ("auth_request", "auth_request"),
    ("auth_jwt", "auth_jwt"),
    ("auth_digest", "auth_digest"),
    ("auth_ldap", "auth_ldap"),
    ("auth_pam", "auth_pam"),
    ("auth_oidc", "auth_oidc"),
    ("access_by_lua_block", "access_by_lua"),
    ("access_by_lua_file", "access_by_lua"),
    ("rewrite_by_lua_block", "rewrite_by_lua"),
    ("rewrite_by_lua_file", "rewrite_by_lua"),
    ("modsecurity", "modsecurity"),
    ("grpc_hide_header", "grpc_hide_header"),
    ("grpc_pass_header", "grpc_pass_header"),
    ("grpc_set_header", "grpc_set_header"),
    ("limit_conn", "limit_conn"),
    ("limit_req", "limit_req"),
    ("proxy_cookie_path", "proxy_cookie_path"),
    ("proxy_hide_header", "proxy_hide_header"),
    ("proxy_pass_header", "proxy_pass_header"),
    ("proxy_redirect", "proxy_redirect"),
    ("proxy_set_header", "proxy_set_header"),
    ("set_real_ip_from", "set_real_ip_from"),
    ("ssl_certificate", "ssl_certificate"),
    ("ssl_certificate_key", "ssl_certificate_key"),
];

/// The lists of directives that ask who somebody is, or look at a request in a
/// way that the gateway does not know. Each is inherited apart: `auth_basic off`
/// leaves `auth_request` on.
pub(super) const IDENTITIES: &[&str] = &[
    "auth_basic",
    "auth_request",
    "auth_jwt",
    "auth_digest",
    "auth_ldap",
    "auth_pam",
    "auth_oidc",
    "access_by_lua",
    "rewrite_by_lua",
    "modsecurity",
];

/// Whether scopes have directives of this name.
pub(super) fn is_of_scope(name: &str) -> bool {
    SINGLE.contains(&name) || LISTS.iter().any(|(known, _)| *known == name)
}

/// The directives that count at a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    single: BTreeMap<&'a str, &'a Directive>,
    lists: BTreeMap<&'static str, Rc<Vec<&'a Directive>>>,
    /// Requests go to services by `grpc_pass`.
    is_grpc: bool,
}

impl<'a> Scope<'a> {
    /// This scope for a place that leads to services by `proxy_pass` or by
    /// `grpc_pass`. For the latter, `grpc_read_timeout` counts where others have
    /// `proxy_read_timeout`, and so on.
    pub(super) fn of_pass(&self, is_grpc: bool) -> Self {
        Self {
            is_grpc,
            ..self.clone()
        }
    }

    /// The name that counts for the way in which services are reached.
    fn counting<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match name.strip_prefix("proxy_").filter(|_| self.is_grpc) {
            Some(rest) => Cow::Owned(format!("grpc_{rest}")),
            None => Cow::Borrowed(name),
        }
    }

    /// The scope of a block within this one, and the directives of the block
    /// that no scope has.
    pub(super) fn enter(&self, block: &'a [Directive]) -> (Self, Vec<&'a Directive>) {
        let mut inner = self.clone();
        let mut own: BTreeMap<&'static str, Vec<&'a Directive>> = BTreeMap::new();
        let mut others = Vec::new();
        for directive in block {
            let name = directive.name.as_str();
            if let Some((_, list)) = LISTS.iter().find(|(known, _)| *known == name) {
                own.entry(list).or_default().push(directive);
            } else if SINGLE.contains(&name) {
                inner.single.insert(name, directive);
            } else {
                others.push(directive);
            }
        }
        for (list, directives) in own {
            inner.lists.insert(list, Rc::new(directives));
        }
        (inner, others)
    }

    /// The directive of this name.
    pub(super) fn one(&self, name: &str) -> Option<&'a Directive> {
        let directive = self.single.get(&*self.counting(name)).copied()?;
        directive.read();
        Some(directive)
    }

    /// Its first argument.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.one(name).map(|directive| directive.argument(0))
    }

    /// Whether it is `on`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("on")
    }

    /// The directives of a list.
    pub(super) fn all(&self, list: &str) -> &[&'a Directive] {
        let list = self
            .lists
            .get(&*self.counting(list))
            .map_or(&[][..], |list| list.as_slice());
        list.iter().for_each(|directive| directive.read());
        list
    }

    /// The directives of a list, which are not marked as read.
    pub(super) fn peek(&self, list: &str) -> &[&'a Directive] {
        self.lists.get(list).map_or(&[][..], |list| list.as_slice())
    }

    /// The first argument of a directive, which is not marked as read.
    pub(super) fn peek_value(&self, name: &str) -> Option<&'a str> {
        Some(self.single.get(name)?.argument(0))
    }
}

//! What a handshake showed, as the connection's requests carry it.

use std::sync::Arc;

/// What is known of a client's TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// The name that the client asked for, lower case; `None` when it named none, as for an address.
    pub sni: Option<Box<str>>,
    /// The distinguished name in the client's certificate (RFC 4514); `None` without one, or when it is empty.
    pub subject: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Whom the certificate that was shown stands for.
    pub names: Names,
    /// The client had to show a certificate.
    pub is_mutual: bool,
}

impl TlsFacts {
    /// Whether a request for `host` (lower case, without port) may come by this connection (RFC 9110, 15.5.20).
    ///
    /// A connection for one name may be used for others that its certificate stands for too (RFC 9113, 9.1.1). Where
    /// clients must show certificates it may not: what was proven was proven to the name that was asked for.
    pub fn may_serve(&self, host: &str) -> bool {
        match self.sni.as_deref() {
            None => true,
            // HTTP/1.0 may name no host: it asks for whatever is there.
            Some(sni) if sni == host || host.is_empty() => true,
            Some(_) => !self.is_mutual && self.names.cover(host),
        }
    }
}

/// Names in a certificate: hosts, `*.` patterns of one label, addresses. Lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Arc<[Box<str>]>);

impl Names {
    /// Whether the certificate stands for this host, in lower case (RFC 9525, 6.3).
    pub fn cover(&self, host: &str) -> bool {
        let host = host
            .strip_prefix('[')
            .and_then(|inside| inside.strip_suffix(']'))
            .unwrap_or(host);
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => **name == *host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(sni: Option<&str>, is_mutual: bool) -> TlsFacts {
        let names = Names(Arc::new([
            "a.example".into(),
            "*.b.example".into(),
            "::1".into(),
        ]));
        TlsFacts {
            sni: sni.map(Into::into),
            subject: None,
            version: "TLSv1.3",
            names,
            is_mutual,
        }
    }

    #[test]
    fn a_star_is_one_label() {
        let names = facts(None, false).names;
        assert!(names.cover("a.example") && names.cover("x.b.example") && names.cover("[::1]"));
        assert!(
            !names.cover("b.example")
                && !names.cover("x.y.b.example")
                && !names.cover("x.a.example")
        );
    }

    #[test]
    fn another_host_is_served_only_where_the_certificate_stands_for_it() {
        let facts = facts(Some("a.example"), false);
        assert!(
            facts.may_serve("a.example") && facts.may_serve("x.b.example") && facts.may_serve("")
        );
        assert!(!facts.may_serve("c.example"));
    }

    #[test]
    fn where_clients_show_certificates_only_the_name_that_was_asked_for_is_served() {
        let facts = facts(Some("a.example"), true);
        assert!(facts.may_serve("a.example") && !facts.may_serve("x.b.example"));
    }

    #[test]
    fn who_asks_for_no_name_is_not_held_to_one() {
        assert!(facts(None, false).may_serve("c.example"));
    }

    #[test]
    fn a_client_that_took_a_certificate_of_another_name_is_served_what_it_asked_for() {
        assert!(facts(Some("c.example"), false).may_serve("c.example"));
    }
}

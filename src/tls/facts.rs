//! Facts about a client from its TLS handshake, carried by each request of the
//! connection.
//!
//! Keys of limits use the subject (`tls:subject`), and the gateway uses the
//! names to refuse requests for a host that the certificate does not stand for.

use std::sync::Arc;

/// Facts about a client's TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// The server name that the client asked for (RFC 6066, 3), in lower case;
    /// `None` if it asked for none, as clients do that connect to an IP
    /// address.
    pub sni: Option<Box<str>>,
    /// The distinguished name in the client's certificate (RFC 4514); `None`
    /// without a certificate or if it is empty.
    pub subject: Option<Box<str>>,
    /// The version of TLS, `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The names in the certificate that the client was shown, in lower case:
    /// hosts, `*.` patterns, and IP addresses.
    pub names: Arc<[Box<str>]>,
    /// Whether the client had to show a certificate.
    pub is_mutual: bool,
}

impl TlsFacts {
    /// Whether this connection may carry a request for `host`, in lower case
    /// and without a port. If not, the response is 421 (RFC 9110, 15.5.20).
    ///
    /// A connection may carry requests for every name in its certificate (RFC
    /// 9113, 9.1.1). If clients must show certificates it may carry only those
    /// for the name that was asked for: another name might trust other
    /// authorities.
    ///
    /// ```
    /// use tidegate::tls::TlsFacts;
    ///
    /// let facts = TlsFacts {
    ///     sni: Some("a.example".into()),
    ///     subject: None,
    ///     version: "TLSv1.3",
    ///     names: ["a.example".into(), "*.b.example".into()].into(),
    ///     is_mutual: false,
    /// };
    /// assert!(facts.may_serve("a.example") && facts.may_serve("x.b.example"));
    /// assert!(!facts.may_serve("c.example"));
    /// ```
    pub fn may_serve(&self, host: &str) -> bool {
        match self.sni.as_deref() {
            None => true,
            // A request of HTTP/1.0 may name no host and takes whatever is
            // served.
            Some(sni) if sni == host || host.is_empty() => true,
            Some(_) => !self.is_mutual && cover(&self.names, host),
        }
    }
}

/// Whether a certificate with these names is valid for `host`, in lower case
/// (RFC 9525, 6.3).
fn cover(names: &[Box<str>], host: &str) -> bool {
    let host = host
        .strip_prefix('[')
        .and_then(|inside| inside.strip_suffix(']'))
        .unwrap_or(host);
    let parent = host.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(suffix) => parent == Some(suffix),
        None => **name == *host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(sni: Option<&str>, is_mutual: bool) -> TlsFacts {
        let names = Arc::new(["a.example".into(), "*.b.example".into(), "::1".into()]);
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
        for host in ["a.example", "x.b.example", "[::1]"] {
            assert!(cover(&names, host), "{host}");
        }
        for host in ["b.example", "x.y.b.example", "x.a.example"] {
            assert!(!cover(&names, host), "{host}");
        }
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
    fn a_client_that_asks_for_no_name_is_not_held_to_one() {
        assert!(facts(None, false).may_serve("c.example"));
    }

    #[test]
    fn a_client_that_took_a_certificate_of_another_name_is_served_what_it_asked_for() {
        assert!(facts(Some("c.example"), false).may_serve("c.example"));
    }
}

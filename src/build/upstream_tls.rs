//! How TLS is spoken with an upstream's servers, as its configuration says.

use std::sync::Arc;

use crate::{
    policy,
    tls::{ClientSettings, ClientTls, Identity, Names, Protocol},
    upstream::{Security, Upstream},
};

/// The upstream's TLS; what `earlier` has is kept, with its sessions, where it says the same. `None` when none of the
/// servers speaks it.
///
/// # Errors
/// There is nobody to trust.
pub(super) fn client(
    upstream: &policy::Upstream,
    earlier: Option<&Upstream>,
) -> Result<Option<Arc<ClientTls>>, String> {
    if upstream
        .servers
        .iter()
        .all(|server| server.secure_as.is_none())
    {
        return Ok(None);
    }
    let policy::UpstreamTls { ca, identity, .. } = &upstream.tls;
    let settings = ClientSettings {
        ca: ca.as_ref().map(|ca| ca.certificates.clone()),
        identity: identity.as_ref().map(
            |policy::Identity {
                 certified, names, ..
             }| Identity {
                key: Arc::clone(certified),
                names: Names(Arc::clone(names)),
            },
        ),
        offered: match upstream.protocol {
            policy::Protocol::Http1 => vec![Protocol::Http1],
            policy::Protocol::Http2 => vec![Protocol::Http2],
            policy::Protocol::Auto => vec![Protocol::Http2, Protocol::Http1],
        },
    };
    match earlier
        .and_then(Upstream::tls)
        .filter(|tls| *tls.settings() == settings)
    {
        Some(kept) => Ok(Some(Arc::clone(kept))),
        None => ClientTls::new(settings).map(|tls| Some(Arc::new(tls))),
    }
}

pub(super) fn security(
    server: &policy::UpstreamServer,
    tls: Option<&Arc<ClientTls>>,
) -> Option<Security> {
    Some(Security {
        tls: Arc::clone(tls?),
        name: server.secure_as.clone()?,
    })
}

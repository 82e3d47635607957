//! The choice of the trailers of a body that pass (RFC 9110, 6.5).
//!
//! Requests towards HTTP/1 servers pass only the trailers that they announce,
//! and a route's changes of response fields apply to trailers too.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use http_body::Frame;

/// The trailers of a body that pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trailers {
    /// All of them.
    #[default]
    All,
    /// Only those of these names.
    Only(Box<[HeaderName]>),
    /// All but those of these names.
    Without(Arc<[HeaderName]>),
}

impl Trailers {
    /// Whether the trailers of this name pass.
    fn pass(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
            Self::Without(names) => !names.contains(name),
        }
    }

    /// The part of a frame of trailers that passes; `None` if no field does.
    pub(super) fn of(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut fields = frame.into_trailers().unwrap_or_default();
        let dropped: Vec<_> = fields
            .keys()
            .filter(|name| !self.pass(name))
            .cloned()
            .collect();
        for name in dropped {
            fields.remove(name);
        }
        (!fields.is_empty()).then(|| Frame::trailers(fields))
    }
}

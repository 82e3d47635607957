//! Which trailers of a body pass.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderName;
use http_body::Frame;

use super::Stream;
use crate::error::Fault;

/// Which trailers of a body pass.
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
    fn pass(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
            Self::Without(names) => !names.contains(name),
        }
    }

    /// The next frame of `stream` that passes. If no trailer passes, the end is
    /// still read, as it may be waited for.
    pub(super) fn poll_passing(
        &self,
        mut stream: Pin<&mut (dyn Stream + 'static)>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            match ready!(stream.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {
                    if let Some(frame) = self.of(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                frame => return Poll::Ready(frame),
            }
        }
    }

    /// The part of a frame of trailers that passes; `None` if no field does.
    fn of(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
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

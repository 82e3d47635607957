//! A response body that is read ahead of its client, so that the server and the
//! connection to it are free early.
//!
//! Nothing is delayed: as long as the client keeps up, every piece passes as it
//! arrives. Only while the client's socket accepts no more does the task of the
//! connection read the rest into memory.
//!
//! # Bounds
//!
//! At most `room` bytes are kept, and what the piece that fills the room has
//! beyond it. Each read first takes the memory for a whole read from the share
//! of the process, so that the bound on the process holds before the bytes
//! arrive.
//!
//! # Guards
//!
//! The body holds the guards of its exchange: permits, and the connection to
//! the server. They are dropped when the last piece was read, and not when the
//! client has received it. A slow client then holds memory, which is bounded,
//! instead of a permit.
//!
//! # Cancellation
//!
//! A client that leaves drops the body with everything that was kept, and the
//! share of the memory with it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::memory::{Memory, MemoryShare};
use crate::{
    body::{Body, ReadableAhead},
    error::Fault,
    runtime::io::READ_SIZE,
};

/// Least size of a block in bytes: pieces of a response may be as small as one
/// byte.
const BLOCK: usize = 8 * 1024;

/// A response body with the part of it that was read ahead.
pub(super) struct Ahead {
    /// The rest, with the guards that it holds; `None` once it was read to its
    /// end.
    rest: Option<Body>,
    /// The part that was read ahead, in blocks of at least 8 KiB.
    blocks: VecDeque<BytesMut>,
    /// Bytes in the blocks.
    kept: usize,
    /// The most bytes that are kept.
    room: usize,
    /// The share of the process's memory for the blocks.
    share: MemoryShare,
    /// The trailers or the fault behind the bytes that are kept.
    end: Option<Result<HeaderMap, Fault>>,
}

impl Ahead {
    /// Wraps `body`, of which at most `room` bytes are read ahead, as far as
    /// `memory` has them left.
    pub(super) fn around(body: &mut Body, room: usize, memory: &Arc<Memory>) {
        let (rest, share) = (Some(std::mem::take(body)), MemoryShare::new(memory));
        *body = Body::ahead(Self {
            rest,
            blocks: VecDeque::new(),
            kept: 0,
            room,
            share,
            end: None,
        });
    }

    /// Pulls the next piece from the server, and drops what the body holds at
    /// its end.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(http_body::Body::poll_frame(Pin::new(&mut *rest), cx));
        let goes_on = matches!(&frame, Some(Ok(frame)) if frame.is_data())
            && !http_body::Body::is_end_stream(rest);
        if !goes_on {
            // Drops the guards of the exchange: its permits and its connection.
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    /// Copies the piece, which may keep a much larger read buffer alive.
    fn keep(&mut self, data: &[u8]) {
        self.kept += data.len();
        match self.blocks.back_mut() {
            Some(last) if last.capacity() - last.len() >= data.len() => {
                last.extend_from_slice(data)
            }
            _ => {
                let mut block = BytesMut::with_capacity(data.len().max(BLOCK));
                block.extend_from_slice(data);
                self.blocks.push_back(block);
            }
        }
    }
}

impl ReadableAhead for Ahead {
    /// Called while the client's socket is full. It reads until the server has
    /// no more for the moment, the room is used up, or the process has no
    /// memory left; the waker of `cx` is registered with the server in the
    /// first case only.
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.get_mut();
        // If the process has no memory left, the client's pace is that of the
        // server, as without a buffer.
        while this.rest.is_some()
            && this.kept < this.room
            && this.share.resize(this.kept + READ_SIZE)
        {
            match this.read(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(fault))) => this.end = Some(Err(fault)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    // An empty piece is a sign of life.
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => this.keep(&data),
                    Err(frame) => this.end = frame.into_trailers().ok().map(Ok),
                },
            }
        }
        this.share.resize(this.kept);
    }
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        if let Some(block) = this.blocks.pop_front() {
            this.kept -= block.len();
            this.share.resize(this.kept);
            return Poll::Ready(Some(Ok(Frame::data(block.freeze()))));
        }
        match this.end.take() {
            Some(end) => Poll::Ready(Some(end.map(Frame::trailers))),
            None => this.read(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.blocks.is_empty() && self.end.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(Some(0), Body::length);
        match rest {
            Some(rest) if self.end.is_none() => SizeHint::with_exact(rest + self.kept as u64),
            _ => SizeHint::default(),
        }
    }
}

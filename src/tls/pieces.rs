//! A TLS stream that is written to in small pieces, because large ones are slow
//! to copy.
//!
//! rustls copies plaintext behind the five bytes of a record's header, that is
//! to an unaligned address. For more than 4 KiB the C library copies with `rep
//! movsb`, which is slow to unaligned addresses on common processors (on AMD's
//! Zen 3 a fifth of the time of a large download). Smaller pieces are copied
//! with plain moves. The records stay the same, as rustls gathers the pieces of
//! one vectored write.
//!
//! `server` and `client` wrap the stream of every connection in [`InPieces`],
//! so that both directions of the gateway profit: responses to clients, and
//! uploads to servers.
//!
//! # Invariants
//!
//! * A write accepts a prefix of the bytes in their order, as `AsyncWrite`
//!   demands. Bytes beyond the last piece are simply not accepted yet, and the
//!   caller writes them again.
//! * No byte is copied here: pieces are slices of the buffers of the caller.
//! * The list of pieces is on the stack and has room for all of them, so that a
//!   write does not allocate.

use std::{
    io::{self, IoSlice},
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes of a piece: below the size from which the C library uses `rep
/// movsb`.
///
/// In bytes.
const PIECE: usize = 2 * 1024;
/// The most pieces of one write: together as many bytes as rustls buffers at
/// once, 64 KiB.
const MOST_PIECES: usize = 32;

/// A stream that cuts each write into pieces and passes them on as one vectored
/// write. Reads pass through. It dereferences to the TLS stream.
///
/// The stream inside must write vectored, or each write of more than one piece
/// would send the first one only. The TLS stream does.
#[derive(Debug)]
pub struct InPieces<S>(pub(super) S);

impl<S> Deref for InPieces<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S> DerefMut for InPieces<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InPieces<S> {
    /// Passes through: the cost is in writes alone.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InPieces<S> {
    /// A write of one piece at most is passed on as it is, without a list.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() <= PIECE {
            return Pin::new(&mut self.0).poll_write(cx, bytes);
        }
        Pin::new(&mut self.0).poll_write_vectored(cx, &pieces([bytes]))
    }

    /// Cuts the slices one after the other. Slices that are short already are
    /// kept apart and not joined, and each is a piece of its own.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pieces = pieces(bytes.iter().map(|bytes| &**bytes));
        Pin::new(&mut self.0).poll_write_vectored(cx, &pieces)
    }

    /// Always true, so that callers gather head and body in one write.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Cuts the beginning of `bytes` into pieces, at most [`MOST_PIECES`].
///
/// Empty slices yield no piece. The result is empty only if all of `bytes` are.
fn pieces<'a>(bytes: impl IntoIterator<Item = &'a [u8]>) -> SmallVec<[IoSlice<'a>; MOST_PIECES]> {
    bytes
        .into_iter()
        .flat_map(|bytes| bytes.chunks(PIECE))
        .take(MOST_PIECES)
        .map(IoSlice::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_is_large_and_together_they_are_the_beginning_of_what_is_written() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        for (length, split) in [
            (0, 0),
            (1, 0),
            (PIECE, PIECE),
            (PIECE + 1, 9),
            (60_000, 9_999),
            (200_000, 70_001),
        ] {
            let (first, second) = bytes[..length].split_at(split);
            let cut = pieces([first, second]);
            assert!(cut.iter().all(|piece| piece.len() <= PIECE));
            let joined: Vec<u8> = cut.iter().flat_map(|piece| piece.iter().copied()).collect();
            assert!(bytes[..length].starts_with(&joined));
            assert!(joined.len() == length || cut.len() == MOST_PIECES);
        }
    }
}

//! Reading and writing a TCP socket at once, for the moments at which it is
//! nearly always ready.
//!
//! A poll of tokio counts against the budget of its task and registers the task
//! to be woken: 100 instructions that are of use only if the socket is not
//! ready. The functions here do neither. Callers poll if nothing could be done,
//! and so often enough that a task with much to do lets others run.
//!
//! They call the system without the C library, whose functions prepare each
//! time for the thread to be cancelled: 45 instructions, for a feature that
//! nobody uses.

use std::io::{self, ErrorKind::WouldBlock};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::{io::Interest, net::TcpStream};

/// Reads the bytes that have arrived, at most as many as `buffer` takes.
/// Returns 0 at the end of the stream.
///
/// # Errors
/// [`WouldBlock`] if none have; those of the system.
#[inline]
pub fn try_read(io: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    try_whole(io, Interest::READABLE, buffer.len(), |io| {
        Ok(recv(io, &mut *buffer, RecvFlags::empty())?.0)
    })
}

/// Writes as many of `bytes` as the socket takes.
///
/// # Errors
/// [`WouldBlock`] if it takes none; those of the system.
#[inline]
pub fn try_write(io: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // Without a signal: a peer that has gone is an error like others.
    try_whole(io, Interest::WRITABLE, bytes.len(), |io| {
        Ok(send(io, bytes, SendFlags::NOSIGNAL)?)
    })
}

/// Whether tokio knows of nothing to read, not even of the end of the stream.
/// Makes no system call.
#[inline]
pub fn is_quiet(io: &TcpStream) -> bool {
    io.try_io(Interest::READABLE, || Ok(())).is_err()
}

/// Moves at most `whole` bytes in one direction, by a system call that `moves`
/// makes, if tokio knows of no reason why it could not.
///
/// A socket that moved only a part has no more to move. Saying so with
/// [`WouldBlock`], which is how tokio learns it, saves the call that would find
/// out. tokio's own polls do the same.
#[inline]
fn try_whole(
    io: &TcpStream,
    interest: Interest,
    whole: usize,
    moves: impl FnOnce(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut part = 0;
    let moved = io.try_io(interest, || {
        let moved = moves(io)?;
        if (1..whole).contains(&moved) {
            part = moved;
            return Err(WouldBlock.into());
        }
        Ok(moved)
    });
    if part > 0 { Ok(part) } else { moved }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, task::Poll};

    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().await.unwrap().0, far)
    }

    #[tokio::test]
    async fn bytes_that_arrive_after_a_read_of_all_wake_the_task() {
        let (near, mut far) = connected().await;
        let mut buffer = [0; 8];
        for _ in 0..2 {
            far.write_all(b"abc").unwrap();
            near.readable().await.unwrap();
            assert_eq!(try_read(&near, &mut buffer).unwrap(), 3);
            let polled = poll_fn(|cx| Poll::Ready(near.poll_read_ready(cx))).await;
            assert!(polled.is_pending() && is_quiet(&near));
            let nothing = try_read(&near, &mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), WouldBlock);
        }
        drop(far);
        near.readable().await.unwrap();
        assert!(!is_quiet(&near));
        assert_eq!(try_read(&near, &mut buffer).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_read_that_fills_its_buffer_leaves_the_rest_to_be_read() {
        let (near, mut far) = connected().await;
        far.write_all(b"abcdef").unwrap();
        near.readable().await.unwrap();
        let mut buffer = [0; 3];
        for expected in [b"abc", b"def"] {
            assert!(!is_quiet(&near));
            assert_eq!(try_read(&near, &mut buffer).unwrap(), 3);
            assert_eq!(&buffer, expected);
        }
        assert_eq!(try_read(&near, &mut buffer).unwrap_err().kind(), WouldBlock);
    }

    #[tokio::test]
    async fn a_full_socket_takes_no_byte_and_a_closed_one_fails() {
        let (near, far) = connected().await;
        near.writable().await.unwrap();
        let bytes = vec![0; 1024 * 1024];
        let full = loop {
            match try_write(&near, &bytes) {
                Ok(written) => assert!(written > 0),
                Err(full) => break full,
            }
        };
        assert_eq!(full.kind(), WouldBlock);
        drop(far);
        let failed = loop {
            near.writable().await.unwrap();
            match try_write(&near, &bytes) {
                Err(failed) if failed.kind() != WouldBlock => break failed,
                _ => {}
            }
        };
        assert!(matches!(
            failed.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ));
    }
}

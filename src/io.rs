//! Reading sockets without a buffer for each of them. A leaf.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// Shared by all connections of a worker, so that an idle one owns no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads what is there and adds it to `input`; ready with 0 at the end of the stream.
///
/// # Errors
/// Those of the socket.
pub fn poll_read<IO>(io: &mut IO, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>>
where
    IO: AsyncRead + Unpin,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        input.put_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

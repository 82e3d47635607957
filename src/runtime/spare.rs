//! Buffers that a thread keeps for the next heads and responses.
//!
//! A head is written into a buffer, which is free again as soon as the bytes
//! are in the output of a connection. Heads are of a size of which an allocator
//! has few blocks at hand: allocating and freeing one costs up to 250
//! instructions, and taking one from here and giving it back about 90.
//!
//! # Examples
//!
//! ```
//! use tidegate::runtime::spare;
//!
//! let mut head = spare::take(512);
//! head.extend_from_slice(b"GET / HTTP/1.1");
//! spare::give_back(head);
//! assert!(spare::take(0).is_empty());
//! ```

use std::cell::RefCell;

/// Buffers that a thread keeps. If more are free at the same time, the further
/// ones are dropped.
const MOST_KEPT: usize = 16;
/// The largest buffer that is kept, in bytes.
pub(super) const MOST_BYTES: usize = 8 * 1024;

thread_local! {
    /// The free buffers of this thread, all of them empty.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for this many bytes.
pub fn take(bytes: usize) -> Vec<u8> {
    let kept = KEPT.try_with(|kept| kept.borrow_mut().pop());
    let mut buffer = kept.ok().flatten().unwrap_or_default();
    buffer.reserve(bytes);
    buffer
}

/// Takes a buffer back whose bytes are not needed any more.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > MOST_BYTES {
        return;
    }
    buffer.clear();
    // The thread keeps nothing any more when it ends.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < MOST_KEPT {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_with_its_room() {
        let mut buffer = take(100);
        buffer.extend_from_slice(b"secret");
        give_back(buffer);
        let again = take(10);
        assert!(again.is_empty() && again.capacity() >= 100);
    }

    #[test]
    fn a_thread_keeps_few_buffers_and_no_large_one() {
        give_back(Vec::with_capacity(MOST_BYTES + 1));
        KEPT.with_borrow(|kept| assert!(kept.is_empty()));
        for _ in 0..=MOST_KEPT {
            give_back(Vec::with_capacity(1));
        }
        KEPT.with_borrow(|kept| assert_eq!(kept.len(), MOST_KEPT));
    }
}

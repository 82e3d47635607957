//! The body of a message.

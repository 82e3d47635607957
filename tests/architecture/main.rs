//! The shape of the source: which module may import which, which files depend
//! on each other in a circle, how long files and functions may be, and how its
//! prose is written.
//!
//! Everything is read with `syn` and without running the compiler, so that a
//! name that only a macro makes up is not seen.
//! `cargo test --test architecture -- --ignored --nocapture figures` prints
//! what is measured and not tested.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "`pub` is what other files of the test use")]

mod circles;
mod figures;
mod imports;
mod lengths;
mod names;
mod one_name;
mod path;
mod prose;
mod reading;
mod scan;
mod source;
mod twins;

/// Fails with one line for each mistake.
fn report(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

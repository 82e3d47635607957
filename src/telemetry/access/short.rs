//! An access line for a terminal: one row, status first, in colour.
//!
//! It has the fields that a person watches while trying something out, and is
//! no interface: programs read the full forms.
//!
//! `app::process` chooses this form if stdout is a terminal and the format is
//! `text`. The time of the day is left out, since the person sees the lines
//! appear. Only the escapes of colour are sent to the terminal as they are:
//! every text passes `text::bytes`, so that a client cannot move the cursor.

use std::time::Duration;

use super::{line::Line, text, value};

/// Bytes of a path that are written, as received: with it a usual line still
/// fits into one row.
const PATH: usize = 48;
/// Bytes of a method, a reason and the name of a limit that are written.
const WORD: usize = 24;
/// Written in place of a missing method or path, so that columns keep their
/// meaning.
const NONE: &[u8] = b"-";

/// Appends status, method, path, duration, reason, limit and client, and the
/// end of their line.
pub(super) fn write(line: &Line<'_>, color: bool, out: &mut Vec<u8>) {
    status(line.status, color, out);
    text::bytes(
        " ",
        Some(line.method.map_or(NONE, str::as_bytes)),
        WORD,
        out,
    );
    text::bytes(" ", Some(line.path.unwrap_or(NONE)), PATH, out);
    out.push(b' ');
    time(line.duration, out);
    text::bytes(" ", line.reason.map(str::as_bytes), WORD, out);
    text::bytes(" limit=", line.limit.map(str::as_bytes), WORD, out);
    out.push(b' ');
    value::client(line, out);
    out.push(b'\n');
}

/// Appends the status, in the colour of its class.
fn status(status: u16, color: bool, out: &mut Vec<u8>) {
    if color {
        out.extend_from_slice(start_of_color(status));
    }
    value::integer(status, out);
    if color {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// The color of a class of statuses: green, cyan, yellow, red.
///
/// Green is for success, yellow for the client's failures, red for the
/// server's, and cyan for everything else.
fn start_of_color(status: u16) -> &'static [u8] {
    match status {
        200..=299 => b"\x1b[32m",
        400..=499 => b"\x1b[33m",
        500.. => b"\x1b[31m",
        _ => b"\x1b[36m",
    }
}

/// Appends a duration with about three digits: `85us`, `13.5ms`, `2.04s`.
fn time(duration: Duration, out: &mut Vec<u8>) {
    let micros = duration.as_micros();
    let (whole, decimals, unit): (_, &[u128], &[u8]) = match micros {
        0..1_000 => (micros, &[], b"us"),
        1_000..1_000_000 => (micros / 1_000, &[micros / 100 % 10], b"ms"),
        _ => (
            micros / 1_000_000,
            &[micros / 100_000 % 10, micros / 10_000 % 10],
            b"s",
        ),
    };
    value::integer(whole, out);
    if !decimals.is_empty() {
        out.push(b'.');
    }
    out.extend(decimals.iter().map(|&digit| b'0' + digit as u8));
    out.extend_from_slice(unit);
}

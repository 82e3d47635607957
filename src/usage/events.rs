//! The data of the events in a `text/event-stream`, found while the stream
//! passes in pieces of any size.
//!
//! As the WHATWG standard has it ("HTML", 9.2.6): lines end by LF, CR or both;
//! the lines `data` of an event are joined by LF; an empty line ends the event;
//! all other lines are passed over, and so is a byte order mark at the
//! beginning. Other than there, an event that the stream breaks off counts as
//! far as it has come.

use memchr::memchr2;

use super::MARK;

/// The data of an event, as it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventPart<'a> {
    /// Some of it.
    Data(&'a [u8]),
    /// An event ends.
    End,
}

/// Finds the data of events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: EventLine,
    /// The last byte was a CR, whose line an LF would end too.
    after_cr: bool,
    /// The present event has data.
    has_data: bool,
    /// Bytes of a byte order mark that were passed; all of them after the
    /// first other byte.
    mark: usize,
}

/// How much of a line has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventLine {
    /// This much of the field's name, so far that of `data`.
    Name(usize),
    /// The colon, after which one space is left out.
    Colon,
    /// Some of the data.
    Data,
    /// The beginning of another field, or of a comment.
    Other,
}

impl Default for EventLine {
    fn default() -> Self {
        Self::Name(0)
    }
}

const FIELD: &[u8] = b"data";

impl EventReader {
    /// Reads one more piece, and calls `each` with what belongs to events.
    pub(super) fn read(&mut self, piece: &[u8], mut each: impl FnMut(EventPart<'_>)) {
        let mut rest = piece;
        while let Some((first, others)) = rest.split_first() {
            if self.mark < MARK.len() {
                if MARK[self.mark] == *first {
                    self.mark += 1;
                    rest = others;
                    continue;
                }
                // A part of a mark is the beginning of some line.
                if std::mem::replace(&mut self.mark, MARK.len()) > 0 {
                    self.line = EventLine::Other;
                }
            }
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = others;
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            self.read_line(&rest[..end], &mut each);
            let Some(byte) = rest.get(end) else {
                return;
            };
            self.end_line(&mut each);
            self.after_cr = *byte == b'\r';
            rest = &rest[end + 1..];
        }
    }

    /// Reads a part of a line.
    fn read_line(&mut self, part: &[u8], each: &mut impl FnMut(EventPart<'_>)) {
        let mut rest = part;
        while let Some((first, others)) = rest.split_first() {
            match self.line {
                EventLine::Other => return,
                EventLine::Data => return each(EventPart::Data(rest)),
                EventLine::Colon => {
                    self.begin_data(each);
                    if *first != b' ' {
                        continue;
                    }
                }
                EventLine::Name(passed) => {
                    self.line = match FIELD.get(passed) {
                        Some(wanted) if wanted == first => EventLine::Name(passed + 1),
                        None if *first == b':' => EventLine::Colon,
                        _ => EventLine::Other,
                    }
                }
            }
            rest = others;
        }
    }

    /// Begins a line of data, which another one of the event may precede.
    fn begin_data(&mut self, each: &mut impl FnMut(EventPart<'_>)) {
        if std::mem::replace(&mut self.has_data, true) {
            each(EventPart::Data(b"\n"));
        }
        self.line = EventLine::Data;
    }

    /// Ends a line, and the event if it is empty.
    fn end_line(&mut self, each: &mut impl FnMut(EventPart<'_>)) {
        match std::mem::take(&mut self.line) {
            EventLine::Name(0) if std::mem::take(&mut self.has_data) => each(EventPart::End),
            // Data without a character.
            EventLine::Name(4) | EventLine::Colon => {
                self.begin_data(each);
                self.line = EventLine::default();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of the events of a stream in pieces of this length; the last
    /// is of the event that has not ended.
    fn events(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut reader, mut events) = (EventReader::default(), vec![Vec::new()]);
        for piece in stream.chunks(piece) {
            reader.read(piece, |part| match part {
                EventPart::Data(data) => events.last_mut().unwrap().extend_from_slice(data),
                EventPart::End => events.push(Vec::new()),
            });
        }
        events
    }

    /// The same, of the whole stream line by line.
    fn slowly(stream: &[u8]) -> Vec<Vec<u8>> {
        let stream = stream.strip_prefix(MARK).unwrap_or(stream);
        let (mut events, mut data) = (Vec::new(), Vec::<Vec<u8>>::new());
        let (mut lines, mut line, mut rest) = (Vec::new(), Vec::new(), stream);
        while let [first, others @ ..] = rest {
            rest = match (first, others) {
                (b'\r', [b'\n', others @ ..]) | (b'\r' | b'\n', others) => {
                    lines.push(std::mem::take(&mut line));
                    others
                }
                _ => {
                    line.push(*first);
                    others
                }
            };
        }
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = match colon {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (&line[..], &[][..]),
            };
            if line.is_empty() && !data.is_empty() {
                events.push(std::mem::take(&mut data).join(&b'\n'));
            } else if name == FIELD {
                data.push(value.strip_prefix(b" ").unwrap_or(value).to_vec());
            }
        }
        // The part that has come of the line that has not ended.
        let begun = line.strip_prefix(b"data:");
        if let Some(value) = begun.filter(|value| !value.is_empty()) {
            data.push(value.strip_prefix(b" ").unwrap_or(value).to_vec());
        }
        events.push(data.join(&b'\n'));
        events
    }

    #[test]
    fn events_are_those_of_the_standard() {
        let stream = b"\xEF\xBB\xBFdata: a\ndata:b\r\ndata:  c\rid: 1\n: comment\nevent: x\ndatax: 1\n\n\n\ndata\n\ndata: [DONE]";
        for piece in [1, 2, 3, 1000] {
            let events = events(stream, piece);
            assert_eq!(events, [&b"a\nb\n c"[..], b"", b"[DONE]"], "{piece}");
        }
    }

    #[test]
    fn a_part_of_a_mark_is_the_beginning_of_a_line_without_data() {
        for piece in [1, 1000] {
            assert_eq!(events(b"\xEF\xBBdata: a\n\ndata: b", piece), [b"b"]);
        }
    }

    proptest! {
        #[test]
        fn a_stream_in_pieces_reads_as_line_by_line(
            lines in prop::collection::vec(prop_oneof![
                Just("data: a"), Just("data:b"), Just("data:  c"), Just("data"), Just("data:"), Just("dat"), Just("data:\u{feff}"),
                Just("datas: x"), Just(": data: x"), Just(" data: x"), Just(""), Just("id: 7"), Just("\u{feff}data: x"), Just(":"),
            ], 0..12),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r"), Just("\r\n")], 12),
            has_mark in any::<bool>(),
            piece in 1_usize..10,
        ) {
            let mut stream = if has_mark { "\u{feff}".to_owned() } else { String::new() };
            for (line, end) in lines.iter().zip(&ends) {
                stream.push_str(line);
                stream.push_str(end);
            }
            prop_assert_eq!(events(stream.as_bytes(), piece), slowly(stream.as_bytes()), "{:?}", stream);
        }
    }
}

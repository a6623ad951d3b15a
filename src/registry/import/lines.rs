//! Lines of bounded length from anything that can be read.

use std::io::{BufRead, Result};

/// Longest line accepted, in bytes: a thousand changes fit.
pub(super) const LINE_SIZE_MAX: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines into one buffer; the rest of a line that is too long is skipped, not kept.
pub(super) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// One line as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// Its bytes without line end and byte order mark.
    Whole(&'l [u8]),
    /// It was longer than [`LINE_SIZE_MAX`].
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, line: Vec::new(), number: 0, bytes: 0 }
    }

    /// Returns the number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut too_long, mut begun) = (false, false);
        loop {
            let available = match self.from.fill_buf() {
                Ok([]) if !begun => return Ok(None),
                Ok([]) => break,
                Ok(available) => available,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            begun = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = &available[..end.unwrap_or(available.len())];
            too_long |= self.line.len() + taken.len() > LINE_SIZE_MAX;
            if !too_long {
                self.line.extend_from_slice(taken);
            }
            let used = end.map_or(available.len(), |end| end + 1);
            self.from.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        Ok(Some(if too_long { Line::TooLong } else { Line::Whole(self.trimmed()) }))
    }

    fn trimmed(&self) -> &[u8] {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if self.number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_end_with_or_without_carriage_return_and_at_the_end() {
        let mut lines = Lines::new(BufReader::with_capacity(3, b"\xef\xbb\xbfone\r\n\ntwo".as_slice()));
        for expected in [b"one".as_slice(), b"", b"two"] {
            assert_eq!(lines.next().unwrap(), Some(Line::Whole(expected)));
        }
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!((lines.number(), lines.bytes()), (3, 12));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        let mut input = vec![b'x'; LINE_SIZE_MAX + 1];
        input.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(input.as_slice());
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
        assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"next")));
        let exact = vec![b'x'; LINE_SIZE_MAX];
        assert_eq!(Lines::new(exact.as_slice()).next().unwrap(), Some(Line::Whole(exact.as_slice())));
    }
}

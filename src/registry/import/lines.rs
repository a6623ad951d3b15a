//! Lines of bounded length from anything that can be read.

use std::io::{BufRead, Result};

/// Longest line accepted, in bytes: a thousand changes fit.
pub(super) const LINE_SIZE_MAX: usize = 64 * 1024;

/// Reads lines into one buffer; the rest of a line that is too long is skipped, not kept.
pub(super) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    is_ended: bool,
}

/// One line as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// Its bytes without line end.
    Whole(&'l [u8]),
    /// It was longer than [`LINE_SIZE_MAX`].
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, line: Vec::new(), number: 0, bytes: 0, is_ended: true }
    }

    /// Returns the number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Says whether the line read last ended with a line break, as every line but a file's last must.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
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
            self.is_ended = end.is_some();
            if self.is_ended {
                break;
            }
        }
        self.number += 1;
        Ok(Some(if too_long { Line::TooLong } else { Line::Whole(self.trimmed()) }))
    }

    fn trimmed(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_end_with_or_without_carriage_return_and_at_the_end() {
        let mut lines = Lines::new(BufReader::with_capacity(3, b"one\r\n\ntwo".as_slice()));
        for (expected, is_ended) in [(b"one".as_slice(), true), (b"", true), (b"two", false)] {
            assert_eq!(lines.next().unwrap(), Some(Line::Whole(expected)));
            assert_eq!(lines.is_ended(), is_ended);
        }
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!((lines.number(), lines.bytes()), (3, 9));
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

//! Changes as files hand them to the authority's stream: one JSON object a line, in the words of an import.

use std::borrow::Cow;
use std::io::BufRead;

use serde::Deserialize;

use super::encoding::Encoding;
use super::error::{ImportError, LineFault};
use super::lines::{Line, Lines};
use super::ndjson::{self, ChangeLine};
use crate::domain::licence::{DocumentKind, LicenceNumber, NumberRules};
use crate::registry::submission::NewChange;

/// A change with its envelope.
#[derive(Clone, Debug)]
pub struct FiledChange {
    /// The feed, if the line names one.
    pub source: Option<String>,
    /// The authority's id of it.
    pub id: String,
    /// Its place in the sequence of its subject and feed.
    pub sequence: u64,
    /// The document of the number.
    pub document: DocumentKind,
    /// A number of the subject.
    pub number: LicenceNumber,
    /// What it says.
    pub change: NewChange,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FiledLine<'l> {
    #[serde(borrow, default)]
    source: Option<Cow<'l, str>>,
    #[serde(borrow)]
    id: Cow<'l, str>,
    sequence: u64,
    #[serde(borrow, default)]
    document: Option<Cow<'l, str>>,
    #[serde(borrow)]
    number: Cow<'l, str>,
    #[serde(borrow)]
    change: ChangeLine<'l>,
}

/// A line by its number in the input, from 1: a change, or what is wrong with it.
pub type NumberedChange = (u64, Result<FiledChange, LineFault>);

/// Reads changes line by line; empty lines are skipped.
pub struct FiledChanges<R> {
    lines: Lines<R>,
    rules: NumberRules,
}

impl<R: BufRead> FiledChanges<R> {
    /// Begins to read.
    pub fn new(from: R, rules: NumberRules) -> Self {
        Self { lines: Lines::new(from), rules }
    }

    /// Reads the next line: its number, and the change or what is wrong with it. `None` at the end.
    ///
    /// # Errors
    /// [`ImportError::Read`] or [`ImportError::NotUtf8`]: nothing behind can be read.
    #[allow(clippy::should_implement_trait, reason = "an error of reading is not an item")]
    pub fn next(&mut self) -> Result<Option<NumberedChange>, ImportError> {
        loop {
            let before = self.lines.number();
            let line = self.lines.next().map_err(|source| ImportError::Read { line: before, source })?;
            let number = before + 1;
            return match line {
                None => Ok(None),
                Some(Line::Whole([])) => continue,
                Some(Line::TooLong) => Ok(Some((number, Err(LineFault::TooLong)))),
                Some(Line::Whole(bytes)) => match std::str::from_utf8(without_mark(bytes, number)?) {
                    Ok(text) => Ok(Some((number, parse(text, self.rules)))),
                    Err(_) => Err(ImportError::NotUtf8 { line: number }),
                },
            };
        }
    }
}

/// Takes the byte order mark off the first line.
fn without_mark(bytes: &[u8], line: u64) -> Result<&[u8], ImportError> {
    if line == 1 { Encoding::Utf8.without_mark(bytes) } else { Ok(bytes) }
}

fn parse(text: &str, rules: NumberRules) -> Result<FiledChange, LineFault> {
    let line: FiledLine<'_> = serde_json::from_str(text).map_err(|error| ndjson::shape_fault(&error))?;
    let document = ndjson::document(line.document.as_deref(), "document")?;
    Ok(FiledChange {
        source: line.source.map(Cow::into_owned),
        id: line.id.into_owned(),
        sequence: line.sequence,
        document,
        number: ndjson::number(document, &line.number, rules, "number")?,
        change: line.change.parse("change", rules)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: NumberRules = NumberRules { accept_test_numbers: true };

    fn read(text: &str) -> Vec<NumberedChange> {
        let mut changes = FiledChanges::new(text.as_bytes(), RULES);
        std::iter::from_fn(|| changes.next().unwrap()).collect()
    }

    #[test]
    fn a_line_is_an_envelope_and_a_change_and_bad_ones_are_named() {
        let good = r#"{"id":"c-1","sequence":1,"number":"000000199001010018","change":{"effective":"2026-11-01","recorded_at":"2026-11-01T08:00:00+08:00","kind":"state-set","letter":"F"}}"#;
        let text = format!("\u{feff}{good}\n\n{{\"id\":1}}\n{}\nnot json", good.replace("\"F\"", "\"f\""));
        let lines = read(&text);
        let numbers: Vec<_> = lines.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4, 5]);
        let first = lines[0].1.as_ref().unwrap();
        assert_eq!((first.id.as_str(), first.sequence, first.source.as_deref()), ("c-1", 1, None));
        let faults: Vec<_> =
            lines[1..].iter().map(|(_, line)| line.as_ref().unwrap_err().to_string()).collect();
        assert!(faults[1].contains("change.letter"), "{faults:?}");
        assert!(faults.iter().all(|fault| !fault.contains("not json")), "{faults:?}");
    }

    #[test]
    fn what_is_no_text_ends_the_reading() {
        let mut changes = FiledChanges::new(b"\n\xff\xfe\n".as_slice(), RULES);
        assert!(matches!(changes.next(), Err(ImportError::NotUtf8 { line: 2 })));
    }
}

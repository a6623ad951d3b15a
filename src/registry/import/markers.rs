//! The lines around the lines: which version of the format it is, and that nothing is missing at the end.
//!
//! ```text
//! {"drivegate-licences":1,"part":"begin"}
//! …
//! {"drivegate-licences":1,"part":"end","subjects":12345}
//! ```
//!
//! Both may be absent: then the lines are of version 1, and a file cut between two lines looks whole. A CSV may begin with
//! `#drivegate-licences 1`.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::error::ImportError;

/// The version this program writes, and the newest it reads.
pub(super) const FORMAT_VERSION: u64 = 1;
const KEY: &str = "\"drivegate-licences\"";
const CSV_WORD: &str = "#drivegate-licences";

/// A marker as it stands. Newer versions may say more: what they say is not read, only that they are newer.
#[derive(Serialize, Deserialize)]
struct MarkerLine<'l> {
    #[serde(rename = "drivegate-licences")]
    version: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    part: Option<std::borrow::Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subjects: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// What an end line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd {
    /// Licences written.
    pub subjects: u64,
    /// Licences that could not be written.
    pub left_out: u64,
}

/// Whether the lines read belong to a file that says where it ends.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// Lines of licences since the begin line.
    open: Option<u64>,
}

impl Markers {
    /// Reads a line of NDJSON if it is a marker; says whether it was one.
    ///
    /// # Errors
    /// [`ImportError::NewerFormat`], [`ImportError::Marker`], [`ImportError::LinesMissing`].
    pub(super) fn take(&mut self, text: &str, line: u64) -> Result<bool, ImportError> {
        if !is_marker(text) {
            return Ok(false);
        }
        let marker: MarkerLine<'_> = serde_json::from_str(text).map_err(|_| ImportError::Marker { line })?;
        check_version(marker.version, line)?;
        match (marker.part.as_deref(), self.open, marker.subjects) {
            (Some("begin"), None, None) => self.open = Some(0),
            (Some("begin"), Some(_), None) => return Err(ImportError::NoEnd { line: line - 1 }),
            (Some("end"), Some(found), Some(said)) if found == said => self.open = None,
            (Some("end"), Some(found), Some(said)) => {
                return Err(ImportError::LinesMissing { line, said, found });
            }
            _ => return Err(ImportError::Marker { line }),
        }
        Ok(true)
    }

    /// Counts a line of a licence, good or bad.
    pub(super) fn count(&mut self) {
        if let Some(lines) = &mut self.open {
            *lines += 1;
        }
    }

    /// Checks the end of the input.
    ///
    /// # Errors
    /// [`ImportError::NoEnd`] when a begin line stands without its end line.
    pub(super) fn finish(&self, line: u64) -> Result<(), ImportError> {
        if self.open.is_some() { Err(ImportError::NoEnd { line }) } else { Ok(()) }
    }
}

fn is_marker(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('{');
    inside.is_some_and(|inside| inside.trim_start().starts_with(KEY))
}

/// Reads the version line of a CSV; says whether it was one.
///
/// # Errors
/// [`ImportError::NewerFormat`], [`ImportError::Marker`].
pub(super) fn csv_version(text: &str, line: u64) -> Result<bool, ImportError> {
    let Some(version) = text.strip_prefix(CSV_WORD) else { return Ok(false) };
    // Spreadsheets pad lines with empty cells.
    let version = version.trim().trim_end_matches(',');
    check_version(version.parse().map_err(|_| ImportError::Marker { line })?, line)?;
    Ok(true)
}

fn check_version(found: u64, line: u64) -> Result<(), ImportError> {
    match found {
        FORMAT_VERSION => Ok(()),
        0 => Err(ImportError::Marker { line }),
        found => Err(ImportError::NewerFormat { line, found, known: FORMAT_VERSION }),
    }
}

/// Writes the line a file of licences begins with.
///
/// # Errors
/// When the output cannot be written.
pub fn write_begin(out: &mut impl Write) -> std::io::Result<()> {
    write_marker("begin", None, out)
}

/// Writes the line it ends with.
///
/// # Errors
/// When the output cannot be written.
pub fn write_end(end: FileEnd, out: &mut impl Write) -> std::io::Result<()> {
    write_marker("end", Some(end), out)
}

fn write_marker(part: &str, end: Option<FileEnd>, out: &mut impl Write) -> std::io::Result<()> {
    let line = MarkerLine {
        version: FORMAT_VERSION,
        part: Some(part.into()),
        subjects: end.map(|end| end.subjects),
        left_out: end.map(|end| end.left_out).filter(|left_out| *left_out > 0),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Reads an end line; `None` when the line is none.
pub fn read_end(line: &[u8]) -> Option<FileEnd> {
    let marker: MarkerLine<'_> = serde_json::from_slice(line).ok()?;
    let ends = marker.part.as_deref() == Some("end") && marker.version == FORMAT_VERSION;
    let subjects = marker.subjects.filter(|_| ends)?;
    Some(FileEnd { subjects, left_out: marker.left_out.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"drivegate-licences":1,"part":"begin"}"#;

    #[test]
    fn what_is_written_is_read() {
        let end = FileEnd { subjects: 2, left_out: 1 };
        let mut text = Vec::new();
        write_begin(&mut text).unwrap();
        write_end(end, &mut text).unwrap();
        let lines: Vec<_> = std::str::from_utf8(&text).unwrap().lines().collect();
        assert_eq!(lines[0], BEGIN);
        assert_eq!(read_end(lines[1].as_bytes()), Some(end));
        assert_eq!(read_end(BEGIN.as_bytes()), None);
        let mut markers = Markers::default();
        assert!(markers.take(lines[0], 1).unwrap());
        assert!(!markers.take(r#"{"number":"…"}"#, 2).unwrap());
        markers.count();
        assert!(matches!(markers.finish(2), Err(ImportError::NoEnd { line: 2 })));
        markers.count();
        assert!(markers.take(lines[1], 4).unwrap());
        assert!(markers.finish(4).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let faults = [
            (r#"{"drivegate-licences":2,"part":"begin","sealed":true}"#, "format 2"),
            (r#" { "drivegate-licences" : 18446744073709551615 }"#, "format 18446744073709551615"),
            (r#"{"drivegate-licences":0,"part":"begin"}"#, "no usable marker"),
            (r#"{"drivegate-licences":"one"}"#, "no usable marker"),
            (r#"{"drivegate-licences":1,"part":"middle"}"#, "no usable marker"),
            (r#"{"drivegate-licences":1,"part":"end","subjects":0}"#, "no usable marker"),
        ];
        for (text, fault) in faults {
            let said = Markers::default().take(text, 7).unwrap_err().to_string();
            assert!(said.contains(fault) && said.contains("line 7"), "{said}");
        }
        let mut markers = Markers { open: Some(3) };
        let said = markers.take(r#"{"drivegate-licences":1,"part":"end","subjects":4}"#, 9).unwrap_err();
        assert!(matches!(said, ImportError::LinesMissing { line: 9, said: 4, found: 3 }));
        assert!(matches!(markers.take(BEGIN, 9), Err(ImportError::NoEnd { line: 8 })));
    }

    #[test]
    fn a_csv_may_say_its_version() {
        assert!(csv_version("#drivegate-licences 1,,,", 1).unwrap());
        assert!(!csv_version("number,name", 1).unwrap());
        assert!(matches!(
            csv_version("#drivegate-licences 3", 1),
            Err(ImportError::NewerFormat { found: 3, .. })
        ));
        assert!(matches!(csv_version("#drivegate-licences", 1), Err(ImportError::Marker { line: 1 })));
    }
}

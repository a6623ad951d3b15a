//! Why a line, or a whole import, cannot be taken. Never holds a value of the input.

use crate::registry::embedded::RegistryError;
use crate::registry::submission::Rejection;

/// Why an import ended early. What was committed before stays; running it again finishes it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The input cannot be read.
    #[error("cannot read the input after line {line}")]
    Read {
        /// The last line that was read.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The input is no UTF-8 text: say what it is, or convert it first.
    #[error(
        "line {line} is not UTF-8; for GB 18030, GBK or GB 2312 add --encoding gb18030, convert anything else to UTF-8 first"
    )]
    NotUtf8 {
        /// The first line that is not.
        line: u64,
    },
    /// The file says itself that it is UTF-8, the operator says that it is not.
    #[error(
        "line 1 begins with the byte order mark of UTF-8, but --encoding gb18030 was given: leave it out"
    )]
    OtherMark,
    /// The file was written for a newer version of this program.
    #[error(
        "line {line} says format {found}; this program reads up to format {known}: use the version that wrote the file"
    )]
    NewerFormat {
        /// The line that says so.
        line: u64,
        /// The file's version.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// A line that begins as a begin or end line of a file and is none.
    #[error("line {line} is no usable marker of a file's version, begin or end")]
    Marker {
        /// Which.
        line: u64,
    },
    /// The file has a begin line but no end line: it was cut. What it holds went in.
    #[error(
        "the file breaks off after line {line}: its end line is missing. Import the whole file; what was read is in"
    )]
    NoEnd {
        /// The last line there is.
        line: u64,
    },
    /// The end line says another number of lines than there were. What there was went in.
    #[error(
        "line {line} says that {said} lines stand before it, there are {found}. Import the whole file; what was read is in"
    )]
    LinesMissing {
        /// The end line.
        line: u64,
        /// What it says.
        said: u64,
        /// What there is.
        found: u64,
    },
    /// The first line of a CSV file does not name the columns as it must.
    #[error("the header line {0}")]
    Header(HeaderFault),
    /// The registry cannot be written.
    #[error("the registry cannot take the lines up to {line}")]
    Registry {
        /// The last line of the batch that failed.
        line: u64,
        /// Why.
        source: RegistryError,
    },
}

/// What is wrong with a CSV header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// A column nobody knows.
    #[error("names an unknown column (number {0})")]
    Unknown(usize),
    /// The same column twice.
    #[error("names the column {0} twice")]
    Twice(&'static str),
    /// A column that must be there.
    #[error("lacks the column {0}")]
    Lacks(&'static str),
    /// Longer than a line may be, or empty.
    #[error("is empty or too long")]
    Unusable,
}

/// Why one line was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Longer than a line may be.
    #[error("longer than 65536 bytes")]
    TooLong,
    /// A NUL byte: what a crash leaves where the file system had not written yet.
    #[error("holds a NUL byte: the file is damaged")]
    Nul,
    /// Bytes that are no text in the encoding that was declared.
    #[error("is not GB 18030")]
    NotGb18030,
    /// The last row of a CSV has no line break: nobody can tell whether it is whole.
    #[error("the file ends in the middle of this row; if it is whole, end it with a line break")]
    NoLineBreak,
    /// No JSON.
    #[error("not JSON (column {0})")]
    NotJson(usize),
    /// The line ends in the middle: a truncated file.
    #[error("ends in the middle of its JSON object")]
    EndsEarly,
    /// JSON of another shape: a field missing, unknown, twice, or of another type.
    #[error("not the expected fields and types (column {0})")]
    Shape(usize),
    /// Another number of columns than the header has.
    #[error("has {found} columns where the header has {expected}")]
    Columns {
        /// Columns of this line.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// A field holds what it cannot hold.
    #[error("{field}: {fault}")]
    Field {
        /// Its path, as in `changes[2].class`.
        field: String,
        /// What is wrong.
        fault: String,
    },
    /// The store did not take it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl LineFault {
    #[allow(clippy::needless_pass_by_value, reason = "called with literals and with faults just made")]
    pub(super) fn field(field: impl Into<String>, fault: impl ToString) -> Self {
        Self::Field { field: field.into(), fault: fault.to_string() }
    }
}

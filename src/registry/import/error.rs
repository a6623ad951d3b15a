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
    /// The input is no UTF-8 text: convert it first.
    #[error("line {line} is not UTF-8; convert the file first, for example: iconv -f GB18030 -t UTF-8 FILE")]
    NotUtf8 {
        /// The first line that is not.
        line: u64,
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
    pub(super) fn field(field: impl Into<String>, fault: impl ToString) -> Self {
        Self::Field { field: field.into(), fault: fault.to_string() }
    }
}

//! Bulk import: NDJSON and CSV, line by line, idempotent; bad lines are named with their reason and the rest goes in.
//!
//! The format is documented in `docs/import-format.md`.

mod at_once;
mod csv_rows;
mod encoding;
mod error;
mod importer;
mod lines;
mod markers;
mod ndjson;
mod rejects;
mod stream;
#[cfg(test)]
mod tests;

pub use encoding::Encoding;
pub use error::{HeaderFault, ImportError, LineFault};
pub use importer::{ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer};
pub use markers::{FileEnd, read_end, write_begin, write_end};
pub(in crate::registry) use ndjson::kind_word;
pub use ndjson::{write_line, write_verbatim};
pub use rejects::RejectsFile;
pub use stream::{FiledChange, FiledChanges};

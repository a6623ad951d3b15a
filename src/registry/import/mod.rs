//! Bulk import: NDJSON and CSV, line by line, idempotent; bad lines are named with their reason and the rest goes in.
//!
//! The format is documented in `docs/import-format.md`.

mod csv_rows;
mod error;
mod importer;
mod lines;
mod ndjson;
mod rejects;
mod stream;
#[cfg(test)]
mod tests;

pub use error::{HeaderFault, ImportError, LineFault};
pub use importer::{ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer};
pub(in crate::registry) use ndjson::kind_word;
pub use ndjson::write_line;
pub use rejects::RejectsFile;
pub use stream::{FiledChange, FiledChanges};

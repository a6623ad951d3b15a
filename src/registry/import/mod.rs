//! Bulk import: NDJSON and CSV, line by line, idempotent; bad lines are named with their reason and the rest goes in.
//!
//! The format is documented in `docs/import-format.md`.

mod csv_rows;
mod error;
mod importer;
mod lines;
mod ndjson;
mod rejects;

pub use error::{ImportError, LineFault};
pub use importer::{ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer};
pub use ndjson::write_line;
pub use rejects::RejectsFile;

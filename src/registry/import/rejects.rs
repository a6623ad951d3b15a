//! The rejects file: one JSON object a refused line, with its number and the reason, never its content.

use std::fs::File;
use std::io::{BufWriter, Result, Write as _};
use std::path::{Path, PathBuf};

/// A rejects file, made with the first refused line, so that a clean import leaves none.
pub struct RejectsFile {
    path: PathBuf,
    out: Option<BufWriter<File>>,
}

impl RejectsFile {
    /// Names the file. One left by an earlier run is removed.
    ///
    /// # Errors
    /// When the earlier file cannot be removed.
    pub fn at(path: &Path) -> Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self { path: path.to_owned(), out: None }),
        }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, line: u64, reason: &str) -> Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            None => self.out.insert(BufWriter::new(File::create(&self.path)?)),
        };
        serde_json::to_writer(&mut *out, &serde_json::json!({ "line": line, "reason": reason }))?;
        out.write_all(b"\n")
    }

    /// Writes out what is buffered and returns the path, if anything was refused.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        let Some(mut out) = self.out else { return Ok(None) };
        out.flush()?;
        Ok(Some(self.path))
    }
}

//! A file of lines that a command takes in: where it is read from, and where the lines it refuses are named.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

/// Opens the file, and says how many bytes it has; `-` is standard input, whose end nobody knows.
pub(super) fn open(file: &Path) -> miette::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let opened = File::open(file).into_diagnostic();
    let opened = opened.wrap_err_with(|| format!("cannot open {}", file.display()))?;
    let size = opened.metadata().into_diagnostic()?.len();
    Ok((Box::new(opened), Some(size)))
}

/// Returns where refused lines are named: the path asked for, or one beside the file.
pub(super) fn rejects_path(asked: Option<&Path>, file: &Path) -> PathBuf {
    if let Some(path) = asked {
        return path.to_owned();
    }
    let mut path = if file == Path::new("-") { "stdin".into() } else { file.as_os_str().to_owned() };
    path.push(".rejects.ndjson");
    path.into()
}

//! Values on the command line: `--open name=value`.

use std::io::Read as _;

use crate::audit::entry::LeafName;
use crate::audit::receipt::{Opened, value_of};

/// The longest value read from a file: a question in JSON has 500 bytes.
const VALUE_BYTES_MAX: u64 = 8 * 1024;

/// Reads `name=value`; `name=@FILE` takes the value from a file, so that it does not end up in the shell's history.
///
/// # Errors
/// Lists the names, or says how the value is written. Never repeats the value.
pub(super) fn opened(text: &str) -> Result<Opened, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("is not name=value; {}", names()))?;
    let name: LeafName = name.parse().map_err(|_not_in_set| names())?;
    let value = match value.strip_prefix('@') {
        Some(path) => from_file(path)?,
        None => value.to_owned(),
    };
    let value = value_of(name, &value).map_err(|fault| fault.to_string())?;
    Ok(Opened { name, value })
}

/// Finds the first name given twice: a value would be looked at, and the other not.
pub(super) fn twice(opened: &[Opened]) -> Option<LeafName> {
    let is_repeated = |at: usize| opened[..at].iter().any(|before| before.name == opened[at].name);
    (1..opened.len()).find(|at| is_repeated(*at)).map(|at| opened[at].name)
}

fn names() -> String {
    let words: Vec<_> = LeafName::ALL.iter().map(|name| name.word()).collect();
    format!("names are {}", words.join(", "))
}

fn from_file(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let read = file.take(VALUE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

//! From a position in a contract's text to the line and key an operator looks for.

use std::ops::Range;

use toml::Spanned;

use super::ContractFault;

/// Turns positions in the text into lines.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) text: &'a str,
}

impl Place<'_> {
    pub(super) fn fault<T>(self, at: &Spanned<T>, key: &str, what: impl Into<String>) -> ContractFault {
        self.fault_at(at.span(), key, what)
    }

    pub(super) fn fault_at(self, span: Range<usize>, key: &str, what: impl Into<String>) -> ContractFault {
        ContractFault { line: self.line(span.start), key: key.to_owned(), what: what.into() }
    }

    /// Takes the decoder's own finding apart: its `Display` draws the line, we want number and key.
    pub(super) fn decode_fault(self, error: toml::de::Error) -> ContractFault {
        let start = error.span().map_or(0, |span| span.start);
        let what = error.message().trim_end().to_owned();
        let key = self.key_at(start).or_else(|| path_in(error)).unwrap_or_else(|| "(document)".to_owned());
        ContractFault { line: self.line(start), key, what }
    }

    fn line(self, position: usize) -> usize {
        let before = &self.text.as_bytes()[..position.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Reads the key (or table) written on the line at a position.
    fn key_at(self, position: usize) -> Option<String> {
        let line = self.text.lines().nth(self.line(position) - 1)?.trim();
        if let Some(header) = line.strip_prefix('[') {
            return Some(header.trim_matches(|char| char == '[' || char == ']').to_owned());
        }
        let key = line.split_once('=')?.0.trim();
        if key.is_empty() || key.starts_with('#') {
            return None;
        }
        Some(match self.table_above(position) {
            Some(table) => format!("{table}.{key}"),
            None => key.to_owned(),
        })
    }

    fn table_above(self, position: usize) -> Option<String> {
        let lines = self.text.lines().take(self.line(position));
        let header = lines.filter(|line| line.trim_start().starts_with('[') && !line.contains('=')).last()?;
        let name: String =
            header.chars().filter(|char| char.is_ascii_alphanumeric() || "._-".contains(*char)).collect();
        Some(name).filter(|name| !name.is_empty())
    }
}

/// The decoder tells the path of keys only in its `Display`, and only when it has no text to draw.
fn path_in(mut error: toml::de::Error) -> Option<String> {
    error.set_input(None);
    let shown = error.to_string();
    let (_, path) = shown.rsplit_once("\nin `")?;
    Some(path.trim_end().trim_end_matches('`').to_owned())
}

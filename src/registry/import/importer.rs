//! The import itself: lines in, batches to the store, progress out. Blocking.

use std::io::{BufRead, BufReader, Read};

use jiff::civil::Date;

use super::csv_rows::Header;
use super::encoding::Encoding;
use super::error::{HeaderFault, ImportError, LineFault};
use super::lines::{Line, Lines};
use super::markers::{Markers, csv_version};
use super::ndjson;
use crate::domain::licence::NumberRules;
use crate::registry::store::{FeedHeads, LicenceStore, wait};
use crate::registry::submission::{Outcome, Submission};

const READ_SIZE: usize = 256 * 1024;

/// What an import reads, and how.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// How the input is written.
    pub format: ImportFormat,
    /// How its characters are written.
    pub encoding: Encoding,
    /// Which numbers are accepted.
    pub rules: NumberRules,
    /// The day a CSV snapshot is true for; nothing is known from before it.
    pub as_of: Date,
    /// Subjects per commit. 4,000 make a commit's sync cheap and a crash's loss small.
    pub batch_size: usize,
}

impl ImportOptions {
    /// Options for a format, with the usual batch size.
    pub fn new(format: ImportFormat, rules: NumberRules, as_of: Date) -> Self {
        Self { format, encoding: Encoding::Utf8, rules, as_of, batch_size: 4_000 }
    }

    /// The same for an input written otherwise.
    pub fn encoded(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }
}

/// How an import is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header line.
    Csv,
}

/// What an import has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// Lines read; empty ones, a CSV header, begin and end lines do not count.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Subjects created.
    pub created: u64,
    /// Histories that grew.
    pub appended: u64,
    /// Lines that said nothing new.
    pub unchanged: u64,
    /// Lines not taken.
    pub rejected: u64,
}

/// What an import says on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportProgress {
    /// A batch is durable; the counts so far.
    Advanced(ImportReport),
    /// A line was not taken.
    Rejected {
        /// Its number in the input, from 1.
        line: u64,
        /// Why; never its content.
        reason: LineFault,
    },
}

/// Imports lines into a store.
pub struct Importer<'r> {
    registry: &'r dyn LicenceStore,
    options: ImportOptions,
}

impl<'r> Importer<'r> {
    /// Prepares an import.
    pub fn new(registry: &'r dyn LicenceStore, options: ImportOptions) -> Self {
        Self { registry, options }
    }

    /// Imports everything `input` holds. Blocking; each batch is durable before the next one is read.
    ///
    /// # Errors
    /// See [`ImportError`]. What was committed before stays, and running the import again finishes it.
    pub fn import(
        &self,
        input: impl Read,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport, ImportError> {
        let began = wait(self.registry.heads());
        let mut run = Run {
            importer: self,
            began: began.map_err(|source| ImportError::Registry { line: 0, source })?,
            header: None,
            markers: Markers::default(),
            batch: Vec::new(),
            places: Vec::new(),
            report: ImportReport::default(),
            progress,
        };
        run.read(Lines::new(BufReader::with_capacity(READ_SIZE, input)))?;
        Ok(run.report)
    }
}

struct Run<'i> {
    importer: &'i Importer<'i>,
    /// Where the feed stood when the import began: subjects created later came in with it.
    began: FeedHeads,
    header: Option<Header>,
    markers: Markers,
    batch: Vec<Submission>,
    /// The lines the batch's submissions stand in.
    places: Vec<u64>,
    report: ImportReport,
    progress: &'i mut dyn FnMut(ImportProgress),
}

impl Run<'_> {
    fn read(&mut self, mut lines: Lines<impl BufRead>) -> Result<(), ImportError> {
        loop {
            let read = lines.number();
            let line = lines.next().map_err(|source| ImportError::Read { line: read, source });
            let line = match line {
                Ok(line) => line,
                // What was read whole before the fault goes in.
                Err(error) => {
                    self.commit()?;
                    return Err(error);
                }
            };
            let number = read + 1;
            let parsed = match line {
                None => break,
                Some(Line::TooLong) => Some(Err(LineFault::TooLong)),
                Some(Line::Whole(bytes)) => match self.parse(bytes, number) {
                    Ok(parsed) => parsed,
                    Err(error) => {
                        self.commit()?;
                        return Err(error);
                    }
                },
            };
            // The end of a cut row may look like a whole one: a letter less, a digit less.
            let is_cut = self.importer.options.format == ImportFormat::Csv && !lines.is_ended();
            let parsed = if is_cut { parsed.map(|_| Err(LineFault::NoLineBreak)) } else { parsed };
            self.report.bytes = lines.bytes();
            match parsed {
                None => continue,
                Some(Ok(submission)) => {
                    self.batch.push(submission);
                    self.places.push(number);
                }
                Some(Err(fault)) => self.reject(number, fault),
            }
            self.report.lines += 1;
            self.markers.count();
            if self.batch.len() >= self.importer.options.batch_size.max(1) {
                self.commit()?;
            }
        }
        self.report.bytes = lines.bytes();
        if self.header.is_none() && self.importer.options.format == ImportFormat::Csv {
            return Err(ImportError::Header(HeaderFault::Unusable));
        }
        self.commit()?;
        self.markers.finish(lines.number())
    }

    /// Parses a line; `None` for one that holds no licence: empty, a CSV header, a begin or end line.
    fn parse(
        &mut self,
        bytes: &[u8],
        line: u64,
    ) -> Result<Option<Result<Submission, LineFault>>, ImportError> {
        let ImportOptions { format, encoding, rules, as_of, .. } = self.importer.options;
        let bytes = if line == 1 { encoding.without_mark(bytes)? } else { bytes };
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.contains(&0) {
            return Ok(Some(Err(LineFault::Nul)));
        }
        let Some(text) = encoding.text(bytes) else {
            return match encoding {
                Encoding::Utf8 => Err(ImportError::NotUtf8 { line }),
                Encoding::Gb18030 => Ok(Some(Err(LineFault::NotGb18030))),
            };
        };
        Ok(match (format, &self.header) {
            (ImportFormat::Ndjson, _) if self.markers.take(&text, line)? => None,
            (ImportFormat::Ndjson, _) => Some(ndjson::parse(&text, rules)),
            (ImportFormat::Csv, Some(header)) => Some(header.row(&text, rules, as_of)),
            (ImportFormat::Csv, None) if line == 1 && csv_version(&text, line)? => None,
            (ImportFormat::Csv, None) => {
                self.header = Some(Header::parse(&text).map_err(ImportError::Header)?);
                None
            }
        })
    }

    fn commit(&mut self) -> Result<(), ImportError> {
        let line = self.places.last().copied().unwrap_or_default();
        let applied = wait(self.importer.registry.apply_since(&self.batch, Some(&self.began)));
        let outcomes = applied.map_err(|source| ImportError::Registry { line, source })?;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Outcome::Created(_) => self.report.created += 1,
                Outcome::Appended(_) => self.report.appended += 1,
                Outcome::Unchanged => self.report.unchanged += 1,
                Outcome::Rejected(rejection) => self.reject(self.places[index], rejection.into()),
            }
        }
        self.batch.clear();
        self.places.clear();
        (self.progress)(ImportProgress::Advanced(self.report));
        Ok(())
    }

    fn reject(&mut self, line: u64, reason: LineFault) {
        self.report.rejected += 1;
        (self.progress)(ImportProgress::Rejected { line, reason });
    }
}

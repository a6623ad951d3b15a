//! The import itself: lines in, batches to the store, progress out. Blocking.

use std::io::{BufRead, BufReader, Read};

use jiff::civil::Date;

use super::at_once;
use super::csv_rows::Header;
use super::encoding::Encoding;
use super::error::{HeaderFault, ImportError, LineFault};
use super::lines::{Line, Lines};
use super::markers::{Markers, csv_version};
use super::ndjson;
use crate::domain::licence::NumberRules;
use crate::registry::embedded::BulkLoad;
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
    /// From so many lines on an empty store takes all of them at once, if it can; `None`: never, as beside a gateway's other work.
    pub first_load_min: Option<usize>,
}

/// Lines from which a first load pays. They are held in memory until it is known that there are as many.
const FIRST_LOAD_MIN: usize = 16_000;

impl ImportOptions {
    /// Options for a format, with the usual batch size.
    pub fn new(format: ImportFormat, rules: NumberRules, as_of: Date) -> Self {
        Self { format, encoding: Encoding::Utf8, rules, as_of, batch_size: 4_000, first_load_min: None }
    }

    /// The same where nobody else works on the store: an empty one is loaded at once.
    pub fn alone(self) -> Self {
        Self { first_load_min: Some(FIRST_LOAD_MIN), ..self }
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
    /// Everything came in at once, as a first load: worth tidying the store's file after.
    LoadedAtOnce,
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

    /// Imports everything `input` holds. Blocking; each batch is durable before the next one is read, or everything at once at the end
    /// ([`ImportOptions::first_load_min`]).
    ///
    /// # Errors
    /// See [`ImportError`]. What was committed before stays, and running the import again finishes it. What was read whole before a fault of
    /// the input is committed.
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
        let mut lines = Lines::new(BufReader::with_capacity(READ_SIZE, input));
        if let Some(first_load) = run.begin(&mut lines)? {
            at_once::load(&mut run, lines, first_load)?;
        } else {
            run.read(lines)?;
        }
        Ok(run.report)
    }
}

pub(super) struct Run<'i> {
    importer: &'i Importer<'i>,
    /// Where the feed stood when the import began: subjects created later came in with it.
    began: FeedHeads,
    header: Option<Header>,
    markers: Markers,
    pub(super) batch: Vec<Submission>,
    /// The lines the batch's submissions stand in.
    pub(super) places: Vec<u64>,
    pub(super) report: ImportReport,
    pub(super) progress: &'i mut dyn FnMut(ImportProgress),
}

impl<'i> Run<'i> {
    /// Reads ahead where a first load may be meant, and begins it if it is.
    fn begin(&mut self, lines: &mut Lines<impl BufRead>) -> Result<Option<BulkLoad<'i>>, ImportError> {
        let Some(count_min) = self.importer.options.first_load_min else { return Ok(None) };
        // A registry that holds changes has had its first load.
        if self.began.changes() > 0 {
            return Ok(None);
        }
        match self.fill(lines, count_min) {
            Ok(false) => {
                let begun = self.importer.registry.first_load();
                begun.map_err(|source| ImportError::Registry { line: lines.number(), source })
            }
            Ok(true) => Ok(None),
            Err(error) => {
                self.commit()?;
                Err(error)
            }
        }
    }

    fn read(&mut self, mut lines: Lines<impl BufRead>) -> Result<(), ImportError> {
        loop {
            let filled = self.fill(&mut lines, self.importer.options.batch_size.max(1));
            // What was read whole before a fault goes in.
            match filled {
                Ok(is_ended) => {
                    self.commit()?;
                    if is_ended {
                        return self.finish(&lines);
                    }
                }
                Err(error) => {
                    self.commit()?;
                    return Err(error);
                }
            }
        }
    }

    /// Judges the input once all of it was read.
    pub(super) fn finish(&self, lines: &Lines<impl BufRead>) -> Result<(), ImportError> {
        self.markers.finish(lines.number())
    }

    /// Reads until so many submissions wait; says whether the input ended before.
    pub(super) fn fill(
        &mut self,
        lines: &mut Lines<impl BufRead>,
        count_max: usize,
    ) -> Result<bool, ImportError> {
        while self.batch.len() < count_max {
            let read = lines.number();
            let line = lines.next().map_err(|source| ImportError::Read { line: read, source })?;
            let number = read + 1;
            let parsed = match line {
                None => {
                    self.report.bytes = lines.bytes();
                    if self.header.is_none() && self.importer.options.format == ImportFormat::Csv {
                        return Err(ImportError::Header(HeaderFault::Unusable));
                    }
                    return Ok(true);
                }
                Some(Line::TooLong) => Some(Err(LineFault::TooLong)),
                Some(Line::Whole(bytes)) => self.parse(bytes, number)?,
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
        }
        Ok(false)
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

    /// Commits what was read, a batch at a time.
    fn commit(&mut self) -> Result<(), ImportError> {
        let mut batch = std::mem::take(&mut self.batch);
        let mut places = std::mem::take(&mut self.places);
        loop {
            let count = batch.len().min(self.importer.options.batch_size.max(1));
            let (later, places_later) = (batch.split_off(count), places.split_off(count));
            self.commit_batch(&batch, &places)?;
            if later.is_empty() {
                return Ok(());
            }
            (batch, places) = (later, places_later);
        }
    }

    fn commit_batch(&mut self, batch: &[Submission], places: &[u64]) -> Result<(), ImportError> {
        let line = places.last().copied().unwrap_or_default();
        let applied = wait(self.importer.registry.apply_since(batch, Some(&self.began)));
        let outcomes = applied.map_err(|source| ImportError::Registry { line, source })?;
        for (outcome, place) in outcomes.into_iter().zip(places) {
            match outcome {
                Outcome::Created(_) => self.report.created += 1,
                Outcome::Appended(_) => self.report.appended += 1,
                Outcome::Unchanged => self.report.unchanged += 1,
                Outcome::Rejected(rejection) => self.reject(*place, rejection.into()),
            }
        }
        (self.progress)(ImportProgress::Advanced(self.report));
        Ok(())
    }

    pub(super) fn reject(&mut self, line: u64, reason: LineFault) {
        self.report.rejected += 1;
        (self.progress)(ImportProgress::Rejected { line, reason });
    }
}

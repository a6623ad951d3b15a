//! A first load says what batches say, is visible at its end and not before, and is left to batches where it does not pay.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::domain::licence::NumberRules;
use crate::registry::export::export;
use crate::registry::generator::Population;
use crate::registry::import::{
    FileEnd, ImportError, ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer, write_begin,
    write_end, write_line,
};
use crate::registry::suite::{ONE, THREE, TWO, licensed};
use crate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);
const DRIVERS: usize = 700;

fn store(folder: &Path) -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::open(folder, keys, RegistryOptions::default()).unwrap()
}

/// What an import told: its end, what was refused, and whether it came in at once.
struct Told {
    end: Result<ImportReport, ImportError>,
    refused: Vec<(u64, String)>,
    at_once: bool,
}

fn import(store: &EmbeddedRegistry, first_load_min: Option<usize>, input: impl Read) -> Told {
    let rules = NumberRules { accept_test_numbers: true };
    let options = ImportOptions {
        batch_size: 64,
        first_load_min,
        ..ImportOptions::new(ImportFormat::Ndjson, rules, AS_OF)
    };
    let (mut refused, mut at_once) = (Vec::new(), false);
    let end = Importer::new(store, options).import(input, &mut |progress| match progress {
        ImportProgress::Rejected { line, reason } => refused.push((line, reason.to_string())),
        ImportProgress::LoadedAtOnce => at_once = true,
        ImportProgress::Advanced(_) => {}
    });
    refused.sort();
    Told { end, refused, at_once }
}

fn licences(store: &EmbeddedRegistry) -> Vec<String> {
    let mut text = Vec::new();
    export(store, &mut text, &mut |_| {}).unwrap();
    let mut lines: Vec<_> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn line(number: &str, more: &str) -> String {
    let issued = r#"{"effective":"2015-03-01","recorded_at":"2015-03-01T02:00:00Z","kind":"issued"}"#;
    format!("{{\"number\":\"{number}\",\"name\":\"测试小明\",\"changes\":[{issued}{more}]}}\n")
}

/// A file with everything that is refused in it, between many lines that are not.
fn file() -> Vec<u8> {
    let mut text = Vec::new();
    write_begin(&mut text).unwrap();
    let mut drivers = Population::new(21, AS_OF).take(DRIVERS);
    for driver in drivers.by_ref().take(DRIVERS / 2) {
        write_line(&driver, &mut text).unwrap();
    }
    let renumbered = format!(
        r#",{{"effective":"2020-03-01","recorded_at":"2020-03-01T02:00:00Z","kind":"number-set","document":"resident-id","number":"{ONE}"}}"#
    );
    let back = r#",{"effective":"2014-01-01","recorded_at":"2014-01-01T02:00:00Z","kind":"points-cleared"}"#;
    let twice = [line(ONE, ""), line(TWO, &renumbered), line(THREE, back), line(ONE, ""), line(THREE, "")];
    for text_of in &twice {
        text.extend(text_of.as_bytes());
    }
    text.extend(b"{\n");
    for driver in drivers {
        write_line(&driver, &mut text).unwrap();
    }
    let subjects = (DRIVERS + twice.len() + 1) as u64;
    write_end(FileEnd { subjects, left_out: 0 }, &mut text).unwrap();
    text
}

#[test]
fn a_first_load_says_what_batches_say_and_its_repetition_changes_nothing() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (at_once, in_batches) = (store(one.path()), store(other.path()));
    let file = file();
    let [first, second] =
        [import(&at_once, Some(100), file.as_slice()), import(&in_batches, None, file.as_slice())];
    assert!(first.at_once && !second.at_once);
    assert_eq!(first.end.unwrap(), second.end.unwrap());
    assert_eq!(first.refused, second.refused);
    assert_eq!(first.refused.len(), 4, "{:?}", first.refused);
    assert_eq!(licences(&at_once), licences(&in_batches));
    assert_eq!(at_once.head().seq, 0, "it takes no place in the feed");
    let verified = at_once.verify(&mut |_| {}).unwrap();
    assert!(verified.is_sound(), "{verified:?}");

    let again = import(&at_once, Some(100), file.as_slice());
    let report = again.end.unwrap();
    assert!(!again.at_once);
    assert_eq!((report.created, report.appended, report.unchanged), (0, 0, DRIVERS as u64 + 3));
}

#[test]
fn what_was_read_whole_before_a_fault_goes_in() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (at_once, in_batches) = (store(one.path()), store(other.path()));
    let file = file();
    for cut in [file.len() / 2, file.len() - 3] {
        let [first, second] =
            [import(&at_once, Some(100), &file[..cut]), import(&in_batches, None, &file[..cut])];
        assert_eq!(first.end.unwrap_err().to_string(), second.end.unwrap_err().to_string());
        assert_eq!(licences(&at_once), licences(&in_batches));
    }
    assert!(matches!(import(&at_once, Some(100), file.as_slice()).end, Ok(report) if report.lines > 700));
}

#[test]
fn little_or_more_is_imported_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let file = file();
    let (little, _) = file.split_at(file.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    assert!(!import(&store, Some(10), little).at_once, "no line at all");
    store.apply(&[licensed(ONE)]).unwrap();
    assert!(!import(&store, Some(100), file.as_slice()).at_once, "somebody is there");
    let other = tempfile::tempdir().unwrap();
    assert!(!import(&self::store(other.path()), Some(10_000), file.as_slice()).at_once, "too few lines");
    let in_memory =
        EmbeddedRegistry::in_memory(Arc::new(RegistryKeys::ephemeral().unwrap()), RegistryOptions::default());
    assert!(!import(&in_memory.unwrap(), Some(100), file.as_slice()).at_once, "no folder to sort in");
}

/// An input that looks into the store whenever it is read.
struct Looking<'s> {
    store: &'s EmbeddedRegistry,
    rest: &'s [u8],
    looks: u32,
}

impl Read for Looking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let stats = self.store.stats().unwrap();
        assert_eq!((stats.subjects, stats.numbers), (0, 0), "nothing is visible yet");
        self.looks += 1;
        let count = buffer.len().min(4_096);
        self.rest.read(&mut buffer[..count])
    }
}

#[test]
fn nothing_is_visible_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let file = file();
    let mut looking = Looking { store: &store, rest: &file, looks: 0 };
    assert!(import(&store, Some(100), &mut looking).at_once);
    assert!(looking.looks > 20);
    assert_eq!(store.stats().unwrap().subjects, DRIVERS as u64 + 2);
}

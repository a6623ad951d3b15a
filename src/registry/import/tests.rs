//! Imports as an operator meets them: good lines go in, bad ones are named, repeating changes nothing.

use std::sync::Arc;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::licence::{ChangeKind, NumberRules};
use crate::domain::time::{Effective, start_of};
use crate::registry::generator::{Population, fixed_drivers};
use crate::registry::suite::{ONE, THREE, TWO, read};
use crate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};

const AS_OF: jiff::civil::Date = date(2026, 11, 1);

fn store() -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
}

fn options(format: ImportFormat, accept_test_numbers: bool) -> ImportOptions {
    let rules = NumberRules { accept_test_numbers };
    ImportOptions { batch_size: 3, ..ImportOptions::new(format, rules, AS_OF) }
}

type Told = (Result<ImportReport, ImportError>, Vec<(u64, String)>);

fn import_as(registry: &EmbeddedRegistry, options: ImportOptions, input: &[u8]) -> Told {
    let mut refused = Vec::new();
    let told = Importer::new(registry, options).import(input, &mut |progress| {
        if let ImportProgress::Rejected { line, reason } = progress {
            refused.push((line, reason.to_string()));
        }
    });
    (told, refused)
}

fn import(registry: &EmbeddedRegistry, input: &str) -> (ImportReport, Vec<(u64, String)>) {
    let (told, refused) = import_as(registry, options(ImportFormat::Ndjson, true), input.as_bytes());
    (told.unwrap(), refused)
}

fn line(number: &str, changes: &str) -> String {
    format!(r#"{{"number":"{number}","name":"测试小明","authority":"测A","changes":[{changes}]}}"#)
}

const ISSUED: &str = r#"{"effective":"2015-03-01","recorded_at":"2015-03-01T02:00:00Z","kind":"issued"}"#;
const C1: &str =
    r#"{"effective":"2015-03-01","recorded_at":"2015-03-01T02:00:00Z","kind":"class-added","class":"C1"}"#;
const POINTS: &str = r#"{"effective":"2020-03-01T08:00:00+08:00","recorded_at":"2020-03-02T00:00:00Z","kind":"points-set","points":3}"#;

fn counts(report: ImportReport) -> [u64; 5] {
    [report.lines, report.created, report.appended, report.unchanged, report.rejected]
}

#[test]
fn a_record_names_the_number_its_line_stands_under_beside_others() {
    let store = store();
    let renumbered = format!(
        r#"{ISSUED},{{"effective":"2020-03-01","recorded_at":"2020-03-01T02:00:00Z","kind":"number-set","document":"resident-id","number":"{TWO}"}}"#
    );
    assert_eq!(counts(import(&store, &line(ONE, &renumbered)).0), [1, 1, 0, 0, 0]);
    let [one, two] = [ONE, TWO].map(|text| read(&store, text).unwrap().record.unwrap());
    assert_eq!(one.subject, two.subject);
    let named = |change: &crate::domain::licence::Change| match &change.kind {
        ChangeKind::NumberSet { number, .. } => Some(number.expose().to_owned()),
        _ => None,
    };
    assert_eq!(one.history.changes().iter().filter_map(named).collect::<Vec<_>>(), [ONE, TWO]);
    assert!(store.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn every_generated_line_comes_back_to_the_same_changes() {
    let drivers: Vec<_> = fixed_drivers(AS_OF).chain(Population::new(3, AS_OF).take(2_000)).collect();
    let mut text = Vec::new();
    for driver in &drivers {
        write_line(driver, &mut text).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    for (line, driver) in text.lines().zip(drivers) {
        let parsed = ndjson::parse(line, NumberRules { accept_test_numbers: true }).unwrap();
        assert!(parsed.changes == driver.into_submission().changes, "the line says something else");
    }
    let store = store();
    let (report, refused) = import(&store, &text);
    assert_eq!((report.created, report.lines), (report.lines, text.lines().count() as u64));
    assert_eq!(refused, []);
    let (again, _) = import(&store, &text);
    assert_eq!(counts(again), [report.lines, 0, 0, report.lines, 0]);
    assert_eq!(again.bytes, text.len() as u64);
}

#[test]
fn a_longer_history_appends_and_a_conflicting_one_is_refused() {
    let store = store();
    import(&store, &line(ONE, &format!("{ISSUED},{C1}")));
    let longer = line(ONE, &format!("{ISSUED},{C1},{POINTS}"));
    assert_eq!(counts(import(&store, &longer).0), [1, 0, 1, 0, 0]);
    let conflicting = line(ONE, &format!("{ISSUED},{POINTS}"));
    let (report, refused) = import(&store, &conflicting);
    assert_eq!(counts(report), [1, 0, 0, 0, 1]);
    assert_eq!(refused, [(1, "conflicts with the history on record".to_owned())]);
}

#[test]
fn a_single_change_continues_a_known_history() {
    let store = store();
    import(&store, &line(ONE, ISSUED));
    let single = format!(r#"{{"number":"{ONE}","change":{POINTS}}}"#);
    assert_eq!(counts(import(&store, &single).0), [1, 0, 1, 0, 0]);
    assert_eq!(counts(import(&store, &single).0), [1, 0, 0, 1, 0]);
    let unknown = format!(r#"{{"number":"{TWO}","change":{POINTS}}}"#);
    assert_eq!(import(&store, &unknown).1, [(1, "no subject has this number".to_owned())]);
}

#[test]
fn bad_lines_are_named_without_their_content_and_the_rest_goes_in() {
    let cut = &line(TWO, ISSUED)[..60];
    let too_long = format!(r#"{{"number":"{}"}}"#, "9".repeat(70_000));
    let wrong_class = C1.replace("\"C1\"", "\"Z9\"");
    let unborn = ISSUED.replace("2015-03-01\"", "1980-01-01\"");
    let back = format!("{POINTS},{ISSUED}");
    let input = [
        &line(ONE, ISSUED),
        "",
        "hello",
        &line("000000199001010013", ISSUED),
        &line(TWO, &wrong_class),
        &line(TWO, &unborn),
        &line(TWO, &back),
        &line(TWO, ""),
        &line(TWO, &ISSUED.replace("issued", "forgotten")),
        &line(TWO, &ISSUED.replace("kind", "sort")),
        &line(TWO, &ISSUED.replace("2015-03-01T02:00:00Z", "yesterday")),
        &too_long,
        &line(ONE, ISSUED),
        &line(THREE, ISSUED),
        cut,
    ]
    .join("\n");
    let store = store();
    let (report, refused) = import(&store, &input);
    assert_eq!(counts(report), [14, 2, 0, 0, 12]);
    let expected = [
        (3, "not JSON (column 1)"),
        (4, "number: check character does not fit"),
        (5, "changes[0].class: not one of: A1, A2,"),
        (6, "a change takes effect before the birth date"),
        (7, "a change was recorded before the one ahead of it"),
        (8, "holds no changes"),
        (9, "changes[0].kind: is not a known kind of change"),
        (10, "not the expected fields and types"),
        (11, "changes[0].recorded_at: must be RFC 3339"),
        (12, "longer than 65536 bytes"),
        (13, "duplicate number: an earlier line has it"),
        (15, "ends in the middle of its JSON object"),
    ];
    for (line, reason) in expected {
        let told = refused.iter().find(|(refused, _)| *refused == line).map(|(_, reason)| reason.as_str());
        assert!(told.is_some_and(|told| told.starts_with(reason)), "line {line}: {told:?}");
    }
    for (_, reason) in &refused {
        assert!(
            !["Z9", "forgotten", "sort", "yesterday", "0000", "测试"]
                .iter()
                .any(|value| reason.contains(value))
        );
    }
    assert!(read(&store, THREE).unwrap().record.is_some());
}

#[test]
fn test_numbers_are_refused_outside_a_sandbox() {
    let (told, refused) =
        import_as(&store(), options(ImportFormat::Ndjson, false), line(ONE, ISSUED).as_bytes());
    assert_eq!(told.unwrap().rejected, 1);
    assert_eq!(refused[0].1, "number: is a test number; only a sandbox accepts those");
}

#[test]
fn unknown_letters_are_kept() {
    let letter =
        r#"{"effective":"2020-01-01","recorded_at":"2020-01-01T02:00:00Z","kind":"state-set","letter":"Q"}"#;
    let store = store();
    assert_eq!(import(&store, &line(ONE, &format!("{ISSUED},{letter}"))).0.created, 1);
    let record = read(&store, ONE).unwrap().record.unwrap();
    let kept = ChangeKind::StateSet { letter: b'Q', original_end: None };
    assert_eq!(record.history.changes().last().unwrap().kind, kept);
}

#[test]
fn other_encodings_end_the_import_and_what_came_before_stays() {
    let mut input = b"\xef\xbb\xbf".to_vec();
    input.extend_from_slice(line(ONE, ISSUED).as_bytes());
    input.extend_from_slice(b"\n{\"name\":\"\xb2\xe2\"}\n");
    let store = store();
    let (told, _) = import_as(&store, options(ImportFormat::Ndjson, true), &input);
    assert!(matches!(told, Err(ImportError::NotUtf8 { line: 2 })));
    assert!(read(&store, ONE).unwrap().record.is_some(), "with a byte order mark ahead of it");
}

const HEADER: &str = "number,name,first_issue,classes,class_since,validity_term,valid_until,states,points,file_number,authority";

fn import_csv(registry: &EmbeddedRegistry, input: &str) -> Told {
    import_as(registry, options(ImportFormat::Csv, true), input.as_bytes())
}

#[test]
fn a_snapshot_row_has_no_past() {
    let row = format!(
        "{ONE},测试小明,2015-03-01,A1C1,A1=2020-05-01,ten-years,2031-03-01,SH,6,000000000012,鲁A\n\
         {TWO},\"测试,小红\",2000-01-01,C1,,,长期,A,0,,\n"
    );
    let store = store();
    let (told, refused) = import_csv(&store, &format!("{HEADER}\r\n{row}"));
    assert_eq!((counts(told.unwrap()), refused), ([2, 2, 0, 0, 0], Vec::new()));
    let record = read(&store, ONE).unwrap().record.unwrap();
    let changes = record.history.changes();
    assert!(changes.iter().all(|change| change.recorded_at == start_of(AS_OF)));
    let begins = changes.iter().find(|change| change.kind == ChangeKind::HistoryBegins).unwrap();
    assert_eq!(begins.effective, Effective::On(AS_OF));
    let since = |wanted: &str| {
        let added = changes
            .iter()
            .find(|change| matches!(change.kind, ChangeKind::ClassAdded { class } if class.word() == wanted));
        added.unwrap().effective
    };
    assert_eq!(since("A1"), Effective::On(date(2020, 5, 1)));
    assert_eq!(since("C1"), Effective::On(date(2015, 3, 1)));
    let (again, _) = import_csv(&store, &format!("{HEADER}\n{row}"));
    assert_eq!(counts(again.unwrap()), [2, 0, 0, 2, 0]);
}

#[test]
fn bad_rows_and_headers_are_named() {
    let rows = format!(
        "{HEADER}\n{ONE},测试小明,2015-03-01,C9,,,,,,,\n{ONE},测试小明,2015-3-1,C1,,,,,,,\n{ONE}\n\
         {ONE},测试小明,2015-03-01,C1,E=2015-03-01,,,,,,\n{ONE},测试小明,2015-03-01,C1,,six-years,,,,,\n"
    );
    let (told, refused) = import_csv(&store(), &rows);
    assert_eq!(told.unwrap().rejected, 5);
    let fields: Vec<_> = refused.iter().map(|(line, reason)| (*line, &reason[..7])).collect();
    assert_eq!(fields, [(2, "classes"), (3, "first_i"), (4, "has 1 c"), (5, "class_s"), (6, "valid_u")]);
    for (header, fault) in [
        ("", HeaderFault::Unusable),
        ("number,name,colour", HeaderFault::Unknown(3)),
        ("number,number", HeaderFault::Twice("number")),
        ("number,name,classes", HeaderFault::Lacks("first_issue")),
    ] {
        let (told, _) = import_csv(&store(), header);
        assert!(matches!(told, Err(ImportError::Header(found)) if found == fault), "{header}");
    }
}

#[test]
fn gb18030_is_read_when_declared_and_a_line_that_is_none_is_named() {
    let text = [line(ONE, ISSUED), line(TWO, ISSUED), line(THREE, ISSUED)].join("\n");
    let (bytes, ..) = encoding_rs::GB18030.encode(&text);
    let mut bytes = bytes.into_owned();
    let second = text.find('\n').unwrap();
    // The second name loses the first byte of its last character.
    let cut = bytes.iter().skip(second).position(|byte| *byte >= 0x80).unwrap() + second;
    bytes.remove(cut + 7);
    let store = store();
    let declared = options(ImportFormat::Ndjson, true).encoded(Encoding::Gb18030);
    let (told, refused) = import_as(&store, declared, &bytes);
    assert_eq!(counts(told.unwrap()), [3, 2, 0, 0, 1], "{refused:?}");
    let name = |number| {
        let record = read(&store, number).unwrap().record.unwrap();
        let named = record.history.changes().iter().find_map(|change| match &change.kind {
            ChangeKind::NameSet { name } => Some(name.expose().to_owned()),
            _ => None,
        });
        named.unwrap()
    };
    assert_eq!((name(ONE), name(THREE)), ("测试小明".to_owned(), "测试小明".to_owned()));
    let (told, _) = import_as(&store, options(ImportFormat::Ndjson, true), &bytes);
    assert!(told.unwrap_err().to_string().contains("line 1 is not UTF-8; for GB 18030"));
}

#[test]
fn nul_bytes_and_a_row_without_its_line_break_are_refused() {
    let store = store();
    let nul = format!("{}\n\0\0\0\0\n{}", line(ONE, ISSUED), line(TWO, ISSUED).replace("小明", "小\0明"));
    let (report, refused) = import(&store, &nul);
    assert_eq!(counts(report), [3, 1, 0, 0, 2]);
    assert!(refused.iter().all(|(_, reason)| reason == "holds a NUL byte: the file is damaged"));
    let rows = format!(
        "#drivegate-licences 1\n{HEADER}\n{TWO},测试小红,2015-03-01,C1,,,,S,1,,\n{THREE},测试小红,2015-03-01,C1,,,,S"
    );
    let (told, refused) = import_csv(&store, &rows);
    assert_eq!(counts(told.unwrap()), [2, 1, 0, 0, 1]);
    assert_eq!(refused[0].0, 4);
    assert!(refused[0].1.contains("ends in the middle of this row"), "{}", refused[0].1);
}

#[test]
fn a_file_that_says_where_it_ends_must_end_there() {
    let mut whole = Vec::new();
    write_begin(&mut whole).unwrap();
    for driver in Population::new(9, AS_OF).take(10) {
        write_line(&driver, &mut whole).unwrap();
    }
    write_end(FileEnd { subjects: 10, left_out: 0 }, &mut whole).unwrap();
    let text = String::from_utf8(whole).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let told = |lines: &[&str]| {
        let store = store();
        let (told, _) = import_as(&store, options(ImportFormat::Ndjson, true), lines.join("\n").as_bytes());
        (told, store.stats().unwrap().subjects)
    };
    assert!(matches!(told(&lines), (Ok(report), 10) if counts(report) == [10, 10, 0, 0, 0]));
    assert!(matches!(told(&lines[..8]), (Err(ImportError::NoEnd { line: 8 }), 7)));
    let mut holed = lines.clone();
    holed.remove(4);
    assert!(matches!(told(&holed), (Err(ImportError::LinesMissing { line: 11, said: 10, found: 9 }), 9)));
    let twice = [lines.clone(), lines.clone()].concat();
    let (report, subjects) = told(&twice);
    assert_eq!(
        (counts(report.unwrap()), subjects),
        ([20, 10, 0, 0, 10], 10),
        "the second half repeats numbers"
    );
    let mut newer = lines.clone();
    newer[0] = r#"{"drivegate-licences":2,"part":"begin"}"#;
    assert!(matches!(told(&newer), (Err(ImportError::NewerFormat { line: 1, found: 2, known: 1 }), 0)));
}

#[test]
fn a_verbatim_history_is_taken_as_it_is() {
    let store = store();
    let number = format!(
        r#"{{"effective":"1990-01-01","recorded_at":"2015-03-01T02:00:00Z","kind":"number-set","number":"{ONE}"}}"#
    );
    let verbatim = format!(r#"{{"number":"{ONE}","verbatim":true,"changes":[{number},{ISSUED}]}}"#);
    assert_eq!(counts(import(&store, &verbatim).0), [1, 1, 0, 0, 0]);
    assert_eq!(read(&store, ONE).unwrap().record.unwrap().history.changes().len(), 2, "nothing put ahead");
    let named = verbatim.replace("\"verbatim\":true", "\"verbatim\":true,\"name\":\"x\"");
    assert!(import(&store, &named).1[0].1.starts_with("verbatim: "));
}

/// Whatever is read, it ends with a report or an error of the input, and neither repeats a byte of it.
fn survives(format: ImportFormat, encoding: Encoding, input: &[u8]) {
    let (told, refused) = import_as(&store(), options(format, true).encoded(encoding), input);
    assert!(!matches!(told, Err(ImportError::Registry { .. } | ImportError::Read { .. })));
    assert!(refused.iter().all(|(line, _)| *line >= 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(
        input in proptest::collection::vec(any::<u8>(), 0..600), csv in any::<bool>(), gb in any::<bool>(),
    ) {
        let encoding = if gb { Encoding::Gb18030 } else { Encoding::Utf8 };
        survives(if csv { ImportFormat::Csv } else { ImportFormat::Ndjson }, encoding, &input);
        let headed = [HEADER.as_bytes(), b"\n", &input].concat();
        survives(ImportFormat::Csv, encoding, &headed);
    }

    #[test]
    fn flipped_and_cut_lines_never_panic(
        index in 0_u64..500,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut text = Vec::new();
        write_begin(&mut text).unwrap();
        write_line(&Population::new(4, AS_OF).driver(index).unwrap(), &mut text).unwrap();
        for (place, byte) in flips {
            let place = place.index(text.len());
            text[place] = byte;
        }
        let cut = end.index(text.len());
        survives(ImportFormat::Ndjson, Encoding::Utf8, &text);
        survives(ImportFormat::Ndjson, Encoding::Gb18030, &text[..cut]);
    }
}

//! Logs written by the journal itself, damaged in every way a test can think of.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use tlog_tiles::tlog::{node_hash, record_hash};

use super::*;
use crate::audit::entry::{
    AnswerEntry, AuthorisedBy, CaseDigest, Entry, HiddenHandle, LeafSet, RefusalEntry, RequestDigest,
    SubjectPseudonym,
};
use crate::audit::journal::{Journal, JournalOptions, NoObserver, ReadError};
use crate::audit::tree::{LogTree, TreeOptions};
use crate::domain::claim::GroundKind;
use crate::domain::decision::Decision;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::domain::subject::Position;
use crate::domain::time::Clock;
use crate::verification::ports::QuestionDigest;

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        now()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn partner(name: &str) -> PartnerId {
    name.parse().unwrap()
}

/// An answer of a rental desk, so many seconds after the log began.
fn answer(number: u64, seconds: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer_of("rental-demo", number, seconds).encode(&mut bytes).unwrap();
    bytes
}

fn answer_of(name: &str, number: u64, seconds: i64) -> AnswerEntry<'static> {
    AnswerEntry {
        at: now() + SignedDuration::from_secs(seconds - 3600),
        partner: Cow::Owned(partner(name)),
        purpose: Purpose::Rental,
        ground: Some(GroundKind::Contract),
        subject_is_party: true,
        authorised_by: AuthorisedBy::Asserted,
        decision: if number.is_multiple_of(3) { Decision::NotQualified } else { Decision::Qualified },
        charged: !number.is_multiple_of(4),
        consent_withdrawn: false,
        position: Position { epoch: 1, partition: 2, seq: number },
        known_at: now(),
        nonce: [7; 16],
        subject: SubjectPseudonym([8; 16]),
        question: QuestionDigest([9; 16]),
        handle: HiddenHandle([11; 16]),
        case: CaseDigest([12; 16]),
        leaves: LeafSet::default(),
        root: [10; 32],
        request: None,
        policy_version: "2026-11-01".into(),
        case_category: "checkout".into(),
        criteria: Cow::Owned(Vec::new()),
    }
}

fn refusals(name: &str, count: u32) -> Vec<u8> {
    let at = now() - SignedDuration::from_secs(3600);
    let (partner, reason) = (partner(name), "RATE_EXCEEDED".to_owned());
    let mut bytes = Vec::new();
    RefusalEntry { at, partner, reason, purpose: None, count }.encode(&mut bytes).unwrap();
    bytes
}

/// Writes a log of these entries in segments of so many bytes.
fn log_of(entries: &[Vec<u8>], segment_bytes: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let options =
        JournalOptions { segment_bytes, step_bytes: 1024, ..JournalOptions::new(folder.path(), "gw-1") };
    let journal = Journal::open(options, Arc::new(Still), Arc::new(NoObserver)).unwrap();
    // Batches of different sizes, so that segments end where they want.
    for (number, batch) in entries.chunks(7).enumerate() {
        for entry in batch {
            drop(journal.append(entry).unwrap());
        }
        if number.is_multiple_of(3) {
            wait_for(&journal);
        }
    }
    journal.close();
    folder
}

fn wait_for(journal: &Journal) {
    while journal.waiting() > 0 {
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn fsck(folder: &Path) -> FsckReport {
    fsck_against(folder, Vec::new())
}

fn fsck_against(folder: &Path, heads: Vec<TreeHead>) -> FsckReport {
    let options = FsckOptions { now: now(), heads, may_grow: false };
    check(folder, None, options, |_| {}).unwrap()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let origin = crate::audit::JournalReader::open(folder).unwrap().origin().to_owned();
    let files = std::fs::read_dir(folder.join(origin)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// RFC 6962 §2.1 as it is written there, with the hashes of another library.
fn tree_hash(entries: &[Vec<u8>]) -> [u8; 32] {
    fn over(entries: &[Vec<u8>]) -> tlog_tiles::tlog::Hash {
        match entries {
            [one] => record_hash(one),
            _ => {
                let half = entries.len().next_power_of_two() / 2;
                node_hash(over(&entries[..half]), over(&entries[half..]))
            }
        }
    }
    if entries.is_empty() { crate::hashing::sha256(b"") } else { over(entries).0 }
}

#[test]
fn the_tree_is_that_of_rfc_6962_at_every_size() {
    let entries: Vec<_> = (0..70).map(|number| answer(number, 0)).collect();
    let mut tree = TreeHash::default();
    for (size, entry) in entries.iter().enumerate() {
        assert_eq!(tree.root(), tree_hash(&entries[..size]), "size {size}");
        tree.push(entry);
    }
    assert_eq!((tree.size(), tree.root()), (70, tree_hash(&entries)));
}

#[test]
fn a_good_log_is_sound_and_its_tree_is_told() {
    let entries: Vec<_> = (0..200).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 4096);
    let report = fsck(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!((report.size, report.root), (200, Some(fsck::hex(&tree_hash(&entries)))));
    assert!(report.segments > 5, "{}", report.segments);
    let empty = log_of(&[], 4096);
    assert_eq!((fsck(empty.path()).is_sound(), fsck(empty.path()).size), (true, 0));
}

/// Goal: no byte of a log can change unseen. Method: each byte of a log of 64 KiB is flipped, in turn, and the log checked;
/// `DRIVEGATE_FLIP_KIB` makes it larger (`scripts/flip-test`).
#[test]
fn every_byte_flipped_is_found() {
    let kib = std::env::var("DRIVEGATE_FLIP_KIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64_usize);
    let entry_bytes = answer(0, 0).len() + 8;
    let entries: Vec<_> = (0..(kib * 1024 / entry_bytes) as u64).map(|number| answer(number, 0)).collect();
    let flipped: usize = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let entries = &entries;
                scope.spawn(move || flip_each_second_byte(entries, half))
            })
            .collect();
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    assert!(flipped >= (kib - 1) * 1024, "{flipped} bytes were flipped");
}

fn flip_each_second_byte(entries: &[Vec<u8>], half: usize) -> usize {
    let folder = log_of(entries, 4096);
    assert!(fsck(folder.path()).is_sound());
    let mut flipped = 0;
    let mut first_index = 0;
    for path in segments(folder.path()) {
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        for at in (half..good.len()).step_by(2) {
            bad[at] ^= 1 << (at / 2 % 8);
            std::fs::write(&path, &bad).unwrap();
            bad[at] = good[at];
            let report = fsck(folder.path());
            let index = report.first_bad_index();
            assert!(
                index.is_some_and(|index| index >= first_index),
                "byte {at} of {}: {report:?}",
                path.display()
            );
            flipped += 1;
        }
        std::fs::write(&path, &good).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        first_index = name.parse::<u64>().unwrap();
    }
    assert!(fsck(folder.path()).is_sound(), "everything is as it was");
    flipped
}

#[test]
fn the_first_bad_index_is_the_one_that_was_damaged() {
    let entries: Vec<_> = (0..100).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 1 << 20);
    let path = segments(folder.path()).remove(0);
    let good = std::fs::read(&path).unwrap();
    let frame = entries[0].len() + 8;
    for index in [0, 1, 42, 99] {
        let mut bad = good.clone();
        bad[128 + index * frame + 50] ^= 4;
        std::fs::write(&path, &bad).unwrap();
        let report = fsck(folder.path());
        assert_eq!(report.first_bad_index(), Some(index as u64));
        assert_eq!(report.findings[0].kind, FindingKind::Damaged);
        assert_eq!(report.root, None);
    }
}

#[test]
fn a_missing_segment_and_a_strangers_are_found() {
    let entries: Vec<_> = (0..200).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 4096);
    let paths = segments(folder.path());
    let (second, third) = (std::fs::read(&paths[1]).unwrap(), std::fs::read(&paths[2]).unwrap());
    let first_of_second = paths[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    std::fs::remove_file(&paths[1]).unwrap();
    assert_eq!(fsck(folder.path()).first_bad_index(), Some(first_of_second));
    std::fs::write(&paths[1], &third).unwrap();
    assert_eq!(fsck(folder.path()).first_bad_index(), Some(first_of_second), "a segment in another's place");
    std::fs::write(&paths[1], &second).unwrap();
    assert!(fsck(folder.path()).is_sound());
}

#[test]
fn entries_that_nobody_wrote_are_found_although_their_checksum_fits() {
    let folder = log_of(&[answer(0, 0), b"who wrote this?".to_vec(), answer(2, 0)], 4096);
    let report = fsck(folder.path());
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.kind, finding.index)).collect();
    assert_eq!(found, [(FindingKind::Undecodable, 1)]);
    assert!(report.root.is_some(), "the tree is over bytes, whatever they say");
}

#[test]
fn a_look_up_dated_back_or_ahead_is_found_and_a_late_refusal_is_not() {
    let ahead = 3600 + 61;
    let entries = [
        answer(0, 100),
        answer(1, 41),
        refusals("rental-demo", 1),
        answer(2, 39),
        answer(3, ahead),
        answer(4, 100),
    ];
    let folder = log_of(&entries, 4096);
    let found: Vec<_> =
        fsck(folder.path()).findings.iter().map(|finding| (finding.kind, finding.index)).collect();
    assert_eq!(found, [(FindingKind::DatedBack, 3), (FindingKind::DatedAhead, 4)]);
}

#[test]
fn signed_heads_are_held_against_the_tree_at_their_size() {
    let entries: Vec<_> = (0..50).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 4096);
    let head = |size: u64, of: usize| TreeHead {
        size,
        root: tree_hash(&entries[..of]),
        found: "a checkpoint".to_owned(),
    };
    let good = [0, 1, 17, 50].map(|size| head(size as u64, size));
    let report = fsck_against(folder.path(), good.to_vec());
    assert_eq!((report.heads_confirmed, report.findings), (4, vec![]));
    let report = fsck_against(folder.path(), vec![head(17, 16), head(60, 50)]);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.kind, finding.index)).collect();
    assert_eq!(found, [(FindingKind::TreeDiffers, 16), (FindingKind::EntriesMissing, 50)]);
}

/// Signs the log of a folder as a gateway does when it stops.
fn sign(folder: &Path) {
    let options = JournalOptions::new(folder, "gw-1");
    let journal = Journal::open(options, Arc::new(Still), Arc::new(NoObserver)).unwrap();
    let tree = LogTree::open(&journal, TreeOptions::default(), Arc::new(Still)).unwrap();
    journal.close();
    tree.close();
}

/// Goal: what is served beside the entries cannot change unseen either. Method: every byte of checkpoint, public key and
/// hashes of a signed log is flipped, in turn.
#[test]
fn every_byte_of_checkpoint_key_and_hashes_flipped_is_found() {
    let entries: Vec<_> = (0..300).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 1 << 20);
    sign(folder.path());
    let report = fsck(folder.path());
    assert_eq!((report.findings.as_slice(), report.heads_confirmed), (&[][..], 1));
    let of_origin = segments(folder.path()).remove(0).parent().unwrap().to_path_buf();
    for (name, step) in [("tree/checkpoint", 1), ("verifier", 1), ("tree/level-0", 37), ("tree/level-1", 1)] {
        let path = of_origin.join(name);
        let good = std::fs::read(&path).unwrap();
        assert!(!good.is_empty(), "{name}");
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            // No other letter case: a hexadecimal key id is compared as a number.
            bad[at] ^= 1 << (at % 5);
            std::fs::write(&path, &bad).unwrap();
            // A line's last end is not signed, and reads the same with other white space.
            let is_end = name == "verifier" && at + 1 == good.len();
            assert!(is_end || !fsck(folder.path()).is_sound(), "byte {at} of {name}");
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fsck(folder.path()).is_sound(), name == "tree/checkpoint", "without {name}");
        std::fs::write(&path, &good).unwrap();
    }
    assert!(fsck(folder.path()).is_sound());
}

#[test]
fn entries_removed_for_their_age_leave_their_hashes_and_the_tree_is_still_the_one_signed() {
    let entries: Vec<_> = (0..300).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 4096);
    sign(folder.path());
    let whole = fsck(folder.path());
    std::fs::remove_file(segments(folder.path()).remove(0)).unwrap();
    let report = fsck(folder.path());
    assert!(report.first_index > 0);
    assert_eq!((report.findings.as_slice(), report.heads_confirmed, &report.root), (&[][..], 1, &whole.root));
    let of_origin = segments(folder.path()).remove(0).parent().unwrap().to_path_buf();
    let mut hashes = std::fs::read(of_origin.join("tree/level-0")).unwrap();
    hashes[5] ^= 1;
    std::fs::write(of_origin.join("tree/level-0"), hashes).unwrap();
    let kinds: Vec<_> = fsck(folder.path()).findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::TreeDiffers), "a removed entry's hash was changed: {kinds:?}");
    std::fs::remove_dir_all(of_origin.join("tree")).unwrap();
    assert_eq!(fsck(folder.path()).root, None, "never signed, and not whole: nothing is claimed");
}

#[test]
fn entries_cut_off_below_the_checkpoint_are_missed() {
    let entries: Vec<_> = (0..40).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 1 << 20);
    sign(folder.path());
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - (entries[0].len() + 8)]).unwrap();
    let found: Vec<_> =
        fsck(folder.path()).findings.iter().map(|finding| (finding.kind, finding.index)).collect();
    assert_eq!(found, [(FindingKind::EntriesMissing, 39)]);
}

#[test]
fn every_size_is_proved_to_be_the_beginning_of_every_later_one() {
    let entries: Vec<_> = (0..33).map(|number| answer(number, 0)).collect();
    let folder = log_of(&entries, 4096);
    for new in 1..=33 {
        for old in 1..=new {
            let proof = prove(folder.path(), None, (old, new), |_| {}).unwrap();
            assert_eq!(proof.old.1, tree_hash(&entries[..usize::try_from(old).unwrap()]));
            assert_eq!(proof.new.1, tree_hash(&entries[..usize::try_from(new).unwrap()]));
            assert!(proof.verifies());
            let mut other = proof.clone();
            other.old.1[0] ^= 1;
            assert!(!other.verifies(), "{old} {new}");
        }
    }
    let refused = |sizes| prove(folder.path(), None, sizes, |_| {}).unwrap_err();
    assert!(matches!(refused((0, 5)), ProveError::Sizes));
    assert!(matches!(refused((6, 5)), ProveError::Sizes));
    assert!(matches!(refused((5, 34)), ProveError::TooFew(33)));
}

#[test]
fn a_log_that_is_not_there_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let options = || FsckOptions { now: now(), heads: Vec::new(), may_grow: true };
    assert!(matches!(check(folder.path(), None, options(), |_| {}), Err(ReadError::NoLog)));
    for origin in ["gw-9-0000000000000000", "../x", ""] {
        assert!(
            matches!(check(folder.path(), Some(origin), options(), |_| {}), Err(ReadError::NoLog)),
            "{origin}"
        );
    }
}

#[test]
fn answers_are_counted_and_a_bill_above_them_is_wrong() {
    let mut stats = LogStats::default();
    for number in 0..12 {
        stats.count(&answer(number, 0), &Selection::default());
    }
    stats.count(&refusals("rental-demo", 258), &Selection::default());
    stats.count(b"nothing", &Selection::default());
    let lines: Vec<_> =
        stats.lines().map(|(partner, purpose, line)| (partner.as_str(), purpose, *line)).collect();
    let refused = Line { refused: 258, ..Line::default() };
    let rental =
        Line { answers: 12, charged: 9, qualified: 8, not_qualified: 4, indeterminate: 0, refused: 0 };
    assert_eq!(lines, [("rental-demo", None, refused), ("rental-demo", Some(Purpose::Rental), rental)]);
    assert_eq!((stats.entries, stats.undecodable), (13, 1));

    for (billed, wrong) in [(8, false), (9, false), (10, true)] {
        let bill = Bill::parse(&format!("partner,purpose,count\nrental-demo, rental, {billed}\n")).unwrap();
        let lines = stats.reconcile(&bill);
        assert_eq!((lines.len(), lines[0].recorded, lines[0].is_overbilled()), (1, 9, wrong), "{billed}");
    }
    let nobody = Bill::parse("unheard-of,rental,1").unwrap();
    let lines = stats.reconcile(&nobody);
    assert_eq!(lines.iter().map(BillLine::is_overbilled).collect::<Vec<_>>(), [false, true]);
}

/// Two replicas may answer one request, and a redemption may be finished after a crash: one charge.
#[test]
fn entries_of_one_request_are_charged_once_within_its_time() {
    let mut stats = LogStats::default();
    let mut count = |request: Option<u8>, charged, seconds| {
        let answer = AnswerEntry {
            charged,
            request: request.map(|byte| RequestDigest([byte; 16])),
            ..answer_of("rental-demo", 1, seconds)
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes).unwrap();
        stats.count(&bytes, &Selection::default());
        stats.lines().last().map(|(_, _, line)| line.charged)
    };
    assert_eq!(count(Some(1), false, 0), Some(0), "what was not to be charged does not stand in the way");
    assert_eq!(count(Some(1), true, 1), Some(1));
    assert_eq!(count(Some(2), true, 2), Some(2), "another request");
    assert_eq!(count(None, true, 3), Some(3), "no request id: each is its own");
    assert_eq!(count(None, true, 3), Some(4));
    assert_eq!(count(Some(1), true, 901), Some(4), "the same, fifteen minutes later");
    assert_eq!(count(Some(1), true, 902), Some(5), "another life of the id");
    assert_eq!(count(Some(1), true, 903), Some(5));
}

#[test]
fn a_bill_that_cannot_be_read_names_its_line() {
    for (text, fault) in [
        ("rental-demo,rental", BillError::Line(1)),
        ("rental-demo,rental,1,2", BillError::Line(1)),
        ("rental-demo,rental,-1", BillError::Line(1)),
        ("rental-demo,picnic,1", BillError::Line(1)),
        ("rental-demo,rental,1\nrental-demo,rental,2", BillError::Twice(2)),
    ] {
        assert_eq!(Bill::parse(text).unwrap_err(), fault, "{text}");
    }
}

#[test]
fn a_selection_is_by_moment_and_partner() {
    let decode = |bytes: &[u8]| Entry::decode(bytes).unwrap();
    let (early, late) = (decode(&answer(0, 0)), decode(&answer(1, 10)));
    let between = Selection { from: Some(early.at()), to: Some(late.at()), partner: None };
    assert!(between.wants(&early) && !between.wants(&late));
    let other = Selection { partner: Some(partner("insurer-demo")), ..Selection::default() };
    assert!(!other.wants(&early));
}

#[test]
fn a_line_holds_what_the_entry_holds() {
    let bytes = answer(3, 0);
    let entry = Entry::decode(&bytes).unwrap();
    let line = serde_json::to_value(ExportLine::of("gw-1-0011223344556677", 3, &bytes, &entry)).unwrap();
    assert_eq!(
        (&line["kind"], &line["index"], &line["charged"]),
        (&"answer".into(), &3.into(), &true.into())
    );
    assert_eq!((&line["partner"], &line["decision"]), (&"rental-demo".into(), &"not-qualified".into()));
    assert_eq!(line["leaf_hash"], fsck::hex(&record_hash(&bytes).0));
    let bytes = refusals("rental-demo", 5);
    let entry = Entry::decode(&bytes).unwrap();
    let line = serde_json::to_value(ExportLine::of("gw-1-0011223344556677", 4, &bytes, &entry)).unwrap();
    assert_eq!(
        (&line["kind"], &line["reason"], &line["count"]),
        (&"refusals".into(), &"RATE_EXCEEDED".into(), &5.into())
    );
}

proptest! {
    /// Files with anything in them are judged, and nothing panics.
    #[test]
    fn arbitrary_segments_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..300_usize) {
        let folder = log_of(&[answer(0, 0)], 4096);
        let path = segments(folder.path()).remove(0);
        let mut whole = std::fs::read(&path).unwrap();
        whole.truncate(keep);
        whole.extend_from_slice(&bytes);
        std::fs::write(&path, &whole).unwrap();
        let _judged = fsck(folder.path());
    }
}

//! Measures the evidence log: building an entry, making it durable alone and in a crowd, checking, recovering, proving. For
//! `scripts/bench-evidence`, which pins it and prints the rows of docs/benchmarks.md.
//!
//! ```text
//! cargo run --profile dist --example evidence -- build
//! cargo run --profile dist --example evidence -- crowd --dir DIR
//! ```
//!
//! Each command prints one line of JSON. `fill` ends without closing the log, as a crash would: `recover` comes after it.
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a measurement for people to read"
)]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use drivegate::app::SystemClock;
use drivegate::audit::check::{FsckOptions, TreeHash, check};
use drivegate::audit::entry::compose;
use drivegate::audit::keys::LogSecret;
use drivegate::audit::{
    Journal, JournalObserver, JournalOptions, JournalStep, LogTree, NoObserver, StoredLog, TreeHealth,
    TreeOptions,
};
use drivegate::domain::claim::{Claim, Ground};
use drivegate::domain::decision::{Advice, Criterion, CriterionKind, Decision, Outcome, Reason, Ruling};
use drivegate::domain::disclosure::{Disclosure, TenureBand};
use drivegate::domain::licence::{DocumentKind, FullName, LicenceNumber, NumberRules, VehicleClass};
use drivegate::domain::partner::PartnerId;
use drivegate::domain::question::{Purpose, Question};
use drivegate::domain::subject::{Position, SubjectId, SubjectSecret};
use drivegate::domain::time::Clock as _;
use drivegate::domain::vehicle::{Vehicle, VehicleKind, VehicleUse};
use drivegate::verification::ports::{AboutToRecord, AnswerToRecord, QuestionDigest, SubjectToRecord};
use hdrhistogram::Histogram;
use jiff::Timestamp;
use rand::RngExt as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use signed_note::{Note, Signer as _, StandardSigner};
use tlog_tiles::Checkpoint;

/// Entries built, and raw syncs made, for one figure.
const BUILDS: u32 = 200_000;
const RAW_SYNCS: usize = 1_000;
const LONE_ENTRIES: usize = 2_000;
const PROOFS: usize = 20_000;
/// Entries appended before they are waited for, where only the end matters.
const FILL_BATCH: u64 = 8_192;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds entries, from the answer to the bytes.
    Build,
    /// Appends with so many in flight on one core.
    Crowd {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 128)]
        in_flight: usize,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Appends one after the other, beside bare syncs of the same size on the same disk.
    Lone {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Writes a log, its tree and its checkpoint, and ends without closing anything.
    Fill {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 10_000_000)]
        entries: u64,
    },
    /// Opens a log that was not closed, until it can be written and is signed again.
    Recover {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Checks a log, twice: the second time it is in the page cache.
    Fsck {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Proves entries of a log.
    Prove {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Proves entries of a tree of so many hashes, without their entries: all leaves are zeros, and lie in a sparse file.
    Synthetic {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 100_000_000)]
        hashes: u64,
    },
}

fn main() {
    let figures = match Options::parse().task {
        Task::Build => build(),
        Task::Crowd { dir, in_flight, seconds } => crowd(&dir, in_flight, Duration::from_secs_f64(seconds)),
        Task::Lone { dir } => lone(&dir),
        Task::Fill { dir, entries } => fill(&dir, entries),
        Task::Recover { dir } => recover(&dir),
        Task::Fsck { dir } => fsck(&dir),
        Task::Prove { dir } => prove(&dir, &dir.join("filled")),
        Task::Synthetic { dir, hashes } => synthetic(&dir, hashes),
    };
    println!("{figures}");
}

/// Everything an answer borrows.
struct Case {
    partner: PartnerId,
    claim: Claim,
    question: Question,
    ruling: Ruling,
    disclosure: Disclosure,
    secret: SubjectSecret,
    subject: SubjectId,
}

impl Case {
    fn new() -> Self {
        let rules = NumberRules { accept_test_numbers: true };
        let number = LicenceNumber::parse(DocumentKind::ResidentId, "000000199001010018", rules);
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let mut disclosure = Disclosure::default();
        disclosure.tenure_band = Some(TenureBand::Under1);
        Self {
            partner: "rental-demo".parse().expect("an id"),
            claim: Claim {
                document: DocumentKind::ResidentId,
                number: number.expect("a number"),
                name: FullName::parse("测试甲").expect("a name"),
                file_number: None,
                ground: Ground::Contract { subject_is_party: true },
            },
            question: Question::Rental {
                pick_up: moment("2026-11-22T09:00:00Z"),
                return_at: moment("2026-11-25T09:00:00Z"),
                vehicle: Vehicle {
                    kind: VehicleKind::Class(VehicleClass::C1),
                    automatic: Some(false),
                    adapted: None,
                    seats: Some(5),
                    total_mass_kg: Some(1900),
                    combination_mass_kg: Some(0),
                    used_for: Some(VehicleUse::Private),
                },
                min_tenure_months: Some(12),
                validity_margin_days: 30,
            },
            ruling: Ruling {
                decision: Decision::NotQualified,
                criteria: vec![
                    Criterion { kind: CriterionKind::Subject, outcome: Outcome::Met, reason: None },
                    Criterion {
                        kind: CriterionKind::Tenure,
                        outcome: Outcome::NotMet,
                        reason: Some(Reason::TenureShort),
                    },
                ],
                not_covered: Vec::new().into(),
                reliance_until: Some(moment("2027-01-01T00:00:00Z")),
                advice: Advice::Nothing,
                remedies: Vec::new(),
            },
            disclosure,
            secret: SubjectSecret::from_bytes([0x11; 32]),
            subject: SubjectId::from_bytes([0x55; 16]),
        }
    }

    fn write(&self, at: Timestamp, secret: &LogSecret, nonce: [u8; 16], into: &mut Vec<u8>) {
        let answer = AnswerToRecord {
            at,
            partner: &self.partner,
            purpose: Purpose::Rental,
            about: AboutToRecord::Claimed(&self.claim),
            case_reference: "RA-2026-0004711",
            case_category: "checkout",
            operator_id: "clerk-17",
            request_id: Some("0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11"),
            subject: SubjectToRecord::Confirmed(&self.subject, &self.secret),
            question: &self.question,
            question_digest: QuestionDigest([0x33; 16]),
            ruling: &self.ruling,
            disclosure: &self.disclosure,
            position: Position { epoch: 1, partition: 2, seq: 3 },
            known_at: at,
            policy_version: "2026-11-01",
            charged: true,
            consent_withdrawn: false,
        };
        compose(&answer, secret, nonce, into).expect("it fits");
    }
}

/// One entry's bytes, of today.
fn entry() -> Vec<u8> {
    let mut bytes = Vec::new();
    Case::new().write(SystemClock.now(), &LogSecret::from_bytes(&[0x22; 32]), [7; 16], &mut bytes);
    bytes
}

fn build() -> Value {
    let (case, secret) = (Case::new(), LogSecret::from_bytes(&[0x22; 32]));
    let (at, mut bytes) = (SystemClock.now(), Vec::with_capacity(512));
    let began = Instant::now();
    for number in 0..BUILDS {
        bytes.clear();
        let nonce = u128::from(number).to_be_bytes();
        black_box(&case).write(at, &secret, black_box(nonce), &mut bytes);
        black_box(&bytes);
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(BUILDS);
    json!({ "task": "build", "entry_bytes": bytes.len(), "build_us": each })
}

/// Hears how long syncs took.
struct Syncs(Mutex<Histogram<u64>>);

impl JournalObserver for Syncs {
    fn synced(&self, _entries: u64, _bytes: u64, elapsed: Duration) {
        note(&mut self.0.lock().expect("nobody panicked"), elapsed);
    }

    fn failed(&self, step: JournalStep, error: io::ErrorKind) {
        println!("{}", json!({ "failed": step.word(), "error": error.to_string() }));
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("three digits up to two minutes")
}

fn note(into: &mut Histogram<u64>, took: Duration) {
    into.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// A histogram's quantile in microseconds.
fn micros(of: &Histogram<u64>, quantile: f64) -> f64 {
    of.value_at_quantile(quantile) as f64 / 1e3
}

fn crowd(dir: &Path, in_flight: usize, time: Duration) -> Value {
    let raw = raw_syncs(dir, entry().len());
    let heard = Arc::new(Syncs(Mutex::new(histogram())));
    let observer = Arc::<Syncs>::clone(&heard);
    let journal =
        Journal::open(JournalOptions::new(dir.join("crowd"), "bench"), Arc::new(SystemClock), observer);
    let journal = journal.expect("the log opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (began, cpu_before) = (Instant::now(), cpu());
    let (entries, appending) = runtime.block_on(async {
        let wake_ups = tokio::spawn(journal.core_task());
        let callers: Vec<_> =
            (0..in_flight).map(|_| tokio::spawn(append_until(Arc::clone(&journal), began + time))).collect();
        let mut sum = (0, Duration::ZERO);
        for caller in callers {
            let (entries, appending) = caller.await.expect("it ends");
            sum = (sum.0 + entries, sum.1 + appending);
        }
        wake_ups.abort();
        sum
    });
    let (took, cpu) = (began.elapsed().as_secs_f64(), (cpu() - cpu_before).as_secs_f64());
    let stats = journal.stats();
    journal.close();
    let syncs = heard.0.lock().expect("nobody panicked");
    json!({
        "task": "crowd",
        "in_flight": in_flight,
        "entries_per_second": entries as f64 / took,
        "entries_per_sync": stats.entries as f64 / stats.syncs as f64,
        "append_us": appending.as_secs_f64() * 1e6 / entries as f64,
        "cpu_us_per_entry": cpu * 1e6 / entries as f64,
        "batch_p50_us": micros(&syncs, 0.5),
        "batch_p99_us": micros(&syncs, 0.99),
        "fdatasync_p50_us": micros(&raw, 0.5),
    })
}

/// Appends one entry after the other; returns how many, and the time spent in the calls themselves.
async fn append_until(journal: Arc<Journal>, end: Instant) -> (u64, Duration) {
    let (bytes, mut entries, mut appending) = (entry(), 0, Duration::ZERO);
    while Instant::now() < end {
        let began = Instant::now();
        let durable = journal.append(&bytes).expect("the log is open");
        appending += began.elapsed();
        durable.await.expect("it becomes durable");
        entries += 1;
    }
    (entries, appending)
}

fn lone(dir: &Path) -> Value {
    let bytes = entry();
    let options = JournalOptions::new(dir.join("lone"), "bench");
    let journal = Journal::open(options, Arc::new(SystemClock), Arc::new(NoObserver)).expect("the log opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut raw = raw_syncs(dir, bytes.len());
    let mut took = histogram();
    runtime.block_on(async {
        let wake_ups = tokio::spawn(journal.core_task());
        for _ in 0..LONE_ENTRIES {
            let began = Instant::now();
            journal.append(&bytes).expect("the log is open").await.expect("it becomes durable");
            note(&mut took, began.elapsed());
        }
        wake_ups.abort();
    });
    // Before and after: a disk has moods.
    raw.add(raw_syncs(dir, bytes.len())).expect("of one shape");
    journal.close();
    let (p50, sync) = (micros(&took, 0.5), micros(&raw, 0.5));
    json!({
        "task": "lone",
        "p50_us": p50,
        "p99_us": micros(&took, 0.99),
        "fdatasync_p50_us": sync,
        "fdatasync_p99_us": micros(&raw, 0.99),
        "allowed_us": 1.5 * sync + 100.0,
    })
}

/// Times `pwrite` and `fdatasync` of so many bytes over blocks that are allocated: what a batch costs without us.
fn raw_syncs(dir: &Path, bytes: usize) -> Histogram<u64> {
    let path = dir.join("raw");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).expect("a file");
    file.write_all_at(&vec![0; 1 << 20], 0).and_then(|()| file.sync_all()).expect("it can be written");
    let (payload, mut took) = (vec![0xA5; bytes], histogram());
    for at in 0..RAW_SYNCS {
        let began = Instant::now();
        let offset = (at * bytes % ((1 << 20) - bytes)) as u64;
        file.write_all_at(&payload, offset).and_then(|()| file.sync_data()).expect("it can be synced");
        note(&mut took, began.elapsed());
    }
    std::fs::remove_file(&path).expect("it can be removed");
    took
}

/// CPU time of the whole process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn fill(dir: &Path, entries: u64) -> Value {
    let (case, secret) = (Case::new(), LogSecret::from_bytes(&[0x22; 32]));
    let (journal, tree) = open(dir);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let began = Instant::now();
    let mut bytes = Vec::new();
    let mut written = 0;
    while written < entries {
        let mut last = None;
        let end = entries.min(written + FILL_BATCH);
        for number in written..end {
            bytes.clear();
            case.write(SystemClock.now(), &secret, u128::from(number).to_be_bytes(), &mut bytes);
            last = Some(journal.append(&bytes).expect("the log is open"));
        }
        written = end;
        if let Some(durable) = last {
            runtime.block_on(durable).expect("it becomes durable");
        }
    }
    let durable = began.elapsed().as_secs_f64();
    while tree.stats().behind > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let signed = began.elapsed().as_secs_f64();
    // What the last checkpoint does not cover, and what was never synced.
    for _ in 0..1_000 {
        drop(journal.append(&entry()).expect("the log is open"));
    }
    println!(
        "{}",
        json!({ "task": "fill", "entries": entries, "seconds": durable, "signed_seconds": signed })
    );
    std::process::exit(0);
}

fn open(dir: &Path) -> (Arc<Journal>, LogTree) {
    let options = JournalOptions::new(dir.join("filled"), "bench");
    let journal = Journal::open(options, Arc::new(SystemClock), Arc::new(NoObserver)).expect("the log opens");
    let tree =
        LogTree::open(&journal, TreeOptions::default(), Arc::new(SystemClock)).expect("the tree opens");
    (journal, tree)
}

fn recover(dir: &Path) -> Value {
    let began = Instant::now();
    let (journal, tree) = open(dir);
    let open = began.elapsed().as_secs_f64();
    while tree.health() != TreeHealth::Following || tree.stats().behind > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(600),
            "the tree does not catch up: {:?}",
            tree.health()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let signed = began.elapsed().as_secs_f64();
    let entries = tree.stats().signed;
    journal.close();
    tree.close();
    json!({ "task": "recover", "entries": entries, "writes_after_seconds": open, "signed_after_seconds": signed })
}

fn fsck(dir: &Path) -> Value {
    let folder = dir.join("filled");
    let run = || {
        let options = FsckOptions { now: SystemClock.now(), heads: Vec::new(), may_grow: false };
        let (began, cpu_before) = (Instant::now(), cpu());
        let report = check(&folder, None, options, |_| {}).expect("the log can be read");
        assert!(report.is_sound(), "{:?}", report.findings);
        (report, began.elapsed().as_secs_f64(), (cpu() - cpu_before).as_secs_f64())
    };
    let (_, first, _) = run();
    let (report, seconds, cpu) = run();
    json!({
        "task": "fsck",
        "entries": report.size,
        "heads_confirmed": report.heads_confirmed,
        "first_seconds": first,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "entries_per_second": report.size as f64 / seconds,
    })
}

/// Writes the files of a tree whose leaves are all zero, signed with the key of an empty log, and proves from them.
fn synthetic(dir: &Path, hashes: u64) -> Value {
    let folder = dir.join("synthetic");
    let options = JournalOptions::new(&folder, "bench");
    let journal = Journal::open(options, Arc::new(SystemClock), Arc::new(NoObserver)).expect("the log opens");
    let tree =
        LogTree::open(&journal, TreeOptions::default(), Arc::new(SystemClock)).expect("the tree opens");
    journal.close();
    tree.close();
    let of_origin = folder.join(&**journal.origin());
    let (mut tree, mut levels) = (TreeHash::default(), vec![Vec::new(); 7]);
    for _ in 0..hashes {
        tree.push_leaf_telling([0; 32], |height, hash| {
            if height > 0 && height % 8 == 0 {
                levels[height as usize / 8].extend_from_slice(hash);
            }
        });
    }
    for (level, bytes) in levels.iter().enumerate() {
        let path = of_origin.join(format!("tree/level-{level}"));
        std::fs::write(&path, bytes).expect("it can be written");
        if level == 0 {
            let file = OpenOptions::new().write(true).open(&path).expect("it is there");
            file.set_len(hashes * 32).expect("it can be sparse");
        }
    }
    let key = std::fs::read_to_string(of_origin.join("signer")).expect("the log has a key");
    let signer = StandardSigner::new(key.trim_end()).expect("a key");
    let head = Checkpoint::new(signer.name(), hashes, tlog_tiles::tlog::Hash(tree.root()), "");
    let mut note = Note::new(&head.expect("a head").to_bytes(), &[]).expect("a note");
    note.add_sigs(&[&signer]).expect("it can be signed");
    std::fs::write(of_origin.join("tree/checkpoint"), note.to_bytes()).expect("it can be written");
    prove(dir, &folder)
}

fn prove(dir: &Path, folder: &Path) -> Value {
    let is_real = folder.starts_with(dir.join("filled"));
    let origin = drivegate::audit::JournalReader::open(folder).expect("a log").origin().to_owned();
    let log = StoredLog::open(folder, &origin).expect("the log can be read");
    let size = log.checkpoint().expect("it was signed").size;
    let (mut random, mut proofs, mut entries) = (rand::rng(), histogram(), histogram());
    // The first round brings the files into the page cache.
    for round in 0..2 {
        for _ in 0..PROOFS {
            let index = random.random_range(0..size);
            let began = Instant::now();
            black_box(log.inclusion(index, size).expect("it is proved"));
            let proved = began.elapsed();
            if is_real {
                black_box(log.entry(index).expect("it can be read"));
            }
            if round == 1 {
                note(&mut proofs, proved);
                note(&mut entries, began.elapsed() - proved);
            }
        }
    }
    json!({
        "task": if is_real { "prove" } else { "synthetic" },
        "entries": size,
        "proof_p50_us": micros(&proofs, 0.5),
        "proof_p99_us": micros(&proofs, 0.99),
        "entry_p50_us": micros(&entries, 0.5),
        "entry_p99_us": micros(&entries, 0.99),
    })
}

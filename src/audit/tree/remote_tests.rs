//! Logs read over HTTP, and witnesses: real listeners on free ports.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, StatxFlags, statx};
use tempfile::TempDir;
use tlog_tiles::tlog::{Hash, check_record, record_hash};
use tokio_util::sync::CancellationToken;

use super::tests::{
    append, clock, entry_leaf, eventually, flip, journal_options, log_of, open_tree, origin_of, payload,
    rewrite_entry,
};
use super::witness::request;
use super::*;
use crate::app::{Looked, RunningWitness, serve_folder};
use crate::audit::journal::{Journal, NoObserver};
use crate::audit::note::{LogVerifier, NoteFault};
use crate::config::witness::{WitnessConfig, WitnessedLog};
use crate::evidence::ports::{LogSource as _, LogUnavailable, SignedCheckpoint, Stretch};

async fn served(folder: &Path, stop: &CancellationToken) -> String {
    let (told, heard) = tokio::sync::oneshot::channel();
    let (folder, stop) = (folder.to_owned(), stop.clone());
    tokio::spawn(async move {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let tell = |address: SocketAddr, _origins: Vec<String>| told.send(address).unwrap();
        serve_folder(&folder, address, stop, tell).await.unwrap();
    });
    format!("http://{}", heard.await.unwrap())
}

fn verifier_of(of_origin: &Path) -> String {
    fs::read_to_string(of_origin.join("verifier")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_log_is_read_and_nothing_of_it_believed() {
    let (folder, of_origin) = log_of(700);
    let stop = CancellationToken::new();
    let url = served(folder.path(), &stop).await;
    let runtime = tokio::runtime::Handle::current();
    let peer = PeerLog::new(&url, &verifier_of(&of_origin), runtime.clone()).unwrap();
    assert_eq!(peer.origin(), origin_of(&of_origin));
    let checkpoint = peer.checkpoint().await.unwrap().unwrap();
    assert_eq!(checkpoint.size, 700);
    for index in [0, 5, 255, 256, 699] {
        assert_eq!(peer.entry(index).await.unwrap().unwrap(), payload(index));
        let proof: Vec<Hash> = peer.inclusion(index, 700).await.unwrap().into_iter().map(Hash).collect();
        check_record(&proof, 700, Hash(checkpoint.root), index, Hash(entry_leaf(index))).unwrap();
    }
    assert_eq!(peer.entry(700).await, Ok(None));
    assert_eq!(peer.inclusion(0, 701).await, Err(LogUnavailable));
    assert_eq!(peer.inclusion(7, 7).await, Err(LogUnavailable));

    let (other, of_other) = log_of(1);
    let stranger = PeerLog::new(&url, &verifier_of(&of_other), runtime.clone()).unwrap();
    assert_eq!(stranger.checkpoint().await, Ok(None), "the log is not there");
    let nobody = PeerLog::new("http://127.0.0.1:1", &verifier_of(&of_origin), runtime.clone()).unwrap();
    assert_eq!(nobody.checkpoint().await, Err(LogUnavailable));
    for url in ["https://127.0.0.1:1", "127.0.0.1:1", "http://a@b", "http://a/?q", ""] {
        assert!(matches!(
            PeerLog::new(url, &verifier_of(&of_origin), runtime.clone()),
            Err(PeerFault::Site(_))
        ));
    }
    drop(other);

    // Hashes that are not the checkpoint's, in the middle, where nobody else looks.
    flip(&of_origin.join("tree/level-0"), 10 * 32);
    let url = served(folder.path(), &stop).await;
    let liar = PeerLog::new(&url, &verifier_of(&of_origin), runtime).unwrap();
    assert_eq!(liar.checkpoint().await.unwrap().unwrap().size, 700);
    assert_eq!(liar.entry(11).await, Err(LogUnavailable), "its proof needs the hash of entry 10");
    assert_eq!(liar.inclusion(11, 700).await, Err(LogUnavailable));
    assert_eq!(liar.inclusion(10, 700).await, Err(LogUnavailable));
    assert_eq!(liar.entry(10).await, Ok(Some(payload(10))), "its bytes lead to the root all the same");
    assert!(liar.entry(600).await.is_ok());
    // A forged entry with its own hash beside it: both agree, and the root does not.
    let segments = fs::read_dir(&of_origin).unwrap().map(|file| file.unwrap().path());
    let first = segments.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).min().unwrap();
    rewrite_entry(&first, b"entry 10 ", b"entry 19 ", 10);
    let forged = String::from_utf8(payload(10)).unwrap().replacen("10", "19", 1);
    let level = fs::OpenOptions::new().write(true).open(of_origin.join("tree/level-0")).unwrap();
    level.write_all_at(&record_hash(forged.as_bytes()).0, 10 * 32).unwrap();
    let log = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    assert_eq!(log.entry(10).unwrap(), Some(forged.into_bytes()), "the log shows it");
    assert_eq!(liar.entry(10).await, Err(LogUnavailable), "and the peer does not believe it");
    stop.cancel();
}

/// Goal: of a peer's log whole stretches are read, each entry proved; what retention took is passed over, what is merely missing is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stretches_of_a_peers_log_are_read_and_nothing_of_them_believed() {
    let (folder, of_origin) = log_of(700);
    let stop = CancellationToken::new();
    let url = served(folder.path(), &stop).await;
    let runtime = tokio::runtime::Handle::current();
    let peer = PeerLog::new(&url, &verifier_of(&of_origin), runtime.clone()).unwrap();
    assert_eq!(peer.length().await, Ok(700));
    for (from, count_max, end) in [(0, 1, 1), (250, 256, 256), (256, 256, 512), (600, 1_000, 700)] {
        let entries = (from..end).map(payload).collect();
        assert_eq!(peer.stretch(from, count_max).await, Ok(Stretch { first: from, entries }), "{from}");
    }
    assert_eq!(peer.stretch(700, 5).await, Ok(Stretch { first: 700, entries: Vec::new() }));

    // On the shelf, the same without proofs, and past what a checkpoint covers if it is durable.
    let shelf = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    assert_eq!(shelf.stretch(690, 100, 0).unwrap(), peer.stretch(690, 100).await.unwrap());

    flip(&of_origin.join("tree/level-0"), 10 * 32);
    let url = served(folder.path(), &stop).await;
    let liar = PeerLog::new(&url, &verifier_of(&of_origin), runtime.clone()).unwrap();
    assert_eq!(
        liar.stretch(0, 256).await,
        Err(LogUnavailable),
        "entry 11's proof needs the hash of entry 10"
    );
    flip(&of_origin.join("tree/level-0"), 10 * 32);
    let segments = fs::read_dir(&of_origin).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> =
        segments.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
    segments.sort();
    assert!(segments.len() > 1, "the log has several segments");
    fs::remove_file(&segments[0]).unwrap();
    let shelf = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    let minimum = shelf.minimum_index();
    let left = shelf.stretch(0, 3, 0).unwrap();
    assert!(minimum > 0 && left.first == minimum && left.entries[0] == payload(minimum), "passed over");
    let url = served(folder.path(), &stop).await;
    let pruned = PeerLog::new(&url, &verifier_of(&of_origin), runtime).unwrap();
    let passed = pruned.stretch(0, 256).await.unwrap();
    assert_eq!((passed.first, passed.entries.len()), (256, 0), "bundle by bundle");
    stop.cancel();
}

/// A log, and what becomes of an older copy of its folder that is gone on with under the same name and key.
struct RolledBack {
    now: TempDir,
    copy: TempDir,
    origin: String,
}

impl RolledBack {
    /// The log has 500 entries; the copy was made at 300 and has gone on with other entries to `copy_size`.
    fn to(copy_size: u64) -> Self {
        let (now, of_origin) = log_of(300);
        let origin = origin_of(&of_origin);
        let copy = tempfile::tempdir().unwrap();
        copy_folder(now.path(), copy.path());
        forge_origin(copy.path(), &origin);
        let journal = Journal::open(journal_options(now.path()), clock(), Arc::new(NoObserver)).unwrap();
        let tree = open_tree(&journal);
        append(&journal, 300..500);
        journal.close();
        tree.close();
        let journal = Journal::open(journal_options(copy.path()), clock(), Arc::new(NoObserver)).unwrap();
        assert_eq!(&**journal.origin(), origin, "the copy passes for the log");
        let tree = open_tree(&journal);
        for number in 300..copy_size {
            let _durable = journal.append(&payload(number + 1_000_000)).unwrap();
        }
        eventually("durable", || journal.durable() == copy_size);
        journal.close();
        tree.close();
        Self { now, copy, origin }
    }

    fn log(&self) -> StoredLog {
        StoredLog::open(self.now.path(), &self.origin).unwrap()
    }

    fn copied(&self) -> StoredLog {
        StoredLog::open(self.copy.path(), &self.origin).unwrap()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// Makes a copy pass for the log, as an image of the whole disk would.
fn forge_origin(folder: &Path, origin: &str) {
    let path = folder.join("origin");
    let stat = statx(rustix::fs::CWD, &path, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME).unwrap();
    let (inode, born, nanos) = (stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    let text = format!("drivegate log 1\norigin {origin}\ninode {inode} born {born}.{nanos:09}\n");
    fs::write(path, text).unwrap();
}

fn witness_of(folder: &Path, verifier: &LogVerifier) -> (Witness, WitnessVerifier) {
    let key = WitnessKey::load_or_make(folder, "witness.example/w1").unwrap();
    let witness = Witness::open(folder, key, vec![verifier.clone()]).unwrap();
    let public = WitnessVerifier::parse(&witness.verifier_line()).unwrap();
    (witness, public)
}

fn ask(witness: &Witness, log: &StoredLog, old: u64) -> Result<Vec<u8>, WitnessRefusal> {
    let checkpoint = log.checkpoint().unwrap();
    let proof = log.consistency(old, checkpoint.size).unwrap_or_default();
    witness.add_checkpoint(&request(old, &proof, &checkpoint.note), 1_800_000_000)
}

#[test]
fn a_witness_cosigns_what_continues_and_nothing_else() {
    let rolled_back = RolledBack::to(310);
    let (log, copy) = (rolled_back.log(), rolled_back.copied());
    let folder = tempfile::tempdir().unwrap();
    let (witness, public) = witness_of(folder.path(), log.verifier());
    let line = ask(&witness, &log, 0).unwrap();
    let checkpoint = log.checkpoint().unwrap();
    let text =
        checkpoint.note.split(|byte| *byte == 0xe2).next().unwrap().strip_suffix(b"\n").unwrap().to_vec();
    assert_eq!(public.valid_line(&text, &line), Some(line.clone()));
    assert_eq!(public.valid_line(b"other text\n", &line), None);
    log.add_cosignature(&checkpoint, &line);
    let cosigned = log.checkpoint().unwrap();
    assert!(public.has_signed(&cosigned.note) && !public.has_signed(&checkpoint.note));
    assert_eq!(log.verifier().checkpoint(&cosigned.note).unwrap().root, checkpoint.root);

    // The older copy: too small, and not to be talked into it by any old size. Also after a restart of the witness.
    let (witness, _) = witness_of(folder.path(), log.verifier());
    assert!(matches!(ask(&witness, &copy, 300), Err(WitnessRefusal::Conflict { size: 500 })));
    assert!(matches!(ask(&witness, &copy, 0), Err(WitnessRefusal::Conflict { size: 500 })));
    assert!(matches!(ask(&witness, &copy, 500), Err(WitnessRefusal::Malformed)));
    assert!(ask(&witness, &log, 500).is_ok(), "the same tree may be cosigned again");
    // Grown past the log: it does not continue it, whatever proof it brings. At the same size: another tree.
    let longer = RolledBackCopies { rolled_back, folder };
    longer.refuses(&log);
}

struct RolledBackCopies {
    rolled_back: RolledBack,
    folder: TempDir,
}

impl RolledBackCopies {
    fn refuses(&self, log: &StoredLog) {
        let (witness, _) = witness_of(self.folder.path(), log.verifier());
        for size in [500, 600] {
            let journal =
                Journal::open(journal_options(self.rolled_back.copy.path()), clock(), Arc::new(NoObserver))
                    .unwrap();
            let tree = open_tree(&journal);
            for number in journal.durable()..size {
                let _durable = journal.append(&payload(number + 1_000_000)).unwrap();
            }
            eventually("durable", || journal.durable() == size);
            journal.close();
            tree.close();
            let refused = ask(&witness, &self.rolled_back.copied(), 500);
            let expected = match size {
                500 => matches!(refused, Err(WitnessRefusal::Conflict { size: 500 })),
                _ => matches!(refused, Err(WitnessRefusal::NotContinued)),
            };
            assert!(expected, "{size}: {refused:?}");
            assert_eq!(witness.seen(log.origin()).unwrap().unwrap().size, 500);
        }
    }
}

#[test]
fn a_witness_refuses_what_it_cannot_read_or_does_not_know() {
    let (folder, of_origin) = log_of(20);
    let (_other, of_other) = log_of(20);
    let log = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let stranger = LogVerifier::of_folder(&of_other).unwrap().unwrap();
    let (witness, _) = witness_of(kept.path(), &stranger);
    assert!(matches!(ask(&witness, &log, 0), Err(WitnessRefusal::UnknownLog)));
    let (witness, public) = witness_of(kept.path(), log.verifier());
    let note = log.checkpoint().unwrap().note.to_vec();
    let good = request(0, &[], &note);
    for bad in [&b""[..], b"\n\n", b"old 0\n", b"old 00\n\n", b"old x\n\n", b"old 0\nAAAA\n\n"] {
        let refused = witness.add_checkpoint(&[bad, &note].concat(), 0);
        assert!(matches!(refused, Err(WitnessRefusal::Malformed)), "{bad:?}");
    }
    let many = request(0, &[[7; 32]; 64], &note);
    assert!(matches!(witness.add_checkpoint(&many, 0), Err(WitnessRefusal::Malformed)));
    let long = request(0, &[[7; 32]], &note);
    assert!(matches!(witness.add_checkpoint(&long, 0), Err(WitnessRefusal::NotContinued)));
    let forged = String::from_utf8(note).unwrap().replacen("\n20\n", "\n21\n", 1);
    let refused = witness.add_checkpoint(&request(0, &[], forged.as_bytes()), 0);
    assert!(matches!(refused, Err(WitnessRefusal::NotSigned)));
    assert!(witness.seen(log.origin()).unwrap().is_none(), "nothing was kept");
    assert!(witness.add_checkpoint(&good, 0).is_ok());
    // State that cannot be read: it might be older than what was cosigned.
    let mut kept_files = fs::read_dir(kept.path()).unwrap().map(|file| file.unwrap().path());
    let state = kept_files.find(|path| path.extension().is_some_and(|kind| kind == "checkpoint")).unwrap();
    flip(&state, 3);
    assert!(matches!(witness.add_checkpoint(&good, 0), Err(WitnessRefusal::State(_))));
    let line = public_line(&witness);
    assert!(WitnessVerifier::parse(&line).is_ok());
    for bad in
        [line.replacen('+', "-", 1), line.replacen("w1", "w2", 1), String::new(), verifier_of(&of_origin)]
    {
        assert!(matches!(WitnessVerifier::parse(&bad), Err(NoteFault::Key)), "{bad}");
    }
    assert_eq!(public.name(), "witness.example/w1");
}

fn public_line(witness: &Witness) -> String {
    witness.verifier_line()
}

fn config(folder: &Path, verifier: &str, url: Option<String>) -> WitnessConfig {
    WitnessConfig {
        name: "witness.example/w1".to_owned(),
        folder: folder.to_owned(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        look_every_s: 1,
        logs: vec![WitnessedLog { verifier: verifier.to_owned(), url }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_rolled_back_is_found_by_the_witness_that_follows_it() {
    let rolled_back = tokio::task::spawn_blocking(|| RolledBack::to(310)).await.unwrap();
    let verifier = verifier_of(&rolled_back.now.path().join(&rolled_back.origin));
    let stop = CancellationToken::new();
    let kept = tempfile::tempdir().unwrap();
    let url = served(rolled_back.now.path(), &stop).await;
    let witness = RunningWitness::open(&config(kept.path(), &verifier, Some(url))).unwrap();
    assert_eq!(witness.look().await, Looked { sound: 1, unread: 0, broken: 0 });
    let url = served(rolled_back.copy.path(), &stop).await;
    let witness = RunningWitness::open(&config(kept.path(), &verifier, Some(url))).unwrap();
    assert_eq!(witness.look().await, Looked { sound: 0, unread: 0, broken: 1 });
    let nowhere = Some("http://127.0.0.1:1".to_owned());
    let witness = RunningWitness::open(&config(kept.path(), &verifier, nowhere)).unwrap();
    assert_eq!(witness.look().await, Looked { sound: 0, unread: 1, broken: 0 });
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growing_log_gets_its_checkpoints_cosigned_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(journal_options(folder.path()), clock(), Arc::new(NoObserver)).unwrap();
    let tree = open_tree(&journal);
    let kept = tempfile::tempdir().unwrap();
    let witness = RunningWitness::open(&config(kept.path(), tree.verifier().line(), None)).unwrap();
    let line = witness.verifier_line();
    let public = WitnessVerifier::parse(&line).unwrap();
    let stop = CancellationToken::new();
    let (told, heard) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(witness.run(stop.clone(), |address| told.send(address.unwrap()).unwrap()));
    let url = format!("http://{}", heard.await.unwrap());
    let log = Arc::clone(tree.log());
    // Two submitters: the second learns from the witness what it has seen.
    for _ in 0..2 {
        let site = WitnessSite::new(&url, &line).unwrap();
        tokio::spawn(site.follow(Arc::clone(&log), stop.clone()));
    }
    for count in [1, 2, 300] {
        let (journal, log, public) = (Arc::clone(&journal), Arc::clone(&log), public.clone());
        let cosigned = tokio::task::spawn_blocking(move || {
            append(&journal, journal.durable()..count);
            let is_cosigned = |checkpoint: Arc<SignedCheckpoint>| {
                checkpoint.size == count && public.has_signed(&checkpoint.note)
            };
            eventually("cosigned", || log.checkpoint().is_some_and(is_cosigned));
        });
        cosigned.await.unwrap();
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap().unwrap();
    tokio::task::spawn_blocking(move || tree.close()).await.unwrap();
}

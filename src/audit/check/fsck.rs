//! Is a log what it should be? Every byte is read, every entry decoded, the tree rebuilt, and held against what was signed.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::tiles::{Difference, TileCheck};
use super::tree::TreeHash;
use crate::audit::entry::Entry;
use crate::audit::journal::{Flaw, LogWalk, ReadError};
use crate::audit::note::last_checkpoint;
use crate::domain::closed_set::closed_set;
use crate::hashing::tree_leaf;

/// How far an answer's moment may lie before one that stands earlier in the log. A call takes two seconds at most, and a clock
/// that is set back is set by less; what is further off was dated back, or the clock was.
const BACK_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How far an entry's moment may lie after the auditor's own.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(60);
/// Findings told one by one; more are counted.
const FINDINGS_MAX: usize = 20;

closed_set! {
    /// What is wrong.
    pub enum FindingKind {
        /// A file's bytes: a header, a checksum, a gap, a torn end.
        Damaged = 1, "damaged";
        /// An entry with a good checksum that no version of ours wrote.
        Undecodable = 2, "undecodable";
        /// An answer dated before its place in the log.
        DatedBack = 3, "dated-back";
        /// An entry from the future.
        DatedAhead = 4, "dated-ahead";
        /// The tree rebuilt is not the one that was signed.
        TreeDiffers = 5, "tree-differs";
        /// A checkpoint covers more entries than there are.
        EntriesMissing = 6, "entries-missing";
        /// The log's own checkpoint or key cannot be used: not signed, not by this log, not readable.
        NotSigned = 7, "not-signed";
        /// A file of hashes that is served is not what the entries make.
        TilesDiffer = 8, "tiles-differ";
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The first entry concerned.
    pub index: u64,
    /// In words.
    pub message: String,
}

/// A tree head that somebody signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many entries it covers.
    pub size: u64,
    /// The tree hash over them.
    pub root: [u8; 32],
    /// Where it was found, for people.
    pub found: String,
}

/// What to hold a log against.
#[derive(Clone, Debug)]
pub struct FsckOptions {
    /// The auditor's own moment.
    pub now: Timestamp,
    /// Tree heads that were signed, in any order, beside the log's own last checkpoint, which is always looked at.
    pub heads: Vec<TreeHead>,
    /// A gateway may be writing: an end that looks torn is looked at for a second before it is called so.
    pub may_grow: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// The log's name.
    pub origin: String,
    /// The first index there is.
    pub first_index: u64,
    /// The index the next entry will have: the size of the tree.
    pub size: u64,
    /// The tree hash over all of them, in hexadecimal; none when the log is damaged, or the first were removed and
    /// never signed.
    pub root: Option<String>,
    /// Segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes that a failed write left behind: never durable, never answered.
    pub void_bytes: u64,
    /// The moment of the first and the last entry.
    pub dated: Option<(Timestamp, Timestamp)>,
    /// Signed tree heads that the rebuilt tree agrees with.
    pub heads_confirmed: u64,
    /// What is wrong, in order of index; at most twenty.
    pub findings: Vec<Finding>,
    /// How many more.
    pub findings_more: u64,
}

impl FsckReport {
    /// Says whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the first index that is not as it should be.
    pub fn first_bad_index(&self) -> Option<u64> {
        self.findings.iter().map(|finding| finding.index).min()
    }
}

/// Checks a log from its entries; `progress` is called with the bytes of each. Only reads; a gateway may be writing.
///
/// # Errors
/// [`ReadError`] when there is no log or its files cannot be read; what is wrong inside them is a finding.
pub fn check(
    folder: &Path,
    origin: Option<&str>,
    options: FsckOptions,
    mut progress: impl FnMut(u64),
) -> Result<FsckReport, ReadError> {
    let log = LogWalk::open(folder, origin)?;
    let mut log = if options.may_grow { log } else { log.at_rest() };
    let mut checker = Checker::new(options);
    // Before the entries: a gateway may sign more while they are read.
    checker.read_checkpoint(&folder.join(log.origin()), log.origin());
    checker.take_up(log.first_index()?);
    let walked = log.walk(|index, bytes| {
        checker.entry(index, bytes);
        progress(bytes.len() as u64);
        ControlFlow::Continue(())
    })?;
    let is_whole = checker.reaches_back && walked.flaw.is_none();
    let root = is_whole.then(|| hex(&checker.tree.root()));
    if let Some(flaw) = &walked.flaw {
        checker.find(FindingKind::Damaged, flaw.index(), damage(flaw));
    }
    checker.end(walked.next_index);
    checker.findings.sort_by_key(|finding| finding.index);
    Ok(FsckReport {
        origin: log.origin().to_owned(),
        first_index: walked.first_index,
        size: walked.next_index,
        root,
        segments: walked.segments,
        bytes: walked.bytes,
        void_bytes: walked.void_bytes,
        dated: checker.first.zip(checker.last),
        heads_confirmed: checker.heads_confirmed,
        findings: checker.findings,
        findings_more: checker.findings_more,
    })
}

fn damage(flaw: &Flaw) -> String {
    match flaw {
        Flaw::Torn { .. } => format!(
            "{flaw}; if a process died here, its next start cuts them off: start it, then check again"
        ),
        Flaw::Header { .. } | Flaw::Gap { .. } => format!("{flaw}; bring this segment back from a copy"),
    }
}

/// What is known while walking.
struct Checker {
    tree: TreeHash,
    now: Timestamp,
    /// Not yet reached, the nearest last.
    heads: Vec<TreeHead>,
    heads_confirmed: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The latest moment of an answer so far.
    latest: Timestamp,
    findings: Vec<Finding>,
    findings_more: u64,
    /// The files of hashes, when the log has a checkpoint.
    tiles: Option<TileCheck>,
    /// The tree begins with entry 0: only then does it have a size to compare.
    reaches_back: bool,
}

impl Checker {
    fn new(options: FsckOptions) -> Self {
        Self {
            tree: TreeHash::default(),
            now: options.now,
            heads: options.heads,
            heads_confirmed: 0,
            first: None,
            last: None,
            latest: Timestamp::MIN,
            findings: Vec::new(),
            findings_more: 0,
            tiles: None,
            reaches_back: true,
        }
    }

    /// Takes the hashes of entries that were removed, for their age, from the file that is served. Whether they are the ones
    /// signed, the checkpoint tells.
    fn take_up(&mut self, first_index: u64) {
        if first_index == 0 {
            return;
        }
        let leaves = self.tiles.as_ref().map(TileCheck::leaves);
        let Some(leaves) = leaves else {
            (self.reaches_back, self.heads) = (false, Vec::new());
            return;
        };
        let taken = leaves.and_then(|mut leaves| {
            let mut leaf = [0; 32];
            for _ in 0..first_index {
                leaves.read_exact(&mut leaf)?;
                self.hash_leaf(leaf);
                self.compare_heads();
            }
            Ok(())
        });
        if taken.is_err() {
            (self.reaches_back, self.heads, self.tiles) = (false, Vec::new(), None);
            let message = format!(
                "entries before {first_index} were removed, and tree/level-0 does not hold their hashes"
            );
            self.find(FindingKind::TilesDiffer, 0, message);
        }
    }

    /// Reads the log's own last checkpoint, whose size also says how far the files of hashes reach.
    fn read_checkpoint(&mut self, of_origin: &Path, origin: &str) {
        match last_checkpoint(of_origin, origin) {
            Ok(None) => {}
            Ok(Some(checkpoint)) => {
                self.tiles = Some(TileCheck::new(of_origin, checkpoint.size));
                let found = "the log's checkpoint".to_owned();
                self.heads.push(TreeHead { size: checkpoint.size, root: checkpoint.root, found });
            }
            Err(error) => {
                let message = format!(
                    "the log's checkpoint cannot be relied on: {error}; nothing says what was signed"
                );
                self.find(FindingKind::NotSigned, 0, message);
            }
        }
        self.heads.sort_by_key(|head| std::cmp::Reverse(head.size));
        self.compare_heads();
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) {
        self.hash_leaf(tree_leaf(bytes));
        match Entry::decode(bytes) {
            Ok(entry) => self.date(index, &entry),
            Err(error) => {
                self.find(FindingKind::Undecodable, index, format!("entry {index} cannot be read: {error}"));
            }
        }
        self.compare_heads();
    }

    /// Adds the entry to the tree, and compares what it completes with the files that are served.
    fn hash_leaf(&mut self, leaf: [u8; 32]) {
        let size = self.tree.size() + 1;
        let (tiles, mut differences) = (&mut self.tiles, Vec::new());
        self.tree.push_leaf_telling(leaf, |height, hash| {
            differences.extend(tiles.as_mut().and_then(|tiles| tiles.compare(size, height, hash)));
        });
        for Difference { level, index } in differences {
            let message = format!(
                "tree/level-{level} is not what the entries from {index} on make; it is made again from them when `tree` is \
                 moved away, all but `checkpoint`, and the gateway started"
            );
            self.find(FindingKind::TilesDiffer, index, message);
        }
    }

    fn date(&mut self, index: u64, entry: &Entry) {
        let at = entry.at();
        self.first.get_or_insert(at);
        self.last = Some(at);
        if at.duration_since(self.now) > AHEAD_MAX {
            let message = format!("entry {index} is dated {at}, which is yet to come");
            self.find(FindingKind::DatedAhead, index, message);
            return;
        }
        // Refusals are written when their second is over, or much later, when the log was closed.
        if matches!(entry, Entry::Refusals(_)) {
            return;
        }
        if self.latest > Timestamp::MIN && self.latest.duration_since(at) > BACK_MAX {
            let message = format!("entry {index} is dated {at}, after one dated {}", self.latest);
            self.find(FindingKind::DatedBack, index, message);
        }
        self.latest = self.latest.max(at);
    }

    /// Holds the tree against the heads of this size. Only a tree that begins with entry 0 has a size to compare.
    fn compare_heads(&mut self) {
        while let Some(head) = self.heads.pop_if(|head| head.size == self.tree.size()) {
            if head.root == self.tree.root() {
                self.heads_confirmed += 1;
                continue;
            }
            let TreeHead { size, root, found } = head;
            let message = format!(
                "{found} of size {size} was signed over {}, but the entries make {}: one of them is not the one signed",
                hex(&root),
                hex(&self.tree.root())
            );
            self.find(FindingKind::TreeDiffers, size.saturating_sub(1), message);
        }
    }

    fn end(&mut self, size: u64) {
        for head in std::mem::take(&mut self.heads) {
            let message = format!("{} covers {} entries, the log holds {size}", head.found, head.size);
            self.find(FindingKind::EntriesMissing, size, message);
        }
    }

    fn find(&mut self, kind: FindingKind, index: u64, message: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { kind, index, message });
        } else {
            self.findings_more += 1;
        }
    }
}

/// Writes bytes as people compare them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

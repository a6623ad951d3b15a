//! What a driver sees, over real journals, their trees, and the embedded index.
//!
//! Method: three logs are written (a retired one, this replica's own, a peer's). The test notes whom each entry is about when it
//! writes it, reads the logs itself, entry by entry, and compares.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ports::*;
use super::*;
use crate::audit::entry::{
    About, Access as OnRecord, AnswerEntry, AuthorisedBy, CaseDigest, Entry, LeafSet, Part, SubjectPseudonym,
};
use crate::audit::keys::LogSecret;
use crate::audit::{
    AllLogs, FeedFault, FeedObserver, IndexFeed, Journal, JournalOptions, JournalReader, LogTree, NoObserver,
    Opener, Shelf, TreeOptions,
};
use crate::domain::claim::GroundKind;
use crate::domain::decision::{Criterion, CriterionKind, Decision, Outcome, Reason};
use crate::domain::disclosure::Field;
use crate::domain::partner::{PartnerId, PartnerKind, Standing};
use crate::domain::presentation::{Holder, PresentationKind};
use crate::domain::question::Purpose;
use crate::domain::subject::{Position, SubjectId, SubjectSecret};
use crate::hashing::MacKey;
use crate::issuing::testing::{FakeRegistry, NO_HURRY, SetClock, holder, holders, record};
use crate::issuing::{ListTokens, Page, WalletCaller};
use crate::registry::EmbeddedLookUps;
use crate::verification::ports::{EntryAt, Later, Pseudonyms as _, QuestionDigest};

const BEGAN: i64 = 1_800_000_000;
const SECRET: [u8; 32] = [9; 32];

/// A log of the deployment, and what tells of it.
struct Replica {
    journal: Arc<Journal>,
    tree: LogTree,
    logs: AllLogs,
}

impl Replica {
    /// Opens a log in a folder; segments are small, so that reading crosses many.
    fn open(folder: &Path, name: &str, clock: &Arc<SetClock>) -> Self {
        let secret = folder.join("../log-secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let options = JournalOptions {
            segment_bytes: 8_192,
            step_bytes: 1_024,
            secret: Some(secret),
            ..JournalOptions::new(folder, name)
        };
        let journal = Journal::open(options, Arc::clone(clock) as _, Arc::new(NoObserver)).unwrap();
        let tree = LogTree::open(&journal, TreeOptions::default(), Arc::clone(clock) as _).unwrap();
        let shelf = Shelf::open(folder, Some(tree.log())).unwrap();
        let logs = AllLogs::new(shelf, Vec::new(), Some(&journal), &Handle::current());
        Self { journal, tree, logs }
    }

    fn close(&self) {
        self.journal.close();
        self.tree.close();
    }
}

struct Ignored;

impl FeedObserver for Ignored {
    fn fed(&self, _: u64, _: u64) {}

    fn failed(&self, fault: &FeedFault) {
        panic!("{fault}");
    }
}

/// Several replicas' logs as one gateway sees them. A log can be away, or have been pruned.
#[derive(Default)]
struct Deployment {
    replicas: Mutex<Vec<Arc<Replica>>>,
    away: Mutex<Option<String>>,
    pruned: Mutex<HashMap<String, u64>>,
}

struct Seen {
    log: Arc<dyn LogSource>,
    is_away: bool,
    minimum: u64,
}

impl Deployment {
    fn seen(&self, log: Arc<dyn LogSource>) -> Arc<dyn LogSource> {
        let is_away = self.away.lock().unwrap().as_deref() == Some(log.origin());
        let minimum = self.pruned.lock().unwrap().get(log.origin()).copied().unwrap_or(0);
        Arc::new(Seen { log, is_away, minimum })
    }
}

impl Logs for Deployment {
    fn log(&self, origin: &str) -> Option<Arc<dyn LogSource>> {
        self.all().into_iter().find(|log| log.origin() == origin)
    }

    fn all(&self) -> Vec<Arc<dyn LogSource>> {
        let logs: Vec<_> = self.replicas.lock().unwrap().iter().flat_map(|one| one.logs.all()).collect();
        logs.into_iter().map(|log| self.seen(log)).collect()
    }

    fn growing(&self) -> Vec<Arc<dyn LogSource>> {
        let logs: Vec<_> = self.replicas.lock().unwrap().iter().flat_map(|one| one.logs.growing()).collect();
        logs.into_iter().map(|log| self.seen(log)).collect()
    }
}

impl LogSource for Seen {
    fn origin(&self) -> &str {
        self.log.origin()
    }

    fn checkpoint(&self) -> Later<'_, Result<Option<SignedCheckpoint>, LogUnavailable>> {
        self.log.checkpoint()
    }

    fn entry(&self, index: u64) -> Later<'_, Result<Option<Vec<u8>>, LogUnavailable>> {
        self.log.entry(index)
    }

    fn stretch(&self, from: u64, count_max: u64) -> Later<'_, Result<Stretch, LogUnavailable>> {
        if self.is_away {
            return Box::pin(async { Err(LogUnavailable) });
        }
        self.log.stretch(from.max(self.minimum), count_max)
    }

    fn length(&self) -> Later<'_, Result<u64, LogUnavailable>> {
        if self.is_away {
            return Box::pin(async { Err(LogUnavailable) });
        }
        self.log.length()
    }

    fn inclusion(&self, index: u64, size: u64) -> Later<'_, Result<Vec<[u8; 32]>, LogUnavailable>> {
        self.log.inclusion(index, size)
    }
}

/// Secrets of the drivers 1 to 9, but of those erased.
#[derive(Default)]
struct Secrets(Mutex<Vec<u8>>);

impl SubjectSecrets for Secrets {
    fn secret(&self, subject: SubjectId) -> Later<'_, Result<Option<SubjectSecret>, IndexUnavailable>> {
        let known = (1..10).find(|driver| subject.as_bytes() == &[*driver; 16]);
        let erased = self.0.lock().unwrap().clone();
        let known = known.filter(|driver| !erased.contains(driver));
        Box::pin(async move { Ok(known.map(|driver| SubjectSecret::from_bytes([driver; 32]))) })
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<HoldBack>>);

impl HoldBacks for Kept {
    fn set(&self, hold_back: HoldBack) -> Later<'_, Result<(), IndexUnavailable>> {
        self.0.lock().unwrap().push(hold_back);
        Box::pin(async { Ok(()) })
    }

    fn of_subject(&self, subject: SubjectId) -> Later<'_, Result<Vec<HoldBack>, IndexUnavailable>> {
        let kept = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(kept.into_iter().filter(|one| one.subject == subject).collect()) })
    }

    fn lift(&self, subject: SubjectId, id: [u8; 16]) -> Later<'_, Result<bool, IndexUnavailable>> {
        let mut kept = self.0.lock().unwrap();
        let had = kept.len();
        kept.retain(|one| one.subject != subject || one.id != id);
        let lifted = kept.len() < had;
        Box::pin(async move { Ok(lifted) })
    }
}

struct Names;

impl PartnerNames for Names {
    fn names(&self, partner: &PartnerId) -> Option<PartnerNamed> {
        let kind = if partner.as_str() == "police" { PartnerKind::Enforcement } else { PartnerKind::Rental };
        (partner.as_str() != "gone").then(|| PartnerNamed {
            legal_name: format!("{partner} Ltd"),
            display_name: partner.to_string(),
            kind,
        })
    }
}

struct World {
    folder: TempDir,
    clock: Arc<SetClock>,
    registry: Arc<FakeRegistry>,
    secrets: Arc<Secrets>,
    kept: Arc<Kept>,
    deployment: Arc<Deployment>,
    accesses: Arc<Accesses>,
    desk: HoldBackDesk,
    serial: AtomicU64,
}

/// This replica's log, and its peer's.
const HERE: usize = 0;
const THERE: usize = 1;

/// Whom an entry is about.
#[derive(Clone, Copy)]
enum Whom {
    /// A driver of the registry.
    Driver(u8),
    /// A number that nobody had then.
    Number(u32),
}

fn active() -> Standing {
    Standing::Active
}

fn wallet() -> PartnerId {
    "wallet".parse().unwrap()
}

impl World {
    /// Opens one log; more are opened by [`Self::retire`].
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["here", "there"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let clock = Arc::new(SetClock(BEGAN.into()));
        let registry = Arc::new(FakeRegistry::default());
        let (secrets, kept) = (Arc::<Secrets>::default(), Arc::<Kept>::default());
        let deployment = Arc::<Deployment>::default();
        let first = Arc::new(Replica::open(&folder.path().join("here"), "gw-old", &clock));
        deployment.replicas.lock().unwrap().push(Arc::clone(&first));
        let accesses = Accesses {
            holders: holders(&registry, &clock),
            index: Arc::new(EmbeddedLookUps::in_memory().unwrap()),
            logs: Arc::clone(&deployment) as _,
            entries: Arc::new(Opener::new(Arc::new(LogSecret::from_bytes(&SECRET)))),
            secrets: Arc::clone(&secrets) as _,
            hold_backs: Arc::clone(&kept) as _,
            names: Arc::new(Names),
            log: Arc::clone(&first.journal) as _,
            tokens: ListTokens::new(MacKey::new(&[3; 32])),
            clock: Arc::clone(&clock) as _,
        };
        let desk = HoldBackDesk {
            holders: holders(&registry, &clock),
            hold_backs: Arc::clone(&kept) as _,
            log: Arc::clone(&first.journal) as _,
            clock: Arc::clone(&clock) as _,
            length_max: SignedDuration::from_hours(24 * 180),
        };
        let accesses = Arc::new(accesses);
        Self { folder, clock, registry, secrets, kept, deployment, accesses, desk, serial: AtomicU64::new(0) }
    }

    /// Opens the logs that grow, with nothing written before.
    async fn with_two_logs() -> Self {
        let mut world = Self::new();
        world.retire().await;
        world
    }

    /// Ends the one log there is, and begins this replica's new one and its peer's.
    async fn retire(&mut self) {
        self.feed().await;
        let old = self.deployment.replicas.lock().unwrap().remove(0);
        tokio::task::block_in_place(|| old.close());
        drop(old);
        self.accesses = {
            let open = |(folder, name)| Replica::open(&self.folder.path().join(folder), name, &self.clock);
            let replicas = [("here", "gw-1"), ("there", "gw-2")].map(open).map(Arc::new);
            let journal = Arc::clone(&replicas[HERE].journal);
            self.desk.log = Arc::clone(&journal) as _;
            *self.deployment.replicas.lock().unwrap() = replicas.into();
            let old = &self.accesses;
            Arc::new(Accesses {
                holders: old.holders.clone(),
                index: Arc::clone(&old.index),
                logs: Arc::clone(&old.logs),
                entries: Arc::clone(&old.entries),
                secrets: Arc::clone(&old.secrets),
                hold_backs: Arc::clone(&old.hold_backs),
                names: Arc::clone(&old.names),
                log: journal,
                tokens: old.tokens.clone(),
                clock: Arc::clone(&old.clock),
            })
        };
    }

    fn replica(&self, number: usize) -> Arc<Replica> {
        Arc::clone(&self.deployment.replicas.lock().unwrap()[number])
    }

    fn handle(&self, whom: Whom) -> SubjectHandle {
        match whom {
            Whom::Driver(driver) => SubjectHandle([driver; 16]),
            Whom::Number(tail) => {
                let holder = holder(tail);
                SubjectHandle::of_number(&self.registry.pseudonym(holder.document, &holder.number))
            }
        }
    }

    /// Puts an answer on record; everything else about it follows from its serial number.
    async fn ask(&self, replica: usize, whom: Whom, partner: &str) -> EntryAt {
        self.ask_for(replica, whom, partner, None).await
    }

    async fn ask_for(&self, replica: usize, whom: Whom, partner: &str, purpose: Option<Purpose>) -> EntryAt {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let pick = |of: usize| usize::try_from(serial).unwrap() % of;
        let is_confirmed = matches!(whom, Whom::Driver(_)) && pick(5) != 4;
        let subject = match is_confirmed {
            true => Criterion { kind: CriterionKind::Subject, outcome: Outcome::Met, reason: None },
            false => Criterion::unknown(CriterionKind::Subject, Reason::SubjectNotConfirmed),
        };
        let decisions = [Decision::Qualified, Decision::NotQualified, Decision::Indeterminate];
        let nonce = [0; 8].into_iter().chain(serial.to_be_bytes()).collect::<Vec<u8>>().try_into().unwrap();
        let replica = self.replica(replica);
        let entry = AnswerEntry {
            at: Timestamp::from_second(self.clock.0.load(Ordering::Relaxed)).unwrap(),
            partner: Cow::Owned(partner.parse().unwrap()),
            purpose: purpose.unwrap_or(Purpose::ALL[pick(5)]),
            ground: (AuthorisedBy::ALL[pick(3)] == AuthorisedBy::Asserted).then(|| GroundKind::ALL[pick(3)]),
            subject_is_party: pick(2) == 0,
            authorised_by: AuthorisedBy::ALL[pick(3)],
            decision: if is_confirmed { decisions[pick(3)] } else { Decision::Indeterminate },
            charged: true,
            consent_withdrawn: is_confirmed && pick(7) == 6,
            position: Position { epoch: 1, partition: 0, seq: serial },
            known_at: Timestamp::UNIX_EPOCH,
            nonce,
            subject: SubjectPseudonym([1; 16]),
            question: QuestionDigest([2; 16]),
            leaves: LeafSet::from_bits([0b1001, 1 << 17 | 1, 1 << 19 | 1 << 20 | 1][pick(3)]).unwrap(),
            root: [3; 32],
            handle: replica.journal.secret().hide_handle(&nonce, self.handle(whom)),
            case: CaseDigest([4; 16]),
            request: None,
            policy_version: Cow::Borrowed("2026-11-01"),
            case_category: Cow::Owned(format!("category-{}", pick(4))),
            criteria: Cow::Owned(vec![subject]),
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        replica.journal.append(&bytes).unwrap().await.unwrap()
    }

    /// Brings the index up to what is durable, as the feeds of all replicas do four times a second.
    async fn feed(&self) {
        let replicas = self.deployment.replicas.lock().unwrap().clone();
        for replica in replicas {
            let (journal, index) = (Arc::clone(&replica.journal), Arc::clone(&self.accesses.index));
            let stop = CancellationToken::new();
            stop.cancel();
            IndexFeed::new(journal, index, Arc::new(Ignored)).run(stop).await;
        }
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn page(&self, tail: u32, size: usize, token: Option<&[u8]>) -> Result<AccessPage, NotShown> {
        let wallet = wallet();
        let caller = WalletCaller { wallet: &wallet, standing: &active };
        self.accesses.list(caller, &holder(tail), Page { size, token }, NO_HURRY).await
    }

    /// Lists everything, page by page.
    async fn list(&self, tail: u32, size: usize) -> Vec<Access> {
        let (mut listed, mut token) = (Vec::new(), None);
        loop {
            // A list is on record too, and the index reads past that.
            self.feed().await;
            let page = self.page(tail, size, token.as_deref()).await.unwrap();
            assert!(page.accesses.len() <= size && (page.next.is_none() || page.accesses.len() == size));
            listed.extend(page.accesses);
            match page.next {
                None => return listed,
                next => token = next,
            }
        }
    }

    /// Reads every log itself, entry by entry.
    fn walk(&self) -> Vec<(EntryAt, Entry)> {
        let mut entries = Vec::new();
        for folder in ["here", "there"].map(|name| self.folder.path().join(name)) {
            for origin in fs::read_dir(&folder).unwrap().map(|file| file.unwrap()) {
                if !origin.file_type().unwrap().is_dir() {
                    continue;
                }
                let origin = origin.file_name().into_string().unwrap();
                for stored in JournalReader::open_origin(&folder, &origin).unwrap() {
                    let stored = stored.unwrap();
                    let place = EntryAt { origin: origin.as_str().into(), index: stored.index };
                    entries.push((place, stored.entry().unwrap()));
                }
            }
        }
        entries
    }

    /// Says what a driver must be shown, from the logs alone.
    fn expected(&self, handles: &[SubjectHandle]) -> Vec<Access> {
        let secret = LogSecret::from_bytes(&SECRET);
        let mut expected = Vec::new();
        for (place, entry) in self.walk() {
            let Entry::Answer(answer) = entry else { continue };
            if !handles.contains(&secret.open_handle(&answer.nonce, answer.handle)) {
                continue;
            }
            let is_confirmed = answer.criteria[0].outcome == Outcome::Met;
            let fields = [(17, Field::MaskedName), (19, Field::Probation), (20, Field::TenureBand)];
            expected.push(Access {
                at: answer.at,
                named: Names.names(&answer.partner),
                partner: answer.partner.into_owned(),
                purpose: answer.purpose,
                case_category: answer.case_category.into_owned(),
                ground: answer.ground,
                subject_is_party: answer.subject_is_party,
                shown: match answer.authorised_by {
                    AuthorisedBy::Qr => Some(PresentationKind::Qr),
                    AuthorisedBy::ShareCode => Some(PresentationKind::ShareCode),
                    AuthorisedBy::Asserted => None,
                },
                outcome: match answer.decision {
                    _ if answer.consent_withdrawn => LookUpOutcome::ConsentWithdrawn,
                    _ if !is_confirmed => LookUpOutcome::NotConfirmed,
                    Decision::Qualified => LookUpOutcome::Qualified,
                    Decision::NotQualified => LookUpOutcome::NotQualified,
                    Decision::Indeterminate => LookUpOutcome::Indeterminate,
                },
                fields: fields
                    .into_iter()
                    .filter(|(bit, _)| answer.leaves.bits() & (1 << bit) != 0)
                    .map(|(_, field)| field)
                    .collect(),
                place,
            });
        }
        expected.sort_by_key(|one| (one.at, one.place.origin.to_string(), one.place.index));
        expected.reverse();
        expected
    }

    /// Three drivers: one with a number, one whose number changed, one who came into the registry late.
    fn fill_registry(&self) {
        self.registry.put(record(1, &[holder(101)], Vec::new()));
        self.registry.put(record(2, &[holder(102), holder(103)], Vec::new()));
        self.registry.put(record(3, &[holder(104)], Vec::new()));
    }
}

/// Goal: what a driver is shown is what the logs hold about the driver: every entry, nothing else, in order.
/// Method: some 500 look-ups by four partners, many at the same moment, over a retired log and two that grow; confirmed and not, on
/// numbers nobody had that later lead to a driver, on numbers before and after a change. Then page sizes of every kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_agrees_entry_for_entry_with_the_logs() {
    let mut world = World::new();
    let partners = ["rental-a", "insurer-b", "police", "gone"];
    let whom = [
        Whom::Driver(1),
        Whom::Driver(2),
        Whom::Number(102),
        Whom::Number(103),
        Whom::Number(104),
        Whom::Driver(3),
        Whom::Number(777),
        Whom::Driver(8),
    ];
    for round in 0..20 {
        world.ask(HERE, whom[round % 8], partners[round % 4]).await;
        world.pass(i64::from(round % 3 == 0));
    }
    world.retire().await;
    world.fill_registry();
    for round in 0..480_usize {
        world.ask(round % 2, whom[(round / 2 + round / 16) % 8], partners[round % 3]).await;
        // Runs of entries share a moment, within a log and across both.
        world.pass(i64::from(round % 7 == 0));
    }
    world.feed().await;
    let of = |whom: &[Whom]| whom.iter().map(|whom| world.handle(*whom)).collect::<Vec<_>>();
    let drivers = [
        (101, of(&[Whom::Driver(1), Whom::Number(101)])),
        (102, of(&[Whom::Driver(2), Whom::Number(102), Whom::Number(103)])),
        (103, of(&[Whom::Driver(2), Whom::Number(102), Whom::Number(103)])),
        (104, of(&[Whom::Driver(3), Whom::Number(104)])),
    ];
    for (tail, handles) in &drivers {
        let expected = world.expected(handles);
        assert!(expected.len() > 40, "{}", expected.len());
        let origins: std::collections::BTreeSet<_> =
            expected.iter().map(|access| access.place.origin.to_string()).collect();
        assert_eq!(origins.len(), 3, "all three logs hold something");
        for size in [7, 16, 100] {
            let listed = world.list(*tail, size).await;
            assert_eq!(listed.len(), expected.len(), "driver {tail}, pages of {size}");
            for (listed, expected) in listed.iter().zip(&expected) {
                assert_eq!(listed, expected, "driver {tail}, pages of {size}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_on_record_before_it_leaves() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    for _ in 0..3 {
        world.ask(THERE, Whom::Driver(1), "rental-a").await;
    }
    world.feed().await;
    let first = world.page(101, 2, None).await.unwrap();
    let second = world.page(101, 2, first.next.as_deref()).await.unwrap();
    assert_eq!((first.accesses.len(), second.accesses.len(), second.next), (2, 1, None));
    let expected = world.accesses.holders.pseudonyms.subject_ref(&SubjectId::from_bytes([1; 16]), &wallet());
    assert_eq!(first.subject_ref, expected);
    let secret = LogSecret::from_bytes(&SECRET);
    for (page, part) in [(first.entry, Part::First), (second.entry, Part::Continued)] {
        let (_, entry) = world.walk().into_iter().find(|(place, _)| *place == page).unwrap();
        assert_eq!(entry.partner(), Some(&wallet()));
        let Entry::Access(access) = entry else { panic!("another kind") };
        let OnRecord::List { about: About { nonce, handle, .. }, part: on_record } = access.access else {
            panic!("another access")
        };
        assert_eq!((secret.open_handle(&nonce, handle), on_record), (SubjectHandle([1; 16]), part));
    }
    tokio::task::block_in_place(|| world.replica(HERE).close());
    world.feed().await;
    assert_eq!(world.page(101, 2, None).await, Err(NotShown::NoEvidence));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_never_silently_short() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    let [here, there] = [HERE, THERE].map(|number| world.replica(number).journal.origin().to_string());
    for replica in [HERE, THERE, HERE, THERE] {
        world.ask(replica, Whom::Driver(1), "rental-a").await;
        world.pass(1);
    }
    // Four entries are durable and not in the index.
    assert_eq!(world.page(101, 10, None).await, Err(NotShown::NoIndex));
    world.feed().await;
    let page = world.page(101, 10, None).await.unwrap();
    assert_eq!(page.accesses.len(), 4, "complete before any checkpoint has to cover them");
    // A log away: nobody's list, a page further on included.
    let part = world.page(101, 1, None).await;
    assert_eq!(part.err(), Some(NotShown::NoIndex), "the list itself is on record");
    world.feed().await;
    let part = world.page(101, 1, None).await.unwrap();
    for origin in [&here, &there] {
        *world.deployment.away.lock().unwrap() = Some(origin.clone());
        assert_eq!(world.page(101, 10, None).await, Err(NotShown::NoLog));
        assert_eq!(world.page(101, 10, part.next.as_deref()).await, Err(NotShown::NoLog));
    }
    *world.deployment.away.lock().unwrap() = None;
    // What retention took is passed over.
    world.feed().await;
    world.deployment.pruned.lock().unwrap().insert(there.clone(), 1);
    let left = world.list(101, 10).await;
    let places: Vec<_> =
        left.iter().map(|access| (access.place.origin.to_string(), access.place.index)).collect();
    assert_eq!(places, [(there, 1), (here.clone(), 1), (here, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_one_drivers_list_of_one_wallet() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    for _ in 0..3 {
        world.ask(HERE, Whom::Driver(1), "rental-a").await;
    }
    world.feed().await;
    let token = world.page(101, 1, None).await.unwrap().next.unwrap();
    assert_eq!(world.page(102, 1, Some(&token)).await, Err(NotShown::TokenNotKnown));
    assert_eq!(world.page(101, 1, Some(b"")).await, Err(NotShown::TokenNotKnown));
    let other: PartnerId = "other-wallet".parse().unwrap();
    let caller = WalletCaller { wallet: &other, standing: &active };
    let page = Page { size: 1, token: Some(&token) };
    let others = world.accesses.list(caller, &holder(101), page, NO_HURRY).await;
    assert_eq!(others, Err(NotShown::TokenNotKnown));
    // The place is in the token, not the number of the driver: another number of the same driver goes on.
    assert!(world.page(101, 1, Some(&token)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_a_list_of_who_is_not_there_or_may_not_read() {
    let world = World::with_two_logs().await;
    world.registry.put(record(1, &[holder(101)], vec![crate::domain::licence::ChangeKind::Erased]));
    world.registry.put(record(2, &[holder(102)], vec![crate::domain::licence::ChangeKind::ProtectionSet]));
    world.registry.put(record(3, &[holder(103)], Vec::new()));
    for tail in [101, 102, 104] {
        assert_eq!(world.page(tail, 1, None).await, Err(NotShown::HolderNotKnown));
    }
    let wallet = wallet();
    let suspended = || Standing::Suspended;
    let caller = WalletCaller { wallet: &wallet, standing: &suspended };
    let page = Page { size: 1, token: None };
    let refused = world.accesses.list(caller, &holder(103), page, NO_HURRY).await;
    assert_eq!(refused, Err(NotShown::StandingLost(Standing::Suspended)));
    assert!(world.walk().is_empty(), "nothing was shown, and nothing says so");
}

fn wanted(partner: Option<&str>, days: i64) -> HoldBackWanted {
    HoldBackWanted {
        partner: partner.map(|id| id.parse().unwrap()),
        from: None,
        until: Timestamp::from_second(BEGAN + days * 86_400).unwrap(),
        set_by: "officer 4711".into(),
        ground: "file 2026-17".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_comes_by_itself_when_its_time_is_over() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    let rental = Some(Purpose::Rental);
    let check = Some(Purpose::Enforcement);
    world.ask_for(HERE, Whom::Driver(1), "police", check).await;
    world.pass(10);
    let held = world.desk.set(&holder(101), wanted(None, 100), NO_HURRY).await.unwrap();
    world.desk.set(&holder(101), wanted(Some("rental-a"), 50), NO_HURRY).await.unwrap();
    for (partner, purpose) in [("police", check), ("rental-a", rental), ("insurer-b", rental)] {
        world.ask_for(HERE, Whom::Driver(1), partner, purpose).await;
        world.ask_for(THERE, Whom::Driver(2), partner, purpose).await;
    }
    let partners = async |tail| {
        let partners: Vec<_> =
            world.list(tail, 2).await.into_iter().map(|one| one.partner.to_string()).collect();
        partners.join(" ")
    };
    assert_eq!(partners(101).await, "insurer-b police", "what was before the hold-back stays");
    assert_eq!(partners(102).await, "insurer-b rental-a police", "another driver");
    world.pass(50 * 86_400);
    assert_eq!(partners(101).await, "insurer-b rental-a police");
    world.desk.lift(&holder(101), held.id, ("officer 4711", "closed"), NO_HURRY).await.unwrap();
    assert_eq!(partners(101).await, "insurer-b rental-a police police");
    let again = world.desk.lift(&holder(101), held.id, ("officer 4711", "closed"), NO_HURRY).await;
    assert_eq!(again, Err(NoHoldBack::NotKnown));
    let on_record: Vec<_> = world
        .walk()
        .into_iter()
        .filter_map(|(_, entry)| match entry {
            Entry::Access(access) => Some(access),
            _ => None,
        })
        .filter(|access| access.partner.is_none())
        .map(|access| access.access)
        .collect();
    assert!(matches!(&on_record[0], OnRecord::HoldBackSet { id, of: None, set_by, ground, .. }
        if *id == held.id && set_by == "officer 4711" && ground == "file 2026-17"));
    assert!(
        matches!(&on_record[1], OnRecord::HoldBackSet { of: Some(partner), .. } if partner.as_str() == "rental-a")
    );
    assert!(
        matches!(&on_record[2], OnRecord::HoldBackLifted { id, ground, .. } if *id == held.id && ground == "closed")
    );
    assert_eq!(on_record.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_back_has_an_end_a_setter_and_a_ground() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    let set = async |wanted| world.desk.set(&holder(101), wanted, NO_HURRY).await.map(drop);
    let length_max = SignedDuration::from_hours(24 * 180);
    assert_eq!(set(wanted(None, 0)).await, Err(NoHoldBack::Over));
    assert_eq!(set(wanted(None, 181)).await, Err(NoHoldBack::TooLong { length_max }));
    let late = Timestamp::from_second(BEGAN + 200 * 86_400).unwrap();
    assert_eq!(set(HoldBackWanted { from: Some(late), ..wanted(None, 100) }).await, Err(NoHoldBack::Over));
    for text in ["", "  ", "two\nlines", &"x".repeat(121)] {
        let ground = text.to_owned();
        assert_eq!(set(HoldBackWanted { ground, ..wanted(None, 1) }).await, Err(NoHoldBack::Texts));
    }
    let long = "x".repeat(65);
    assert_eq!(set(HoldBackWanted { set_by: long, ..wanted(None, 1) }).await, Err(NoHoldBack::Texts));
    let unknown = world.desk.set(&holder(999), wanted(None, 1), NO_HURRY).await;
    assert_eq!(unknown, Err(NoHoldBack::HolderNotKnown));
    assert_eq!(set(wanted(None, 180)).await, Ok(()));
    tokio::task::block_in_place(|| world.replica(HERE).close());
    assert_eq!(set(wanted(None, 180)).await, Err(NoHoldBack::NoEvidence));
    assert_eq!(world.kept.0.lock().unwrap().len(), 1, "what is not on record is not in force");
}

impl World {
    async fn watch(&self, tails: &[u32], token: Option<&[u8]>) -> Result<Watching, NotShown> {
        let wallet = wallet();
        let caller = WalletCaller { wallet: &wallet, standing: &active };
        let holders: Vec<Holder> = tails.iter().map(|tail| holder(*tail)).collect();
        self.accesses.watch(caller, &holders, token, NO_HURRY).await
    }
}

/// A stream that runs, with room for one message.
struct Stream {
    told: mpsc::Receiver<Told>,
    leave: CancellationToken,
    end: tokio::task::JoinHandle<WatchEnd>,
}

fn run(watching: Watching) -> Stream {
    let (sender, told) = mpsc::channel(1);
    let leave = CancellationToken::new();
    let farewell = leave.clone().cancelled_owned();
    let end = tokio::spawn(async move { watching.run(&sender, &active, farewell).await });
    Stream { told, leave, end }
}

impl Stream {
    async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(Duration::from_secs(20), self.told.recv()).await;
        told.expect("something comes").expect("the stream goes on")
    }

    /// Takes so many look-ups: of which partner, whether its first, and where; and the last token.
    async fn take(&mut self, count: usize) -> (Vec<(String, bool, EntryAt)>, Vec<u8>) {
        let (mut taken, mut token) = (Vec::new(), Vec::new());
        while taken.len() < count {
            let told = self.next().await;
            token = told.resume_token;
            if let Some(NewLookUp { access, first_of_partner, .. }) = told.look_up {
                taken.push((access.partner.to_string(), first_of_partner, access.place));
            }
        }
        taken.sort_by_key(|(_, _, place)| (place.origin.to_string(), place.index));
        (taken, token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_is_new_in_every_log_and_goes_on_where_it_was() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    world.ask(THERE, Whom::Driver(1), "rental-a").await;
    world.feed().await;
    world.pass(1);
    let mut stream = run(world.watch(&[], None).await.unwrap());
    // The peer's log is told as far as a checkpoint covers it, and none covers what comes now: its journal is here, too.
    let one = world.ask(HERE, Whom::Driver(1), "rental-a").await;
    let two = world.ask(HERE, Whom::Driver(1), "insurer-b").await;
    world.ask(HERE, Whom::Number(777), "insurer-b").await;
    let three = world.ask(THERE, Whom::Driver(1), "police").await;
    let four = world.ask(THERE, Whom::Driver(1), "police").await;
    let (taken, token) = stream.take(4).await;
    let expected = [
        ("rental-a", false, one),
        ("insurer-b", true, two),
        ("police", true, three),
        ("police", false, four),
    ];
    for (told, expected) in taken.iter().zip(expected) {
        assert_eq!((told.0.as_str(), told.1, &told.2), (expected.0, expected.1, &expected.2));
    }
    stream.leave.cancel();
    assert_eq!(stream.end.await.unwrap(), WatchEnd::Draining);
    // While nobody listened …
    world.feed().await;
    world.pass(1);
    let missed = world.ask(THERE, Whom::Driver(2), "rental-a").await;
    let later = world.ask(HERE, Whom::Driver(1), "police").await;
    let mut stream = run(world.watch(&[], Some(&token)).await.unwrap());
    let (taken, _) = stream.take(2).await;
    assert_eq!(taken, [("police".into(), false, later), ("rental-a".into(), true, missed)]);
    let forged = world.watch(&[], Some(b"forged-token-of-some-length")).await;
    assert_eq!(forged.err(), Some(NotShown::TokenNotKnown));
    drop(stream.told);
    assert_eq!(stream.end.await.unwrap(), WatchEnd::Gone);
    let opened = world.walk().into_iter().filter(|(_, entry)| {
        matches!(entry, Entry::Access(access) if matches!(access.access, OnRecord::Watch { holders: 0, .. }))
    });
    assert_eq!(opened.count(), 2, "that it was opened is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_about_some_drivers_tells_of_them_alone_and_not_of_what_is_held_back() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    world.desk.set(&holder(101), wanted(Some("police"), 10), NO_HURRY).await.unwrap();
    assert_eq!(world.watch(&[101, 999], None).await.err(), Some(NotShown::HolderNotKnown));
    let mut stream = run(world.watch(&[101, 102], None).await.unwrap());
    let purpose = Some(Purpose::Rental);
    world.ask_for(HERE, Whom::Driver(3), "rental-a", purpose).await;
    world.ask_for(HERE, Whom::Driver(1), "police", purpose).await;
    let one = world.ask_for(HERE, Whom::Driver(1), "rental-a", purpose).await;
    let two = world.ask_for(HERE, Whom::Number(103), "rental-a", purpose).await;
    let (taken, _) = stream.take(2).await;
    assert_eq!(taken, [("rental-a".into(), true, one), ("rental-a".into(), true, two)]);
    // Who is erased is nobody any more.
    world.secrets.0.lock().unwrap().push(1);
    world.ask_for(HERE, Whom::Driver(1), "rental-a", purpose).await;
    let three = world.ask_for(HERE, Whom::Driver(2), "rental-a", purpose).await;
    assert_eq!(stream.take(1).await.0, [("rental-a".into(), false, three)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_token_does_not_know_is_read_from_the_tokens_moment() {
    let mut world = World::new();
    world.fill_registry();
    let watching = world.watch(&[], None).await.unwrap();
    let first = world.ask(HERE, Whom::Driver(1), "rental-a").await;
    let mut stream = run(watching);
    let (taken, token) = stream.take(1).await;
    assert_eq!(taken[0].2, first);
    stream.leave.cancel();
    stream.end.await.unwrap();
    let second = world.ask(HERE, Whom::Driver(1), "rental-b").await;
    world.retire().await;
    let third = world.ask(HERE, Whom::Driver(1), "rental-c").await;
    let fourth = world.ask(THERE, Whom::Driver(1), "rental-d").await;
    let mut stream = run(world.watch(&[], Some(&token)).await.unwrap());
    let (taken, _) = stream.take(3).await;
    let mut places: Vec<_> = taken.into_iter().map(|(_, _, place)| place).collect();
    places.sort_by_key(|place| place.origin.to_string());
    let mut expected = [second, third, fourth];
    expected.sort_by_key(|place| place.origin.to_string());
    assert_eq!(places, expected, "the rest of the retired log, and all of the new ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_wallet_may_no_longer_read() {
    let world = World::with_two_logs().await;
    let watching = world.watch(&[], None).await.unwrap();
    let (sender, _told) = mpsc::channel(1);
    let suspended = || Standing::Suspended;
    let end = watching.run(&sender, &suspended, std::future::pending()).await;
    assert_eq!(end, WatchEnd::StandingLost(Standing::Suspended));
}

/// Goal: a reader that does not read costs its stream alone, and finds everything when it reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_falls_behind_and_misses_nothing() {
    let world = World::with_two_logs().await;
    world.fill_registry();
    let mut slow = run(world.watch(&[], None).await.unwrap());
    let mut quick = run(world.watch(&[], None).await.unwrap());
    for _ in 0..300 {
        world.ask(HERE, Whom::Driver(1), "rental-a").await;
    }
    let (all, _) = quick.take(300).await;
    let (late, _) = slow.take(300).await;
    assert_eq!(all, late);
}

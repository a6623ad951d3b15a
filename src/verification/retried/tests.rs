//! Retries through the whole use case: real limits, real kept answers; a registry, a log and a clock that are told.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::ToSpan as _;

use super::*;
use crate::audit::keys::LogSecret;
use crate::domain::claim::{Claim, ConsentEvidence};
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, FullName, History, LicenceNumber, NumberRules, Stops, VehicleClass,
};
use crate::domain::partner::{Allowance, ClaimTerms, Contract, PartnerKind, PurposeTerms};
use crate::domain::policy::AuthoriseRefusal;
use crate::domain::question::{Purpose, Question};
use crate::domain::rules::Rules;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::domain::time::{Clock, Effective};
use crate::domain::vehicle::Vehicle;
use crate::limits::{ClaimLimits, LimitOptions, LocalLimits};
use crate::retries::{KeptAnswers, RetryOptions, Unobserved};
use crate::verification::ports::{
    AnswerToRecord, EntryAt, EvidenceLog, EvidenceUnavailable, FactSource, Facts, Later, Pseudonyms,
    Recalled, RequestDigests as _, Retries as _, Soon, SubjectRef, Turn,
};

const FLOOR: Duration = Duration::from_millis(25);
const AGE_MAX: Duration = Duration::from_secs(2);
const NAME: &str = "测试甲";

/// Stands still until told; its floor passes on the runtime's clock.
#[derive(Default)]
struct FakeClock(AtomicU64);

impl FakeClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        start + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1_000 + self.0.load(Ordering::SeqCst))
    }
}

/// A registry of one record, or none.
struct Registry {
    record: Mutex<Option<Arc<Record>>>,
    error: Mutex<Option<LookUpError>>,
    look_ups: AtomicUsize,
    clock: Arc<FakeClock>,
}

impl Facts for Registry {
    fn look_up(
        &self,
        _pseudonym: NumberPseudonym,
        _max_age: Option<Duration>,
        _deadline: Deadline,
        _turn: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.error.lock().unwrap().clone() {
            return Soon::Now(Err(error));
        }
        Soon::Now(Ok(Fact {
            record: self.record.lock().unwrap().clone(),
            position: Position { epoch: 1, partition: 0, seq: 9 },
            observed_at: self.clock.now(),
            observed_since_boot: self.clock.since_boot(),
            source: FactSource::Registry,
        }))
    }

    fn known_true_at(&self, _pseudonym: NumberPseudonym, fact: &Fact) -> Option<Duration> {
        Some(fact.observed_since_boot)
    }
}

/// A log that remembers of each entry whether it was to be charged.
#[derive(Default)]
struct Log(Mutex<Vec<bool>>);

impl EvidenceLog for Log {
    fn record(&self, answer: &AnswerToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        let mut entries = self.0.lock().unwrap();
        entries.push(answer.charged);
        let place = place(entries.len() as u64 - 1);
        Box::pin(async move {
            // As a sync: others get their turn.
            tokio::task::yield_now().await;
            Ok(place)
        })
    }
}

fn place(index: u64) -> EntryAt {
    EntryAt { origin: "gw-1-00".into(), index }
}

struct Names;

impl Pseudonyms for Names {
    fn pseudonym(&self, _document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&number.expose().as_bytes()[2..18]);
        NumberPseudonym::from_bytes(bytes)
    }

    fn subject_ref(&self, subject: &SubjectId, _partner: &PartnerId) -> SubjectRef {
        SubjectRef(*subject.as_bytes())
    }
}

struct House {
    verification: Arc<Verification>,
    registry: Arc<Registry>,
    log: Arc<Log>,
    kept: Arc<KeptAnswers>,
    clock: Arc<FakeClock>,
    contract: Contract,
    standing: Mutex<Standing>,
}

fn secret() -> LogSecret {
    LogSecret::from_bytes(&[5; 32])
}

fn house() -> House {
    let clock = Arc::new(FakeClock::default());
    let registry = Arc::new(Registry {
        record: Mutex::new(Some(record(Stops::default(), &[]))),
        error: Mutex::default(),
        look_ups: AtomicUsize::new(0),
        clock: Arc::clone(&clock),
    });
    let log = Arc::new(Log::default());
    let limits = Arc::new(LocalLimits::new(Arc::clone(&clock) as _, LimitOptions::default()));
    let kept = KeptAnswers::new(
        RetryOptions::default(),
        Arc::new(secret()),
        None,
        Arc::clone(&clock) as _,
        Arc::new(Unobserved),
    );
    let kept = Arc::new(kept.unwrap());
    // Nothing is shown here: whatever would be asked for it is that of other tests.
    let elsewhere = crate::verification::testing::World::new();
    let verification = Verification {
        qr_codes: Arc::clone(&elsewhere) as _,
        share_codes: Arc::clone(&elsewhere) as _,
        redemptions: Arc::clone(&elsewhere) as _,
        consents: Arc::clone(&elsewhere) as _,
        guesses: Arc::clone(&elsewhere) as _,
        claims: elsewhere,
        pseudonyms: Arc::new(Names),
        facts: Arc::clone(&registry) as _,
        quotas: limits,
        budget: Arc::new(ClaimLimits::new(Arc::clone(&clock) as _, false)),
        evidence: Arc::clone(&log) as _,
        retries: Arc::clone(&kept) as _,
        clock: Arc::clone(&clock) as _,
        rules: Arc::new(Rules::default()),
        age_max: AGE_MAX,
        unconfirmed_floor: FLOOR,
    };
    House {
        verification: Arc::new(verification),
        registry,
        log,
        kept,
        clock,
        contract: contract(),
        standing: Mutex::new(Standing::Active),
    }
}

fn contract() -> Contract {
    let rental = PurposeTerms {
        purpose: Purpose::Rental,
        grounds: crate::domain::claim::GroundKind::ALL.to_vec(),
        fields: FieldSet::of(Field::ALL),
        tenure_months: vec![12],
        margin_days: vec![0],
        editions: Vec::new(),
        roles: Vec::new(),
    };
    Contract {
        partner: "rental-demo".parse().unwrap(),
        legal_name: String::new(),
        display_name: String::new(),
        kind: PartnerKind::Rental,
        identities: Vec::new(),
        purposes: vec![rental],
        allowance: Allowance {
            rate_per_second: 100,
            burst: 100,
            in_flight_max: 100,
            connections_max: 10,
            quota_per_minute: 2,
            quota_per_hour: 1_000,
            quota_per_day: 1_000,
        },
        claims: ClaimTerms::usual(PartnerKind::Rental),
        starts_at: Timestamp::MIN,
        ends_at: Timestamp::MAX,
        contact: String::new(),
        presentations_only: false,
    }
}

fn record(stops: Stops, more: &[ChangeKind]) -> Arc<Record> {
    let basic = [
        ChangeKind::Issued,
        ChangeKind::NameSet { name: FullName::parse(NAME).unwrap() },
        ChangeKind::ClassAdded { class: VehicleClass::C1 },
    ];
    let changes = basic.iter().chain(more).zip(1..).map(|(kind, seq)| Change {
        effective: Effective::At("2016-01-01T00:00:00Z".parse().unwrap()),
        recorded_at: "2016-01-01T00:00:00Z".parse().unwrap(),
        position: Position { epoch: 1, partition: 0, seq },
        kind: kind.clone(),
    });
    Arc::new(Record {
        subject: SubjectId::from_bytes([4; 16]),
        secret: SubjectSecret::from_bytes([5; 32]),
        history: History::from_changes(changes.collect()),
        stops,
    })
}

fn claim(name: &str) -> Claim {
    match request(name).about {
        About::Claimed(claim) => claim,
        About::Shown(_) => unreachable!("it claims"),
    }
}

fn request(name: &str) -> Request {
    let document = DocumentKind::ResidentId;
    let rules = NumberRules { accept_test_numbers: true };
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    Request {
        about: About::Claimed(Claim {
            document,
            number: LicenceNumber::parse(document, "000000199001010018", rules).unwrap(),
            name: FullName::parse(name).unwrap(),
            file_number: None,
            ground: Ground::Consent(ConsentEvidence {
                obtained_at: now - 1.hour(),
                expires_at: now + 5.minutes(),
                notice_version: "n-1".to_owned(),
                evidence_sha256: [6; 32],
            }),
        }),
        question: Question::Rental {
            pick_up: now,
            return_at: now + 24.hours(),
            vehicle: Vehicle::of_class(VehicleClass::C1),
            min_tenure_months: None,
            validity_margin_days: 0,
        },
        case_reference: "RA-1".to_owned(),
        case_category: "checkout".to_owned(),
        operator_id: "clerk-1".to_owned(),
        known_at: None,
        known_position: None,
        max_age: None,
        fields: FieldSet::EMPTY,
        request_id: Some("request-1".to_owned()),
    }
}

impl House {
    async fn verify(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let standing = || *self.standing.lock().unwrap();
        let caller = Caller { contract: &self.contract, standing: &standing };
        let deadline = Deadline { since_boot: self.clock.since_boot() + Duration::from_secs(2) };
        self.verification.verify(caller, request, deadline).await
    }

    async fn ask(&self, request: &Request) -> Answer {
        self.verify(request).await.unwrap()
    }

    fn charges(&self) -> Vec<bool> {
        self.log.0.lock().unwrap().clone()
    }

    fn becomes(&self, record: Option<Arc<Record>>) {
        *self.registry.record.lock().unwrap() = record;
    }
}

/// Answer without what a replay says of itself.
fn said(answer: &Answer) -> String {
    format!("{:?}", Answer { charged: false, replayed: false, leaves_by: None, ..answer.clone() })
}

#[tokio::test]
async fn a_retry_is_given_the_answer_again_and_not_charged() {
    let house = house();
    let first = house.ask(&request(NAME)).await;
    assert!(first.charged && !first.replayed && first.confirmed.is_some());
    house.clock.advance(60);
    // Something else changed: the answer says as of when it is true.
    house.becomes(Some(record(Stops::default(), &[ChangeKind::ClassRemoved { class: VehicleClass::C1 }])));
    for _ in 0..3 {
        let again = house.ask(&request(NAME)).await;
        assert!(again.replayed && !again.charged);
        assert_eq!(
            again.leaves_by,
            Some(house.clock.since_boot() + AGE_MAX),
            "as long as what allows it is fresh"
        );
        assert_eq!(said(&again), said(&first));
    }
    assert_eq!(house.charges(), [true], "no other entry");
    house.clock.advance(540);
    assert!(
        matches!(house.verify(&request(NAME)).await, Err(NoAnswer::RequestIdSpent(spent)) if spent == place(0))
    );
}

/// Whoever was told of no answer is told none of before.
#[tokio::test]
async fn an_answer_that_was_held_back_is_not_given_to_its_retry() {
    let house = house();
    let held_back = house.ask(&request(NAME)).await;
    house.kept.let_go(&house.contract.partner, "request-1", &held_back.entry);
    house.clock.advance(30);
    let anew = house.ask(&request(NAME)).await;
    assert!(!anew.replayed && !anew.charged && anew.observed_at > held_back.observed_at);
    assert_eq!(anew.entry, place(1));
    assert!(house.ask(&request(NAME)).await.replayed, "and the new one is kept");
    assert_eq!(house.charges(), [true, false]);
}

#[tokio::test]
async fn without_an_id_nothing_is_kept() {
    let house = house();
    let anonymous = Request { request_id: None, ..request(NAME) };
    for _ in 0..2 {
        assert!(!house.ask(&anonymous).await.replayed);
    }
    assert_eq!(house.charges(), [true, true]);
}

#[tokio::test]
async fn whatever_differs_is_another_request() {
    let house = house();
    house.ask(&request(NAME)).await;
    let consent_of_today = Ground::Contract { subject_is_party: true };
    let others = [
        request("测试乙"),
        Request { case_reference: "RA-2".to_owned(), ..request(NAME) },
        Request { case_category: "return".to_owned(), ..request(NAME) },
        Request { operator_id: "clerk-2".to_owned(), ..request(NAME) },
        Request { fields: FieldSet::of(&[Field::MaskedName]), ..request(NAME) },
        Request { about: About::Claimed(Claim { ground: consent_of_today, ..claim(NAME) }), ..request(NAME) },
    ];
    for (number, other) in others.iter().enumerate() {
        assert!(matches!(house.verify(other).await, Err(NoAnswer::OtherContent)), "{number}");
    }
    let fresher = Request { max_age: Some(Duration::from_secs(60)), ..request(NAME) };
    assert!(house.ask(&fresher).await.replayed, "how old it may be is the retry's own");
}

#[tokio::test]
async fn a_retry_that_wants_it_fresher_is_answered_anew_for_the_same_charge() {
    let house = house();
    let first = house.ask(&request(NAME)).await;
    house.clock.advance(30);
    let fresher = Request { max_age: Some(Duration::from_secs(29)), ..request(NAME) };
    let anew = house.ask(&fresher).await;
    assert!(!anew.replayed && !anew.charged && anew.observed_at > first.observed_at);
    assert_eq!(anew.entry, place(1));
    let again = house.ask(&request(NAME)).await;
    assert!(again.replayed && again.entry == place(1), "the newest is kept");
    assert_eq!(house.charges(), [true, false]);
}

/// What is known of the subject now stands against the kept answer: erased, protected, another's, consent withdrawn.
#[tokio::test]
async fn a_replay_obeys_what_is_known_now() {
    let mut withdrawn = Stops::default();
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    withdrawn.withdraw("rental-demo".parse().unwrap(), Purpose::Rental, now).unwrap();
    let mut elsewhere = Stops::default();
    elsewhere.withdraw("other".parse().unwrap(), Purpose::Rental, now).unwrap();
    let another = Record {
        subject: SubjectId::from_bytes([8; 16]),
        ..Arc::unwrap_or_clone(record(Stops::default(), &[]))
    };
    for (what, record, is_replayed) in [
        ("nothing", Some(record(Stops::default(), &[])), true),
        ("a stop of another partner", Some(record(elsewhere, &[])), true),
        ("erased and gone", None, false),
        ("erased", Some(record(Stops::default(), &[ChangeKind::Erased])), false),
        ("protected", Some(record(Stops::default(), &[ChangeKind::ProtectionSet])), false),
        ("another's record", Some(Arc::new(another)), false),
        ("consent withdrawn", Some(record(withdrawn, &[])), false),
    ] {
        let house = house();
        house.ask(&request(NAME)).await;
        house.becomes(record);
        let again = house.verify(&request(NAME)).await;
        assert_eq!(again.is_ok_and(|again| again.replayed), is_replayed, "{what}");
        assert!(house.charges().iter().skip(1).all(|charged| !charged), "{what}: {:?}", house.charges());
    }
}

#[tokio::test]
async fn a_replay_obeys_standing_contract_and_the_grounds_own_end() {
    let mut house = house();
    house.ask(&request(NAME)).await;
    *house.standing.lock().unwrap() = Standing::Suspended;
    assert!(matches!(house.verify(&request(NAME)).await, Err(NoAnswer::StandingLost(Standing::Suspended))));
    *house.standing.lock().unwrap() = Standing::Active;
    assert!(house.ask(&request(NAME)).await.replayed);

    let purposes = std::mem::take(&mut house.contract.purposes);
    assert!(matches!(
        house.verify(&request(NAME)).await,
        Err(NoAnswer::NotAuthorised(AuthoriseRefusal::PurposeNotPermitted))
    ));
    house.contract.purposes = purposes;
    house.clock.advance(301);
    assert!(matches!(house.verify(&request(NAME)).await, Err(NoAnswer::NotAuthorised(_))), "it expired");
    assert_eq!(house.charges(), [true]);
}

/// What cannot be looked up may have been withdrawn: no replay either.
#[tokio::test]
async fn without_facts_there_is_no_replay() {
    for name in [NAME, "测试乙"] {
        let house = house();
        house.ask(&request(name)).await;
        *house.registry.error.lock().unwrap() = Some(LookUpError::RegistryUnavailable);
        assert!(matches!(
            house.verify(&request(name)).await,
            Err(NoAnswer::NoFacts(LookUpError::RegistryUnavailable))
        ));
    }
}

/// An unconfirmed answer is looked up for and leaves at the floor each time, whatever is known by then.
#[tokio::test]
async fn an_unconfirmed_answer_is_given_again_at_the_floor() {
    for record in [None, Some(record(Stops::default(), &[]))] {
        let house = house();
        house.becomes(record);
        for round in 0..3 {
            let began = tokio::time::Instant::now();
            let answer = house.ask(&request("测试乙")).await;
            assert_eq!((answer.replayed, answer.confirmed.is_none()), (round > 0, true));
            assert!(began.elapsed() >= FLOOR, "round {round}");
        }
        assert_eq!(house.registry.look_ups.load(Ordering::SeqCst), 3);
        assert_eq!(house.charges(), [true]);
        let late = Deadline { since_boot: house.clock.since_boot() + FLOOR };
        let caller = Caller { contract: &house.contract, standing: &|| Standing::Active };
        let refused = house.verification.verify(caller, &request("测试乙"), late).await;
        assert!(matches!(refused, Err(NoAnswer::DeadlineTooShort)));
    }
}

/// A caller that leaves while the floor is waited for was answered and charged: its retry finds the answer.
#[tokio::test]
async fn who_leaves_before_the_floor_finds_the_answer() {
    let house = house();
    let asked = request("测试乙");
    let is_kept = async {
        while house.kept.held().bytes == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = house.verify(&asked) => panic!("the floor comes before the answer is kept"),
        () = is_kept => {}
    }
    assert!(house.ask(&request("测试乙")).await.replayed);
    assert_eq!(house.charges(), [true]);
}

#[tokio::test]
async fn of_many_twins_one_is_answered_and_the_others_given_the_same() {
    let house = Arc::new(house());
    let twins: Vec<_> = (0..50)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { house.ask(&request(NAME)).await })
        })
        .collect();
    let mut first = 0;
    for twin in twins {
        let answer = twin.await.unwrap();
        first += usize::from(!answer.replayed);
        assert_eq!(answer.entry, place(0));
    }
    assert_eq!((first, house.charges()), (1, vec![true]));
}

#[tokio::test]
async fn a_refused_request_leaves_its_id_free() {
    let mut house = house();
    house.contract.allowance.quota_per_minute = 0;
    assert!(matches!(house.verify(&request(NAME)).await, Err(NoAnswer::QuotaExceeded(_))));
    house.contract.allowance.quota_per_minute = 1;
    assert!(!house.ask(&request("测试乙")).await.replayed, "another request may have it");
    assert!(house.ask(&request("测试乙")).await.replayed, "a spent quota does not stand in a replay's way");
}

/// After a restart the log tells that a request was answered: the same one about the same subject is answered anew, uncharged.
#[tokio::test]
async fn what_the_log_recalls_is_answered_anew_uncharged_and_nothing_else_is() {
    let number = *Names.pseudonym(DocumentKind::ResidentId, &claim(NAME).number).as_bytes();
    let question = digest_question(&request(NAME).question, None, None);
    for (about, is_same) in [([4; 16], true), (number, true), ([9; 16], false)] {
        let house = house();
        house.kept.recall([Recalled {
            at: house.clock.now(),
            partner: house.contract.partner.clone(),
            request: secret().request(&house.contract.partner, "request-1"),
            question,
            case: secret().case(&house.contract.partner, "RA-1"),
            about,
            place: place(77),
        }]);
        let answered = house.verify(&request(NAME)).await;
        if is_same {
            let answer = answered.unwrap();
            assert!(!answer.charged && !answer.replayed);
            assert_eq!(house.charges(), [false]);
            assert!(house.ask(&request(NAME)).await.replayed);
        } else {
            assert!(matches!(answered, Err(NoAnswer::OtherContent)));
            assert!(house.charges().is_empty());
        }
    }
}

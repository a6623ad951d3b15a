//! The age of an answer, measured from when its facts are known to be true to when it leaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::ports::{
    AnswerToRecord, Deadline, EntryAt, EvidenceLog, EvidenceUnavailable, Fact, FactSource, Facts, Later,
    LookUpError, Pseudonyms, QuestionDigest, QuotaRefusal, QuotaReservation, Quotas, RequestKey, Soon,
    SubjectBudget, SubjectRef, Turn, VariationExceeded,
};
use super::{About, Caller, NoAnswer, Request, Verification};
use crate::domain::claim::{Claim, Ground, GroundKind};
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::{DocumentKind, FullName, LicenceNumber, NumberRules};
use crate::domain::partner::{
    Allowance, ClaimTerms, Contract, PartnerId, PartnerKind, PurposeTerms, Standing,
};
use crate::domain::question::{Purpose, Question};
use crate::domain::rules::Rules;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Clock;

const BOUND: Duration = Duration::from_secs(2);
/// 2026-11-18: the person asked about is of age.
const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
/// When the facts are known to be true.
const TRUE_AT: Duration = Duration::from_secs(1_000);

/// A world in which only the clock moves: by so much between the facts' moment and their judgement, between judgement and
/// record, and while the record is made durable.
struct World {
    clock: Mutex<Duration>,
    judged: AtomicBool,
    judged_after: Duration,
    stopped_for: Duration,
    synced_after: Duration,
}

impl World {
    fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn since_boot(&self) -> Duration {
        *self.clock.lock().unwrap()
    }
}

impl Facts for World {
    fn look_up(
        &self,
        _: NumberPseudonym,
        _: Option<Duration>,
        _: Deadline,
        _: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>> {
        Soon::Now(Ok(Fact {
            record: None,
            position: Position { epoch: 1, partition: 0, seq: 1 },
            observed_at: NOW,
            observed_since_boot: TRUE_AT,
            source: FactSource::InProcess,
        }))
    }

    fn known_true_at(&self, _: NumberPseudonym, _: &Fact) -> Option<Duration> {
        self.pass(self.judged_after);
        self.judged.store(true, Ordering::SeqCst);
        Some(TRUE_AT)
    }
}

impl EvidenceLog for World {
    fn record(&self, _: &AnswerToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        self.pass(self.synced_after);
        Box::pin(std::future::ready(Ok(EntryAt { origin: "log".into(), index: 0 })))
    }
}

impl Pseudonyms for World {
    fn pseudonym(&self, _: DocumentKind, _: &LicenceNumber) -> NumberPseudonym {
        NumberPseudonym::from_bytes([0; 16])
    }

    fn subject_ref(&self, _: &SubjectId, _: &PartnerId) -> SubjectRef {
        SubjectRef([0; 16])
    }
}

struct Unlimited;

impl QuotaReservation for Unlimited {
    fn counts(&self) -> bool {
        true
    }

    fn charge(self: Box<Self>) -> bool {
        true
    }
}

impl Quotas for World {
    fn reserve(
        &self,
        _: &PartnerId,
        _: &Allowance,
        _: Option<RequestKey<'_>>,
    ) -> Result<Box<dyn QuotaReservation>, QuotaRefusal> {
        Ok(Box::new(Unlimited))
    }
}

impl SubjectBudget for World {
    fn admit_question(
        &self,
        _: &PartnerId,
        _: Purpose,
        _: NumberPseudonym,
        _: QuestionDigest,
        _: &str,
    ) -> Result<(), VariationExceeded> {
        Ok(())
    }
}

fn contract() -> Contract {
    let terms = PurposeTerms {
        purpose: Purpose::Enforcement,
        grounds: vec![GroundKind::LegalDuty],
        fields: FieldSet::of(&[]),
        tenure_months: Vec::new(),
        margin_days: Vec::new(),
        editions: Vec::new(),
        roles: Vec::new(),
    };
    Contract {
        partner: "police".parse().unwrap(),
        legal_name: String::new(),
        display_name: String::new(),
        kind: PartnerKind::Enforcement,
        identities: Vec::new(),
        purposes: vec![terms],
        allowance: Allowance {
            rate_per_second: 1,
            burst: 1,
            in_flight_max: 1,
            connections_max: 1,
            quota_per_minute: 1,
            quota_per_hour: 1,
            quota_per_day: 1,
        },
        claims: ClaimTerms::usual(PartnerKind::Enforcement),
        starts_at: Timestamp::MIN,
        ends_at: Timestamp::MAX,
        contact: String::new(),
        presentations_only: false,
    }
}

fn request() -> Request {
    let (document, rules) = (DocumentKind::ResidentId, NumberRules { accept_test_numbers: true });
    Request {
        about: About::Claimed(Claim {
            document,
            number: LicenceNumber::parse(document, "000000199001010018", rules).unwrap(),
            name: FullName::parse("测试甲").unwrap(),
            file_number: None,
            ground: Ground::LegalDuty,
        }),
        question: Question::Enforcement { vehicle: None },
        case_reference: "case".to_owned(),
        case_category: String::new(),
        operator_id: "operator".to_owned(),
        known_at: None,
        known_position: None,
        max_age: None,
        fields: FieldSet::of(&[]),
        request_id: None,
    }
}

/// Asks in a world whose clock moves like this, in milliseconds.
async fn is_answered(judged_after: u64, stopped_for: u64, synced_after: u64) -> bool {
    let world = Arc::new(World {
        clock: Mutex::new(TRUE_AT),
        judged: AtomicBool::new(false),
        judged_after: Duration::from_millis(judged_after),
        stopped_for: Duration::from_millis(stopped_for),
        synced_after: Duration::from_millis(synced_after),
    });
    // Nothing is shown here: whatever would be asked for it is that of other tests.
    let elsewhere = super::testing::World::new();
    let verification = Verification {
        qr_codes: Arc::clone(&elsewhere) as _,
        share_codes: Arc::clone(&elsewhere) as _,
        redemptions: Arc::clone(&elsewhere) as _,
        consents: Arc::clone(&elsewhere) as _,
        guesses: Arc::clone(&elsewhere) as _,
        claims: elsewhere,
        retries: Arc::new(super::testing::NeverKept),
        pseudonyms: Arc::clone(&world) as _,
        facts: Arc::clone(&world) as _,
        quotas: Arc::clone(&world) as _,
        budget: Arc::clone(&world) as _,
        evidence: Arc::clone(&world) as _,
        clock: Arc::clone(&world) as _,
        rules: Arc::new(Rules::default()),
        age_max: BOUND,
        unconfirmed_floor: Duration::ZERO,
    };
    let contract = contract();
    // Standing is read right after the judgement, too: a process that is stopped there is one whose clock moves there.
    let standing = || {
        if world.judged.load(Ordering::SeqCst) {
            world.pass(world.stopped_for);
        }
        Standing::Active
    };
    let caller = Caller { contract: &contract, standing: &standing };
    let deadline = Deadline { since_boot: TRUE_AT + Duration::from_secs(60) };
    match verification.verify(caller, &request(), deadline).await {
        Ok(_) => true,
        Err(NoAnswer::NotFreshEnough) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_leaves_within_the_bound_after_its_facts_were_true_or_not_at_all() {
    assert!(is_answered(0, 0, 0).await);
    assert!(is_answered(500, 500, 1_000).await, "2 s in all");
    assert!(!is_answered(0, 0, 2_001).await, "a slow disk");
    assert!(!is_answered(0, 10_000, 0).await, "a process stopped between judgement and record");
    assert!(!is_answered(1_500, 0, 1_500).await, "each within the bound, and both together past it");
}

//! One world behind every port, which notes in order what it is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::ports::*;
use super::{About, Caller, NoAnswer, Request, Shown, Verification};
use crate::domain::catalogue::{TestDriver, test_drivers};
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::decision::Decision;
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, FullName, History, LicenceNumber, NumberRules, Record, Stops,
    VehicleClass,
};
use crate::domain::partner::{
    Allowance, ClaimTerms, Contract, PartnerId, PartnerKind, PurposeTerms, Standing,
};
use crate::domain::policy::AuthorisedBy;
use crate::domain::presentation::{
    Audience, Holder, Presentation, PresentationId, PresentationKind, ShareCode,
};
use crate::domain::question::{Purpose, Question, Role};
use crate::domain::rules::Rules;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::domain::time::{Clock, start_of};
use crate::domain::vehicle::Vehicle;
use crate::hashing::{first_half, sha256};

pub(super) const DAY: Date = date(2026, 11, 22);
/// Long enough to be seen, short enough to be waited for.
pub(super) const FLOOR: Duration = Duration::from_millis(3);
/// How a spent budget refuses.
pub(super) const SPENT: ClaimRefused =
    ClaimRefused::SubjectsSpent { subjects_max: 7, window_hours: 24, retry_after: Duration::from_secs(42) };
pub(super) const QR: &str = "DG1:ONE";

pub(super) fn now() -> Timestamp {
    start_of(DAY) + 12.hours()
}

pub(super) fn code() -> ShareCode {
    ShareCode::generate(&[9; 13])
}

/// An entry, as far as these tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) by: AuthorisedBy,
    pub(super) text: Option<String>,
    pub(super) confirmed: bool,
    pub(super) decision: Decision,
    pub(super) charged: bool,
    pub(super) consent_withdrawn: bool,
}

struct Row {
    partner: PartnerId,
    request_id: String,
    digest: QuestionDigest,
    at: Timestamp,
    place: Option<EntryAt>,
}

#[derive(Default)]
pub(super) struct World {
    /// Seconds since [`now`].
    later: AtomicI64,
    events: Mutex<Vec<&'static str>>,
    records: Mutex<HashMap<NumberPseudonym, Arc<Record>>>,
    pub(super) qr_codes: Mutex<HashMap<String, Presentation>>,
    pub(super) share_codes: Mutex<HashMap<PresentationId, Presentation>>,
    rows: Mutex<HashMap<(PresentationId, u16), Row>>,
    pub(super) revoked: AtomicBool,
    charged_ids: Arc<Mutex<Vec<String>>>,
    pub(super) written: Mutex<Vec<Written>>,
    pub(super) consents: Mutex<Vec<FieldSet>>,
    pub(super) consents_known: AtomicBool,
    pub(super) store_away: AtomicBool,
    pub(super) settles: AtomicBool,
    pub(super) evidence_closed: AtomicBool,
    pub(super) guesses_spent: AtomicBool,
    pub(super) suspended_at_look_up: AtomicBool,
    /// How long claims wait, or why they are refused.
    pub(super) pace: Mutex<Option<Result<Duration, ClaimRefused>>>,
    /// What is said of a number; nothing: it is known.
    pub(super) admission: Mutex<Option<Result<Admission, ClaimRefused>>>,
    /// Whom the log names as claimed before the start.
    pub(super) recalled: Mutex<Option<SubjectId>>,
}

impl World {
    /// A world with the catalogue's drivers, in which everything works.
    pub(super) fn new() -> Arc<Self> {
        let world = Self { settles: AtomicBool::new(true), ..Self::default() };
        for (index, driver) in test_drivers(DAY).iter().enumerate() {
            if !driver.changes.is_empty() {
                world.put(driver, u8::try_from(index).unwrap(), &[], Stops::default());
            }
        }
        Arc::new(world)
    }

    /// Puts a driver's record, with more changes and stops than the catalogue's.
    pub(super) fn put(&self, driver: &TestDriver, id: u8, more: &[ChangeKind], stops: Stops) {
        let mut changes: Vec<_> = driver
            .changes
            .iter()
            .map(|(effective, recorded_at, kind)| (*effective, *recorded_at, kind.clone()))
            .collect();
        let (effective, recorded_at, _) = changes.last().cloned().unwrap();
        changes.extend(more.iter().map(|kind| (effective, recorded_at, kind.clone())));
        let change = |(effective, recorded_at, kind)| Change {
            effective,
            recorded_at,
            position: Position { epoch: 1, partition: 0, seq: 1 },
            kind,
        };
        let record = Record {
            subject: SubjectId::from_bytes([id; 16]),
            secret: SubjectSecret::from_bytes([id; 32]),
            history: History::from_changes(changes.into_iter().map(change).collect()),
            stops,
        };
        self.records.lock().unwrap().insert(number_of(driver), Arc::new(record));
    }

    /// Whose record a driver's number leads to.
    pub(super) fn subject_of(&self, driver: &TestDriver) -> SubjectId {
        self.records.lock().unwrap()[&number_of(driver)].subject
    }

    /// Lets the record of a driver vanish.
    pub(super) fn remove(&self, driver: &TestDriver) {
        self.records.lock().unwrap().remove(&number_of(driver));
    }

    pub(super) fn advance(&self, seconds: i64) {
        self.later.fetch_add(seconds, Ordering::SeqCst);
    }

    fn note(&self, event: &'static str) {
        self.events.lock().unwrap().push(event);
    }

    /// What happened since this was last asked.
    pub(super) fn happened(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// How often something was charged.
    pub(super) fn charged(&self) -> usize {
        self.charged_ids.lock().unwrap().len()
    }

    pub(super) fn last_written(&self) -> Written {
        self.written.lock().unwrap().last().cloned().expect("an entry")
    }

    /// A QR code of a driver, issued now.
    pub(super) fn show(&self, presentation: Presentation) {
        self.qr_codes.lock().unwrap().insert(QR.to_owned(), presentation);
    }

    /// The driver's share code, issued now.
    pub(super) fn send(&self, presentation: Presentation) {
        let id = self.id(&code());
        self.share_codes.lock().unwrap().insert(id, Presentation { id, ..presentation });
    }

    pub(super) fn verification(self: &Arc<Self>) -> Verification {
        Verification {
            pseudonyms: Arc::clone(self) as _,
            facts: Arc::clone(self) as _,
            qr_codes: Arc::clone(self) as _,
            share_codes: Arc::clone(self) as _,
            redemptions: Arc::clone(self) as _,
            consents: Arc::clone(self) as _,
            guesses: Arc::clone(self) as _,
            quotas: Arc::clone(self) as _,
            budget: Arc::clone(self) as _,
            claims: Arc::clone(self) as _,
            evidence: Arc::clone(self) as _,
            retries: Arc::new(NeverKept),
            clock: Arc::clone(self) as _,
            rules: Arc::new(Rules::default()),
            age_max: Duration::from_secs(2),
            unconfirmed_floor: FLOOR,
        }
    }

    pub(super) async fn ask(
        self: &Arc<Self>,
        contract: &Contract,
        request: &Request,
    ) -> Result<Answer, NoAnswer> {
        let deadline = Deadline { since_boot: self.since_boot() + Duration::from_secs(1) };
        let standing = || match self.suspended_at_look_up.load(Ordering::SeqCst) {
            true => Standing::Suspended,
            false => Standing::Active,
        };
        self.verification().verify(Caller { contract, standing: &standing }, request, deadline).await
    }
}

pub(super) fn driver(row: u8, twin: &str) -> TestDriver {
    test_drivers(DAY).into_iter().find(|driver| driver.row == row && driver.twin == twin).unwrap()
}

fn parsed(driver: &TestDriver) -> LicenceNumber {
    LicenceNumber::parse(driver.document, driver.number, NumberRules { accept_test_numbers: true }).unwrap()
}

pub(super) fn holder(driver: &TestDriver) -> Holder {
    Holder { document: driver.document, number: parsed(driver) }
}

fn pseudonym(document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
    let bytes = [&[document.code()], number.expose().as_bytes()].concat();
    NumberPseudonym::from_bytes(first_half(&sha256(&bytes)))
}

pub(super) fn number_of(driver: &TestDriver) -> NumberPseudonym {
    pseudonym(driver.document, &parsed(driver))
}

pub(super) fn presentation(
    driver: &TestDriver,
    audience: Audience,
    purpose: Option<Purpose>,
) -> Presentation {
    Presentation {
        id: PresentationId::new(PresentationKind::Qr, [3; 16]),
        number: number_of(driver),
        audience,
        purpose,
        fields: None,
        uses_max: 1,
        issued_at: now(),
        expires_at: now() + SignedDuration::from_secs(60),
    }
}

/// What a rental desk is shown by driver 1.
pub(super) fn for_rental() -> Presentation {
    presentation(&driver(1, ""), Audience::Kind(PartnerKind::Rental), Some(Purpose::Rental))
}

pub(super) fn contract(partner: &str, kind: PartnerKind, purpose: Purpose) -> Contract {
    Contract {
        partner: partner.parse().unwrap(),
        legal_name: String::new(),
        display_name: String::new(),
        kind,
        identities: Vec::new(),
        purposes: vec![PurposeTerms {
            purpose,
            grounds: GroundKind::ALL.to_vec(),
            fields: FieldSet::of(Field::ALL),
            tenure_months: vec![12],
            margin_days: vec![0],
            editions: Vec::new(),
            roles: Role::ALL.to_vec(),
        }],
        presentations_only: false,
        allowance: Allowance {
            rate_per_second: 1,
            burst: 1,
            in_flight_max: 1,
            connections_max: 1,
            quota_per_minute: 1,
            quota_per_hour: 1,
            quota_per_day: 1,
        },
        claims: ClaimTerms::usual(kind),
        starts_at: Timestamp::MIN,
        ends_at: Timestamp::MAX,
        contact: String::new(),
    }
}

pub(super) fn rental_desk() -> Contract {
    contract("rental-demo", PartnerKind::Rental, Purpose::Rental)
}

pub(super) fn rental() -> Question {
    Question::Rental {
        pick_up: now(),
        return_at: now() + 48.hours(),
        vehicle: Vehicle::of_class(VehicleClass::C1),
        min_tenure_months: None,
        validity_margin_days: 0,
    }
}

pub(super) fn request(about: About, question: Question) -> Request {
    Request {
        about,
        question,
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

pub(super) fn scanned() -> Request {
    request(About::Shown(Shown::parse(QR).unwrap()), rental())
}

pub(super) fn typed() -> Request {
    request(About::Shown(Shown::ShareCode(code())), rental())
}

pub(super) fn consent(obtained_at: Timestamp) -> Ground {
    Ground::Consent(ConsentEvidence {
        obtained_at,
        expires_at: now() + 24.hours(),
        notice_version: "n-3".to_owned(),
        evidence_sha256: [0xEE; 32],
    })
}

pub(super) fn claimed(driver: &TestDriver, name: &str, ground: Ground) -> Request {
    let claim = Claim {
        document: driver.document,
        number: parsed(driver),
        name: FullName::parse(name).unwrap(),
        file_number: None,
        ground,
    };
    request(About::Claimed(claim), rental())
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.later.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1_000 + self.later.load(Ordering::SeqCst).unsigned_abs())
    }
}

impl Pseudonyms for World {
    fn pseudonym(&self, document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym {
        pseudonym(document, number)
    }

    fn subject_ref(&self, subject: &SubjectId, _partner: &PartnerId) -> SubjectRef {
        SubjectRef(*subject.as_bytes())
    }
}

impl Facts for World {
    fn look_up(
        &self,
        number: NumberPseudonym,
        _max_age: Option<Duration>,
        _deadline: Deadline,
        _turn: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>> {
        self.note("look up");
        Soon::Now(Ok(Fact {
            record: self.records.lock().unwrap().get(&number).cloned(),
            position: Position { epoch: 1, partition: 0, seq: 9 },
            observed_at: self.now(),
            observed_since_boot: self.since_boot(),
            source: FactSource::InProcess,
        }))
    }

    fn known_true_at(&self, _number: NumberPseudonym, fact: &Fact) -> Option<Duration> {
        Some(fact.observed_since_boot)
    }
}

impl QrReader for World {
    fn read(&self, text: &str) -> Result<Presentation, QrFault> {
        self.note("open");
        match text {
            "DG1:CUT" => Err(QrFault::Malformed),
            _ => self.qr_codes.lock().unwrap().get(text).cloned().ok_or(QrFault::NotGenuine),
        }
    }
}

impl ShareCodeIds for World {
    fn id(&self, code: &ShareCode) -> PresentationId {
        PresentationId::new(PresentationKind::ShareCode, first_half(&sha256(code.expose())))
    }
}

impl Redemptions for World {
    fn share_code(&self, id: PresentationId) -> Later<'_, Result<Option<Presentation>, StoreUnavailable>> {
        self.note("find code");
        let found = self.share_codes.lock().unwrap().get(&id).cloned();
        let away = self.store_away.load(Ordering::SeqCst);
        Box::pin(std::future::ready(if away { Err(StoreUnavailable) } else { Ok(found) }))
    }

    fn redeem(&self, asked: Redemption) -> Later<'_, Result<Redeemed, StoreUnavailable>> {
        self.note("redeem");
        let mut rows = self.rows.lock().unwrap();
        let mine = rows.iter().find(|((id, _), row)| {
            *id == asked.id && row.partner == asked.partner && row.request_id == asked.request_id
        });
        let next = (1..=asked.uses_max).find(|number| !rows.contains_key(&(asked.id, *number)));
        let redeemed = match (mine, next) {
            _ if self.store_away.load(Ordering::SeqCst) => Err(StoreUnavailable),
            (Some((_, row)), _) if row.digest != asked.digest => Ok(Redeemed::OtherContent),
            (Some(((_, use_number), row)), _) => {
                Ok(Redeemed::Before { use_number: *use_number, at: row.at, place: row.place.clone() })
            }
            (None, _) if self.revoked.load(Ordering::SeqCst) => Ok(Redeemed::Revoked),
            (None, _) if !asked.may_spend => Ok(Redeemed::NotBefore),
            (None, None) => Ok(Redeemed::Used),
            (None, Some(use_number)) => {
                let Redemption { partner, request_id, digest, at, .. } = asked;
                rows.insert((asked.id, use_number), Row { partner, request_id, digest, at, place: None });
                Ok(Redeemed::Now { use_number })
            }
        };
        Box::pin(std::future::ready(redeemed))
    }

    fn settle(
        &self,
        id: PresentationId,
        use_number: u16,
        place: EntryAt,
    ) -> Later<'_, Result<(), StoreUnavailable>> {
        self.note("settle");
        let settled = if self.settles.load(Ordering::SeqCst) {
            self.rows.lock().unwrap().get_mut(&(id, use_number)).unwrap().place.get_or_insert(place);
            Ok(())
        } else {
            Err(StoreUnavailable)
        };
        Box::pin(std::future::ready(settled))
    }
}

impl ConsentBook for World {
    fn note<'a>(&'a self, used: &ConsentUsed<'_>) -> Soon<'a, Result<(), StoreUnavailable>> {
        World::note(self, "consent");
        if self.store_away.load(Ordering::SeqCst) {
            return Soon::Later(Box::pin(std::future::ready(Err(StoreUnavailable))));
        }
        self.consents.lock().unwrap().push(used.fields);
        if self.consents_known.load(Ordering::SeqCst) {
            return Soon::Now(Ok(()));
        }
        Soon::Later(Box::pin(async {
            tokio::task::yield_now().await;
            World::note(self, "consent kept");
            Ok(())
        }))
    }
}

impl GuessBudget for World {
    fn may_try(&self, _partner: &PartnerId) -> Result<(), GuessesExceeded> {
        self.note("may try");
        match self.guesses_spent.load(Ordering::SeqCst) {
            true => Err(GuessesExceeded { retry_after: Duration::from_mins(7) }),
            false => Ok(()),
        }
    }

    fn missed(&self, _partner: &PartnerId) {
        self.note("missed");
    }
}

/// Charged once per request id.
struct Reservation {
    charged: Arc<Mutex<Vec<String>>>,
    id: String,
    counts: bool,
}

impl Quotas for World {
    fn reserve(
        &self,
        _partner: &PartnerId,
        _allowance: &Allowance,
        request: Option<RequestKey<'_>>,
    ) -> Result<Box<dyn QuotaReservation>, QuotaRefusal> {
        self.note("quota");
        let id = request.map_or("", |request| request.id).to_owned();
        let counts = !self.charged_ids.lock().unwrap().contains(&id);
        Ok(Box::new(Reservation { charged: Arc::clone(&self.charged_ids), id, counts }))
    }
}

impl QuotaReservation for Reservation {
    fn counts(&self) -> bool {
        self.counts
    }

    fn charge(self: Box<Self>) -> bool {
        self.charged.lock().unwrap().push(self.id);
        self.counts
    }
}

impl SubjectBudget for World {
    fn admit_question(
        &self,
        _partner: &PartnerId,
        _purpose: Purpose,
        _number: NumberPseudonym,
        _question: QuestionDigest,
        _case_reference: &str,
    ) -> Result<(), VariationExceeded> {
        self.note("question");
        Ok(())
    }
}

impl ClaimWatch for World {
    fn pace(&self, _partner: &PartnerId, _terms: &ClaimTerms) -> Result<Duration, ClaimRefused> {
        self.pace.lock().unwrap().unwrap_or(Ok(Duration::ZERO))
    }

    fn admit(
        &self,
        _partner: &PartnerId,
        _terms: &ClaimTerms,
        _number: NumberPseudonym,
    ) -> Result<Admission, ClaimRefused> {
        self.admission.lock().unwrap().unwrap_or(Ok(Admission::Known))
    }

    fn found(
        &self,
        _partner: &PartnerId,
        _terms: &ClaimTerms,
        _number: NumberPseudonym,
        subject: &SubjectId,
    ) -> bool {
        *self.recalled.lock().unwrap() == Some(*subject)
    }

    fn spent(&self, _partner: &PartnerId, _terms: &ClaimTerms) -> ClaimRefused {
        SPENT
    }

    fn unconfirmed(&self, _partner: &PartnerId, _terms: &ClaimTerms) {
        self.note("unconfirmed");
    }

    fn level(&self, _partner: &PartnerId, _terms: &ClaimTerms) -> ClaimLevel {
        ClaimLevel { remaining: 0, reset_after: Duration::ZERO, is_slowed: false, is_stopped: false }
    }
}

impl EvidenceLog for World {
    fn record(&self, answer: &AnswerToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        self.note("record");
        let (by, text) = match answer.about {
            AboutToRecord::Claimed(_) => (AuthorisedBy::Asserted, None),
            AboutToRecord::Shown { by, text, .. } => (by.into(), Some(text.to_owned())),
        };
        let mut written = self.written.lock().unwrap();
        written.push(Written {
            by,
            text,
            confirmed: matches!(answer.subject, SubjectToRecord::Confirmed(..)),
            decision: answer.ruling.decision,
            charged: answer.charged,
            consent_withdrawn: answer.consent_withdrawn,
        });
        let place = EntryAt { origin: "log".into(), index: written.len() as u64 - 1 };
        let closed = self.evidence_closed.load(Ordering::SeqCst);
        Box::pin(std::future::ready(if closed { Err(EvidenceUnavailable) } else { Ok(place) }))
    }
}

/// Keeps no answer: every request is the first of its name.
pub(super) struct NeverKept;

impl Retries for NeverKept {
    fn take_up<'a>(&'a self, _key: RetryKey<'a>, _deadline: Deadline) -> Soon<'a, TakenUp> {
        Soon::Now(TakenUp::First(Box::new(NeverKept)))
    }

    fn let_go(&self, _partner: &PartnerId, _id: &str, _place: &EntryAt) {}
}

impl Retry for NeverKept {
    fn answered(self: Box<Self>, _answer: &Answer) {}
}

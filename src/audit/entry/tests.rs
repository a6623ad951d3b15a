//! Bytes that others verify: golden vectors, both ways, bounded, without identifiers.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::audit::keys::{EntryKeys, LogSecret, Month};
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::decision::{Advice, Criterion, CriterionKind, Decision, Outcome, Reason, Ruling};
use crate::domain::disclosure::{
    Disclosure, DisplayShown, Field, Pending, Probation, ProbationKind, TenureBand,
};
use crate::domain::elicence::{Display, Groups};
use crate::domain::licence::{
    ClassSet, DocumentKind, FileNumber, FullName, LicenceNumber, NumberRules, StateSet, VehicleClass,
};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::{Holder, PresentationKind};
use crate::domain::question::{Purpose, Question};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::domain::vehicle::{Vehicle, VehicleKind, VehicleUse};
use crate::evidence::ports::{LookUp, SubjectHandle};
use crate::verification::ports::{AboutToRecord, AnswerToRecord, QuestionDigest, SubjectToRecord};

const NUMBER: &str = "000000199001010018";
const NAME: &str = "测试甲";
const FILE_NUMBER: &str = "000000123456";
const CASE: &str = "RA-2026-0004711";
const OPERATOR: &str = "clerk-17";
const REQUEST: &str = "0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11";
const QR: &str = "DG1:6BF4C+7QX";
const SUBJECT: SubjectId = SubjectId::from_bytes([0x55; 16]);
const NONCE: [u8; 16] = *b"nonce-of-16-byte";

/// The entry of [`case`], computed by a program of another language from `docs/evidence.md` alone.
const GOLDEN_ANSWER: &str = concat!(
    "0101000660d926e7418003010302050000000100020000000000000003000660d926e55f406e6f6e63652d6f66",
    "2d31362d627974652ea59c94b975a2f198380d85aac086ac33333333333333333333333333333333001010ff72",
    "978d3cc3a02ce189c08bc2dea0eda1b88fa46359bbdd23fc562e8b1ce42b1f22a4710a00abb8d532458bc2d37a",
    "a827564108a43b2a077db5d7fd51fd051244793f8fc5b858e0c86cbb4feed63c22cb0b72656e74616c2d64656d",
    "6f0a323032362d31312d303108636865636b6f757402010100060208",
);

/// Three more of the same program: a QR code shown in place of a claim, a peer scan, a consent taken back.
const GOLDEN_SHOWN: &str = concat!(
    "0201000660d926e7418003000102050000000100020000000000000003000660d926e55f406e6f6e63652d6f66",
    "2d31362d627974652ea59c94b975a2f198380d85aac086ac33333333333333333333333333333333001011b8f9",
    "e235cdc2eabc4490711fe2b262d5a18dd2e149fb09963155c61e5bfab7d55922a4710a00abb8d532458bc2d37a",
    "a827564108a43b2a077db5d7fd51fd051244793f8fc5b858e0c86cbb4feed63c22cb0b72656e74616c2d64656d",
    "6f0a323032362d31312d303108636865636b6f757402010100060208",
);

const GOLDEN_PEER_SCAN: &str = concat!(
    "0201000660d926e7418007000102050000000100020000000000000003000660d926e55f406e6f6e63652d6f66",
    "2d31362d627974652ea59c94b975a2f198380d85aac086ac33333333333333333333333333333333060001b8a5",
    "4033e34cc6d14375bf84355c72d858ab085355c55eef7ab0f0d558975099cd22a4710a00abb8d532458bc2d37a",
    "a827dad0ef10aa231c53c141f5e22b1af94b66cf79dc010851e7c50b6896077be9fc0b77616c6c65742d64656d",
    "6f0a323032362d31312d303108636865636b6f757401030204",
);

const GOLDEN_WITHDRAWN: &str = concat!(
    "0201000660d926e74180030103030c0000000100020000000000000003000660d926e55f406e6f6e63652d6f66",
    "2d31362d627974652ea59c94b975a2f198380d85aac086ac33333333333333333333333333333333000000ff4d",
    "b71cd1cf91c219ec92f0b29bf4eb71ba98cb94079fe55cccbfc0021ed958e322a4710a00abb8d532458bc2d37a",
    "a827564108a43b2a077db5d7fd51fd051244793f8fc5b858e0c86cbb4feed63c22cb0b72656e74616c2d64656d",
    "6f0a323032362d31312d303108636865636b6f757400",
);

const GOLDEN_REFUSED_SCANS: &str =
    "0202000660d926e55f4007000000030b77616c6c65742d64656d6f145343414e4e45525f4e4f545f4143434550544544";

const ALL_GOLDEN: [&str; 7] = [
    GOLDEN_ANSWER,
    GOLDEN_SHOWN,
    GOLDEN_PEER_SCAN,
    GOLDEN_WITHDRAWN,
    GOLDEN_REFUSALS,
    GOLDEN_REFUSED_SCANS,
    GOLDEN_ACCESS,
];

const GOLDEN_REFUSALS: &str =
    "0102000660d926e55f4003000001020b72656e74616c2d64656d6f0d524154455f4558434545444544";

const GOLDEN_ACCESS: &str = concat!(
    "0103000660d926e7418001010b72656e74616c2d64656d6f000000000002cb4f1567772d312d30313233343536",
    "373839616263646566",
);

/// Everything an answer borrows.
pub(super) struct Case {
    partner: PartnerId,
    claim: Claim,
    question: Question,
    ruling: Ruling,
    disclosure: Disclosure,
    pub(super) secret: SubjectSecret,
    log: LogSecret,
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn case() -> Case {
    let rules = NumberRules { accept_test_numbers: true };
    Case {
        partner: "rental-demo".parse().unwrap(),
        claim: Claim {
            document: DocumentKind::ResidentId,
            number: LicenceNumber::parse(DocumentKind::ResidentId, NUMBER, rules).unwrap(),
            name: FullName::parse(NAME).unwrap(),
            file_number: Some(FileNumber::parse(FILE_NUMBER).unwrap()),
            ground: Ground::Consent(ConsentEvidence {
                obtained_at: moment("2026-11-01T00:00:00Z"),
                expires_at: moment("2026-12-01T00:00:00Z"),
                notice_version: "n-3".into(),
                evidence_sha256: [0xEE; 32],
            }),
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
        disclosure: Disclosure { tenure_band: Some(TenureBand::Under1), ..Disclosure::default() },
        secret: SubjectSecret::from_bytes([0x11; 32]),
        log: LogSecret::from_bytes(&[0x22; 32]),
    }
}

impl Case {
    fn answer<'a>(&'a self, subject: SubjectToRecord<'a>) -> AnswerToRecord<'a> {
        AnswerToRecord {
            at: moment("2026-11-22T08:20:37.123456Z"),
            partner: &self.partner,
            purpose: Purpose::Rental,
            about: AboutToRecord::Claimed(&self.claim),
            case_reference: CASE,
            case_category: "checkout",
            operator_id: OPERATOR,
            request_id: Some(REQUEST),
            subject,
            question: &self.question,
            question_digest: QuestionDigest([0x33; 16]),
            ruling: &self.ruling,
            disclosure: &self.disclosure,
            position: Position { epoch: 1, partition: 2, seq: 3 },
            known_at: moment("2026-11-22T08:20:37Z"),
            policy_version: "2026-11-01",
            charged: true,
            consent_withdrawn: false,
        }
    }

    fn bytes(&self, answer: &AnswerToRecord<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        compose(answer, &self.log, NONCE, &mut bytes).unwrap();
        bytes
    }

    /// The same, by the QR code that was shown.
    fn shown_answer<'a>(&'a self, subject: SubjectToRecord<'a>) -> AnswerToRecord<'a> {
        let (text, number) = (QR, NumberPseudonym::from_bytes([0x44; 16]));
        let about = AboutToRecord::Shown { by: PresentationKind::Qr, text, number };
        AnswerToRecord { about, ..self.answer(subject) }
    }

    pub(super) fn confirmed_answer(&self) -> AnswerToRecord<'_> {
        self.answer(SubjectToRecord::Confirmed(&SUBJECT, &self.secret))
    }

    fn confirmed(&self) -> Vec<u8> {
        self.bytes(&self.confirmed_answer())
    }
}

fn answer_in(bytes: &[u8]) -> AnswerEntry<'static> {
    match Entry::decode(bytes).unwrap() {
        Entry::Answer(answer) => answer,
        Entry::Refusals(_) | Entry::Access(_) => panic!("an answer was written"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_vector_of_an_answer() {
    assert_eq!(hex(&case().confirmed()), GOLDEN_ANSWER);
}

#[test]
fn the_specification_shows_the_same_vectors() {
    let text: String = include_str!("../../../docs/evidence.md").split_whitespace().collect();
    for golden in ALL_GOLDEN {
        assert!(text.contains(golden), "{golden}");
    }
}

#[test]
fn golden_vector_of_what_was_shown() {
    let case = case();
    let shown = case.shown_answer(SubjectToRecord::Confirmed(&SUBJECT, &case.secret));
    assert_eq!(hex(&case.bytes(&shown)), GOLDEN_SHOWN);
    let entry = answer_in(&unhex(GOLDEN_SHOWN));
    assert_eq!((entry.ground, entry.authorised_by), (None, AuthorisedBy::Qr));
    for sent in [LeafName::LicenceNumber, LeafName::FullName, LeafName::FileNumber, LeafName::Consent] {
        assert!(!entry.leaves.contains(sent), "{sent}");
    }
    assert!(entry.leaves.contains(LeafName::Presentation));
}

#[test]
fn golden_vector_of_a_peer_scan() {
    let mut case = case();
    case.partner = "wallet-demo".parse().unwrap();
    let Claim { document, number, .. } = case.claim.clone();
    case.question = Question::PeerScan { scanner: Holder { document, number } };
    case.ruling.reliance_until = None;
    case.ruling.criteria = vec![Criterion::not_met(CriterionKind::Licence, Reason::LicenceNotInForce)];
    case.disclosure = Disclosure {
        display: Some(DisplayShown { display: Display::Red, deferred: true }),
        class_groups: Some(Groups { car: true, motorcycle: false }),
        ..Disclosure::default()
    };
    let shown = case.shown_answer(SubjectToRecord::Confirmed(&SUBJECT, &case.secret));
    let bytes = case.bytes(&AnswerToRecord { purpose: Purpose::PeerScan, ..shown });
    assert_eq!(hex(&bytes), GOLDEN_PEER_SCAN);
    let entry = answer_in(&bytes);
    assert!(entry.leaves.discloses(Field::Display) && entry.leaves.discloses(Field::ClassGroups));
}

#[test]
fn golden_vector_of_a_consent_taken_back() {
    let mut case = case();
    (case.ruling, case.disclosure) = (Ruling::withheld(), Disclosure::nothing());
    let refused = AnswerToRecord { charged: false, consent_withdrawn: true, ..case.confirmed_answer() };
    assert_eq!(hex(&case.bytes(&refused)), GOLDEN_WITHDRAWN);
    let entry = answer_in(&unhex(GOLDEN_WITHDRAWN));
    assert!(entry.consent_withdrawn && !entry.charged && entry.criteria.is_empty());
    assert_eq!(entry.ground, Some(GroundKind::Consent));
}

#[test]
fn golden_vector_of_refused_peer_scans() {
    let entry = RefusalEntry {
        at: moment("2026-11-22T08:20:37Z"),
        partner: "wallet-demo".parse().unwrap(),
        reason: "SCANNER_NOT_ACCEPTED".into(),
        purpose: Some(Purpose::PeerScan),
        count: 3,
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    assert_eq!(hex(&bytes), GOLDEN_REFUSED_SCANS);
    assert_eq!(Entry::decode(&bytes), Ok(Entry::Refusals(entry)));
}

/// There is one version for what an entry says: neither an old word in the new one nor a new word in the old one.
#[test]
fn an_entry_in_another_version_than_its_own_is_refused() {
    for golden in ALL_GOLDEN {
        let mut bytes = unhex(golden);
        assert!(Entry::decode(&bytes).is_ok());
        bytes[0] = 3 - bytes[0];
        assert_eq!(Entry::decode(&bytes), Err(DecodeError::Field("version")), "{golden}");
        bytes[0] = 3;
        assert_eq!(Entry::decode(&bytes), Err(DecodeError::Version(3)));
    }
}

#[test]
fn a_claim_has_a_ground_and_nothing_shown_has_one() {
    for (golden, ground) in [(GOLDEN_ANSWER, 0), (GOLDEN_SHOWN, 1), (GOLDEN_SHOWN, 9)] {
        let mut bytes = unhex(golden);
        bytes[11] = ground;
        assert_eq!(Entry::decode(&bytes), Err(DecodeError::Field("ground")));
    }
}

#[test]
fn what_was_shown_and_not_confirmed_is_no_claims_pseudonym_and_opens() {
    let case = case();
    let unconfirmed = SubjectToRecord::Unconfirmed(&SUBJECT, &case.secret);
    let number = NumberPseudonym::from_bytes([0x44; 16]);
    let shown = answer_in(&case.bytes(&case.shown_answer(unconfirmed)));
    let gone = answer_in(&case.bytes(&case.shown_answer(SubjectToRecord::Unknown(number))));
    let claimed = answer_in(&case.bytes(&case.answer(unconfirmed)));
    assert_ne!(shown.subject, claimed.subject);
    assert_eq!(shown.leaves, gone.leaves, "the same shape, whether there is a record or none");
    let month = Month::of(shown.at);
    assert_eq!(shown.subject, EntryKeys::unconfirmed_shown(&case.secret, month, number).pseudonym());
}

#[test]
fn golden_vector_of_refusals() {
    let entry = RefusalEntry {
        at: moment("2026-11-22T08:20:37Z"),
        partner: "rental-demo".parse().unwrap(),
        reason: "RATE_EXCEEDED".into(),
        purpose: Some(Purpose::Rental),
        count: 258,
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    assert_eq!(hex(&bytes), GOLDEN_REFUSALS);
    assert_eq!(Entry::decode(&bytes), Ok(Entry::Refusals(entry)));
}

#[test]
fn golden_vector_of_an_access() {
    let outcome = AccessOutcome::Opened;
    let access = Access::Receipt { origin: "gw-1-0123456789abcdef".into(), index: 183_119, outcome };
    let partner = Some("rental-demo".parse().unwrap());
    let entry = AccessEntry { at: moment("2026-11-22T08:20:37.123456Z"), partner, access };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    assert_eq!(hex(&bytes), GOLDEN_ACCESS);
    assert_eq!(Entry::decode(&bytes), Ok(Entry::Access(entry)));
}

#[test]
fn an_answer_reads_back_as_it_was_written() {
    let case = case();
    let entry = answer_in(&case.confirmed());
    assert_eq!(entry.at, moment("2026-11-22T08:20:37.123456Z"));
    assert_eq!(*entry.partner, case.partner);
    assert_eq!((entry.purpose, entry.ground), (Purpose::Rental, Some(GroundKind::Consent)));
    assert_eq!((entry.decision, &*entry.criteria), (Decision::NotQualified, &case.ruling.criteria[..]));
    assert_eq!(entry.position, Position { epoch: 1, partition: 2, seq: 3 });
    assert_eq!((&*entry.policy_version, &*entry.case_category), ("2026-11-01", "checkout"));
    assert!(entry.charged && !entry.subject_is_party);
    assert!(entry.leaves.discloses(Field::TenureBand) && !entry.leaves.discloses(Field::MaskedName));
    assert_eq!(entry.request, Some(case.log.request_digest(&case.partner, REQUEST)));
    assert_eq!(entry.case, case.log.case_digest(&case.partner, CASE));
}

#[test]
fn the_log_secret_alone_says_whom_an_entry_is_about() {
    let case = case();
    let number = NumberPseudonym::from_bytes([0x44; 16]);
    let subjects = [
        (SubjectToRecord::Confirmed(&SUBJECT, &case.secret), SubjectHandle::of_subject(&SUBJECT)),
        (SubjectToRecord::Unconfirmed(&SUBJECT, &case.secret), SubjectHandle::of_subject(&SUBJECT)),
        (SubjectToRecord::Unknown(number), SubjectHandle::of_number(&number)),
    ];
    for (subject, handle) in subjects {
        let bytes = case.bytes(&case.answer(subject));
        let found = look_up(7, &bytes, &case.log).unwrap();
        let expected = LookUp {
            index: 7,
            at: moment("2026-11-22T08:20:37.123456Z"),
            subject: handle,
            request: Some(case.log.request_digest(&case.partner, REQUEST).0),
            case: case.log.case_digest(&case.partner, CASE).0,
        };
        assert_eq!(found, Some(expected));
        let stranger = LogSecret::from_bytes(&[0x23; 32]);
        assert_ne!(look_up(7, &bytes, &stranger).unwrap().unwrap().subject, handle);
    }
}

#[test]
fn the_handle_of_one_subject_looks_different_in_every_entry() {
    let case = case();
    let handle = SubjectHandle::of_subject(&SUBJECT);
    let hidden: std::collections::HashSet<_> =
        (0..=255).map(|nonce| case.log.hide_handle(&[nonce; 16], handle)).collect();
    assert_eq!(hidden.len(), 256);
}

#[test]
fn refusals_and_accesses_are_no_look_ups() {
    let log = case().log;
    for golden in [GOLDEN_REFUSALS, GOLDEN_ACCESS] {
        assert_eq!(look_up(0, &unhex(golden), &log), Ok(None));
    }
    assert_eq!(look_up(0, &[1], &log), Err(DecodeError::Truncated("kind")));
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_receipts_openings_rebuild_the_root() {
    let case = case();
    let entry = answer_in(&case.confirmed());
    let opening = EntryKeys::confirmed(&case.secret).opening(&entry.nonce);
    // What the partner knows, written down by hand from the specification.
    let micros = |text: &str| moment(text).as_microsecond().to_be_bytes();
    let number = [&[1], NUMBER.as_bytes()].concat();
    let consent =
        [&micros("2026-11-01T00:00:00Z")[..], &micros("2026-12-01T00:00:00Z"), &[0xEE; 32], b"n-3"].concat();
    let question = [
        &[3][..],
        &micros("2026-11-22T09:00:00Z"),
        &micros("2026-11-25T09:00:00Z"),
        &[1, 0, 12],
        &[0, 30],
        &[1, 6, 0, 0],
        &[1, 0],
        &[1, 0, 5],
        &[1, 0, 0, 0x07, 0x6C],
        &[1, 0, 0, 0, 0],
        &[1],
    ]
    .concat();
    let until = micros("2027-01-01T00:00:00Z");
    let known: [(LeafName, &[u8]); 10] = [
        (LeafName::LicenceNumber, &number),
        (LeafName::FullName, NAME.as_bytes()),
        (LeafName::FileNumber, FILE_NUMBER.as_bytes()),
        (LeafName::CaseReference, CASE.as_bytes()),
        (LeafName::Operator, OPERATOR.as_bytes()),
        (LeafName::Question, &question),
        (LeafName::Consent, &consent),
        (LeafName::RequestId, REQUEST.as_bytes()),
        (LeafName::RelianceUntil, &until),
        (LeafName::TenureBand, &[1]),
    ];
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    assert_eq!(entry.leaves.iter().collect::<Vec<_>>(), names);
    let leaves: Vec<_> =
        known.iter().map(|(name, value)| leaf_hash(&opening.salt(name.code()), *name, value)).collect();
    assert_eq!(entry.root, root_over(&leaves));
}

#[test]
fn every_disclosed_field_is_committed_to() {
    let mut case = case();
    let before = answer_in(&case.confirmed()).root;
    type Release = fn(&mut Disclosure);
    let all: [(Field, Release); 8] = [
        (Field::ExpiredOn, |out| out.expired_on = Some(date(2026, 1, 2))),
        (Field::Probation, |out| {
            out.probation = Some(Probation { kind: ProbationKind::AddedClass, last_day: date(2026, 1, 2) });
        }),
        (Field::Pending, |out| out.pending = Some(Pending { violation: true, accident: false })),
        (Field::States, |out| out.states = StateSet::parse("AH")),
        (Field::Classes, |out| out.classes = Some(ClassSet::of(&[VehicleClass::A1]))),
        (Field::PaperLicenceNeeded, |out| out.paper_licence_needed = Some(true)),
        (Field::Display, |out| {
            out.display = Some(DisplayShown { display: Display::Normal, deferred: false });
        }),
        (Field::ClassGroups, |out| {
            out.class_groups = Some(Groups { car: false, motorcycle: true });
        }),
    ];
    for (field, release) in all {
        case.disclosure = Disclosure::default();
        release(&mut case.disclosure);
        let entry = answer_in(&case.confirmed());
        assert!(entry.leaves.discloses(field), "{field}");
        assert_ne!(entry.root, before);
    }
}

#[test]
fn no_identifier_is_in_the_bytes() {
    let case = case();
    let subjects = [
        SubjectToRecord::Confirmed(&SUBJECT, &case.secret),
        SubjectToRecord::Unconfirmed(&SUBJECT, &case.secret),
        SubjectToRecord::Unknown(NumberPseudonym::from_bytes([0x44; 16])),
    ];
    for subject in subjects {
        let bytes = case.bytes(&case.answer(subject));
        let shown = case.bytes(&case.shown_answer(subject));
        for secret in [QR, &QR[4..]] {
            assert!(!shown.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
        }
        for secret in [NUMBER, &NUMBER[6..14], NAME, FILE_NUMBER, CASE, OPERATOR, REQUEST] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret}");
        }
        for secret in [&[0x11; 8], &[0x22; 8], &[0x44; 8], &[0x55; 8]] {
            assert!(!bytes.windows(8).any(|window| window == secret));
        }
    }
}

#[test]
fn confirmed_entries_of_a_subject_group_and_nothing_else_does() {
    let case = case();
    let pseudonym = |subject, at: &str| {
        let mut answer = case.answer(subject);
        answer.at = moment(at);
        answer_in(&case.bytes(&answer)).subject
    };
    let (november, december) = ("2026-11-22T08:00:00Z", "2026-12-22T08:00:00Z");
    let confirmed = |at: &str| pseudonym(SubjectToRecord::Confirmed(&SUBJECT, &case.secret), at);
    let unconfirmed = |at: &str| pseudonym(SubjectToRecord::Unconfirmed(&SUBJECT, &case.secret), at);
    let unknown = |at: &str| pseudonym(SubjectToRecord::Unknown(NumberPseudonym::from_bytes([0x44; 16])), at);

    assert_eq!(confirmed(november), confirmed(december));
    assert_ne!(confirmed(november), unconfirmed(november));
    // A number that exists and one that does not behave alike: the same within a month, another in the next.
    for kind in [&unconfirmed as &dyn Fn(&str) -> SubjectPseudonym, &unknown] {
        assert_eq!(kind(november), kind("2026-11-30T15:59:59Z"));
        assert_ne!(kind(november), kind("2026-11-30T16:00:00Z"), "the month ends in China");
        assert_ne!(kind(november), kind(december));
    }
    let other = SubjectSecret::from_bytes([0x12; 32]);
    assert_ne!(confirmed(november), pseudonym(SubjectToRecord::Confirmed(&SUBJECT, &other), november));
}

#[test]
fn unconfirmed_and_unknown_entries_have_the_same_shape() {
    let case = case();
    let unconfirmed = case.bytes(&case.answer(SubjectToRecord::Unconfirmed(&SUBJECT, &case.secret)));
    let number = NumberPseudonym::from_bytes([0x44; 16]);
    let unknown = case.bytes(&case.answer(SubjectToRecord::Unknown(number)));
    let (mut a, b) = (answer_in(&unconfirmed), answer_in(&unknown));
    assert_eq!(unconfirmed.len(), unknown.len());
    (a.subject, a.root, a.handle) = (b.subject, b.root, b.handle);
    assert_eq!(a, b);
}

#[test]
fn openings_differ_from_entry_to_entry() {
    let case = case();
    let answer = case.answer(SubjectToRecord::Confirmed(&SUBJECT, &case.secret));
    let mut other = Vec::new();
    compose(&answer, &case.log, [9; 16], &mut other).unwrap();
    assert_ne!(answer_in(&other).root, answer_in(&case.confirmed()).root);
}

#[test]
fn request_digests_are_keyed_and_bound_to_the_partner() {
    let case = case();
    let other: PartnerId = "rental-demo2".parse().unwrap();
    let digest = case.log.request_digest(&case.partner, REQUEST);
    assert_ne!(digest, case.log.request_digest(&other, REQUEST));
    assert_ne!(digest, LogSecret::from_bytes(&[0x23; 32]).request_digest(&case.partner, REQUEST));
    // Neither is a case reference of the same word the same digest.
    assert_ne!(digest.0, case.log.case_digest(&case.partner, REQUEST).0);
    assert_ne!(case.log.case_digest(&case.partner, CASE), case.log.case_digest(&other, CASE));
}

#[test]
fn unknown_numbers_of_one_month_differ() {
    let (log, month) = (case().log, Month::of(moment("2026-11-22T08:00:00Z")));
    let of = |byte| log.unknown_number(month, NumberPseudonym::from_bytes([byte; 16])).pseudonym();
    assert_ne!(of(1), of(2));
}

#[test]
fn the_longest_entry_fits_and_longer_texts_are_refused() {
    let mut case = case();
    case.partner = "p".repeat(40).parse().unwrap();
    let criterion = case.ruling.criteria[1];
    case.ruling.criteria = vec![criterion; CRITERIA_MAX];
    let (category, version) = ("c".repeat(32), "v".repeat(24));
    let mut answer = case.answer(SubjectToRecord::Confirmed(&SUBJECT, &case.secret));
    answer.case_category = &category;
    answer.policy_version = &version;
    let bytes = case.bytes(&answer);
    assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}", bytes.len());
    assert_eq!((bytes.len(), answer_in(&bytes).criteria.len()), (341, CRITERIA_MAX));

    let too_long = "c".repeat(33);
    answer.case_category = &too_long;
    let refused = compose(&answer, &case.log, NONCE, &mut Vec::new());
    assert_eq!(refused, Err(EncodeError("case category")));
}

#[test]
fn truncated_extended_and_newer_bytes_are_refused() {
    for golden in ALL_GOLDEN {
        let good = unhex(golden);
        for length in 0..good.len() {
            assert!(Entry::decode(&good[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(Entry::decode(&[&good[..], &[0]].concat()), Err(DecodeError::TrailingBytes));
        assert_eq!(Entry::decode(&[&[3], &good[1..]].concat()), Err(DecodeError::Version(3)));
    }
    assert_eq!(Entry::decode(&[1, 9]), Err(DecodeError::Field("kind")));
    assert_eq!(Entry::decode(&[0; ENTRY_BYTES_MAX + 1]), Err(DecodeError::TooLong));
}

/// Encodes whatever was decoded.
fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    match entry {
        Entry::Answer(answer) => answer.encode(&mut bytes).unwrap(),
        Entry::Refusals(refusals) => refusals.encode(&mut bytes).unwrap(),
        Entry::Access(access) => access.encode(&mut bytes).unwrap(),
    }
    bytes
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Entry::decode(&bytes);
    }

    #[test]
    fn damaged_entries_are_refused_or_are_other_canonical_entries(
        golden in proptest::sample::select(ALL_GOLDEN.to_vec()),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 1..=255u8), 1..6),
    ) {
        let mut bytes = unhex(golden);
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(encode(&entry), bytes);
        }
    }

    #[test]
    fn any_answer_reads_back(
        micros in 0..4_000_000_000_000_000i64,
        (purpose, ground, decision) in (1..=7u8, 0..=3u8, 1..=3u8),
        (shown_by, withdrawn) in (1..=2u8, any::<bool>()),
        (charged, party) in any::<(bool, bool)>(),
        (epoch, partition, seq) in any::<(u32, u16, u64)>(),
        request in any::<Option<[u8; 16]>>(),
        root in any::<[u8; 32]>(),
        reasons in proptest::collection::vec(0..=27u8, 0..=CRITERIA_MAX),
        (handle, case_digest) in any::<([u8; 16], [u8; 16])>(),
        category in "[a-z0-9-]{0,32}",
        partner in "[a-z][a-z0-9-]{0,39}",
    ) {
        let criteria: Vec<_> = reasons
            .iter()
            .map(|code| Criterion {
                kind: CriterionKind::Class,
                outcome: Outcome::Noted,
                reason: Reason::from_code(*code),
            })
            .collect();
        let entry = AnswerEntry {
            at: Timestamp::from_microsecond(micros).unwrap(),
            partner: Cow::Owned(partner.parse().unwrap()),
            purpose: Purpose::from_code(purpose).unwrap(),
            ground: GroundKind::from_code(ground),
            subject_is_party: party,
            authorised_by: AuthorisedBy::from_code(if ground == 0 { shown_by } else { 3 }).unwrap(),
            decision: Decision::from_code(decision).unwrap(),
            charged,
            consent_withdrawn: withdrawn,
            position: Position { epoch, partition, seq },
            known_at: Timestamp::from_microsecond(micros / 2).unwrap(),
            nonce: NONCE,
            subject: SubjectPseudonym([5; 16]),
            question: QuestionDigest([6; 16]),
            leaves: LeafSet::from_bits(0b11).unwrap(),
            root,
            handle: HiddenHandle(handle),
            case: CaseDigest(case_digest),
            request: request.map(RequestDigest),
            policy_version: Cow::Borrowed("2026-11-01"),
            case_category: category.into(),
            criteria: criteria.into(),
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        prop_assert!(bytes.len() <= ENTRY_BYTES_MAX);
        prop_assert_eq!(Entry::decode(&bytes), Ok(Entry::Answer(entry)));
    }

    #[test]
    fn any_access_reads_back(
        micros in 0..4_000_000_000_000_000i64,
        index in any::<u64>(),
        origin in "[a-z0-9.-]{0,80}",
        partner in "[a-z][a-z0-9-]{0,39}",
        outcome in proptest::sample::select(AccessOutcome::ALL),
    ) {
        let entry = AccessEntry {
            at: Timestamp::from_microsecond(micros).unwrap(),
            partner: Some(partner.parse().unwrap()),
            access: Access::Receipt { origin, index, outcome },
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        prop_assert!(bytes.len() <= ENTRY_BYTES_MAX);
        prop_assert_eq!(Entry::decode(&bytes), Ok(Entry::Access(entry)));
    }

    /// Whatever is as long as the domain and the format admit.
    #[test]
    fn no_entry_that_can_be_written_is_longer_than_the_bound(
        (partner, category, version) in ("[a-z]{30,40}", "[é-ÿ]{0,17}|[a-z]{30,34}", "[0-9-]{20,26}"),
        criteria in 20..=CRITERIA_MAX + 1,
    ) {
        let mut case = case();
        case.partner = partner.parse().unwrap();
        case.ruling.criteria = vec![case.ruling.criteria[1]; criteria];
        let mut answer = case.answer(SubjectToRecord::Confirmed(&SUBJECT, &case.secret));
        (answer.case_category, answer.policy_version) = (&category, &version);
        let mut bytes = Vec::new();
        match compose(&answer, &case.log, NONCE, &mut bytes) {
            Ok(()) => prop_assert!(bytes.len() <= ENTRY_BYTES_MAX && Entry::decode(&bytes).is_ok()),
            Err(_) => prop_assert!(category.len() > 32 || version.len() > 24 || criteria > CRITERIA_MAX),
        }
    }
}

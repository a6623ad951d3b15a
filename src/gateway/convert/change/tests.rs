//! Every kind there and back, and every rule of the contract broken once.

use jiff::civil::date;

use super::*;
use crate::domain::licence::{
    ChangeKind, DocumentKind, ELicenceEvent, ELicencePath, Endorsement, FileNumber, FullName, LicenceNumber,
    NumberRules, RefusalGround, StateGround, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::partner::PartnerId;
use crate::domain::time::Effective;
use crate::gateway::proto::{self, licence_change};

const NUMBERS: NumberRules = NumberRules { accept_test_numbers: true };
const NUMBER: &str = "00000019920229001X";

fn number() -> LicenceNumber {
    LicenceNumber::parse(DocumentKind::ResidentId, NUMBER, NUMBERS).unwrap()
}

fn parse(message: proto::LicenceChange) -> ParsedChange {
    let partner: PartnerId = "authority-demo".parse().unwrap();
    parse_change(message, ChangeRules { partner: &partner, numbers: NUMBERS })
}

fn message(effective: Effective, kind: &ChangeKind) -> proto::LicenceChange {
    let recorded_at = "1969-12-31T23:59:59.25Z".parse().unwrap();
    let envelope = ("main", "c-1", 7);
    change_message(envelope, (DocumentKind::ResidentId, &number()), (effective, recorded_at), kind).unwrap()
}

fn every_kind() -> Vec<ChangeKind> {
    let class = VehicleClass::A1;
    let day = date(2030, 1, 1);
    vec![
        ChangeKind::Issued,
        ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number() },
        ChangeKind::NameSet { name: FullName::parse("测试小明").unwrap() },
        ChangeKind::BirthDaySet { day: date(1992, 2, 29) },
        ChangeKind::FileNumberSet { number: FileNumber::parse("000000000012").unwrap() },
        ChangeKind::AuthoritySet { code: "鲁A".to_owned() },
        ChangeKind::ClassAdded { class },
        ChangeKind::ClassRemoved { class },
        ChangeKind::AgeExtended { class, ceiling_years: 66 },
        ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus },
        ChangeKind::EndorsementLifted { endorsement: Endorsement::SchoolBus },
        ChangeKind::ValiditySet { validity: Validity { term: ValidityTerm::SixYears, last_day: Some(day) } },
        ChangeKind::ValiditySet { validity: Validity { term: ValidityTerm::LongTerm, last_day: None } },
        ChangeKind::StateSet { letter: b'N', original_end: Some(day) },
        ChangeKind::StateSet { letter: b'Q', original_end: None },
        ChangeKind::StateLifted { letter: b'N' },
        ChangeKind::PointsSet { points: 255 },
        ChangeKind::PointsCleared,
        ChangeKind::PointsReversed,
        ChangeKind::ProtectionSet,
        ChangeKind::ProtectionLifted,
        ChangeKind::HistoryBegins,
        ChangeKind::ClassLostByAge { class },
        ChangeKind::ValidityRenewed {
            validity: Validity { term: ValidityTerm::TenYears, last_day: Some(day) },
        },
        ChangeKind::ValidityExtended { validity: Validity { term: ValidityTerm::LongTerm, last_day: None } },
        ChangeKind::StateGrounded { letter: b'G', ground: StateGround::Death },
        ChangeKind::ELicence(ELicenceEvent::Applied { path: ELicencePath::Camera }),
        ChangeKind::ELicence(ELicenceEvent::UnderReview),
        ChangeKind::ELicence(ELicenceEvent::Issued),
        ChangeKind::ELicence(ELicenceEvent::Refused { ground: RefusalGround::PhotoAge }),
        ChangeKind::ELicence(ELicenceEvent::PhotoChanged),
        ChangeKind::ELicence(ELicenceEvent::Superseded),
        ChangeKind::ELicence(ELicenceEvent::Withdrawn),
        ChangeKind::ELicence(ELicenceEvent::Reapplied { path: ELicencePath::Window }),
        ChangeKind::Erased,
    ]
}

#[test]
fn every_kind_comes_back() {
    let effective =
        [Effective::On(date(2026, 11, 1)), Effective::At("2026-11-01T00:00:00.5Z".parse().unwrap())];
    for kind in every_kind() {
        for effective in effective {
            let parsed = parse(message(effective, &kind));
            assert_eq!(parsed.faults, [], "{kind:?}");
            let change = parsed.change.unwrap();
            assert_eq!((change.source.as_str(), change.id.as_str()), ("authority-demo/main", "c-1"));
            let content = change.content.unwrap();
            assert_eq!((content.effective, &content.kind), (effective, &kind));
            assert_eq!(content.recorded_at.to_string(), "1969-12-31T23:59:59.25Z");
        }
    }
}

#[test]
fn marks_of_a_dispute_cannot_be_sent() {
    for kind in [ChangeKind::DisputeOpened, ChangeKind::DisputeSettled] {
        let effective = (Effective::On(date(2026, 11, 1)), "2026-11-01T00:00:00Z".parse().unwrap());
        let made = change_message(("main", "c", 1), (DocumentKind::ResidentId, &number()), effective, &kind);
        assert!(made.is_none());
    }
}

fn paths(parsed: &ParsedChange) -> Vec<&'static str> {
    parsed.faults.iter().map(|fault| fault.path).collect()
}

#[test]
fn a_broken_envelope_is_nobodys_change() {
    let good = || message(Effective::On(date(2026, 11, 1)), &ChangeKind::Issued);
    type Spoil = fn(&mut proto::LicenceChange);
    let spoils: [(&str, Spoil); 10] = [
        ("source", |change| change.source = "Main".to_owned()),
        ("source", |change| change.source = String::new()),
        ("change_id", |change| change.change_id = "a b".to_owned()),
        ("change_id", |change| change.change_id = "x".repeat(65)),
        ("sequence", |change| change.sequence = 0),
        ("sequence", |change| change.sequence = u64::MAX),
        ("document_kind", |change| change.document_kind = 0),
        ("document_kind", |change| change.document_kind = 99),
        ("licence_number", |change| change.licence_number = "12345".to_owned()),
        ("licence_number", |change| change.licence_number = "x".repeat(60_000)),
    ];
    for (path, spoil) in spoils {
        let mut change = good();
        spoil(&mut change);
        let parsed = parse(change);
        assert!(parsed.change.is_none(), "{path}");
        assert_eq!(paths(&parsed), [path]);
        assert!(!parsed.faults[0].rule.contains("12345"), "never the value");
    }
    assert_eq!(
        paths(&parse(proto::LicenceChange::default())),
        ["source", "change_id", "sequence", "document_kind"]
    );
}

#[test]
fn a_broken_content_still_says_whose_it_is() {
    use licence_change::{Effective as When, Kind};
    let good = || message(Effective::On(date(2026, 11, 1)), &ChangeKind::Issued);
    let day = |year, month, day| proto::CivilDate { year, month, day };
    let kinds = [
        ("number_set.document_kind", Kind::NumberSet(proto::NumberSet::default())),
        ("name_set", Kind::NameSet(String::new())),
        ("birth_day_set", Kind::BirthDaySet(day(1990, 2, 30))),
        ("birth_day_set", Kind::BirthDaySet(day(u32::MAX, u32::MAX, u32::MAX))),
        ("file_number_set", Kind::FileNumberSet("1".to_owned())),
        ("authority_set", Kind::AuthoritySet("x".repeat(9))),
        ("class_added", Kind::ClassAdded(0)),
        ("class_added", Kind::ClassAdded(99)),
        ("class_removed", Kind::ClassRemoved(-1)),
        ("age_extended.ceiling_years", Kind::AgeExtended(proto::AgeExtension { class: 1, ceiling_years: 0 })),
        ("endorsement_set", Kind::EndorsementSet(7)),
        ("endorsement_lifted", Kind::EndorsementLifted(0)),
        ("validity_set.term", Kind::ValiditySet(proto::LicenceValidity::default())),
        ("validity_set.last_day", Kind::ValiditySet(proto::LicenceValidity { term: 1, last_day: None })),
        (
            "validity_set.last_day",
            Kind::ValiditySet(proto::LicenceValidity { term: 3, last_day: Some(day(2030, 1, 1)) }),
        ),
        (
            "state_set.letter",
            Kind::StateSet(proto::StateLetterSet { letter: "违".to_owned(), original_end: None }),
        ),
        (
            "state_set.original_end",
            Kind::StateSet(proto::StateLetterSet {
                letter: "N".to_owned(),
                original_end: Some(day(0, 0, 0)),
            }),
        ),
        ("state_lifted", Kind::StateLifted("SH".to_owned())),
        ("points_set", Kind::PointsSet(256)),
        ("class_lost_by_age", Kind::ClassLostByAge(0)),
        ("validity_renewed.term", Kind::ValidityRenewed(proto::LicenceValidity::default())),
        (
            "validity_extended.last_day",
            Kind::ValidityExtended(proto::LicenceValidity { term: 2, last_day: None }),
        ),
        (
            "state_grounded.ground",
            Kind::StateGrounded(proto::StateLetterGrounded { letter: "G".to_owned(), ground: 0 }),
        ),
        ("e_licence.step", Kind::ELicence(proto::ELicenceStep { step: None })),
        (
            "e_licence.refused",
            Kind::ELicence(proto::ELicenceStep { step: Some(proto::e_licence_step::Step::Refused(34)) }),
        ),
    ];
    for (path, kind) in kinds {
        let parsed = parse(proto::LicenceChange { kind: Some(kind), ..good() });
        assert_eq!(paths(&parsed), [path]);
        assert_eq!(parsed.change.unwrap().content, None, "{path}");
    }
    let parsed = parse(proto::LicenceChange { kind: None, effective: None, recorded_at: None, ..good() });
    assert_eq!(paths(&parsed), ["effective", "recorded_at", "kind"]);
    assert!(parsed.change.is_some());
    let parsed =
        parse(proto::LicenceChange { effective: Some(When::EffectiveDay(day(1899, 1, 1))), ..good() });
    assert_eq!(paths(&parsed), ["effective_day"]);
}

#[test]
fn a_change_message_has_no_debug_that_shows_anything() {
    let text = message(
        Effective::On(date(2026, 11, 1)),
        &ChangeKind::NameSet { name: FullName::parse("测试").unwrap() },
    );
    let parsed = parse(text);
    let shown = format!("{:?}", parsed.change.unwrap());
    assert!(!shown.contains(NUMBER) && !shown.contains("测试"), "{shown}");
}

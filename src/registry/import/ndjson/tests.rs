//! Every word of a change, out and in again.

use jiff::civil::date;

use super::*;
use crate::domain::licence::{ELicencePath, RefusalGround, StateGround, ValidityTerm, VehicleClass};
use crate::domain::time::start_of;

const RULES: NumberRules = NumberRules { accept_test_numbers: true };

fn kinds() -> Vec<ChangeKind> {
    let event = ChangeKind::ELicence;
    let until = |term, last_day| Validity { term, last_day };
    let mut kinds = vec![
        ChangeKind::ClassLostByAge { class: VehicleClass::A1 },
        ChangeKind::ValidityRenewed { validity: until(ValidityTerm::TenYears, Some(date(2036, 1, 1))) },
        ChangeKind::ValidityExtended { validity: until(ValidityTerm::LongTerm, None) },
        event(ELicenceEvent::UnderReview),
        event(ELicenceEvent::Issued),
        event(ELicenceEvent::PhotoChanged),
        event(ELicenceEvent::Superseded),
        event(ELicenceEvent::Withdrawn),
        ChangeKind::Erased,
    ];
    for path in ELicencePath::ALL.iter().copied() {
        kinds.extend([event(ELicenceEvent::Applied { path }), event(ELicenceEvent::Reapplied { path })]);
    }
    kinds.extend(RefusalGround::ALL.iter().map(|ground| event(ELicenceEvent::Refused { ground: *ground })));
    let grounded = |ground: &StateGround| ChangeKind::StateGrounded { letter: b'G', ground: *ground };
    kinds.extend(StateGround::ALL.iter().map(grounded));
    kinds
}

#[test]
fn every_later_kind_comes_back_from_its_words() {
    let day = date(2026, 11, 1);
    let change = |kind| NewChange { effective: Effective::On(day), recorded_at: start_of(day), kind };
    let document = DocumentKind::ResidentId;
    let subject = NewSubject {
        document,
        number: LicenceNumber::parse(document, "000000199001010018", RULES).unwrap(),
        name: FullName::parse("测试小明").unwrap(),
        changes: kinds().into_iter().map(change).collect(),
    };
    let mut line = Vec::new();
    write_line(&subject, &mut line).unwrap();
    let parsed = parse(std::str::from_utf8(&line).unwrap().trim_end(), RULES).unwrap();
    assert!(parsed.changes == subject.into_submission().changes, "the line says something else");
}

#[test]
fn what_a_later_kind_lacks_is_named() {
    for (words, fault) in [
        (r#""kind":"class-lost-by-age""#, "change.class: must be there"),
        (r#""kind":"validity-renewed""#, "change.term: must be there"),
        (
            r#""kind":"validity-renewed","term":"ten-years""#,
            "change.last_day: must be there, except for a long-term licence",
        ),
        (r#""kind":"state-grounded","letter":"G""#, "change.ground: must be there"),
        (r#""kind":"state-grounded","letter":"g","ground":"death""#, "change.letter: must be one letter A-Z"),
        (r#""kind":"e-licence-applied""#, "change.path: must be there"),
        (r#""kind":"e-licence-refused""#, "change.ground: must be there"),
    ] {
        let change = format!(r#"{{"effective":"2026-11-01","recorded_at":"2026-11-01T00:00:00Z",{words}}}"#);
        let line = format!(r#"{{"number":"000000199001010018","change":{change}}}"#);
        assert_eq!(parse(&line, RULES).unwrap_err().to_string(), fault, "{words}");
    }
}

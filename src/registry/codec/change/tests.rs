//! What single changes are in bytes.

use jiff::civil::date;

use super::*;
use crate::domain::licence::{History, Record, Stops};
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::registry::codec::{decode, encode};

/// Encodes changes of one day at one position, and returns what follows the record's head.
fn bytes_of(kinds: &[ChangeKind]) -> Vec<u8> {
    let (subject, day) = (SubjectId::from_bytes([7; 16]), date(2026, 11, 1));
    let change = |kind: &ChangeKind| Change {
        effective: Effective::On(day),
        recorded_at: "2026-11-01T00:00:00Z".parse().unwrap(),
        position: Position { epoch: 1, partition: 0, seq: 4 },
        kind: kind.clone(),
    };
    let record = Record {
        subject,
        secret: SubjectSecret::from_bytes([9; 32]),
        history: History::from_changes(kinds.iter().map(change).collect()),
        stops: Stops::default(),
    };
    let mut bytes = Vec::new();
    encode(&record, &mut bytes).unwrap();
    assert_eq!(decode(subject, &bytes).unwrap().history, record.history);
    bytes.split_off(34)
}

#[test]
fn the_later_kinds_stay_what_they_are() {
    let class = VehicleClass::A1;
    let until = Some(date(2026, 11, 2));
    let validity = |term, last_day| Validity { term, last_day };
    let path = ELicencePath::Camera;
    let event = ChangeKind::ELicence;
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Before each body: the code, with an occasion that is spelled out; that its position follows; position 1/0/4; 9,801 days
    // after 2000-01-01; recorded at that day's first second.
    let head = |code: u8| format!("{:02x}0201000892990100", code | 3 << 6);
    for (kind, code, body) in [
        (ChangeKind::ClassLostByAge { class }, 23, "01"),
        (ChangeKind::ValidityRenewed { validity: validity(ValidityTerm::TenYears, until) }, 24, "8202"),
        (ChangeKind::ValidityRenewed { validity: validity(ValidityTerm::LongTerm, None) }, 24, "03"),
        (ChangeKind::ValidityExtended { validity: validity(ValidityTerm::SixYears, until) }, 25, "8102"),
        (ChangeKind::StateGrounded { letter: b'G', ground: StateGround::Death }, 26, "4701"),
        (ChangeKind::StateGrounded { letter: b'Z', ground: StateGround::Other }, 26, "5a17"),
        (event(ELicenceEvent::Applied { path: ELicencePath::StoredPhoto }), 27, "0101"),
        (event(ELicenceEvent::UnderReview), 27, "02"),
        (event(ELicenceEvent::Issued), 27, "03"),
        (event(ELicenceEvent::Refused { ground: RefusalGround::PhotoAge }), 27, "0421"),
        (event(ELicenceEvent::PhotoChanged), 27, "05"),
        (event(ELicenceEvent::Superseded), 27, "06"),
        (event(ELicenceEvent::Withdrawn), 27, "07"),
        (event(ELicenceEvent::Reapplied { path }), 27, "0802"),
        (ChangeKind::Erased, 28, ""),
    ] {
        assert_eq!(hex(bytes_of(&[kind])), head(code) + body, "{code}");
    }
}

#[test]
fn every_word_of_the_later_kinds_comes_back() {
    let mut kinds = Vec::new();
    for ground in RefusalGround::ALL {
        kinds.push(ChangeKind::ELicence(ELicenceEvent::Refused { ground: *ground }));
    }
    for path in ELicencePath::ALL {
        kinds.push(ChangeKind::ELicence(ELicenceEvent::Applied { path: *path }));
        kinds.push(ChangeKind::ELicence(ELicenceEvent::Reapplied { path: *path }));
    }
    for ground in StateGround::ALL {
        kinds.push(ChangeKind::StateGrounded { letter: b'D', ground: *ground });
    }
    for class in VehicleClass::ALL {
        kinds.push(ChangeKind::ClassLostByAge { class: *class });
    }
    bytes_of(&kinds);
}

#[test]
fn a_word_nobody_knows_is_refused() {
    for (code, body, fault) in [
        (27, &[9][..], "e-licence event"),
        (27, &[1, 5], "e-licence path"),
        (27, &[4, 34], "refusal"),
        (26, &[b'G', 24], "ground of a state"),
        (26, &[b'g', 1], "state letter"),
        (29, &[], "kind of change"),
        (31, &[], "kind of change"),
    ] {
        assert_eq!(
            read_body(code, 0, &mut Reader(body)),
            Err(DecodeError::Malformed(fault)),
            "{code} {body:?}"
        );
    }
}

#[test]
fn resident_numbers_are_packed_and_others_are_not() {
    for text in ["000000199001010018", "00000019920229001X", "000000200002290010"] {
        let digits = pack(text).unwrap();
        assert_eq!(unpack(digits).unwrap(), text.as_bytes());
    }
    for text in ["00000019900101001", "99999918000101000", "12345621581111999"] {
        let digits = text.parse().unwrap();
        let dated = pack_dated(digits).unwrap();
        assert!(dated < 1 << 48, "{text}");
        assert_eq!(unpack_dated(dated), Some(digits), "{text}");
    }
    for text in ["00000019900230001", "00000017991231001", "00000021581112001"] {
        assert_eq!(pack_dated(text.parse().unwrap()), None, "{text}");
    }
    assert_eq!(unpack_dated((1 << 48) - 1), None, "a region of seven digits");
    assert_eq!(pack("000000199001010013"), None, "wrong check");
    assert_eq!(pack("H12345678"), None);
    assert_eq!(unpack(100_000_000_000_000_000), None, "18 digits");
}

//! What was written comes back, in both versions, and nothing else does.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, Endorsement, FileNumber, FullName, LicenceNumber, NumberRules,
    STOPS_MAX, Stops, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::question::Purpose;
use crate::domain::subject::Position;
use crate::domain::time::Effective;

const SUBJECT: SubjectId = SubjectId::from_bytes([7; 16]);

fn record(changes: Vec<Change>) -> Record {
    Record {
        subject: SUBJECT,
        secret: SubjectSecret::from_bytes([9; 32]),
        history: History::from_changes(changes),
        stops: Stops::default(),
    }
}

fn round_trip(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes).unwrap();
    let back = decode(SUBJECT, &bytes).unwrap();
    assert_eq!(back.history, record.history);
    assert_eq!(back.stops, record.stops);
    // The secret of an erased record is not written any more.
    let secret = if record.history.is_erased() { [0; 32] } else { [9; 32] };
    assert_eq!(back.secret.expose(), &secret);
    bytes
}

fn number(document: DocumentKind, text: &str) -> LicenceNumber {
    LicenceNumber::parse(document, text, NumberRules { accept_test_numbers: true }).unwrap()
}

fn every_kind() -> Vec<ChangeKind> {
    let class = VehicleClass::A1;
    let day = date(2030, 1, 1);
    vec![
        ChangeKind::Issued,
        ChangeKind::NumberSet {
            document: DocumentKind::ResidentId,
            number: number(DocumentKind::ResidentId, "00000019920229001X"),
        },
        ChangeKind::NumberSet {
            document: DocumentKind::Passport,
            number: number(DocumentKind::Passport, "E12345678"),
        },
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
        ChangeKind::DisputeOpened,
        ChangeKind::DisputeSettled,
    ]
}

fn golden() -> Record {
    let start: Timestamp = "2015-03-02T01:30:00Z".parse().unwrap();
    let place = |seq| Position { epoch: 1, partition: 0, seq };
    let born = Effective::On(date(1992, 2, 29));
    let issued = Effective::On(date(2015, 3, 2));
    let kinds = every_kind();
    let change = |effective, recorded_at, seq, kind: usize| Change {
        effective,
        recorded_at,
        position: place(seq),
        kind: kinds[kind].clone(),
    };
    let at: Timestamp = "2026-11-01T00:00:00.5Z".parse().unwrap();
    record(vec![
        change(born, start, 300, 1),
        change(born, start, 300, 3),
        change(born, start, 300, 4),
        change(issued, start, 300, 0),
        change(issued, start, 300, 12),
        change(Effective::At(at), at, 70_000, 17),
    ])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn the_layout_stays_what_it_is() {
    let secret = "09".repeat(32);
    let expected = [
        // version, secret, count
        "02",
        &secret,
        "06",
        // number set: head, flags, position 1/0/300, 1992-02-29, recorded 2015-03-02T01:30Z, dated number
        "c202",
        "0100d804",
        "dd2c",
        "d0d9932e",
        "c1",
        "0000042ef029",
        // name set: as before, 12 bytes of text
        "030c",
        "e6b58be8af95e5b08fe6988e",
        // birth day set: the effective day
        "0400",
        // issued on 2015-03-02
        "81a48301",
        // validity set: six years, until 2030-01-01
        "0c81d654",
        // points set: at an instant with nanoseconds, position 1/0/70000
        "cf03",
        "010088c108",
        "cc42",
        "0480cab5ee01",
        "0480cab5ee01",
        "ff",
    ];
    assert_eq!(hex(&round_trip(&golden())), expected.concat());
}

fn stopped() -> Record {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let mut stops = Stops::default();
    let rental = || "rental-demo".parse().unwrap();
    stops.withdraw(rental(), Purpose::Rental, at("2026-11-22T00:00:00Z")).unwrap();
    stops.object(rental(), Purpose::Rental, at("2026-11-22T00:00:01Z")).unwrap();
    stops.object("x".parse().unwrap(), Purpose::Recruitment, at("2026-11-22T00:00:00Z")).unwrap();
    Record { stops, ..golden() }
}

#[test]
fn stops_stand_behind_the_changes() {
    let without = hex(&round_trip(&golden()));
    let expected = [
        // version 3, then as version 2
        "03",
        &without[2..],
        // two stops: rental-demo, purpose 3, withdrawn in whole minutes and objected to in whole seconds
        "02",
        "0b72656e74616c2d64656d6f",
        "0303",
        "809e9272",
        "8a88c6c035",
        // x, purpose 4, objected to
        "0178",
        "0402",
        "809e9272",
    ];
    let bytes = round_trip(&stopped());
    assert_eq!(hex(&bytes), expected.concat());
    for end in 0..bytes.len() {
        assert!(decode(SUBJECT, &bytes[..end]).is_err(), "{end}");
    }
    let of_none = [&[FORMAT_VERSION], &round_trip(&golden())[1..], &[0]].concat();
    assert_eq!(decode(SUBJECT, &of_none).unwrap_err(), DecodeError::Malformed("number of stops"));
}

#[test]
fn a_record_holds_as_many_stops_as_it_may_and_none_once_it_is_erased() {
    let mut full = golden();
    for number in 0..STOPS_MAX {
        let at = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        full.stops.object(format!("p{number}").parse().unwrap(), Purpose::Rental, at).unwrap();
    }
    round_trip(&full);
    let erased = Change { kind: ChangeKind::Erased, ..golden().history.changes()[0].clone() };
    let erased = Record { stops: full.stops, ..record(vec![erased]) };
    let mut bytes = Vec::new();
    encode(&erased, &mut bytes).unwrap();
    assert!(decode(SUBJECT, &bytes).unwrap().stops.is_empty());
}

#[test]
fn a_record_of_version_1_is_still_read() {
    let secret = "09".repeat(32);
    let written = [
        // version, secret, count
        "01",
        &secret,
        "06",
        // number set: head, position 1/0/300, 1992-02-29, recorded 2015-03-02T01:30Z, packed number
        "42",
        "0100d804",
        "dd2c",
        "e080cfe80a",
        "81",
        "00000004a3569289",
        // name set: as before, 12 bytes of text
        "83000c",
        "e6b58be8af95e5b08fe6988e",
        // birth day set: the effective day
        "840000",
        // issued on 2015-03-02
        "81a48301",
        // validity set: six years, until 2030-01-01
        "8c0081d654",
        // points set: at an instant with nanoseconds, position 1/0/70000
        "6f",
        "010088c108",
        "cc42",
        "0280cab5ee01",
        "0280cab5ee01",
        "ff",
    ];
    let record = decode(SUBJECT, &bytes(&written.concat())).unwrap();
    assert_eq!(record.history, golden().history);
}

#[test]
fn every_kind_comes_back_in_few_bytes() {
    let at: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let changes = every_kind().into_iter().map(|kind| Change {
        effective: Effective::On(date(2026, 11, 1)),
        recorded_at: at,
        position: Position { epoch: 1, partition: 0, seq: 4 },
        kind,
    });
    let bytes = round_trip(&record(changes.collect()));
    assert!(bytes.len() < 160, "{}", bytes.len());
}

#[test]
fn a_newer_format_says_so() {
    let mut bytes = round_trip(&golden());
    bytes[0] = 4;
    assert_eq!(decode(SUBJECT, &bytes).unwrap_err(), DecodeError::NewerVersion(4));
}

#[test]
fn truncations_and_additions_are_refused() {
    let mut bytes = round_trip(&golden());
    for end in 0..bytes.len() {
        assert!(decode(SUBJECT, &bytes[..end]).is_err(), "{end}");
    }
    bytes.push(0);
    assert_eq!(decode(SUBJECT, &bytes).unwrap_err(), DecodeError::TrailingBytes);
}

#[test]
fn an_impossible_count_allocates_nothing() {
    let mut bytes = vec![FORMAT_VERSION];
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(decode(SUBJECT, &bytes).unwrap_err(), DecodeError::Malformed("number of changes"));
}

fn any_day() -> impl Strategy<Value = Date> {
    (1900_i16..2100, 1_i8..=12, 1_i8..=28).prop_map(|(year, month, day)| date(year, month, day))
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000_i32];
    (-2_000_000_000_i64..4_000_000_000, nanoseconds)
        .prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).unwrap())
}

fn any_change() -> impl Strategy<Value = Change> {
    let effective = prop_oneof![any_day().prop_map(Effective::On), any_moment().prop_map(Effective::At)];
    let position = (any::<u32>(), any::<u16>(), any::<u64>()).prop_map(|(epoch, partition, seq)| Position {
        epoch,
        partition,
        seq,
    });
    (effective, any_moment(), position, proptest::sample::select(every_kind())).prop_map(
        |(effective, recorded_at, position, kind)| Change { effective, recorded_at, position, kind },
    )
}

proptest! {
    #[test]
    fn any_history_comes_back(changes in proptest::collection::vec(any_change(), 0..20)) {
        round_trip(&record(changes));
    }

    #[test]
    fn a_history_of_few_occasions_comes_back(
        occasions in proptest::collection::vec(any_change(), 1..4),
        picks in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<usize>(), any::<usize>()), 0..20),
    ) {
        // Times and places are shared in every combination, as real changes share them.
        let pick = |index: usize| &occasions[index % occasions.len()];
        let changes = picks.into_iter().map(|(effective, recorded, position, kind)| Change {
            effective: pick(effective).effective,
            recorded_at: pick(recorded).recorded_at,
            position: pick(position).position,
            kind: pick(kind).kind.clone(),
        });
        round_trip(&record(changes.collect()));
    }

    #[test]
    fn any_history_of_version_1_comes_back(changes in proptest::collection::vec(any_change(), 0..20)) {
        let record = record(changes);
        let back = decode(SUBJECT, &encode_version_1(&record)).unwrap();
        prop_assert_eq!(back.history, record.history);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(SUBJECT, &bytes);
        for version in [FIRST_VERSION, WITHOUT_STOPS, FORMAT_VERSION] {
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = decode(SUBJECT, &bytes);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(
        changes in proptest::collection::vec(any_change(), 1..8),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = round_trip(&record(changes));
        for (index, flip) in flips {
            let index = index % bytes.len();
            bytes[index] ^= flip;
        }
        let _ = decode(SUBJECT, &bytes);
    }
}

//! The bytes of accesses: pinned, canonical, bounded.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    About, Access, AccessEntry, ENTRY_BYTES_MAX, Entry, HiddenHandle, Part, SubjectPseudonym, look_up,
};
use crate::audit::check::ExportLine;
use crate::audit::keys::LogSecret;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

const GOLDEN_LIST: &str = "0103000660d926e7418002010b77616c6c65742d64656d6fa0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2";
const GOLDEN_HOLD_BACK: &str = "0103000660d926e74180060200a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3000660d8dd2a4000000668139690c0000c6f66666963657220343731310c66696c6520323032362d3137";

const ABOUT: About =
    About { nonce: [0xA0; 16], subject: SubjectPseudonym([0xA1; 16]), handle: HiddenHandle([0xA2; 16]) };

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn bytes(entry: &AccessEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn by(partner: &str, access: Access) -> AccessEntry {
    AccessEntry { at: moment("2026-11-22T08:20:37.123456Z"), partner: partner.parse().ok(), access }
}

fn list() -> AccessEntry {
    by("wallet-demo", Access::List { about: ABOUT, part: Part::First })
}

fn hold_back(of: Option<&str>, set_by: &str, ground: &str) -> AccessEntry {
    let access = Access::HoldBackSet {
        about: ABOUT,
        id: [0xA3; 16],
        of: of.map(|id| id.parse().unwrap()),
        from: moment("2026-11-22T08:00:00Z"),
        until: moment("2027-02-22T08:00:00Z"),
        set_by: set_by.into(),
        ground: ground.into(),
    };
    by("", access)
}

#[test]
fn golden_vectors_and_the_specification_shows_them() {
    let specification: String = include_str!("../../../docs/evidence.md").split_whitespace().collect();
    let cases = [(list(), GOLDEN_LIST), (hold_back(None, "officer 4711", "file 2026-17"), GOLDEN_HOLD_BACK)];
    for (entry, golden) in cases {
        assert_eq!(hex(&bytes(&entry)), golden);
        assert!(specification.contains(golden));
        assert_eq!(Entry::decode(&bytes(&entry)), Ok(Entry::Access(entry)));
    }
}

/// Goal: a reader of exported lines sees what was decided, by whom and on what ground, and nothing that names the driver.
#[test]
fn an_exported_line_holds_what_the_entry_holds() {
    let line = |entry: AccessEntry| {
        let (bytes, entry) = (bytes(&entry), Entry::Access(entry));
        serde_json::to_value(ExportLine::of("gw-1-0011223344556677", 3, &bytes, &entry)).unwrap()
    };
    let shown = line(list());
    assert_eq!((&shown["kind"], &shown["partner"]), (&"list-shown".into(), &"wallet-demo".into()));
    assert_eq!((&shown["part"], &shown["subject_pseudonym"]), (&"first".into(), &"a1".repeat(16).into()));
    let held = line(hold_back(None, "officer 4711", "file 2026-17"));
    assert_eq!((&held["kind"], &held["ground"]), (&"hold-back-set".into(), &"file 2026-17".into()));
    assert!(held.get("partner").is_none() && held.get("of").is_none(), "the operator, and police checks");
    for line in [shown, held] {
        assert!(!line.to_string().contains(&"a2".repeat(16)), "the handle stays in the log");
    }
}

#[test]
fn no_access_is_a_look_up() {
    let secret = LogSecret::from_bytes(&[1; 32]);
    for entry in [list(), hold_back(None, "a", "b")] {
        assert_eq!(look_up(0, &bytes(&entry), &secret), Ok(None));
    }
}

/// The operator alone decides about hold-backs, and has no partner's name; everything else is somebody's.
#[test]
fn an_access_by_nobody_and_a_hold_back_by_a_partner_are_refused() {
    let by_nobody = by("", list().access);
    let by_a_partner = by("police", hold_back(None, "a", "b").access);
    for entry in [by_nobody, by_a_partner] {
        assert!(Entry::decode(&bytes(&entry)).is_err());
    }
}

#[test]
fn texts_that_have_no_room_are_refused_and_the_longest_fit() {
    let (setter, ground, partner) = ("s".repeat(64), "g".repeat(120), format!("p{}", "9".repeat(39)));
    let longest = bytes(&hold_back(Some(&partner), &setter, &ground));
    assert!(longest.len() <= ENTRY_BYTES_MAX && Entry::decode(&longest).is_ok());
    for too_long in [hold_back(None, &"s".repeat(65), "g"), hold_back(None, "s", &"g".repeat(121))] {
        assert!(too_long.encode(&mut Vec::new()).is_err());
    }
}

fn any_about() -> impl Strategy<Value = About> {
    (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(nonce, subject, handle)| About {
        nonce,
        subject: SubjectPseudonym(subject),
        handle: HiddenHandle(handle),
    })
}

fn any_partner() -> impl Strategy<Value = PartnerId> {
    "[a-z][a-z0-9-]{0,39}".prop_map(|id| id.parse().unwrap())
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000i64).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

/// Any access but a receipt, with whose it must be.
fn any_access() -> impl Strategy<Value = AccessEntry> {
    let wallets = prop_oneof![
        (any_about(), prop::sample::select(Part::ALL)).prop_map(|(about, part)| Access::List { about, part }),
        (any::<u16>(), prop::sample::select(Part::ALL))
            .prop_map(|(holders, part)| Access::Watch { holders, part }),
        (any_about(), any::<[u8; 16]>()).prop_map(|(about, consent)| Access::Withdrawal { about, consent }),
        (any_about(), any_partner(), prop::sample::select(Purpose::ALL))
            .prop_map(|(about, against, purpose)| Access::Objection { about, against, purpose }),
    ];
    let operators = prop_oneof![
        (
            any_about(),
            any::<[u8; 16]>(),
            prop::option::of(any_partner()),
            (any_moment(), any_moment()),
            ("[a-zé]{0,32}", "[a-z0-9 一-三]{0,40}")
        )
            .prop_map(|(about, id, of, (from, until), (set_by, ground))| {
                Access::HoldBackSet { about, id, of, from, until, set_by, ground }
            }),
        (any_about(), any::<[u8; 16]>(), "[a-z]{0,64}", "[a-z]{0,120}").prop_map(
            |(about, id, lifted_by, ground)| Access::HoldBackLifted { about, id, lifted_by, ground }
        ),
    ];
    let by_wallet = (any_moment(), any_partner(), wallets).prop_map(|(at, partner, access)| AccessEntry {
        at,
        partner: Some(partner),
        access,
    });
    let by_operator =
        (any_moment(), operators).prop_map(|(at, access)| AccessEntry { at, partner: None, access });
    prop_oneof![by_wallet, by_operator]
}

proptest! {
    #[test]
    fn any_access_reads_back_and_no_changed_byte_reads_as_the_same(entry in any_access(), at in any::<prop::sample::Index>()) {
        let bytes = bytes(&entry);
        prop_assert!(bytes.len() <= ENTRY_BYTES_MAX);
        prop_assert_eq!(Entry::decode(&bytes), Ok(Entry::Access(entry.clone())));
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1;
        prop_assert_ne!(Entry::decode(&changed), Ok(Entry::Access(entry)));
        prop_assert!(Entry::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

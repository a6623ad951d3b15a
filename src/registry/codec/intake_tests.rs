use proptest::prelude::*;

use super::*;
use crate::domain::licence::{ChangeKind, VehicleClass};
use crate::domain::time::Effective;

fn waiting(sequence: u64, content: bool, hold: Hold) -> Waiting {
    let recorded_at = "2026-11-01T00:00:00.5Z".parse().unwrap();
    let stated = StatedChange {
        effective: Effective::At(recorded_at),
        recorded_at,
        kind: ChangeKind::ClassAdded { class: VehicleClass::A1 },
    };
    Waiting {
        key: ChangeKey([sequence.to_le_bytes()[0]; 16]),
        digest: ChangeDigest([9; 16]),
        source: FeedName::parse("authority-demo/main").unwrap(),
        id: ChangeId::parse("c-1").unwrap(),
        sequence,
        introduces: content,
        content: content.then_some(stated),
        since: recorded_at,
        hold,
    }
}

fn any_hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        (0_i64..4_000_000_000)
            .prop_map(|seconds| Hold::Until(jiff::Timestamp::from_second(seconds).unwrap())),
        proptest::sample::select(QuarantineReason::ALL).prop_map(Hold::Quarantined),
    ]
}

fn any_waiting() -> impl Strategy<Value = Waiting> {
    (any::<u64>(), any::<bool>(), any_hold())
        .prop_map(|(sequence, content, hold)| waiting(sequence, content, hold))
}

fn any_state() -> impl Strategy<Value = SubjectState> {
    let feed = (any::<u64>(), proptest::collection::vec(any_waiting(), 0..4)).prop_map(|(next, waiting)| {
        FeedState { source: FeedName::parse("authority-demo/main").unwrap(), next, waiting }
    });
    let aside = proptest::collection::vec(any_waiting(), 0..3);
    (any::<bool>(), proptest::collection::vec(feed, 0..3), aside)
        .prop_map(|(dispute_opened, feeds, aside)| SubjectState { dispute_opened, feeds, aside })
}

#[test]
fn a_newer_state_says_so() {
    let mut bytes = Vec::new();
    encode_state(&SubjectState::default(), &mut bytes).unwrap();
    assert_eq!(bytes, [1, 0, 0, 0]);
    bytes[0] = 2;
    assert_eq!(decode_state(&bytes), Err(DecodeError::NewerVersion(2)));
    assert_eq!(
        decode_state(&[1, 0, 0xff, 0xff, 0xff, 0x0f]),
        Err(DecodeError::Malformed("number of changes"))
    );
}

proptest! {
    #[test]
    fn any_state_comes_back_and_no_part_of_it_does(state in any_state()) {
        let mut bytes = Vec::new();
        encode_state(&state, &mut bytes).unwrap();
        prop_assert_eq!(decode_state(&bytes), Ok(state));
        for end in 0..bytes.len() {
            prop_assert!(decode_state(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_state(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = STATE_VERSION;
        }
        let _ = decode_state(&bytes);
    }
}

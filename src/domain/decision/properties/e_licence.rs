//! What happens to an e-licence enters no decision, of a claim least of all: whoever asks whatever.

use super::*;
use crate::domain::elicence::ELicence;
use crate::domain::licence::{ELicenceEvent, ELicencePath, RefusalGround};

fn any_event() -> impl Strategy<Value = ELicenceEvent> {
    prop_oneof![
        (1u8..=4).prop_map(|code| ELicenceEvent::Applied { path: ELicencePath::from_code(code).unwrap() }),
        Just(ELicenceEvent::UnderReview),
        Just(ELicenceEvent::Issued),
        (1u8..=33)
            .prop_map(|code| ELicenceEvent::Refused { ground: RefusalGround::from_code(code).unwrap() }),
        Just(ELicenceEvent::PhotoChanged),
        Just(ELicenceEvent::Superseded),
        Just(ELicenceEvent::Withdrawn),
        (1u8..=4).prop_map(|code| ELicenceEvent::Reapplied { path: ELicencePath::from_code(code).unwrap() }),
    ]
}

proptest! {
    #[test]
    fn an_e_licences_state_enters_no_decision(
        changes in any_changes(), class in any_class(),
        events in proptest::collection::vec((0i64..12, any_event(), 0usize..8), 1..12),
    ) {
        let mut more = changes.clone();
        for (years, event, place) in events {
            more.insert(place.min(more.len()), change(ChangeKind::ELicence(event), years));
        }
        more.sort_by_key(|change| change.recorded_at);
        let mut changes = changes;
        changes.sort_by_key(|change| change.recorded_at);
        for question in questions(class) {
            // Everything at once: decision, criteria, reliance, what a disclosure may draw on, changed since.
            prop_assert_eq!(ask(&question, &more), ask(&question, &changes), "{:?}", question);
        }
    }

    #[test]
    fn a_step_recorded_after_the_moment_changes_nothing_since(event in any_event(), class in any_class()) {
        let question = claim(class, CoverageEdition::Commercial2014);
        let mut more = plain(10);
        more.push(Change { recorded_at: now() - 1.minute(), ..change(ChangeKind::ELicence(event), 0) });
        prop_assert_eq!(ask(&question, &more), ask(&question, &plain(10)));
    }
}

#[test]
fn the_same_histories_give_e_licences_that_differ() {
    let mut more = plain(10);
    more.push(change(ChangeKind::ELicence(ELicenceEvent::Issued), 0));
    let stage = |changes: &[Change]| {
        ELicence::of(&History::from_changes(changes.to_vec()), AsOf::new(now(), now())).stage
    };
    assert_ne!(stage(&more), stage(&plain(10)), "or the properties above would say nothing");
}

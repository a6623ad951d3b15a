//! A large batch comes out as its submissions would have one by one.

use std::sync::Arc;

use super::*;
use crate::domain::licence::DocumentKind;
use crate::registry::RegistryKeys;
use crate::registry::embedded::{EmbeddedRegistry, RegistryOptions};
use crate::registry::generator::Population;
use crate::registry::submission::{NewSubject, Outcome, Rejection};
use crate::registry::suite::{ONE, TWO, change, licensed, more, number, read_of};

fn store() -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
}

fn points(of: &Submission, recorded_at: &str, points: u8) -> Submission {
    let changes = vec![change(recorded_at, ChangeKind::PointsSet { points })];
    Submission { extent: Extent::Continuation, changes, ..of.clone() }
}

/// An outcome without its position.
fn kind(outcome: &Outcome) -> Result<&'static str, Rejection> {
    match outcome {
        Outcome::Created(_) => Ok("created"),
        Outcome::Appended(_) => Ok("appended"),
        Outcome::Unchanged => Ok("unchanged"),
        Outcome::Rejected(rejection) => Err(*rejection),
    }
}

/// A batch of everything that can happen in one, most of it plain.
fn batch(people: &[Submission]) -> Vec<Submission> {
    let mut batch: Vec<_> = people[..200].iter().map(|one| points(one, "2030-01-01T00:00:00Z", 3)).collect();
    // The same people again, later; one of them again with what is then on record.
    batch.extend(people[..20].iter().map(|one| points(one, "2030-02-01T00:00:00Z", 6)));
    batch.push(points(&people[7], "2030-02-01T00:00:00Z", 6));
    // A new number, a change under it, one under the old number, and one under the new number that comes too late.
    let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) };
    let new_number = Submission {
        changes: vec![change("2031-01-01T00:00:00Z", renumbered)],
        ..points(&people[210], "2031-01-01T00:00:00Z", 0)
    };
    batch.push(new_number);
    batch.push(more(ONE, change("2032-01-01T00:00:00Z", ChangeKind::PointsSet { points: 1 })));
    batch.push(points(&people[210], "2033-01-01T00:00:00Z", 2));
    batch.push(more(ONE, change("2032-06-01T00:00:00Z", ChangeKind::PointsCleared)));
    // Refused, and in the same breath taken.
    batch.push(points(&people[211], "1999-01-01T00:00:00Z", 9));
    batch.push(points(&people[211], "2030-01-01T00:00:00Z", 4));
    let unstorable = ChangeKind::StateSet { letter: b'a', original_end: None };
    batch.push(Submission {
        changes: vec![change("2030-01-01T00:00:00Z", unstorable)],
        ..points(&people[212], "2030-01-01T00:00:00Z", 0)
    });
    // Nobody yet; then somebody, then more of him.
    batch.push(points(&people[260], "2030-01-01T00:00:00Z", 5));
    batch.extend(people[260..270].iter().cloned());
    batch.push(points(&people[260], "2030-01-01T00:00:00Z", 5));
    batch.push(licensed(TWO));
    // Whole histories that are on record, with and without something new in this batch.
    batch.extend(people[195..230].iter().cloned());
    batch
}

/// Goal: working a batch out ahead changes nothing but its time.
/// Method: one store takes the batch at once, another one submission by submission; outcomes and histories are the same, and the
/// feed has every change once, without gaps.
#[test]
fn a_large_batch_comes_out_as_one_by_one() {
    let people: Vec<_> = Population::new(11, jiff::civil::date(2025, 1, 1))
        .take(270)
        .map(NewSubject::into_submission)
        .collect();
    let [at_once, one_by_one] = [store(), store()];
    for store in [&at_once, &one_by_one] {
        store.apply(&people[..250]).unwrap();
    }
    let batch = batch(&people);
    let expected: Vec<_> =
        batch.iter().flat_map(|one| one_by_one.apply(std::slice::from_ref(one)).unwrap()).collect();
    let outcomes = at_once.apply(&batch).unwrap();
    assert_eq!(outcomes.iter().map(kind).collect::<Vec<_>>(), expected.iter().map(kind).collect::<Vec<_>>());
    for word in [Ok("created"), Ok("appended"), Ok("unchanged"), Err(Rejection::Unencodable)] {
        assert!(outcomes.iter().any(|outcome| kind(outcome) == word), "{word:?} is tested, too");
    }

    let mut told: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Created(position) | Outcome::Appended(position) => Some(position.seq),
            Outcome::Unchanged | Outcome::Rejected(_) => None,
        })
        .collect();
    told.sort_unstable();
    let fed: Vec<_> = at_once.feed_after(250, 10_000).unwrap().iter().map(|row| row.position.seq).collect();
    assert_eq!(told, fed);
    assert_eq!(fed, (251..=at_once.head().seq).collect::<Vec<_>>());
    assert!(at_once.verify(&mut |_| {}).unwrap().is_sound());
    for one in &people {
        let [here, there] = [&at_once, &one_by_one].map(|store| read_of(store, one).unwrap().record);
        let said = |record: Option<Arc<Record>>| {
            let history = record.map(|record| record.history.clone());
            history.map(|history| {
                let said = |change: &crate::domain::licence::Change| {
                    (change.effective, change.recorded_at, change.kind.clone())
                };
                history.changes().iter().map(said).collect::<Vec<_>>()
            })
        };
        assert_eq!(said(here), said(there));
    }
}

#[test]
fn a_small_batch_is_not_worth_threads() {
    let store = store();
    let batch = vec![licensed(ONE); BATCH_MIN - 1];
    assert!(prepare(&store.shared, &batch, None).is_empty());
    let batch = vec![licensed(ONE); BATCH_MIN];
    assert!(prepare(&store.shared, &batch, None).iter().all(Option::is_none), "nobody has the number");
}

/// A sealed record that cannot be opened is refused in the ordinary way, and costs the others nothing.
#[test]
fn damage_is_told_by_the_ordinary_way() {
    let store = store();
    let people: Vec<_> = Population::new(12, jiff::civil::date(2025, 1, 1))
        .take(150)
        .map(NewSubject::into_submission)
        .collect();
    store.apply(&people).unwrap();
    let lost = read_of(&store, &people[3]).unwrap().record.unwrap().subject;
    let transaction = store.shared.database.begin_write().unwrap();
    transaction.open_table(RECORDS).unwrap().insert(lost.as_bytes(), &b"lost"[..]).unwrap();
    transaction.commit().unwrap();
    let batch: Vec<_> = people.iter().map(|one| points(one, "2030-01-01T00:00:00Z", 3)).collect();
    let outcomes = store.apply(&batch).unwrap();
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = if index == 3 { Err(Rejection::RecordUnreadable) } else { Ok("appended") };
        assert_eq!(kind(outcome), expected, "{index}");
    }
}

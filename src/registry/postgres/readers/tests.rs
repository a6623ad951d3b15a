//! Alone or together, a look-up gets its own answer, and whoever leaves spoils nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::domain::licence::{ChangeKind, DocumentKind};
use crate::domain::subject::{Position, SubjectId};
use crate::registry::generator::Population;
use crate::registry::postgres::{PostgresOptions, PostgresRegistry, testing};
use crate::registry::store::wait;
use crate::registry::suite::{ONE, TWO, apply, change, licensed, more, number, read};
use crate::registry::{NewSubject, RegistryKeys};
use crate::verification::ports::{Pseudonyms as _, RecordSource as _};

/// A store with one connection for look-ups.
fn store() -> PostgresRegistry {
    let options = PostgresOptions {
        readers: 1,
        read_time_max: Duration::from_secs(20),
        ..PostgresOptions::new(testing::shared().database())
    };
    PostgresRegistry::open_alone(options, Arc::new(RegistryKeys::ephemeral().unwrap())).unwrap()
}

fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come true in 20 s");
}

/// What an answer says that two readings of the same head must agree in.
fn told(answer: Answer) -> Result<(Option<SubjectId>, Position), LookUpError> {
    answer.map(|reading| (reading.record.map(|record| record.subject), reading.position))
}

/// Goal: look-ups that waited together are answered in one round trip as each would have been alone.
/// Method: the only connection is taken away, so that all of them wait; then it is given back. Among them: a number that lies in
/// another partition than its subject, numbers nobody has, and a record that cannot be opened.
#[test]
fn look_ups_that_wait_go_together_and_each_gets_its_own_answer() {
    let store = store();
    let desk = &store.primary.desk;
    let people: Vec<_> =
        Population::new(5, jiff::civil::date(2025, 1, 1)).take(40).map(NewSubject::into_submission).collect();
    apply(&store, &people);
    apply(&store, &[licensed(ONE)]);
    let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    apply(&store, &[more(ONE, change("2020-01-01T00:00:00Z", renumbered))]);
    let damaged = read(&store, ONE).unwrap().record.unwrap().subject;
    let damage = "UPDATE record SET sealed = (SELECT sealed FROM record WHERE subject <> $1 LIMIT 1) WHERE subject = $1";

    let mut numbers: Vec<_> = people.iter().map(|one| (one.document, one.number.clone())).collect();
    numbers.extend([ONE, TWO].map(|text| (DocumentKind::ResidentId, number(text))));
    let mut pseudonyms: Vec<_> = {
        use crate::registry::store::LicenceStore as _;
        numbers.iter().map(|(document, number)| store.keys().pseudonym(*document, number)).collect()
    };
    pseudonyms.extend((0..6).map(|byte| NumberPseudonym::from_bytes([byte; 16])));
    for round in 0..2 {
        let alone: Vec<_> = pseudonyms.iter().map(|one| told(wait(store.read(*one)))).collect();
        eventually(|| desk.lock().idle.len() == 1);
        let line = desk.lock().idle.pop().unwrap();
        let asked: Vec<_> =
            pseudonyms.iter().map(|one| store.runtime.spawn(store.primary.read(*one))).collect();
        eventually(|| desk.lock().waiting.len() == pseudonyms.len());
        desk.give_back(line);
        let together: Vec<_> =
            asked.into_iter().map(|one| told(store.runtime.block_on(one).unwrap())).collect();
        assert_eq!(together, alone);
        let lost = together.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(lost, 2 * round, "the damaged record, by both its numbers");
        eventually(|| desk.lock().idle.len() == 1);
        let homes: BTreeSet<_> = pseudonyms.iter().map(|one| store.shared.layout.home(one)).collect();
        assert_eq!(
            desk.lock().idle[0].named.len(),
            homes.len(),
            "they went by name, over the same connection"
        );
        let damaging = sqlx::query(damage).bind(damaged.as_bytes().to_vec());
        store.runtime.block_on(damaging.execute(&store.shared.writers)).unwrap();
    }
}

#[test]
fn a_lone_look_up_is_asked_on_its_callers_task() {
    let store = store();
    let desk = &store.primary.desk;
    apply(&store, &[licensed(ONE)]);
    eventually(|| desk.lock().idle.len() == 1);
    for _ in 0..3 {
        assert!(read(&store, ONE).unwrap().record.is_some());
        let state = desk.lock();
        assert!(state.idle[0].connection.is_some() && state.idle[0].named.is_empty());
    }
}

/// Goal: a caller that leaves while the server works leaves no answer behind for the next one.
#[test]
fn who_leaves_in_the_middle_spoils_no_connection() {
    let store = store();
    let desk = &store.primary.desk;
    apply(&store, &[licensed(ONE), licensed(TWO)]);
    assert!(read(&store, ONE).unwrap().record.is_some());
    let held = store.runtime.block_on(async {
        let mut held = store.shared.writers.begin().await.unwrap();
        sqlx::query("LOCK TABLE record").execute(&mut *held).await.unwrap();
        held
    });
    let pseudonym = {
        use crate::registry::store::LicenceStore as _;
        store.keys().pseudonym(DocumentKind::ResidentId, &number(ONE))
    };
    let asked = store.runtime.spawn(store.primary.read(pseudonym));
    eventually(|| desk.lock().idle.is_empty());
    asked.abort();
    eventually(|| desk.lock().idle.first().is_some_and(|line| line.connection.is_none()));
    store.runtime.block_on(held.rollback()).unwrap();
    let one = read(&store, ONE).unwrap().record.unwrap().subject;
    let two = read(&store, TWO).unwrap().record.unwrap().subject;
    assert_ne!(one, two);
}

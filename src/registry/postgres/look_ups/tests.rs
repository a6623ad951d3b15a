//! What the index on PostgreSQL must do beyond the suite: stay whole when the server is killed, and work for several replicas.

use std::sync::Arc;

use crate::evidence::ports::{LookUpIndex, SubjectHandle};
use crate::registry::look_ups_suite::{look_up, take_in};
use crate::registry::postgres::testing::{self, Server};
use crate::registry::store::wait;
use crate::registry::{PostgresRegistry, RegistryKeys};

fn open(url: &str, keys: &Arc<RegistryKeys>) -> PostgresRegistry {
    let options = super::super::PostgresOptions {
        partitions: 4,
        readers: 1,
        ..super::super::PostgresOptions::new(url)
    };
    PostgresRegistry::open_alone(options, Arc::clone(keys)).unwrap()
}

fn fresh() -> PostgresRegistry {
    open(&testing::shared().database(), &Arc::new(RegistryKeys::ephemeral().unwrap()))
}

crate::registry::look_ups_suite::look_ups_suite! { fresh() }
crate::registry::secrets_suite::secrets_suite! { fresh() }

/// Goal: rows and cursor agree after a crash, whatever it took back.
/// Method: the server is killed right after batches whose commits waited for no disk; what is left is fed on.
#[test]
fn a_killed_server_keeps_rows_and_cursor_together() {
    let (mut server, keys) = (Server::start(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = open(&server.database(), &keys);
    for index in 0..200 {
        assert_eq!(take_in(&store, "log", index, index + 1, vec![look_up(index, 7)]), index + 1);
    }
    server.kill();
    server.start_again();
    let cursor = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        wait(store.cursor("log")).ok()
    });
    let cursor = cursor.expect("the server is back");
    let found = wait(store.by_subject(SubjectHandle([7; 16]), None, 1_000)).unwrap();
    assert_eq!(found.len() as u64, cursor);
    let rest = (cursor..200).map(|index| look_up(index, 7)).collect();
    assert_eq!(take_in(&store, "log", cursor, 200, rest), 200);
    assert_eq!(wait(store.by_subject(SubjectHandle([7; 16]), None, 1_000)).unwrap().len(), 200);
}

/// Goal: a forgetting that was broken off leaves nothing that is found, and the next one clears it away.
#[test]
fn what_a_broken_off_forgetting_left_is_swept_by_the_next() {
    let store = fresh();
    take_in(&store, "old", 0, 3, (0..3).map(|index| look_up(index, 1)).collect());
    take_in(&store, "new", 0, 2, (0..2).map(|index| look_up(index, 1)).collect());
    let run = |statement: &'static str| {
        store.runtime.block_on(sqlx::query(statement).execute(&store.shared.writers)).unwrap();
    };
    let count = |statement: &'static str| -> i64 {
        store.runtime.block_on(sqlx::query_scalar(statement).fetch_one(&store.shared.writers)).unwrap()
    };
    run("UPDATE look_up_log SET origin = NULL WHERE origin = 'old'");
    assert_eq!(wait(store.by_subject(SubjectHandle([1; 16]), None, 10)).unwrap().len(), 2);
    wait(store.forget("another")).unwrap();
    assert_eq!(count("SELECT count(*) FROM look_up"), 2);
    assert_eq!(count("SELECT count(*) FROM look_up_log"), 1);
}

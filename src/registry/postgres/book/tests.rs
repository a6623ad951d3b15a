//! What the book on PostgreSQL must do beyond the suite: one use is one use for several replicas, whatever is killed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::app::SystemClock;
use crate::domain::time::Clock as _;
use crate::registry::book_suite::{Store as _, qr, redeem, redemption};
use crate::registry::postgres::PostgresOptions;
use crate::registry::postgres::testing::{self, Server};
use crate::registry::store::wait;
use crate::registry::{PostgresRegistry, RegistryKeys};
use crate::verification::ports::{Redeemed, Redemption, Redemptions as _};

fn open(url: &str, keys: &Arc<RegistryKeys>) -> PostgresRegistry {
    let options = PostgresOptions { partitions: 4, readers: 1, ..PostgresOptions::new(url) };
    PostgresRegistry::open_alone(options, Arc::clone(keys)).unwrap()
}

fn fresh() -> PostgresRegistry {
    open(&testing::shared().database(), &Arc::new(RegistryKeys::ephemeral().unwrap()))
}

impl crate::registry::book_suite::Store for PostgresRegistry {
    fn sweep_now(&self, now: jiff::Timestamp) {
        self.runtime.block_on(self.shared.sweep(now)).unwrap();
    }
}

crate::registry::book_suite::book_suite! { fresh() }

/// Goal: a replica whose clock is a day ahead takes away no use of a code that is live by the server's.
#[test]
fn a_clock_that_runs_ahead_sweeps_nothing_that_is_live() {
    let store = fresh();
    let at = |seconds| SystemClock.now() + jiff::SignedDuration::from_secs(seconds);
    let asked = Redemption {
        issued_at: at(0),
        expires_at: at(60),
        at: at(1),
        ..redemption(qr(1), "rental-demo", "r-1")
    };
    assert_eq!(redeem(&store, &asked), Redeemed::Now { use_number: 1 });
    store.sweep_now(at(86_400));
    let again = Redemption { request_id: "r-2".to_owned(), ..asked };
    assert_eq!(redeem(&store, &again), Redeemed::Used);
}

/// Goal: no use is ever answered to two requests, whatever is killed meanwhile, and what a request was told it is told again.
/// Method: three replicas, each with a pool of its own, and eight clients on each race for the same QR codes, every client with a
/// request id of its own; meanwhile replicas are killed, whatever they have under way, and opened again, and so is the server.
/// A client whose answer is lost asks again with the same id.
#[test]
fn three_replicas_and_a_killed_server_spend_nothing_twice() {
    const CODES: u64 = 120;
    let (mut server, keys) = (Server::start(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let url = server.database();
    let replicas: Vec<_> = (0..3).map(|_| Mutex::new(Arc::new(open(&url, &keys)))).collect();
    let winners = Mutex::new(HashMap::<u64, Vec<String>>::new());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (place, replica) in replicas.iter().enumerate() {
            for client in 0..8 {
                let (winners, done) = (&winners, &done);
                scope.spawn(move || {
                    let request = format!("r-{place}-{client}");
                    for number in 0..CODES {
                        let asked = redemption(qr(number), "rental-demo", &request);
                        let told = loop {
                            let store = Arc::clone(&replica.lock().unwrap());
                            match wait(store.redeem(asked.clone())) {
                                Ok(told) => break told,
                                Err(_away) => std::thread::sleep(Duration::from_millis(5)),
                            }
                        };
                        match told {
                            Redeemed::Now { use_number: 1 } | Redeemed::Before { use_number: 1, .. } => {
                                winners.lock().unwrap().entry(number).or_default().push(request.clone());
                            }
                            Redeemed::Used => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        }
        for round in 0.. {
            if done.load(Ordering::SeqCst) == 24 {
                break;
            }
            std::thread::sleep(Duration::from_millis(60));
            match round {
                2 => {
                    server.kill();
                    server.start_again();
                }
                0..6 => {
                    // What the old one has under way ends wherever it is.
                    let old = Arc::clone(&replicas[round % 3].lock().unwrap());
                    for task in old.tasks.lock().unwrap().drain(..) {
                        task.abort();
                    }
                    if let Ok(again) = PostgresRegistry::open_alone(
                        PostgresOptions { partitions: 4, readers: 1, ..PostgresOptions::new(&url) },
                        Arc::clone(&keys),
                    ) {
                        *replicas[round % 3].lock().unwrap() = Arc::new(again);
                    }
                }
                _ => {}
            }
        }
    });
    let winners = winners.into_inner().unwrap();
    assert_eq!(winners.len() as u64, CODES, "every code was spent");
    assert!(winners.values().all(|requests| requests.len() == 1), "{winners:?}");
    let store = open(&url, &keys);
    for (number, requests) in &winners {
        let again = redeem(&store, &redemption(qr(*number), "rental-demo", &requests[0]));
        assert!(matches!(again, Redeemed::Before { use_number: 1, .. }), "{again:?}");
    }
}

#[test]
fn after_a_restore_the_operator_can_end_what_was_issued_before() {
    let store = fresh();
    let asked = redemption(qr(1), "rental-demo", "r-1");
    let run = |statement: &'static str| {
        store.runtime.block_on(sqlx::query(statement).execute(&store.shared.writers)).unwrap();
    };
    // A second after it was issued.
    run("UPDATE registry SET revoked_until_us = 1767225601000000");
    assert_eq!(redeem(&store, &asked), Redeemed::Revoked);
    run("UPDATE registry SET revoked_until_us = 1767225599000000");
    assert_eq!(redeem(&store, &asked), Redeemed::Now { use_number: 1 });
    run("UPDATE registry SET revoked_until_us = 1767225601000000");
    assert!(matches!(redeem(&store, &asked), Redeemed::Before { .. }), "whoever has it keeps it");
}

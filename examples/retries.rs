//! What keeping answers for retries costs a request with an id, in process: taken up as new and kept, and given again.
//!
//! ```text
//! cargo run --profile dist --example retries
//! ```
//!
//! Prints the median and the spread of batches, so that a machine that does something else shows.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement for people to read"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use drivegate::app::SystemClock;
use drivegate::audit::keys::LogSecret;
use drivegate::domain::decision::{Advice, Criterion, CriterionKind, Decision, Ruling};
use drivegate::domain::disclosure::Disclosure;
use drivegate::domain::partner::PartnerId;
use drivegate::domain::subject::{NumberPseudonym, Position};
use drivegate::domain::time::Clock as _;
use drivegate::retries::{KeptAnswers, RetryOptions, Unobserved};
use drivegate::verification::ports::{
    Answer, Confirmed, Deadline, EntryAt, FactSource, QuestionDigest, Retries as _, RetryKey, Soon,
    SubjectRef, TakenUp,
};
use jiff::Timestamp;

const BATCHES: usize = 100;
const REQUESTS_PER_BATCH: usize = 2_000;

fn main() {
    let kept = KeptAnswers::new(
        RetryOptions::default(),
        Arc::new(LogSecret::from_bytes(&[7; 32])),
        None,
        Arc::new(SystemClock),
        Arc::new(Unobserved),
    )
    .expect("randomness");
    let partner: PartnerId = "rental-demo".parse().expect("an id");
    let answer = answer();
    let deadline = Deadline { since_boot: SystemClock.since_boot() + Duration::from_secs(3_600) };
    let mut fresh = (0..).map(|number: u64| format!("0192f0c1-7a1e-7b6c-9c51-{number:012x}"));
    measure(
        "new id, answered and kept",
        |ids| {
            for id in ids {
                match kept.take_up(key(&partner, id), deadline) {
                    Soon::Now(TakenUp::First(retry)) => retry.answered(&answer),
                    _ => unreachable_result(),
                }
            }
        },
        || fresh.by_ref().take(REQUESTS_PER_BATCH).collect(),
    );
    let known: Vec<String> = fresh.by_ref().take(REQUESTS_PER_BATCH).collect();
    for id in &known {
        if let Soon::Now(TakenUp::First(retry)) = kept.take_up(key(&partner, id), deadline) {
            retry.answered(&answer);
        }
    }
    measure(
        "kept answer, given again",
        |ids| {
            for id in ids {
                match kept.take_up(key(&partner, id), deadline) {
                    Soon::Now(TakenUp::Answered(_)) => {}
                    _ => unreachable_result(),
                }
            }
        },
        || known.clone(),
    );
    println!("held: {:?}", kept.held());
}

/// Ends the measurement: what it measures did not happen.
fn unreachable_result() {
    panic!("the request was not taken up as it should be");
}

fn key<'a>(partner: &'a PartnerId, id: &'a str) -> RetryKey<'a> {
    RetryKey {
        partner,
        id,
        content: QuestionDigest([1; 16]),
        question: QuestionDigest([2; 16]),
        case_reference: "CASE-1",
        observed_since: None,
    }
}

fn measure(what: &str, run: impl Fn(&[String]), mut ids: impl FnMut() -> Vec<String>) {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let ids = ids();
            let begun = Instant::now();
            run(&ids);
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(ids.len()).unwrap_or(1))
        })
        .collect();
    batches.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| batches[(BATCHES - 1) * share / 100];
    println!("{what}: median {:.0} ns, 5 % {:.0}, 95 % {:.0}", at(50), at(5), at(95));
}

/// An answer such as a rental desk is given.
fn answer() -> Answer {
    let now = Timestamp::from_second(1_800_000_000).expect("a moment");
    let criteria =
        [CriterionKind::Subject, CriterionKind::Licence, CriterionKind::Class, CriterionKind::Period];
    Answer {
        leaves_by: None,
        ruling: Ruling {
            decision: Decision::Qualified,
            criteria: criteria.into_iter().map(Criterion::met).collect(),
            not_covered: Vec::new().into(),
            reliance_until: Some(now),
            advice: Advice::Nothing,
            remedies: Vec::new(),
        },
        disclosure: Disclosure::nothing(),
        confirmed: Some(Confirmed {
            subject_ref: SubjectRef([1; 16]),
            position: Position { epoch: 1, partition: 2, seq: 3 },
            source: FactSource::InProcess,
            changed_since: None,
        }),
        authorised_by: drivegate::domain::policy::AuthorisedBy::Asserted,
        observed_at: now,
        known_at: now,
        entry: EntryAt { origin: "gw1.example-0123456789abcdef".into(), index: 7 },
        charged: true,
        replayed: false,
        number: NumberPseudonym::from_bytes([9; 16]),
    }
}

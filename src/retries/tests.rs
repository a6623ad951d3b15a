//! What a retry meets, with a clock that stands still until told.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::codec::tests::{full, unconfirmed};
use super::*;
use crate::audit::keys::LogSecret;
use crate::domain::partner::PartnerId;
use crate::domain::time::Clock;
use crate::verification::ports::{
    Answer, Deadline, EntryAt, Later, NotShared, QuestionDigest, Recalled, RequestDigests as _, RequestName,
    Retries as _, Retry, RetryKey, SharedNotes, TakenUp,
};

struct FakeClock(Mutex<Duration>);

impl FakeClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        "2026-03-01T04:00:00Z".parse::<Timestamp>().unwrap() + *self.0.lock().unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(100) + *self.0.lock().unwrap()
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<&'static str>>);

impl Heard {
    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|heard| **heard == what).count()
    }
}

impl RetryObserver for Heard {
    fn taken_up(&self, _as_what: TakeUp) {}

    fn twin_waits(&self) {
        self.0.lock().unwrap().push("twin");
    }

    fn others_not_asked(&self) {
        self.0.lock().unwrap().push("unshared");
    }

    fn unreadable(&self) {
        panic!("what was kept must be readable");
    }
}

/// What replicas share, in memory; it can be away.
#[derive(Default)]
struct Board {
    notes: Mutex<HashMap<String, Vec<u8>>>,
    away: AtomicBool,
    silent: AtomicBool,
}

impl Board {
    fn set(switch: &AtomicBool, to: bool) {
        switch.store(to, std::sync::atomic::Ordering::SeqCst);
    }
}

fn board_name(name: RequestName<'_>) -> String {
    format!("{}/{}", name.partner, name.id)
}

impl SharedNotes for Board {
    fn is_asked(&self) -> bool {
        !self.away.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn leave_or_read<'a>(
        &'a self,
        name: RequestName<'a>,
        note: &[u8],
        _kept_for: Duration,
        _deadline: Deadline,
    ) -> Later<'a, Result<Option<Vec<u8>>, NotShared>> {
        let note = note.to_vec();
        Box::pin(async move {
            if self.silent.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(NotShared);
            }
            let mut notes = self.notes.lock().unwrap();
            let there = notes.get(&board_name(name)).cloned();
            notes.entry(board_name(name)).or_insert(note);
            Ok(there)
        })
    }

    fn replace(&self, name: RequestName<'_>, note: &[u8], _kept_for: Duration) {
        self.notes.lock().unwrap().insert(board_name(name), note.to_vec());
    }

    fn take_away(&self, name: RequestName<'_>) {
        self.notes.lock().unwrap().remove(&board_name(name));
    }
}

/// One replica's kept answers.
struct House {
    kept: Arc<KeptAnswers>,
    clock: Arc<FakeClock>,
    heard: Arc<Heard>,
    partner: PartnerId,
}

fn house(options: RetryOptions) -> House {
    replica(options, None, Arc::new(FakeClock(Mutex::default())))
}

fn replica(options: RetryOptions, board: Option<&Arc<Board>>, clock: Arc<FakeClock>) -> House {
    let heard = Arc::new(Heard::default());
    let kept = KeptAnswers::new(
        options,
        Arc::new(secret()),
        board.map(|board| Arc::clone(board) as _),
        Arc::clone(&clock) as _,
        Arc::clone(&heard) as _,
    );
    House { kept: Arc::new(kept.unwrap()), clock, heard, partner: "rental-demo".parse().unwrap() }
}

fn secret() -> LogSecret {
    LogSecret::from_bytes(&[1; 32])
}

const CONTENT: QuestionDigest = QuestionDigest([7; 16]);
const QUESTION: QuestionDigest = QuestionDigest([8; 16]);
const CASE: &str = "CASE-1";

impl House {
    fn key<'a>(&'a self, id: &'a str) -> RetryKey<'a> {
        RetryKey {
            partner: &self.partner,
            id,
            content: CONTENT,
            question: QUESTION,
            case_reference: CASE,
            observed_since: None,
        }
    }

    fn soon(&self) -> Deadline {
        Deadline { since_boot: self.clock.since_boot() + Duration::from_secs(2) }
    }

    async fn take_up(&self, key: RetryKey<'_>) -> TakenUp {
        self.kept.take_up(key, self.soon()).wait().await
    }

    async fn ask(&self, id: &str) -> TakenUp {
        self.take_up(self.key(id)).await
    }

    async fn first(&self, id: &str) -> Box<dyn Retry> {
        match self.ask(id).await {
            TakenUp::First(retry) => retry,
            other => panic!("{id}: {}", told(&other)),
        }
    }

    async fn answer(&self, id: &str, index: u64) {
        self.first(id).await.answered(&answer_at(index));
    }

    async fn told(&self, id: &str) -> String {
        told(&self.ask(id).await)
    }
}

fn answer_at(index: u64) -> Answer {
    Answer { entry: EntryAt { origin: "gw-1-00".into(), index }, ..full() }
}

fn told(taken: &TakenUp) -> String {
    match taken {
        TakenUp::First(_) => "first".to_owned(),
        TakenUp::Answered(answer) => format!("answered {}", answer.entry.index),
        TakenUp::Recorded { place, about, .. } => {
            format!("recorded {}{}", place.index, if about.is_some() { ", told by the log" } else { "" })
        }
        TakenUp::Spent(place) => format!("spent {}", place.index),
        TakenUp::OtherContent => "other content".to_owned(),
        TakenUp::Late => "late".to_owned(),
    }
}

#[tokio::test]
async fn an_answer_is_given_again_for_ten_minutes_then_its_place_for_a_day() {
    let house = house(RetryOptions::default());
    house.answer("request-1", 5).await;
    assert_eq!(house.told("request-1").await, "answered 5");
    let TakenUp::Answered(answer) = house.ask("request-1").await else { panic!("it is kept") };
    assert_eq!(format!("{answer:?}"), format!("{:?}", answer_at(5)));

    house.clock.advance(Duration::from_secs(599));
    assert_eq!(house.told("request-1").await, "answered 5");
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.told("request-1").await, "spent 5");
    house.clock.advance(Duration::from_hours(24) - Duration::from_secs(601));
    assert_eq!(house.told("request-1").await, "spent 5");
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.told("request-1").await, "first");
    assert_eq!(house.kept.held(), Held { bytes: 0, twins_waiting: 0 });
}

#[tokio::test]
async fn an_id_belongs_to_its_partner_and_to_its_content() {
    let house = house(RetryOptions::default());
    let other: PartnerId = "insurer-demo".parse().unwrap();
    house.answer("request-1", 5).await;
    let elsewhere = RetryKey { partner: &other, ..house.key("request-1") };
    assert_eq!(told(&house.take_up(elsewhere).await), "first");
    let changed = RetryKey { content: QuestionDigest([9; 16]), ..house.key("request-1") };
    assert_eq!(told(&house.take_up(changed).await), "other content");
    let _under_way = house.first("request-2").await;
    let changed = RetryKey { content: QuestionDigest([9; 16]), ..house.key("request-2") };
    assert_eq!(told(&house.take_up(changed).await), "other content", "under way");
    house.clock.advance(Duration::from_mins(10));
    let changed = RetryKey { content: QuestionDigest([9; 16]), ..house.key("request-1") };
    assert_eq!(told(&house.take_up(changed).await), "spent 5", "whatever it is");
}

/// The new answer takes the old one's place, and the id stays as old as its first answer.
#[tokio::test]
async fn an_answer_too_old_for_the_retry_is_answered_anew_within_the_same_ten_minutes() {
    let house = house(RetryOptions::default());
    house.answer("request-1", 5).await;
    house.clock.advance(Duration::from_mins(9));
    let observed = full().observed_at;
    let accepted = RetryKey { observed_since: Some(observed), ..house.key("request-1") };
    assert_eq!(told(&house.take_up(accepted).await), "answered 5");
    let later = Timestamp::from_nanosecond(observed.as_nanosecond() + 1).unwrap();
    let demanding = RetryKey { observed_since: Some(later), ..house.key("request-1") };
    let TakenUp::Recorded { place, about: None, retry } = house.take_up(demanding).await else {
        panic!("too old")
    };
    assert_eq!(place.index, 5);
    retry.answered(&answer_at(6));
    assert_eq!(house.told("request-1").await, "answered 6");
    house.clock.advance(Duration::from_mins(1));
    assert_eq!(house.told("request-1").await, "spent 6");
}

#[tokio::test]
async fn a_twin_waits_for_the_answer_or_takes_over_or_is_late() {
    let house = house(RetryOptions::default());
    let first = house.first("request-1").await;
    let ((), twins) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(house.kept.held().twins_waiting, 2);
            first.answered(&answer_at(5));
        },
        async { tokio::join!(house.told("request-1"), house.told("request-1")) },
    );
    assert_eq!(twins, ("answered 5".to_owned(), "answered 5".to_owned()));
    assert_eq!((house.kept.held().twins_waiting, house.heard.count("twin")), (0, 2));

    let first = house.first("request-2").await;
    let ((), twin) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(first);
        },
        house.told("request-2"),
    );
    assert_eq!(twin, "first", "refused or gone: the next one's turn");

    let _first = house.first("request-3").await;
    let hurried = Deadline { since_boot: house.clock.since_boot() + Duration::from_millis(20) };
    let late = house.kept.take_up(house.key("request-3"), hurried).wait().await;
    assert_eq!(told(&late), "late");
    assert_eq!(house.kept.held().twins_waiting, 0);
}

/// Of many twins that take over one after the other, one at a time has the request.
#[tokio::test]
async fn twins_take_over_one_at_a_time() {
    let house = Arc::new(house(RetryOptions::default()));
    let first = house.first("request-1").await;
    let answered = Arc::new(Mutex::new(0));
    let twins: Vec<_> = (0..20)
        .map(|number| {
            let (house, answered) = (Arc::clone(&house), Arc::clone(&answered));
            tokio::spawn(async move {
                match house.ask("request-1").await {
                    TakenUp::First(retry) if number < 10 => drop(retry),
                    TakenUp::First(retry) => {
                        *answered.lock().unwrap() += 1;
                        retry.answered(&answer_at(5));
                    }
                    taken => assert_eq!(told(&taken), "answered 5"),
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(first);
    for twin in twins {
        twin.await.unwrap();
    }
    assert_eq!(*answered.lock().unwrap(), 1);
}

/// A partner that has too much loses its oldest answers, then its oldest ids; another partner loses nothing.
#[tokio::test]
async fn a_flood_pushes_out_its_own() {
    let options = RetryOptions { partner_bytes_max: 20_000, bytes_max: 30_000, ..RetryOptions::default() };
    let house = house(options);
    let quiet = House { partner: "insurer-demo".parse().unwrap(), ..replica_of(&house) };
    for index in 0..20 {
        quiet.answer(&format!("quiet-{index}"), index).await;
    }
    for index in 0..1_000 {
        house.answer(&format!("flood-{index}"), index).await;
        assert!(house.kept.held().bytes <= options.bytes_max, "{index}: {:?}", house.kept.held());
    }
    for index in 0..20 {
        assert_eq!(quiet.told(&format!("quiet-{index}")).await, format!("answered {index}"));
    }
    assert_eq!(house.told("flood-0").await, "first", "forgotten");
    let kept = kept_of(&house, 1_000).await;
    assert_eq!(kept.last(), Some(&"answered 999".to_owned()), "the newest are there");
    assert!(kept.iter().any(|told| told.starts_with("recorded")), "then where they stand: {kept:?}");

    // A third one pushes out neither: the largest pays.
    let third = House { partner: "transport-demo".parse().unwrap(), ..replica_of(&house) };
    for index in 0..20 {
        third.answer(&format!("third-{index}"), index).await;
    }
    assert_eq!(quiet.told("quiet-0").await, "answered 0");
    assert_eq!(third.told("third-0").await, "answered 0");
    assert!(house.kept.held().bytes <= options.bytes_max);

    house.kept.retain(|partner| *partner == third.partner);
    assert_eq!(quiet.told("quiet-0").await, "first", "no longer listed");
    assert_eq!(third.told("third-0").await, "answered 0");
}

fn replica_of(house: &House) -> House {
    House {
        kept: Arc::clone(&house.kept),
        clock: Arc::clone(&house.clock),
        heard: Arc::clone(&house.heard),
        partner: house.partner.clone(),
    }
}

async fn kept_of(house: &House, count: u64) -> Vec<String> {
    let mut kept = Vec::new();
    for index in 0..count {
        kept.push(house.told(&format!("flood-{index}")).await);
    }
    kept
}

/// Goal: an answer that never left is given to nobody, here or elsewhere, and where it stands is not forgotten.
#[tokio::test]
async fn an_answer_that_never_left_is_let_go_of_and_its_place_is_not() {
    let (board, clock) = (Arc::new(Board::default()), Arc::new(FakeClock(Mutex::default())));
    let [one, other] =
        std::array::from_fn(|_| replica(RetryOptions::default(), Some(&board), Arc::clone(&clock)));
    one.answer("request-1", 5).await;
    one.answer("request-2", 6).await;
    let held = one.kept.held().bytes;
    one.kept.let_go(&one.partner, "request-1", &answer_at(4).entry);
    assert_eq!(one.told("request-1").await, "answered 5", "another answer did not leave");

    one.kept.let_go(&one.partner, "request-1", &answer_at(5).entry);
    assert!(one.kept.held().bytes < held);
    let TakenUp::Recorded { place, about: None, retry } = one.ask("request-1").await else {
        panic!("it is known to be on record")
    };
    assert_eq!(place.index, 5);
    drop(other.first("request-1").await);
    retry.answered(&answer_at(7));
    assert_eq!(one.told("request-1").await, "answered 7");
    assert_eq!(one.told("request-2").await, "answered 6", "another request");

    clock.advance(Duration::from_hours(24));
    assert_eq!(one.told("request-1").await, "first");
    assert_eq!(one.kept.held(), Held { bytes: 0, twins_waiting: 0 });
}

fn recalled(house: &House, id: &str, age: Duration, index: u64) -> Recalled {
    Recalled {
        at: house.clock.now() - age,
        partner: house.partner.clone(),
        request: secret().request(&house.partner, id),
        question: QUESTION,
        case: secret().case(&house.partner, CASE),
        about: [3; 16],
        place: EntryAt { origin: "gw-1-00".into(), index },
    }
}

#[tokio::test]
async fn what_the_log_tells_is_answered_anew_once_and_spent_after_ten_minutes() {
    let house = house(RetryOptions::default());
    let recall = |id, minutes, index| recalled(&house, id, Duration::from_mins(minutes), index);
    let twice = recall("request-2", 9, 3);
    house.kept.recall([
        recall("request-0", 24 * 60, 0),
        recall("request-1", 60, 1),
        recall("request-2", 11, 2),
        twice,
        recall("request-3", 9, 4),
    ]);
    assert_eq!(house.told("request-0").await, "first", "a day ago");
    assert_eq!(house.told("request-1").await, "spent 1");
    assert_eq!(house.told("request-2").await, "spent 3", "as old as its first entry, told by its last");
    for changed in [
        RetryKey { question: QuestionDigest([1; 16]), ..house.key("request-3") },
        RetryKey { case_reference: "CASE-2", ..house.key("request-3") },
    ] {
        assert_eq!(told(&house.take_up(changed).await), "other content");
    }
    let TakenUp::Recorded { about, retry, .. } = house.ask("request-3").await else { panic!("on record") };
    assert_eq!(about, Some([3; 16]));
    retry.answered(&answer_at(5));
    assert_eq!(house.told("request-3").await, "answered 5");
    house.clock.advance(Duration::from_mins(1));
    assert_eq!(house.told("request-3").await, "spent 5", "ten minutes after its first entry");
}

#[tokio::test]
async fn a_retry_at_another_replica_is_given_the_answer() {
    let (board, clock) = (Arc::new(Board::default()), Arc::new(FakeClock(Mutex::default())));
    let replicas: [House; 3] =
        std::array::from_fn(|_| replica(RetryOptions::default(), Some(&board), Arc::clone(&clock)));
    let [one, other, late] = &replicas;
    let first = one.first("request-1").await;
    let ((), twin) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(25)).await;
            first.answered(&answer_at(5));
        },
        other.told("request-1"),
    );
    assert_eq!(twin, "answered 5");
    let changed = RetryKey { content: QuestionDigest([9; 16]), ..late.key("request-1") };
    assert_eq!(told(&late.take_up(changed).await), "other content");
    clock.advance(Duration::from_mins(10));
    assert_eq!(late.told("request-1").await, "spent 5", "an old note is told by its date");

    let unanswered = one.first("request-2").await;
    drop(unanswered);
    let _at_once = other.first("request-2").await;

    Board::set(&board.away, true);
    one.answer("request-3", 6).await;
    let _second_entry = other.first("request-3").await;
    Board::set(&board.away, false);
    Board::set(&board.silent, true);
    one.answer("request-4", 7).await;
    let _second_entry = other.first("request-4").await;
    assert_eq!(one.heard.count("unshared"), 1);
    Board::set(&board.silent, false);
    board.notes.lock().unwrap().insert("rental-demo/request-5".to_owned(), b"nonsense".to_vec());
    one.answer("request-5", 8).await;
}

/// A replica that died with its claim keeps nobody waiting for long. The fake clock stands; what passes is the runtime's time.
#[tokio::test]
async fn a_claim_that_is_never_answered_is_waited_for_within_a_bound() {
    let board = Arc::new(Board::default());
    let options = RetryOptions { others_wait_max: Duration::ZERO, ..RetryOptions::default() };
    let clock = Arc::new(FakeClock(Mutex::default()));
    let [one, other] = std::array::from_fn(|_| replica(options, Some(&board), Arc::clone(&clock)));
    let _dead = one.first("request-1").await;
    other.answer("request-1", 9).await;
    assert_eq!(other.told("request-1").await, "answered 9");
}

#[tokio::test]
async fn unconfirmed_answers_are_kept_as_others_are() {
    let house = house(RetryOptions::default());
    house.first("request-1").await.answered(&unconfirmed());
    let TakenUp::Answered(answer) = house.ask("request-1").await else { panic!("it is kept") };
    assert!(answer.confirmed.is_none());
}

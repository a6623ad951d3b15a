//! What every index of look-ups must do, whatever it stands on. A store runs the suite with one line.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::store::wait;
use crate::evidence::ports::{Found, LookUp, LookUpIndex, SubjectHandle};
use crate::verification::ports::EntryAt;

/// 2026-11-22T00:00:00Z, in microseconds.
const BEGAN_US: i64 = 1_795_305_600_000_000;

/// A look-up about somebody, a millisecond for each entry before it.
pub(super) fn look_up(index: u64, subject: u8) -> LookUp {
    LookUp {
        index,
        at: Timestamp::from_microsecond(BEGAN_US + index.cast_signed() * 1_000).unwrap(),
        subject: SubjectHandle([subject; 16]),
        request: Some([subject ^ 0x55; 16]),
        case: [subject ^ 0xaa; 16],
    }
}

pub(super) fn take_in(
    index: &dyn LookUpIndex,
    origin: &str,
    from: u64,
    to: u64,
    look_ups: Vec<LookUp>,
) -> u64 {
    wait(index.take_in(origin, from, to, look_ups)).unwrap()
}

fn place(origin: &str, look_up: &LookUp) -> Found {
    Found { at: look_up.at, place: EntryAt { origin: origin.into(), index: look_up.index } }
}

fn by_subject(index: &dyn LookUpIndex, subject: u8) -> Vec<Found> {
    wait(index.by_subject(SubjectHandle([subject; 16]), None, 100)).unwrap()
}

fn indices(found: &[Found]) -> Vec<u64> {
    found.iter().map(|found| found.place.index).collect()
}

fn cursor(index: &dyn LookUpIndex, origin: &str) -> u64 {
    wait(index.cursor(origin)).unwrap()
}

pub(super) fn a_look_up_is_found_in_three_ways(index: &dyn LookUpIndex) {
    let (one, other) = (look_up(3, 1), LookUp { request: None, ..look_up(5, 2) });
    assert_eq!(take_in(index, "log", 0, 7, vec![one.clone(), other.clone()]), 7);
    assert_eq!(cursor(index, "log"), 7);
    for (look_up, subject) in [(&one, 1), (&other, 2)] {
        assert_eq!(by_subject(index, subject), [place("log", look_up)]);
        assert_eq!(wait(index.by_case(look_up.case, None, 10)).unwrap(), [place("log", look_up)]);
    }
    assert_eq!(wait(index.by_request(one.request.unwrap())).unwrap(), [place("log", &one)]);
    assert!(wait(index.by_request([2 ^ 0x55; 16])).unwrap().is_empty(), "it had no request id");
}

pub(super) fn nothing_is_known_of_strangers(index: &dyn LookUpIndex) {
    assert_eq!(cursor(index, "log"), 0);
    take_in(index, "log", 0, 1, vec![look_up(0, 1)]);
    assert!(by_subject(index, 2).is_empty());
    assert!(wait(index.by_request([0; 16])).unwrap().is_empty());
    assert!(wait(index.by_case([255; 16], None, 10)).unwrap().is_empty());
    assert!(wait(index.by_subject(SubjectHandle([1; 16]), None, 0)).unwrap().is_empty());
    assert_eq!(cursor(index, "another"), 0);
    wait(index.forget("another")).unwrap();
}

pub(super) fn what_does_not_begin_at_the_cursor_is_not_taken_in(index: &dyn LookUpIndex) {
    assert_eq!(take_in(index, "log", 5, 6, vec![look_up(5, 1)]), 0, "there is a gap before it");
    assert_eq!(take_in(index, "log", 0, 3, vec![look_up(0, 1)]), 3);
    assert_eq!(take_in(index, "log", 0, 3, vec![look_up(0, 1)]), 3, "it came twice");
    assert_eq!(take_in(index, "log", 2, 9, vec![look_up(8, 1)]), 3, "it overlaps");
    assert_eq!(take_in(index, "log", 3, 2, vec![]), 3, "it runs back");
    assert_eq!(take_in(index, "log", 3, 8, vec![]), 8, "refusals only");
    assert_eq!((indices(&by_subject(index, 1)), cursor(index, "log")), (vec![0], 8));
}

/// Pages over several logs, with look-ups of the same moment, hang together: each once, none left out.
pub(super) fn pages_go_back_over_all_logs(index: &dyn LookUpIndex) {
    let mut expected = Vec::new();
    for origin in ["b", "a", "c"] {
        // Three at each moment in every log.
        let look_ups: Vec<_> = (0..9).map(|entry| LookUp { index: entry, ..look_up(entry / 3, 1) }).collect();
        expected.extend(look_ups.iter().map(|look_up| place(origin, look_up)));
        take_in(index, origin, 0, 9, look_ups);
    }
    let order = |found: &Found| (found.at, found.place.origin.clone(), found.place.index);
    expected.sort_by_key(|found| std::cmp::Reverse(order(found)));
    for limit in [1, 2, 4, 7, 26, 27, 100] {
        for by_case in [false, true] {
            let (mut paged, mut before) = (Vec::new(), None);
            loop {
                let page = if by_case {
                    wait(index.by_case([1 ^ 0xaa; 16], before.take(), limit)).unwrap()
                } else {
                    wait(index.by_subject(SubjectHandle([1; 16]), before.take(), limit)).unwrap()
                };
                assert!(page.len() <= limit);
                let Some(last) = page.last().cloned() else { break };
                before = Some(last);
                paged.extend(page);
            }
            assert_eq!(paged, expected, "in pages of {limit}");
        }
    }
    expected.reverse();
    assert_eq!(wait(index.by_request([1 ^ 0x55; 16])).unwrap(), expected, "oldest first");
}

pub(super) fn a_log_that_was_forgotten_and_fed_again_says_the_same(index: &dyn LookUpIndex) {
    let look_ups: Vec<_> = (0..40).map(|entry| look_up(entry, 1)).collect();
    let feed = |origin: &str| {
        for batch in look_ups.chunks(7) {
            let from = batch[0].index;
            take_in(index, origin, from, from + batch.len() as u64, batch.to_vec());
        }
    };
    feed("old");
    feed("new");
    let before = by_subject(index, 1);
    assert_eq!(before.len(), 80);
    wait(index.forget("old")).unwrap();
    assert_eq!((cursor(index, "old"), cursor(index, "new")), (0, 40));
    assert!(by_subject(index, 1).iter().all(|found| &*found.place.origin == "new"));
    feed("old");
    assert_eq!(by_subject(index, 1), before);
}

/// Goal: replicas that feed the same log take every look-up in once.
pub(super) fn feeders_at_once_lose_nothing_and_take_nothing_twice(index: &dyn LookUpIndex) {
    const ENTRIES: u64 = 300;
    std::thread::scope(|scope| {
        for stride in [7, 11, 13] {
            scope.spawn(move || {
                let mut from = 0;
                while from < ENTRIES {
                    let to = (from + stride).min(ENTRIES);
                    let batch = (from..to).map(|entry| look_up(entry, 1)).collect();
                    // Two that begin the log at once: one of them may be told to come again.
                    from = wait(index.take_in("log", from, to, batch)).unwrap_or(from);
                }
            });
        }
    });
    let found = wait(index.by_subject(SubjectHandle([1; 16]), None, 1_000)).unwrap();
    assert_eq!(indices(&found), (0..ENTRIES).rev().collect::<Vec<_>>());
}

/// Goal: however look-ups come in, searches say what a plain list says.
/// Method: hundreds of batches of random sizes about a few people, in three logs, against a list.
pub(super) fn it_agrees_with_a_plain_list(index: &dyn LookUpIndex) {
    const SEED: u64 = 20_261_122;
    println!("seed {SEED}");
    let mut random = StdRng::seed_from_u64(SEED);
    let origins = ["one", "two", "three"];
    let (mut cursors, mut list) = ([0_u64; 3], Vec::new());
    for _ in 0..300 {
        let log = random.random_range(0..3);
        let (origin, from) = (origins[log], cursors[log]);
        let size_max = if random.random_bool(0.03) { 600 } else { 12 };
        let to = from + random.random_range(0..size_max);
        let mut look_ups = Vec::new();
        for entry in from..to {
            if random.random_bool(0.9) {
                let look_up = look_up(entry, random.random_range(0..20));
                list.push((look_up.subject, place(origin, &look_up)));
                look_ups.push(look_up);
            }
        }
        cursors[log] = take_in(index, origin, from, to, look_ups);
        assert_eq!(cursors[log], to);
    }
    let order = |found: &Found| (found.at, found.place.origin.clone(), found.place.index);
    list.sort_by_key(|(_, found)| std::cmp::Reverse(order(found)));
    for subject in 0..20 {
        let subject = SubjectHandle([subject; 16]);
        let of_subject = list.iter().filter(|(whom, _)| *whom == subject);
        let expected: Vec<_> = of_subject.map(|(_, found)| found.clone()).collect();
        assert_eq!(wait(index.by_subject(subject, None, usize::MAX)).unwrap(), expected);
        let middle = &expected[expected.len() / 2];
        let page = wait(index.by_subject(subject, Some(middle.clone()), 25)).unwrap();
        let after: Vec<_> = expected.iter().skip(expected.len() / 2 + 1).take(25).cloned().collect();
        assert_eq!(page, after);
    }
}

macro_rules! look_ups_suite {
    ($fresh:expr) => {
        $crate::registry::look_ups_suite::look_ups_suite! { $fresh;
            a_look_up_is_found_in_three_ways
            nothing_is_known_of_strangers
            what_does_not_begin_at_the_cursor_is_not_taken_in
            pages_go_back_over_all_logs
            a_log_that_was_forgotten_and_fed_again_says_the_same
            feeders_at_once_lose_nothing_and_take_nothing_twice
            it_agrees_with_a_plain_list
        }
    };
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { $crate::registry::look_ups_suite::$behaviour(&$fresh); })+
    };
}

pub(super) use look_ups_suite;

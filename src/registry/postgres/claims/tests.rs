//! News about claims through a real PostgreSQL.

use super::super::testing;
use super::super::tests::{keys, open};
use super::*;
use crate::registry::store::wait;

fn news(marks: std::ops::Range<u64>, window_began: Timestamp, unconfirmed: u64) -> ClaimNews {
    let partner: PartnerId = "rental-demo".parse().unwrap();
    let told_at = window_began + jiff::SignedDuration::from_secs(7);
    let mark =
        |mark: u64| MarkNews { partner: partner.clone(), window_began, mark: mark.reverse_bits(), told_at };
    let tally = TallyNews { partner: partner.clone(), since: window_began, unconfirmed };
    ClaimNews { marks: marks.map(mark).collect(), tallies: vec![tally], questions: vec![] }
}

/// Goal: every replica hears of every number claimed once, in pages, and of the others' counts; what is over is forgotten.
#[test]
fn what_one_replica_leaves_the_others_hear_once() {
    let store = open(&testing::shared().database(), 4, &keys());
    let (one, two) = (store.claims_of("one"), store.claims_of("two"));
    let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    let began: Timestamp = "2026-11-21T16:00:00Z".parse().unwrap();
    let count = 40_500_u64;
    let own = wait(one.exchange(news(0..count, began, 3), now, 0)).unwrap();
    assert_eq!(own.news.tallies, [], "not our own");
    let heard = wait(two.exchange(news(count - 10..count + 5, began, 4), now, 0)).unwrap();
    let mut marks: Vec<u64> = heard.news.marks.iter().map(|news| news.mark.reverse_bits()).collect();
    marks.sort_unstable();
    assert_eq!(marks, (0..count + 5).collect::<Vec<_>>(), "each once, ours included");
    assert_eq!(heard.news.tallies, news(0..0, began, 3).tallies);
    let late = wait(one.exchange(ClaimNews::default(), now, own.up_to)).unwrap();
    assert_eq!((late.news.marks.len(), late.up_to), (5, heard.up_to));
    assert_eq!(late.news.tallies[0].unconfirmed, 4);
    assert_eq!(late.news.marks[0].told_at, began + jiff::SignedDuration::from_secs(7));
    let again = wait(one.exchange(news(0..3, began, 2), now, late.up_to)).unwrap();
    assert_eq!(again.news.marks, [], "what was left twice is heard once");
    assert_eq!(wait(two.exchange(ClaimNews::default(), now, 0)).unwrap().news.tallies[0].unconfirmed, 3);
    // After a restore the head lies lower than what was heard: all is heard anew.
    assert_eq!(wait(one.exchange(ClaimNews::default(), now, 1 << 40)).unwrap().news.marks.len(), 40_505);

    let tomorrow = now + jiff::SignedDuration::from_hours(24);
    let left = wait(one.exchange(news(7..8, tomorrow, 1), tomorrow, 0)).unwrap().news;
    assert_eq!((left.marks.len(), left.tallies), (1, vec![]), "yesterday's is gone");
}

/// Goal: a replica that starts after weeks hears what there is at once, however far the head has come; what is more than one exchange reads
/// it hears in the next, each mark once, though a page ends within a seq.
#[test]
fn a_replica_that_starts_reads_marks_and_not_the_seqs_that_were_swept() {
    let store = open(&testing::shared().database(), 4, &keys());
    let (one, two) = (store.claims_of("one"), store.claims_of("two"));
    let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    let began: Timestamp = "2026-11-21T16:00:00Z".parse().unwrap();
    let sql = |statement: &'static str| {
        store.runtime.block_on(sqlx::query(statement).execute(&store.shared.writers)).unwrap();
    };
    sql("UPDATE claim_head SET seq = 9999999");
    wait(one.exchange(news(7..8, began, 3), now, 0)).unwrap();
    let heard = wait(two.exchange(ClaimNews::default(), now, 0)).unwrap();
    assert_eq!(heard.news, news(7..8, began, 3));
    assert_eq!((heard.up_to, heard.is_all), (10_000_000, true));

    sql("INSERT INTO claim_mark (partner, window_us, mark, told_us, seq) \
         SELECT partner, window_us, -news, told_us, 10000001 + news / 1000 \
         FROM claim_mark, generate_series(1, 270000) AS news");
    sql("UPDATE claim_head SET seq = 10000271");
    let first = wait(two.exchange(ClaimNews::default(), now, heard.up_to)).unwrap();
    assert!(!first.is_all && first.up_to < 10_000_271, "{}", first.up_to);
    let rest = wait(two.exchange(ClaimNews::default(), now, first.up_to)).unwrap();
    assert_eq!((rest.up_to, rest.is_all), (10_000_271, true));
    let marks = first.news.marks.iter().chain(&rest.news.marks).map(|news| news.mark);
    let mut marks: Vec<i64> = marks.map(|mark| -mark.cast_signed()).collect();
    marks.sort_unstable();
    assert_eq!(marks, (1..=270_000).collect::<Vec<_>>());
}

/// Goal: every replica hears of every question that was told, a page at a time, with the moment it was asked; one that was asked again after its
/// window counts from then; what is over is forgotten, of cases later.
#[test]
fn questions_are_heard_by_everybody_and_forgotten_when_they_are_over() {
    let store = open(&testing::shared().database(), 4, &keys());
    let (one, two) = (store.claims_of("one"), store.claims_of("two"));
    let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    let hours = |hours| jiff::SignedDuration::from_hours(hours);
    let asked = |is_case, key: u64, asked_at| QuestionNews {
        partner: "rental-demo".parse().unwrap(),
        is_case,
        key,
        question: u32::MAX,
        asked_at,
    };
    let told = |questions: Vec<QuestionNews>| ClaimNews { questions, ..ClaimNews::default() };
    let (about, case) = (asked(false, u64::MAX, now), asked(true, 1, now - hours(48)));
    let again = asked(false, u64::MAX, now - hours(1));
    wait(one.exchange(told(vec![again, about.clone(), case.clone(), about.clone()]), now, 0)).unwrap();
    let heard = wait(two.exchange(ClaimNews::default(), now, 0)).unwrap();
    let mut questions = heard.news.questions;
    questions.sort_by_key(|news| news.is_case);
    assert_eq!((questions, heard.is_all), (vec![about.clone(), case.clone()], true));
    let nothing_new = wait(two.exchange(told(vec![about.clone()]), now, heard.up_to)).unwrap();
    assert_eq!(nothing_new.news.questions, []);

    let many: Vec<_> = (0..40_000).map(|key| asked(false, key, now)).collect();
    wait(one.exchange(told(many), now, heard.up_to)).unwrap();
    let first = wait(two.exchange(ClaimNews::default(), now, nothing_new.up_to)).unwrap();
    assert!(!first.is_all && first.news.questions.len() > 30_000, "{}", first.news.questions.len());
    let rest = wait(two.exchange(ClaimNews::default(), now, first.up_to)).unwrap();
    assert!(rest.is_all);
    let mut keys: Vec<_> =
        first.news.questions.iter().chain(&rest.news.questions).map(|news| news.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 40_000);

    let later = now + hours(26);
    let renewed = asked(false, u64::MAX, later);
    wait(one.exchange(told(vec![renewed.clone()]), later, 0)).unwrap();
    let left = wait(two.exchange(ClaimNews::default(), later, 0)).unwrap().news.questions;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&renewed) && left.contains(&case));
}

//! The bounds on claims as a whole: contracts, windows, replicas, restarts, operators.

use jiff::SignedDuration;

use super::*;
use crate::domain::partner::{PartnerKind, Threshold};
use crate::limits::testing::{FakeClock, partner};

fn terms() -> ClaimTerms {
    ClaimTerms {
        subjects_max: 5,
        window_hours: 24,
        slow: Threshold { unconfirmed: 2, percent: 20 },
        suspend: Threshold { unconfirmed: 4, percent: 40 },
    }
}

fn number(id: u8) -> NumberPseudonym {
    NumberPseudonym::from_bytes([id; 16])
}

fn limits() -> (ClaimLimits, Arc<FakeClock>) {
    let clock = FakeClock::new();
    (ClaimLimits::new(clock.clone(), false), clock)
}

fn admits(limits: &ClaimLimits, id: u8) -> bool {
    limits.admit(&partner(), &terms(), number(id)) == Ok(Admission::Known)
}

fn asks(limits: &ClaimLimits, partner: &PartnerId, asked: u8) -> Result<(), VariationExceeded> {
    limits.admit_question(partner, Purpose::Rental, number(7), QuestionDigest([asked; 16]), "case")
}

fn guess(limits: &ClaimLimits, times: usize) {
    (0..times).for_each(|_| limits.unconfirmed(&partner(), &terms()));
}

fn pace(limits: &ClaimLimits) -> Result<Duration, ClaimRefused> {
    limits.pace(&partner(), &terms())
}

#[test]
fn the_budget_holds_for_one_partner_and_window_and_a_refusal_says_when_it_ends() {
    let (limits, clock) = limits();
    assert!((0..5).all(|id| admits(&limits, id)));
    let refused = limits.admit(&partner(), &terms(), number(9));
    let retry_after = Duration::from_hours(12);
    assert_eq!(refused, Err(ClaimRefused::SubjectsSpent { subjects_max: 5, window_hours: 24, retry_after }));
    assert!(admits(&limits, 0), "whom it has claimed it may claim");
    let other = "rental-demo".parse().unwrap();
    assert_eq!(limits.admit(&other, &terms(), number(9)), Ok(Admission::Known));
    let level = limits.level(&partner(), &terms());
    assert_eq!((level.remaining, level.reset_after), (0, retry_after));
    let wider = ClaimTerms { subjects_max: 6, ..terms() };
    assert_eq!(limits.admit(&partner(), &wider, number(9)), Ok(Admission::Known), "as the contract says now");
    clock.advance(retry_after);
    assert!(admits(&limits, 9));
    assert_eq!(limits.level(&partner(), &terms()).remaining, 4);
}

#[test]
fn unconfirmed_claims_slow_then_stop_until_an_operator_lets_go() {
    let (limits, clock) = limits();
    assert!((0..5).all(|id| admits(&limits, id)));
    guess(&limits, 1);
    assert_eq!((pace(&limits), limits.alarmed()), (Ok(Duration::ZERO), vec![]));
    guess(&limits, 1);
    assert!(pace(&limits).is_ok_and(|wait| !wait.is_zero()));
    guess(&limits, 2);
    assert_eq!(pace(&limits), Err(ClaimRefused::Stopped));
    assert_eq!(limits.admit(&partner(), &terms(), number(0)), Err(ClaimRefused::Stopped));
    let alarmed = Alarmed { partner: partner(), is_tripped: true, unconfirmed: 4, subjects: 5 };
    assert_eq!(limits.alarmed(), [alarmed]);

    clock.advance(Duration::from_secs(60));
    let let_go_at = clock.now();
    for _ in 0..2 {
        limits.let_go(&partner(), &terms(), let_go_at);
        assert_eq!(pace(&limits), Ok(Duration::ZERO));
    }
    guess(&limits, 3);
    limits.let_go(&partner(), &terms(), let_go_at);
    assert!(pace(&limits).is_ok_and(|wait| !wait.is_zero()), "the same word does not count twice");
    guess(&limits, 1);
    assert_eq!(pace(&limits), Err(ClaimRefused::Stopped), "nor does what was claimed before it dilute");
    assert_eq!(limits.unconfirmed_count(), 8);
}

/// Goal: a restart gives nobody a new budget or a new count.
#[test]
fn what_the_log_tells_counts_as_if_the_process_had_not_ended() {
    let (limits, clock) = limits();
    let let_go_at = clock.now() - SignedDuration::from_hours(1);
    let past = |hours_ago, id: u8, unconfirmed| PastClaim {
        partner: partner(),
        at: clock.now() - SignedDuration::from_hours(hours_ago),
        about: Some([id; 16]),
        unconfirmed,
    };
    for claim in [
        past(13, 1, true),
        past(3, 2, true),
        past(2, 3, true),
        past(0, 4, true),
        past(0, 5, true),
        past(0, 5, true),
        past(0, 6, true),
    ] {
        limits.recall(&terms(), Some(let_go_at), &claim);
    }
    assert_eq!(limits.level(&partner(), &terms()).remaining, 0, "yesterday's is forgotten, five are left");
    assert_eq!(pace(&limits), Err(ClaimRefused::Stopped), "four since the operator let it go");
    limits.let_go(&partner(), &terms(), clock.now());
    assert_eq!(limits.admit(&partner(), &terms(), number(5)), Ok(Admission::Known), "nobody's number");
    assert_eq!(limits.admit(&partner(), &terms(), number(77)), Ok(Admission::IfRecalled));
    let subject = SubjectId::from_bytes([2; 16]);
    assert!(limits.found(&partner(), &terms(), number(77), &subject));
    assert_eq!(limits.admit(&partner(), &terms(), number(77)), Ok(Admission::Known));
    assert_eq!(limits.spent(&partner(), &terms()), limits.spent(&partner(), &terms()));
}

/// One common store for several replicas, as PostgreSQL is one; it may be away, and tell so many marks at once (0: all).
#[derive(Default)]
struct Common {
    marks: Mutex<Vec<MarkNews>>,
    tallies: Mutex<HashMap<(u8, PartnerId, Timestamp), u64>>,
    questions: Mutex<Vec<QuestionNews>>,
    away: std::sync::atomic::AtomicBool,
    page: std::sync::atomic::AtomicUsize,
}

struct Seat<'c>(&'c Common, u8);

impl Seat<'_> {
    fn at(self, news: ClaimNews, after: u64) -> Result<crate::admission::claims::Heard, ClaimsUnshared> {
        if self.0.away.load(Ordering::Relaxed) {
            return Err(ClaimsUnshared("away".into()));
        }
        let mut marks = self.0.marks.lock().unwrap();
        marks.extend(news.marks);
        let mut questions = self.0.questions.lock().unwrap();
        questions.extend(news.questions);
        let mut tallies = self.0.tallies.lock().unwrap();
        for news in news.tallies {
            tallies.insert((self.1, news.partner, news.since), news.unconfirmed);
        }
        let others = tallies.iter().filter(|((seat, ..), _)| *seat != self.1);
        let told = others.map(|((_, partner, since), unconfirmed)| TallyNews {
            partner: partner.clone(),
            since: *since,
            unconfirmed: *unconfirmed,
        });
        let tallies = told.collect();
        let after = usize::try_from(after).unwrap();
        let page = Some(self.0.page.load(Ordering::Relaxed)).filter(|page| *page > 0);
        let up_to = page.map_or(marks.len(), |page| marks.len().min(after + page));
        let news = ClaimNews { marks: marks[after..up_to].to_vec(), tallies, questions: questions.clone() };
        let is_all = up_to == marks.len();
        Ok(crate::admission::claims::Heard { news, up_to: up_to as u64, is_all })
    }
}

impl SharedClaims for Seat<'static> {
    fn exchange(
        &self,
        news: ClaimNews,
        _now: Timestamp,
        after: u64,
    ) -> crate::admission::standing::Later<'_, Result<crate::admission::claims::Heard, ClaimsUnshared>> {
        Box::pin(std::future::ready(Seat(self.0, self.1).at(news, after)))
    }
}

fn replica(clock: &Arc<FakeClock>, terms: &ClaimTerms) -> ClaimLimits {
    let limits = ClaimLimits::new(clock.clone(), true);
    limits.introduce(&partner(), terms);
    limits
}

async fn exchange(common: &'static Common, seat: u8, limits: &ClaimLimits) {
    limits.exchange_with(&Seat(common, seat)).await.unwrap();
}

/// Goal: a replica that starts does not suspend an honest partner because it knows of few numbers yet. Method: 4 of 30 is a small share;
/// the count is known at once, from the log or from others, the numbers ten at a time.
#[tokio::test]
async fn a_replica_that_starts_judges_no_share_before_it_has_heard_every_number() {
    let wide = ClaimTerms { subjects_max: 100, ..terms() };
    let (clock, common): (_, &'static Common) = (FakeClock::new(), Box::leak(Box::default()));
    let one = replica(&clock, &wide);
    assert!((0..30).all(|id| one.admit(&partner(), &wide, number(id)) == Ok(Admission::Known)));
    (0..4).for_each(|_| one.unconfirmed(&partner(), &wide));
    exchange(common, 0, &one).await;
    common.page.store(10, Ordering::Relaxed);

    let with_empty_log = ClaimLimits::new(clock.clone(), true);
    let restarted = ClaimLimits::new(clock.clone(), true);
    let past = PastClaim { partner: partner(), at: clock.now(), about: None, unconfirmed: true };
    (0..4).for_each(|_| restarted.recall(&wide, None, &past));
    let paced = |limits: &ClaimLimits| (limits.pace(&partner(), &wide), limits.alarmed());
    let free = (Ok(Duration::ZERO), vec![]);
    for (seat, limits) in [(1, &with_empty_log), (0, &restarted)] {
        limits.introduce(&partner(), &wide);
        assert_eq!(paced(limits), free);
        common.away.store(true, Ordering::Relaxed);
        assert!(limits.exchange_with(&Seat(common, seat)).await.is_err());
        common.away.store(false, Ordering::Relaxed);
        for heard in [10, 20, 30] {
            exchange(common, seat, limits).await;
            assert_eq!(paced(limits), free, "{heard} numbers heard");
        }
        assert_eq!(limits.level(&partner(), &wide).remaining, 70);
        (0..7).for_each(|_| limits.unconfirmed(&partner(), &wide));
        assert!(paced(limits).0.is_ok_and(|wait| !wait.is_zero()), "11 of 30");
        limits.unconfirmed(&partner(), &wide);
        assert_eq!(paced(limits).0, Err(ClaimRefused::Stopped), "12 of 30");
        assert!(limits.alarmed()[0].is_tripped);
        limits.introduce(&"rental-demo".parse().unwrap(), &wide);
        assert_eq!(paced(limits).0, Err(ClaimRefused::Stopped), "another partner's contract changes nothing");
    }
}

/// Goal: also a restart after an operator's word does not let what was claimed before it dilute.
#[tokio::test]
async fn a_replica_that_starts_leaves_out_what_was_told_before_an_operator_let_go() {
    let wide = ClaimTerms { subjects_max: 100, ..terms() };
    let (clock, common): (_, &'static Common) = (FakeClock::new(), Box::leak(Box::default()));
    let one = replica(&clock, &wide);
    assert!((0..30).all(|id| one.admit(&partner(), &wide, number(id)) == Ok(Admission::Known)));
    exchange(common, 0, &one).await;
    clock.advance(Duration::from_secs(60));
    let let_go_at = clock.now();
    one.let_go(&partner(), &wide, let_go_at);
    clock.advance(Duration::from_secs(60));
    assert!((30..41).all(|id| one.admit(&partner(), &wide, number(id)) == Ok(Admission::Known)));
    (0..4).for_each(|_| one.unconfirmed(&partner(), &wide));
    exchange(common, 0, &one).await;

    let started = replica(&clock, &wide);
    started.let_go(&partner(), &wide, let_go_at);
    exchange(common, 1, &started).await;
    assert_eq!(started.level(&partner(), &wide).remaining, 59);
    for limits in [&one, &started] {
        assert!(limits.pace(&partner(), &wide).is_ok_and(|wait| !wait.is_zero()), "4 of 11, not of 41");
        limits.unconfirmed(&partner(), &wide);
        assert_eq!(limits.pace(&partner(), &wide), Err(ClaimRefused::Stopped), "5 of 11");
    }
}

/// Goal: nothing that others told is lost on a partner, or a window, that shows itself by a claim before contracts are followed.
#[tokio::test]
async fn what_others_told_earlier_is_heard_anew_for_a_new_partner_and_a_new_window() {
    let (clock, common): (_, &'static Common) = (FakeClock::new(), Box::leak(Box::default()));
    let (one, two) = (replica(&clock, &terms()), ClaimLimits::new(clock.clone(), true));
    assert!((0..3).all(|id| admits(&one, id)));
    exchange(common, 0, &one).await;
    exchange(common, 1, &two).await;
    assert!(admits(&two, 3));
    exchange(common, 1, &two).await;
    assert_eq!(two.level(&partner(), &terms()).remaining, 1);

    let shorter = ClaimTerms { window_hours: 12, ..terms() };
    assert_eq!(one.admit(&partner(), &shorter, number(0)), Ok(Admission::Known));
    exchange(common, 0, &one).await;
    exchange(common, 1, &two).await;
    assert_eq!(two.admit(&partner(), &shorter, number(1)), Ok(Admission::Known));
    exchange(common, 1, &two).await;
    assert_eq!(two.level(&partner(), &shorter).remaining, 3);
}

/// Goal: replicas hold one budget and one tripwire, also one that was started later, and one that the store left alone for a while.
#[tokio::test]
async fn replicas_hold_one_budget_and_one_tripwire() {
    let clock = FakeClock::new();
    let common: &'static Common = Box::leak(Box::default());
    let [one, two] = [(), ()].map(|()| replica(&clock, &terms()));
    assert!(admits(&one, 1) && admits(&one, 2) && admits(&two, 3) && admits(&two, 4));
    for (seat, limits) in [(0, &one), (1, &two), (0, &one)] {
        limits.exchange_with(&Seat(common, seat)).await.unwrap();
    }
    for limits in [&one, &two] {
        assert_eq!(limits.level(&partner(), &terms()).remaining, 1);
    }
    common.away.store(true, Ordering::Relaxed);
    assert!(admits(&one, 5));
    assert!(one.exchange_with(&Seat(common, 0)).await.is_err());
    common.away.store(false, Ordering::Relaxed);
    one.exchange_with(&Seat(common, 0)).await.unwrap();
    two.exchange_with(&Seat(common, 1)).await.unwrap();
    assert!(!admits(&two, 6) && (1..=5).all(|id| admits(&two, id)));

    guess(&one, 2);
    guess(&two, 2);
    for (seat, limits) in [(0, &one), (1, &two), (0, &one)] {
        limits.exchange_with(&Seat(common, seat)).await.unwrap();
    }
    assert_eq!([pace(&one), pace(&two)], [Err(ClaimRefused::Stopped); 2], "two and two are four");

    let third = replica(&clock, &terms());
    third.exchange_with(&Seat(common, 2)).await.unwrap();
    assert!(!admits(&third, 6), "spent, whoever was asked");
    assert_eq!(pace(&third), Err(ClaimRefused::Stopped));
    clock.advance(Duration::from_secs(1));
    for limits in [&one, &two, &third] {
        limits.let_go(&partner(), &terms(), clock.now());
    }
    one.exchange_with(&Seat(common, 0)).await.unwrap();
    assert_eq!(pace(&one), Ok(Duration::ZERO), "what was counted before is of another count");
}

#[test]
fn the_fourth_question_about_a_subject_is_refused_for_this_partner_only() {
    let (limits, clock) = limits();
    for asked in 1..=3 {
        asks(&limits, &partner(), asked).unwrap();
    }
    clock.advance(Duration::from_hours(1));
    let refused = VariationExceeded { retry_after: Duration::from_hours(23) };
    assert_eq!(asks(&limits, &partner(), 4), Err(refused));
    assert_eq!(asks(&limits, &"rental-demo".parse().unwrap(), 4), Ok(()));
}

/// Goal: a partner gains no questions by asking replica after replica, nor by one that starts; also when the store was away meanwhile.
#[tokio::test]
async fn replicas_hold_one_number_of_questions() {
    let (clock, common): (_, &'static Common) = (FakeClock::new(), Box::leak(Box::default()));
    let [one, two] = [(), ()].map(|()| replica(&clock, &terms()));
    asks(&one, &partner(), 1).unwrap();
    asks(&two, &partner(), 2).unwrap();
    asks(&one, &partner(), 3).unwrap();
    common.away.store(true, Ordering::Relaxed);
    assert!(one.exchange_with(&Seat(common, 0)).await.is_err());
    common.away.store(false, Ordering::Relaxed);
    clock.advance(Duration::from_hours(1));
    for (seat, limits) in [(0, &one), (1, &two), (1, &two), (0, &one)] {
        exchange(common, seat, limits).await;
    }
    let started = ClaimLimits::new(clock.clone(), true);
    exchange(common, 2, &started).await;
    started.introduce(&partner(), &terms());
    exchange(common, 2, &started).await;
    for limits in [&one, &two, &started] {
        let refused = VariationExceeded { retry_after: Duration::from_hours(23) };
        assert_eq!(asks(limits, &partner(), 4), Err(refused));
        assert_eq!(asks(limits, &partner(), 2), Ok(()), "asked before");
    }
    one.retain(|_| false);
    assert_eq!(asks(&one, &partner(), 4), Ok(()), "a contract that left is forgotten");
}

#[test]
fn usual_terms_fit_what_is_held() {
    for kind in PartnerKind::ALL {
        assert!(ClaimTerms::usual(*kind).subjects_max as usize <= crate::limits::subjects::HELD_MAX);
    }
}

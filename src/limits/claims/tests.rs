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

/// One common store for several replicas, as PostgreSQL is one; it may be away.
#[derive(Default)]
struct Common {
    marks: Mutex<Vec<MarkNews>>,
    tallies: Mutex<HashMap<(u8, PartnerId, Timestamp), u64>>,
    away: std::sync::atomic::AtomicBool,
}

struct Seat<'c>(&'c Common, u8);

impl Seat<'_> {
    fn at(self, news: ClaimNews, after: u64) -> Result<crate::admission::claims::Heard, ClaimsUnshared> {
        if self.0.away.load(Ordering::Relaxed) {
            return Err(ClaimsUnshared("away".into()));
        }
        let mut marks = self.0.marks.lock().unwrap();
        marks.extend(news.marks);
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
        let news = ClaimNews { marks: marks[after..].to_vec(), tallies };
        Ok(crate::admission::claims::Heard { news, up_to: marks.len() as u64 })
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

/// Goal: replicas hold one budget and one tripwire, also one that was started later, and one that the store left alone for a while.
#[tokio::test]
async fn replicas_hold_one_budget_and_one_tripwire() {
    let clock = FakeClock::new();
    let common: &'static Common = Box::leak(Box::default());
    let replica = |_| {
        let limits = ClaimLimits::new(clock.clone(), true);
        limits.introduce(&partner(), &terms());
        limits
    };
    let [one, two] = [0, 1].map(replica);
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

    let third = replica(2);
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
fn usual_terms_fit_what_is_held() {
    for kind in PartnerKind::ALL {
        assert!(ClaimTerms::usual(*kind).subjects_max as usize <= crate::limits::subjects::HELD_MAX);
    }
}

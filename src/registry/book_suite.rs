//! What every book must do, whatever it lies in. A store runs the suite with one line.

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::store::{LicenceStore, wait};
use super::suite::{ONE, TWO, apply, change, licensed, more, read};
use crate::domain::claim::ConsentEvidence;
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::licence::{ChangeKind, STOPS_MAX, StopsFull};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::{Audience, PartnerMark, Presentation, PresentationId, PresentationKind};
use crate::domain::question::Purpose;
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::evidence::ports::{HoldBack, HoldBacks};
use crate::issuing::ports::{
    ConsentId, ConsentOnBook, ConsentPlace, DriverConsents, PresentationBook, Revocation, RevokedUses,
    StopFault,
};
use crate::registry::book::CONSENTS_MAX;
use crate::verification::ports::{
    ConsentBook, ConsentUsed, EntryAt, QuestionDigest, Redeemed, Redemption, Redemptions, Soon,
};

pub(super) trait Store:
    LicenceStore + Redemptions + PresentationBook + ConsentBook + DriverConsents + HoldBacks
{
    /// Sweeps what is over, where that does not go along with spending.
    fn sweep_now(&self, now: Timestamp);
}

/// 2026-11-22T00:00:00Z.
/// 2026-01-01. Long enough ago that what the suite sweeps is over by the server's clock, too.
const BEGAN: Timestamp = Timestamp::constant(1_767_225_600, 0);
const SUBJECT: SubjectId = SubjectId::from_bytes([0x5b; 16]);

fn at(seconds: i64) -> Timestamp {
    BEGAN + SignedDuration::from_secs(seconds)
}

pub(super) fn qr(number: u64) -> PresentationId {
    let mut bytes = [0x11; 16];
    // Spread over the key space, as sealed ids are.
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    PresentationId::new(PresentationKind::Qr, bytes)
}

/// Where an answer stands.
pub(super) fn place(index: u64) -> EntryAt {
    EntryAt { origin: "replica-1".into(), index }
}

fn code(fill: u8, uses_max: u16) -> Presentation {
    Presentation {
        id: PresentationId::new(PresentationKind::ShareCode, [fill; 16]),
        number: NumberPseudonym::from_bytes([0x6c; 16]),
        audience: Audience::Partner(PartnerMark::of(&partner("recruiter-demo"))),
        purpose: Some(Purpose::Recruitment),
        fields: Some(FieldSet::of(&[Field::MaskedName])),
        uses_max,
        issued_at: BEGAN,
        expires_at: at(3 * 86_400),
    }
}

fn partner(id: &str) -> PartnerId {
    id.parse().unwrap()
}

/// A request of a partner for a QR code's one use.
pub(super) fn redemption(id: PresentationId, who: &str, request_id: &str) -> Redemption {
    Redemption {
        id,
        uses_max: 1,
        issued_at: BEGAN,
        expires_at: at(60),
        may_spend: true,
        partner: partner(who),
        request_id: request_id.to_owned(),
        digest: QuestionDigest([7; 16]),
        at: at(5),
    }
}

fn of_code(code: &Presentation, request_id: &str) -> Redemption {
    Redemption {
        uses_max: code.uses_max,
        expires_at: code.expires_at,
        ..redemption(code.id, "recruiter-demo", request_id)
    }
}

pub(super) fn redeem(store: &dyn Store, redemption: &Redemption) -> Redeemed {
    wait(store.redeem(redemption.clone())).unwrap()
}

fn revocation(id: PresentationId) -> Revocation {
    Revocation { id, subject: SUBJECT, qr_ends_at: at(90), at: at(20) }
}

fn before(use_number: u16) -> Redeemed {
    Redeemed::Before { use_number, at: at(5), place: None }
}

pub(super) fn one_use_means_one_use(store: &dyn Store) {
    let first = redemption(qr(1), "rental-demo", "r-1");
    assert_eq!(redeem(store, &first), Redeemed::Now { use_number: 1 });
    assert_eq!(redeem(store, &first), before(1), "the request that spent it");
    let later = Redemption { at: at(500), may_spend: false, ..first.clone() };
    assert_eq!(redeem(store, &later), before(1), "to be finished later");
    assert_eq!(redeem(store, &redemption(qr(1), "rental-demo", "r-2")), Redeemed::Used);
    assert_eq!(redeem(store, &redemption(qr(1), "insurer-demo", "r-1")), Redeemed::Used, "another partner");
    let other = Redemption { digest: QuestionDigest([8; 16]), ..first };
    assert_eq!(redeem(store, &other), Redeemed::OtherContent);
    assert_eq!(
        redeem(store, &redemption(qr(2), "rental-demo", "r-1")),
        Redeemed::Now { use_number: 1 },
        "an id is used once on each presentation"
    );
}

pub(super) fn what_may_not_be_spent_is_only_looked_for(store: &dyn Store) {
    let late = Redemption { may_spend: false, ..redemption(qr(1), "rental-demo", "r-1") };
    assert_eq!(redeem(store, &late), Redeemed::NotBefore);
    assert_eq!(redeem(store, &late), Redeemed::NotBefore, "nothing was kept of it");
    assert_eq!(redeem(store, &Redemption { may_spend: true, ..late }), Redeemed::Now { use_number: 1 });
}

pub(super) fn of_two_answers_the_first_is_kept(store: &dyn Store) {
    let asked = redemption(qr(1), "rental-demo", "r-1");
    wait(store.settle(qr(1), 1, place(9))).unwrap();
    assert_eq!(redeem(store, &asked), Redeemed::Now { use_number: 1 }, "nothing can be settled unspent");
    wait(store.settle(qr(1), 1, place(4))).unwrap();
    wait(store.settle(qr(1), 1, place(5))).unwrap();
    let told = Redeemed::Before { use_number: 1, at: at(5), place: Some(place(4)) };
    assert_eq!(redeem(store, &asked), told);
    wait(store.revoke(revocation(qr(2)))).unwrap();
    wait(store.settle(qr(2), 1, place(6))).unwrap();
    assert_eq!(redeem(store, &redemption(qr(2), "rental-demo", "r-1")), Redeemed::Revoked);
}

pub(super) fn a_revocation_and_a_redemption_compete(store: &dyn Store) {
    let spent = redemption(qr(1), "rental-demo", "r-1");
    redeem(store, &spent);
    let told = Some(RevokedUses { revoked: 0, spent: 1 });
    assert_eq!(wait(store.revoke(revocation(qr(1)))).unwrap(), told, "too late");
    assert_eq!(redeem(store, &spent), before(1), "whoever has it keeps it");
    for _ in 0..2 {
        let told = Some(RevokedUses { revoked: 1, spent: 0 });
        assert_eq!(wait(store.revoke(revocation(qr(2)))).unwrap(), told, "repeated, too");
    }
    assert_eq!(redeem(store, &redemption(qr(2), "rental-demo", "r-1")), Redeemed::Revoked);
}

pub(super) fn a_share_code_comes_back_as_it_was_issued(store: &dyn Store) {
    let issued = code(1, 3);
    assert_eq!(wait(store.share_code(issued.id)).unwrap(), None);
    assert!(wait(store.keep(issued.clone(), SUBJECT)).unwrap());
    assert_eq!(wait(store.share_code(issued.id)).unwrap(), Some(issued.clone()));
    let other = Presentation { uses_max: 9, ..issued.clone() };
    assert!(!wait(store.keep(other, SUBJECT)).unwrap(), "the first stands");
    assert_eq!(wait(store.share_code(issued.id)).unwrap(), Some(issued));
    let for_anybody = Presentation {
        audience: Audience::Kind(crate::domain::partner::PartnerKind::Recruiter),
        fields: None,
        ..code(2, 1)
    };
    assert!(wait(store.keep(for_anybody.clone(), SUBJECT)).unwrap());
    assert_eq!(wait(store.share_code(for_anybody.id)).unwrap(), Some(for_anybody));
}

pub(super) fn a_share_code_has_as_many_uses_as_it_says(store: &dyn Store) {
    let issued = code(1, 3);
    wait(store.keep(issued.clone(), SUBJECT)).unwrap();
    for number in 1..=3_u16 {
        let asked = of_code(&issued, &format!("r-{number}"));
        assert_eq!(redeem(store, &asked), Redeemed::Now { use_number: number });
    }
    assert_eq!(redeem(store, &of_code(&issued, "r-4")), Redeemed::Used);
    assert_eq!(redeem(store, &of_code(&issued, "r-2")), before(2), "everybody keeps what he has");
}

pub(super) fn what_is_left_of_a_share_code_is_taken_back(store: &dyn Store) {
    let issued = code(1, 3);
    assert_eq!(wait(store.revoke(revocation(issued.id))).unwrap(), None, "nobody issued it");
    wait(store.keep(issued.clone(), SUBJECT)).unwrap();
    redeem(store, &of_code(&issued, "r-1"));
    let stranger = Revocation { subject: SubjectId::from_bytes([9; 16]), ..revocation(issued.id) };
    assert_eq!(wait(store.revoke(stranger)).unwrap(), None, "nobody issued it for them");
    for _ in 0..2 {
        let told = Some(RevokedUses { revoked: 2, spent: 1 });
        assert_eq!(wait(store.revoke(revocation(issued.id))).unwrap(), told);
    }
    assert_eq!(redeem(store, &of_code(&issued, "r-2")), Redeemed::Revoked);
    assert_eq!(redeem(store, &of_code(&issued, "r-1")), before(1));
}

/// Goal: however many ask at once, N uses are spent N times, each by one request, and a request never has two.
/// Method: eight threads ask for the uses of a few presentations under a few request ids, others revoke; what each was told
/// is held against what the others were told.
pub(super) fn racing_requests_share_nothing(store: &dyn Store) {
    const SEED: u64 = 20_261_122;
    println!("seed {SEED}");
    let codes: Vec<_> = (0..6).map(|fill| code(fill, 2)).collect();
    for code in &codes {
        wait(store.keep(code.clone(), SUBJECT)).unwrap();
    }
    let told = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (codes, told) = (&codes, &told);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(SEED + thread);
                for _ in 0..30 {
                    let which = random.random_range(0..10_usize);
                    let request = format!("r-{}", random.random_range(0..4));
                    let asked = match codes.get(which) {
                        Some(code) => of_code(code, &request),
                        None => redemption(qr(which as u64), "rental-demo", &request),
                    };
                    if which == 5 && random.random_bool(0.1) {
                        wait(store.revoke(revocation(asked.id))).unwrap();
                    }
                    let answer = redeem(store, &asked);
                    told.lock().unwrap().push((asked.id, request, answer));
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let mut spent = std::collections::HashMap::new();
    for (id, request, answer) in &told {
        if let Redeemed::Now { use_number } = answer {
            let other = spent.insert((*id, *use_number), request);
            assert_eq!(other, None, "a use was spent twice");
        }
    }
    for (id, request, answer) in &told {
        match answer {
            Redeemed::Before { use_number, .. } => assert_eq!(spent.get(&(*id, *use_number)), Some(&request)),
            Redeemed::Now { use_number } => {
                let of_request = spent.iter().filter(|((of, _), by)| of == id && *by == &request);
                assert_eq!(of_request.map(|((_, number), _)| *number).collect::<Vec<_>>(), [*use_number]);
            }
            Redeemed::Used | Redeemed::Revoked => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: nothing is swept before its time, and everything is after it.
pub(super) fn what_is_long_over_is_swept(store: &dyn Store) {
    let (asked, issued) = (redemption(qr(1), "rental-demo", "r-1"), code(1, 1));
    wait(store.keep(issued.clone(), SUBJECT)).unwrap();
    redeem(store, &asked);
    redeem(store, &of_code(&issued, "r-1"));
    wait(store.revoke(revocation(qr(2)))).unwrap();
    let asked_at = |seconds: i64, number: u64| {
        let expires_at = at(seconds + 60);
        redeem(
            store,
            &Redemption { at: at(seconds), expires_at, ..redemption(qr(number), "rental-demo", "r") },
        );
        store.sweep_now(at(seconds));
    };
    // 60 s, ten minutes, and clocks that differ by 30 s either way.
    asked_at(60 + 600 + 59, 3);
    assert_eq!(redeem(store, &asked), before(1), "in its last second");
    assert_eq!(redeem(store, &redemption(qr(2), "rental-demo", "r-1")), Redeemed::Revoked);
    // A store may go by the moment it was spent instead: ten minutes later a code is over, whatever it says.
    asked_at(10 + 600 + 600 + 90 + 61, 4);
    let late = Redemption { may_spend: false, ..asked };
    assert_eq!(redeem(store, &late), Redeemed::NotBefore, "nothing of it is kept");
    let days = 86_400;
    asked_at(33 * days, 5);
    assert_eq!(redeem(store, &of_code(&issued, "r-1")), before(1), "30 days past its end");
    asked_at(33 * days + 1, 6);
    assert_eq!(wait(store.share_code(issued.id)).unwrap(), None);
    assert_eq!(
        redeem(store, &Redemption { may_spend: false, ..of_code(&issued, "r-1") }),
        Redeemed::NotBefore
    );
}

fn evidence(obtained: i64) -> ConsentEvidence {
    ConsentEvidence {
        obtained_at: at(obtained),
        expires_at: at(obtained + 90 * 86_400),
        notice_version: "2026-1".to_owned(),
        evidence_sha256: [0x33; 32],
    }
}

fn note(store: &dyn Store, subject: SubjectId, who: &str, obtained: i64, used: i64) -> ConsentEvidence {
    note_for(store, subject, who, obtained, used, "checkout");
    evidence(obtained)
}

fn note_for(store: &dyn Store, subject: SubjectId, who: &str, obtained: i64, used: i64, category: &str) {
    let (who, evidence) = (partner(who), evidence(obtained));
    let used = ConsentUsed {
        subject,
        partner: &who,
        purpose: Purpose::Rental,
        fields: FieldSet::of(&[Field::MaskedName]),
        evidence: &evidence,
        case_category: category,
        at: at(used),
    };
    wait(Box::pin(store.note(&used).wait())).unwrap();
}

fn list(store: &dyn Store, subject: SubjectId) -> Vec<ConsentOnBook> {
    wait(store.list(subject, None, 5_000)).unwrap()
}

fn subject_of(store: &dyn Store, text: &str) -> SubjectId {
    read(store, text).unwrap().record.unwrap().subject
}

pub(super) fn a_consent_is_noted_once_and_told_whole(store: &dyn Store) {
    assert!(list(store, SUBJECT).is_empty());
    let evidence = note(store, SUBJECT, "rental-demo", -50, 1);
    note(store, SUBJECT, "rental-demo", -50, 2);
    let listed = list(store, SUBJECT);
    let expected = ConsentOnBook {
        id: listed[0].id,
        partner: partner("rental-demo"),
        purpose: Purpose::Rental,
        fields: FieldSet::of(&[Field::MaskedName]),
        evidence,
        case_category: "checkout".to_owned(),
        first_used_at: at(1),
        withdrawn_at: None,
    };
    assert_eq!(listed, std::slice::from_ref(&expected));
    note_for(store, SUBJECT, "rental-demo", -50, 3, "return");
    let expected = ConsentOnBook { case_category: "return".to_owned(), ..expected };
    assert_eq!(list(store, SUBJECT), [expected], "the matter in which it was used last");
    for (who, obtained) in [("rental-demo", -51), ("insurer-demo", -50)] {
        note(store, SUBJECT, who, obtained, 4);
    }
    assert_eq!(list(store, SUBJECT).len(), 3);
    assert!(list(store, SubjectId::from_bytes([8; 16])).is_empty());
}

pub(super) fn a_known_consent_is_noted_at_once(store: &dyn Store) {
    let (who, evidence) = (partner("rental-demo"), evidence(-50));
    let used = ConsentUsed {
        subject: SUBJECT,
        partner: &who,
        purpose: Purpose::Rental,
        fields: FieldSet::EMPTY,
        evidence: &evidence,
        case_category: "checkout",
        at: at(1),
    };
    let first = store.note(&used);
    assert!(matches!(first, Soon::Later(_)));
    wait(Box::pin(first.wait())).unwrap();
    assert!(matches!(store.note(&used), Soon::Now(Ok(()))));
    let more = ConsentUsed { fields: FieldSet::of(&[Field::MaskedName]), ..used };
    assert!(matches!(store.note(&more), Soon::Later(_)), "it is used for more than was noted");
}

pub(super) fn consents_are_listed_in_pages_newest_first(store: &dyn Store) {
    for number in 0..9 {
        // Three first used at each moment.
        note(store, SUBJECT, "rental-demo", -100 - number, number / 3);
    }
    let all = list(store, SUBJECT);
    assert_eq!(all.len(), 9);
    assert!(all.is_sorted_by_key(|consent| std::cmp::Reverse((consent.first_used_at, consent.id))));
    for limit in [1, 2, 4, 9] {
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = wait(store.list(SUBJECT, before, limit)).unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            before = Some(ConsentPlace { first_used_at: last.first_used_at, id: last.id });
            paged.extend(page);
        }
        assert_eq!(paged, all, "in pages of {limit}");
    }
}

pub(super) fn the_oldest_consent_makes_room(store: &dyn Store) {
    let count = i64::try_from(CONSENTS_MAX).unwrap();
    for number in 0..=count {
        note(store, SUBJECT, "rental-demo", -2_000 + number, number);
    }
    let listed = list(store, SUBJECT);
    assert_eq!(listed.len(), CONSENTS_MAX);
    assert_eq!((listed[0].first_used_at, listed[CONSENTS_MAX - 1].first_used_at), (at(count), at(1)));
}

/// Goal: a withdrawal stands on the record, and whoever follows the feed has heard of it when it is told.
pub(super) fn a_withdrawal_stands_on_the_record_and_is_told(store: &dyn Store) {
    apply(store, &[licensed(ONE), licensed(TWO)]);
    let (one, two) = (subject_of(store, ONE), subject_of(store, TWO));
    for subject in [one, two] {
        note(store, subject, "rental-demo", -50, 1);
    }
    let heads = wait(store.heads()).unwrap().changes();
    let consent = list(store, one)[0].id;
    let withdraw = |second| wait(store.withdraw(one, consent, at(second))).unwrap();
    assert_eq!(withdraw(10), Some(at(10)));
    assert_eq!(withdraw(20), Some(at(10)), "the first moment");
    assert_eq!(list(store, one)[0].withdrawn_at, Some(at(10)));
    assert_eq!(wait(store.heads()).unwrap().changes(), heads + 1, "one place on the feed");
    let stops = read(store, ONE).unwrap().record.unwrap().stops.clone();
    assert!(stops.stop(&partner("rental-demo"), Purpose::Rental, at(-50)));
    assert!(!stops.stop(&partner("rental-demo"), Purpose::Rental, at(11)), "a consent given anew");
    assert!(read(store, TWO).unwrap().record.unwrap().stops.is_empty());
    assert_eq!(list(store, two)[0].withdrawn_at, None);
    assert_eq!(wait(store.withdraw(one, ConsentId([1; 16]), at(30))).unwrap(), None, "no such consent");
    assert_eq!(wait(store.withdraw(two, consent, at(30))).unwrap(), None, "somebody else's");
}

pub(super) fn an_objection_counts_from_the_first(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let subject = subject_of(store, ONE);
    let object = |second| wait(store.object(subject, partner("rental-demo"), Purpose::Rental, at(second)));
    assert_eq!(object(10), Ok(at(10)));
    let heads = wait(store.heads()).unwrap().changes();
    assert_eq!(object(20), Ok(at(10)));
    assert_eq!(wait(store.heads()).unwrap().changes(), heads, "nothing changed");
    let stops = read(store, ONE).unwrap().record.unwrap().stops.clone();
    assert_eq!(stops.of(&partner("rental-demo"), Purpose::Rental).unwrap().objected_at, Some(at(10)));
}

pub(super) fn a_record_full_of_stops_says_so(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let subject = subject_of(store, ONE);
    let object =
        |number: usize| wait(store.object(subject, partner(&format!("p{number}")), Purpose::Rental, at(1)));
    for number in 0..STOPS_MAX {
        assert_eq!(object(number), Ok(at(1)));
    }
    assert_eq!(object(STOPS_MAX), Err(StopFault::Full(StopsFull)));
    assert_eq!(object(7), Ok(at(1)), "what it holds it still takes");
    note(store, subject, "one-more", -50, 1);
    let consent = list(store, subject)[0].id;
    assert_eq!(wait(store.withdraw(subject, consent, at(2))), Err(StopFault::Full(StopsFull)));
    assert_eq!(list(store, subject)[0].withdrawn_at, None, "nothing was withdrawn");
}

pub(super) fn stops_outlast_changes_and_end_with_the_record(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let subject = subject_of(store, ONE);
    wait(store.object(subject, partner("rental-demo"), Purpose::Rental, at(1))).unwrap();
    apply(store, &[more(ONE, change("2026-11-20T00:00:00Z", ChangeKind::PointsSet { points: 3 }))]);
    let record = read(store, ONE).unwrap().record.unwrap();
    assert_eq!(record.stops.iter().count(), 1);
    apply(store, &[more(ONE, change("2026-11-21T00:00:00Z", ChangeKind::Erased))]);
    assert!(read(store, ONE).unwrap().record.is_none());
    let again = wait(store.object(subject, partner("rental-demo"), Purpose::Rental, at(9)));
    assert_eq!(again, Ok(at(9)), "the first is forgotten, and there is nothing to put another on");
    assert!(read(store, ONE).unwrap().record.is_none());
}

pub(super) fn hold_backs_are_set_listed_and_lifted(store: &dyn Store) {
    let held = |id: u8, set: i64| HoldBack {
        id: [id; 16],
        subject: SUBJECT,
        partner: (id == 1).then(|| partner("police-demo")),
        from: at(0),
        until: at(90 * 86_400),
        set_by: "duty officer".to_owned(),
        ground: "刑事诉讼法第一百一十五条".to_owned(),
        set_at: at(set),
    };
    let of = |subject| wait(store.of_subject(subject)).unwrap();
    assert!(of(SUBJECT).is_empty());
    let another = HoldBack { subject: SubjectId::from_bytes([7; 16]), ..held(1, 3) };
    for set in [held(1, 1), held(2, 2), another.clone()] {
        wait(store.set(set)).unwrap();
    }
    assert_eq!(of(SUBJECT), [held(2, 2), held(1, 1)], "the one set last first");
    let shorter = HoldBack { until: at(1), ..held(1, 4) };
    wait(store.set(shorter.clone())).unwrap();
    assert_eq!(of(SUBJECT), [shorter, held(2, 2)], "set anew");
    assert!(wait(store.lift(SUBJECT, [1; 16])).unwrap());
    assert!(!wait(store.lift(SUBJECT, [1; 16])).unwrap(), "there is none any more");
    assert_eq!((of(SUBJECT), of(another.subject)), (vec![held(2, 2)], vec![another]));
}

macro_rules! book_suite {
    ($fresh:expr) => {
        $crate::registry::book_suite::book_suite! { $fresh;
            one_use_means_one_use
            what_may_not_be_spent_is_only_looked_for
            of_two_answers_the_first_is_kept
            a_revocation_and_a_redemption_compete
            a_share_code_comes_back_as_it_was_issued
            a_share_code_has_as_many_uses_as_it_says
            what_is_left_of_a_share_code_is_taken_back
            racing_requests_share_nothing
            what_is_long_over_is_swept
            a_consent_is_noted_once_and_told_whole
            a_known_consent_is_noted_at_once
            consents_are_listed_in_pages_newest_first
            the_oldest_consent_makes_room
            a_withdrawal_stands_on_the_record_and_is_told
            an_objection_counts_from_the_first
            a_record_full_of_stops_says_so
            stops_outlast_changes_and_end_with_the_record
            hold_backs_are_set_listed_and_lifted
        }
    };
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { $crate::registry::book_suite::$behaviour(&$fresh); })+
    };
}

pub(super) use book_suite;

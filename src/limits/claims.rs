//! The bounds on claims, behind the ports of verification: how many people a partner may claim to know, how many different questions it may
//! ask about one of them, and the tripwire for those who guess.
//!
//! Everything is in this process: no claim ever waits for another one's store. [`ClaimLimits::exchange_with`] tells the other replicas
//! once a second, and what the log holds from before the start is handed to [`ClaimLimits::recall`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::partners::{PerPartner, locked};
use super::questions::{Questions, Told};
use super::subjects::{Admitted, SubjectMark, Subjects};
use super::tripwire::{Pace, Tripwire};
use crate::admission::claims::{ClaimNews, ClaimsUnshared, MarkNews, QuestionNews, SharedClaims, TallyNews};
use crate::domain::partner::{ClaimTerms, PartnerId, SUBJECTS_MAX};
use crate::domain::question::Purpose;
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::domain::time::Clock;
use crate::verification::ports::{
    Admission, ClaimLevel, ClaimRefused, ClaimWatch, QuestionDigest, SubjectBudget, VariationExceeded,
};

/// The claims of every partner. Keyed by authenticated partner only.
pub struct ClaimLimits {
    clock: Arc<dyn Clock>,
    /// There are other replicas to be told.
    shares: bool,
    partners: PerPartner<Mutex<Claims>>,
    questions: PerPartner<Mutex<Questions>>,
    /// Up to where the others' news are known, for every partner that is not [`Hearing::Unheard`].
    heard: Mutex<u64>,
    unconfirmed: AtomicU64,
}

/// A claim that was answered before the start, as the log tells it.
#[derive(Clone, Debug)]
pub struct PastClaim {
    /// Who claimed.
    pub partner: PartnerId,
    /// When.
    pub at: Timestamp,
    /// Whom: the subject's id, or for a number nobody had its pseudonym. `None`: the other replicas know already.
    pub about: Option<[u8; 16]>,
    /// It came to nothing.
    pub unconfirmed: bool,
}

/// A partner whose tripwire is not at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarmed {
    /// Whose.
    pub partner: PartnerId,
    /// Claims are not answered any more; else they are slowed.
    pub is_tripped: bool,
    /// Unconfirmed claims counted, everywhere.
    pub unconfirmed: u64,
    /// Different numbers claimed in the window.
    pub subjects: u64,
}

/// How much is known of what other replicas told before there was room here for the partner, or for a window of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// Nothing: all of it must be heard anew.
    Unheard,
    /// It is being heard from its beginning.
    CatchingUp,
    /// All of it was heard once, or there are no others.
    CaughtUp,
}

struct Claims {
    terms: ClaimTerms,
    shares: bool,
    hearing: Hearing,
    subjects: Subjects,
    tripwire: Tripwire,
    /// The operator's last word that let the partner claim again.
    let_go_at: Option<Timestamp>,
}

impl ClaimLimits {
    /// Makes bounds without any partner; each appears with its first claim.
    pub fn new(clock: Arc<dyn Clock>, shares: bool) -> Self {
        Self {
            clock,
            shares,
            partners: PerPartner::new(),
            questions: PerPartner::new(),
            heard: Mutex::default(),
            unconfirmed: AtomicU64::new(0),
        }
    }

    /// Forgets partners `keep` does not want: called after contracts were reloaded.
    pub fn retain(&self, keep: impl Fn(&PartnerId) -> bool) {
        self.partners.retain(&keep);
        self.questions.retain(&keep);
    }

    /// Makes room for a partner of the contracts: what other replicas say of a partner that is not known here would be lost.
    pub fn introduce(&self, partner: &PartnerId, terms: &ClaimTerms) {
        self.with(partner, terms, |_| ());
    }

    /// Takes in what the log holds of claims answered before the start. `let_go_at` says when the partner was last let claim again.
    pub fn recall(&self, terms: &ClaimTerms, let_go_at: Option<Timestamp>, past: &PastClaim) {
        self.with(&past.partner, terms, |claims| {
            claims.let_go(let_go_at);
            let before = claims.subjects.count();
            if let Some(about) = past.about {
                claims.subjects.recall(SubjectMark::of(about), past.at);
            }
            if past.at >= claims.tripwire.since() {
                claims.tripwire.count(u64::from(past.unconfirmed));
            } else {
                claims.tripwire.leave_out(claims.subjects.count() - before);
            }
        });
    }

    /// Counts anew for a partner whom the operator let claim again after the last time this was called.
    pub fn let_go(&self, partner: &PartnerId, terms: &ClaimTerms, let_go_at: Timestamp) {
        self.with(partner, terms, |claims| claims.let_go(Some(let_go_at)));
    }

    /// Counts the unconfirmed claims of all partners since the start.
    pub fn unconfirmed_count(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }

    /// Lists the partners whose claims are slowed or stopped here, by what was counted. Not one of whose numbers too few are known yet.
    pub fn alarmed(&self) -> Vec<Alarmed> {
        let now = self.clock.now();
        let partners = self.partners.all();
        let judged = partners.iter().filter_map(|(partner, claims)| {
            let mut claims = locked(claims);
            let terms = claims.terms;
            claims.roll(&terms, now);
            let is_tripped = match claims.pace() {
                Pace::Free => return None,
                Pace::Slowed(_) => false,
                Pace::Tripped => true,
            };
            let (unconfirmed, subjects) = (claims.tripwire.unconfirmed(), claims.subjects.count());
            Some(Alarmed { partner: partner.clone(), is_tripped, unconfirmed, subjects })
        });
        let mut alarmed: Vec<_> = judged.collect();
        alarmed.sort_by(|one, other| one.partner.cmp(&other.partner));
        alarmed
    }

    /// Tells the other replicas what is new here, and takes in what is new there. Not on the way of any request.
    ///
    /// # Errors
    /// [`ClaimsUnshared`]: what is new here is told the next time.
    pub async fn exchange_with(&self, others: &dyn SharedClaims) -> Result<(), ClaimsUnshared> {
        let news = self.news();
        let after = self.hear_from();
        match others.exchange(news.clone(), self.clock.now(), after).await {
            Ok(heard) => {
                self.take_in(&heard.news);
                *locked(&self.heard) = heard.up_to;
                if heard.is_all {
                    self.turn_all(Hearing::CatchingUp, Hearing::CaughtUp);
                }
                Ok(())
            }
            Err(unshared) => {
                self.put_back(news);
                Err(unshared)
            }
        }
    }

    /// Says after which news to hear on: from their beginning, if somebody is here for whom the earlier ones were not kept.
    fn hear_from(&self) -> u64 {
        let mut heard = locked(&self.heard);
        if self.turn_all(Hearing::Unheard, Hearing::CatchingUp) {
            *heard = 0;
        }
        *heard
    }

    /// Turns every partner's hearing that stands at `from`. Says whether there was one.
    fn turn_all(&self, from: Hearing, to: Hearing) -> bool {
        let mut turned = false;
        for claims in self.partners.all().values() {
            let mut claims = locked(claims);
            if claims.hearing == from {
                claims.hearing = to;
                turned = true;
            }
        }
        turned
    }

    fn news(&self) -> ClaimNews {
        let now = self.clock.now();
        let mut news = ClaimNews::default();
        for (partner, claims) in self.partners.all().iter() {
            let mut claims = locked(claims);
            let terms = claims.terms;
            claims.roll(&terms, now);
            let (window_began, marks) = claims.subjects.take_untold();
            news.marks.extend(marks.into_iter().map(|mark| MarkNews {
                partner: partner.clone(),
                window_began,
                mark: mark.0,
                told_at: now,
            }));
            let (since, unconfirmed) = (claims.tripwire.since(), claims.tripwire.here());
            if unconfirmed > 0 {
                news.tallies.push(TallyNews { partner: partner.clone(), since, unconfirmed });
            }
        }
        for (partner, questions) in self.questions.all().iter() {
            let untold = locked(questions).take_untold(self.clock.since_boot());
            news.questions.extend(untold.into_iter().map(|told| QuestionNews {
                partner: partner.clone(),
                is_case: told.is_case,
                key: told.key,
                question: told.question,
                asked_at: now.saturating_sub(told.age).unwrap_or(Timestamp::MIN),
            }));
        }
        news
    }

    fn take_in(&self, news: &ClaimNews) {
        let now = self.clock.now();
        for MarkNews { partner, window_began, mark, told_at } in &news.marks {
            if let Some(claims) = self.partners.find(partner) {
                let mut claims = locked(&claims);
                let terms = claims.terms;
                claims.roll(&terms, now);
                claims.learn(SubjectMark(*mark), *window_began, *told_at);
            }
        }
        let mut elsewhere: HashMap<(&PartnerId, Timestamp), u64> = HashMap::new();
        for TallyNews { partner, since, unconfirmed } in &news.tallies {
            *elsewhere.entry((partner, *since)).or_default() += unconfirmed;
        }
        for ((partner, since), unconfirmed) in elsewhere {
            if let Some(claims) = self.partners.find(partner) {
                let mut claims = locked(&claims);
                let terms = claims.terms;
                claims.roll(&terms, now);
                claims.tripwire.learn(since, unconfirmed);
            }
        }
        for news in &news.questions {
            // Of a partner that is not known here yet all is heard anew once it is.
            if self.partners.find(&news.partner).is_some() {
                let questions = self.questions_of(&news.partner);
                locked(&questions).learn(&told_of(news, now), self.clock.since_boot());
            }
        }
    }

    fn put_back(&self, ClaimNews { marks, questions, .. }: ClaimNews) {
        let now = self.clock.now();
        for news in &questions {
            if let Some(questions) = self.questions.find(&news.partner) {
                locked(&questions).put_back(&told_of(news, now), self.clock.since_boot());
            }
        }
        let mut by_window: HashMap<(PartnerId, Timestamp), Vec<SubjectMark>> = HashMap::new();
        for MarkNews { partner, window_began, mark, .. } in marks {
            by_window.entry((partner, window_began)).or_default().push(SubjectMark(mark));
        }
        for ((partner, window_began), marks) in by_window {
            if let Some(claims) = self.partners.find(&partner) {
                locked(&claims).subjects.put_back(window_began, marks);
            }
        }
    }

    fn questions_of(&self, partner: &PartnerId) -> Arc<Mutex<Questions>> {
        self.questions.find_or(partner, || Mutex::new(Questions::new(SUBJECTS_REMEMBERED_MAX, self.shares)))
    }

    /// Works on a partner's claims, in the window now open.
    fn with<R>(&self, partner: &PartnerId, terms: &ClaimTerms, work: impl FnOnce(&mut Claims) -> R) -> R {
        let now = self.clock.now();
        let claims = self.partners.find_or(partner, || Mutex::new(Claims::new(*terms, now, self.shares)));
        let mut claims = locked(&claims);
        claims.roll(terms, now);
        work(&mut claims)
    }
}

/// Subjects, and as many cases, remembered of one partner for the rule of questions: the largest budget of different numbers, at most 13 MB.
/// Beyond it the oldest are forgotten and may be asked about anew.
const SUBJECTS_REMEMBERED_MAX: usize = SUBJECTS_MAX as usize;

fn told_of(news: &QuestionNews, now: Timestamp) -> Told {
    let age = now.duration_since(news.asked_at).max(SignedDuration::ZERO).unsigned_abs();
    Told { is_case: news.is_case, key: news.key, question: news.question, age }
}

impl Claims {
    fn new(terms: ClaimTerms, now: Timestamp, shares: bool) -> Self {
        let subjects = Subjects::new(terms.window_hours, now, shares);
        let tripwire = Tripwire::new(subjects.window().starts_at, 0);
        let hearing = if shares { Hearing::Unheard } else { Hearing::CaughtUp };
        Self { terms, shares, hearing, subjects, tripwire, let_go_at: None }
    }

    /// Follows the contract and the clock: a new window counts anew.
    fn roll(&mut self, terms: &ClaimTerms, now: Timestamp) {
        if self.shares && self.terms.window_hours != terms.window_hours {
            // What was heard so far was kept for the other window.
            self.hearing = Hearing::Unheard;
        }
        self.terms = *terms;
        if self.subjects.roll(terms.window_hours, now) {
            self.tripwire = Tripwire::new(self.subjects.window().starts_at, 0);
        }
    }

    /// Counts anew from the operator's word on, once.
    fn let_go(&mut self, at: Option<Timestamp>) {
        if at > self.let_go_at {
            self.let_go_at = at;
            if let Some(at) = at.filter(|at| *at > self.subjects.window().starts_at) {
                self.tripwire = Tripwire::new(at, self.subjects.count());
            }
        }
    }

    /// Takes in a number of which another replica told then, or this one before it was started anew.
    fn learn(&mut self, mark: SubjectMark, window_began: Timestamp, told_at: Timestamp) {
        if self.subjects.learn(mark, window_began) && told_at < self.tripwire.since() {
            self.tripwire.leave_out(1);
        }
    }

    /// Judges the share of unconfirmed claims. Counts arrive at once and numbers bit by bit, so there is no share before all are heard.
    fn pace(&mut self) -> Pace {
        match self.hearing {
            Hearing::CaughtUp => self.tripwire.pace(&self.terms, self.subjects.count()),
            Hearing::Unheard | Hearing::CatchingUp => Pace::Free,
        }
    }

    fn spent(&self, now: Timestamp) -> ClaimRefused {
        ClaimRefused::SubjectsSpent {
            subjects_max: self.terms.subjects_max,
            window_hours: self.terms.window_hours,
            retry_after: self.left_at(now),
        }
    }

    fn left_at(&self, now: Timestamp) -> Duration {
        self.subjects.window().ends_at.duration_since(now).max(SignedDuration::ZERO).unsigned_abs()
    }
}

impl ClaimWatch for ClaimLimits {
    fn pace(&self, partner: &PartnerId, terms: &ClaimTerms) -> Result<Duration, ClaimRefused> {
        self.with(partner, terms, |claims| match claims.pace() {
            Pace::Free => Ok(Duration::ZERO),
            Pace::Slowed(wait) => Ok(wait),
            Pace::Tripped => Err(ClaimRefused::Stopped),
        })
    }

    fn admit(
        &self,
        partner: &PartnerId,
        terms: &ClaimTerms,
        number: NumberPseudonym,
    ) -> Result<Admission, ClaimRefused> {
        let now = self.clock.now();
        self.with(partner, terms, |claims| {
            if claims.pace() == Pace::Tripped {
                return Err(ClaimRefused::Stopped);
            }
            match claims.subjects.admit(number.into(), terms.subjects_max) {
                Admitted::Yes => Ok(Admission::Known),
                Admitted::IfNameless => Ok(Admission::IfRecalled),
                Admitted::No => Err(claims.spent(now)),
            }
        })
    }

    fn found(
        &self,
        partner: &PartnerId,
        terms: &ClaimTerms,
        number: NumberPseudonym,
        subject: &SubjectId,
    ) -> bool {
        self.with(partner, terms, |claims| {
            claims.subjects.name(number.into(), SubjectMark::of(*subject.as_bytes()))
        })
    }

    fn spent(&self, partner: &PartnerId, terms: &ClaimTerms) -> ClaimRefused {
        let now = self.clock.now();
        self.with(partner, terms, |claims| claims.spent(now))
    }

    fn unconfirmed(&self, partner: &PartnerId, terms: &ClaimTerms) {
        self.unconfirmed.fetch_add(1, Ordering::Relaxed);
        self.with(partner, terms, |claims| claims.tripwire.count(1));
    }

    fn level(&self, partner: &PartnerId, terms: &ClaimTerms) -> ClaimLevel {
        let now = self.clock.now();
        self.with(partner, terms, |claims| ClaimLevel {
            remaining: u64::from(terms.subjects_max).saturating_sub(claims.subjects.count()),
            reset_after: claims.left_at(now),
            is_slowed: matches!(claims.pace(), Pace::Slowed(_)),
            is_stopped: claims.pace() == Pace::Tripped,
        })
    }
}

impl SubjectBudget for ClaimLimits {
    fn admit_question(
        &self,
        partner: &PartnerId,
        purpose: Purpose,
        pseudonym: NumberPseudonym,
        question: QuestionDigest,
        case_reference: &str,
    ) -> Result<(), VariationExceeded> {
        let questions = self.questions_of(partner);
        let now = self.clock.since_boot();
        locked(&questions).admit(purpose, pseudonym, question, case_reference, now)
    }
}

#[cfg(test)]
mod tests;

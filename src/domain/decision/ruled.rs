//! Deciding: fold the history, look at what the purpose asks, decide over the criteria.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::ground::{Ground, GroundSet, grounds};
use super::outcome::{
    Advice, Criterion, CriterionKind, Decision, NotCovered, Outcome, Reason, Remedy, Ruling,
};
use super::period::{Relied, just_before, lasts_until};
use super::{ages, claim, enforcement, peer, probation, purchase, rental, role};
use crate::domain::disclosure::Probation;
use crate::domain::elicence;
use crate::domain::licence::{AsOf, ClassSet, History, Known, Qualification};
use crate::domain::question::{Purpose, Question};
use crate::domain::rules::Rules;
use crate::domain::time::{civil_day, months_after};
use crate::domain::vehicle::{Coverage, Requirement};

/// A ruling, and what a disclosure about it may draw on.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruled {
    /// How the question came out.
    pub ruling: Ruling,
    /// What was held at the moment, as known then.
    pub qualification: Qualification,
    /// Held classes the age is not known to have ended.
    pub classes_in_force: ClassSet,
    /// The last valid day, if it had passed less than a year before.
    pub expired_on: Option<Date>,
    /// The probation in which the vehicle asked about would be driven.
    pub probation: Option<Probation>,
    /// Whether business that follows from the state needs the paper licence; said to enforcement only.
    pub paper_licence_needed: bool,
    /// How the e-licence looks; said to peers only.
    pub e_licence: Option<elicence::Shown>,
    /// The latest recording after the moment asked about that changed what the answer shows of that moment. Whatever else
    /// was recorded is nobody's business; in doubt about the record nothing is said.
    pub changed_since: Option<Timestamp>,
}

impl Ruled {
    /// Says whether the record itself is in doubt: disputed, or beginning after the moment asked about.
    pub fn record_in_doubt(&self) -> bool {
        self.ruling.criteria.iter().any(is_record_in_doubt)
    }
}

fn is_record_in_doubt(criterion: &Criterion) -> bool {
    criterion.kind == CriterionKind::Record && criterion.outcome == Outcome::Unknown
}

/// Decides a question about a confirmed subject. Pure: the same history, question and clocks give the same ruling.
///
/// `as_of` says which moment is asked about and as known when; `now` is when the question is asked.
pub fn decide(question: &Question, history: &History, as_of: AsOf, now: Timestamp, rules: &Rules) -> Ruled {
    decide_over(question, history, history.fold(as_of), as_of, now, rules)
}

/// As [`decide`], over a fold the caller already has: it must be that of `as_of`.
pub fn decide_over(
    question: &Question,
    history: &History,
    held: Qualification,
    as_of: AsOf,
    now: Timestamp,
    rules: &Rules,
) -> Ruled {
    let case = Case {
        history,
        held: &held,
        moment: as_of.moment,
        day: civil_day(as_of.moment),
        known: as_of.known,
        rules,
    };
    let for_peer = question.purpose() == Purpose::PeerScan;
    // A peer is not told of a doubt either: the e-licence looks void.
    let doubt = if for_peer { None } else { case.record() };
    let shown = match doubt {
        Some(doubt) => Shown { criteria: vec![doubt], ..Shown::default() },
        None => Shown::of(question, &case),
    };
    let changed_since = if doubt.is_some() { None } else { changed_since(question, &case, &shown) };
    let classes_in_force = case.classes_held_in_force();
    let asked_by_enforcement = question.purpose() == Purpose::Enforcement;
    let paper_licence_needed = asked_by_enforcement && enforcement::needs_paper_licence(&case);
    Ruled {
        ruling: ruling(question, shown.criteria, &case, now),
        classes_in_force,
        expired_on: shown.expired_on,
        probation: shown.probation,
        paper_licence_needed,
        e_licence: for_peer.then(|| peer::shown(&case)),
        changed_since,
        qualification: held,
    }
}

/// What an answer about the past can show of a moment.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    criteria: Vec<Criterion>,
    expired_on: Option<Date>,
    probation: Option<Probation>,
}

impl Shown {
    fn of(question: &Question, case: &Case<'_>) -> Self {
        let last_day = case.held.validity.and_then(|validity| validity.last_day);
        let expired = case.grounds().contains(Ground::Expired);
        let required = required(question, case);
        Self {
            criteria: criteria(question, case),
            expired_on: last_day.filter(|last_day| expired && *last_day < case.day),
            probation: probation::probation_with(case.held, case.rules, case.day, required).known(),
        }
    }
}

/// Finds the latest recording after the moment without which the answer would show something else.
fn changed_since(question: &Question, case: &Case<'_>, shown: &Shown) -> Option<Timestamp> {
    let as_of = AsOf { moment: case.moment, known: case.known };
    let mut judged = None;
    case.history.recorded_late(as_of).find(|recorded_at| {
        if judged.replace(*recorded_at) == Some(*recorded_at) {
            return false;
        }
        let known = Known { at: just_before(*recorded_at), ..case.known };
        let held = case.history.fold(AsOf { known, ..as_of });
        let before = Case { known, ..case.at(case.moment, &held) };
        Shown::of(question, &before) != *shown
    })
}

/// One question about one subject at one moment.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) history: &'a History,
    pub(super) held: &'a Qualification,
    pub(super) moment: Timestamp,
    pub(super) day: Date,
    pub(super) known: Known,
    pub(super) rules: &'a Rules,
}

impl<'a> Case<'a> {
    /// The same case at another moment.
    pub(super) fn at<'b>(&self, moment: Timestamp, held: &'b Qualification) -> Case<'b>
    where
        'a: 'b,
    {
        Case { held, moment, day: civil_day(moment), ..*self }
    }

    /// Returns the doubt about the record itself, which leaves nothing else to be said.
    fn record(&self) -> Option<Criterion> {
        if self.held.disputed {
            Some(Criterion::unknown(CriterionKind::Record, Reason::RecordInDispute))
        } else if self.held.history_from.is_some_and(|from| self.moment < from) || !self.knows_of_an_issue() {
            Some(Criterion::unknown(CriterionKind::Record, Reason::HistoryNotHeld))
        } else {
            None
        }
    }

    /// Without a first issue in the record, by the moment or after it, nothing is known: least of all that there was none.
    fn knows_of_an_issue(&self) -> bool {
        self.held.first_issue.is_some() || self.history.is_issued_later(self.known, self.moment)
    }

    /// What stands against the licence.
    pub(super) fn grounds(&self) -> GroundSet {
        grounds(self.held, self.rules, self.day)
    }

    /// Whether a class in force permits what is needed. A class lost by age and a class never held look the same.
    pub(super) fn class(&self, required: Requirement) -> Criterion {
        let in_force = ages::classes_in_force(self.held, self.rules, self.day);
        match (required.met_by_permitted(in_force.surely), required.met_by_permitted(in_force.at_most())) {
            (Coverage::Covered, _) => Criterion::met(CriterionKind::Class),
            (_, Coverage::NotCovered) => Criterion::not_met(CriterionKind::Class, Reason::ClassNotCovered),
            (_, Coverage::Unclear) => Criterion::unknown(CriterionKind::Class, Reason::VehicleUnclear),
            (_, Coverage::Covered) => Criterion::unknown(CriterionKind::Class, Reason::StateUnresolved),
        }
    }

    /// Months since first issue, counted to the moment.
    pub(super) fn tenure(&self, months: u16) -> Criterion {
        let held_long_enough =
            self.held.first_issue.is_some_and(|first| months_after(first, i32::from(months)) <= self.day);
        Criterion::met_if(held_long_enough, CriterionKind::Tenure, Reason::TenureShort)
    }

    fn classes_held_in_force(&self) -> ClassSet {
        let held: ClassSet = self.held.classes.iter().map(|holding| holding.class).collect();
        held.intersection(ages::classes_in_force(self.held, self.rules, self.day).at_most())
    }
}

fn criteria(question: &Question, case: &Case<'_>) -> Vec<Criterion> {
    match question {
        Question::InsuranceClaim { vehicle, edition, .. } => claim::criteria(case, vehicle, *edition),
        Question::InsurancePurchase { vehicle } => purchase::criteria(case, vehicle),
        Question::Rental { vehicle, return_at, min_tenure_months, validity_margin_days, .. } => {
            let terms = rental::Terms {
                return_at: *return_at,
                min_tenure_months: *min_tenure_months,
                validity_margin_days: *validity_margin_days,
            };
            rental::criteria(case, vehicle, &terms)
        }
        Question::Recruitment { .. } | Question::Transport { .. } => match role_asked(question, case) {
            Some(asked) => role::criteria(case, &asked),
            None => vec![Criterion::unknown(CriterionKind::Class, Reason::VehicleUnclear)],
        },
        Question::Enforcement { vehicle } => enforcement::criteria(case, vehicle.as_ref()),
        Question::PeerScan { .. } => peer::criteria(&peer::shown(case)),
    }
}

/// Reads a question about a role; `None` for other questions, and for a role without rule.
fn role_asked<'a>(question: &Question, case: &Case<'a>) -> Option<role::Asked<'a>> {
    let (role, class, min_tenure_months, filed) = match question {
        Question::Recruitment { role, class, min_tenure_months } => {
            (*role, *class, *min_tenure_months, false)
        }
        Question::Transport { role, class, filed } => (*role, *class, None, *filed),
        _ => return None,
    };
    let rule = case.rules.role_on(role, case.day)?;
    Some(role::Asked { rule, class, min_tenure_months, filed })
}

/// The classes a question needs.
fn required(question: &Question, case: &Case<'_>) -> Requirement {
    match question {
        Question::InsuranceClaim { vehicle, .. } | Question::Enforcement { vehicle: Some(vehicle) } => {
            vehicle.required()
        }
        Question::InsurancePurchase { vehicle } | Question::Rental { vehicle, .. } => {
            vehicle.required_without_health()
        }
        Question::Recruitment { .. } | Question::Transport { .. } => {
            role_asked(question, case).map_or(Requirement::UNCLEAR, |asked| asked.required())
        }
        Question::Enforcement { vehicle: None } | Question::PeerScan { .. } => Requirement::UNCLEAR,
    }
}

fn ruling(question: &Question, criteria: Vec<Criterion>, case: &Case<'_>, now: Timestamp) -> Ruling {
    let decision = Decision::over(&criteria);
    let in_doubt = criteria.iter().any(is_record_in_doubt);
    let reliance_until = match decision {
        Decision::Qualified => reliance_until(question, case, now),
        Decision::NotQualified | Decision::Indeterminate => None,
    };
    Ruling {
        decision,
        advice: advice(decision, &criteria),
        not_covered: not_covered(question, case).into(),
        reliance_until,
        remedies: if in_doubt { Vec::new() } else { remedies(question, case) },
        criteria,
    }
}

/// Days ahead a QUALIFIED answer may be relied on, besides the configured greatest number: a closed set, for the very
/// day of an end would tell the expiry or the birthday.
const RELIANCE_DAYS: [u16; 3] = [1, 7, 30];

/// Until when a QUALIFIED answer about the present may be relied on: the furthest of the closed horizons up to which
/// nothing known today ends it, none if not even the nearest is free. A rental is good for its period or not at all.
fn reliance_until(question: &Question, case: &Case<'_>, now: Timestamp) -> Option<Timestamp> {
    let relied = match question {
        // A peer sees what the screen shows at this moment.
        Question::InsuranceClaim { .. } | Question::PeerScan { .. } => return None,
        // QUALIFIED says that its period is met, which reaches to the return at least.
        Question::Rental { return_at, .. } => return Some(*return_at),
        Question::Recruitment { .. } | Question::Transport { .. } => role_asked(question, case)?.relied(),
        _ => Relied { required: required(question, case), age_max: None },
    };
    let lasts = |until: &Timestamp| lasts_until(case, &relied, *until) == Outcome::Met;
    let furthest = case.rules.reliance_days_max;
    let nearer = RELIANCE_DAYS.into_iter().rev().filter(|days| *days < furthest);
    std::iter::once(furthest)
        .chain(nearer)
        .filter_map(|days| now.checked_add((i64::from(days) * 24).hours()).ok())
        .find(lasts)
}

fn advice(decision: Decision, criteria: &[Criterion]) -> Advice {
    let vehicle_unclear = criteria.iter().any(|criterion| criterion.reason == Some(Reason::VehicleUnclear));
    match decision {
        Decision::Qualified => Advice::Nothing,
        Decision::Indeterminate if vehicle_unclear => Advice::CheckInput,
        Decision::NotQualified | Decision::Indeterminate => Advice::AskDriver,
    }
}

fn not_covered(question: &Question, case: &Case<'_>) -> &'static [NotCovered] {
    match question.purpose() {
        Purpose::InsuranceClaim => claim::NOT_COVERED,
        Purpose::InsurancePurchase => purchase::NOT_COVERED,
        Purpose::Rental => rental::NOT_COVERED,
        Purpose::Recruitment | Purpose::Transport => {
            role_asked(question, case).map_or(&[], |asked| asked.rule.not_covered)
        }
        Purpose::Enforcement => enforcement::NOT_COVERED,
        Purpose::PeerScan => &[],
    }
}

fn remedies(question: &Question, case: &Case<'_>) -> Vec<Remedy> {
    match question.purpose() {
        Purpose::Enforcement => enforcement::remedies(case),
        _ => Vec::new(),
    }
}

//! The pure outcome: criteria with outcomes and reasons, and the decision over them.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::domain::closed_set::closed_set;

closed_set! {
    /// The outcome over all criteria.
    pub enum Decision {
        /// Every criterion listed is met or noted.
        Qualified = 1, "qualified";
        /// At least one criterion is not met.
        NotQualified = 2, "not-qualified";
        /// Nothing is against it, but something could not be determined.
        Indeterminate = 3, "indeterminate";
    }
}

closed_set! {
    /// How a criterion came out.
    pub enum Outcome {
        /// Fulfilled.
        Met = 1, "met";
        /// Not fulfilled.
        NotMet = 2, "not-met";
        /// Could not be determined.
        Unknown = 3, "unknown";
        /// A fact that does not decide.
        Noted = 4, "noted";
    }
}

closed_set! {
    /// What was looked at.
    pub enum CriterionKind {
        /// The claim fits exactly one record.
        Subject = 1, "subject";
        /// The record reaches back far enough and is undisputed.
        Record = 2, "record";
        /// The licence is in force.
        Licence = 3, "licence";
        /// A class held covers the vehicle or role.
        Class = 4, "class";
        /// What probation forbids.
        Probation = 5, "probation";
        /// Months since first issue.
        Tenure = 6, "tenure";
        /// Nothing known ends the qualification within the period.
        Period = 7, "period";
        /// No 12-point record in the role's periods.
        PointsRecord = 8, "points-record";
        /// Age within the role's rule.
        Age = 9, "age";
        /// Review in order.
        Review = 10, "review";
        /// School-bus endorsement.
        Endorsement = 11, "endorsement";
        /// Matters pending.
        Pending = 12, "pending";
    }
}

closed_set! {
    /// Why a criterion is not met, unknown or noted. Append-only; documented for partners in `answer.proto`.
    pub enum Reason {
        /// No such number, another name, or a protected person.
        SubjectNotConfirmed = 1, "SUBJECT_NOT_CONFIRMED";
        /// The moment lies before the record begins.
        HistoryNotHeld = 2, "HISTORY_NOT_HELD";
        /// Changes are held or in dispute.
        RecordInDispute = 3, "RECORD_IN_DISPUTE";
        /// The one code for every barring state, expiry and deferral.
        LicenceNotInForce = 4, "LICENCE_NOT_IN_FORCE";
        /// A state or date could not be interpreted safely.
        StateUnresolved = 5, "STATE_UNRESOLVED";
        /// No class held covers the vehicle or role.
        ClassNotCovered = 6, "CLASS_NOT_COVERED";
        /// The vehicle is not described well enough.
        VehicleUnclear = 7, "VEHICLE_UNCLEAR";
        /// Held for fewer months than demanded.
        TenureShort = 8, "TENURE_SHORT";
        /// Something known ends the qualification within period or margin.
        EndsWithinPeriod = 9, "ENDS_WITHIN_PERIOD";
        /// In probation.
        Probation = 10, "PROBATION";
        /// A 12-point record in the role's periods.
        PointsRecord = 11, "POINTS_RECORD";
        /// Outside the role's ages.
        Age = 12, "AGE";
        /// 逾期未审验
        ReviewOverdue = 13, "REVIEW_OVERDUE";
        /// A violation or accident is pending.
        Pending = 14, "PENDING";
        /// The endorsement is missing.
        EndorsementMissing = 15, "ENDORSEMENT_MISSING";
        /// First issued after the moment asked about.
        NoLicenceAtT = 16, "NO_LICENCE_AT_T";
        /// Expired for less than a year.
        ExpiredUnderOneYear = 17, "EXPIRED_UNDER_ONE_YEAR";
        /// 注销
        Cancelled = 18, "CANCELLED";
        /// 注销可恢复
        CancelledRestorable = 19, "CANCELLED_RESTORABLE";
        /// 吊销
        Revoked = 20, "REVOKED";
        /// 撤销
        Annulled = 21, "ANNULLED";
        /// 暂扣
        Suspended = 22, "SUSPENDED";
        /// 扣留
        Detained = 23, "DETAINED";
        /// 记满12分
        PointsFull = 24, "POINTS_FULL";
        /// 停止使用
        Stopped = 25, "STOPPED";
        /// 延期 past the original period.
        Deferred = 26, "DEFERRED";
        /// The history does not reach back as far as the role's rule asks.
        PeriodsNotHeld = 27, "PERIODS_NOT_HELD";
    }
}

closed_set! {
    /// Legal conditions no registry of licences can answer.
    pub enum NotCovered {
        /// Crime, drink-driving, drugs.
        CriminalDrinkDrugRecord = 1, "criminal-drink-drug-record";
        /// A lost or damaged licence.
        LicenceLostOrDamaged = 2, "licence-lost-or-damaged";
        /// Alcohol and drugs at the moment.
        Sobriety = 3, "sobriety";
        /// The vehicle's papers.
        VehiclePapers = 4, "vehicle-papers";
        /// 从业资格
        OccupationalCertificate = 5, "occupational-certificate";
    }
}

closed_set! {
    /// What heals a state; shown to enforcement (and the wallet) only.
    pub enum Remedy {
        /// Window, paper licence and study result.
        WindowWithPaperAndStudyResult = 1, "window-with-paper-and-study-result";
        /// Window with the paper licence.
        WindowWithPaper = 2, "window-with-paper";
        /// Renew at a vehicle office.
        Renew = 3, "renew";
        /// Apply anew in the app.
        ReapplyInApp = 4, "reapply-in-app";
        /// Handle the pending matter.
        HandlePendingMatter = 5, "handle-pending-matter";
        /// Wait.
        Wait = 6, "wait";
        /// Theory test within two years of cancellation.
        RestoreByTest = 7, "restore-by-test";
    }
}

closed_set! {
    /// What a partner may do next.
    pub enum Advice {
        /// Nothing.
        Nothing = 0, "none";
        /// Ask the driver.
        AskDriver = 1, "ask-driver";
        /// Check what was sent.
        CheckInput = 2, "check-input";
    }
}

/// One thing that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// What.
    pub kind: CriterionKind,
    /// How it came out.
    pub outcome: Outcome,
    /// Why; `None` exactly when the outcome is [`Outcome::Met`].
    pub reason: Option<Reason>,
}

/// The answer of the rules, before anything is disclosed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The decision over the criteria.
    pub decision: Decision,
    /// The criteria, in the fixed order of the purpose.
    pub criteria: Vec<Criterion>,
    /// What no registry can answer.
    pub not_covered: Cow<'static, [NotCovered]>,
    /// First computable end of a QUALIFIED decision; `None` for claims and other decisions.
    pub reliance_until: Option<Timestamp>,
    /// What to do next.
    pub advice: Advice,
    /// For enforcement.
    pub remedies: Vec<Remedy>,
}

impl Criterion {
    /// Fulfilled.
    pub const fn met(kind: CriterionKind) -> Self {
        Self { kind, outcome: Outcome::Met, reason: None }
    }

    /// Not fulfilled.
    pub const fn not_met(kind: CriterionKind, reason: Reason) -> Self {
        Self { kind, outcome: Outcome::NotMet, reason: Some(reason) }
    }

    /// Could not be determined.
    pub const fn unknown(kind: CriterionKind, reason: Reason) -> Self {
        Self { kind, outcome: Outcome::Unknown, reason: Some(reason) }
    }

    /// A fact that does not decide.
    pub const fn noted(kind: CriterionKind, reason: Reason) -> Self {
        Self { kind, outcome: Outcome::Noted, reason: Some(reason) }
    }

    /// Met if something holds, else not met for a reason.
    pub const fn met_if(holds: bool, kind: CriterionKind, reason: Reason) -> Self {
        if holds { Self::met(kind) } else { Self::not_met(kind, reason) }
    }
}

impl Ruling {
    /// Nothing is known: no such number, another name, or a protected person. Always the same, whoever is asked about.
    pub fn not_confirmed() -> Self {
        Self {
            decision: Decision::Indeterminate,
            criteria: vec![Criterion::unknown(CriterionKind::Subject, Reason::SubjectNotConfirmed)],
            not_covered: Cow::Borrowed(&[]),
            reliance_until: None,
            advice: Advice::CheckInput,
            remedies: Vec::new(),
        }
    }
}

impl Ruling {
    /// Nothing was looked at: the driver has taken back the consent that was asserted.
    pub fn withheld() -> Self {
        Self { criteria: Vec::new(), advice: Advice::AskDriver, ..Self::not_confirmed() }
    }
}

impl Decision {
    /// Decides over criteria: any NOT_MET → NOT_QUALIFIED; else any UNKNOWN → INDETERMINATE; else QUALIFIED.
    /// No criterion at all decides nothing: INDETERMINATE.
    pub fn over(criteria: &[Criterion]) -> Self {
        let any = |outcome| criteria.iter().any(|criterion| criterion.outcome == outcome);
        if any(Outcome::NotMet) {
            Self::NotQualified
        } else if any(Outcome::Unknown) || criteria.is_empty() {
            Self::Indeterminate
        } else {
            Self::Qualified
        }
    }
}

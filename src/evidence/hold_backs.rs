//! The operator holds look-ups back from a driver while telling would endanger an investigation. A hold-back lifts itself.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ports::{AccessLog, AccessToRecord, Accessed, Accessing, HoldBack, HoldBacks, Whose};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::Holder;
use crate::domain::question::Purpose;
use crate::domain::time::Clock;
use crate::issuing::{Holders, KnownHolder, NoHolder};
use crate::verification::ports::{Deadline, LookUpError};

/// The longest name of who sets or lifts, in bytes: what the log's entry has room for.
pub const SETTER_BYTES_MAX: usize = 64;
/// The longest ground, in bytes.
pub const GROUND_BYTES_MAX: usize = 120;

/// Sets, lists and lifts hold-backs. One for the whole gateway; holds no state of its own.
pub struct HoldBackDesk {
    /// Finds holders.
    pub holders: Holders,
    /// Keeps hold-backs.
    pub hold_backs: Arc<dyn HoldBacks>,
    /// What the operator decides goes on record here.
    pub log: Arc<dyn AccessLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// How long one may last, from now.
    pub length_max: SignedDuration,
}

/// A hold-back that is wanted.
#[derive(Clone, Debug)]
pub struct HoldBackWanted {
    /// Whose look-ups, by a partner; `None`: every police check, whoever makes it.
    pub partner: Option<PartnerId>,
    /// Look-ups from this moment on; `None`: from now.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Timestamp,
    /// Who sets it.
    pub set_by: String,
    /// Why: a reference to the investigation's own file. Auditors of the log read it.
    pub ground: String,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHoldBack {
    /// No such holder: absent, protected or erased. None of these is shown a list.
    #[error("no driver can be found by this number")]
    HolderNotKnown,
    /// The driver has none of this id.
    #[error("the driver has no such hold-back")]
    NotKnown,
    /// It would end before it begins, or has ended.
    #[error("a hold-back ends after now, and after it begins")]
    Over,
    /// It would last too long. Set it again when it is over, if it must go on.
    #[error("a hold-back lasts {} days at most", length_max.as_hours() / 24)]
    TooLong {
        /// From now.
        length_max: SignedDuration,
    },
    /// Who or why is missing, too long, or holds control characters.
    #[error(
        "who sets it has 1 to {SETTER_BYTES_MAX} bytes, and the ground 1 to {GROUND_BYTES_MAX}, in one line"
    )]
    Texts,
    /// The registry could not be read.
    #[error("the registry cannot be read")]
    NoFacts(#[source] LookUpError),
    /// Hold-backs cannot be read or written. Safe to repeat.
    #[error("hold-backs cannot be read or written")]
    NoStore,
    /// It could not be put on record, and was not done.
    #[error("the evidence log cannot be written: nothing was done")]
    NoEvidence,
}

/// Says whether a hold-back keeps a look-up from its driver at a moment.
pub(super) fn is_held(hold_back: &HoldBack, accessed: &Accessed, now: Timestamp) -> bool {
    let is_meant = match &hold_back.partner {
        Some(partner) => *partner == accessed.partner,
        None => accessed.purpose == Purpose::Enforcement,
    };
    is_meant && hold_back.from <= accessed.at && now < hold_back.until
}

impl HoldBackDesk {
    /// Sets a hold-back: on record first, then in force.
    ///
    /// # Errors
    /// [`NoHoldBack`].
    pub async fn set(
        &self,
        holder: &Holder,
        wanted: HoldBackWanted,
        deadline: Deadline,
    ) -> Result<HoldBack, NoHoldBack> {
        let now = self.clock.now();
        let from = wanted.from.unwrap_or(now);
        if wanted.until <= now.max(from) {
            return Err(NoHoldBack::Over);
        }
        if wanted.until.duration_since(now) > self.length_max {
            return Err(NoHoldBack::TooLong { length_max: self.length_max });
        }
        check_texts(&wanted.set_by, &wanted.ground)?;
        let known = self.holders.find(holder, deadline).await?;
        let hold_back = HoldBack {
            id: rand::random(),
            subject: known.record.subject,
            partner: wanted.partner,
            from,
            until: wanted.until,
            set_by: wanted.set_by,
            ground: wanted.ground,
            set_at: now,
        };
        let what = Accessing::HoldBackSet { of: Whose::from(&*known.record), hold_back: &hold_back };
        self.record(what).await?;
        let set = self.hold_backs.set(hold_back.clone()).await;
        set.map_err(|_unavailable| NoHoldBack::NoStore)?;
        Ok(hold_back)
    }

    /// Lists the hold-backs of a driver, over ones included.
    ///
    /// # Errors
    /// [`NoHoldBack`].
    pub async fn list(&self, holder: &Holder, deadline: Deadline) -> Result<Vec<HoldBack>, NoHoldBack> {
        let known = self.holders.find(holder, deadline).await?;
        self.of(&known).await
    }

    /// Lifts a hold-back before its time, on record first; returns what was lifted.
    ///
    /// # Errors
    /// [`NoHoldBack`].
    pub async fn lift(
        &self,
        holder: &Holder,
        id: [u8; 16],
        (lifted_by, ground): (&str, &str),
        deadline: Deadline,
    ) -> Result<HoldBack, NoHoldBack> {
        check_texts(lifted_by, ground)?;
        let known = self.holders.find(holder, deadline).await?;
        let kept = self.of(&known).await?.into_iter().find(|hold_back| hold_back.id == id);
        let hold_back = kept.ok_or(NoHoldBack::NotKnown)?;
        let of = Whose::from(&*known.record);
        self.record(Accessing::HoldBackLifted { of, id, lifted_by, ground }).await?;
        match self.hold_backs.lift(known.record.subject, id).await {
            Ok(true) => Ok(hold_back),
            Ok(false) => Err(NoHoldBack::NotKnown),
            Err(_unavailable) => Err(NoHoldBack::NoStore),
        }
    }

    async fn of(&self, known: &KnownHolder) -> Result<Vec<HoldBack>, NoHoldBack> {
        let found = self.hold_backs.of_subject(known.record.subject).await;
        found.map_err(|_unavailable| NoHoldBack::NoStore)
    }

    async fn record(&self, what: Accessing<'_>) -> Result<(), NoHoldBack> {
        let access = AccessToRecord { at: self.clock.now(), partner: None, what };
        let recorded = self.log.record_access(&access).await;
        recorded.map(drop).map_err(|_unavailable| NoHoldBack::NoEvidence)
    }
}

fn check_texts(who: &str, ground: &str) -> Result<(), NoHoldBack> {
    let is_fit = |text: &str, bytes_max: usize| {
        !text.trim().is_empty() && text.len() <= bytes_max && !text.contains(char::is_control)
    };
    match is_fit(who, SETTER_BYTES_MAX) && is_fit(ground, GROUND_BYTES_MAX) {
        true => Ok(()),
        false => Err(NoHoldBack::Texts),
    }
}

impl From<NoHolder> for NoHoldBack {
    fn from(why: NoHolder) -> Self {
        match why {
            NoHolder::NotKnown => Self::HolderNotKnown,
            NoHolder::NoFacts(error) => Self::NoFacts(error),
        }
    }
}

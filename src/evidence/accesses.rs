//! What a driver sees of a look-up, and what is needed to show it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::hold_backs::is_held;
use super::ports::{
    AccessLog, Accessed, Entries, Found, HoldBack, HoldBacks, IndexUnavailable, LogUnavailable, Logs,
    LookUpIndex, LookUpOutcome, PartnerNamed, PartnerNames, SubjectSecrets,
};
use crate::domain::claim::GroundKind;
use crate::domain::disclosure::FieldSet;
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::presentation::PresentationKind;
use crate::domain::question::Purpose;
use crate::domain::time::Clock;
use crate::issuing::{Holders, ListTokens, NoHolder};
use crate::verification::ports::{EntryAt, EvidenceUnavailable, LookUpError};

/// How often an index or a log that lags is looked at again, and how long between: both catch up within a second.
pub(super) const LOOKS_MAX: u32 = 25;
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Shows drivers who looked. One for the whole gateway; holds no state of its own.
pub struct Accesses {
    /// Finds holders.
    pub holders: Holders,
    /// Where the look-ups about a driver lie.
    pub index: Arc<dyn LookUpIndex>,
    /// The logs they lie in.
    pub logs: Arc<dyn Logs>,
    /// Reads entries.
    pub entries: Arc<dyn Entries>,
    /// Says whom a handle names.
    pub secrets: Arc<dyn SubjectSecrets>,
    /// What is not told for a while.
    pub hold_backs: Arc<dyn HoldBacks>,
    /// Names partners.
    pub names: Arc<dyn PartnerNames>,
    /// That something was shown goes on record here.
    pub log: Arc<dyn AccessLog>,
    /// Makes page tokens and resume tokens.
    pub tokens: ListTokens,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// One look-up about a driver, as the driver may see it: neither the partner's operator nor its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub partner: PartnerId,
    /// The partner's names; `None` when there is no contract any more.
    pub named: Option<PartnerNamed>,
    /// Why.
    pub purpose: Purpose,
    /// The partner's category of the matter.
    pub case_category: String,
    /// The ground asserted; `None` when the driver showed something.
    pub ground: Option<GroundKind>,
    /// For a contract: the partner stated that the driver is a party to it.
    pub subject_is_party: bool,
    /// What the driver showed; `None`: nothing, it was the partner's assertion.
    pub shown: Option<PresentationKind>,
    /// How it came out.
    pub outcome: LookUpOutcome,
    /// The fields released.
    pub fields: FieldSet,
    /// Where it stands.
    pub place: EntryAt,
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotShown {
    /// Refused: no such holder.
    HolderNotKnown,
    /// Refused: the page or resume token is none of this list, wallet and holder.
    TokenNotKnown,
    /// Refused: the wallet's standing changed meanwhile.
    StandingLost(Standing),
    /// Error: the registry could not be read.
    NoFacts(LookUpError),
    /// Error: the index cannot be read, or does not reach far enough yet.
    NoIndex,
    /// Error: a log cannot be read.
    NoLog,
    /// Error: that it was shown could not be put on record.
    NoEvidence,
}

impl Accesses {
    /// Reads a look-up that the index knows; `None`: its entry was pruned by retention. An entry that is not there yet is waited for.
    pub(super) async fn read(&self, found: &Found) -> Result<Option<Accessed>, NotShown> {
        let EntryAt { origin, index } = &found.place;
        let Some(log) = self.logs.log(origin) else {
            tracing::error!(%origin, "the index of look-ups names a log that cannot be read here");
            return Err(NotShown::NoLog);
        };
        for _ in 0..LOOKS_MAX {
            let stretch = log.stretch(*index, 1).await?;
            if stretch.first > *index {
                return Ok(None);
            }
            if let Some(entry) = stretch.entries.first() {
                let accessed = self.entries.accessed(entry).filter(|accessed| accessed.at == found.at);
                let unfit =
                    || tracing::error!(%origin, index, "index of look-ups and log do not fit together");
                return accessed.map(Some).ok_or_else(unfit).map_err(|()| NotShown::NoLog);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(NotShown::NoLog)
    }

    /// Says a look-up in the driver's terms.
    pub(super) fn told(&self, accessed: Accessed, place: EntryAt) -> Access {
        Access {
            at: accessed.at,
            named: self.names.names(&accessed.partner),
            partner: accessed.partner,
            purpose: accessed.purpose,
            case_category: accessed.case_category,
            ground: accessed.ground,
            subject_is_party: accessed.subject_is_party,
            shown: accessed.shown,
            outcome: accessed.outcome,
            fields: accessed.fields,
            place,
        }
    }

    /// Says whether a look-up is held back now.
    pub(super) fn is_held(&self, hold_backs: &[HoldBack], accessed: &Accessed) -> bool {
        let now = self.clock.now();
        hold_backs.iter().any(|hold_back| is_held(hold_back, accessed, now))
    }
}

impl From<NoHolder> for NotShown {
    fn from(why: NoHolder) -> Self {
        match why {
            NoHolder::NotKnown => Self::HolderNotKnown,
            NoHolder::NoFacts(error) => Self::NoFacts(error),
        }
    }
}

impl From<IndexUnavailable> for NotShown {
    fn from(_: IndexUnavailable) -> Self {
        Self::NoIndex
    }
}

impl From<LogUnavailable> for NotShown {
    fn from(_: LogUnavailable) -> Self {
        Self::NoLog
    }
}

impl From<EvidenceUnavailable> for NotShown {
    fn from(_: EvidenceUnavailable) -> Self {
        Self::NoEvidence
    }
}

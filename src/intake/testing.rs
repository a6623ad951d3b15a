//! What this room's tests share: a store in memory that does what the port says, and changes to hand to it.

use std::collections::HashMap;

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};

use super::ports::{
    Arrival, ChangeDigest, ChangeId, ChangeKey, Dossier, FeedName, Handle, IncomingChange, KnownChange,
    Outcome, Plan, StatedChange, SubjectState, Verdict, VerdictFault, numbers_to_look_up, plan, plan_verdict,
};
use crate::domain::licence::{Change, ChangeKind, DocumentKind, History, LicenceNumber, NumberRules};
use crate::domain::subject::Position;
use crate::domain::time::Effective;

/// A well-formed test number, and another.
pub(super) const ONE: &str = "000000199001010018";
pub(super) const TWO: &str = "00000019920229001X";

pub(super) fn number(text: &str) -> LicenceNumber {
    LicenceNumber::parse(DocumentKind::ResidentId, text, NumberRules { accept_test_numbers: true }).unwrap()
}

/// A moment so many seconds into the tests' time.
pub(super) fn at(seconds: i64) -> Timestamp {
    "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub(super) fn feed(name: &str) -> FeedName {
    FeedName::of(&"authority-demo".parse().unwrap(), name).unwrap()
}

pub(super) fn stated(day: i64, kind: ChangeKind) -> StatedChange {
    let effective = Effective::On(date(2020, 1, 1).saturating_add(jiff::Span::new().days(day)));
    StatedChange { effective, recorded_at: at(day - 1_000), kind }
}

/// A change of [`ONE`] from the feed `main`; its id follows from its place.
pub(super) fn change(sequence: u64, content: StatedChange) -> IncomingChange {
    IncomingChange {
        source: feed("main"),
        id: ChangeId::parse(&format!("c-{sequence}")).unwrap(),
        sequence,
        document: DocumentKind::ResidentId,
        number: number(ONE),
        content: Some(content),
    }
}

/// The subject of [`ONE`] in a store.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    pub(super) record: Option<Vec<Change>>,
    pub(super) state: SubjectState,
    pub(super) known: HashMap<ChangeKey, KnownChange>,
    pub(super) taken: Vec<(DocumentKind, LicenceNumber)>,
    pub(super) changes_max: Option<usize>,
}

impl Shelf {
    /// A subject that was issued a licence, with a number and a class.
    pub(super) fn licensed() -> Self {
        let mut shelf = Self::default();
        let kinds = [
            ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) },
            ChangeKind::Issued,
            ChangeKind::ClassAdded { class: crate::domain::licence::VehicleClass::C1 },
        ];
        let position = Position { epoch: 1, partition: 0, seq: 1 };
        let changes = kinds.map(|kind| stated(0, kind).at(position));
        shelf.record = Some(changes.to_vec());
        shelf
    }

    pub(super) fn history(&self) -> History {
        History::from_changes(self.record.clone().unwrap_or_default())
    }

    /// The record without marks of disputes.
    pub(super) fn said(&self) -> Vec<(Effective, Timestamp, ChangeKind)> {
        let changes = self.record.iter().flatten();
        let plain = changes
            .filter(|change| !matches!(change.kind, ChangeKind::DisputeOpened | ChangeKind::DisputeSettled));
        plain.map(|change| (change.effective, change.recorded_at, change.kind.clone())).collect()
    }

    /// Whether an answer given at a moment is in dispute.
    pub(super) fn is_disputed(&self, now: Timestamp) -> bool {
        let as_of = crate::domain::licence::AsOf::new(now, now);
        self.history().fold(as_of).disputed
    }

    pub(super) fn waits(&self) -> usize {
        self.state.waiting().count()
    }

    pub(super) fn take(&mut self, changes: Vec<IncomingChange>, now: Timestamp) -> Vec<Outcome> {
        let arrivals: Vec<Arrival> = changes.into_iter().map(|change| self.arrival(change)).collect();
        let looked_up = numbers_to_look_up(&self.state, &arrivals);
        let taken: Vec<_> = looked_up
            .into_iter()
            .filter(|(_, number)| self.taken.iter().any(|(_, own)| own == number))
            .collect();
        let history = self.record.clone().map(History::from_changes);
        let planned = plan(self.dossier(history.as_ref(), &taken), &arrivals, now);
        self.write(planned)
    }

    pub(super) fn judge(
        &mut self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), VerdictFault> {
        let history = self.record.clone().map(History::from_changes);
        let planned = plan_verdict(self.dossier(history.as_ref(), &[]), handle, verdict, now)?;
        self.write(planned);
        Ok(())
    }

    pub(super) fn dossier<'a>(
        &self,
        history: Option<&'a History>,
        taken: &'a [(DocumentKind, LicenceNumber)],
    ) -> Dossier<'a> {
        Dossier {
            history,
            state: self.state.clone(),
            taken,
            changes_max: self.changes_max.unwrap_or(1_000),
            storable: |_| true,
        }
    }

    pub(super) fn write(&mut self, planned: Plan) -> Vec<Outcome> {
        assert!(!planned.creates || self.record.is_none());
        let next = self.record.iter().flatten().last().map_or(1, |last| last.position.seq + 1);
        let placed = planned.place(Position { epoch: 1, partition: 0, seq: next });
        if !placed.append.is_empty() {
            self.record.get_or_insert_default().extend(placed.append);
        }
        self.state = placed.state;
        self.known.extend(placed.known);
        placed.outcomes
    }

    fn arrival(&self, change: IncomingChange) -> Arrival {
        let key = ChangeKey(half(&format!("{}/{}", change.source.as_str(), change.id.as_str())));
        let digest = ChangeDigest(half(&format!(
            "{} {} {} {:?} {}",
            change.source.as_str(),
            change.id.as_str(),
            change.sequence,
            change.content,
            change.number.expose(),
        )));
        let known = match self.known.get(&key) {
            Some(known) if known.digest != digest => self.known.get(&digest.key()).or(Some(known)),
            known => known,
        };
        Arrival { change, key, digest, known: known.copied() }
    }
}

/// 16 bytes that differ where texts do, well enough for tests.
fn half(text: &str) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut bytes = [0; 16];
    for (salt, part) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        part.copy_from_slice(&hasher.finish().to_be_bytes());
    }
    bytes
}

//! What a batch of the authority's changes does, worked out in memory from what was read under the locks of its partitions. Pure
//! but for randomness.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::rand;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::domain::licence::{Change, ChangeKind, History, Record, Stops};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::intake::ports::{
    Arrival, ChangeKey, Dossier, Handle, IncomingChange, KnownChange, Outcome, Placed, Plan as Planned,
    RejectReason, SubjectState, Taken, UNKNOWN_NUMBERS_MAX, Verdict, VerdictFault, WaitingCounts,
    numbers_to_look_up, plan, plan_notice, plan_verdict,
};
use crate::registry::codec;
use crate::registry::embedded::intake::count;
use crate::registry::embedded::intake::state::Owner;
use crate::registry::embedded::{FeedRow, RegistryError};
use crate::registry::postgres::plan::{OnFile, Plan, collect_numbers};
use crate::registry::submission::CHANGES_PER_SUBJECT_MAX;
use crate::verification::ports::Pseudonyms as _;

/// An owner's key in memory: what it is, and which.
pub(super) type OwnerKey = [u8; 17];

/// What was read under the locks beside numbers and records, and what the batch has changed of it so far.
pub(in crate::registry::postgres) struct Ledger {
    pub(in crate::registry::postgres) base: Plan,
    pub(super) states: BTreeMap<OwnerKey, Kept>,
    /// Known before the batch.
    pub(super) known: HashMap<ChangeKey, KnownChange>,
    /// To remember, by the batch. In order, so that two batches that remember the same wait for each other and never in a circle.
    pub(super) told: BTreeMap<ChangeKey, KnownChange>,
    /// Numbers nobody has for which something is kept, over the whole store.
    pub(super) unknown_numbers: u64,
}

/// A state as it is kept, or is to be.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) state: SubjectState,
    pub(super) waits: Waits,
    /// There is a row of it.
    pub(super) is_stored: bool,
    pub(super) is_changed: bool,
}

/// What the index says of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) held: i32,
    pub(super) quarantined: i32,
    pub(super) until_ms: Option<i64>,
}

impl Waits {
    fn of(counts: WaitingCounts) -> Self {
        let narrow = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
        // Rounded up: when this moment has come, the exact one has.
        let until_ms = counts
            .held_until
            .map(|until| until.as_millisecond() + i64::from(until.subsec_nanosecond() % 1_000_000 > 0));
        Self { held: narrow(counts.held), quarantined: narrow(counts.quarantined), until_ms }
    }

    pub(super) fn anything(self) -> bool {
        self.held > 0 || self.quarantined > 0
    }
}

/// A subject, or a number nobody has, as it was read.
struct Case {
    owner: Owner,
    /// A number it is known by, if that is how it was found.
    known_by: Option<NumberPseudonym>,
    record: Option<Record>,
    state: SubjectState,
}

impl Ledger {
    pub(super) fn new(base: Plan) -> Self {
        Self {
            base,
            states: BTreeMap::new(),
            known: HashMap::new(),
            told: BTreeMap::new(),
            unknown_numbers: 0,
        }
    }

    pub(super) fn is_unchanged(&self) -> bool {
        self.base.writes.is_empty()
            && self.told.is_empty()
            && !self.states.values().any(|kept| kept.is_changed)
    }

    /// Takes in the changes of one number.
    pub(super) fn take(
        &mut self,
        number: NumberPseudonym,
        arrivals: &mut [Arrival],
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let Some(case) = self.case(Owner::Number(number)) else {
            return Ok(vec![Outcome::Rejected(RejectReason::RecordUnreadable); arrivals.len()]);
        };
        let is_new = case.record.is_none() && case.state.is_empty();
        let introduces = |arrival: &Arrival| IncomingChange::introduces(&arrival.change);
        if is_new && self.unknown_numbers >= UNKNOWN_NUMBERS_MAX && !arrivals.iter().any(introduces) {
            return Ok(vec![Outcome::Rejected(RejectReason::QuarantineFull); arrivals.len()]);
        }
        for arrival in arrivals.iter_mut() {
            arrival.known = self.known(arrival);
        }
        let planned = self.decide(&case, arrivals, |dossier| plan(dossier, arrivals, now));
        self.carry_out(case, planned, now, taken)
    }

    /// Lets time, or what an import brought, settle what waits.
    pub(super) fn look_at(
        &mut self,
        owner: Owner,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<(), RegistryError> {
        let Some(case) = self.case(owner) else { return Ok(()) };
        let planned = self.decide(&case, &[], |dossier| plan(dossier, &[], now));
        self.carry_out(case, planned, now, taken).map(drop)
    }

    /// Carries out what the operator decided. Returns how many changes joined the record; nothing is to be written when the verdict
    /// cannot be carried out.
    pub(super) fn judge(
        &mut self,
        owner: Owner,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<u64, VerdictFault>, RegistryError> {
        let case = self.case(owner).ok_or(RegistryError::Damaged("a record of a waiting change"))?;
        let planned = match self.decide(&case, &[], |dossier| plan_verdict(dossier, handle, verdict, now)) {
            Ok(planned) => planned,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut taken = Taken::default();
        self.carry_out(case, planned, now, &mut taken)?;
        Ok(Ok(taken.applied))
    }

    /// Sees to it that nothing that waits for a subject is forgotten when somebody else wrote its record: its answers are in dispute,
    /// and what has come due is taken in at the intake's next look.
    pub(super) fn notice(&mut self, subject: SubjectId) -> Result<(), RegistryError> {
        let owner = Owner::Subject(subject);
        let Some(OnFile::Read(record)) = self.base.records.get(&subject) else { return Ok(()) };
        let mut numbers = Vec::new();
        let kinds = record.history.changes().iter().map(|change| &change.kind);
        collect_numbers(&mut numbers, kinds, &self.base.keys);
        numbers.extend(
            self.base.owners.iter().filter(|(_, owner)| **owner == subject).map(|(number, _)| *number),
        );
        self.adopt(subject, &numbers);
        let Some(case) = self.case(owner) else { return Ok(()) };
        if case.state.waiting().next().is_none() && !case.state.dispute_opened {
            return Ok(());
        }
        let planned = self.decide(&case, &[], plan_notice);
        self.carry_out(case, planned, Timestamp::UNIX_EPOCH, &mut Taken::default())?;
        if let Some(kept) = self.states.get_mut(&owner.key())
            && kept.waits.anything()
        {
            kept.waits.until_ms = Some(0);
            kept.is_changed = true;
        }
        Ok(())
    }

    /// Reads what is known of an owner; `None`: its record cannot be read. A number that somebody has by now is that subject.
    fn case(&mut self, owner: Owner) -> Option<Case> {
        let (owner, known_by) = match owner {
            Owner::Subject(_) => (owner, None),
            Owner::Number(number) => match self.base.owners.get(&number) {
                None => (owner, Some(number)),
                Some(subject) => (Owner::Subject(*subject), Some(number)),
            },
        };
        let Owner::Subject(subject) = owner else {
            return Some(Case { owner, known_by, record: None, state: self.state(owner) });
        };
        let Some(OnFile::Read(record)) = self.base.records.get(&subject) else { return None };
        let record = Some(record.clone());
        if let Some(number) = known_by {
            self.adopt(subject, &[number]);
        }
        Some(Case { owner, known_by, record, state: self.state(owner) })
    }

    fn state(&self, owner: Owner) -> SubjectState {
        self.states.get(&owner.key()).map_or_else(SubjectState::default, |kept| kept.state.clone())
    }

    fn known(&self, arrival: &Arrival) -> Option<KnownChange> {
        let find = |key| self.told.get(&key).or_else(|| self.known.get(&key)).copied();
        match find(arrival.key) {
            Some(known) if known.digest != arrival.digest => find(arrival.digest.key()).or(Some(known)),
            known => known,
        }
    }

    fn decide<T>(&self, case: &Case, arrivals: &[Arrival], decide: impl FnOnce(Dossier<'_>) -> T) -> T {
        let own = match case.owner {
            Owner::Subject(subject) => Some(subject),
            Owner::Number(_) => None,
        };
        let mut taken = numbers_to_look_up(&case.state, arrivals);
        taken.retain(|(document, number)| {
            let owner = self.base.owners.get(&self.base.keys.pseudonym(*document, number));
            owner.is_some_and(|owner| Some(*owner) != own)
        });
        decide(Dossier {
            history: case.record.as_ref().map(|record| &record.history),
            state: case.state.clone(),
            taken: &taken,
            changes_max: CHANGES_PER_SUBJECT_MAX,
            storable: codec::is_storable,
        })
    }

    /// Notes a plan: record, index, feed, state, known changes.
    fn carry_out(
        &mut self,
        case: Case,
        planned: Planned,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let Case { mut owner, known_by, record, .. } = case;
        let mut numbers = Vec::new();
        collect_numbers(&mut numbers, planned.append.iter().map(|change| &change.kind), &self.base.keys);
        count(&planned.append, taken);
        let creates = planned.creates;
        let record = match (record, known_by) {
            (Some(record), _) => Some(record),
            (None, Some(known_by)) if creates => Some(self.newcomer(known_by)?),
            (None, _) => None,
        };
        let first = match &record {
            Some(record) => self.base.next(self.base.layout.of_subject(&record.subject))?,
            // Then nothing is appended.
            None => Position { epoch: 0, partition: 0, seq: 0 },
        };
        let Placed { append, state, outcomes, known } = planned.place(first);
        self.told.extend(known);
        if let Some(record) = record
            && !append.is_empty()
        {
            let subject = record.subject;
            self.append(record, known_by, append, &numbers)?;
            if creates {
                self.keep(owner, SubjectState::default());
                owner = Owner::Subject(subject);
            }
        }
        self.keep(owner, state);
        if let Owner::Subject(subject) = owner
            && self.adopt(subject, &numbers)
        {
            self.look_at(owner, now, taken)?;
        }
        Ok(outcomes)
    }

    /// Takes over what waits under numbers that are a subject's. Says whether there was anything.
    fn adopt(&mut self, subject: SubjectId, numbers: &[NumberPseudonym]) -> bool {
        let mut has_adopted = false;
        for number in numbers {
            let number = Owner::Number(*number);
            let waiting = self.state(number);
            if !waiting.is_empty() {
                let mut state = self.state(Owner::Subject(subject));
                state.adopt(waiting);
                self.keep(number, SubjectState::default());
                self.keep(Owner::Subject(subject), state);
                has_adopted = true;
            }
        }
        has_adopted
    }

    fn newcomer(&self, known_by: NumberPseudonym) -> Result<Record, RegistryError> {
        let mut random = [0_u8; 16];
        let mut secret = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut random)
            .and_then(|()| rand::fill(secret.as_mut_slice()))
            .map_err(|_| RegistryError::NoRandomness)?;
        Ok(Record {
            subject: self.base.layout.subject_for(&known_by, random),
            secret: SubjectSecret::from_bytes(*secret),
            history: History::default(),
            stops: Stops::default(),
        })
    }

    /// Appends placed changes to a record; `set` are the numbers they set.
    fn append(
        &mut self,
        record: Record,
        known_by: Option<NumberPseudonym>,
        append: Vec<Change>,
        set: &[NumberPseudonym],
    ) -> Result<(), RegistryError> {
        let subject = record.subject;
        let positions: Vec<Position> = append.iter().map(|change| change.position).collect();
        let mut changes = record.history.changes().to_vec();
        changes.extend(append);
        let record = Record { history: History::from_changes(changes), ..record };
        let base = &mut self.base;
        let mut pseudonyms: Vec<_> = known_by.into_iter().collect();
        collect_numbers(
            &mut pseudonyms,
            record.history.changes().iter().map(|change| &change.kind),
            &base.keys,
        );
        base.plain.clear();
        // The plan knew what can be stored, and which numbers are taken.
        codec::encode(&record, &mut base.plain)
            .map_err(|_| RegistryError::Damaged("a planned change could not be stored"))?;
        let sealed = base.keys.sealing.seal(&base.plain, subject.as_bytes());
        let sealed = sealed.map_err(|_| RegistryError::WrongKeys)?;
        let partition = base.layout.of_subject(&subject);
        let writes = base.writes.entry(partition).or_default();
        writes.records.insert(subject, sealed);
        for position in positions {
            writes.feed.push(FeedRow { position, subject, pseudonyms: pseudonyms.clone() });
            base.heads.insert(partition, position.seq);
        }
        for number in known_by.iter().chain(set) {
            base.add_number(*number, subject, partition)?;
        }
        base.records.insert(subject, OnFile::Read(record));
        Ok(())
    }

    /// Keeps a state; an empty one is no row.
    fn keep(&mut self, owner: Owner, state: SubjectState) {
        let kept = self.states.entry(owner.key()).or_default();
        let waits = Waits::of(state.counts());
        if let Owner::Number(_) = owner {
            match (kept.state.is_empty(), state.is_empty()) {
                (true, false) => self.unknown_numbers += 1,
                (false, true) => self.unknown_numbers = self.unknown_numbers.saturating_sub(1),
                _ => {}
            }
        }
        if kept.state != state || kept.waits != waits {
            (kept.state, kept.waits, kept.is_changed) = (state, waits, true);
        }
    }

    /// Lists numbers that what waits in these states would set.
    pub(super) fn numbers_waiting(&self, owners: &[OwnerKey]) -> Vec<NumberPseudonym> {
        let mut numbers = Vec::new();
        let states = owners.iter().filter_map(|owner| self.states.get(owner));
        let waiting = states.flat_map(|kept| kept.state.waiting());
        let kinds = waiting.filter_map(|waiting| waiting.content.as_ref()).map(|content| &content.kind);
        collect_numbers(&mut numbers, kinds, &self.base.keys);
        numbers
    }
}

/// Lists the numbers changes would set.
pub(super) fn numbers_set<'c>(
    changes: impl Iterator<Item = &'c IncomingChange>,
    keys: &crate::registry::RegistryKeys,
) -> Vec<NumberPseudonym> {
    let mut numbers = Vec::new();
    let kinds = changes.filter_map(|change| change.content.as_ref()).map(|content| &content.kind);
    for kind in kinds {
        if let ChangeKind::NumberSet { document, number } = kind {
            numbers.push(keys.pseudonym(*document, number));
        }
    }
    numbers
}

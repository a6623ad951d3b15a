//! Carries plans out, inside one transaction.

use aws_lc_rs::rand;
use jiff::Timestamp;
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};
use zeroize::Zeroizing;

use super::known::Known;
use super::state::{Owner, bytes_of, open_state, seal_state};
use crate::domain::licence::{Change, ChangeKind, History, Record, Stops};
use crate::domain::subject::{NumberPseudonym, SubjectId, SubjectSecret};
use crate::intake::ports::{
    Arrival, Dossier, Handle, IncomingChange, KNOWN_CHANGES_MIN, Outcome, Placed, Plan, RejectReason,
    StatedChange, SubjectState, Taken, UNKNOWN_NUMBERS_MAX, Verdict, VerdictFault, WaitingCounts,
    numbers_to_look_up, plan, plan_notice, plan_verdict,
};
use crate::registry::codec;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::feed;
use crate::registry::embedded::tables::{INTAKE_NUMBERS, INTAKE_SUBJECTS, INTAKE_WAITING};
use crate::registry::embedded::writer::{BatchWriter, Written};
use crate::registry::submission::CHANGES_PER_SUBJECT_MAX;
use crate::verification::ports::Pseudonyms as _;

/// Sees to it that nothing that waits is forgotten when somebody else wrote records: their answers are in dispute, and what
/// has come due is taken in at the intake's next look.
pub(in crate::registry::embedded) fn notice<'t>(
    transaction: &'t WriteTransaction,
    base: &mut BatchWriter<'t>,
) -> Result<(), RegistryError> {
    if transaction.open_table(INTAKE_WAITING).trying_to("write")?.is_empty().trying_to("read")? {
        return Ok(());
    }
    let written: Vec<SubjectId> = base.written.iter().map(|written| written.subject).collect();
    let mut writer = IntakeWriter::open(transaction, base)?;
    for subject in written {
        writer.notice(subject)?;
    }
    writer.finish(transaction)
}

/// The tables of the intake beside those of the records, in one transaction.
pub(super) struct IntakeWriter<'b, 't> {
    pub(super) base: &'b mut BatchWriter<'t>,
    subjects: Table<'t, &'static [u8; 16], &'static [u8]>,
    numbers: Table<'t, &'static [u8; 16], &'static [u8]>,
    waiting: Table<'t, &'static [u8; 17], &'static [u8; 16]>,
    known: Known<'t>,
    scratch: Zeroizing<Vec<u8>>,
    /// Something was written: the transaction is worth a sync.
    pub(super) is_changed: bool,
}

/// A subject, or a number nobody has, as it was read.
struct Case {
    owner: Owner,
    /// A number it is known by.
    known_by: Option<NumberPseudonym>,
    record: Option<Record>,
    state: SubjectState,
}

impl<'b, 't> IntakeWriter<'b, 't> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        base: &'b mut BatchWriter<'t>,
    ) -> Result<Self, RegistryError> {
        Ok(Self {
            subjects: transaction.open_table(INTAKE_SUBJECTS).trying_to("write")?,
            numbers: transaction.open_table(INTAKE_NUMBERS).trying_to("write")?,
            waiting: transaction.open_table(INTAKE_WAITING).trying_to("write")?,
            known: Known::open(transaction, &base.meta)?,
            base,
            scratch: Zeroizing::default(),
            is_changed: false,
        })
    }

    /// Forgets the older known changes when the younger are enough.
    pub(super) fn finish(self, transaction: &WriteTransaction) -> Result<(), RegistryError> {
        let Self { known, base, .. } = self;
        known.finish(transaction, &mut base.meta, KNOWN_CHANGES_MIN)
    }

    /// Takes in the changes of one number.
    pub(super) fn take(
        &mut self,
        number: NumberPseudonym,
        changes: Vec<IncomingChange>,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let owner = self.base.owner(number)?.map_or(Owner::Number(number), Owner::Subject);
        let Some(case) = self.case(owner, Some(number))? else {
            return Ok(vec![Outcome::Rejected(RejectReason::RecordUnreadable); changes.len()]);
        };
        let is_new = case.record.is_none() && case.state.is_empty();
        if is_new
            && self.numbers.len().trying_to("read")? >= UNKNOWN_NUMBERS_MAX
            && !changes.iter().any(IncomingChange::introduces)
        {
            return Ok(vec![Outcome::Rejected(RejectReason::QuarantineFull); changes.len()]);
        }
        let arrivals =
            changes.into_iter().map(|change| self.arrival(change)).collect::<Result<Vec<_>, _>>()?;
        let planned = self.plan(&case, &arrivals, |dossier| plan(dossier, &arrivals, now))?;
        self.carry_out(case, planned, now, taken)
    }

    /// Lets time, or what an import brought, settle what waits.
    pub(super) fn look_at(
        &mut self,
        owner: Owner,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<(), RegistryError> {
        let Some(case) = self.case(owner, None)? else {
            // Nothing can be done about a record that cannot be read; it need not be tried again and again.
            let counts = self.state(owner)?.counts();
            return self.index(owner, WaitingCounts { held_until: None, ..counts });
        };
        let planned = self.plan(&case, &[], |dossier| plan(dossier, &[], now))?;
        self.carry_out(case, planned, now, taken)?;
        // It may have been due because of a notice: from here on it is due when its own time comes.
        let counts = self.state(owner)?.counts();
        self.index(owner, counts)
    }

    /// Carries out what the operator decided. Returns how many changes joined the record.
    pub(super) fn judge(
        &mut self,
        owner: Owner,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<u64, VerdictFault>, RegistryError> {
        let Some(case) = self.case(owner, None)? else {
            return Err(RegistryError::Damaged("a record of a waiting change"));
        };
        let planned = match self.plan(&case, &[], |dossier| plan_verdict(dossier, handle, verdict, now))? {
            Ok(planned) => planned,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut taken = Taken::default();
        self.carry_out(case, planned, now, &mut taken)?;
        Ok(Ok(taken.applied))
    }

    fn notice(&mut self, subject: SubjectId) -> Result<(), RegistryError> {
        let owner = Owner::Subject(subject);
        let Some(case) = self.case(owner, None)? else { return Ok(()) };
        let Some(case) = self.adopted(case)? else { return Ok(()) };
        let planned = self.plan(&case, &[], plan_notice)?;
        let mut taken = Taken::default();
        self.carry_out(case, planned, Timestamp::UNIX_EPOCH, &mut taken)?;
        // Whatever waits is looked at next, as if its time had come.
        let counts = self.state(owner)?.counts();
        self.index(owner, WaitingCounts { held_until: Some(Timestamp::UNIX_EPOCH), ..counts })
    }

    /// Takes over what waits for any number of a subject; `None`: nothing waits for it.
    fn adopted(&mut self, mut case: Case) -> Result<Option<Case>, RegistryError> {
        let (Some(record), Some(known_by)) = (&case.record, case.known_by) else { return Ok(None) };
        for number in self.base.pseudonyms(known_by, record.history.changes()) {
            let state = self.state(Owner::Number(number))?;
            if !state.is_empty() {
                self.keep(Owner::Number(number), &SubjectState::default())?;
                case.state.adopt(state);
            }
        }
        let is_idle = case.state.waiting().next().is_none() && !case.state.dispute_opened;
        Ok(if is_idle { None } else { Some(case) })
    }

    /// Reads what is known of an owner; `None`: its record cannot be read.
    fn case(
        &mut self,
        owner: Owner,
        known_by: Option<NumberPseudonym>,
    ) -> Result<Option<Case>, RegistryError> {
        let record = match owner {
            Owner::Number(_) => None,
            Owner::Subject(subject) => match self.base.record(subject)? {
                Some(record) => Some(record),
                None => return Ok(None),
            },
        };
        let known_by = known_by.or_else(|| match (&owner, &record) {
            (Owner::Number(number), _) => Some(*number),
            (Owner::Subject(_), record) => {
                record.as_ref().and_then(|record| self.any_number(&record.history))
            }
        });
        Ok(Some(Case { owner, known_by, record, state: self.state(owner)? }))
    }

    fn any_number(&self, history: &History) -> Option<NumberPseudonym> {
        history.changes().iter().find_map(|change| match &change.kind {
            ChangeKind::NumberSet { document, number } => Some(self.base.keys.pseudonym(*document, number)),
            _ => None,
        })
    }

    fn arrival(&self, change: IncomingChange) -> Result<Arrival, RegistryError> {
        let key = self.base.keys.change_key(&change.source, &change.id);
        let digest = self.base.keys.change_digest(&change);
        let known = match self.known.find(key)? {
            Some(known) if known.digest != digest => self.known.find(digest.key())?.or(Some(known)),
            known => known,
        };
        Ok(Arrival { change, key, digest, known })
    }

    fn plan<T>(
        &self,
        case: &Case,
        arrivals: &[Arrival],
        decide: impl FnOnce(Dossier<'_>) -> T,
    ) -> Result<T, RegistryError> {
        let own = match case.owner {
            Owner::Subject(subject) => Some(subject),
            Owner::Number(_) => None,
        };
        let mut taken = Vec::new();
        for (document, number) in numbers_to_look_up(&case.state, arrivals) {
            let owner = self.base.owner(self.base.keys.pseudonym(document, &number))?;
            if owner.is_some() && owner != own {
                taken.push((document, number));
            }
        }
        Ok(decide(Dossier {
            history: case.record.as_ref().map(|record| &record.history),
            state: case.state.clone(),
            taken: &taken,
            changes_max: CHANGES_PER_SUBJECT_MAX,
            storable: codec::is_storable,
        }))
    }

    /// Writes a plan: record, index, feed, state, known changes.
    fn carry_out(
        &mut self,
        case: Case,
        planned: Plan,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let creates = planned.creates;
        let sets_number =
            planned.append.iter().any(|change| matches!(change.kind, ChangeKind::NumberSet { .. }));
        count(&planned.append, taken);
        let first = self.base.next_position();
        let Placed { append, state, outcomes, known } = planned.place(first);
        self.is_changed |= !append.is_empty() || !known.is_empty() || state != case.state;
        for (key, known) in known {
            self.known.remember(key, known)?;
        }
        let mut owner = case.owner;
        if !append.is_empty() {
            owner = Owner::Subject(self.append(case.record, case.known_by, append)?);
        }
        if creates {
            self.keep(case.owner, &SubjectState::default())?;
        }
        if creates || state != case.state {
            self.keep(owner, &state)?;
        }
        if sets_number {
            self.adopt(owner, now, taken)?;
        }
        Ok(outcomes)
    }

    /// Takes over what waited under numbers that just became known.
    fn adopt(&mut self, owner: Owner, now: Timestamp, taken: &mut Taken) -> Result<(), RegistryError> {
        if self.numbers.is_empty().trying_to("read")? {
            return Ok(());
        }
        let Some(case) = self.case(owner, None)? else { return Ok(()) };
        let before = case.state.clone();
        match self.adopted(case)? {
            Some(case) if case.state != before => {
                self.keep(owner, &case.state)?;
                self.look_at(owner, now, taken)
            }
            _ => Ok(()),
        }
    }

    /// Appends changes to a record, each at a position of its own; makes the record if there is none.
    fn append(
        &mut self,
        record: Option<Record>,
        known_by: Option<NumberPseudonym>,
        append: Vec<Change>,
    ) -> Result<SubjectId, RegistryError> {
        let record = record.map_or_else(new_record, Ok)?;
        let mut changes = record.history.changes().to_vec();
        let positions: Vec<_> = append.iter().map(|change| change.position).collect();
        changes.extend(append);
        let known_by = known_by.or_else(|| self.any_number(&History::from_changes(changes.clone())));
        let known_by = known_by.ok_or(RegistryError::Damaged("a record without a number"))?;
        let pseudonyms = self.base.pseudonyms(known_by, &changes);
        let record = Record { history: History::from_changes(changes), ..record };
        let (last, earlier) =
            positions.split_last().ok_or(RegistryError::Damaged("a plan that appends nothing"))?;
        for position in earlier {
            feed::append(&mut self.base.feed, *position, &record.subject, &pseudonyms)?;
            self.base.written.push(Written {
                subject: record.subject,
                pseudonyms: pseudonyms.clone(),
                position: *position,
            });
        }
        match self.base.write(&record, Some(known_by), *last)? {
            Ok(()) => Ok(record.subject),
            // The plan knew which numbers are taken and what can be stored.
            Err(_rejection) => Err(RegistryError::Damaged("a planned change could not be stored")),
        }
    }

    fn state(&mut self, owner: Owner) -> Result<SubjectState, RegistryError> {
        let table = match owner {
            Owner::Subject(_) => &self.subjects,
            Owner::Number(_) => &self.numbers,
        };
        match table.get(bytes_of(&owner)).trying_to("read")? {
            Some(sealed) => open_state(&self.base.keys.sealing, owner, sealed.value(), &mut self.scratch),
            None => Ok(SubjectState::default()),
        }
    }

    /// Keeps a state; an empty one is no row.
    fn keep(&mut self, owner: Owner, state: &SubjectState) -> Result<(), RegistryError> {
        let table = match owner {
            Owner::Subject(_) => &mut self.subjects,
            Owner::Number(_) => &mut self.numbers,
        };
        if state.is_empty() {
            table.remove(bytes_of(&owner)).trying_to("write")?;
        } else {
            let sealed = seal_state(&self.base.keys.sealing, owner, state)?;
            table.insert(bytes_of(&owner), sealed.as_slice()).trying_to("write")?;
        }
        self.is_changed = true;
        self.index(owner, state.counts())
    }

    fn index(&mut self, owner: Owner, counts: WaitingCounts) -> Result<(), RegistryError> {
        let key = owner.key();
        let there = self.waiting.get(&key).trying_to("read")?.map(|row| *row.value());
        let waits = counts.held + counts.quarantined > 0;
        let row = waits.then(|| super::state::row_of(counts));
        if row == there {
            return Ok(());
        }
        self.is_changed = true;
        match row {
            Some(row) => self.waiting.insert(&key, &row).trying_to("write").map(|_before| ()),
            None => self.waiting.remove(&key).trying_to("write").map(|_before| ()),
        }
    }
}

/// Counts what joins the record; marks of a dispute are the gateway's own.
pub(in crate::registry) fn count(append: &[StatedChange], taken: &mut Taken) {
    for change in append {
        if !matches!(change.kind, ChangeKind::DisputeOpened | ChangeKind::DisputeSettled) {
            taken.applied += 1;
            taken.latest_recorded = taken.latest_recorded.max(Some(change.recorded_at));
        }
    }
}

fn new_record() -> Result<Record, RegistryError> {
    let mut subject = [0_u8; 16];
    let mut secret = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut subject)
        .and_then(|()| rand::fill(secret.as_mut_slice()))
        .map_err(|_| RegistryError::NoRandomness)?;
    Ok(Record {
        subject: SubjectId::from_bytes(subject),
        secret: SubjectSecret::from_bytes(*secret),
        history: History::default(),
        stops: Stops::default(),
    })
}

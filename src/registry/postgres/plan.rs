//! What a batch changes, worked out in memory from what was read under the locks of its partitions. Pure but for randomness.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::layout::Layout;
use crate::domain::licence::{Change, ChangeKind, History, Record, Stops};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::registry::codec;
use crate::registry::embedded::{FeedRow, RegistryError, merge};
use crate::registry::keys::RegistryKeys;
use crate::registry::store::FeedHeads;
use crate::registry::submission::{Extent, NewChange, Outcome, Rejection, Submission};
use crate::verification::ports::Pseudonyms as _;

/// A submission with the pseudonyms of every number it names; the first is the one it is found by.
pub(super) struct Asked<'b> {
    pub(super) submission: &'b Submission,
    pub(super) numbers: Vec<NumberPseudonym>,
}

impl<'b> Asked<'b> {
    pub(super) fn new(submission: &'b Submission, keys: &RegistryKeys) -> Self {
        let mut numbers = vec![keys.pseudonym(submission.document, &submission.number)];
        collect_numbers(&mut numbers, submission.changes.iter().map(|change: &NewChange| &change.kind), keys);
        Self { submission, numbers }
    }
}

pub(super) fn collect_numbers<'c>(
    into: &mut Vec<NumberPseudonym>,
    changes: impl Iterator<Item = &'c ChangeKind>,
    keys: &RegistryKeys,
) {
    for kind in changes {
        if let ChangeKind::NumberSet { document, number } = kind {
            let pseudonym = keys.pseudonym(*document, number);
            if !into.contains(&pseudonym) {
                into.push(pseudonym);
            }
        }
    }
}

/// A record as far as it could be read.
pub(super) enum OnFile {
    Read(Record),
    Unreadable,
}

/// What was read under the locks, and what the batch has changed of it so far.
pub(super) struct Plan {
    pub(super) keys: Arc<RegistryKeys>,
    pub(super) layout: Layout,
    began: Option<FeedHeads>,
    pub(super) epoch: u32,
    /// Heads of the locked partitions.
    pub(super) heads: BTreeMap<u16, u64>,
    pub(super) owners: HashMap<NumberPseudonym, SubjectId>,
    pub(super) records: HashMap<SubjectId, OnFile>,
    pub(super) writes: BTreeMap<u16, Writes>,
    pub(super) plain: Zeroizing<Vec<u8>>,
}

/// What is written to one partition.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) numbers: Vec<(NumberPseudonym, SubjectId)>,
    pub(super) records: BTreeMap<SubjectId, Vec<u8>>,
    pub(super) feed: Vec<FeedRow>,
}

impl Plan {
    pub(super) fn new(keys: Arc<RegistryKeys>, layout: Layout, began: Option<FeedHeads>) -> Self {
        Self {
            keys,
            layout,
            began,
            epoch: 0,
            heads: BTreeMap::new(),
            owners: HashMap::new(),
            records: HashMap::new(),
            writes: BTreeMap::new(),
            plain: Zeroizing::default(),
        }
    }

    /// Takes one submission in, or says why not; nothing of a rejected one stays.
    pub(super) fn take(&mut self, asked: &Asked<'_>) -> Result<Outcome, RegistryError> {
        if let Err(rejection) = merge::check(asked.submission) {
            return Ok(Outcome::Rejected(rejection));
        }
        let Some(known_by) = asked.numbers.first() else { return Ok(Outcome::Rejected(Rejection::Empty)) };
        match self.owners.get(known_by).copied() {
            Some(subject) => self.extend(subject, asked),
            None if asked.submission.extent == Extent::Whole => self.create(known_by, asked),
            None => Ok(Outcome::Rejected(Rejection::UnknownSubject)),
        }
    }

    fn create(&mut self, known_by: &NumberPseudonym, asked: &Asked<'_>) -> Result<Outcome, RegistryError> {
        let mut random = [0_u8; 16];
        let mut secret = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut random)
            .and_then(|()| rand::fill(secret.as_mut_slice()))
            .map_err(|_| RegistryError::NoRandomness)?;
        let subject = self.layout.subject_for(known_by, random);
        let position = self.next(self.layout.of_subject(&subject))?;
        let changes = asked.submission.changes.iter().cloned().map(|change| change.at(position)).collect();
        let record = Record {
            subject,
            secret: SubjectSecret::from_bytes(*secret),
            history: History::from_changes(changes),
            stops: Stops::default(),
        };
        Ok(self.write(record, &asked.numbers, position)?.map_or_else(Outcome::Rejected, Outcome::Created))
    }

    fn extend(&mut self, subject: SubjectId, asked: &Asked<'_>) -> Result<Outcome, RegistryError> {
        let Some(OnFile::Read(record)) = self.records.get(&subject) else {
            return Ok(Outcome::Rejected(Rejection::RecordUnreadable));
        };
        let submission = asked.submission;
        if submission.extent == Extent::Whole && self.is_duplicate(record) {
            return Ok(Outcome::Rejected(Rejection::DuplicateNumber));
        }
        let fresh = match merge::fresh(submission, record.history.changes()) {
            Ok([]) => return Ok(Outcome::Unchanged),
            Ok(fresh) => fresh,
            Err(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        let position = self.next(self.layout.of_subject(&subject))?;
        let mut changes: Vec<Change> = record.history.changes().to_vec();
        changes.extend(fresh.iter().cloned().map(|change| change.at(position)));
        let record = Record { history: History::from_changes(changes), ..record.clone() };
        Ok(self.write(record, &asked.numbers, position)?.map_or_else(Outcome::Rejected, Outcome::Appended))
    }

    /// Says whether the subject came in with the same import.
    fn is_duplicate(&self, record: &Record) -> bool {
        let first = record.history.changes().first().map(|change| change.position);
        matches!((&self.began, first), (Some(began), Some(first)) if began.precede(first))
    }

    /// Writes a record, its numbers of this batch and its feed row; nothing at all when rejected.
    pub(super) fn write(
        &mut self,
        record: Record,
        numbers: &[NumberPseudonym],
        position: Position,
    ) -> Result<Result<Position, Rejection>, RegistryError> {
        let subject = record.subject;
        let belongs_to_another =
            |number: &NumberPseudonym| self.owners.get(number).is_some_and(|owner| *owner != subject);
        if numbers.iter().any(belongs_to_another) {
            return Ok(Err(Rejection::NumberTaken));
        }
        self.plain.clear();
        if codec::encode(&record, &mut self.plain).is_err() {
            return Ok(Err(Rejection::Unencodable));
        }
        let sealed = self.keys.sealing.seal(&self.plain, subject.as_bytes());
        let sealed = sealed.map_err(|_| RegistryError::WrongKeys)?;
        let mut pseudonyms = numbers.to_vec();
        collect_numbers(
            &mut pseudonyms,
            record.history.changes().iter().map(|change| &change.kind),
            &self.keys,
        );
        let writes = self.writes.entry(position.partition).or_default();
        writes.records.insert(subject, sealed);
        writes.feed.push(FeedRow { position, subject, pseudonyms });
        self.heads.insert(position.partition, position.seq);
        for number in numbers {
            self.add_number(*number, subject, position.partition)?;
        }
        self.records.insert(subject, OnFile::Read(record));
        Ok(Ok(position))
    }

    /// Writes a number that is new into its home. Where that is not the subject's partition, the home's feed must say so, too: whoever
    /// remembers that nobody has this number remembers it as of the home's position.
    pub(super) fn add_number(
        &mut self,
        number: NumberPseudonym,
        subject: SubjectId,
        partition: u16,
    ) -> Result<(), RegistryError> {
        if self.owners.insert(number, subject).is_some() {
            return Ok(());
        }
        let home = self.layout.home(&number);
        if home != partition {
            let position = self.next(home)?;
            self.heads.insert(home, position.seq);
            let row = FeedRow { position, subject, pseudonyms: vec![number] };
            self.writes.entry(home).or_default().feed.push(row);
        }
        self.writes.entry(home).or_default().numbers.push((number, subject));
        Ok(())
    }

    pub(super) fn next(&self, partition: u16) -> Result<Position, RegistryError> {
        let head = self.heads.get(&partition).ok_or(RegistryError::Damaged("a partition was not locked"))?;
        Ok(Position { epoch: self.epoch, partition, seq: head + 1 })
    }
}

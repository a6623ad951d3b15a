//! The journal's thread: takes what has gathered, writes, syncs, settles. A batch closes when the previous sync ends, so a lone
//! request waits for one sync and a crowd shares it; nothing waits for a batch to fill.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::JournalOptions;
use super::frame::{Frames, Header};
use super::options::OpenError;
use super::past_cache::OnDisk;
use super::queue::{Queue, Settled, Taken, Work};
use super::segment::{Segment, first_index_of, name_of};
use super::stats::{At as _, ClosedReason, JournalObserver, JournalStep, StepFailure};
use super::storage::Storage;
use crate::domain::time::Clock;

/// How long refusals wait for their second to end.
/// Far longer than a turn takes, far shorter than anybody notices.
const A_TURN: Duration = Duration::from_millis(5);
const A_SECOND: Duration = Duration::from_secs(1);

/// Everything the thread owns.
pub(super) struct Writer {
    queue: Arc<Queue>,
    storage: Box<dyn Storage>,
    /// `None`: closed, because no segment can be written.
    segment: Option<Segment>,
    /// The segment in which a step failed: nothing is written until it was read back and holds all that was told durable.
    doubtful: Option<Segment>,
    /// The index the next durable entry will have.
    next_index: u64,
    /// The buffer of the last batch, emptied.
    spare: Vec<u8>,
    /// Why the journal is closed, as far as it was said aloud.
    said: Vec<ClosedReason>,
    options: JournalOptions,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn JournalObserver>,
    _lock: File,
}

impl Writer {
    /// Recovers the log: cuts a torn tail of the last segment, and opens it (or the first one) for writing. Never cuts below
    /// `signed`, the size of the last checkpoint: what a checkpoint covers was durable.
    pub(super) fn recover(
        queue: Arc<Queue>,
        storage: Box<dyn Storage>,
        options: JournalOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn JournalObserver>,
        lock: File,
        signed: u64,
    ) -> Result<Self, OpenError> {
        let mut writer = Self {
            queue,
            storage,
            segment: None,
            doubtful: None,
            next_index: 0,
            spare: Vec::new(),
            said: Vec::new(),
            options,
            clock,
            observer,
            _lock: lock,
        };
        let names = writer.storage.list().at(JournalStep::Read).map_err(OpenError::Recovery)?;
        match names.iter().filter_map(|name| first_index_of(name)).max() {
            None if signed > 0 => return Err(OpenError::BelowCheckpoint { entries: 0, signed }),
            None => writer.begin_segment().map_err(OpenError::Recovery)?,
            Some(first_index) => writer.resume_segment(first_index, signed)?,
        }
        writer.queue.reopen(writer.next_index);
        Ok(writer)
    }

    /// Serves the queue until it is shut down and everything is written.
    pub(super) fn run(mut self) {
        let mut guard = CloseOnExit { queue: Arc::clone(&self.queue), reason: ClosedReason::ThreadDied };
        while self.step() {}
        if let Some(mut segment) = self.segment.take()
            && let Err(failure) = segment.seal()
        {
            self.report(&failure);
        }
        guard.reason = ClosedReason::ShutDown;
    }

    /// Does one piece of work; `false` when there will be none any more.
    fn step(&mut self) -> bool {
        if self.segment.is_none() {
            return self.try_again();
        }
        match self.queue.next_work(self.clock.now(), &mut self.spare) {
            Work::Write(taken) => self.commit(taken),
            Work::SleepATurn => thread::park_timeout(A_TURN),
            Work::SleepASecond => thread::park_timeout(A_SECOND),
            Work::Sleep => thread::park(),
            Work::Stop => return false,
        }
        true
    }

    /// Makes a batch durable, and only then lets its callers go.
    fn commit(&mut self, mut taken: Taken) {
        let began = self.clock.since_boot();
        match self.write(&taken.frames) {
            Ok(()) => {
                let elapsed = self.clock.since_boot().saturating_sub(began);
                let (entries, bytes) = (taken.next_index - taken.first_index, taken.frames.len() as u64);
                self.next_index = taken.next_index;
                self.queue.counters.synced(entries, bytes);
                self.queue.is_durable_up_to(self.next_index);
                taken.batch.settle(Settled::Durable);
                self.queue.waiters.settled();
                self.observer.synced(entries, bytes, elapsed);
                taken.frames.clear();
                self.spare = taken.frames;
            }
            Err(failure) => self.fail(&taken, &failure),
        }
    }

    fn write(&mut self, frames: &[u8]) -> Result<(), StepFailure> {
        let full = |segment: &Segment| {
            !segment.is_empty() && segment.bytes() + frames.len() as u64 > self.options.segment_bytes
        };
        if self.segment.as_ref().is_some_and(full) {
            if let Some(segment) = &mut self.segment {
                segment.seal()?;
            }
            self.segment = None;
            self.begin_segment()?;
        }
        match &mut self.segment {
            Some(segment) => segment.append(frames),
            None => Err(std::io::Error::other("no segment is open")).at(JournalStep::Write),
        }
    }

    /// A step failed: nobody of this batch or the next is answered, the segment ends at what is durable, and writing goes on
    /// in a new one if that can be had. The failed sync is never tried again: it may then succeed without the data.
    fn fail(&mut self, taken: &Taken, failure: &StepFailure) {
        self.report(failure);
        self.queue.counters.refusals_dropped.fetch_add(taken.refusals, Ordering::Relaxed);
        self.queue.close(self.next_index, closed_by(failure));
        taken.batch.settle(Settled::Failed);
        self.queue.waiters.settled();
        self.doubtful = self.segment.take();
        self.reopen();
    }

    /// The journal is closed: waits, then tries to go on.
    fn try_again(&mut self) -> bool {
        if self.queue.is_shutting_down() {
            return false;
        }
        thread::park_timeout(self.options.reopen_every);
        self.reopen();
        true
    }

    fn reopen(&mut self) {
        match self.settle_doubt().and_then(|()| self.begin_segment()) {
            Ok(()) => {
                self.queue.reopen(self.next_index);
                self.said.clear();
                tracing::warn!(first_index = self.next_index, "journal goes on in a new segment");
            }
            Err(failure) => {
                self.queue.close(self.next_index, closed_by(&failure));
                self.report(&failure);
            }
        }
    }

    /// Seals the segment in which a step failed and reads it back. While it lacks what was told durable, or cannot be read,
    /// the journal stays closed: a disk that loses what it acknowledged is given nothing more.
    fn settle_doubt(&mut self) -> Result<(), StepFailure> {
        let Some(mut segment) = self.doubtful.take() else { return Ok(()) };
        if let Err(failure) = segment.seal() {
            // The next segment's name says where this one ends, cut or not.
            self.report(&failure);
        }
        match segment.verify(self.next_index) {
            Ok(how) => {
                tracing::warn!(
                    next_index = self.next_index,
                    read = how.word(),
                    "journal sealed a segment: all answered entries are in it"
                );
                Ok(())
            }
            Err(failure) => {
                self.doubtful = Some(segment);
                Err(failure)
            }
        }
    }

    fn begin_segment(&mut self) -> Result<(), StepFailure> {
        let header = Header { origin: self.queue.origin().to_string(), first_index: self.next_index };
        self.segment = Some(Segment::create(&*self.storage, header, self.options.step_bytes)?);
        self.queue.segment_begun();
        Ok(())
    }

    /// Reads the last segment, and no other.
    fn resume_segment(&mut self, first_index: u64, signed: u64) -> Result<(), OpenError> {
        let name = name_of(first_index);
        let mut file = self.storage.open(&name).at(JournalStep::Read).map_err(OpenError::Recovery)?;
        let OnDisk { bytes, .. } =
            file.read_from_disk().at(JournalStep::Read).map_err(OpenError::Recovery)?;
        let expected = Header { origin: self.queue.origin().to_string(), first_index };
        if Header::parse(&bytes).as_ref() != Some(&expected) {
            return Err(OpenError::Segment(name));
        }
        let mut frames = Frames::new(&bytes, first_index);
        frames.by_ref().for_each(drop);
        if frames.index() < signed {
            return Err(OpenError::BelowCheckpoint { entries: frames.index(), signed });
        }
        let (valid, length) = (frames.offset() as u64, bytes.len() as u64);
        let segment = Segment::resume(file, expected, valid, length, self.options.step_bytes);
        self.segment = Some(segment.map_err(OpenError::Recovery)?);
        self.next_index = frames.index();
        Ok(())
    }

    /// Counts every failure and says each kind aloud once, not once a second.
    fn report(&mut self, failure: &StepFailure) {
        self.queue.counters.failures.fetch_add(1, Ordering::Relaxed);
        self.observer.failed(failure.step, failure.source.kind());
        let reason = closed_by(failure);
        if !self.said.contains(&reason) {
            self.said.push(reason);
            tracing::error!(
                step = failure.step.word(),
                error = %failure.source,
                "journal cannot write: no record, no disclosure"
            );
        }
    }
}

fn closed_by(failure: &StepFailure) -> ClosedReason {
    ClosedReason::Failed { step: failure.step, error: failure.source.kind() }
}

/// However the thread ends, nobody is left waiting for it.
struct CloseOnExit {
    queue: Arc<Queue>,
    reason: ClosedReason,
}

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.queue.close(u64::MAX, self.reason);
    }
}

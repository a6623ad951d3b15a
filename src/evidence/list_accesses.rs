//! A driver sees who looked, page by page, newest first.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::accesses::{Access, Accesses, LOOK_EVERY, LOOKS_MAX, NotShown};
use super::ports::{
    AccessToRecord, Accessed, Accessing, Found, IndexUnavailable, LookUpIndex, SubjectHandle, Whose,
};
use crate::domain::licence::{ChangeKind, Record};
use crate::domain::partner::Standing;
use crate::domain::presentation::Holder;
use crate::domain::subject::SubjectId;
use crate::issuing::{PAGE_MAX, Page, TokenScope, WalletCaller};
use crate::verification::ports::{Deadline, EntryAt, SubjectRef};

const LIST: &str = "accesses";
/// Entries read at once.
const READ_AT_ONCE: usize = 16;

/// A page of look-ups, on record as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPage {
    /// Newest first.
    pub accesses: Vec<Access>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<Vec<u8>>,
    /// What the wallet calls the driver.
    pub subject_ref: SubjectRef,
    /// Where it stands that this page was shown.
    pub entry: EntryAt,
}

impl Accesses {
    /// Lists everything that was ever asked about a driver, unconfirmed attempts and those on the driver's numbers before they were in the
    /// registry included; complete up to about a second ago. Cancel-safe; on record before it is returned.
    ///
    /// # Errors
    /// [`NotShown`] says whose turn it is. A list is never silently short.
    pub async fn list(
        &self,
        caller: WalletCaller<'_>,
        holder: &Holder,
        page: Page<'_>,
        deadline: Deadline,
    ) -> Result<AccessPage, NotShown> {
        let known = self.holders.find(holder, deadline).await?;
        let record = known.record.as_ref();
        let scope = TokenScope { list: LIST, wallet: caller.wallet, subject: Some(&record.subject) };
        let before = match page.token {
            None => None,
            Some(token) => Some(self.place(scope, token).ok_or(NotShown::TokenNotKnown)?),
        };
        if before.is_none() {
            self.wait_for_index().await?;
        }
        let size = page.size.clamp(1, PAGE_MAX);
        let mut found = self.collect(record, before.as_ref(), size + 1).await?;
        let is_last = found.len() <= size;
        found.truncate(size);
        let last = found.last().filter(|_| !is_last);
        let next = last.map(|(last, _)| self.tokens.make(scope, &place_bytes(last)));
        match (caller.standing)() {
            Standing::Active => {}
            lost => return Err(NotShown::StandingLost(lost)),
        }
        let what = Accessing::List { of: Whose::from(record), continued: page.token.is_some() };
        let access = AccessToRecord { at: self.clock.now(), partner: Some(caller.wallet), what };
        let entry = self.log.record_access(&access).await?;
        let accesses = found.into_iter().map(|(found, accessed)| self.told(accessed, found.place)).collect();
        let subject_ref = self.holders.pseudonyms.subject_ref(&record.subject, caller.wallet);
        Ok(AccessPage { accesses, next, subject_ref, entry })
    }

    /// Waits until the index holds what every log held when the list was asked for.
    async fn wait_for_index(&self) -> Result<(), NotShown> {
        let logs = self.logs.all();
        let lengths = try_join_all(logs.iter().map(|log| log.length())).await?;
        for (log, length) in logs.iter().zip(lengths) {
            let mut looks = 0;
            while self.index.cursor(log.origin()).await? < length {
                looks += 1;
                if looks > LOOKS_MAX {
                    let origin = log.origin();
                    tracing::warn!(
                        origin,
                        "the index of look-ups lags behind a log: no list can be complete (if nobody writes that log any more: `drivegate audit reindex`)"
                    );
                    return Err(NotShown::NoIndex);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Collects look-ups that may be told, at most `count`, newest first.
    async fn collect(
        &self,
        record: &Record,
        before: Option<&Found>,
        count: usize,
    ) -> Result<Vec<(Found, Accessed)>, NotShown> {
        let hold_backs = self.hold_backs.of_subject(record.subject).await?;
        let handles = self.handles_of(record);
        let mut look_ups = Merged::new(&handles, before, count.max(READ_AT_ONCE));
        let mut collected = Vec::new();
        loop {
            let batch = look_ups.next_batch(self.index.as_ref(), READ_AT_ONCE).await?;
            if batch.is_empty() {
                return Ok(collected);
            }
            let read = try_join_all(batch.iter().map(|found| self.read(found))).await?;
            for (found, accessed) in batch.into_iter().zip(read) {
                let Some(accessed) = accessed else { continue };
                if !handles.contains(&accessed.subject) {
                    let EntryAt { origin, index } = &found.place;
                    tracing::error!(%origin, index, "the index of look-ups names an entry about somebody else");
                    return Err(NotShown::NoLog);
                }
                if !self.is_held(&hold_backs, &accessed) {
                    collected.push((found, accessed));
                }
                if collected.len() == count {
                    return Ok(collected);
                }
            }
        }
    }

    /// Returns under what look-ups about a driver are found: the driver's own handle, and that of every number the driver ever had, for
    /// what was asked before the registry knew it.
    pub(super) fn handles_of(&self, record: &Record) -> Vec<SubjectHandle> {
        let mut handles = vec![SubjectHandle::of_subject(&record.subject)];
        for change in record.history.changes() {
            if let ChangeKind::NumberSet { document, number } = &change.kind {
                let number = self.holders.pseudonyms.pseudonym(*document, number);
                let handle = SubjectHandle::of_number(&number);
                if !handles.contains(&handle) {
                    handles.push(handle);
                }
            }
        }
        handles
    }

    /// Reads where a page ended.
    fn place(&self, scope: TokenScope<'_>, token: &[u8]) -> Option<Found> {
        let (at, rest) = self.tokens.open(scope, token)?.split_first_chunk::<8>()?;
        let (index, origin) = rest.split_first_chunk::<8>()?;
        let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
        let origin = std::str::from_utf8(origin).ok()?.into();
        Some(Found { at, place: EntryAt { origin, index: u64::from_be_bytes(*index) } })
    }
}

fn place_bytes(last: &Found) -> Vec<u8> {
    let EntryAt { origin, index } = &last.place;
    [&last.at.as_microsecond().to_be_bytes()[..], &index.to_be_bytes(), origin.as_bytes()].concat()
}

/// Look-ups under several handles as one list, newest first: by moment, then log, then entry.
struct Merged {
    lines: Vec<Line>,
    limit: usize,
}

/// The look-ups under one handle.
struct Line {
    handle: SubjectHandle,
    /// Read ahead.
    ahead: VecDeque<Found>,
    /// Before which the next lie; `None`: the newest.
    before: Option<Found>,
    is_exhausted: bool,
}

impl Merged {
    fn new(handles: &[SubjectHandle], before: Option<&Found>, limit: usize) -> Self {
        let line = |handle: &SubjectHandle| Line {
            handle: *handle,
            ahead: VecDeque::new(),
            before: before.cloned(),
            is_exhausted: false,
        };
        Self { lines: handles.iter().map(line).collect(), limit }
    }

    /// Returns the next look-ups, at most `count`; none: there are no more.
    async fn next_batch(
        &mut self,
        index: &dyn LookUpIndex,
        count: usize,
    ) -> Result<Vec<Found>, IndexUnavailable> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            for line in &mut self.lines {
                line.fill(index, self.limit).await?;
            }
            let newest = self.lines.iter_mut().max_by(|one, other| order(one).cmp(&order(other)));
            match newest.and_then(|line| line.ahead.pop_front()) {
                Some(found) => batch.push(found),
                None => break,
            }
        }
        Ok(batch)
    }
}

impl Line {
    async fn fill(&mut self, index: &dyn LookUpIndex, limit: usize) -> Result<(), IndexUnavailable> {
        if !self.ahead.is_empty() || self.is_exhausted {
            return Ok(());
        }
        self.ahead = index.by_subject(self.handle, self.before.take(), limit).await?.into();
        self.is_exhausted = self.ahead.len() < limit;
        self.before = self.ahead.back().cloned();
        Ok(())
    }
}

/// Orders lines by their next look-up; a line without one comes last.
fn order(line: &Line) -> Option<(Timestamp, &str, u64)> {
    line.ahead.front().map(|found| (found.at, &*found.place.origin, found.place.index))
}

/// Whose look-ups a stream tells of, by handle.
pub(super) fn by_handle(
    accesses: &Accesses,
    record: &Record,
) -> impl Iterator<Item = (SubjectHandle, SubjectId)> {
    let subject = record.subject;
    accesses.handles_of(record).into_iter().map(move |handle| (handle, subject))
}

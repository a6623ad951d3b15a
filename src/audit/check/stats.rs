//! What a log says in numbers, per partner and purpose, and whether a bill agrees with it.
//!
//! The log can say how many answers were put on record to be charged, and no bill may exceed that. It cannot say which of them
//! arrived: a caller may have left, a process died, between the sync and the answer. The meter counts an answer when it leaves,
//! so a right bill is the log's count less those few. Hence: more billed than recorded is wrong, less is in order.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::export::Selection;
use crate::audit::entry::{AnswerEntry, Entry, RefusalEntry, RequestDigest};
use crate::domain::decision::Decision;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

/// The longest bill that is read, in lines: more than partners × purposes will ever be.
const BILL_LINES_MAX: usize = 100_000;

/// Counts over a log.
#[derive(Clone, Debug, Default)]
pub struct LogStats {
    /// Entries counted.
    pub entries: u64,
    /// Entries that cannot be read: `fsck` says which.
    pub undecodable: u64,
    /// The earliest and latest moment counted.
    pub dated: Option<(Timestamp, Timestamp)>,
    lines: BTreeMap<PartnerId, [Line; PURPOSES]>,
    requests: ChargedRequests,
}

/// One place for each purpose's code, and 0 for refusals that were not read that far.
const PURPOSES: usize = Purpose::ALL.len() + 1;

/// Counts of one partner and purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Answers put on record.
    pub answers: u64,
    /// Those to be charged: the most a bill may hold. Entries of one request (a retry that another replica answered, a presentation
    /// whose redemption was finished after a crash) count once.
    pub charged: u64,
    /// Decided QUALIFIED.
    pub qualified: u64,
    /// Decided NOT QUALIFIED.
    pub not_qualified: u64,
    /// INDETERMINATE.
    pub indeterminate: u64,
    /// Requests refused.
    pub refused: u64,
}

impl LogStats {
    /// Counts an entry, if it is selected.
    pub fn count(&mut self, bytes: &[u8], selection: &Selection) {
        match Entry::decode(bytes) {
            Ok(entry) if selection.wants(&entry) => self.count_entry(&entry),
            Ok(_) => {}
            Err(_) => self.undecodable += 1,
        }
    }

    fn count_entry(&mut self, entry: &Entry) {
        self.entries += 1;
        let at = entry.at();
        let (first, last) = self.dated.unwrap_or((at, at));
        self.dated = Some((first.min(at), last.max(at)));
        match entry {
            Entry::Answer(answer) => {
                let is_charged = answer.charged && self.requests.is_first(answer);
                self.line(&answer.partner, Some(answer.purpose)).answer(answer, is_charged);
            }
            Entry::Refusals(RefusalEntry { partner, purpose, count, .. }) => {
                self.line(partner, *purpose).refused += u64::from(*count);
            }
            // An access is no look-up, and is never billed.
            Entry::Access(_) => {}
        }
    }

    fn line(&mut self, partner: &PartnerId, purpose: Option<Purpose>) -> &mut Line {
        let lines = self.lines.entry(partner.clone()).or_default();
        &mut lines[place_of(purpose)]
    }

    /// Returns what was counted, by partner and purpose; no purpose: refused before it was read.
    pub fn lines(&self) -> impl Iterator<Item = (&PartnerId, Option<Purpose>, &Line)> {
        let purposes = || std::iter::once(None).chain(Purpose::ALL.iter().copied().map(Some));
        self.lines.iter().flat_map(move |(partner, lines)| {
            let counted = purposes().map(move |purpose| (partner, purpose, &lines[place_of(purpose)]));
            counted.filter(|(_, _, line)| **line != Line::default())
        })
    }

    fn charged(&self, partner: &PartnerId, purpose: Purpose) -> u64 {
        self.lines.get(partner).map_or(0, |lines| lines[place_of(Some(purpose))].charged)
    }

    /// Holds a bill against the counts: a line for every partner and purpose that either of them names.
    pub fn reconcile(&self, bill: &Bill) -> Vec<BillLine> {
        let counted = self.lines().filter_map(|(partner, purpose, _)| Some((partner.clone(), purpose?)));
        let mut named: Vec<_> = counted.chain(bill.billed.keys().cloned()).collect();
        named.sort();
        named.dedup();
        let line = |(partner, purpose): (PartnerId, Purpose)| {
            let recorded = self.charged(&partner, purpose);
            let billed = bill.billed.get(&(partner.clone(), purpose)).copied().unwrap_or(0);
            BillLine { partner: partner.to_string(), purpose, recorded, billed }
        };
        named.into_iter().map(line).filter(|line| line.recorded > 0 || line.billed > 0).collect()
    }
}

fn place_of(purpose: Option<Purpose>) -> usize {
    purpose
        .and_then(|purpose| Purpose::ALL.iter().position(|other| *other == purpose))
        .map_or(0, |place| place + 1)
}

impl Line {
    fn answer(&mut self, answer: &AnswerEntry<'_>, is_charged: bool) {
        if answer.consent_withdrawn {
            // No answer: it stands among the refusals, too, and is counted there.
            return;
        }
        self.answers += 1;
        self.charged += u64::from(is_charged);
        match answer.decision {
            Decision::Qualified => self.qualified += 1,
            Decision::NotQualified => self.not_qualified += 1,
            Decision::Indeterminate => self.indeterminate += 1,
        }
    }
}

/// Entries of one request so far apart are one charge. A request may be repeated for ten minutes, and a QR code lives one more.
const ONE_CHARGE_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// The most requests remembered at once: some 60 MB. Of more than 1,000 a second, the oldest are forgotten early.
const REQUESTS_MAX: usize = 1 << 20;

/// The requests charged lately, by their digests, which name the partner too.
#[derive(Clone, Debug, Default)]
struct ChargedRequests {
    charged_at: HashMap<RequestDigest, Timestamp>,
    oldest_first: VecDeque<RequestDigest>,
}

impl ChargedRequests {
    /// Says whether no entry of the same request was charged lately.
    fn is_first(&mut self, answer: &AnswerEntry<'_>) -> bool {
        let Some(request) = answer.request else { return true };
        self.forget(answer.at);
        match self.charged_at.get(&request) {
            Some(at) if answer.at.duration_since(*at).abs() <= ONE_CHARGE_WITHIN => return false,
            Some(_) => {}
            None => self.oldest_first.push_back(request),
        }
        self.charged_at.insert(request, answer.at);
        true
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.oldest_first.front() {
            let is_past =
                self.charged_at.get(oldest).is_none_or(|at| now.duration_since(*at) > ONE_CHARGE_WITHIN);
            if !is_past && self.oldest_first.len() < REQUESTS_MAX {
                return;
            }
            if let Some(forgotten) = self.oldest_first.pop_front() {
                self.charged_at.remove(&forgotten);
            }
        }
    }
}

/// What a partner was, or is to be, charged for: answers by partner and purpose.
#[derive(Clone, Debug, Default)]
pub struct Bill {
    billed: BTreeMap<(PartnerId, Purpose), u64>,
}

/// A bill's line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BillError {
    /// Not `partner,purpose,count`.
    #[error("line {0} of the bill is not `partner,purpose,count`")]
    Line(usize),
    /// The same partner and purpose again.
    #[error("line {0} of the bill names a partner and purpose for the second time")]
    Twice(usize),
    /// More lines than any bill has.
    #[error("the bill has more than {BILL_LINES_MAX} lines")]
    TooLong,
}

impl Bill {
    /// Reads lines of `partner,purpose,count`; empty lines and a first line `partner,purpose,count` are passed over.
    ///
    /// # Errors
    /// [`BillError`] names the line.
    pub fn parse(text: &str) -> Result<Self, BillError> {
        let mut billed = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if number > BILL_LINES_MAX {
                return Err(BillError::TooLong);
            }
            if line.trim().is_empty() || (number == 1 && line.trim() == "partner,purpose,count") {
                continue;
            }
            let (key, count) = parse_line(line).ok_or(BillError::Line(number))?;
            if billed.insert(key, count).is_some() {
                return Err(BillError::Twice(number));
            }
        }
        Ok(Self { billed })
    }
}

fn parse_line(line: &str) -> Option<((PartnerId, Purpose), u64)> {
    let mut parts = line.split(',').map(str::trim);
    let (partner, purpose, count) = (parts.next()?, parts.next()?, parts.next()?);
    let key = (partner.parse().ok()?, purpose.parse().ok()?);
    parts.next().is_none().then_some((key, count.parse().ok()?))
}

/// One line of a bill beside what is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BillLine {
    /// Whose.
    pub partner: String,
    /// Why.
    pub purpose: Purpose,
    /// Answers on record that were to be charged.
    pub recorded: u64,
    /// Answers billed.
    pub billed: u64,
}

impl BillLine {
    /// Says whether more was billed than is on record: nobody may be charged for an answer that is not.
    pub fn is_overbilled(&self) -> bool {
        self.billed > self.recorded
    }
}

//! An answer in bytes: compact, versioned, strict. What it reads it has written, bit for bit; anything else is refused.
//!
//! Version 1, numbers big-endian: version · decision · advice · authorised by · flags · criteria (count, then kind, outcome, reason) · not covered (count,
//! codes) · remedies (count, codes) · observed at · known at · entry (origin, index) · number · then what the flags announce, in
//! their order. A moment is seconds (8) and nanoseconds (4); a text is length (1) and UTF-8.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::decision::{
    Advice, Criterion, CriterionKind, Decision, NotCovered, Outcome, Reason, Remedy, Ruling,
};
use crate::domain::disclosure::{
    Disclosure, DisplayShown, MaskedName, Pending, Probation, ProbationKind, TenureBand,
};
use crate::domain::elicence::{Display, Groups};
use crate::domain::licence::{ClassSet, StateSet};
use crate::domain::policy::AuthorisedBy;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::verification::ports::{Answer, Confirmed, EntryAt, FactSource, SubjectRef};

const VERSION: u8 = 1;
/// The most items of one list; the purposes of today have at most twelve.
const ITEMS_MAX: usize = 24;
const SIZE_USUAL: usize = 192;

const CHARGED: u16 = 1;
const RELIANCE_UNTIL: u16 = 1 << 1;
const CONFIRMED: u16 = 1 << 2;
const CHANGED_SINCE: u16 = 1 << 3;
const MASKED_NAME: u16 = 1 << 4;
const EXPIRED_ON: u16 = 1 << 5;
const PROBATION: u16 = 1 << 6;
const TENURE_BAND: u16 = 1 << 7;
const PENDING: u16 = 1 << 8;
const STATES: u16 = 1 << 9;
const CLASSES: u16 = 1 << 10;
const PAPER_LICENCE: u16 = 1 << 11;
const DISPLAY: u16 = 1 << 12;
const CLASS_GROUPS: u16 = 1 << 13;
const FLAGS_KNOWN: u16 = (1 << 14) - 1;

/// Writes an answer. `None`: something in it is longer than the format admits; it is not kept then.
pub(super) fn encode(answer: &Answer) -> Option<Vec<u8>> {
    let Answer {
        ruling,
        disclosure,
        confirmed,
        authorised_by,
        observed_at,
        known_at,
        entry,
        charged,
        replayed: _,
        number,
        leaves_by: _,
    } = answer;
    let Ruling { decision, criteria, not_covered, reliance_until, advice, remedies } = ruling;
    let mut out = Writer(Vec::with_capacity(SIZE_USUAL));
    out.bytes(&[VERSION, decision.code(), advice.code(), authorised_by.code()]);
    out.bytes(&flags(answer).to_be_bytes());
    out.count(criteria.len())?;
    for Criterion { kind, outcome, reason } in criteria {
        out.bytes(&[kind.code(), outcome.code(), reason.map_or(0, Reason::code)]);
    }
    out.count(not_covered.len())?;
    not_covered.iter().for_each(|item| out.bytes(&[item.code()]));
    out.count(remedies.len())?;
    remedies.iter().for_each(|item| out.bytes(&[item.code()]));
    out.moment(*observed_at);
    out.moment(*known_at);
    out.text(&entry.origin)?;
    out.bytes(&entry.index.to_be_bytes());
    out.bytes(number.as_bytes());
    debug_assert_eq!(flags(answer) & CHARGED != 0, *charged);
    if let Some(until) = reliance_until {
        out.moment(*until);
    }
    if let Some(Confirmed { subject_ref, position, source, changed_since }) = confirmed {
        out.bytes(&subject_ref.0);
        out.bytes(&position.epoch.to_be_bytes());
        out.bytes(&position.partition.to_be_bytes());
        out.bytes(&position.seq.to_be_bytes());
        out.bytes(&[source_code(*source)]);
        if let Some(since) = changed_since {
            out.moment(*since);
        }
    }
    push_disclosure(&mut out, disclosure)?;
    Some(out.0)
}

/// Reads an answer. `None` for anything [`encode`] would not have written.
pub(super) fn decode(bytes: &[u8]) -> Option<Answer> {
    let mut from = Reader(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let decision = Decision::from_code(from.byte()?)?;
    let advice = Advice::from_code(from.byte()?)?;
    let authorised_by = AuthorisedBy::from_code(from.byte()?)?;
    let flags = Some(u16::from_be_bytes(from.array()?)).filter(|flags| flags & !FLAGS_KNOWN == 0)?;
    let has = |flag: u16| flags & flag != 0;
    let criteria = from.list(read_criterion)?;
    let not_covered = from.list(|from| NotCovered::from_code(from.byte()?))?;
    let remedies = from.list(|from| Remedy::from_code(from.byte()?))?;
    let observed_at = from.moment()?;
    let known_at = from.moment()?;
    let entry = EntryAt { origin: Arc::from(from.text()?), index: u64::from_be_bytes(from.array()?) };
    let number = NumberPseudonym::from_bytes(from.array()?);
    let reliance_until = from.announced(has(RELIANCE_UNTIL), Reader::moment)?;
    let changed_since = has(CHANGED_SINCE);
    let confirmed = from.announced(has(CONFIRMED), |from| read_confirmed(from, changed_since))?;
    let disclosure = read_disclosure(&mut from, has)?;
    let ruling =
        Ruling { decision, criteria, not_covered: not_covered.into(), reliance_until, advice, remedies };
    let charged = has(CHARGED);
    let answer = Answer {
        ruling,
        disclosure,
        confirmed,
        authorised_by,
        observed_at,
        known_at,
        entry,
        charged,
        replayed: false,
        number,
        leaves_by: None,
    };
    // Nothing behind the end, and no flag that announced nothing.
    (from.0.is_empty() && self::flags(&answer) == flags).then_some(answer)
}

fn flags(answer: &Answer) -> u16 {
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let changed = answer.confirmed.is_some_and(|confirmed| confirmed.changed_since.is_some());
    let shown = &answer.disclosure;
    flag(answer.charged, CHARGED)
        | flag(answer.ruling.reliance_until.is_some(), RELIANCE_UNTIL)
        | flag(answer.confirmed.is_some(), CONFIRMED)
        | flag(changed, CHANGED_SINCE)
        | flag(shown.masked_name.is_some(), MASKED_NAME)
        | flag(shown.expired_on.is_some(), EXPIRED_ON)
        | flag(shown.probation.is_some(), PROBATION)
        | flag(shown.tenure_band.is_some(), TENURE_BAND)
        | flag(shown.pending.is_some(), PENDING)
        | flag(shown.states.is_some(), STATES)
        | flag(shown.classes.is_some(), CLASSES)
        | flag(shown.paper_licence_needed.is_some(), PAPER_LICENCE)
        | flag(shown.display.is_some(), DISPLAY)
        | flag(shown.class_groups.is_some(), CLASS_GROUPS)
}

fn push_disclosure(out: &mut Writer, shown: &Disclosure) -> Option<()> {
    // Every field by name: one that is added to the disclosure must be added here.
    let Disclosure {
        masked_name,
        expired_on,
        probation,
        tenure_band,
        pending,
        states,
        classes,
        paper_licence_needed,
        display,
        class_groups,
    } = shown;
    if let Some(name) = masked_name {
        out.text(name.as_str())?;
    }
    if let Some(day) = expired_on {
        out.day(*day);
    }
    if let Some(Probation { kind, last_day }) = probation {
        out.bytes(&[kind.code()]);
        out.day(*last_day);
    }
    if let Some(band) = tenure_band {
        out.bytes(&[band.code()]);
    }
    if let Some(Pending { violation, accident }) = pending {
        out.bytes(&[u8::from(*violation), u8::from(*accident)]);
    }
    if let Some(states) = states {
        let letters: Vec<u8> = states.letters().collect();
        out.bytes(&[u8::try_from(letters.len()).ok()?]);
        out.bytes(&letters);
    }
    if let Some(classes) = classes {
        out.bytes(&classes.bits().to_be_bytes());
    }
    if let Some(needed) = paper_licence_needed {
        out.bytes(&[u8::from(*needed)]);
    }
    if let Some(DisplayShown { display, deferred }) = display {
        out.bytes(&[display.code(), u8::from(*deferred)]);
    }
    if let Some(Groups { car, motorcycle }) = class_groups {
        out.bytes(&[u8::from(*car), u8::from(*motorcycle)]);
    }
    Some(())
}

fn read_disclosure(from: &mut Reader<'_>, has: impl Fn(u16) -> bool) -> Option<Disclosure> {
    Some(Disclosure {
        masked_name: from.announced(has(MASKED_NAME), |from| MaskedName::shown_before(from.text()?))?,
        expired_on: from.announced(has(EXPIRED_ON), Reader::day)?,
        probation: from.announced(has(PROBATION), |from| {
            Some(Probation { kind: ProbationKind::from_code(from.byte()?)?, last_day: from.day()? })
        })?,
        tenure_band: from.announced(has(TENURE_BAND), |from| TenureBand::from_code(from.byte()?))?,
        pending: from.announced(has(PENDING), |from| {
            Some(Pending { violation: from.truth()?, accident: from.truth()? })
        })?,
        states: from.announced(has(STATES), read_states)?,
        classes: from
            .announced(has(CLASSES), |from| ClassSet::from_bits(u32::from_be_bytes(from.array()?)))?,
        paper_licence_needed: from.announced(has(PAPER_LICENCE), Reader::truth)?,
        display: from.announced(has(DISPLAY), |from| {
            Some(DisplayShown { display: Display::from_code(from.byte()?)?, deferred: from.truth()? })
        })?,
        class_groups: from.announced(has(CLASS_GROUPS), |from| {
            Some(Groups { car: from.truth()?, motorcycle: from.truth()? })
        })?,
    })
}

fn read_criterion(from: &mut Reader<'_>) -> Option<Criterion> {
    let kind = CriterionKind::from_code(from.byte()?)?;
    let outcome = Outcome::from_code(from.byte()?)?;
    let reason = match from.byte()? {
        0 => None,
        code => Some(Reason::from_code(code)?),
    };
    (reason.is_none() == (outcome == Outcome::Met)).then_some(Criterion { kind, outcome, reason })
}

fn read_confirmed(from: &mut Reader<'_>, changed_since: bool) -> Option<Confirmed> {
    Some(Confirmed {
        subject_ref: SubjectRef(from.array()?),
        position: Position {
            epoch: u32::from_be_bytes(from.array()?),
            partition: u16::from_be_bytes(from.array()?),
            seq: u64::from_be_bytes(from.array()?),
        },
        source: source_of(from.byte()?)?,
        changed_since: from.announced(changed_since, Reader::moment)?,
    })
}

fn read_states(from: &mut Reader<'_>) -> Option<StateSet> {
    let count = usize::from(from.byte()?);
    let letters = from.bytes(count)?;
    let states = StateSet::parse(std::str::from_utf8(letters).ok()?)?;
    // In the alphabet's order, none twice: one set has one writing.
    states.letters().eq(letters.iter().copied()).then_some(states)
}

fn source_code(source: FactSource) -> u8 {
    match source {
        FactSource::InProcess => 1,
        FactSource::Redis => 2,
        FactSource::Registry => 3,
    }
}

fn source_of(code: u8) -> Option<FactSource> {
    [FactSource::InProcess, FactSource::Redis, FactSource::Registry]
        .into_iter()
        .find(|source| source_code(*source) == code)
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn count(&mut self, count: usize) -> Option<()> {
        let count = u8::try_from(count).ok().filter(|_| count <= ITEMS_MAX)?;
        self.bytes(&[count]);
        Some(())
    }

    fn text(&mut self, text: &str) -> Option<()> {
        self.bytes(&[u8::try_from(text.len()).ok()?]);
        self.bytes(text.as_bytes());
        Some(())
    }

    fn moment(&mut self, moment: Timestamp) {
        self.bytes(&moment.as_second().to_be_bytes());
        self.bytes(&moment.subsec_nanosecond().to_be_bytes());
    }

    fn day(&mut self, day: Date) {
        self.bytes(&day.year().to_be_bytes());
        self.bytes(&day.month().to_be_bytes());
        self.bytes(&day.day().to_be_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let count = usize::from(self.byte()?);
        std::str::from_utf8(self.bytes(count)?).ok()
    }

    fn truth(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn moment(&mut self) -> Option<Timestamp> {
        let (second, nanosecond) = (i64::from_be_bytes(self.array()?), i32::from_be_bytes(self.array()?));
        let moment = Timestamp::new(second, nanosecond).ok()?;
        // A sign that disagrees is made to agree: then it was not written here.
        (moment.as_second() == second && moment.subsec_nanosecond() == nanosecond).then_some(moment)
    }

    fn day(&mut self) -> Option<Date> {
        let [year_high, year_low, month, day] = self.array()?;
        let year = i16::from_be_bytes([year_high, year_low]);
        Date::new(year, month.cast_signed(), day.cast_signed()).ok()
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::from(self.byte()?);
        if count > ITEMS_MAX {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// Reads what was announced: `Some(None)` when nothing was, `None` when it cannot be read.
    #[allow(clippy::option_option, reason = "absent and unreadable are two things")]
    fn announced<T>(&mut self, is: bool, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if is { read(self).map(Some) } else { Some(None) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::licence::VehicleClass;

    /// An answer that has everything.
    pub(in crate::retries) fn full() -> Answer {
        let moment = |second, nanosecond| Timestamp::new(second, nanosecond).unwrap();
        Answer {
            ruling: Ruling {
                decision: Decision::NotQualified,
                criteria: vec![
                    Criterion::met(CriterionKind::Subject),
                    Criterion::not_met(CriterionKind::Class, Reason::ClassNotCovered),
                ],
                not_covered: vec![NotCovered::Sobriety, NotCovered::VehiclePapers].into(),
                reliance_until: Some(moment(1_800_000_000, 5)),
                advice: Advice::AskDriver,
                remedies: vec![Remedy::Renew],
            },
            disclosure: Disclosure {
                masked_name: MaskedName::shown_before("欧阳*"),
                expired_on: Some(date(2026, 11, 22)),
                probation: Some(Probation { kind: ProbationKind::FirstLicence, last_day: date(2027, 1, 1) }),
                tenure_band: Some(TenureBand::From3To5),
                pending: Some(Pending { violation: true, accident: false }),
                states: StateSet::parse("HS"),
                classes: Some(ClassSet::of(&[VehicleClass::C1, VehicleClass::D])),
                paper_licence_needed: Some(true),
                display: Some(DisplayShown { display: Display::Red, deferred: true }),
                class_groups: Some(Groups { car: true, motorcycle: false }),
            },
            authorised_by: AuthorisedBy::ShareCode,
            confirmed: Some(Confirmed {
                subject_ref: SubjectRef([3; 16]),
                position: Position { epoch: 4, partition: 513, seq: u64::MAX },
                source: FactSource::Redis,
                changed_since: Some(moment(1_700_000_000, 999_999_999)),
            }),
            observed_at: moment(1_763_800_000, 123_456_789),
            known_at: moment(-1, -1),
            entry: EntryAt { origin: "gw-1-0123456789abcdef".into(), index: 77 },
            charged: true,
            replayed: false,
            number: NumberPseudonym::from_bytes([9; 16]),
            leaves_by: None,
        }
    }

    /// An answer that has as little as any.
    pub(in crate::retries) fn unconfirmed() -> Answer {
        Answer {
            ruling: Ruling::not_confirmed(),
            disclosure: Disclosure::nothing(),
            confirmed: None,
            charged: false,
            ..full()
        }
    }

    fn text(answer: &Answer) -> String {
        format!("{answer:?}")
    }

    #[test]
    fn what_is_written_is_read() {
        for answer in [full(), unconfirmed()] {
            assert_eq!(text(&decode(&encode(&answer).unwrap()).unwrap()), text(&answer));
        }
        assert!(encode(&full()).unwrap().len() <= SIZE_USUAL);
    }

    #[test]
    fn cut_lengthened_or_of_another_version_it_is_no_answer() {
        for answer in [full(), unconfirmed()] {
            let bytes = encode(&answer).unwrap();
            for length in 0..bytes.len() {
                assert!(decode(&bytes[..length]).is_none(), "{length}");
            }
            assert!(decode(&[&bytes[..], &[0]].concat()).is_none());
            assert!(decode(&[&[VERSION + 1], &bytes[1..]].concat()).is_none());
        }
    }

    #[test]
    fn more_than_the_format_admits_is_not_written() {
        let mut answer = full();
        answer.ruling.remedies = vec![Remedy::Renew; ITEMS_MAX + 1];
        assert!(encode(&answer).is_none());
        let origin = "x".repeat(256).into();
        assert!(encode(&Answer { entry: EntryAt { origin, index: 0 }, ..full() }).is_none());
    }

    proptest! {
        /// Whatever is read is written the same again: nothing has two writings, and nothing can panic.
        #[test]
        fn one_answer_has_one_writing(
            place in 0_usize..400,
            byte in any::<u8>(),
            noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = encode(&full()).unwrap();
            let place = place % bytes.len();
            bytes[place] = byte;
            for bytes in [bytes, noise] {
                if let Some(answer) = decode(&bytes) {
                    prop_assert_eq!(encode(&answer).unwrap(), bytes);
                }
            }
        }
    }
}

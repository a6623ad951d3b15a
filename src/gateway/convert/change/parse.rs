//! A change from the wire becomes one of the intake's. The envelope and the content are judged apart: a change whose content
//! cannot be understood still says whose answers are in doubt.

use jiff::civil::Date;

use crate::domain::licence::{
    ChangeKind, ELicenceEvent, FileNumber, FullName, LicenceNumber, NumberRules, Validity, ValidityTerm,
};
use crate::domain::partner::PartnerId;
use crate::domain::time::Effective;
use crate::gateway::convert::FieldFault;
use crate::gateway::convert::request::Faults;
use crate::gateway::proto::{self, licence_change};
use crate::intake::change::{ChangeId, FeedName, IncomingChange, StatedChange};

/// The greatest sequence number: one more must still be countable everywhere.
const SEQUENCE_MAX: u64 = i64::MAX as u64;
/// Nobody drives at this age; the ceiling bounds what is stored.
const CEILING_YEARS: std::ops::RangeInclusive<u32> = 1..=120;

/// What a change is parsed against.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct ChangeRules<'a> {
    /// Whose stream.
    pub(in crate::gateway) partner: &'a PartnerId,
    /// Which numbers are accepted.
    pub(in crate::gateway) numbers: NumberRules,
}

/// A change as it was read.
pub(in crate::gateway) struct ParsedChange {
    /// Its id as it will be repeated in the acknowledgement; empty when it breaks the rule.
    pub(in crate::gateway) change_id: String,
    /// The change; `None` when its envelope breaks a rule.
    pub(in crate::gateway) change: Option<IncomingChange>,
    /// What is wrong with it: with a change, with its content alone.
    pub(in crate::gateway) faults: Vec<FieldFault>,
}

/// Parses a change.
pub(in crate::gateway) fn parse_change(
    message: proto::LicenceChange,
    rules: ChangeRules<'_>,
) -> ParsedChange {
    let mut faults = Faults::default();
    let source = faults.parsed("source", FeedName::of(rules.partner, &message.source));
    let id = faults.parsed("change_id", ChangeId::parse(&message.change_id));
    faults.demand((1..=SEQUENCE_MAX).contains(&message.sequence), "sequence", "must be 1 to 2^63 - 1");
    let document = faults.member("document_kind", message.document_kind);
    let number = document.and_then(|document| {
        let number = LicenceNumber::parse(document, &message.licence_number, rules.numbers);
        faults.parsed("licence_number", number)
    });
    let change_id = id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let envelope = if faults.is_empty() { source.zip(id).zip(document.zip(number)) } else { None };
    let Some(((source, id), (document, number))) = envelope else {
        return ParsedChange { change_id, change: None, faults: faults.into_list() };
    };
    let content =
        parse_content(&mut faults, message.effective, message.recorded_at, message.kind, rules.numbers);
    let content = content.filter(|_| faults.is_empty());
    let change = IncomingChange { source, id, sequence: message.sequence, document, number, content };
    ParsedChange { change_id, change: Some(change), faults: faults.into_list() }
}

fn parse_content(
    faults: &mut Faults,
    effective: Option<licence_change::Effective>,
    recorded_at: Option<prost_types::Timestamp>,
    kind: Option<licence_change::Kind>,
    numbers: NumberRules,
) -> Option<StatedChange> {
    let effective = match effective {
        Some(licence_change::Effective::EffectiveDay(day)) => {
            parse_day(faults, "effective_day", Some(day)).map(Effective::On)
        }
        Some(licence_change::Effective::EffectiveAt(moment)) => {
            faults.moment("effective_at", Some(moment)).map(Effective::At)
        }
        None => faults.refuse("effective", "exactly one must be set"),
    };
    let recorded_at = faults.moment("recorded_at", recorded_at);
    let kind = match kind {
        Some(kind) => parse_kind(faults, kind, numbers),
        None => faults.refuse("kind", "exactly one must be set, of those this gateway knows"),
    };
    Some(StatedChange { effective: effective?, recorded_at: recorded_at?, kind: kind? })
}

fn parse_kind(faults: &mut Faults, kind: licence_change::Kind, numbers: NumberRules) -> Option<ChangeKind> {
    use licence_change::Kind;
    Some(match kind {
        Kind::Issued(()) => ChangeKind::Issued,
        Kind::NumberSet(set) => {
            let document = faults.member("number_set.document_kind", set.document_kind)?;
            let number = LicenceNumber::parse(document, &set.licence_number, numbers);
            ChangeKind::NumberSet { document, number: faults.parsed("number_set.licence_number", number)? }
        }
        Kind::NameSet(name) => {
            ChangeKind::NameSet { name: faults.parsed("name_set", FullName::parse(&name))? }
        }
        Kind::BirthDaySet(day) => {
            ChangeKind::BirthDaySet { day: parse_day(faults, "birth_day_set", Some(day))? }
        }
        Kind::FileNumberSet(digits) => ChangeKind::FileNumberSet {
            number: faults.parsed("file_number_set", FileNumber::parse(&digits))?,
        },
        Kind::AuthoritySet(code) => {
            let is_code = (2..=8).contains(&code.chars().count()) && code.chars().all(char::is_alphanumeric);
            faults.demand(is_code, "authority_set", "must have 2 to 8 letters or digits");
            ChangeKind::AuthoritySet { code }
        }
        Kind::ClassAdded(class) => ChangeKind::ClassAdded { class: faults.member("class_added", class)? },
        Kind::ClassRemoved(class) => {
            ChangeKind::ClassRemoved { class: faults.member("class_removed", class)? }
        }
        Kind::AgeExtended(extension) => {
            let class = faults.member("age_extended.class", extension.class);
            let years = extension.ceiling_years;
            faults.demand(CEILING_YEARS.contains(&years), "age_extended.ceiling_years", "must be 1 to 120");
            ChangeKind::AgeExtended { class: class?, ceiling_years: u8::try_from(years).ok()? }
        }
        Kind::EndorsementSet(endorsement) => {
            ChangeKind::EndorsementSet { endorsement: faults.member("endorsement_set", endorsement)? }
        }
        Kind::EndorsementLifted(endorsement) => {
            ChangeKind::EndorsementLifted { endorsement: faults.member("endorsement_lifted", endorsement)? }
        }
        Kind::ValiditySet(validity) => {
            ChangeKind::ValiditySet { validity: parse_validity(faults, SET, &validity)? }
        }
        Kind::ValidityRenewed(validity) => {
            ChangeKind::ValidityRenewed { validity: parse_validity(faults, RENEWED, &validity)? }
        }
        Kind::ValidityExtended(validity) => {
            ChangeKind::ValidityExtended { validity: parse_validity(faults, EXTENDED, &validity)? }
        }
        Kind::ClassLostByAge(class) => {
            ChangeKind::ClassLostByAge { class: faults.member("class_lost_by_age", class)? }
        }
        Kind::StateGrounded(set) => {
            let letter = parse_letter(faults, "state_grounded.letter", &set.letter);
            let ground = faults.member("state_grounded.ground", set.ground);
            ChangeKind::StateGrounded { letter: letter?, ground: ground? }
        }
        Kind::ELicence(step) => ChangeKind::ELicence(parse_step(faults, step)?),
        Kind::Erased(()) => ChangeKind::Erased,
        Kind::StateSet(set) => {
            let letter = parse_letter(faults, "state_set.letter", &set.letter);
            let original_end =
                set.original_end.map(|day| parse_day(faults, "state_set.original_end", Some(day)));
            ChangeKind::StateSet { letter: letter?, original_end: original_end.flatten() }
        }
        Kind::StateLifted(letter) => {
            ChangeKind::StateLifted { letter: parse_letter(faults, "state_lifted", &letter)? }
        }
        Kind::PointsSet(points) => {
            faults.demand(points <= 255, "points_set", "must be 0 to 255");
            ChangeKind::PointsSet { points: u8::try_from(points).ok()? }
        }
        Kind::PointsCleared(()) => ChangeKind::PointsCleared,
        Kind::PointsReversed(()) => ChangeKind::PointsReversed,
        Kind::ProtectionSet(()) => ChangeKind::ProtectionSet,
        Kind::ProtectionLifted(()) => ChangeKind::ProtectionLifted,
        Kind::HistoryBegins(()) => ChangeKind::HistoryBegins,
    })
}

/// The paths of term and last day, by the field a validity stands in.
type ValidityPaths = [&'static str; 2];

const SET: ValidityPaths = ["validity_set.term", "validity_set.last_day"];
const RENEWED: ValidityPaths = ["validity_renewed.term", "validity_renewed.last_day"];
const EXTENDED: ValidityPaths = ["validity_extended.term", "validity_extended.last_day"];

fn parse_step(faults: &mut Faults, message: proto::ELicenceStep) -> Option<ELicenceEvent> {
    use proto::e_licence_step::Step;
    Some(match message.step {
        Some(Step::Applied(path)) => {
            ELicenceEvent::Applied { path: faults.member("e_licence.applied", path)? }
        }
        Some(Step::UnderReview(())) => ELicenceEvent::UnderReview,
        Some(Step::Issued(())) => ELicenceEvent::Issued,
        Some(Step::Refused(ground)) => {
            ELicenceEvent::Refused { ground: faults.member("e_licence.refused", ground)? }
        }
        Some(Step::PhotoChanged(())) => ELicenceEvent::PhotoChanged,
        Some(Step::Superseded(())) => ELicenceEvent::Superseded,
        Some(Step::Withdrawn(())) => ELicenceEvent::Withdrawn,
        Some(Step::Reapplied(path)) => {
            ELicenceEvent::Reapplied { path: faults.member("e_licence.reapplied", path)? }
        }
        None => {
            return faults.refuse("e_licence.step", "exactly one must be set, of those this gateway knows");
        }
    })
}

fn parse_validity(
    faults: &mut Faults,
    [term_path, last_day_path]: ValidityPaths,
    message: &proto::LicenceValidity,
) -> Option<Validity> {
    let term = faults.member(term_path, message.term)?;
    let last_day = message.last_day.map(|day| parse_day(faults, last_day_path, Some(day)));
    let rule = "must be there, except for a long-term licence";
    faults.demand((term == ValidityTerm::LongTerm) != last_day.is_some(), last_day_path, rule);
    Some(Validity { term, last_day: last_day.flatten() })
}

fn parse_letter(faults: &mut Faults, path: &'static str, text: &str) -> Option<u8> {
    match text.as_bytes() {
        [letter] if letter.is_ascii_uppercase() => Some(*letter),
        _ => faults.refuse(path, "must be one letter A-Z"),
    }
}

fn parse_day(faults: &mut Faults, path: &'static str, day: Option<proto::CivilDate>) -> Option<Date> {
    let day = day?;
    let narrow = |value: u32| i8::try_from(value).ok();
    let parsed = i16::try_from(day.year)
        .ok()
        .filter(|year| (1900..=9999).contains(year))
        .zip(narrow(day.month).zip(narrow(day.day)))
        .and_then(|(year, (month, day))| Date::new(year, month, day).ok());
    faults.demand(parsed.is_some(), path, "must be a day of the years 1900 to 9999");
    parsed
}

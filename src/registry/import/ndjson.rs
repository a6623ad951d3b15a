//! A subject as a line of JSON, in and out.

use std::borrow::Cow;
use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::error::LineFault;
use crate::domain::licence::{
    ChangeKind, DocumentKind, ELicenceEvent, FileNumber, FullName, History, LicenceNumber, NumberRules,
    Validity,
};
use crate::domain::time::Effective;
use crate::intake::ports::StatedChange;
use crate::registry::submission::{Extent, NewChange, NewSubject, Submission};

/// A line as it stands. Texts stay texts, so that every fault can be named with its field.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectLine<'l> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    document: Option<Cow<'l, str>>,
    #[serde(borrow)]
    number: Cow<'l, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    birth_day: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    file_number: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    authority: Option<Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    verbatim: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<ChangeLine<'l>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    change: Option<ChangeLine<'l>>,
}

/// A change as it stands in a line.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeLine<'l> {
    #[serde(borrow)]
    effective: Cow<'l, str>,
    #[serde(borrow)]
    recorded_at: Cow<'l, str>,
    #[serde(borrow)]
    kind: Cow<'l, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    document: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    number: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    day: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    file_number: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    authority: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    class: Option<Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    years: Option<u8>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    endorsement: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    term: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    last_day: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    letter: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    original_end: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ground: Option<Cow<'l, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    points: Option<u8>,
}

/// Reads a line.
pub(super) fn parse(line: &str, rules: NumberRules) -> Result<Submission, LineFault> {
    let line: SubjectLine<'_> = serde_json::from_str(line).map_err(|error| shape_fault(&error))?;
    let document = document(line.document.as_deref(), "document")?;
    let number = number(document, &line.number, rules, "number")?;
    match (&line.changes, &line.change) {
        (Some(changes), None) => {
            let changes = changes.iter().enumerate();
            let parsed = changes.map(|(index, change)| change.parse(&format!("changes[{index}]"), rules));
            whole(&line, document, number, parsed.collect::<Result<_, _>>()?)
        }
        (None, Some(change)) => {
            let changes = vec![change.parse("change", rules)?];
            Ok(Submission { document, number, extent: Extent::Continuation, changes })
        }
        _ => Err(LineFault::field("changes", "either changes or change must be there")),
    }
}

/// Says what is wrong with a line's form. The parser's own message may quote the value, so only its place is kept.
pub(super) fn shape_fault(error: &serde_json::Error) -> LineFault {
    match error.classify() {
        serde_json::error::Category::Eof => LineFault::EndsEarly,
        serde_json::error::Category::Data => LineFault::Shape(error.column()),
        _ => LineFault::NotJson(error.column()),
    }
}

fn whole(
    line: &SubjectLine<'_>,
    document: DocumentKind,
    number: LicenceNumber,
    mut changes: Vec<NewChange>,
) -> Result<Submission, LineFault> {
    if line.verbatim {
        return verbatim(line, document, number, changes);
    }
    let name = line.name.as_deref().ok_or_else(|| LineFault::field("name", "must be there"))?;
    let name = FullName::parse(name).map_err(|fault| LineFault::field("name", fault))?;
    let identity = identity(
        [&line.birth_day, &line.file_number, &line.authority].map(Option::as_deref),
        number.birth_day(document),
    )?;
    if let Some(first) = changes.first() {
        let (effective, recorded_at) = (first.effective, first.recorded_at);
        let said = identity.into_iter().map(|kind| NewChange { effective, recorded_at, kind });
        changes.splice(0..0, said);
    }
    Ok(NewSubject { document, number, name, changes }.into_submission())
}

/// Takes the changes as they are: a history that was recorded once says all of itself.
fn verbatim(
    line: &SubjectLine<'_>,
    document: DocumentKind,
    number: LicenceNumber,
    changes: Vec<NewChange>,
) -> Result<Submission, LineFault> {
    let beside = [&line.name, &line.birth_day, &line.file_number, &line.authority];
    if beside.iter().any(|field| field.is_some()) {
        return Err(LineFault::field(
            "verbatim",
            "name, birth_day, file_number and authority are changes then",
        ));
    }
    Ok(Submission { document, number, extent: Extent::Whole, changes })
}

/// Reads what a subject line or a snapshot row says beside number and name.
pub(super) fn identity(
    [birth_day, file_number, authority]: [Option<&str>; 3],
    born_by_number: Option<Date>,
) -> Result<Vec<ChangeKind>, LineFault> {
    let mut said = Vec::new();
    if let Some(text) = birth_day {
        let told = day(text, "birth_day")?;
        match born_by_number {
            Some(held) if held != told => {
                return Err(LineFault::field("birth_day", "is not the one the number holds"));
            }
            Some(_) => {}
            None => said.push(ChangeKind::BirthDaySet { day: told }),
        }
    }
    if let Some(text) = file_number {
        let number = FileNumber::parse(text).map_err(|fault| LineFault::field("file_number", fault))?;
        said.push(ChangeKind::FileNumberSet { number });
    }
    if let Some(text) = authority {
        said.push(ChangeKind::AuthoritySet { code: authority_code(text, "authority")? });
    }
    Ok(said)
}

impl ChangeLine<'_> {
    pub(super) fn parse(&self, path: &str, rules: NumberRules) -> Result<NewChange, LineFault> {
        let at = |field: &str| format!("{path}.{field}");
        let recorded_at = self.recorded_at.parse();
        Ok(NewChange {
            effective: effective(&self.effective, &at("effective"))?,
            recorded_at: recorded_at.map_err(|_| LineFault::field(at("recorded_at"), "must be RFC 3339"))?,
            kind: self.kind(path, rules)?,
        })
    }

    fn kind(&self, path: &str, rules: NumberRules) -> Result<ChangeKind, LineFault> {
        let at = |field: &str| format!("{path}.{field}");
        let lacks = |field: &str| LineFault::field(at(field), "must be there");
        let text = |value: &'_ Option<Cow<'_, str>>, field: &str| {
            value.as_deref().map(str::to_owned).ok_or_else(|| lacks(field))
        };
        let class = || word(&text(&self.class, "class")?, &at("class"));
        let endorsement = || word(&text(&self.endorsement, "endorsement")?, &at("endorsement"));
        let validity = || {
            let term = word(&text(&self.term, "term")?, &at("term"))?;
            let last_day = self.last_day.as_deref().map(|text| day(text, &at("last_day"))).transpose()?;
            validity(term, last_day, &at("last_day"))
        };
        let letter = || letter(&text(&self.letter, "letter")?, &at("letter"));
        let path = || word(&text(&self.path, "path")?, &at("path"));
        let optional_day = |value: &Option<Cow<'_, str>>, field: &str| {
            value.as_deref().map(|text| day(text, &at(field))).transpose()
        };
        Ok(match &*self.kind {
            "issued" => ChangeKind::Issued,
            "number-set" => {
                let document = document(self.document.as_deref(), &at("document"))?;
                let text = text(&self.number, "number")?;
                ChangeKind::NumberSet { document, number: number(document, &text, rules, &at("number"))? }
            }
            "name-set" => {
                let name = FullName::parse(&text(&self.name, "name")?);
                ChangeKind::NameSet { name: name.map_err(|fault| LineFault::field(at("name"), fault))? }
            }
            "birth-day-set" => ChangeKind::BirthDaySet { day: day(&text(&self.day, "day")?, &at("day"))? },
            "file-number-set" => {
                let number = FileNumber::parse(&text(&self.file_number, "file_number")?);
                let number = number.map_err(|fault| LineFault::field(at("file_number"), fault))?;
                ChangeKind::FileNumberSet { number }
            }
            "authority-set" => {
                let code = authority_code(&text(&self.authority, "authority")?, &at("authority"))?;
                ChangeKind::AuthoritySet { code }
            }
            "class-added" => ChangeKind::ClassAdded { class: class()? },
            "class-removed" => ChangeKind::ClassRemoved { class: class()? },
            "class-lost-by-age" => ChangeKind::ClassLostByAge { class: class()? },
            "age-extended" => {
                let ceiling_years = self.years.ok_or_else(|| lacks("years"))?;
                ChangeKind::AgeExtended { class: class()?, ceiling_years }
            }
            "endorsement-set" => ChangeKind::EndorsementSet { endorsement: endorsement()? },
            "endorsement-lifted" => ChangeKind::EndorsementLifted { endorsement: endorsement()? },
            "validity-set" => ChangeKind::ValiditySet { validity: validity()? },
            "validity-renewed" => ChangeKind::ValidityRenewed { validity: validity()? },
            "validity-extended" => ChangeKind::ValidityExtended { validity: validity()? },
            "state-set" => {
                let original_end = optional_day(&self.original_end, "original_end")?;
                ChangeKind::StateSet { letter: letter()?, original_end }
            }
            "state-lifted" => ChangeKind::StateLifted { letter: letter()? },
            "state-grounded" => ChangeKind::StateGrounded {
                letter: letter()?,
                ground: word(&text(&self.ground, "ground")?, &at("ground"))?,
            },
            "points-set" => ChangeKind::PointsSet { points: self.points.ok_or_else(|| lacks("points"))? },
            "points-cleared" => ChangeKind::PointsCleared,
            "points-reversed" => ChangeKind::PointsReversed,
            "protection-set" => ChangeKind::ProtectionSet,
            "protection-lifted" => ChangeKind::ProtectionLifted,
            "history-begins" => ChangeKind::HistoryBegins,
            "dispute-opened" => ChangeKind::DisputeOpened,
            "dispute-settled" => ChangeKind::DisputeSettled,
            "erased" => ChangeKind::Erased,
            "e-licence-applied" => ChangeKind::ELicence(ELicenceEvent::Applied { path: path()? }),
            "e-licence-under-review" => ChangeKind::ELicence(ELicenceEvent::UnderReview),
            "e-licence-issued" => ChangeKind::ELicence(ELicenceEvent::Issued),
            "e-licence-refused" => {
                let ground = word(&text(&self.ground, "ground")?, &at("ground"))?;
                ChangeKind::ELicence(ELicenceEvent::Refused { ground })
            }
            "e-licence-photo-changed" => ChangeKind::ELicence(ELicenceEvent::PhotoChanged),
            "e-licence-superseded" => ChangeKind::ELicence(ELicenceEvent::Superseded),
            "e-licence-withdrawn" => ChangeKind::ELicence(ELicenceEvent::Withdrawn),
            "e-licence-reapplied" => ChangeKind::ELicence(ELicenceEvent::Reapplied { path: path()? }),
            _ => return Err(LineFault::field(at("kind"), "is not a known kind of change")),
        })
    }
}

/// Writes a whole history as one line that [`super::Importer`] reads back to the same changes.
///
/// # Errors
/// When the output cannot be written.
pub fn write_line(subject: &NewSubject, out: &mut impl Write) -> std::io::Result<()> {
    let line = SubjectLine {
        document: Some(subject.document.word().into()),
        number: subject.number.expose().into(),
        name: Some(subject.name.expose().into()),
        changes: Some(
            subject
                .changes
                .iter()
                .map(|change| change_line(change.effective, change.recorded_at, &change.kind))
                .collect(),
        ),
        ..SubjectLine::default()
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Returns the word files name a kind of change by.
pub(in crate::registry) fn kind_word(change: &StatedChange) -> String {
    change_line(change.effective, change.recorded_at, &change.kind).kind.into_owned()
}

/// Writes a history on record as one line that [`super::Importer`] reads back to the same changes, nothing put ahead of
/// them. Says whether it could: the number a subject is known by must be among the changes.
///
/// # Errors
/// When the output cannot be written.
pub fn write_verbatim(history: &History, out: &mut impl Write) -> std::io::Result<bool> {
    let changes = history.changes();
    let first_number = changes.iter().find_map(|change| match &change.kind {
        ChangeKind::NumberSet { document, number } => Some((document, number)),
        _ => None,
    });
    let Some((document, number)) = first_number else { return Ok(false) };
    let lines = changes.iter().map(|change| change_line(change.effective, change.recorded_at, &change.kind));
    let line = SubjectLine {
        document: Some(document.word().into()),
        number: number.expose().into(),
        verbatim: true,
        changes: Some(lines.collect()),
        ..SubjectLine::default()
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")?;
    Ok(true)
}

pub(super) fn change_line(effective: Effective, recorded_at: Timestamp, kind: &ChangeKind) -> ChangeLine<'_> {
    let effective = match effective {
        Effective::At(moment) => moment.to_string(),
        Effective::On(day) => day.to_string(),
    };
    let line = ChangeLine {
        effective: effective.into(),
        recorded_at: recorded_at.to_string().into(),
        ..ChangeLine::default()
    };
    let day_text = |day: &Date| Some(Cow::Owned(day.to_string()));
    let letter_text = |letter: &u8| Some(Cow::Owned(char::from(*letter).to_string()));
    let of = |kind: &'static str| ChangeLine { kind: kind.into(), ..line };
    match kind {
        ChangeKind::Issued => of("issued"),
        ChangeKind::NumberSet { document, number } => ChangeLine {
            document: Some(document.word().into()),
            number: Some(number.expose().into()),
            ..of("number-set")
        },
        ChangeKind::NameSet { name } => ChangeLine { name: Some(name.expose().into()), ..of("name-set") },
        ChangeKind::BirthDaySet { day } => ChangeLine { day: day_text(day), ..of("birth-day-set") },
        ChangeKind::FileNumberSet { number } => {
            ChangeLine { file_number: Some(number.expose().into()), ..of("file-number-set") }
        }
        ChangeKind::AuthoritySet { code } => {
            ChangeLine { authority: Some(code.into()), ..of("authority-set") }
        }
        ChangeKind::ClassAdded { class } => {
            ChangeLine { class: Some(class.word().into()), ..of("class-added") }
        }
        ChangeKind::ClassRemoved { class } => {
            ChangeLine { class: Some(class.word().into()), ..of("class-removed") }
        }
        ChangeKind::ClassLostByAge { class } => {
            ChangeLine { class: Some(class.word().into()), ..of("class-lost-by-age") }
        }
        ChangeKind::AgeExtended { class, ceiling_years } => {
            ChangeLine { class: Some(class.word().into()), years: Some(*ceiling_years), ..of("age-extended") }
        }
        ChangeKind::EndorsementSet { endorsement } => {
            ChangeLine { endorsement: Some(endorsement.word().into()), ..of("endorsement-set") }
        }
        ChangeKind::EndorsementLifted { endorsement } => {
            ChangeLine { endorsement: Some(endorsement.word().into()), ..of("endorsement-lifted") }
        }
        ChangeKind::ValiditySet { validity } => validity_line(validity, of("validity-set")),
        ChangeKind::ValidityRenewed { validity } => validity_line(validity, of("validity-renewed")),
        ChangeKind::ValidityExtended { validity } => validity_line(validity, of("validity-extended")),
        ChangeKind::StateSet { letter, original_end } => ChangeLine {
            letter: letter_text(letter),
            original_end: original_end.as_ref().and_then(day_text),
            ..of("state-set")
        },
        ChangeKind::StateLifted { letter } => {
            ChangeLine { letter: letter_text(letter), ..of("state-lifted") }
        }
        ChangeKind::StateGrounded { letter, ground } => ChangeLine {
            letter: letter_text(letter),
            ground: Some(ground.word().into()),
            ..of("state-grounded")
        },
        ChangeKind::PointsSet { points } => ChangeLine { points: Some(*points), ..of("points-set") },
        ChangeKind::PointsCleared => of("points-cleared"),
        ChangeKind::PointsReversed => of("points-reversed"),
        ChangeKind::ProtectionSet => of("protection-set"),
        ChangeKind::ProtectionLifted => of("protection-lifted"),
        ChangeKind::HistoryBegins => of("history-begins"),
        ChangeKind::DisputeOpened => of("dispute-opened"),
        ChangeKind::DisputeSettled => of("dispute-settled"),
        ChangeKind::ELicence(event) => e_licence_line(*event, of("e-licence")),
        ChangeKind::Erased => of("erased"),
    }
}

fn validity_line<'l>(validity: &Validity, line: ChangeLine<'l>) -> ChangeLine<'l> {
    let last_day = validity.last_day.map(|day| day.to_string().into());
    ChangeLine { term: Some(validity.term.word().into()), last_day, ..line }
}

fn e_licence_line(event: ELicenceEvent, line: ChangeLine<'_>) -> ChangeLine<'_> {
    let of = |kind: &'static str| ChangeLine { kind: kind.into(), ..line };
    match event {
        ELicenceEvent::Applied { path } => {
            ChangeLine { path: Some(path.word().into()), ..of("e-licence-applied") }
        }
        ELicenceEvent::UnderReview => of("e-licence-under-review"),
        ELicenceEvent::Issued => of("e-licence-issued"),
        ELicenceEvent::Refused { ground } => {
            ChangeLine { ground: Some(ground.word().into()), ..of("e-licence-refused") }
        }
        ELicenceEvent::PhotoChanged => of("e-licence-photo-changed"),
        ELicenceEvent::Superseded => of("e-licence-superseded"),
        ELicenceEvent::Withdrawn => of("e-licence-withdrawn"),
        ELicenceEvent::Reapplied { path } => {
            ChangeLine { path: Some(path.word().into()), ..of("e-licence-reapplied") }
        }
    }
}

pub(super) fn document(text: Option<&str>, field: &str) -> Result<DocumentKind, LineFault> {
    text.map_or(Ok(DocumentKind::ResidentId), |text| word(text, field))
}

pub(super) fn number(
    document: DocumentKind,
    text: &str,
    rules: NumberRules,
    field: &str,
) -> Result<LicenceNumber, LineFault> {
    LicenceNumber::parse(document, text, rules).map_err(|fault| LineFault::field(field, fault))
}

/// Reads a word of a closed set.
pub(super) fn word<T: std::str::FromStr<Err = crate::domain::closed_set::NotInSet>>(
    text: &str,
    field: &str,
) -> Result<T, LineFault> {
    text.parse().map_err(|fault| LineFault::field(field, fault))
}

pub(super) fn day(text: &str, field: &str) -> Result<Date, LineFault> {
    let well_formed = text.len() == 10;
    let parsed = if well_formed { text.parse().ok() } else { None };
    parsed.ok_or_else(|| LineFault::field(field, "must be a date as in 2015-03-01"))
}

pub(super) fn validity(
    term: crate::domain::licence::ValidityTerm,
    last_day: Option<Date>,
    field: &str,
) -> Result<Validity, LineFault> {
    let long_term = term == crate::domain::licence::ValidityTerm::LongTerm;
    if long_term == last_day.is_some() {
        return Err(LineFault::field(field, "must be there, except for a long-term licence"));
    }
    Ok(Validity { term, last_day })
}

fn effective(text: &str, field: &str) -> Result<Effective, LineFault> {
    if text.len() == 10 {
        return day(text, field).map(Effective::On);
    }
    let moment: Result<Timestamp, _> = text.parse();
    moment.map(Effective::At).map_err(|_| LineFault::field(field, "must be a date or RFC 3339"))
}

fn letter(text: &str, field: &str) -> Result<u8, LineFault> {
    match text.as_bytes() {
        [letter] if letter.is_ascii_uppercase() => Ok(*letter),
        _ => Err(LineFault::field(field, "must be one letter A-Z")),
    }
}

fn authority_code(text: &str, field: &str) -> Result<String, LineFault> {
    let count = text.chars().count();
    if !(2..=8).contains(&count) || !text.chars().all(char::is_alphanumeric) {
        return Err(LineFault::field(field, "must have 2 to 8 letters or digits"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;

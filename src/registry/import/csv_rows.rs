//! A snapshot of licences as CSV: what holds on a day, with no past.

use jiff::civil::Date;

use super::error::{HeaderFault, LineFault};
use super::ndjson::{day, document, identity, number, validity, word};
use crate::domain::licence::{ChangeKind, ClassSet, ELicenceEvent, FullName, NumberRules, ValidityTerm};
use crate::domain::time::{Effective, start_of};
use crate::registry::submission::{NewChange, NewSubject, Submission};

/// Every column, in the order of [`Column`].
const COLUMNS: [&str; 15] = [
    "number",
    "document",
    "name",
    "birth_day",
    "file_number",
    "authority",
    "first_issue",
    "classes",
    "class_since",
    "validity_term",
    "valid_until",
    "states",
    "points",
    "endorsements",
    "e_licence",
];
const REQUIRED: [Column; 4] = [Column::Number, Column::Name, Column::FirstIssue, Column::Classes];

#[derive(Clone, Copy)]
enum Column {
    Number,
    Document,
    Name,
    BirthDay,
    FileNumber,
    Authority,
    FirstIssue,
    Classes,
    ClassSince,
    ValidityTerm,
    ValidUntil,
    States,
    Points,
    Endorsements,
    ELicence,
}

/// Which column stands where.
#[derive(Debug)]
pub(super) struct Header {
    places: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Header {
    pub(super) fn parse(line: &str) -> Result<Self, HeaderFault> {
        let record = split(line).ok_or(HeaderFault::Unusable)?;
        let mut header = Self { places: [None; COLUMNS.len()], count: record.len() };
        for (place, name) in record.iter().enumerate() {
            let column = COLUMNS.iter().position(|known| *known == name.trim());
            let column = column.ok_or(HeaderFault::Unknown(place + 1))?;
            if header.places[column].replace(place).is_some() {
                return Err(HeaderFault::Twice(COLUMNS[column]));
            }
        }
        match REQUIRED.into_iter().find(|column| header.places[*column as usize].is_none()) {
            Some(column) => Err(HeaderFault::Lacks(COLUMNS[column as usize])),
            None => Ok(header),
        }
    }

    /// Reads a row as what holds on `as_of`.
    pub(super) fn row(&self, line: &str, rules: NumberRules, as_of: Date) -> Result<Submission, LineFault> {
        let record = split(line).unwrap_or_default();
        if record.len() != self.count {
            return Err(LineFault::Columns { found: record.len(), expected: self.count });
        }
        let row = Row { header: self, record: &record };
        let document = document(row.text(Column::Document), "document")?;
        let number = number(document, row.required(Column::Number)?, rules, "number")?;
        let name = FullName::parse(row.required(Column::Name)?);
        let name = name.map_err(|fault| LineFault::field("name", fault))?;
        let snapshot = Effective::On(as_of);
        let mut told = vec![(snapshot, ChangeKind::HistoryBegins)];
        let first_issue = Effective::On(day(row.required(Column::FirstIssue)?, "first_issue")?);
        let said = [Column::BirthDay, Column::FileNumber, Column::Authority].map(|column| row.text(column));
        for kind in identity(said, number.birth_day(document))? {
            told.push((first_issue, kind));
        }
        told.push((first_issue, ChangeKind::Issued));
        row.classes(first_issue, &mut told)?;
        row.validity(snapshot, &mut told)?;
        row.states(snapshot, &mut told)?;
        row.points(snapshot, &mut told)?;
        row.endorsements(snapshot, &mut told)?;
        row.e_licence(snapshot, &mut told)?;
        let recorded_at = start_of(as_of);
        let changes = told.into_iter().map(|(effective, kind)| NewChange { effective, recorded_at, kind });
        Ok(NewSubject { document, number, name, changes: changes.collect() }.into_submission())
    }
}

type Told = Vec<(Effective, ChangeKind)>;

struct Row<'r> {
    header: &'r Header,
    record: &'r csv::StringRecord,
}

impl<'r> Row<'r> {
    /// Returns a cell; `None` when it is empty or the column is not there.
    fn text(&self, column: Column) -> Option<&'r str> {
        let place = self.header.places[column as usize]?;
        self.record.get(place).map(str::trim).filter(|text| !text.is_empty())
    }

    fn required(&self, column: Column) -> Result<&'r str, LineFault> {
        self.text(column).ok_or_else(|| LineFault::field(COLUMNS[column as usize], "must not be empty"))
    }

    /// Reads `C1`, `A1A2D`; `class_since` is one day for all, or `A1=2020-05-01;D=2011-01-01`, else the first issue.
    fn classes(&self, first_issue: Effective, told: &mut Told) -> Result<(), LineFault> {
        let classes = ClassSet::parse(self.required(Column::Classes)?);
        let classes = classes.map_err(|fault| LineFault::field("classes", fault))?;
        let since = self.text(Column::ClassSince).unwrap_or_default();
        let mut named = Vec::new();
        let mut common = first_issue;
        for part in since.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((class, since)) => {
                    named.push((word(class, "class_since")?, Effective::On(day(since, "class_since")?)));
                }
                None => common = Effective::On(day(part, "class_since")?),
            }
        }
        if named.iter().any(|(class, _)| !classes.contains(*class)) {
            return Err(LineFault::field("class_since", "names a class that is not held"));
        }
        for class in classes.iter() {
            let since = named.iter().find(|(named, _)| *named == class).map_or(common, |(_, since)| *since);
            told.push((since, ChangeKind::ClassAdded { class }));
        }
        Ok(())
    }

    fn validity(&self, snapshot: Effective, told: &mut Told) -> Result<(), LineFault> {
        let term = self.text(Column::ValidityTerm).map(|text| word(text, "validity_term")).transpose()?;
        let (term, last_day) = match (term, self.text(Column::ValidUntil)) {
            (None, None) => return Ok(()),
            (None, Some("长期" | "long-term")) => (ValidityTerm::LongTerm, None),
            (None, Some(_)) => return Err(LineFault::field("validity_term", "must not be empty")),
            (Some(ValidityTerm::LongTerm), Some("长期" | "long-term") | None) => {
                (ValidityTerm::LongTerm, None)
            }
            (Some(term), None) => (term, None),
            (Some(term), Some(text)) => (term, Some(day(text, "valid_until")?)),
        };
        let validity = validity(term, last_day, "valid_until")?;
        told.push((snapshot, ChangeKind::ValiditySet { validity }));
        Ok(())
    }

    /// Reads letters as printed. A alone says that there is no other, so it is not told.
    fn states(&self, snapshot: Effective, told: &mut Told) -> Result<(), LineFault> {
        for letter in self.text(Column::States).unwrap_or_default().bytes().filter(|letter| *letter != b'A') {
            if !letter.is_ascii_uppercase() {
                return Err(LineFault::field("states", "must be letters A-Z"));
            }
            told.push((snapshot, ChangeKind::StateSet { letter, original_end: None }));
        }
        Ok(())
    }

    fn points(&self, snapshot: Effective, told: &mut Told) -> Result<(), LineFault> {
        let Some(text) = self.text(Column::Points) else { return Ok(()) };
        let points = text.parse().map_err(|_| LineFault::field("points", "must be 0 to 255"))?;
        if points > 0 {
            told.push((snapshot, ChangeKind::PointsSet { points }));
        }
        Ok(())
    }

    fn endorsements(&self, snapshot: Effective, told: &mut Told) -> Result<(), LineFault> {
        let Some(text) = self.text(Column::Endorsements) else { return Ok(()) };
        let endorsement = word(text, "endorsements")?;
        told.push((snapshot, ChangeKind::EndorsementSet { endorsement }));
        Ok(())
    }

    /// Told last: an e-licence is bound to what holds when it is told of.
    fn e_licence(&self, snapshot: Effective, told: &mut Told) -> Result<(), LineFault> {
        let ended = match self.text(Column::ELicence) {
            None => return Ok(()),
            Some("issued") => None,
            Some("superseded") => Some(ELicenceEvent::Superseded),
            Some("withdrawn") => Some(ELicenceEvent::Withdrawn),
            Some(_) => {
                return Err(LineFault::field("e_licence", "must be issued, superseded or withdrawn"));
            }
        };
        let events = [ELicenceEvent::Issued].into_iter().chain(ended);
        told.extend(events.map(|event| (snapshot, ChangeKind::ELicence(event))));
        Ok(())
    }
}

fn split(line: &str) -> Option<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(line.len().max(16))
        .from_reader(line.as_bytes());
    reader.records().next()?.ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const RULES: NumberRules = NumberRules { accept_test_numbers: true };

    fn row(endorsements: &str, e_licence: &str) -> Result<Vec<ChangeKind>, String> {
        let header = Header::parse("number,name,first_issue,classes,endorsements,e_licence").unwrap();
        let line = format!("000000199001010018,测试小明,2015-03-01,C1,{endorsements},{e_licence}");
        let submission = header.row(&line, RULES, date(2026, 11, 1)).map_err(|fault| fault.to_string())?;
        Ok(submission.changes.into_iter().map(|change| change.kind).collect())
    }

    #[test]
    fn an_e_licence_is_told_last_and_as_it_stands() {
        let event = ChangeKind::ELicence;
        for (word, expected) in [
            ("", &[][..]),
            ("issued", &[event(ELicenceEvent::Issued)]),
            ("superseded", &[event(ELicenceEvent::Issued), event(ELicenceEvent::Superseded)]),
            ("withdrawn", &[event(ELicenceEvent::Issued), event(ELicenceEvent::Withdrawn)]),
        ] {
            let told = row("", word).unwrap();
            assert!(told.ends_with(expected), "{word}");
            let events = told.iter().filter(|kind| matches!(kind, ChangeKind::ELicence(_))).count();
            assert_eq!(events, expected.len(), "{word}");
        }
        assert_eq!(row("", "valid").unwrap_err(), "e_licence: must be issued, superseded or withdrawn");
    }

    #[test]
    fn an_endorsement_is_told_by_its_word() {
        let endorsed = |kind: &ChangeKind| matches!(kind, ChangeKind::EndorsementSet { .. });
        assert_eq!(row("school-bus", "").unwrap().iter().filter(|kind| endorsed(kind)).count(), 1);
        assert!(!row("", "").unwrap().iter().any(endorsed));
        assert!(row("tram", "").unwrap_err().starts_with("endorsements: not one of: school-bus"));
    }
}

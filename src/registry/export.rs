//! Every record as a line `import` takes back. The one place where numbers and names leave the registry on purpose.
//!
//! What is carried: the histories, with both clocks and with where they begin. What is not: positions, the subjects'
//! ids and secrets. So a registry filled from an export answers alike, but its references and pseudonyms are new; to
//! keep those, back up and restore.

use std::io::Write;
use std::ops::ControlFlow;

use super::embedded::RegistryError;
use super::import::{FileEnd, write_begin, write_end, write_verbatim};
use crate::domain::licence::Record;

/// A store whose records can be gone through. Blocking.
pub trait Records {
    /// Shows every record of one snapshot; `None` stands for one that cannot be read. Ends early when `visit` breaks.
    ///
    /// # Errors
    /// [`RegistryError`] when the store cannot be read on.
    fn walk(&self, visit: &mut dyn FnMut(Option<Record>) -> ControlFlow<()>) -> Result<(), RegistryError>;
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The output cannot be written.
    #[error("cannot write the export")]
    Write(#[from] std::io::Error),
}

/// Writes every record of one snapshot, in no particular order, between a begin and an end line. Records that cannot be
/// read, or that do not say their number, are left out and counted. Blocking; holds one record at a time.
///
/// # Errors
/// See [`ExportError`]. What was written then lacks its end line, and no import takes it for whole.
pub fn export(
    registry: &dyn Records,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<FileEnd, ExportError> {
    write_begin(out)?;
    let mut end = FileEnd { subjects: 0, left_out: 0 };
    let mut unwritable = None;
    registry.walk(&mut |record| {
        match record.map_or(Ok(false), |record| write_verbatim(&record.history, out)) {
            Ok(true) => {
                end.subjects += 1;
                progress(end.subjects);
            }
            Ok(false) => end.left_out += 1,
            Err(error) => {
                unwritable = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = unwritable {
        return Err(error.into());
    }
    write_end(end, out)?;
    out.flush()?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use jiff::Timestamp;
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::licence::{
        ChangeKind, DocumentKind, Endorsement, FileNumber, FullName, LicenceNumber, NumberRules, Validity,
        ValidityTerm, VehicleClass,
    };
    use crate::domain::time::Effective;
    use crate::registry::generator::{Population, fixed_drivers};
    use crate::registry::import::{ImportFormat, ImportOptions, Importer};
    use crate::registry::submission::{Extent, NewChange, NewSubject, Outcome, Submission};
    use crate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};

    const RULES: NumberRules = NumberRules { accept_test_numbers: true };
    const AS_OF: jiff::civil::Date = date(2026, 11, 1);

    fn store() -> EmbeddedRegistry {
        let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
        EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
    }

    fn filled(submissions: &[Submission]) -> EmbeddedRegistry {
        let store = store();
        let outcomes = store.apply(submissions).unwrap();
        let created = |outcome: &Outcome| matches!(outcome, Outcome::Created(_));
        assert!(outcomes.iter().all(created), "{outcomes:?}");
        store
    }

    fn exported(store: &EmbeddedRegistry) -> (FileEnd, Vec<u8>) {
        let mut text = Vec::new();
        let end = export(store, &mut text, &mut |_| {}).unwrap();
        (end, text)
    }

    /// Every history without its positions, by its first number.
    fn histories(store: &EmbeddedRegistry) -> BTreeMap<String, Vec<NewChange>> {
        let mut histories = BTreeMap::new();
        store
            .walk(&mut |record| {
                let changes: Vec<NewChange> = record
                    .unwrap()
                    .history
                    .changes()
                    .iter()
                    .cloned()
                    .map(|change| NewChange {
                        effective: change.effective,
                        recorded_at: change.recorded_at,
                        kind: change.kind,
                    })
                    .collect();
                let number = changes.iter().find_map(|change| match &change.kind {
                    ChangeKind::NumberSet { number, .. } => Some(number.expose().to_owned()),
                    _ => None,
                });
                assert!(histories.insert(number.unwrap_or_default(), changes).is_none());
                ControlFlow::Continue(())
            })
            .unwrap();
        histories
    }

    fn comes_back(submissions: &[Submission]) {
        let first = filled(submissions);
        let (end, text) = exported(&first);
        assert_eq!(end, FileEnd { subjects: submissions.len() as u64, left_out: 0 });
        let second = store();
        let options = ImportOptions::new(ImportFormat::Ndjson, RULES, AS_OF);
        let mut refused = Vec::new();
        let report = Importer::new(&second, options).import(text.as_slice(), &mut |told| refused.push(told));
        assert_eq!(report.unwrap().created, end.subjects, "{refused:?}");
        assert!(histories(&first) == histories(&second), "a history came back otherwise");
    }

    #[test]
    fn a_population_and_the_test_drivers_come_back() {
        let drivers = fixed_drivers(AS_OF).chain(Population::new(2, AS_OF).take(1_500));
        comes_back(&drivers.map(NewSubject::into_submission).collect::<Vec<_>>());
    }

    #[test]
    fn who_cannot_be_named_is_left_out_and_counted() {
        let number = LicenceNumber::parse(DocumentKind::ResidentId, "000000199001010018", RULES).unwrap();
        let recorded_at: Timestamp = "2015-03-02T01:30:00Z".parse().unwrap();
        let change =
            NewChange { effective: Effective::At(recorded_at), recorded_at, kind: ChangeKind::Issued };
        let nameless = Submission {
            document: DocumentKind::ResidentId,
            number,
            extent: Extent::Whole,
            changes: vec![change],
        };
        let (end, text) = exported(&filled(&[nameless]));
        assert_eq!(end, FileEnd { subjects: 0, left_out: 1 });
        let last = std::str::from_utf8(&text).unwrap().lines().last().unwrap();
        assert_eq!(crate::registry::import::read_end(last.as_bytes()), Some(end));
    }

    fn any_kind() -> impl Strategy<Value = ChangeKind> {
        let class = proptest::sample::select(VehicleClass::ALL);
        let letter = b'A'..=b'Z';
        let end = proptest::option::of(
            (0_i32..9_000).prop_map(|days| date(2010, 1, 1).saturating_add(jiff::Span::new().days(days))),
        );
        prop_oneof![
            Just(ChangeKind::Issued),
            "[A-Z][a-z]{2,9}( [A-Z·a-z一-龥]{2,9})?"
                .prop_map(|name| ChangeKind::NameSet { name: FullName::parse(&name).unwrap() }),
            "[0-9]{12}"
                .prop_map(|text| ChangeKind::FileNumberSet { number: FileNumber::parse(&text).unwrap() }),
            "[一-龥][A-Z0-9]{1,6}".prop_map(|code| ChangeKind::AuthoritySet { code }),
            class.clone().prop_map(|class| ChangeKind::ClassAdded { class }),
            class.clone().prop_map(|class| ChangeKind::ClassRemoved { class }),
            (class, any::<u8>())
                .prop_map(|(class, ceiling_years)| ChangeKind::AgeExtended { class, ceiling_years }),
            Just(ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus }),
            Just(ChangeKind::EndorsementLifted { endorsement: Endorsement::SchoolBus }),
            end.clone().prop_map(|last_day| {
                let term = if last_day.is_some() { ValidityTerm::TenYears } else { ValidityTerm::LongTerm };
                ChangeKind::ValiditySet { validity: Validity { term, last_day } }
            }),
            (letter.clone(), end)
                .prop_map(|(letter, original_end)| ChangeKind::StateSet { letter, original_end }),
            letter.prop_map(|letter| ChangeKind::StateLifted { letter }),
            any::<u8>().prop_map(|points| ChangeKind::PointsSet { points }),
            Just(ChangeKind::PointsCleared),
            Just(ChangeKind::PointsReversed),
            Just(ChangeKind::ProtectionSet),
            Just(ChangeKind::ProtectionLifted),
            Just(ChangeKind::HistoryBegins),
            Just(ChangeKind::DisputeOpened),
            Just(ChangeKind::DisputeSettled),
        ]
    }

    fn any_history(index: u64) -> impl Strategy<Value = Submission> {
        let step = (0_i64..400_000_000, 0_i32..1_000_000_000, any::<bool>(), any_kind());
        proptest::collection::vec(step, 1..25).prop_map(move |steps| {
            let driver = Population::new(6, AS_OF).driver(index).unwrap();
            let born = driver.number.birth_day(driver.document);
            let start: Timestamp = "2015-01-01T00:00:00Z".parse().unwrap();
            let mut recorded_at = start;
            let mut changes = Vec::new();
            for (seconds, nanoseconds, whole_day, kind) in steps {
                recorded_at += jiff::SignedDuration::new(seconds / 40, nanoseconds);
                let moment = start + jiff::SignedDuration::new(seconds, nanoseconds);
                let effective = if whole_day {
                    Effective::On(crate::domain::time::civil_day(moment))
                } else {
                    Effective::At(moment)
                };
                changes.push(NewChange { effective, recorded_at, kind });
            }
            let subject = NewSubject { changes, ..driver };
            assert!(born.is_none_or(|born| born < date(2015, 1, 1)));
            subject.into_submission()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_history_comes_back(one in any_history(0), two in any_history(1), three in any_history(2)) {
            comes_back(&[one, two, three]);
        }
    }
}

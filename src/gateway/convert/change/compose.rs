//! A change as a message: what our own client sends.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::licence::{ChangeKind, DocumentKind, ELicenceEvent, LicenceNumber, Validity};
use crate::domain::time::Effective;
use crate::gateway::convert::words::WireSet;
use crate::gateway::proto::{self, licence_change};

/// Composes the message of a change; `None`: the contract has no word for this kind (marks of a dispute are the gateway's own).
pub fn change_message(
    (source, change_id, sequence): (&str, &str, u64),
    (document, number): (DocumentKind, &LicenceNumber),
    (effective, recorded_at): (Effective, Timestamp),
    kind: &ChangeKind,
) -> Option<proto::LicenceChange> {
    Some(proto::LicenceChange {
        source: source.to_owned(),
        change_id: change_id.to_owned(),
        sequence,
        document_kind: document.wire(),
        licence_number: number.expose().to_owned(),
        recorded_at: Some(moment_message(recorded_at)),
        effective: Some(match effective {
            Effective::On(day) => licence_change::Effective::EffectiveDay(day_message(day)),
            Effective::At(moment) => licence_change::Effective::EffectiveAt(moment_message(moment)),
        }),
        kind: Some(kind_message(kind)?),
    })
}

fn kind_message(kind: &ChangeKind) -> Option<licence_change::Kind> {
    use licence_change::Kind;
    Some(match kind {
        ChangeKind::Issued => Kind::Issued(()),
        ChangeKind::NumberSet { document, number } => Kind::NumberSet(proto::NumberSet {
            document_kind: document.wire(),
            licence_number: number.expose().to_owned(),
        }),
        ChangeKind::NameSet { name } => Kind::NameSet(name.expose().to_owned()),
        ChangeKind::BirthDaySet { day } => Kind::BirthDaySet(day_message(*day)),
        ChangeKind::FileNumberSet { number } => Kind::FileNumberSet(number.expose().to_owned()),
        ChangeKind::AuthoritySet { code } => Kind::AuthoritySet(code.clone()),
        ChangeKind::ClassAdded { class } => Kind::ClassAdded(class.wire()),
        ChangeKind::ClassRemoved { class } => Kind::ClassRemoved(class.wire()),
        ChangeKind::AgeExtended { class, ceiling_years } => Kind::AgeExtended(proto::AgeExtension {
            class: class.wire(),
            ceiling_years: (*ceiling_years).into(),
        }),
        ChangeKind::EndorsementSet { endorsement } => Kind::EndorsementSet(endorsement.wire()),
        ChangeKind::EndorsementLifted { endorsement } => Kind::EndorsementLifted(endorsement.wire()),
        ChangeKind::ClassLostByAge { class } => Kind::ClassLostByAge(class.wire()),
        ChangeKind::ValiditySet { validity } => Kind::ValiditySet(validity_message(validity)),
        ChangeKind::ValidityRenewed { validity } => Kind::ValidityRenewed(validity_message(validity)),
        ChangeKind::ValidityExtended { validity } => Kind::ValidityExtended(validity_message(validity)),
        ChangeKind::StateSet { letter, original_end } => Kind::StateSet(proto::StateLetterSet {
            letter: char::from(*letter).to_string(),
            original_end: original_end.map(day_message),
        }),
        ChangeKind::StateGrounded { letter, ground } => Kind::StateGrounded(proto::StateLetterGrounded {
            letter: char::from(*letter).to_string(),
            ground: ground.wire(),
        }),
        ChangeKind::StateLifted { letter } => Kind::StateLifted(char::from(*letter).to_string()),
        ChangeKind::PointsSet { points } => Kind::PointsSet((*points).into()),
        ChangeKind::PointsCleared => Kind::PointsCleared(()),
        ChangeKind::PointsReversed => Kind::PointsReversed(()),
        ChangeKind::ProtectionSet => Kind::ProtectionSet(()),
        ChangeKind::ProtectionLifted => Kind::ProtectionLifted(()),
        ChangeKind::HistoryBegins => Kind::HistoryBegins(()),
        ChangeKind::ELicence(event) => Kind::ELicence(step_message(*event)),
        ChangeKind::Erased => Kind::Erased(()),
        ChangeKind::DisputeOpened | ChangeKind::DisputeSettled => return None,
    })
}

fn validity_message(validity: &Validity) -> proto::LicenceValidity {
    proto::LicenceValidity { term: validity.term.wire(), last_day: validity.last_day.map(day_message) }
}

fn step_message(event: ELicenceEvent) -> proto::ELicenceStep {
    use proto::e_licence_step::Step;
    let step = match event {
        ELicenceEvent::Applied { path } => Step::Applied(path.wire()),
        ELicenceEvent::UnderReview => Step::UnderReview(()),
        ELicenceEvent::Issued => Step::Issued(()),
        ELicenceEvent::Refused { ground } => Step::Refused(ground.wire()),
        ELicenceEvent::PhotoChanged => Step::PhotoChanged(()),
        ELicenceEvent::Superseded => Step::Superseded(()),
        ELicenceEvent::Withdrawn => Step::Withdrawn(()),
        ELicenceEvent::Reapplied { path } => Step::Reapplied(path.wire()),
    };
    proto::ELicenceStep { step: Some(step) }
}

/// Converts a moment of any year: the contract's fractions count forwards even before 1970.
fn moment_message(moment: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = (moment.as_second(), moment.subsec_nanosecond());
    if nanos < 0 {
        return prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 };
    }
    prost_types::Timestamp { seconds, nanos }
}

fn day_message(day: Date) -> proto::CivilDate {
    let part = |value: i8| u32::from(value.unsigned_abs());
    proto::CivilDate {
        year: u32::from(day.year().unsigned_abs()),
        month: part(day.month()),
        day: part(day.day()),
    }
}

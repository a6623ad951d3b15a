//! The record of a subject nobody knew before, and the pseudonyms it is found by.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::error::RegistryError;
use crate::domain::licence::{Change, ChangeKind, History, Record, Stops};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::registry::keys::RegistryKeys;
use crate::registry::submission::Submission;
use crate::verification::ports::Pseudonyms as _;

/// Makes the record: id and secret are drawn, the changes are those submitted.
pub(super) fn newcomer(submission: &Submission, position: Position) -> Result<Record, RegistryError> {
    let mut drawn = Zeroizing::new([0_u8; 48]);
    rand::fill(drawn.as_mut_slice()).map_err(|_| RegistryError::NoRandomness)?;
    let (mut subject, mut secret) = ([0_u8; 16], Zeroizing::new([0_u8; 32]));
    subject.copy_from_slice(&drawn[..16]);
    secret.copy_from_slice(&drawn[16..]);
    let changes = submission.changes.iter().cloned().map(|change| change.at(position)).collect();
    Ok(Record {
        subject: SubjectId::from_bytes(subject),
        secret: SubjectSecret::from_bytes(*secret),
        history: History::from_changes(changes),
        stops: Stops::default(),
    })
}

/// Collects the pseudonyms of every number the subject has or had, beginning with the one it is known by.
pub(super) fn pseudonyms(
    keys: &RegistryKeys,
    known_by: Option<NumberPseudonym>,
    changes: &[Change],
) -> Vec<NumberPseudonym> {
    let mut pseudonyms: Vec<_> = known_by.into_iter().collect();
    for change in changes {
        if let ChangeKind::NumberSet { document, number } = &change.kind {
            let pseudonym = keys.pseudonym(*document, number);
            if !pseudonyms.contains(&pseudonym) {
                pseudonyms.push(pseudonym);
            }
        }
    }
    pseudonyms
}

//! The same said naively: sort copies, then look each fact up by itself, the last word first, with no state but recursion.

use super::*;

/// What is known and in effect, in the order it takes effect.
pub(super) fn known(changes: &[Change], as_of: AsOf) -> Vec<Change> {
    let mut known: Vec<Change> = changes
        .iter()
        .filter(|change| as_of.known.counts(change) && change.effective.moment() <= as_of.moment)
        .cloned()
        .collect();
    known.sort_by_key(|change| change.effective.moment());
    known
}

pub(super) fn carries(known: &[Change], asked: u8) -> bool {
    known
        .iter()
        .rev()
        .find_map(|change| match change.kind {
            ChangeKind::StateSet { letter, .. } if letter == asked => Some(true),
            ChangeKind::StateLifted { letter } if letter == asked => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

pub(super) fn holds(known: &[Change], asked: VehicleClass) -> bool {
    known
        .iter()
        .rev()
        .find_map(|change| match change.kind {
            ChangeKind::ClassAdded { class } if class == asked => Some(true),
            ChangeKind::ClassRemoved { class } if class == asked => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

pub(super) fn validity(known: &[Change]) -> Option<Validity> {
    known.iter().rev().find_map(|change| match change.kind {
        ChangeKind::ValiditySet { validity }
        | ChangeKind::ValidityRenewed { validity }
        | ChangeKind::ValidityExtended { validity } => Some(validity),
        _ => None,
    })
}

pub(super) fn authority(known: &[Change]) -> Option<&str> {
    known.iter().rev().find_map(|change| match &change.kind {
        ChangeKind::AuthoritySet { code } => Some(code.as_str()),
        _ => None,
    })
}

pub(super) fn first_issue(known: &[Change]) -> Option<Date> {
    known.iter().rev().find_map(|change| match change.kind {
        ChangeKind::Issued => Some(change.effective.day()),
        _ => None,
    })
}

/// The points: a reversal goes back to what stood before the first setting of its moment, if there is one.
pub(super) fn points(known: &[Change]) -> u8 {
    let Some((last, before)) = known.split_last() else { return 0 };
    let at = last.effective.moment();
    match last.kind {
        ChangeKind::PointsSet { points } => points,
        ChangeKind::PointsCleared => 0,
        ChangeKind::PointsReversed => {
            let first_set = before.iter().position(|change| {
                change.effective.moment() == at && matches!(change.kind, ChangeKind::PointsSet { .. })
            });
            points(first_set.map_or(before, |index| &before[..index]))
        }
        _ => points(before),
    }
}

/// The ground of a letter carried: what was said last, and what a lifting reversed at its own moment gives back.
pub(super) fn ground(known: &[Change], asked: u8) -> Option<StateGround> {
    let (last, before) = known.split_last()?;
    match last.kind {
        ChangeKind::StateGrounded { letter, ground } if letter == asked && carries(before, asked) => {
            Some(ground)
        }
        ChangeKind::StateLifted { letter } if letter == asked => None,
        ChangeKind::StateSet { letter, .. } if letter == asked && !carries(before, asked) => {
            let lifted = before.iter().rposition(
                |change| matches!(change.kind, ChangeKind::StateLifted { letter } if letter == asked),
            )?;
            // Only a lifting that lifted something, at this very moment.
            let effective = (0..=lifted).rev().find(|index| {
                let lifts =
                    matches!(before[*index].kind, ChangeKind::StateLifted { letter } if letter == asked);
                lifts && carries(&before[..*index], asked)
            })?;
            let same_moment = before[effective].effective.moment() == last.effective.moment();
            if same_moment { ground(&before[..effective], asked) } else { None }
        }
        _ => ground(before, asked),
    }
}

/// A class held: since when, and since when lost by age.
pub(super) fn holding(known: &[Change], asked: VehicleClass) -> Option<(Date, Option<Timestamp>)> {
    let (last, before) = known.split_last()?;
    let at = last.effective.moment();
    match last.kind {
        ChangeKind::ClassRemoved { class } if class == asked => None,
        ChangeKind::ClassLostByAge { class } if class == asked => {
            holding(before, asked).map(|(since, lost)| (since, lost.or(Some(at))))
        }
        ChangeKind::ClassAdded { class } if class == asked => match holding(before, asked) {
            Some((since, None)) => Some((since, None)),
            Some((since, Some(lost))) if lost == at => Some((since, None)),
            Some((_, Some(_))) => Some((last.effective.day(), None)),
            None => {
                let removed = (0..before.len()).rev().find(|index| {
                    let removes =
                        matches!(before[*index].kind, ChangeKind::ClassRemoved { class } if class == asked);
                    removes && holding(&before[..*index], asked).is_some()
                });
                let reversed = removed.filter(|index| before[*index].effective.moment() == at);
                match reversed {
                    Some(index) => holding(&before[..index], asked),
                    None => Some((last.effective.day(), None)),
                }
            }
        },
        _ => holding(before, asked),
    }
}

/// Whether the last event leaves an e-licence issued and still bound to what it was issued for.
pub(super) fn is_e_licence_live(known: &[Change]) -> bool {
    let bound = |known: &[Change]| {
        let classes: ClassSet =
            VehicleClass::ALL.iter().copied().filter(|class| holds(known, *class)).collect();
        (classes, validity(known), authority(known).map(str::to_owned))
    };
    let last = known.iter().rposition(
        |change| matches!(&change.kind, ChangeKind::ELicence(event) if *event != ELicenceEvent::PhotoChanged),
    );
    let Some(issued) = last.filter(|index| known[*index].kind == ChangeKind::ELicence(ELicenceEvent::Issued))
    else {
        return false;
    };
    let at_issue = bound(&known[..issued]);
    let ends_moment = |index: &usize| {
        known.get(index + 1).is_none_or(|next| next.effective.moment() > known[*index].effective.moment())
    };
    (issued..known.len()).filter(ends_moment).all(|index| bound(&known[..=index]) == at_issue)
}

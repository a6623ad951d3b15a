//! What became of a change, as a message.

use crate::domain::subject::Position;
use crate::gateway::convert::FieldFault;
use crate::gateway::convert::words::WireSet;
use crate::gateway::proto;
use crate::intake::fate::{Fate, Outcome, RejectReason};

/// Says what became of a change; `faults` are those of its content.
pub(in crate::gateway) fn acknowledgement(
    number: u64,
    change_id: String,
    outcome: Outcome,
    faults: Vec<FieldFault>,
) -> proto::Acknowledgement {
    let mut message = proto::Acknowledgement {
        number,
        change_id,
        faults: faults.into_iter().map(fault_message).collect(),
        ..proto::Acknowledgement::default()
    };
    match outcome {
        Outcome::New(fate) => message.outcome = stand(fate, &mut message).into(),
        Outcome::Duplicate(fate) => {
            message.outcome = proto::ChangeOutcome::Duplicate.into();
            message.stands = stand(fate, &mut message).into();
        }
        Outcome::Rejected(reason) => {
            message.outcome = proto::ChangeOutcome::Rejected.into();
            message.reject_reason = reason.wire();
        }
    }
    message
}

/// Says of a change whose envelope breaks a rule that it was rejected.
pub(in crate::gateway) fn rejection(
    number: u64,
    change_id: String,
    faults: Vec<FieldFault>,
) -> proto::Acknowledgement {
    acknowledgement(number, change_id, Outcome::Rejected(RejectReason::Malformed), faults)
}

/// Notes where a change stands.
fn stand(fate: Fate, message: &mut proto::Acknowledgement) -> proto::ChangeOutcome {
    match fate {
        Fate::Applied(position) => {
            message.position = Some(position_message(position));
            proto::ChangeOutcome::Applied
        }
        Fate::Held => proto::ChangeOutcome::Held,
        Fate::Quarantined(reason) => {
            message.quarantine_reason = reason.wire();
            proto::ChangeOutcome::Quarantined
        }
        Fate::Discarded => proto::ChangeOutcome::Discarded,
    }
}

fn position_message(position: Position) -> proto::FeedPosition {
    proto::FeedPosition { epoch: position.epoch, partition: position.partition.into(), seq: position.seq }
}

fn fault_message(fault: FieldFault) -> proto::FieldFault {
    proto::FieldFault { field: fault.path.to_owned(), rule: fault.rule }
}

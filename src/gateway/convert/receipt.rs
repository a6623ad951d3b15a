//! A `GetReceiptRequest` becomes a question for a receipt, and a receipt a `GetReceiptResponse`.

use super::request::{Faults, FieldFault, parse_request_id};
use crate::evidence::{Asked, Receipt};
use crate::gateway::proto;
use crate::gateway::proto::get_receipt_request::Answer;
use crate::verification::ports::EntryAt;

/// Parses a request. A place that cannot be one is a place where nothing stands: no fault, so that both are refused alike.
///
/// # Errors
/// What is wrong with the message.
pub(in crate::gateway) fn parse_receipt_request(
    message: proto::GetReceiptRequest,
) -> Result<Asked, Vec<FieldFault>> {
    let mut faults = Faults::default();
    let asked = match message.answer {
        Some(Answer::Evidence(place)) => {
            Some(Asked::Place(EntryAt { origin: place.log_origin.into(), index: place.entry_index }))
        }
        Some(Answer::RequestId(id)) => {
            faults.demand(!id.is_empty(), "request_id", "must have 8 to 64 characters");
            parse_request_id(&mut faults, id).map(Asked::Request)
        }
        None => faults.refuse("answer", "exactly one of evidence and request_id must be set"),
    };
    match asked {
        Some(asked) if faults.is_empty() => Ok(asked),
        _ => Err(faults.into_list()),
    }
}

/// Converts a receipt.
pub(in crate::gateway) fn receipt_message(
    receipt: Receipt,
    environment: proto::Environment,
) -> proto::GetReceiptResponse {
    let Receipt { text, place, subject_erased } = receipt;
    proto::GetReceiptResponse {
        receipt: text,
        evidence: Some(proto::Evidence { log_origin: place.origin.to_string(), entry_index: place.index }),
        subject_erased,
        environment: environment.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(answer: Option<Answer>) -> Result<Asked, Vec<String>> {
        let parsed = parse_receipt_request(proto::GetReceiptRequest { answer });
        parsed.map_err(|faults| faults.into_iter().map(|fault| fault.path.to_owned()).collect())
    }

    #[test]
    fn a_place_or_a_request_id_is_asked_for() {
        let place = proto::Evidence { log_origin: "gw-1-0123456789abcdef".into(), entry_index: 7 };
        let expected = EntryAt { origin: "gw-1-0123456789abcdef".into(), index: 7 };
        assert_eq!(parse(Some(Answer::Evidence(place))), Ok(Asked::Place(expected)));
        let id = "0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11";
        assert_eq!(parse(Some(Answer::RequestId(id.into()))), Ok(Asked::Request(id.into())));
    }

    #[test]
    fn nothing_and_what_cannot_be_a_request_id_are_refused() {
        assert_eq!(parse(None), Err(vec!["answer".to_owned()]));
        for id in ["", "short", "with blank in it", "längenäöü"] {
            assert_eq!(parse(Some(Answer::RequestId(id.into()))), Err(vec!["request_id".to_owned()]), "{id}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_one_is_no_fault_of_the_message() {
        for log_origin in ["", "../../etc", "…"] {
            let place = proto::Evidence { log_origin: log_origin.into(), entry_index: u64::MAX };
            assert!(matches!(parse(Some(Answer::Evidence(place))), Ok(Asked::Place(_))));
        }
    }
}

//! A `VerifyRequest` becomes a parsed request, or a list of faults: field path and rule, never the value.

mod about;
mod claim;
mod faults;
mod question;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use self::about::parse_about;
pub(in crate::gateway::convert) use self::about::{HolderPaths, parse_holder};
pub(in crate::gateway::convert) use self::faults::Faults;
pub(in crate::gateway) use self::faults::FieldFault;
use self::question::parse_question;
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::licence::NumberRules;
use crate::domain::question::Question;
use crate::domain::subject::Position;
use crate::gateway::proto;
use crate::verification::{About, Request, ShownRefusal};

const FIELDS_MAX: usize = 16;
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request is parsed against.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct RequestRules {
    /// Which numbers are accepted.
    pub(in crate::gateway) numbers: NumberRules,
    /// The present.
    pub(in crate::gateway) now: Timestamp,
}

/// Why a message is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum RequestFault {
    /// Fields break rules: every fault found, in order of the message's fields.
    Fields(Vec<FieldFault>),
    /// All is in order but what the driver showed.
    Shown(ShownRefusal),
}

/// Parses a request.
///
/// # Errors
/// [`RequestFault`].
pub(in crate::gateway) fn parse_request(
    message: proto::VerifyRequest,
    rules: RequestRules,
) -> Result<Request, RequestFault> {
    let mut faults = Faults::default();
    let about = parse_about(&mut faults, message.subject, rules);
    let question = parse_question(&mut faults, message.question, rules);
    let is_claim = matches!(question, Some(Question::InsuranceClaim { .. }));
    let known_at = faults.optional_moment("known_at", message.known_at);
    if let Some(known_at) = known_at {
        faults.demand(is_claim, "known_at", "only for insurance_claim");
        faults.demand(known_at <= rules.now, "known_at", "must not lie in the future");
    }
    let known_position = message.known_position.and_then(|position| {
        faults.demand(is_claim, "known_position", "only for insurance_claim");
        parse_position(&mut faults, position)
    });
    faults.printable("case_reference", &message.case_reference, 1..=64);
    faults.demand(
        message.case_category.len() <= 32
            && message
                .case_category
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
        "case_category",
        "must have at most 32 characters of a-z, 0-9 and '-'",
    );
    faults.printable("operator_id", &message.operator_id, 1..=64);
    let max_age = parse_max_age(&mut faults, message.max_age);
    let fields = parse_fields(&mut faults, &message.fields);
    let request_id = parse_request_id(&mut faults, message.request_id);
    if matches!(about, Some(Ok(About::Shown(_)) | Err(_))) {
        faults.demand(request_id.is_some(), "request_id", "is required with a presentation");
    }
    match (about, question, faults.is_empty()) {
        (Some(Err(refused)), Some(_), true) => Err(RequestFault::Shown(refused)),
        (Some(Ok(about)), Some(question), true) => Ok(Request {
            about,
            question,
            case_reference: message.case_reference,
            case_category: message.case_category,
            operator_id: message.operator_id,
            known_at,
            known_position,
            max_age,
            fields,
            request_id,
        }),
        _ => Err(RequestFault::Fields(faults.into_list())),
    }
}

fn parse_position(faults: &mut Faults, position: proto::FeedPosition) -> Option<Position> {
    let proto::FeedPosition { epoch, partition, seq } = position;
    let Ok(partition) = u16::try_from(partition) else {
        return faults.refuse("known_position", "must have a partition of at most 65535");
    };
    Some(Position { epoch, partition, seq })
}

fn parse_max_age(faults: &mut Faults, max_age: Option<prost_types::Duration>) -> Option<Duration> {
    let max_age = max_age?;
    let parsed = Duration::try_from(max_age).ok().filter(|age| *age <= MAX_AGE);
    faults.demand(parsed.is_some(), "max_age", "must be 0 s to 24 h");
    parsed
}

fn parse_fields(faults: &mut Faults, numbers: &[i32]) -> FieldSet {
    faults.demand(numbers.len() <= FIELDS_MAX, "fields", "must be at most 16");
    numbers.iter().take(FIELDS_MAX).filter_map(|number| faults.member::<Field>("fields", *number)).collect()
}

pub(in crate::gateway::convert) fn parse_request_id(
    faults: &mut Faults,
    request_id: String,
) -> Option<String> {
    if request_id.is_empty() {
        return None;
    }
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    faults.demand(
        (8..=64).contains(&request_id.len()) && request_id.bytes().all(permitted),
        "request_id",
        "must have 8 to 64 characters of A-Z, a-z, 0-9, '-' and '_'",
    );
    Some(request_id)
}

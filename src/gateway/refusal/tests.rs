//! The whole table, row by row: code, reason and details of every refusal and error as they leave.

use std::collections::BTreeSet;

use super::*;
use crate::domain::claim::GroundKind;
use crate::domain::disclosure::{Field, FieldSet};

/// When to come back, in the refusals that are told so by what refused.
const LATER: Duration = Duration::from_secs(42);
/// Sent with every refusal.
const REQUEST_ID: &str = "7f-1";

/// What a refusal carries beside `ErrorInfo` and `RequestInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Carries {
    /// `BadRequest`: path and rule of each field.
    fields: Vec<[String; 2]>,
    /// `PreconditionFailure`: type, subject and description.
    precondition: Option<[String; 3]>,
    /// `QuotaFailure`: subject and description.
    quota: Option<[String; 2]>,
    /// `RetryInfo`.
    retry_after: Option<Duration>,
    /// Metadata of `ErrorInfo`, by key.
    metadata: Vec<[String; 2]>,
}

/// One row: the refusal, and what a partner must see of it.
struct Row(Refusal, Code, &'static str, Carries);

fn nothing() -> Carries {
    Carries::default()
}

fn retry(retry_after: Duration) -> Carries {
    Carries { retry_after: Some(retry_after), ..nothing() }
}

fn field(path: &str, rule: &str) -> Carries {
    Carries { fields: vec![[path, rule].map(str::to_owned)], ..nothing() }
}

fn standing_rows() -> Vec<Row> {
    let row = |standing, code, reason| Row(Refusal::Standing(standing), code, reason, nothing());
    vec![
        row(Standing::NotListed, Code::Unauthenticated, "PARTNER_NOT_KNOWN"),
        row(Standing::CertificateNotAccepted, Code::Unauthenticated, "CERTIFICATE_NOT_ACCEPTED"),
        row(Standing::ContractNotInForce, Code::PermissionDenied, "CONTRACT_NOT_IN_FORCE"),
        row(Standing::Suspended, Code::PermissionDenied, "PARTNER_SUSPENDED"),
        row(Standing::ClaimsSuspended, Code::PermissionDenied, "CLAIMS_SUSPENDED"),
        // Nobody is refused for being active; were it to happen, it must not read as our fault or the request's.
        row(Standing::Active, Code::PermissionDenied, "PARTNER_SUSPENDED"),
    ]
}

fn authorise_rows() -> Vec<Row> {
    let row = |refusal, code, reason, carries| Row(Refusal::NotAuthorised(refusal), code, reason, carries);
    let over_asked = FieldSet::of(&[Field::States, Field::Classes]);
    let grounds = ["GROUND", "claim.ground", "accepted for this purpose: consent, contract"];
    vec![
        row(
            AuthoriseRefusal::PurposeNotPermitted,
            Code::PermissionDenied,
            "PURPOSE_NOT_PERMITTED",
            nothing(),
        ),
        row(
            AuthoriseRefusal::FieldNotPermitted(over_asked),
            Code::PermissionDenied,
            "FIELD_NOT_PERMITTED",
            Carries { metadata: vec![["fields", "states,classes"].map(str::to_owned)], ..nothing() },
        ),
        row(
            AuthoriseRefusal::BasisNotAccepted { accepted: vec![GroundKind::Consent, GroundKind::Contract] },
            Code::PermissionDenied,
            "CONSENT_BASIS_NOT_ACCEPTED",
            Carries { precondition: Some(grounds.map(str::to_owned)), ..nothing() },
        ),
        row(
            AuthoriseRefusal::QuestionNotInContract {
                field: "rental.min_tenure_months",
                rule: "one of 6, 12",
            },
            Code::InvalidArgument,
            "QUESTION_NOT_IN_CONTRACT",
            field("rental.min_tenure_months", "one of 6, 12"),
        ),
        row(
            AuthoriseRefusal::Invalid { field: "rental.pick_up", rule: "must not be past" },
            Code::InvalidArgument,
            "REQUEST_MALFORMED",
            field("rental.pick_up", "must not be past"),
        ),
        row(
            AuthoriseRefusal::PresentationRequired,
            Code::PermissionDenied,
            "PRESENTATION_REQUIRED",
            nothing(),
        ),
        row(AuthoriseRefusal::SubjectUnderAge, Code::FailedPrecondition, "SUBJECT_UNDER_AGE", nothing()),
    ]
}

fn limit_rows() -> Vec<Row> {
    let row = |window, reason, subject, description| {
        let exceeded = LimitExceeded { window, limit: 7, retry_after: LATER };
        let carries = Carries { quota: Some([subject, description].map(str::to_owned)), ..retry(LATER) };
        Row(Refusal::Limit(exceeded, None), Code::ResourceExhausted, reason, carries)
    };
    let variation = Carries {
        quota: Some(["questions-per-subject", "at most 3 different ones in 24 h"].map(str::to_owned)),
        ..retry(LATER)
    };
    vec![
        row(LimitWindow::Rate, "RATE_EXCEEDED", "rate", "7 requests per second"),
        row(LimitWindow::InFlight, "IN_FLIGHT_EXCEEDED", "in-flight", "7 requests at once"),
        row(LimitWindow::Connections, "IN_FLIGHT_EXCEEDED", "connections", "7 connections at once"),
        row(LimitWindow::QuotaMinute, "QUOTA_EXCEEDED", "minute", "7 answers per minute"),
        row(LimitWindow::QuotaHour, "QUOTA_EXCEEDED", "hour", "7 answers per hour"),
        row(LimitWindow::QuotaDay, "QUOTA_EXCEEDED", "day", "7 answers per day"),
        Row(
            Refusal::Variation { retry_after: LATER },
            Code::ResourceExhausted,
            "QUESTION_VARIATION_EXCEEDED",
            variation,
        ),
        Row(
            Refusal::SubjectsSpent { subjects_max: 7, window_hours: 24, retry_after: LATER },
            Code::ResourceExhausted,
            "SUBJECT_BUDGET_EXCEEDED",
            Carries {
                quota: Some(["subjects", "7 different licence numbers in 24 h"].map(str::to_owned)),
                ..retry(LATER)
            },
        ),
    ]
}

fn request_rows() -> Vec<Row> {
    let fault = FieldFault { path: "claim.licence_number", rule: "must have 18 characters".to_owned() };
    vec![
        Row(
            Refusal::Malformed(vec![fault]),
            Code::InvalidArgument,
            "REQUEST_MALFORMED",
            field("claim.licence_number", "must have 18 characters"),
        ),
        Row(
            Refusal::TooLarge,
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
            field("", "must have at most 16384 bytes"),
        ),
        Row(
            Refusal::StreamMessageTooLarge,
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
            field("", "must have at most 65536 bytes"),
        ),
        Row(Refusal::MethodNotPermitted, Code::PermissionDenied, "METHOD_NOT_PERMITTED", nothing()),
        Row(Refusal::Compressed, Code::Unimplemented, "COMPRESSION_NOT_ACCEPTED", nothing()),
        Row(Refusal::MethodNotKnown, Code::Unimplemented, "METHOD_NOT_KNOWN", nothing()),
        Row(Refusal::EntryNotFound, Code::NotFound, "ENTRY_NOT_FOUND", nothing()),
        Row(Refusal::IdempotencyConflict, Code::Aborted, "IDEMPOTENCY_CONFLICT", nothing()),
        Row(
            Refusal::RequestIdSpent(EntryAt { origin: "gw-1-00".into(), index: 7 }),
            Code::FailedPrecondition,
            "REQUEST_ID_SPENT",
            Carries {
                metadata: vec![
                    ["entry_index", "7"].map(str::to_owned),
                    ["log_origin", "gw-1-00"].map(str::to_owned),
                ],
                ..nothing()
            },
        ),
    ]
}

fn shown_rows() -> Vec<Row> {
    let row = |refusal, code, reason| Row(Refusal::Shown(refusal), code, reason, nothing());
    let place = EntryAt { origin: "gw-1-0123456789abcdef".into(), index: 183_119 };
    let place_told = Carries {
        metadata: vec![
            ["entry_index", "183119"].map(str::to_owned),
            ["log_origin", "gw-1-0123456789abcdef"].map(str::to_owned),
        ],
        ..nothing()
    };
    let guesses = Carries {
        quota: Some(["share-codes", "at most 20 wrong ones in 1 h"].map(str::to_owned)),
        ..retry(LATER)
    };
    let (invalid, denied, precondition) =
        (Code::InvalidArgument, Code::PermissionDenied, Code::FailedPrecondition);
    vec![
        row(ShownRefusal::Malformed, invalid, "PRESENTATION_MALFORMED"),
        row(ShownRefusal::NotGenuine, invalid, "PRESENTATION_NOT_GENUINE"),
        row(ShownRefusal::NotForYou, denied, "PRESENTATION_NOT_FOR_YOU"),
        row(ShownRefusal::PurposeMismatch, denied, "PRESENTATION_PURPOSE_MISMATCH"),
        row(ShownRefusal::Expired, precondition, "PRESENTATION_EXPIRED"),
        row(ShownRefusal::AlreadyUsed, precondition, "PRESENTATION_ALREADY_USED"),
        row(ShownRefusal::Revoked, precondition, "PRESENTATION_REVOKED"),
        row(ShownRefusal::ShareCodeMistyped, invalid, "SHARE_CODE_MISTYPED"),
        row(ShownRefusal::ShareCodeNotAccepted, denied, "SHARE_CODE_NOT_ACCEPTED"),
        Row(
            Refusal::GuessesExceeded { retry_after: LATER },
            Code::ResourceExhausted,
            "SHARE_CODE_ATTEMPTS_EXCEEDED",
            guesses,
        ),
        Row(Refusal::ConsentWithdrawn, denied, "CONSENT_WITHDRAWN", nothing()),
        Row(Refusal::RequestIdSpent(place), precondition, "REQUEST_ID_SPENT", place_told),
        Row(Refusal::ScannerNotAccepted, precondition, "SCANNER_NOT_ACCEPTED", nothing()),
    ]
}

fn wallet_rows() -> Vec<Row> {
    let row = |refusal, code, reason| Row(Refusal::Wallet(refusal), code, reason, nothing());
    let not_shown = |why, reason| row(WalletRefusal::NotShown(why), Code::FailedPrecondition, reason);
    vec![
        row(WalletRefusal::HolderNotKnown, Code::NotFound, "HOLDER_NOT_KNOWN"),
        not_shown(NotShown::NotIssued, "E_LICENCE_NOT_ISSUED"),
        not_shown(NotShown::Superseded, "E_LICENCE_SUPERSEDED"),
        not_shown(NotShown::Withdrawn, "E_LICENCE_WITHDRAWN"),
        not_shown(NotShown::Void, "E_LICENCE_VOID"),
        not_shown(NotShown::Hidden, "E_LICENCE_HIDDEN"),
        row(WalletRefusal::PresentationNotKnown, Code::NotFound, "PRESENTATION_NOT_KNOWN"),
        row(WalletRefusal::ConsentNotKnown, Code::NotFound, "CONSENT_NOT_KNOWN"),
        row(WalletRefusal::PageTokenNotKnown, Code::InvalidArgument, "PAGE_TOKEN_NOT_KNOWN"),
    ]
}

fn trouble_rows() -> Vec<Row> {
    let soon = || retry(RETRY_AFTER_TROUBLE);
    vec![
        Row(Refusal::Overloaded, Code::Unavailable, "OVERLOADED", soon()),
        Row(Refusal::Draining, Code::Unavailable, "DRAINING", soon()),
        Row(Refusal::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", nothing()),
        Row(Refusal::RegistryUnavailable, Code::Unavailable, "REGISTRY_UNAVAILABLE", soon()),
        Row(Refusal::EvidenceUnavailable, Code::Unavailable, "EVIDENCE_UNAVAILABLE", soon()),
        Row(Refusal::LogUnavailable, Code::Unavailable, "EVIDENCE_UNAVAILABLE", soon()),
        Row(Refusal::FreshnessUnavailable, Code::Unavailable, "FRESHNESS_UNAVAILABLE", soon()),
        Row(Refusal::Standing(Standing::NotKnown), Code::Unavailable, "FRESHNESS_UNAVAILABLE", soon()),
        Row(Refusal::Internal, Code::Internal, "INTERNAL", nothing()),
    ]
}

fn table() -> Vec<Row> {
    [
        standing_rows(),
        authorise_rows(),
        limit_rows(),
        request_rows(),
        shown_rows(),
        wallet_rows(),
        trouble_rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn carried(status: &Status) -> Carries {
    let details = status.get_error_details();
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    let precondition = details.precondition_failure().into_iter().flat_map(|failed| &failed.violations);
    let quota = details.quota_failure().into_iter().flat_map(|failed| &failed.violations);
    Carries {
        fields: fields.map(|found| [found.field.clone(), found.description.clone()]).collect(),
        precondition: precondition
            .map(|found| [found.r#type.clone(), found.subject.clone(), found.description.clone()])
            .next(),
        quota: quota.map(|found| [found.subject.clone(), found.description.clone()]).next(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
        metadata: {
            let metadata = details.error_info().into_iter().flat_map(|info| &info.metadata);
            let mut metadata: Vec<_> = metadata.map(|(key, value)| [key.clone(), value.clone()]).collect();
            metadata.sort();
            metadata
        },
    }
}

#[test]
fn every_refusal_has_its_code_reason_and_details() {
    for Row(refusal, code, reason, carries) in table() {
        let status = refusal.status(REQUEST_ID);
        assert_eq!((status.code(), refusal.reason_word()), (code, reason), "{refusal:?}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "drivegate.v1"), "{refusal:?}");
        assert_eq!(details.request_info().unwrap().request_id, REQUEST_ID, "{refusal:?}");
        assert!(details.debug_info().is_none(), "{refusal:?}");
        assert_eq!(carried(&status), carries, "{refusal:?}");
        assert!(!status.message().is_empty() && !status.message().ends_with('.'), "{refusal:?}");
    }
}

#[test]
fn every_published_reason_is_sent_by_a_row() {
    let sent: BTreeSet<_> = table().iter().map(|row| row.0.row().1 as i32).collect();
    let published: BTreeSet<_> = (1..1000).filter(|number| ErrorReason::try_from(*number).is_ok()).collect();
    assert_eq!(sent, published);
}

#[test]
fn every_way_to_get_no_answer_becomes_its_own_refusal() {
    for (cause, reason) in [
        (NoAnswer::NotAuthorised(AuthoriseRefusal::SubjectUnderAge), "SUBJECT_UNDER_AGE"),
        (
            NoAnswer::QuotaExceeded(LimitExceeded {
                window: LimitWindow::QuotaDay,
                limit: 1,
                retry_after: LATER,
            }),
            "QUOTA_EXCEEDED",
        ),
        (NoAnswer::OtherContent, "IDEMPOTENCY_CONFLICT"),
        (NoAnswer::DeadlineTooShort, "DEADLINE_EXCEEDED"),
        (NoAnswer::VariationExceeded { retry_after: LATER }, "QUESTION_VARIATION_EXCEEDED"),
        (NoAnswer::StandingLost(Standing::Suspended), "PARTNER_SUSPENDED"),
        (NoAnswer::NotShown(ShownRefusal::Expired), "PRESENTATION_EXPIRED"),
        (NoAnswer::GuessesExceeded { retry_after: LATER }, "SHARE_CODE_ATTEMPTS_EXCEEDED"),
        (NoAnswer::ConsentWithdrawn, "CONSENT_WITHDRAWN"),
        (NoAnswer::RequestIdSpent(EntryAt { origin: "gw-1".into(), index: 7 }), "REQUEST_ID_SPENT"),
        (NoAnswer::ScannerNotAccepted, "SCANNER_NOT_ACCEPTED"),
        (NoAnswer::StoreUnavailable, "REGISTRY_UNAVAILABLE"),
        (NoAnswer::NoFacts(LookUpError::RegistryUnavailable), "REGISTRY_UNAVAILABLE"),
        (NoAnswer::NoFacts(LookUpError::RecordUnreadable), "INTERNAL"),
        (NoAnswer::NoFacts(LookUpError::DeadlineExceeded), "DEADLINE_EXCEEDED"),
        (NoAnswer::NoFacts(LookUpError::FreshnessUnavailable), "FRESHNESS_UNAVAILABLE"),
        (NoAnswer::NotFreshEnough, "FRESHNESS_UNAVAILABLE"),
        (NoAnswer::NoEvidence, "EVIDENCE_UNAVAILABLE"),
    ] {
        assert_eq!(Refusal::from(cause).reason_word(), reason);
    }
}

#[test]
fn every_way_to_get_no_receipt_becomes_its_own_refusal() {
    for (cause, reason) in [
        (NoReceipt::NotFound, "ENTRY_NOT_FOUND"),
        (NoReceipt::StandingLost(Standing::Suspended), "PARTNER_SUSPENDED"),
        (NoReceipt::NoLog, "EVIDENCE_UNAVAILABLE"),
        (NoReceipt::NoIndex, "REGISTRY_UNAVAILABLE"),
        (NoReceipt::NoEvidence, "EVIDENCE_UNAVAILABLE"),
        (NoReceipt::Damaged, "INTERNAL"),
    ] {
        assert_eq!(Refusal::from(cause).reason_word(), reason);
    }
}

#[test]
fn a_limit_says_what_is_left_in_the_fields_of_the_draft() {
    let fields = LimitFields { limit: "\"rate\";r=0;t=1".to_owned(), policy: "\"rate\";q=3;w=1".to_owned() };
    let exceeded = LimitExceeded { window: LimitWindow::Rate, limit: 3, retry_after: LATER };
    let status = Refusal::Limit(exceeded, Some(Box::new(fields))).status(REQUEST_ID);
    assert_eq!(status.metadata().get("ratelimit").unwrap(), "\"rate\";r=0;t=1");
    assert_eq!(status.metadata().get("ratelimit-policy").unwrap(), "\"rate\";q=3;w=1");
}

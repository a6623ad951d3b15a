//! Every refusal and error of the edge, and the one table that maps them to gRPC.
//!
//! Sorted by whose turn it is: the partner's request, the partner's standing, the partner's limits, our load, us.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::convert::{FieldFault, RequestFault};
use super::proto::ErrorReason;
use crate::admission::{LimitExceeded, LimitWindow, Meters, ratelimit};
use crate::domain::elicence::NotShown;
use crate::domain::partner::{Contract, Standing};
use crate::domain::policy::AuthoriseRefusal;
use crate::evidence::NoReceipt;
use crate::verification::ports::{EntryAt, LookUpError};
use crate::verification::{NoAnswer, ShownRefusal};

/// The domain of `ErrorInfo`.
const ERROR_DOMAIN: &str = "drivegate.v1";
/// Comes back after our own trouble: long enough to let it pass, short enough not to be felt.
const RETRY_AFTER_TROUBLE: Duration = Duration::from_millis(500);

/// Why a call gets no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The partner may not call now.
    Standing(Standing),
    /// Policy or contract does not allow the question.
    NotAuthorised(AuthoriseRefusal),
    /// The message breaks rules of the contract.
    Malformed(Vec<FieldFault>),
    /// A contract of this kind may not call the method.
    MethodNotPermitted,
    /// The message is larger than the cap.
    TooLarge,
    /// A message of a stream is larger than its cap.
    StreamMessageTooLarge,
    /// The message is compressed.
    Compressed,
    /// No such method.
    MethodNotKnown,
    /// None of the partner's answers stands there.
    EntryNotFound,
    /// A limit of the contract is reached; with the fields that say what is left of all of them.
    Limit(LimitExceeded, Option<Box<LimitFields>>),
    /// Too many different questions about one subject.
    Variation {
        /// When one more is admitted.
        retry_after: Duration,
    },
    /// Too many different numbers were claimed.
    SubjectsSpent {
        /// How many are allowed …
        subjects_max: u32,
        /// … within so many hours.
        window_hours: u8,
        /// When one more is admitted.
        retry_after: Duration,
    },
    /// The request id was used with other content.
    IdempotencyConflict,
    /// What the driver showed is not accepted.
    Shown(ShownRefusal),
    /// Too many share codes that were not accepted.
    GuessesExceeded {
        /// When the next may be tried.
        retry_after: Duration,
    },
    /// The driver took back the consent that was asserted.
    ConsentWithdrawn,
    /// The request was answered before, and the answer is no longer kept; where it stands.
    RequestIdSpent(EntryAt),
    /// Who scans holds no e-licence that can be shown.
    ScannerNotAccepted,
    /// What a wallet asked for cannot be.
    Wallet(WalletRefusal),
    /// The gateway drains, or the connection has reached its age: a stream ends.
    Draining,
    /// The gateway sheds load.
    Overloaded,
    /// Not in time.
    DeadlineExceeded,
    /// The registry cannot be read.
    RegistryUnavailable,
    /// The answer could not be recorded.
    EvidenceUnavailable,
    /// The log cannot be read, or is not signed far enough yet.
    LogUnavailable,
    /// The facts could not be kept fresh.
    FreshnessUnavailable,
    /// Our fault.
    Internal,
}

/// Why a wallet does not get what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalletRefusal {
    /// No licence is held under the number.
    HolderNotKnown,
    /// The e-licence cannot be shown.
    NotShown(NotShown),
    /// The holder has no such presentation.
    PresentationNotKnown,
    /// The holder has no such consent.
    ConsentNotKnown,
    /// The page or resume token is none of this list's.
    PageTokenNotKnown,
}

impl From<RequestFault> for Refusal {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::Fields(faults) => Self::Malformed(faults),
            RequestFault::Shown(refusal) => Self::Shown(refusal),
        }
    }
}

/// The `ratelimit` and `ratelimit-policy` fields of the current IETF draft.
#[derive(Clone, Debug)]
pub(super) struct LimitFields {
    limit: String,
    policy: String,
}

impl LimitFields {
    /// Says what is left of every window of a contract.
    pub(super) fn of(meters: &dyn Meters, contract: &Contract) -> Box<Self> {
        let levels = meters.levels(&contract.partner, &contract.allowance);
        Box::new(Self {
            limit: ratelimit::limit_field(&levels),
            policy: ratelimit::policy_field(&contract.allowance),
        })
    }
}

impl From<NoAnswer> for Refusal {
    fn from(cause: NoAnswer) -> Self {
        match cause {
            NoAnswer::NotAuthorised(refusal) => Self::NotAuthorised(refusal),
            NoAnswer::QuotaExceeded(exceeded) => Self::Limit(exceeded, None),
            NoAnswer::OtherContent => Self::IdempotencyConflict,
            NoAnswer::RequestIdSpent(place) => Self::RequestIdSpent(place),
            NoAnswer::DeadlineTooShort => Self::DeadlineExceeded,
            NoAnswer::VariationExceeded { retry_after } => Self::Variation { retry_after },
            NoAnswer::SubjectsSpent { subjects_max, window_hours, retry_after } => {
                Self::SubjectsSpent { subjects_max, window_hours, retry_after }
            }
            NoAnswer::StandingLost(standing) => Self::Standing(standing),
            NoAnswer::NotShown(refusal) => Self::Shown(refusal),
            NoAnswer::GuessesExceeded { retry_after } => Self::GuessesExceeded { retry_after },
            NoAnswer::ConsentWithdrawn => Self::ConsentWithdrawn,
            NoAnswer::ScannerNotAccepted => Self::ScannerNotAccepted,
            NoAnswer::StoreUnavailable | NoAnswer::NoFacts(LookUpError::RegistryUnavailable) => {
                Self::RegistryUnavailable
            }
            NoAnswer::NoFacts(LookUpError::RecordUnreadable) => Self::Internal,
            NoAnswer::NoFacts(LookUpError::DeadlineExceeded) => Self::DeadlineExceeded,
            NoAnswer::NoFacts(LookUpError::Overloaded) => Self::Overloaded,
            NoAnswer::NoFacts(LookUpError::FreshnessUnavailable) | NoAnswer::NotFreshEnough => {
                Self::FreshnessUnavailable
            }
            NoAnswer::NoEvidence => Self::EvidenceUnavailable,
        }
    }
}

impl From<NoReceipt> for Refusal {
    fn from(cause: NoReceipt) -> Self {
        match cause {
            NoReceipt::NotFound => Self::EntryNotFound,
            NoReceipt::StandingLost(standing) => Self::Standing(standing),
            NoReceipt::NoLog => Self::LogUnavailable,
            NoReceipt::NoIndex => Self::RegistryUnavailable,
            NoReceipt::NoEvidence => Self::EvidenceUnavailable,
            NoReceipt::Damaged => Self::Internal,
        }
    }
}

impl Refusal {
    /// Returns the code, the stable reason and the text a partner reads.
    pub(super) fn row(&self) -> (Code, ErrorReason, &'static str) {
        use ErrorReason as Why;
        match self {
            Self::Standing(Standing::NotListed) => {
                (Code::Unauthenticated, Why::PartnerNotKnown, "no contract lists this certificate")
            }
            Self::Standing(Standing::CertificateNotAccepted) => (
                Code::Unauthenticated,
                Why::CertificateNotAccepted,
                "the certificate of this connection is no longer accepted",
            ),
            Self::Standing(Standing::ContractNotInForce) => {
                (Code::PermissionDenied, Why::ContractNotInForce, "the contract is not in force today")
            }
            Self::Standing(Standing::Suspended | Standing::Active) => {
                (Code::PermissionDenied, Why::PartnerSuspended, "access is suspended; contact the operator")
            }
            Self::Standing(Standing::ClaimsSuspended) => (
                Code::PermissionDenied,
                Why::ClaimsSuspended,
                "claims are suspended; presentations are answered; contact the operator",
            ),
            Self::NotAuthorised(refusal) => authorise_row(refusal),
            Self::Malformed(_) => (Code::InvalidArgument, Why::RequestMalformed, "the request breaks a rule"),
            Self::MethodNotPermitted => (
                Code::PermissionDenied,
                Why::MethodNotPermitted,
                "a contract of this kind may not call the method",
            ),
            Self::TooLarge => {
                (Code::ResourceExhausted, Why::RequestTooLarge, "the message is larger than 16 KiB")
            }
            Self::StreamMessageTooLarge => {
                (Code::ResourceExhausted, Why::RequestTooLarge, "the message is larger than 64 KiB")
            }
            Self::Draining => (
                Code::Unavailable,
                Why::Draining,
                "the stream ends; go on with a new one on a new connection",
            ),
            Self::Compressed => {
                (Code::Unimplemented, Why::CompressionNotAccepted, "compressed messages are not accepted")
            }
            Self::MethodNotKnown => (Code::Unimplemented, Why::MethodNotKnown, "no such method"),
            Self::EntryNotFound => (Code::NotFound, Why::EntryNotFound, "none of your answers stands there"),
            Self::Limit(exceeded, _) => limit_row(exceeded.window),
            Self::Variation { .. } => (
                Code::ResourceExhausted,
                Why::QuestionVariationExceeded,
                "too many different questions about one subject",
            ),
            Self::SubjectsSpent { .. } => (
                Code::ResourceExhausted,
                Why::SubjectBudgetExceeded,
                "the contract's budget of different licence numbers is spent",
            ),
            Self::IdempotencyConflict => {
                (Code::Aborted, Why::IdempotencyConflict, "the request id was used with other content")
            }
            Self::Shown(refusal) => shown_row(*refusal),
            Self::GuessesExceeded { .. } => (
                Code::ResourceExhausted,
                Why::ShareCodeAttemptsExceeded,
                "too many share codes that were not accepted",
            ),
            Self::ConsentWithdrawn => {
                (Code::PermissionDenied, Why::ConsentWithdrawn, "the driver took back the consent")
            }
            Self::RequestIdSpent(_) => (
                Code::FailedPrecondition,
                Why::RequestIdSpent,
                "the request was answered before; its receipt holds the answer",
            ),
            Self::ScannerNotAccepted => (
                Code::FailedPrecondition,
                Why::ScannerNotAccepted,
                "who scans holds no e-licence that can be shown",
            ),
            Self::Wallet(refusal) => wallet_row(*refusal),
            Self::Overloaded => (Code::Unavailable, Why::Overloaded, "the gateway sheds load"),
            Self::DeadlineExceeded => {
                (Code::DeadlineExceeded, Why::DeadlineExceeded, "the answer was not ready in time")
            }
            Self::RegistryUnavailable => {
                (Code::Unavailable, Why::RegistryUnavailable, "the registry cannot be read now")
            }
            Self::EvidenceUnavailable => {
                (Code::Unavailable, Why::EvidenceUnavailable, "the answer cannot be put on record now")
            }
            Self::LogUnavailable => {
                (Code::Unavailable, Why::EvidenceUnavailable, "the evidence log cannot be read now")
            }
            Self::FreshnessUnavailable | Self::Standing(Standing::NotKnown) => {
                (Code::Unavailable, Why::FreshnessUnavailable, "the reading cannot be kept fresh enough now")
            }
            Self::Internal => (Code::Internal, Why::Internal, "the gateway failed; quote the request id"),
        }
    }

    /// Returns the window that was spent, when the refusal is by a limit of the contract.
    pub(super) fn limit(&self) -> Option<LimitWindow> {
        match self {
            Self::Limit(exceeded, _) => Some(exceeded.window),
            _ => None,
        }
    }

    /// Returns the reason as it is sent: without the enum's prefix.
    pub(super) fn reason_word(&self) -> &'static str {
        let name = self.row().1.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }

    /// Makes the status that leaves.
    pub(super) fn status(&self, request_id: &str) -> Status {
        let (code, _, text) = self.row();
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason_word(), ERROR_DOMAIN, self.metadata());
        details.set_request_info(request_id, "");
        self.add_details(&mut details);
        let headers = self.headers();
        Status::with_error_details_and_metadata(code, text, details, MetadataMap::from_headers(headers))
    }

    fn metadata(&self) -> std::collections::HashMap<String, String> {
        match self {
            Self::NotAuthorised(AuthoriseRefusal::FieldNotPermitted(fields)) => {
                let names: Vec<_> = fields.iter().map(|field| field.word()).collect();
                [("fields".to_owned(), names.join(","))].into()
            }
            Self::RequestIdSpent(EntryAt { origin, index }) => {
                [("log_origin".to_owned(), origin.to_string()), ("entry_index".to_owned(), index.to_string())]
                    .into()
            }
            _ => std::collections::HashMap::new(),
        }
    }

    fn add_details(&self, details: &mut ErrorDetails) {
        match self {
            Self::Malformed(faults) => {
                for fault in faults {
                    details.add_bad_request_violation(fault.path, fault.rule.as_str());
                }
            }
            Self::NotAuthorised(refusal) => add_authorise_details(refusal, details),
            Self::Limit(exceeded, _) => {
                details
                    .add_quota_failure_violation(ratelimit::name_of(exceeded.window), quota_text(exceeded));
                details.set_retry_info(Some(exceeded.retry_after));
            }
            Self::Variation { retry_after } => {
                details
                    .add_quota_failure_violation("questions-per-subject", "at most 3 different ones in 24 h");
                details.set_retry_info(Some(*retry_after));
            }
            Self::SubjectsSpent { subjects_max, window_hours, retry_after } => {
                let text = format!("{subjects_max} different licence numbers in {window_hours} h");
                details.add_quota_failure_violation("subjects", text);
                details.set_retry_info(Some(*retry_after));
            }
            Self::GuessesExceeded { retry_after } => {
                details.add_quota_failure_violation("share-codes", "at most 20 wrong ones in 1 h");
                details.set_retry_info(Some(*retry_after));
            }
            Self::Overloaded
            | Self::Draining
            | Self::RegistryUnavailable
            | Self::EvidenceUnavailable
            | Self::LogUnavailable
            | Self::FreshnessUnavailable
            | Self::Standing(Standing::NotKnown) => {
                details.set_retry_info(Some(RETRY_AFTER_TROUBLE));
            }
            Self::TooLarge => {
                details.add_bad_request_violation("", "must have at most 16384 bytes");
            }
            Self::StreamMessageTooLarge => {
                details.add_bad_request_violation("", "must have at most 65536 bytes");
            }
            Self::Standing(_)
            | Self::MethodNotPermitted
            | Self::Compressed
            | Self::MethodNotKnown
            | Self::EntryNotFound
            | Self::IdempotencyConflict
            | Self::Shown(_)
            | Self::ConsentWithdrawn
            | Self::RequestIdSpent(_)
            | Self::ScannerNotAccepted
            | Self::Wallet(_)
            | Self::DeadlineExceeded
            | Self::Internal => {}
        }
    }

    /// The `ratelimit` fields of the current IETF draft, on refusals by a limit.
    fn headers(&self) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        if let Self::Limit(_, Some(fields)) = self {
            for (name, value) in [("ratelimit", &fields.limit), ("ratelimit-policy", &fields.policy)] {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        headers
    }
}

fn authorise_row(refusal: &AuthoriseRefusal) -> (Code, ErrorReason, &'static str) {
    use ErrorReason as Why;
    match refusal {
        AuthoriseRefusal::PurposeNotPermitted => {
            (Code::PermissionDenied, Why::PurposeNotPermitted, "the contract does not list this purpose")
        }
        AuthoriseRefusal::PresentationRequired => (
            Code::PermissionDenied,
            Why::PresentationRequired,
            "only presentations are answered: a QR code or a share code",
        ),
        AuthoriseRefusal::FieldNotPermitted(_) => {
            (Code::PermissionDenied, Why::FieldNotPermitted, "a field was asked for that is not permitted")
        }
        AuthoriseRefusal::BasisNotAccepted { .. } => (
            Code::PermissionDenied,
            Why::ConsentBasisNotAccepted,
            "the ground is not accepted for this purpose",
        ),
        AuthoriseRefusal::QuestionNotInContract { .. } => (
            Code::InvalidArgument,
            Why::QuestionNotInContract,
            "a threshold, edition or role is outside the contract's set",
        ),
        AuthoriseRefusal::Invalid { .. } => {
            (Code::InvalidArgument, Why::RequestMalformed, "the request breaks a rule")
        }
        AuthoriseRefusal::SubjectUnderAge => {
            (Code::FailedPrecondition, Why::SubjectUnderAge, "the subject is under age")
        }
    }
}

fn shown_row(refusal: ShownRefusal) -> (Code, ErrorReason, &'static str) {
    use ErrorReason as Why;
    match refusal {
        ShownRefusal::Malformed => {
            (Code::InvalidArgument, Why::PresentationMalformed, "neither a QR code of ours nor a share code")
        }
        ShownRefusal::NotGenuine => (
            Code::InvalidArgument,
            Why::PresentationNotGenuine,
            "the QR code was not made here, was changed, or is of an old key",
        ),
        ShownRefusal::NotForYou => {
            (Code::PermissionDenied, Why::PresentationNotForYou, "the QR code is for somebody else")
        }
        ShownRefusal::PurposeMismatch => {
            (Code::PermissionDenied, Why::PresentationPurposeMismatch, "the driver agreed to another purpose")
        }
        ShownRefusal::Expired => {
            (Code::FailedPrecondition, Why::PresentationExpired, "the time of the presentation is over")
        }
        ShownRefusal::AlreadyUsed => {
            (Code::FailedPrecondition, Why::PresentationAlreadyUsed, "every use of the presentation is spent")
        }
        ShownRefusal::Revoked => {
            (Code::FailedPrecondition, Why::PresentationRevoked, "the driver took the presentation back")
        }
        ShownRefusal::ShareCodeMistyped => {
            (Code::InvalidArgument, Why::ShareCodeMistyped, "the check symbol of the share code does not fit")
        }
        ShownRefusal::ShareCodeNotAccepted => {
            (Code::PermissionDenied, Why::ShareCodeNotAccepted, "the share code is not accepted")
        }
    }
}

fn wallet_row(refusal: WalletRefusal) -> (Code, ErrorReason, &'static str) {
    use ErrorReason as Why;
    let e_licence = Code::FailedPrecondition;
    match refusal {
        WalletRefusal::HolderNotKnown => {
            (Code::NotFound, Why::HolderNotKnown, "no licence is held under this number")
        }
        WalletRefusal::NotShown(NotShown::NotIssued) => {
            (e_licence, Why::ELicenceNotIssued, "no e-licence is issued")
        }
        WalletRefusal::NotShown(NotShown::Superseded) => {
            (e_licence, Why::ELicenceSuperseded, "the e-licence is out of date: the holder has to apply anew")
        }
        WalletRefusal::NotShown(NotShown::Withdrawn) => {
            (e_licence, Why::ELicenceWithdrawn, "the e-licence was withdrawn")
        }
        WalletRefusal::NotShown(NotShown::Void) => {
            (e_licence, Why::ELicenceVoid, "the e-licence is shown as void")
        }
        WalletRefusal::NotShown(NotShown::Hidden) => {
            (e_licence, Why::ELicenceHidden, "the e-licence is no longer shown")
        }
        WalletRefusal::PresentationNotKnown => {
            (Code::NotFound, Why::PresentationNotKnown, "the holder has no such presentation")
        }
        WalletRefusal::ConsentNotKnown => {
            (Code::NotFound, Why::ConsentNotKnown, "the holder has no such consent")
        }
        WalletRefusal::PageTokenNotKnown => {
            (Code::InvalidArgument, Why::PageTokenNotKnown, "the token is none of this list's")
        }
    }
}

fn add_authorise_details(refusal: &AuthoriseRefusal, details: &mut ErrorDetails) {
    match refusal {
        AuthoriseRefusal::QuestionNotInContract { field, rule }
        | AuthoriseRefusal::Invalid { field, rule } => {
            details.add_bad_request_violation(*field, *rule);
        }
        AuthoriseRefusal::BasisNotAccepted { accepted } => {
            let words: Vec<_> = accepted.iter().map(|kind| kind.word()).collect();
            let text = format!("accepted for this purpose: {}", words.join(", "));
            details.add_precondition_failure_violation("GROUND", "claim.ground", text);
        }
        AuthoriseRefusal::PurposeNotPermitted
        | AuthoriseRefusal::PresentationRequired
        | AuthoriseRefusal::FieldNotPermitted(_)
        | AuthoriseRefusal::SubjectUnderAge => {}
    }
}

fn limit_row(window: LimitWindow) -> (Code, ErrorReason, &'static str) {
    use ErrorReason as Why;
    match window {
        LimitWindow::Rate => {
            (Code::ResourceExhausted, Why::RateExceeded, "the rate of the contract is spent")
        }
        LimitWindow::InFlight | LimitWindow::Connections => {
            (Code::ResourceExhausted, Why::InFlightExceeded, "too many requests are being served at once")
        }
        LimitWindow::QuotaMinute | LimitWindow::QuotaHour | LimitWindow::QuotaDay => {
            (Code::ResourceExhausted, Why::QuotaExceeded, "a quota of the contract is spent")
        }
    }
}

fn quota_text(exceeded: &LimitExceeded) -> String {
    let limit = exceeded.limit;
    match exceeded.window {
        LimitWindow::Rate => format!("{limit} requests per second"),
        LimitWindow::InFlight => format!("{limit} requests at once"),
        LimitWindow::Connections => format!("{limit} connections at once"),
        LimitWindow::QuotaMinute => format!("{limit} answers per minute"),
        LimitWindow::QuotaHour => format!("{limit} answers per hour"),
        LimitWindow::QuotaDay => format!("{limit} answers per day"),
    }
}

#[cfg(test)]
mod tests;

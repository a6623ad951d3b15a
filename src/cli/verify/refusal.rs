//! A refusal or an error, as its google.rpc details tell it, with what to do next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::super::terminal::{Terminal, Tone};
use super::words;
use crate::gateway::proto;

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// The reason without its prefix; absent when the status carries no details (not from the gateway).
    pub reason: Option<String>,
    /// The short text for the partner.
    pub message: String,
    /// Facts named by the reason.
    pub metadata: BTreeMap<String, String>,
    /// Field paths and the rules they break.
    pub violations: Vec<(String, String)>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The gateway's id of the request: quote it when you ask for help.
    pub request_id: Option<String>,
}

impl Refusal {
    /// Decodes a status.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) = details.error_info().map_or((None, BTreeMap::new()), |info| {
            let metadata = info.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            (Some(info.reason.clone()), metadata)
        });
        let mut violations = Vec::new();
        if let Some(bad) = details.bad_request() {
            violations
                .extend(bad.field_violations.iter().map(|one| (one.field.clone(), one.description.clone())));
        }
        if let Some(failure) = details.precondition_failure() {
            violations
                .extend(failure.violations.iter().map(|one| (one.subject.clone(), one.description.clone())));
        }
        if let Some(failure) = details.quota_failure() {
            violations
                .extend(failure.violations.iter().map(|one| (one.subject.clone(), one.description.clone())));
        }
        Self {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            metadata,
            violations,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            request_id: details.request_info().map(|info| info.request_id.clone()),
        }
    }

    /// Returns whether the gateway would not answer (a refusal) rather than could not (an error).
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self.code,
            Code::Unavailable
                | Code::Internal
                | Code::DeadlineExceeded
                | Code::Unknown
                | Code::Cancelled
                | Code::DataLoss
        )
    }

    /// Returns what the caller can do.
    pub fn next_step(&self) -> &'static str {
        use proto::ErrorReason as R;
        let reason = self.reason.as_deref().and_then(|reason| words::read::<R>(reason).ok());
        match reason.unwrap_or(R::Unspecified) {
            R::PartnerNotKnown => "ask the operator to list this certificate in your contract",
            R::PartnerSuspended => "contact the operator: your access is suspended",
            R::ContractNotInForce => "look at the dates of your contract: `drivegate verify contract`",
            R::CertificateNotAccepted => "get a new certificate from the operator and connect again",
            R::PurposeNotPermitted => {
                "ask within your contract: `drivegate verify contract` lists its purposes"
            }
            R::FieldNotPermitted => "leave out the fields named, or --fields altogether",
            R::ConsentBasisNotAccepted => "use a ground that this purpose accepts",
            R::QuestionNotInContract => {
                "use a threshold, edition or role of your contract: `drivegate verify contract`"
            }
            R::SubjectUnderAge => "do not ask: drivers under 18 are not asked about here",
            R::QuestionVariationExceeded => {
                "ask again tomorrow: too many different questions about one driver"
            }
            R::SubjectBudgetExceeded => {
                "wait for the window's end: `drivegate verify contract` tells the budget; or let the driver show the e-licence"
            }
            R::ClaimsSuspended => {
                "contact the operator: claims are suspended; QR codes and share codes are answered"
            }
            R::MethodNotPermitted => "call with the certificate of a partner of the kind this method is for",
            R::RequestMalformed => "correct the fields named",
            R::RequestTooLarge => "send less than 16 KiB",
            R::IdempotencyConflict => "use a new --request-id for another question",
            R::CompressionNotAccepted => "send without compression",
            R::EntryNotFound => "look at origin and index, or the request id, of an answer of your own",
            R::MethodNotKnown => "compare versions of client and gateway",
            R::RateExceeded | R::InFlightExceeded => "slow down, and come back after the time named",
            R::QuotaExceeded => "wait for the window's end, or ask the operator for a larger quota",
            R::Overloaded
            | R::DeadlineExceeded
            | R::RegistryUnavailable
            | R::EvidenceUnavailable
            | R::FreshnessUnavailable
            | R::Draining => "try again shortly: nothing was charged",
            R::ShareCodeAttemptsExceeded => {
                "wait: too many share codes were wrong; then ask the driver for a new one"
            }
            R::PresentationMalformed => "scan the whole QR code, or copy the whole share code, again",
            R::PresentationNotGenuine => {
                "ask the driver to show a QR code of this deployment's app, just made"
            }
            R::PresentationNotForYou | R::PresentationPurposeMismatch => {
                "ask the driver to show it again, for you and for this purpose"
            }
            R::PresentationExpired | R::PresentationAlreadyUsed | R::PresentationRevoked => {
                "ask the driver to show it again"
            }
            R::ShareCodeMistyped => "type the share code again: one symbol is wrong",
            R::ShareCodeNotAccepted => "check the share code with the driver, or ask for a new one",
            R::ConsentWithdrawn => "ask the driver for a new consent, or to show the e-licence",
            R::PresentationRequired => "ask with a presentation: --qr, --qr-image or --share-code",
            R::RequestIdSpent => "fetch the receipt: `drivegate receipt get` with the origin and index named",
            R::ScannerNotAccepted => "scan with an e-licence that can be shown",
            R::HolderNotKnown => "check document kind and number of the holder",
            R::ELicenceNotIssued | R::ELicenceSuperseded => "apply for the e-licence in the app",
            R::ELicenceWithdrawn | R::ELicenceVoid | R::ELicenceHidden => {
                "the driver has to ask the traffic police: no QR code can be issued"
            }
            R::PresentationNotKnown | R::ConsentNotKnown => {
                "look at the holder, and at the id you were given"
            }
            R::PageTokenNotKnown => "begin again with the first page",
            R::Internal => "report the request id to the operator: nothing was charged",
            R::Unspecified if self.code == Code::Unavailable => {
                "check address and certificates, and that the gateway runs"
            }
            R::Unspecified => "no details came along: check that a gateway answers at this address",
        }
    }

    /// Shows it for a person.
    pub fn render(&self, terminal: Terminal) -> String {
        let kind = if self.is_refusal() { "REFUSED" } else { "ERROR" };
        let reason = self.reason.as_deref().unwrap_or("no reason given");
        let mut lines = vec![format!("{} {reason} ({:?})", terminal.paint(Tone::Bad, kind), self.code)];
        if !self.message.is_empty() {
            lines.push(format!("  {}", self.message));
        }
        lines.extend(self.violations.iter().map(|(subject, rule)| format!("  {subject}: {rule}")));
        lines.extend(self.metadata.iter().map(|(key, value)| format!("  {key}: {value}")));
        if let Some(delay) = self.retry_after {
            lines.push(format!("  come back in {delay:?}"));
        }
        lines.push(format!("  next: {}", self.next_step()));
        if let Some(id) = &self.request_id {
            lines.push(terminal.paint(Tone::Faint, &format!("  request id: {id}")));
        }
        lines.join("\n")
    }

    /// Shows it for a program.
    pub fn to_json(&self) -> Value {
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|(subject, rule)| json!({ "subject": subject, "rule": rule }))
            .collect();
        json!({
            "kind": if self.is_refusal() { "refusal" } else { "error" },
            "code": format!("{:?}", self.code),
            "reason": self.reason,
            "message": self.message,
            "metadata": self.metadata,
            "violations": violations,
            "retry_after_ms": self.retry_after.map(|delay| delay.as_secs_f64() * 1_000.0),
            "next": self.next_step(),
            "request_id": self.request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::super::words::Word as _;
    use super::*;

    fn rate_exceeded() -> Status {
        let mut details =
            ErrorDetails::with_error_info("RATE_EXCEEDED", "drivegate.v1", [("meter".into(), "rate".into())]);
        details
            .set_retry_info(Some(Duration::from_millis(250)))
            .add_quota_failure_violation("partner:rental-demo", "5 per second")
            .set_request_info("01-abc", "");
        Status::with_error_details(Code::ResourceExhausted, "rate exceeded", details)
    }

    #[test]
    fn details_are_decoded_and_say_what_to_do() {
        let refusal = Refusal::of(&rate_exceeded());
        assert_eq!(refusal.reason.as_deref(), Some("RATE_EXCEEDED"));
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(250)));
        assert!(refusal.is_refusal());
        let shown = refusal.render(Terminal::plain());
        for part in [
            "REFUSED RATE_EXCEEDED (ResourceExhausted)",
            "come back in 250ms",
            "slow down",
            "01-abc",
            "5 per second",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(refusal.to_json()["retry_after_ms"], 250.0);
    }

    #[test]
    fn a_status_from_elsewhere_is_an_error_without_reason() {
        let refusal = Refusal::of(&Status::unavailable("tcp connect error"));
        assert!(!refusal.is_refusal());
        assert_eq!(refusal.reason, None);
        assert!(refusal.next_step().contains("check address"));
    }

    #[test]
    fn every_reason_of_the_contract_has_a_next_step_of_its_own() {
        for name in words::accepted::<proto::ErrorReason>() {
            let reason = words::read::<proto::ErrorReason>(&name).unwrap();
            let mut refusal = Refusal::of(&Status::internal(""));
            refusal.reason = Some(reason.short().to_owned());
            assert!(!refusal.next_step().contains("no details"), "{name}");
        }
    }
}

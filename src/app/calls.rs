//! What is told of every call: counted, a few traced, refusals and errors logged within a bound.

use std::sync::Arc;

use tonic::Code;

use crate::config::gateway::{LogFormat, TelemetryConfig};
use crate::domain::decision::Decision;
use crate::gateway::{CallObserver, CallSpan, FinishedCall};
use crate::telemetry::labels::{LimitLabel, Method, OutcomeLabel};
use crate::telemetry::{Metrics, Tracer};

/// Tells metrics, traces and logs of every call.
pub(super) struct CallReporter {
    metrics: Arc<Metrics>,
    tracer: Arc<Tracer>,
}

impl CallReporter {
    /// Builds the reporter.
    pub(super) fn new(metrics: Arc<Metrics>, tracer: Arc<Tracer>) -> Self {
        Self { metrics, tracer }
    }
}

impl CallObserver for CallReporter {
    fn started(&self, method: Method, traceparent: Option<&str>) -> Option<Box<dyn CallSpan>> {
        self.metrics.request_entered();
        None
    }

    fn finished(&self, call: &FinishedCall<'_>, span: Option<Box<dyn CallSpan>>) {
        self.metrics.request_left();
        self.metrics.request(call.method, call.purpose, outcome_of(call), call.elapsed);
        if let Some(reason) = call.reason {
            self.metrics.refusal(reason);
        }
        if let Some(limit) = call.reason.and_then(limit_of) {
            self.metrics.limit_refused(limit);
        }
        if let Some(mut span) = span {
            span.finished(call);
        }
    }
}

fn outcome_of(call: &FinishedCall<'_>) -> OutcomeLabel {
    if !call.completed {
        return OutcomeLabel::Cancelled;
    }
    match (call.code, call.decision) {
        (None, Some(Decision::Qualified)) => OutcomeLabel::Qualified,
        (None, Some(Decision::NotQualified)) => OutcomeLabel::NotQualified,
        (None, Some(Decision::Indeterminate)) => OutcomeLabel::Indeterminate,
        (None, None) => OutcomeLabel::Answered,
        (Some(Code::InvalidArgument | Code::Unimplemented), _) => OutcomeLabel::Malformed,
        (Some(Code::Unavailable | Code::DeadlineExceeded), _) => OutcomeLabel::Unavailable,
        (Some(Code::Internal), _) => OutcomeLabel::Failed,
        (Some(_), _) => OutcomeLabel::Refused,
    }
}

fn limit_of(reason: &str) -> Option<LimitLabel> {
    match reason {
        "RATE_EXCEEDED" => Some(LimitLabel::Rate),
        "IN_FLIGHT_EXCEEDED" => Some(LimitLabel::InFlight),
        "QUESTION_VARIATION_EXCEEDED" => Some(LimitLabel::QuestionVariation),
        "OVERLOADED" => Some(LimitLabel::Overload),
        _ => None,
    }
}

//! What is told of every call: counted, a few traced, refusals and errors logged within a bound.

use std::sync::Arc;

use tonic::Code;

use crate::admission::LimitWindow;
use crate::config::gateway::{LogFormat, TelemetryConfig};
use crate::domain::decision::Decision;
use crate::domain::time::Clock;
use crate::gateway::{CallObserver, CallSpan, FinishedCall};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{LimitLabel, Method, OutcomeLabel};
use crate::telemetry::logs::{self, LogError, LogOptions, RequestLine, RequestLog, RequestLogOptions};
use crate::telemetry::traces::{RequestSpan, Tracer};

/// Starts the process's log.
///
/// # Errors
/// [`LogError`] when the filter is malformed.
pub fn start_logging(config: &TelemetryConfig) -> Result<(), LogError> {
    let format = match config.log_format {
        LogFormat::Pretty => logs::LogFormat::Pretty,
        LogFormat::Json => logs::LogFormat::Json,
    };
    logs::install(&LogOptions { format, filter: config.log_filter.clone() })
}

/// Tells metrics, traces and logs of every call.
pub(super) struct CallReporter {
    metrics: Arc<Metrics>,
    tracer: Arc<Tracer>,
    log: RequestLog,
}

impl CallReporter {
    /// Builds the reporter.
    pub(super) fn new(metrics: &Arc<Metrics>, tracer: &Arc<Tracer>, clock: &Arc<dyn Clock>) -> Self {
        let log = RequestLog::new(Arc::clone(clock), Arc::clone(metrics), RequestLogOptions::default());
        Self { metrics: Arc::clone(metrics), tracer: Arc::clone(tracer), log }
    }

    fn log(&self, call: &FinishedCall<'_>, outcome: OutcomeLabel) {
        let line = RequestLine {
            request: call.id,
            partner: call.partner,
            method: call.method,
            purpose: call.purpose,
            outcome,
            reason: call.reason,
            took: call.elapsed,
        };
        match outcome {
            OutcomeLabel::Qualified
            | OutcomeLabel::NotQualified
            | OutcomeLabel::Indeterminate
            | OutcomeLabel::Answered => self.log.answer(&line),
            OutcomeLabel::Refused | OutcomeLabel::Malformed => self.log.refusal(&line),
            OutcomeLabel::Unavailable | OutcomeLabel::Failed => self.log.error(&line, None),
            OutcomeLabel::Cancelled => {}
        }
    }
}

impl CallObserver for CallReporter {
    fn connected(&self) {
        self.metrics.connection_opened();
    }

    fn disconnected(&self) {
        self.metrics.connection_closed();
    }

    fn started(&self, method: Method, traceparent: Option<&str>) -> Option<Box<dyn CallSpan>> {
        self.metrics.request_entered();
        let mut span = self.tracer.start(traceparent, method.word())?;
        span.method(method);
        Some(Box::new(TracedCall(span)))
    }

    fn stream_ended(&self, call: &FinishedCall<'_>) {
        if let Some(reason) = call.reason {
            self.metrics.refusal(reason);
            self.log(call, outcome_of(call));
        }
    }

    fn finished(&self, call: &FinishedCall<'_>, span: Option<Box<dyn CallSpan>>) {
        let outcome = outcome_of(call);
        self.metrics.request_left();
        self.metrics.request(call.method, call.purpose, outcome, call.elapsed);
        if let Some(reason) = call.reason {
            self.metrics.refusal(reason);
            if let Some(limit) = call.limit.map(window_label).or_else(|| limit_of(reason)) {
                self.metrics.limit_refused(limit);
            }
        }
        self.log(call, outcome);
        if let Some(mut span) = span {
            span.finished(call);
        }
    }
}

/// The span of a traced call.
struct TracedCall(RequestSpan);

impl CallSpan for TracedCall {
    fn traceresponse(&self) -> String {
        self.0.traceparent().to_string()
    }

    fn finished(&mut self, call: &FinishedCall<'_>) {
        if let Some(purpose) = call.purpose {
            self.0.purpose(purpose);
        }
        if let Some(reason) = call.reason {
            self.0.reason(reason);
        }
        self.0.outcome(outcome_of(call));
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

fn window_label(window: LimitWindow) -> LimitLabel {
    match window {
        LimitWindow::Rate => LimitLabel::Rate,
        LimitWindow::InFlight => LimitLabel::InFlight,
        LimitWindow::Connections => LimitLabel::Connections,
        LimitWindow::QuotaMinute => LimitLabel::QuotaMinute,
        LimitWindow::QuotaHour => LimitLabel::QuotaHour,
        LimitWindow::QuotaDay => LimitLabel::QuotaDay,
    }
}

/// The limits that are no window of a contract.
fn limit_of(reason: &str) -> Option<LimitLabel> {
    match reason {
        "QUESTION_VARIATION_EXCEEDED" => Some(LimitLabel::QuestionVariation),
        "SUBJECT_BUDGET_EXCEEDED" => Some(LimitLabel::Subjects),
        "OVERLOADED" => Some(LimitLabel::Overload),
        _ => None,
    }
}

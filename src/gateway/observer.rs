//! Who hears of calls. Implemented by `app` over telemetry.

use std::time::Duration;

use crate::admission::LimitWindow;
use crate::domain::decision::Decision;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::telemetry::labels::Method;

/// Hears of every connection and call on the partner listener.
pub trait CallObserver: Send + Sync + 'static {
    /// A connection is served; exactly one [`Self::disconnected`] follows.
    fn connected(&self);

    /// A connection is served no more, however it ended.
    fn disconnected(&self);

    /// A call arrived, with the `traceparent` it carried. Returns a span only for the few that are traced.
    fn started(&self, method: Method, traceparent: Option<&str>) -> Option<Box<dyn CallSpan>>;

    /// A stream ended, long after its call was [finished](Self::finished) with the stream's opening.
    fn stream_ended(&self, call: &FinishedCall<'_>);

    /// A call ended.
    fn finished(&self, call: &FinishedCall<'_>, span: Option<Box<dyn CallSpan>>);
}

/// A traced call. Dropping it ends the span.
pub trait CallSpan: Send + Sync {
    /// Returns the trace and this span in it, as the caller shall be told.
    fn traceresponse(&self) -> String;

    /// Adds how the call ended.
    fn finished(&mut self, call: &FinishedCall<'_>);
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct FinishedCall<'a> {
    /// Names the call, as `RequestInfo` does (16 hexadecimal digits).
    pub id: u64,
    /// Which method.
    pub method: Method,
    /// Whose, when the certificate was listed.
    pub partner: Option<&'a PartnerId>,
    /// Why it was asked, when the request was read that far.
    pub purpose: Option<Purpose>,
    /// The decision, when there is one.
    pub decision: Option<Decision>,
    /// The status, when it is not OK.
    pub code: Option<tonic::Code>,
    /// The reason word of `error.proto`, when the call was refused or failed.
    pub reason: Option<&'static str>,
    /// The window of the contract's limits that was spent, when that was the reason.
    pub limit: Option<LimitWindow>,
    /// False: the caller went away before the end.
    pub completed: bool,
    /// From arrival to the end.
    pub elapsed: Duration,
}

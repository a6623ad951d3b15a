//! Traces: one span a sampled request, exported by OTLP. A request that is not sampled creates nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
};

use super::fields;
use super::labels::{CacheLevel, Method, OutcomeLabel};
use super::recorder::Metrics;
use super::traceparent::TraceParent;
use crate::domain::question::Purpose;
use crate::domain::time::Clock;

/// How traces are taken and where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// The OTLP collector's gRPC address, e.g. `http://127.0.0.1:4317`; `None`: traces are off.
    pub endpoint: Option<String>,
    /// The share of requests without a caller's decision that are sampled: 0.001, enough to see what is slow.
    pub ratio: f64,
    /// Requests a second sampled because their caller asked for it: 100, so that no partner can make us trace it all.
    pub asked_per_second_max: u64,
    /// Spans waiting for export: 2,048; more are dropped.
    pub queue_spans_max: usize,
    /// How long one export may take: 5 s.
    pub export_timeout: Duration,
    /// The environment named in every span.
    pub environment: String,
    /// The replica named in every span.
    pub replica: String,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            ratio: 0.001,
            asked_per_second_max: 100,
            queue_spans_max: 2_048,
            export_timeout: Duration::from_secs(5),
            environment: String::new(),
            replica: String::new(),
        }
    }
}

/// Traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The collector's address cannot be used. Check `endpoint`.
    #[error("cannot set up the trace exporter")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Spans could not be handed over before the process stopped.
    #[error("cannot hand over the last traces")]
    Shutdown(#[source] opentelemetry_sdk::error::OTelSdkError),
}

/// Starts spans.
pub struct Tracer(Option<Active>);

struct Active {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    sampled_below: u64,
    asked: AskedFor,
}

impl Tracer {
    /// Makes a tracer that never samples.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Sets traces up; off without an endpoint. Call inside the runtime that shall carry the export's connection
    /// (not one of the cores' runtimes).
    ///
    /// # Errors
    /// [`TraceError::Exporter`] when the endpoint cannot be used; one that is merely away is tried again later.
    pub fn new(
        options: &TraceOptions,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TraceError> {
        let Some(endpoint) = &options.endpoint else { return Ok(Self::off()) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(options.export_timeout)
            .build()
            .map_err(TraceError::Exporter)?;
        Ok(Self::exporting_to(exporter, options, clock, metrics))
    }

    fn exporting_to(
        exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
        options: &TraceOptions,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(options.queue_spans_max)
            .with_max_export_batch_size(options.queue_spans_max.min(512))
            .build();
        let exporter = Counted { inner: exporter, metrics };
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource(options))
            .build();
        let tracer = provider.tracer("drivegate");
        let asked =
            AskedFor { clock, per_second_max: options.asked_per_second_max, state: AtomicU64::new(0) };
        Self(Some(Active { provider, tracer, sampled_below: threshold(options.ratio), asked }))
    }

    /// Starts the span of a request, if it is sampled: as its caller decided, else by chance. `parent` is the
    /// request's `traceparent`; a malformed one counts as none.
    pub fn start(&self, parent: Option<&str>, name: &'static str) -> Option<RequestSpan> {
        let active = self.0.as_ref()?;
        let parent = parent.and_then(TraceParent::parse);
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled && active.asked.admits(),
            None => rand::random::<u64>() < active.sampled_below,
        };
        is_sampled.then(|| active.span(parent, name))
    }

    /// Hands over what is queued and stops. Runs on a thread of its own: on a runtime's worker the SDK would wait for
    /// an export that needs that very worker.
    ///
    /// # Errors
    /// [`TraceError::Shutdown`] when the collector does not take the last spans in time.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), TraceError> {
        let Some(provider) = self.0.as_ref().map(|active| active.provider.clone()) else { return Ok(()) };
        let (done, outcome) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            done.send(provider.shutdown_with_timeout(timeout)).unwrap_or_default();
        });
        outcome.await.unwrap_or(Ok(())).map_err(TraceError::Shutdown)
    }
}

impl Active {
    fn span(&self, parent: Option<TraceParent>, name: &'static str) -> RequestSpan {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(SpanContext::new(
                TraceId::from_bytes(parent.trace_id),
                SpanId::from_bytes(parent.span_id),
                TraceFlags::SAMPLED,
                true,
                TraceState::NONE,
            ))
        });
        RequestSpan(self.tracer.build_with_context(builder, &context))
    }
}

/// The span of a sampled request; it ends when dropped. What it may say comes from closed sets.
pub struct RequestSpan(Span);

impl RequestSpan {
    /// Names the method.
    pub fn method(&mut self, method: Method) {
        self.0.set_attribute(KeyValue::new(fields::METHOD, method.word()));
    }

    /// Names the purpose.
    pub fn purpose(&mut self, purpose: Purpose) {
        self.0.set_attribute(KeyValue::new(fields::PURPOSE, purpose.word()));
    }

    /// Names the level the fact came from; `None`: the registry itself.
    pub fn source(&mut self, level: Option<CacheLevel>) {
        let word = level.map_or("registry", CacheLevel::word);
        self.0.set_attribute(KeyValue::new(fields::SOURCE, word));
    }

    /// Says how it ended.
    pub fn outcome(&mut self, outcome: OutcomeLabel) {
        self.0.set_attribute(KeyValue::new(fields::OUTCOME, outcome.word()));
        if outcome == OutcomeLabel::Failed {
            self.0.set_status(opentelemetry::trace::Status::error(""));
        }
    }

    /// Names the stable reason of a refusal or error.
    pub fn reason(&mut self, reason: &'static str) {
        self.0.set_attribute(KeyValue::new(fields::REASON, reason));
    }

    /// Marks a step: `decoded`, `looked-up`, `decided`, `recorded`.
    pub fn step(&mut self, name: &'static str) {
        self.0.add_event(name, Vec::new());
    }

    /// Returns this span's place in its trace: a `traceparent` for what this request causes, a `traceresponse` for its caller.
    pub fn traceparent(&self) -> TraceParent {
        let context = self.0.span_context();
        TraceParent {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            is_sampled: context.is_sampled(),
        }
    }
}

/// Bounds how many requests a second are sampled because their caller asked for it.
struct AskedFor {
    clock: Arc<dyn Clock>,
    per_second_max: u64,
    /// The second in the upper half, the count in the lower.
    state: AtomicU64,
}

impl AskedFor {
    fn admits(&self) -> bool {
        let second = self.clock.since_boot().as_secs() << 32;
        let counted = |state: u64| {
            let count = if state & !COUNT == second { state & COUNT } else { 0 };
            (count < self.per_second_max.min(COUNT)).then_some(second | (count + 1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_ok()
    }
}

const COUNT: u64 = 0xffff_ffff;

/// Returns the number below which a random one is sampled.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 2⁶⁴; the cast saturates"
)]
fn threshold(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * 2_f64.powi(64)) as u64
}

fn resource(options: &TraceOptions) -> Resource {
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "drivegate"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", options.replica.clone()))
        .with_attribute(KeyValue::new("deployment.environment.name", options.environment.clone()))
        .build()
}

/// Counts spans whose export failed.
struct Counted<E> {
    inner: E,
    metrics: Arc<Metrics>,
}

impl<E: std::fmt::Debug> std::fmt::Debug for Counted<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(out)
    }
}

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.inner.export(batch).await.inspect_err(|_| self.metrics.spans_dropped(count))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    struct StillClock(AtomicU64);

    impl Clock for StillClock {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    #[derive(Clone, Debug, Default)]
    struct Collected {
        spans: Arc<Mutex<Vec<SpanData>>>,
        is_refusing: bool,
    }

    impl opentelemetry_sdk::trace::SpanExporter for Collected {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            if self.is_refusing {
                return Err(OTelSdkError::InternalFailure("refused".into()));
            }
            self.spans.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    struct Bench {
        tracer: Tracer,
        collected: Collected,
        clock: Arc<StillClock>,
        metrics: Arc<Metrics>,
    }

    fn bench(ratio: f64, asked_per_second_max: u64, is_refusing: bool) -> Bench {
        let collected = Collected { is_refusing, ..Collected::default() };
        let clock = Arc::new(StillClock(AtomicU64::new(5)));
        let metrics = Metrics::new("sandbox").unwrap();
        let options = TraceOptions { ratio, asked_per_second_max, ..TraceOptions::default() };
        let tracer = Tracer::exporting_to(collected.clone(), &options, clock.clone(), Arc::clone(&metrics));
        Bench { tracer, collected, clock, metrics }
    }

    async fn exported(bench: Bench) -> Vec<SpanData> {
        bench.tracer.shutdown(Duration::from_secs(5)).await.unwrap();
        bench.collected.spans.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_sampled_parent_is_continued() {
        let bench = bench(0.0, 100, false);
        let mut span = bench.tracer.start(Some(SAMPLED), "Verify").unwrap();
        span.method(Method::Verify);
        span.purpose(Purpose::Rental);
        span.outcome(OutcomeLabel::Qualified);
        span.step("looked-up");
        let onward = span.traceparent();
        drop(span);
        let spans = exported(bench).await;
        assert_eq!(spans.len(), 1);
        let parent = TraceParent::parse(SAMPLED).unwrap();
        assert_eq!(spans[0].span_context.trace_id().to_bytes(), parent.trace_id);
        assert_eq!(spans[0].parent_span_id.to_bytes(), parent.span_id);
        assert_eq!((onward.trace_id, onward.is_sampled), (parent.trace_id, true));
        assert_eq!(onward.span_id, spans[0].span_context.span_id().to_bytes());
        assert!(spans[0].attributes.contains(&KeyValue::new("purpose", "rental")));
        assert_eq!(spans[0].events.len(), 1);
    }

    #[tokio::test]
    async fn an_unsampled_parent_is_followed_whatever_the_ratio() {
        let bench = bench(1.0, 100, false);
        assert!(bench.tracer.start(Some(NOT_SAMPLED), "Verify").is_none());
        assert!(exported(bench).await.is_empty());
    }

    #[tokio::test]
    async fn without_a_parent_the_ratio_decides() {
        let all = bench(1.0, 0, false);
        assert!(all.tracer.start(None, "Verify").is_some());
        assert!(all.tracer.start(Some("garbage"), "Verify").is_some());
        assert_eq!(exported(all).await.len(), 2);
        let none = bench(0.0, 0, false);
        assert!((0..1_000).all(|_| none.tracer.start(None, "Verify").is_none()));
    }

    #[test]
    fn one_in_a_thousand_is_a_thousandth() {
        assert_eq!(threshold(0.0), 0);
        assert_eq!(threshold(1.0), u64::MAX);
        assert_eq!(threshold(0.5), 1 << 63);
        assert_eq!(threshold(7.0), u64::MAX);
        assert_eq!(threshold(f64::NAN), 0);
    }

    #[tokio::test]
    async fn a_partner_cannot_have_everything_traced() {
        let bench = bench(0.0, 3, false);
        let asked = |count| (0..count).filter_map(|_| bench.tracer.start(Some(SAMPLED), "Verify")).count();
        assert_eq!(asked(10), 3);
        bench.clock.0.store(6, Ordering::Relaxed);
        assert_eq!(asked(10), 3);
    }

    #[tokio::test]
    async fn spans_nobody_took_are_counted() {
        let bench = bench(1.0, 0, true);
        drop(bench.tracer.start(None, "Verify"));
        bench.tracer.shutdown(Duration::from_secs(5)).await.unwrap();
        assert!(bench.metrics.text().unwrap().contains("drivegate_spans_dropped_total 1"));
    }

    #[tokio::test]
    async fn without_an_endpoint_traces_are_off() {
        let metrics = Metrics::new("sandbox").unwrap();
        let clock = Arc::new(StillClock(AtomicU64::new(0)));
        let tracer =
            Tracer::new(&TraceOptions { ratio: 1.0, ..TraceOptions::default() }, clock, metrics).unwrap();
        assert!(tracer.start(Some(SAMPLED), "Verify").is_none());
        tracer.shutdown(Duration::from_secs(1)).await.unwrap();
    }

    /// The export needs the runtime: a shutdown that waited on its only worker would never end (trap 12).
    #[tokio::test]
    async fn shutdown_on_a_one_worker_runtime_ends_though_the_collector_is_away() {
        let metrics = Metrics::new("sandbox").unwrap();
        let clock = Arc::new(StillClock(AtomicU64::new(0)));
        let options = TraceOptions {
            endpoint: Some("http://127.0.0.1:9".into()),
            ratio: 1.0,
            export_timeout: Duration::from_millis(500),
            ..TraceOptions::default()
        };
        let tracer = Tracer::new(&options, clock, metrics).unwrap();
        drop(tracer.start(None, "Verify"));
        let ended = tokio::time::timeout(Duration::from_secs(10), tracer.shutdown(Duration::from_secs(2)));
        ended.await.unwrap().unwrap_or_default();
    }
}

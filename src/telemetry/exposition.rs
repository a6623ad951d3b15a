//! How numbers leave: counters, levels and gauges as OpenTelemetry's observable instruments, histograms (which
//! OpenTelemetry cannot observe) by a collector beside them, both rendered from one Prometheus registry.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};

use super::cells::Cells;
use super::metrics::{BUCKETS_NS, DEFINITIONS, Definition, Kind};
use super::recorder::MetricsError;

/// Renders the cells.
pub(super) struct Exposition {
    registry: Registry,
    /// Owns the instruments; dropping it would silence them.
    _provider: SdkMeterProvider,
}

impl Exposition {
    pub(super) fn new(cells: &Arc<Cells>, environment: &'static str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(MetricsError::Exporter)?;
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "drivegate"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("deployment.environment.name", environment))
            .build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter).build();
        let meter = provider.meter("drivegate");
        for (index, definition) in DEFINITIONS.iter().enumerate() {
            if definition.kind != Kind::Histogram {
                instrument(&meter, definition, index, cells);
            }
        }
        registry.register(Box::new(Histograms::over(cells)?))?;
        Ok(Self { registry, _provider: provider })
    }

    /// Renders everything in Prometheus' text format.
    pub(super) fn text(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// Creates the observable instrument of a definition. The SDK keeps it; what is returned need not be.
fn instrument(meter: &Meter, definition: &'static Definition, index: usize, cells: &Arc<Cells>) {
    let series = series_of(definition);
    let cells = Arc::clone(cells);
    // A product of labels is mostly empty: what never happened is left out there.
    let shows_zero = definition.labels.len() < 2;
    let readings = move |observe: &mut dyn FnMut(i64, &[KeyValue])| {
        for (number, attributes) in series.iter().enumerate() {
            let value = cells.read(index, number);
            if value != 0 || shows_zero {
                observe(value, attributes);
            }
        }
    };
    match definition.kind {
        Kind::Counter => {
            meter
                .u64_observable_counter(definition.name)
                .with_unit(definition.unit)
                .with_description(definition.help)
                .with_callback(move |observer| {
                    readings(&mut |value, attributes| observer.observe(value.cast_unsigned(), attributes));
                })
                .build();
        }
        Kind::Level | Kind::Gauge | Kind::Histogram => {
            meter
                .i64_observable_gauge(definition.name)
                .with_unit(definition.unit)
                .with_description(definition.help)
                .with_callback(move |observer| {
                    readings(&mut |value, attributes| observer.observe(value, attributes));
                })
                .build();
        }
    }
}

/// Returns the label values of every series, in order of its number: the first label is the slowest.
fn label_values(definition: &Definition) -> Vec<Vec<(&'static str, &'static str)>> {
    let mut series = vec![Vec::new()];
    for (name, values) in definition.labels {
        let longer = |known: &Vec<_>| {
            let known = known.clone();
            values.iter().map(move |value| [known.clone(), vec![(*name, *value)]].concat())
        };
        series = series.iter().flat_map(longer).collect();
    }
    series
}

fn series_of(definition: &Definition) -> Vec<Vec<KeyValue>> {
    let pair = |(name, value)| KeyValue::new(name, value);
    label_values(definition).into_iter().map(|labels| labels.into_iter().map(pair).collect()).collect()
}

/// The histograms, as Prometheus reads them.
struct Histograms {
    cells: Arc<Cells>,
    families: Vec<Family>,
}

struct Family {
    index: usize,
    desc: Desc,
    labels: Vec<Vec<LabelPair>>,
}

impl Histograms {
    fn over(cells: &Arc<Cells>) -> Result<Self, MetricsError> {
        let histograms = DEFINITIONS.iter().enumerate().filter(|(_, known)| known.kind == Kind::Histogram);
        let families = histograms.map(|(index, definition)| Family::of(index, definition));
        Ok(Self { cells: Arc::clone(cells), families: families.collect::<Result<_, _>>()? })
    }
}

impl Family {
    fn of(index: usize, definition: &'static Definition) -> Result<Self, MetricsError> {
        let name = format!("{}_seconds", definition.name.replace('.', "_"));
        let names = definition.labels.iter().map(|(name, _)| (*name).to_owned()).collect();
        let desc = Desc::new(name, definition.help.to_owned(), names, std::collections::HashMap::new())?;
        let labels =
            label_values(definition).into_iter().map(|labels| labels.into_iter().map(pair).collect());
        Ok(Self { index, desc, labels: labels.collect() })
    }

    fn collect(&self, cells: &Cells) -> MetricFamily {
        let mut metrics = Vec::new();
        for (series, labels) in self.labels.iter().enumerate() {
            let reading = cells.read_histogram(self.index, series);
            if labels.is_empty() || reading.counts.iter().any(|count| *count > 0) {
                let mut metric = Metric::from_label(labels.clone());
                metric.set_histogram(histogram(&reading.counts, reading.sum.as_secs_f64()));
                metrics.push(metric);
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        family
    }
}

impl Collector for Histograms {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().map(|family| &family.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families.iter().map(|family| family.collect(&self.cells)).collect()
    }
}

fn histogram(counts: &[u64], sum: f64) -> Histogram {
    let mut cumulative = 0;
    let buckets = BUCKETS_NS.iter().zip(counts).map(|(bound, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(std::time::Duration::from_nanos(*bound).as_secs_f64());
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    histogram
}

fn pair((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

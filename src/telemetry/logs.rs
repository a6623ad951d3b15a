//! Logs: for people on a terminal, as JSON for machines. Refusals and errors are bounded by reason, ordinary answers
//! are sampled: the log of answers is the audit log. No line carries a driver's identifier.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::fields::{CAUSES, METHOD, OUTCOME, PARTNER, PURPOSE, REASON, REQUEST, SUPPRESSED, TOOK_US};
use super::labels::{Method, OutcomeLabel};
use super::recorder::Metrics;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::domain::time::Clock;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// How logs are written. They go to standard error: standard output belongs to commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The form.
    pub format: LogFormat,
    /// A level, or levels by target: `info`, with the libraries' own chatter at `warn`.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, filter: "info,h2=warn,hyper=warn,tonic=warn,rustls=warn".into() }
    }
}

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is malformed, e.g. `info,drivegate::gateway=debug` is well formed.
    #[error("cannot parse the log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logs were set up before in this process.
    #[error("logs are set up already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets the process's logs up. Once a process.
///
/// # Errors
/// [`LogError`] for a malformed filter, or the second time.
pub fn install(options: &LogOptions) -> Result<(), LogError> {
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let writer = BoxMakeWriter::new(std::io::stderr);
    subscriber(options, is_coloured, writer)?.try_init().map_err(LogError::Installed)
}

fn subscriber(
    options: &LogOptions,
    is_coloured: bool,
    writer: BoxMakeWriter,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError> {
    let filter: Targets = options.filter.parse().map_err(LogError::Filter)?;
    // A line that cannot be written is lost. To complain about it on standard error, the library's way, panics where
    // standard error is what failed: a file on a full disk must not end the journal's thread or a call.
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(writer)
        .log_internal_errors(false);
    Ok(match options.format {
        LogFormat::Pretty => Box::new(lines.with_ansi(is_coloured).finish().with(filter)),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish().with(filter)),
    })
}

/// What a line about a request says.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The gateway's own id of the request, shown as 16 hexadecimal digits.
    pub request: u64,
    /// Who asked, once known.
    pub partner: Option<&'a PartnerId>,
    /// What was called.
    pub method: Method,
    /// Why it asked, once read.
    pub purpose: Option<Purpose>,
    /// How it ended.
    pub outcome: OutcomeLabel,
    /// The stable reason of a refusal or error.
    pub reason: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// Lines about requests, kept few.
pub struct RequestLog {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: RequestLogOptions,
    by_reason: Mutex<HashMap<&'static str, Window>>,
    answers: AtomicU64,
}

/// How many lines about requests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLogOptions {
    /// Refusals and errors a second and reason: 20, enough to see what happens, too few to hurt.
    pub per_reason_per_second_max: u64,
    /// One in so many ordinary answers: 1,000.
    pub answers_one_in: u64,
}

impl Default for RequestLogOptions {
    fn default() -> Self {
        Self { per_reason_per_second_max: 20, answers_one_in: 1_000 }
    }
}

#[derive(Default)]
struct Window {
    second: u64,
    written: u64,
    suppressed: u64,
}

impl RequestLog {
    /// Makes a log of requests.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>, options: RequestLogOptions) -> Self {
        Self { clock, metrics, options, by_reason: Mutex::default(), answers: AtomicU64::new(0) }
    }

    /// Notes an ordinary answer; one in so many is written.
    pub fn answer(&self, line: &RequestLine<'_>) {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(self.options.answers_one_in.max(1)) {
            tracing::info!(
                { REQUEST } = %format_args!("{:016x}", line.request),
                { PARTNER } = line.partner.map(PartnerId::as_str),
                { METHOD } = line.method.word(),
                { PURPOSE } = line.purpose.map(Purpose::word),
                { OUTCOME } = line.outcome.word(),
                { TOOK_US } = micros(line.took),
                "answered"
            );
        }
    }

    /// Notes a refusal: we would not answer. Nobody needs to look.
    pub fn refusal(&self, line: &RequestLine<'_>) {
        if let Some(suppressed) = self.admit(line) {
            tracing::info!(
                { REQUEST } = %format_args!("{:016x}", line.request),
                { PARTNER } = line.partner.map(PartnerId::as_str),
                { METHOD } = line.method.word(),
                { PURPOSE } = line.purpose.map(Purpose::word),
                { REASON } = line.reason,
                { TOOK_US } = micros(line.took),
                { SUPPRESSED } = suppressed,
                "refused"
            );
        }
    }

    /// Notes an error: we could not answer. `causes` is the chain of causes for the operator; a person should look
    /// when the fault is our own.
    pub fn error(&self, line: &RequestLine<'_>, causes: Option<&dyn std::error::Error>) {
        let Some(suppressed) = self.admit(line) else { return };
        let causes = causes.map(chain);
        if line.outcome == OutcomeLabel::Failed {
            tracing::error!(
                { REQUEST } = %format_args!("{:016x}", line.request),
                { PARTNER } = line.partner.map(PartnerId::as_str),
                { METHOD } = line.method.word(),
                { REASON } = line.reason,
                { CAUSES } = causes,
                { TOOK_US } = micros(line.took),
                { SUPPRESSED } = suppressed,
                "failed"
            );
        } else {
            tracing::info!(
                { REQUEST } = %format_args!("{:016x}", line.request),
                { PARTNER } = line.partner.map(PartnerId::as_str),
                { METHOD } = line.method.word(),
                { REASON } = line.reason,
                { CAUSES } = causes,
                { TOOK_US } = micros(line.took),
                { SUPPRESSED } = suppressed,
                "could not answer"
            );
        }
    }

    /// Admits a line of this reason, with the number left out since the last one; `None` leaves it out. Reasons are
    /// literals of the program, so the table is as small as their list.
    fn admit(&self, line: &RequestLine<'_>) -> Option<u64> {
        let second = self.clock.since_boot().as_secs();
        let mut by_reason = self.by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        let window = by_reason.entry(line.reason.unwrap_or(line.outcome.word())).or_default();
        if window.second != second {
            (window.second, window.written) = (second, 0);
        }
        if window.written < self.options.per_reason_per_second_max {
            window.written += 1;
            return Some(std::mem::take(&mut window.suppressed));
        }
        window.suppressed += 1;
        self.metrics.logs_suppressed(1);
        None
    }
}

/// Writes an error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn count(&self) -> usize {
            self.text().lines().count()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct StillClock(AtomicU64);

    impl Clock for StillClock {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn written_by(
        format: LogFormat,
        filter: &str,
        work: impl FnOnce(&RequestLog, &StillClock, &Lines),
    ) -> Lines {
        let lines = Lines::default();
        let into = lines.clone();
        let writer = BoxMakeWriter::new(move || into.clone());
        let options = LogOptions { format, filter: filter.into() };
        let clock = Arc::new(StillClock(AtomicU64::new(1)));
        let metrics = Metrics::new("sandbox").unwrap();
        let log = RequestLog::new(clock.clone(), metrics, RequestLogOptions::default());
        tracing::subscriber::with_default(subscriber(&options, false, writer).unwrap(), || {
            work(&log, &clock, &lines);
        });
        lines
    }

    fn line(reason: &'static str) -> RequestLine<'static> {
        RequestLine {
            request: 0x0198,
            partner: None,
            method: Method::Verify,
            purpose: Some(Purpose::Rental),
            outcome: OutcomeLabel::Refused,
            reason: Some(reason),
            took: Duration::from_micros(77),
        }
    }

    #[test]
    fn a_refusal_is_one_json_object_with_the_field_names() {
        let partner: PartnerId = "rental-demo".parse().unwrap();
        let lines = written_by(LogFormat::Json, "info", |log, _, _| {
            log.refusal(&RequestLine { partner: Some(&partner), ..line("FIELD_NOT_PERMITTED") });
        });
        let object: serde_json::Value = serde_json::from_str(lines.text().trim()).unwrap();
        for (field, value) in [
            ("partner", "rental-demo"),
            ("request", "0000000000000198"),
            ("method", "Verify"),
            ("purpose", "rental"),
            ("reason", "FIELD_NOT_PERMITTED"),
            ("message", "refused"),
            ("level", "INFO"),
        ] {
            assert_eq!(object[field], value, "{object}");
        }
        assert_eq!(object["took_us"], 77);
    }

    #[test]
    fn a_flood_of_one_reason_is_bounded_and_counted_and_others_are_heard() {
        written_by(LogFormat::Json, "info", |log, clock, lines| {
            (0..100).for_each(|_| log.refusal(&line("RATE_EXCEEDED")));
            assert_eq!(lines.count(), 20);
            log.refusal(&line("PARTNER_SUSPENDED"));
            assert_eq!(lines.count(), 21);
            clock.0.store(2, Ordering::Relaxed);
            log.refusal(&line("RATE_EXCEEDED"));
            let last: serde_json::Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
            assert_eq!(last["suppressed"], 80);
            assert!(log.metrics.text().unwrap().contains("drivegate_logs_suppressed_total 80"));
        });
    }

    #[test]
    fn one_in_a_thousand_answers_is_written() {
        let lines = written_by(LogFormat::Json, "info", |log, _, _| {
            let answered = RequestLine { reason: None, outcome: OutcomeLabel::Qualified, ..line("") };
            (0..2_001).for_each(|_| log.answer(&answered));
        });
        assert_eq!(lines.count(), 3);
    }

    #[test]
    fn our_own_fault_is_an_error_with_its_causes_and_another_s_is_not() {
        let causes = LogError::Filter("a=b=c".parse::<Targets>().unwrap_err());
        let lines = written_by(LogFormat::Json, "info", |log, _, _| {
            log.error(&RequestLine { outcome: OutcomeLabel::Failed, ..line("INTERNAL") }, Some(&causes));
            log.error(
                &RequestLine { outcome: OutcomeLabel::Unavailable, ..line("OVERLOADED") },
                Some(&causes),
            );
        });
        let levels: Vec<_> = lines
            .text()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| (line["level"].clone(), line["causes"].as_str().unwrap().contains("filter: ")))
            .collect();
        assert_eq!(levels, [("ERROR".into(), true), ("INFO".into(), true)]);
    }

    #[test]
    fn pretty_lines_off_a_terminal_have_no_colours() {
        let lines = written_by(LogFormat::Pretty, "info", |log, _, _| log.refusal(&line("RATE_EXCEEDED")));
        assert!(lines.text().contains("refused"));
        assert!(!lines.text().contains('\u{1b}'));
    }

    #[test]
    fn the_filter_is_obeyed_and_a_malformed_one_refused() {
        let lines = written_by(LogFormat::Pretty, "warn", |log, _, _| log.refusal(&line("RATE_EXCEEDED")));
        assert_eq!(lines.text(), "");
        let options = LogOptions { filter: "info=debug=x".into(), ..LogOptions::default() };
        let refused = subscriber(&options, false, BoxMakeWriter::new(std::io::sink));
        assert!(matches!(refused, Err(LogError::Filter(_))));
        let default = LogOptions::default();
        assert!(subscriber(&default, false, BoxMakeWriter::new(std::io::sink)).is_ok());
    }
}

//! What is told at the end, for a person and for a program.

use std::time::Duration;

use serde_json::{Value, json};

use super::measured::Measured;
use super::run::Loop;
use crate::cli::terminal::{Terminal, Tone};
use crate::cli::verify::words;
use crate::gateway::proto;

/// The quantiles shown.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// A finished measurement.
pub struct Report {
    /// What was measured.
    pub measured: Measured,
    /// Over which time.
    pub window: Duration,
    /// How requests followed each other.
    pub pattern: Loop,
    /// Connections and streams on each.
    pub shape: (usize, usize),
    /// The server's processor time in the window.
    pub server_cpu: Option<Duration>,
    /// The client's own.
    pub client_cpu: Option<Duration>,
    /// Mean length of a request with its frame, in bytes.
    pub request_bytes: usize,
    /// The measurement was cut short.
    pub interrupted: bool,
}

impl Report {
    /// Returns the answers per second: those given within the window, whenever they were due.
    pub fn answers_per_second(&self) -> f64 {
        count(self.measured.within().answered) / self.window.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Returns the processor time the server spent on a request, in microseconds; failures are requests too.
    pub fn server_us_per_request(&self) -> Option<f64> {
        self.per_request(self.server_cpu)
    }

    fn per_request(&self, spent: Option<Duration>) -> Option<f64> {
        let ended = self.measured.within();
        let requests = ended.answered + ended.failed;
        spent.filter(|_| requests > 0).map(|spent| spent.as_secs_f64() * 1e6 / count(requests))
    }

    /// Shows it for a person.
    pub fn render(&self, terminal: Terminal) -> String {
        let faint = |text: &str| terminal.paint(Tone::Faint, text);
        let (connections, streams) = self.shape;
        let pattern = match self.pattern {
            Loop::Closed => "closed loop".to_owned(),
            Loop::Open(rate) => format!("open loop at {rate}/s"),
        };
        let cut = if self.interrupted { ", cut short" } else { "" };
        let mut lines = vec![
            faint(&format!(
                "{pattern}, {connections} connections × {streams} streams, {:.1} s measured{cut}, requests of {} bytes",
                self.window.as_secs_f64(),
                self.request_bytes
            )),
            terminal.paint(Tone::Strong, &format!("{:.0} answers/s", self.answers_per_second())),
        ];
        if self.measured.answered() > 0 {
            let quantiles: Vec<String> = QUANTILES
                .iter()
                .map(|(name, quantile)| format!("{name} {:.3}", self.measured.quantile_ms(*quantile)))
                .collect();
            lines.push(format!("latency ms   {} · max {:.3}", quantiles.join(" · "), self.measured.max_ms()));
            lines.push(format!("decisions    {}", self.decisions().join(" · ")));
        }
        if let Some(micros) = self.server_us_per_request() {
            lines.push(format!("server CPU   {micros:.2} µs per request"));
        }
        if let Some(micros) = self.per_request(self.client_cpu) {
            lines.push(faint(&format!("client CPU   {micros:.2} µs per request")));
        }
        if self.measured.failed() == 0 {
            lines.push(format!("errors       {}", terminal.paint(Tone::Good, "none")));
        }
        for (kind, count) in self.measured.failures() {
            lines.push(format!("errors       {} {kind}", terminal.paint(Tone::Bad, &count.to_string())));
        }
        lines.join("\n")
    }

    fn decisions(&self) -> Vec<String> {
        let numbered = (0_i32..).zip(self.measured.decisions());
        numbered
            .filter(|(_, count)| *count > 0)
            .map(|(number, count)| match number {
                0 => format!("undecided {count}"),
                number => format!("{} {count}", words::short::<proto::Decision>(number)),
            })
            .collect()
    }

    /// Shows it for a program.
    pub fn to_json(&self) -> Value {
        let measured = &self.measured;
        let mut latency: serde_json::Map<String, Value> = QUANTILES
            .iter()
            .map(|(name, quantile)| ((*name).to_owned(), measured.quantile_ms(*quantile).into()))
            .collect();
        latency.insert("max".to_owned(), measured.max_ms().into());
        latency.insert("mean".to_owned(), measured.mean_ms().into());
        let decisions: serde_json::Map<String, Value> = (0_i32..)
            .zip(measured.decisions())
            .filter(|(_, count)| *count > 0)
            .map(|(number, count)| (words::short::<proto::Decision>(number), count.into()))
            .collect();
        json!({
            "pattern": match self.pattern { Loop::Closed => json!("closed"), Loop::Open(rate) => json!({ "rate": rate }) },
            "connections": self.shape.0,
            "streams": self.shape.1,
            "window_seconds": self.window.as_secs_f64(),
            "request_bytes": self.request_bytes,
            "answered": measured.answered(),
            "failed": measured.failed(),
            "answers_per_second": self.answers_per_second(),
            "latency_ms": latency,
            "decisions": decisions,
            "errors": measured.failures(),
            "server_cpu_us_per_request": self.server_us_per_request(),
            "client_cpu_us_per_request": self.per_request(self.client_cpu),
            "interrupted": self.interrupted,
        })
    }
}

fn count(number: u64) -> f64 {
    Duration::from_secs(number).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::measured::Ended;
    use super::*;

    #[test]
    fn a_report_counts_rates_and_processor_time_per_request() {
        let mut measured = Measured::new().unwrap();
        let failure = Ended::Failed("Unavailable OVERLOADED".to_owned());
        for _ in 0..99 {
            measured.ended(&Ended::Answered(1));
            measured.record(2_000_000, Ended::Answered(1));
        }
        measured.ended(&failure);
        measured.record(0, failure);
        // Due before the window, or answered after it.
        measured.record(3_000_000, Ended::Answered(1));
        let report = Report {
            measured,
            window: Duration::from_millis(500),
            pattern: Loop::Open(200.0),
            shape: (8, 16),
            server_cpu: Some(Duration::from_micros(1_500)),
            client_cpu: None,
            request_bytes: 160,
            interrupted: false,
        };
        assert!((report.answers_per_second() - 198.0).abs() < 1e-9);
        assert!((report.server_us_per_request().unwrap() - 15.0).abs() < 1e-9);
        let shown = report.render(Terminal::plain());
        for part in
            ["198 answers/s", "QUALIFIED 100", "server CPU   15.00", "1 Unavailable OVERLOADED", "p99 2.0"]
        {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(report.to_json()["errors"]["Unavailable OVERLOADED"], 1);
    }
}

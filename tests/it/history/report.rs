//! What a play brought: fault by fault, how many were answered, how many rightly, and how quickly.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use super::faults::Fault;
use super::people::Stage;
use super::record::{Answer, Breach, History, Level};

/// A part of the play; the first one has no fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) fault: Option<Fault>,
    pub(super) began: Duration,
    pub(super) mended: Duration,
    pub(super) ended: Duration,
}

/// One act in numbers, its recovery included.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) answers: usize,
    pub(super) errors: usize,
    pub(super) wrong: usize,
    /// Right answers for a thousand questions.
    pub(super) right_permille: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Everything that happened, judged.
pub(super) struct Report {
    pub(super) history: History,
    pub(super) acts: Vec<Act>,
    pub(super) found: Vec<(Breach, Answer)>,
    errors: Vec<(Duration, Code)>,
}

impl Report {
    pub(super) fn of(stage: &Stage, acts: Vec<Act>) -> Self {
        let history = std::mem::take(&mut *stage.history.lock().unwrap());
        let errors = std::mem::take(&mut *stage.errors.lock().unwrap());
        let found = history.breaches();
        let found = found.into_iter().map(|(breach, answer)| (breach, answer.clone())).collect();
        Self { history, acts, found, errors }
    }

    pub(super) fn breaches(&self) -> usize {
        self.found.len()
    }

    pub(super) fn answers_in(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Answer> {
        self.history.answers.iter().filter(move |answer| (from..until).contains(&answer.arrived))
    }

    pub(super) fn measure(&self, act: &Act) -> Measured {
        let answers: Vec<&Answer> = self.answers_in(act.began, act.ended).collect();
        let errors = self.errors.iter().filter(|(at, _)| (act.began..act.ended).contains(at)).count();
        let wrong = self.found.iter().filter(|(_, answer)| answers.contains(&answer)).count();
        let right = answers.len().saturating_sub(wrong);
        let times = answers.iter().map(|answer| answer.arrived - answer.asked).collect();
        let [p50, p99] = percentiles(times);
        let right_permille = right * 1_000 / (answers.len() + errors).max(1);
        Measured { answers: answers.len(), errors, wrong, right_permille, p50, p99 }
    }

    /// Returns how long answers took that had to be read from the registry, while nothing was wrong.
    pub(super) fn miss_path(&self) -> [Duration; 2] {
        let first = self.acts[0];
        let missed =
            self.answers_in(first.began, first.ended).filter(|answer| answer.from == Level::Registry);
        percentiles(missed.map(|answer| answer.arrived - answer.asked).collect())
    }

    pub(super) fn json(&self) -> Value {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let [miss_p50, miss_p99] = self.miss_path().map(millis);
        let acts = self.acts.iter().map(|act| {
            let measured = self.measure(act);
            json!({
                "fault": act.fault.map(|fault| format!("{fault:?}")),
                "registry_reachable": act.fault.is_none_or(Fault::leaves_the_registry),
                "lasted_ms": millis(act.mended.saturating_sub(act.began.max(self.acts[0].mended))),
                "answers": measured.answers,
                "errors": measured.errors,
                "wrong": measured.wrong,
                "right_permille": measured.right_permille,
                "p50_ms": millis(measured.p50),
                "p99_ms": millis(measured.p99),
            })
        });
        json!({
            "acts": acts.collect::<Vec<_>>(),
            "miss_path_p50_ms": miss_p50,
            "miss_path_p99_ms": miss_p99,
            "breaches": self.breaches(),
        })
    }
}

fn percentiles(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    [50, 99]
        .map(|percent| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))))
        .map(|time| time.copied().unwrap_or_default())
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}; {} breaches", self.history, self.breaches())?;
        let [_, miss] = self.miss_path();
        writeln!(
            out,
            "{:16} {:>8} {:>7} {:>6} {:>6} {:>9} {:>9}  (miss path's p99: {miss:?})",
            "", "answers", "errors", "wrong", "right", "p50", "p99"
        )?;
        for act in &self.acts {
            let measured = self.measure(act);
            let name = act.fault.map_or_else(|| "calm".to_owned(), |fault| format!("{fault:?}"));
            let Measured { answers, errors, wrong, right_permille, p50, p99 } = measured;
            writeln!(
                out,
                "{name:16} {answers:>8} {errors:>7} {wrong:>6} {:>5.1}% {p50:>9.1?} {p99:>9.1?}",
                right_permille as f64 / 10.0
            )?;
        }
        for (breach, answer) in self.found.iter().take(20) {
            let changes = self.history.changes[answer.driver].iter();
            let near = changes.filter(|change| {
                change.sent <= answer.arrived && change.sent + Duration::from_secs(6) >= answer.arrived
            });
            writeln!(out, "{breach:?}: {answer:?}\n    after {:?}", near.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

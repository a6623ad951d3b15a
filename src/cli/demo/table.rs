//! What was played, in one table a person can read.

use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use serde_json::{Value, json};

use super::super::terminal::Terminal;
use crate::cli::verify::answer;
use crate::cli::verify::refusal::Refusal;
use crate::cli::verify::words::{Word as _, short};
use crate::gateway::proto;

/// Narrower than this the table would be unreadable; wider lines wrap badly in pastes.
const WIDTH_MAX: u16 = 150;

/// How a scene came out.
pub struct Played {
    /// Who asked.
    pub who: String,
    /// What was asked.
    pub asked: String,
    /// What came back.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// Whether it is what must come out.
    pub verdict: Result<(), String>,
}

/// What came back.
pub enum Outcome {
    /// An answer.
    Answer(Box<proto::VerifyResponse>),
    /// A refusal or an error.
    Refusal(Refusal),
    /// The connection was refused.
    NoConnection(String),
    /// Something else worth telling.
    Fact(String),
}

impl Played {
    /// Returns whether the expectation held.
    pub const fn held(&self) -> bool {
        self.verdict.is_ok()
    }

    fn decision(&self) -> (String, Color) {
        match &self.outcome {
            Outcome::Answer(answer) => {
                let colour = match answer.decision() {
                    proto::Decision::Qualified => Color::Green,
                    proto::Decision::NotQualified => Color::Red,
                    _ => Color::Yellow,
                };
                (answer.decision().short().to_owned(), colour)
            }
            Outcome::Refusal(refusal) if refusal.is_refusal() => ("refused".to_owned(), Color::Magenta),
            Outcome::Refusal(_) => ("error".to_owned(), Color::Red),
            Outcome::NoConnection(_) => ("not let in".to_owned(), Color::Magenta),
            Outcome::Fact(_) => ("done".to_owned(), Color::Cyan),
        }
    }

    fn why(&self) -> String {
        match &self.outcome {
            Outcome::Answer(given) => {
                let telling: Vec<String> = given
                    .criteria
                    .iter()
                    .filter(|one| one.outcome() != proto::Outcome::Met)
                    .map(answer::criterion)
                    .collect();
                let met = given.criteria.len() - telling.len();
                let mut parts = telling;
                if met > 0 {
                    parts.push(format!("{met} met"));
                }
                let changed = given.provenance.as_ref().is_some_and(|one| one.changed_since.is_some());
                if changed {
                    parts.push("changed since".to_owned());
                }
                parts.join("; ")
            }
            Outcome::Refusal(refusal) => {
                let mut parts = vec![refusal.reason.clone().unwrap_or_else(|| format!("{:?}", refusal.code))];
                parts.extend(refusal.metadata.get("fields").map(|fields| format!("fields {fields}")));
                parts.extend(refusal.retry_after.map(|delay| format!("come back in {delay:?}")));
                parts.join("; ")
            }
            Outcome::NoConnection(why) | Outcome::Fact(why) => why.clone(),
        }
    }

    fn disclosed(&self) -> String {
        match &self.outcome {
            Outcome::Answer(given) => {
                given.disclosure.as_ref().map(answer::disclosed).unwrap_or_default().join("; ")
            }
            _ => String::new(),
        }
    }

    fn level(&self) -> String {
        match &self.outcome {
            Outcome::Answer(given) => match &given.provenance {
                // About an unconfirmed subject an answer does not say where it came from.
                Some(one) if one.source() != proto::Source::Unspecified => {
                    short::<proto::Source>(one.source).to_ascii_lowercase().replace('_', " ")
                }
                _ => "not told".to_owned(),
            },
            _ => String::new(),
        }
    }

    /// Shows it for a program.
    pub fn to_json(&self) -> Value {
        let outcome = match &self.outcome {
            Outcome::Answer(given) => answer::to_json(given),
            Outcome::Refusal(refusal) => refusal.to_json(),
            Outcome::NoConnection(why) => json!({ "kind": "no connection", "why": why }),
            Outcome::Fact(fact) => json!({ "kind": "fact", "fact": fact }),
        };
        json!({
            "who": self.who,
            "asked": self.asked,
            "outcome": outcome,
            "took_ms": self.took.as_secs_f64() * 1e3,
            "held": self.held(),
            "mismatch": self.verdict.as_ref().err(),
        })
    }
}

/// Renders what was played.
pub fn render(played: &[Played], terminal: Terminal) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if terminal.has_colour() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let width = table.width().unwrap_or(WIDTH_MAX).min(WIDTH_MAX);
    table.set_width(width);
    table.set_header([
        "",
        "who",
        "asked",
        "decision",
        "criteria and reasons",
        "disclosed, masked",
        "level",
        "ms",
    ]);
    for one in played {
        let (decision, colour) = one.decision();
        let mark = match &one.verdict {
            Ok(()) => Cell::new("✓").fg(Color::Green),
            Err(_) => Cell::new("✗").fg(Color::Red).add_attribute(Attribute::Bold),
        };
        let why = match &one.verdict {
            Ok(()) => Cell::new(one.why()),
            Err(mismatch) => Cell::new(format!("{} — {mismatch}", one.why())).fg(Color::Red),
        };
        table.add_row([
            mark,
            Cell::new(&one.who),
            Cell::new(&one.asked),
            Cell::new(decision).fg(colour),
            why,
            Cell::new(one.disclosed()),
            Cell::new(one.level()),
            Cell::new(format!("{:.1}", one.took.as_secs_f64() * 1e3)),
        ]);
    }
    table.to_string()
}

/// Renders who looked, as the driver sees it.
pub fn render_accesses(accesses: &[proto::Access], terminal: Terminal) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if terminal.has_colour() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let width = table.width().unwrap_or(WIDTH_MAX).min(WIDTH_MAX);
    table.set_width(width);
    table.set_header(["who", "why", "authorised by", "ground", "outcome", "fields"]);
    for access in accesses {
        let who = access.partner.as_ref().map(|partner| partner.legal_name.clone()).unwrap_or_default();
        let fields: Vec<String> = access.fields().map(|field| words(field.short())).collect();
        table.add_row([
            who,
            words(access.purpose().short()),
            words(access.authorised_by().short()),
            if access.ground == 0 { String::new() } else { words(access.ground().short()) },
            words(access.outcome().short()),
            fields.join(", "),
        ]);
    }
    table.to_string()
}

/// `SHARE_CODE` becomes `share code`.
fn words(short: &str) -> String {
    short.to_ascii_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(verdict: Result<(), String>) -> Played {
        Played {
            who: "rental-demo".to_owned(),
            asked: "checkout".to_owned(),
            outcome: Outcome::Answer(Box::new(proto::VerifyResponse {
                decision: proto::Decision::NotQualified.into(),
                criteria: vec![
                    proto::Criterion { kind: 3, outcome: 1, reason: 0 },
                    proto::Criterion {
                        kind: proto::CriterionKind::Tenure.into(),
                        outcome: proto::Outcome::NotMet.into(),
                        reason: proto::Reason::TenureShort.into(),
                    },
                ],
                disclosure: Some(proto::Disclosure {
                    masked_name: Some("欧阳**".to_owned()),
                    ..Default::default()
                }),
                provenance: Some(proto::Provenance {
                    source: proto::Source::InProcess.into(),
                    ..Default::default()
                }),
                ..Default::default()
            })),
            took: Duration::from_micros(1_250),
            verdict,
        }
    }

    #[test]
    fn a_row_tells_who_what_why_and_from_where() {
        let shown = render(&[played(Ok(()))], Terminal::plain());
        for part in
            ["✓", "rental-demo", "NOT_QUALIFIED", "TENURE_SHORT", "1 met", "欧阳**", "in process", "1.2"]
        {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn columns_stay_aligned_with_wide_characters() {
        let shown = render(&[played(Ok(()))], Terminal::plain());
        let widths: Vec<usize> = shown.lines().map(unicode_width).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}\n{shown}");
    }

    /// Han characters take two columns; everything else here takes one.
    fn unicode_width(line: &str) -> usize {
        line.chars().map(|one| if ('\u{4e00}'..='\u{9fff}').contains(&one) { 2 } else { 1 }).sum()
    }

    #[test]
    fn a_mismatch_is_red_and_says_what_was_expected() {
        let shown = render(&[played(Err("expected QUALIFIED".to_owned()))], Terminal::colourful());
        assert!(shown.contains('✗') && shown.contains("expected") && shown.contains('\u{1b}'), "{shown}");
        let value = played(Err("expected QUALIFIED".to_owned())).to_json();
        assert_eq!(
            (value["held"].as_bool(), value["mismatch"].as_str()),
            (Some(false), Some("expected QUALIFIED"))
        );
    }
}

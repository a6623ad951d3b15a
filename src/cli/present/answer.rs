//! What was issued, for a person and for a program.

use std::path::Path;

use serde_json::{Value, json};

use super::super::terminal::{Terminal, Tone};
use super::super::verify::moment;
use super::super::verify::words::short;
use crate::config::hex;
use crate::gateway::proto;

/// Shows what was issued as a QR code, but for the code itself.
pub(super) fn qr(issued: &proto::IssueQrResponse, terminal: Terminal, saved: Option<&Path>) -> String {
    let mut lines = Lines { terminal, lines: vec![issued.token.clone()] };
    if let Some(path) = saved {
        lines.fact("image", &path.display().to_string());
    }
    let label = if issued.deferred { " 延期" } else { "" };
    let tone = if issued.display() == proto::Display::Normal { Tone::Good } else { Tone::Bad };
    let display = short::<proto::Display>(issued.display);
    lines.fact("display", &format!("{}{label}", terminal.paint(tone, &display)));
    lines.issued(&issued.expires_at, &issued.presentation_id, &issued.subject_ref, issued.environment)
}

/// Shows what was issued as a share code.
pub(super) fn share_code(issued: &proto::IssueShareCodeResponse, terminal: Terminal) -> String {
    let mut lines = Lines { terminal, lines: vec![terminal.paint(Tone::Strong, &issued.code)] };
    let plural = if issued.uses == 1 { "" } else { "s" };
    lines.fact("good for", &format!("{} request{plural}", issued.uses));
    lines.issued(&issued.expires_at, &issued.presentation_id, &issued.subject_ref, issued.environment)
}

/// Shows what was taken back.
pub(super) fn revoked(revoked: &proto::RevokeResponse, terminal: Terminal) -> String {
    let mut lines = Lines { terminal, lines: vec![terminal.paint(Tone::Good, "TAKEN BACK")] };
    lines.fact("uses left", &format!("{}, now void", revoked.uses_revoked));
    lines.fact("uses spent", &format!("{} before", revoked.uses_spent));
    lines.lines.join("\n")
}

struct Lines {
    terminal: Terminal,
    lines: Vec<String>,
}

impl Lines {
    fn fact(&mut self, name: &str, value: &str) {
        let name = self.terminal.paint(Tone::Faint, &format!("{name:<15}"));
        self.lines.push(format!("  {name} {value}"));
    }

    /// What both kinds have.
    fn issued(
        mut self,
        expires_at: &Option<prost_types::Timestamp>,
        id: &[u8],
        subject_ref: &str,
        environment: i32,
    ) -> String {
        self.fact("ends", &expires_at.as_ref().map(moment::show).unwrap_or_default());
        self.fact("presentation id", &hex(id));
        self.fact("subject ref", subject_ref);
        self.fact("world", &short::<proto::Environment>(environment));
        self.lines.join("\n")
    }
}

/// As [`qr`], for a program: the contract's own field names and words.
pub(super) fn qr_json(issued: &proto::IssueQrResponse, saved: Option<&Path>) -> Value {
    json!({
        "kind": "qr",
        "token": issued.token,
        "presentation_id": hex(&issued.presentation_id),
        "expires_at": at(&issued.expires_at),
        "display": short::<proto::Display>(issued.display),
        "deferred": issued.deferred,
        "subject_ref": issued.subject_ref,
        "environment": short::<proto::Environment>(issued.environment),
        "image": saved,
    })
}

/// As [`share_code`], for a program.
pub(super) fn share_code_json(issued: &proto::IssueShareCodeResponse) -> Value {
    json!({
        "kind": "share_code",
        "code": issued.code,
        "presentation_id": hex(&issued.presentation_id),
        "expires_at": at(&issued.expires_at),
        "uses": issued.uses,
        "subject_ref": issued.subject_ref,
        "environment": short::<proto::Environment>(issued.environment),
    })
}

/// As [`revoked`], for a program.
pub(super) fn revoked_json(revoked: &proto::RevokeResponse) -> Value {
    json!({ "kind": "revoked", "uses_revoked": revoked.uses_revoked, "uses_spent": revoked.uses_spent })
}

fn at(moment: &Option<prost_types::Timestamp>) -> Option<String> {
    moment.as_ref().and_then(moment::from_proto).map(|moment| moment.to_string())
}

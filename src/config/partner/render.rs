//! A contract as text: what `init` and `partner add` write, with a word on every key.

use std::fmt::Write as _;

use jiff::ToSpan as _;

use super::PartnerFile;
use crate::config::hex::hex;
use crate::domain::partner::{Allowance, ClaimTerms, Contract, PeerName, PurposeTerms};
use crate::domain::time::civil_day;

/// Writes a contract file that [`super::parse`] reads back as the same contract.
pub fn render(file: &PartnerFile) -> String {
    let mut out = head(&file.contract, file.suspended);
    for name in &file.contract.identities {
        out.push_str(&identity(name));
    }
    for terms in &file.contract.purposes {
        out.push_str(&purpose(terms));
    }
    out.push_str(&allowance(&file.contract.allowance));
    out.push_str(&claims(&file.contract.claims));
    out
}

fn head(contract: &Contract, suspended: bool) -> String {
    let last_moment = contract.ends_at.saturating_sub(1.nanosecond()).unwrap_or(contract.ends_at);
    format!(
        "# Contract of {id}. The gateway reads this file again within a second of every change.\n\
         id = {quoted_id}\n\
         legal_name = {legal_name}    # drivers see it in full\n\
         display_name = {display_name}    # drivers see it in short\n\
         kind = \"{kind}\"    # insurer, rental, recruiter, transport, enforcement, wallet or authority\n\
         contact = {contact}    # whom operators call\n\
         suspended = {suspended}    # true refuses every request, whatever the standing record says\n\
         presentations_only = {presentations_only}    # true answers about QR codes and share codes alone, and no claim\n\
         \n\
         # Civil days in China Standard Time, both inclusive.\n\
         [validity]\n\
         from = {from}\n\
         until = {until}\n",
        id = contract.partner,
        quoted_id = quoted(contract.partner.as_str()),
        legal_name = quoted(&contract.legal_name),
        display_name = quoted(&contract.display_name),
        kind = contract.kind,
        contact = quoted(&contract.contact),
        presentations_only = contract.presentations_only,
        from = civil_day(contract.starts_at),
        until = civil_day(last_moment),
    )
}

fn identity(name: &PeerName) -> String {
    match name {
        PeerName::SanUri(uri) => format!(
            "\n# The certificate carries exactly this URI; with pins beside it, it must match one of them too.\n\
             [[identity]]\nsan_uri = {}\n",
            quoted(uri)
        ),
        PeerName::SpkiSha256(pin) => format!(
            "\n# SHA-256 of the certificate's public key. Two pins may stand side by side while keys rotate.\n\
             [[identity]]\nspki_sha256 = \"{}\"\n",
            hex(pin)
        ),
    }
}

fn purpose(terms: &PurposeTerms) -> String {
    let mut out = format!("\n[[purpose]]\nname = \"{}\"\n", terms.purpose);
    list(&mut out, "grounds", terms.grounds.iter().map(|ground| quoted(ground.word())), "accepted grounds");
    list(&mut out, "fields", terms.fields.iter().map(|field| quoted(field.word())), "released at most");
    list(
        &mut out,
        "tenure_months",
        terms.tenure_months.iter().map(u16::to_string),
        "values that may be asked for",
    );
    list(
        &mut out,
        "margin_days",
        terms.margin_days.iter().map(u16::to_string),
        "values that may be asked for",
    );
    list(
        &mut out,
        "editions",
        terms.editions.iter().map(|edition| quoted(edition.word())),
        "editions of cover",
    );
    list(
        &mut out,
        "roles",
        terms.roles.iter().map(|role| quoted(role.word())),
        "roles that may be asked about",
    );
    out
}

/// A list that is empty is left out: absent and empty mean the same.
fn list(out: &mut String, key: &str, items: impl Iterator<Item = String>, why: &str) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{key} = [{}]    # {why}", items.join(", "));
    }
}

fn allowance(allowance: &Allowance) -> String {
    format!(
        "\n[allowance]\n\
         rate_per_second = {}    # every request, before it is read; never refunded\n\
         burst = {}    # admitted at once after a pause\n\
         in_flight_max = {}    # served at once, over all connections\n\
         connections_max = {}    # open at once\n\
         quota_per_minute = {}    # answers\n\
         quota_per_hour = {}    # answers\n\
         quota_per_day = {}    # answers; the day is China's\n",
        allowance.rate_per_second,
        allowance.burst,
        allowance.in_flight_max,
        allowance.connections_max,
        allowance.quota_per_minute,
        allowance.quota_per_hour,
        allowance.quota_per_day,
    )
}

fn claims(claims: &ClaimTerms) -> String {
    format!(
        "\n# Whom it may claim to know. A table that is absent, or a line of it, is as usual for the kind.\n\
         [claims]\n\
         subjects_max = {}    # different licence numbers claimed within one window; at most 100000\n\
         window_hours = {}    # a divisor of 24; windows begin at midnight in China\n\
         slow_unconfirmed = {}    # from so many unconfirmed claims in a window on, every claim waits up to 1 s ...\n\
         slow_percent = {}    # ... if they are so many per hundred different numbers claimed\n\
         suspend_unconfirmed = {}    # here claims are suspended until `drivegate partner resume-claims` ...\n\
         suspend_percent = {}    # ... likewise\n",
        claims.subjects_max,
        claims.window_hours,
        claims.slow.unconfirmed,
        claims.slow.percent,
        claims.suspend.unconfirmed,
        claims.suspend.percent,
    )
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

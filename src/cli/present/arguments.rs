//! What a wallet says on the command line, and the request it becomes.

use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::super::verify::{moment, words};
use crate::config::unhex;
use crate::gateway::proto::{self, audience};

/// Whose e-licence is shown, and what the driver agreed to.
#[derive(Args)]
pub struct PresentationArgs {
    /// The licence number of the holder; '-' reads it from standard input. Prefer the environment or '-' for real numbers:
    /// arguments end up in the shell's history and in the list of processes.
    #[arg(long, value_name = "NUMBER|-", env = "DRIVEGATE_NUMBER", hide_env_values = true)]
    number: String,
    /// The document the number belongs to.
    #[arg(long, value_name = "DOCUMENT", default_value = "resident-id", value_parser = words::read::<proto::DocumentKind>)]
    document: proto::DocumentKind,
    /// The purpose the driver was shown, together with an audience. Without both: police checks and peer scans only.
    #[arg(long, value_name = "PURPOSE", requires = "audience", value_parser = words::read::<proto::Purpose>)]
    purpose: Option<proto::Purpose>,
    /// The audience the driver was shown: insurer, rental, recruiter, transport, enforcement.
    #[arg(long, value_name = "KIND", group = "audience", requires = "purpose", value_parser = words::read::<proto::PartnerKind>)]
    audience_kind: Option<proto::PartnerKind>,
    /// The audience the driver was shown: one partner, by its id.
    #[arg(long, value_name = "PARTNER", group = "audience", requires = "purpose")]
    audience_partner: Option<String>,
    /// The fields the driver agreed to, separated by commas [default: all that policy and contract allow].
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_parser = words::read::<proto::Field>)]
    fields: Vec<proto::Field>,
    /// The driver agreed to the decision alone.
    #[arg(long, conflicts_with = "fields")]
    no_fields: bool,
    /// Make a share code instead of a QR code: for somebody who is not there.
    #[arg(long, requires = "audience")]
    share_code: bool,
    /// How many requests the share code is good for [default: 1].
    #[arg(long, value_name = "COUNT", requires = "share_code", value_parser = clap::value_parser!(u32).range(1..=10))]
    uses: Option<u32>,
    /// How long the share code lives, 1h to 21d [default: 3d].
    #[arg(long, value_name = "TIME", requires = "share_code", value_parser = lifetime)]
    lifetime: Option<prost_types::Duration>,
    /// Take this presentation back instead, by the id it was issued with.
    #[arg(long, value_name = "PRESENTATION-ID", value_parser = presentation_id, conflicts_with_all = ["audience", "fields", "no_fields", "share_code"])]
    revoke: Option<PresentationIdBytes>,
}

/// The bytes of a presentation's id.
#[derive(Clone, Debug)]
struct PresentationIdBytes(Vec<u8>);

impl std::fmt::Debug for PresentationArgs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PresentationArgs([elided])")
    }
}

/// What goes out: one of the service's calls.
pub(super) enum Call {
    Qr(proto::IssueQrRequest),
    ShareCode(proto::IssueShareCodeRequest),
    Revoke(proto::RevokeRequest),
}

impl PresentationArgs {
    /// Puts the call together. `read_line` reads a line of the standard input, for a number given as '-'.
    pub(super) fn into_call(
        self,
        mut read_line: impl FnMut() -> std::io::Result<String>,
    ) -> miette::Result<Call> {
        let licence_number = if self.number == "-" {
            read_line().into_diagnostic().wrap_err("cannot read the standard input")?
        } else {
            self.number
        };
        if licence_number.is_empty() {
            return Err(miette!(help = "give it with --number", "whose licence?"));
        }
        let holder = Some(proto::Holder { document_kind: self.document.into(), licence_number });
        if let Some(PresentationIdBytes(presentation_id)) = self.revoke {
            return Ok(Call::Revoke(proto::RevokeRequest { holder, presentation_id }));
        }
        let kind = self.audience_kind.map(|kind| audience::Whom::Kind(kind.into()));
        let whom = kind.or(self.audience_partner.map(audience::Whom::PartnerId));
        let audience = whom.map(|whom| proto::Audience { whom: Some(whom) });
        let purpose = self.purpose.map_or(0, Into::into);
        let fields = self.fields.into_iter().map(Into::into).collect();
        let no_fields = self.no_fields;
        Ok(if self.share_code {
            let (uses, lifetime) = (self.uses.unwrap_or_default(), self.lifetime);
            Call::ShareCode(proto::IssueShareCodeRequest {
                holder,
                purpose,
                audience,
                fields,
                no_fields,
                uses,
                lifetime,
            })
        } else {
            Call::Qr(proto::IssueQrRequest { holder, purpose, audience, fields, no_fields })
        })
    }
}

/// Reads a time such as 12h or 7d.
fn lifetime(text: &str) -> Result<prost_types::Duration, &'static str> {
    const RULE: &str = "expected a time such as 12h or 7d";
    let begin = Timestamp::UNIX_EPOCH;
    let starts_well = text.starts_with(|first: char| first.is_ascii_digit());
    let end = moment::read(&format!("+{text}"), begin).ok().filter(|_| starts_well).ok_or(RULE)?;
    Ok(prost_types::Duration { seconds: end.as_second(), nanos: 0 })
}

fn presentation_id(text: &str) -> Result<PresentationIdBytes, &'static str> {
    let bytes = unhex(text).filter(|bytes| bytes.len() == 16);
    bytes.map(PresentationIdBytes).ok_or("expected the 32 hexadecimal digits it was issued with")
}

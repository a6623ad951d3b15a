//! A parsed request: nothing in it is left to check but policy and contract.

use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::answer::ShownRefusal;
use crate::domain::claim::Claim;
use crate::domain::disclosure::FieldSet;
use crate::domain::presentation::{PresentationKind, ShareCode, ShareCodeFault};
use crate::domain::question::Question;
use crate::domain::subject::Position;

/// What the text of a QR code begins with; a share code has no colon.
const QR_PREFIX: &str = "DG1:";

/// More bytes than the text of any QR code of ours.
const QR_TEXT_MAX: usize = 512;

/// Who is asked about.
#[derive(Clone, Debug)]
pub enum About {
    /// Whoever shows this.
    Shown(Shown),
    /// Whom the partner claims to know, on what ground it may ask.
    Claimed(Claim),
}

/// What a driver showed or sent.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The text of a QR code, as it was scanned.
    Qr(QrText),
    /// A share code.
    ShareCode(ShareCode),
}

/// The text of a QR code: whoever has it can show it, so it is shown to nobody.
#[derive(Clone)]
pub struct QrText(Zeroizing<String>);

impl QrText {
    /// Returns the text. Callers: the reader that opens it, the entry that commits to it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for QrText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("QrText([elided])")
    }
}

impl Shown {
    /// Reads the text a partner sends: what was scanned, or a share code as it was typed. Whether a QR code is ours is not known yet.
    ///
    /// # Errors
    /// [`ShownRefusal::Malformed`] when it is neither, [`ShownRefusal::ShareCodeMistyped`].
    pub fn parse(text: &str) -> Result<Self, ShownRefusal> {
        if text.starts_with(QR_PREFIX) && text.len() <= QR_TEXT_MAX {
            return Ok(Self::Qr(QrText(Zeroizing::new(text.to_owned()))));
        }
        ShareCode::parse(text).map(Self::ShareCode).map_err(|fault| match fault {
            ShareCodeFault::Malformed => ShownRefusal::Malformed,
            ShareCodeFault::Mistyped => ShownRefusal::ShareCodeMistyped,
        })
    }

    /// Returns how the driver showed it.
    pub fn kind(&self) -> PresentationKind {
        match self {
            Self::Qr(_) => PresentationKind::Qr,
            Self::ShareCode(_) => PresentationKind::ShareCode,
        }
    }

    /// Returns what a receipt opens to: the text of a QR code as it was sent, a share code as it is written.
    pub(super) fn text(&self) -> Zeroizing<String> {
        match self {
            Self::Qr(text) => text.0.clone(),
            Self::ShareCode(code) => code.to_text(),
        }
    }
}

/// One question about one driver, parsed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who is asked about.
    pub about: About,
    /// What is asked.
    pub question: Question,
    /// The partner's serial: 1 to 64 visible ASCII characters.
    pub case_reference: String,
    /// The partner's category: 0 to 32 characters.
    pub case_category: String,
    /// The partner's employee: 1 to 64 visible ASCII characters.
    pub operator_id: String,
    /// Only what was recorded by then counts; `None`: now.
    pub known_at: Option<Timestamp>,
    /// Only what had been handed in by this position counts; `None`: all that was read.
    pub known_position: Option<Position>,
    /// The oldest reading accepted; `None`: the gateway's own bound.
    pub max_age: Option<Duration>,
    /// Fields asked for; empty: every permitted one.
    pub fields: FieldSet,
    /// Idempotency key: 8 to 64 characters; always there with something shown.
    pub request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_qr_code_a_share_code_or_neither() {
        let code = ShareCode::generate(&[7; 13]).to_text();
        assert!(matches!(Shown::parse("DG1:ABC"), Ok(Shown::Qr(text)) if text.expose() == "DG1:ABC"));
        assert!(matches!(Shown::parse(&code), Ok(Shown::ShareCode(_))));
        let spaced = format!(" {} ", code.to_lowercase().replace('-', " "));
        let Ok(Shown::ShareCode(read)) = Shown::parse(&spaced) else { panic!("typed in small letters") };
        assert_eq!(read.to_text(), code, "and a receipt opens to it as it is written");
        let long = format!("DG1:{}", "A".repeat(QR_TEXT_MAX));
        for text in ["", "dg1:ABC", "DG2:ABC", "https://example.org/x", &long, &code[1..]] {
            assert_eq!(Shown::parse(text).err(), Some(ShownRefusal::Malformed), "{text}");
        }
        let wrong = if code.ends_with('0') { '1' } else { '0' };
        let mistyped = format!("{}{wrong}", &code[..code.len() - 1]);
        assert_eq!(Shown::parse(&mistyped).err(), Some(ShownRefusal::ShareCodeMistyped));
    }

    #[test]
    fn nothing_shown_can_be_printed() {
        let code = ShareCode::generate(&[7; 13]).to_text();
        for text in ["DG1:SECRET", &code] {
            assert!(!format!("{:?}", Shown::parse(text).unwrap()).contains(&text[4..9]), "{text}");
        }
    }
}

//! The wallet issues a QR code or a share code, and takes one back.
//!
//! In order: what was agreed is held to the policy, and the holder's age by the number, before anybody is looked up; then the holder, whether the
//! e-licence may be shown, the wallet's standing, and the seal or the book. The wallet learns how the e-licence is shown and nothing else;
//! no entry is written: the log holds who looked at a driver, and nobody has yet.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::agreement::invalid;
use super::caller::WalletCaller;
use super::ports::{
    NoRandomness, PartnerKinds, PresentationBook, QrWriter, Randomness, Revocation, RevokedUses, Unsealable,
};
use super::{Agreed, AgreementFault, Holders, KnownHolder, NoHolder};
use crate::domain::elicence::{ELicence, NotShown, Shown, may_be_shown};
use crate::domain::partner::Standing;
use crate::domain::presentation::{
    Audience, Holder, Presentation, PresentationId, QR_LIFETIME_MAX, SHARE_CODE_SYMBOLS, ShareCode,
};
use crate::domain::rules::Rules;
use crate::domain::time::civil_day;
use crate::verification::ports::{Deadline, ShareCodeIds, StoreUnavailable, SubjectRef};

/// How long a share code may live.
const SHARE_CODE_LIFETIMES: std::ops::RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(21 * 24);
const SHARE_CODE_LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How many requests a share code may be good for.
const SHARE_CODE_USES: std::ops::RangeInclusive<u32> = 1..=10;
const SHARE_CODE_USES_DEFAULT: u32 = 1;

/// How often a code is drawn whose id is taken. Once in 2⁶⁴ codes is chance; twice is a broken random source.
const DRAWS_MAX: usize = 2;

/// Issues and takes back. One for the whole gateway; holds no state of its own.
pub struct Issuing {
    /// Finds holders.
    pub holders: Holders,
    /// Knows partners' kinds.
    pub partners: Arc<dyn PartnerKinds>,
    /// Seals QR codes.
    pub writer: Arc<dyn QrWriter>,
    /// Names share codes.
    pub codes: Arc<dyn ShareCodeIds>,
    /// Keeps share codes.
    pub book: Arc<dyn PresentationBook>,
    /// Draws ids and codes.
    pub randomness: Arc<dyn Randomness>,
    /// The dated rules.
    pub rules: Arc<Rules>,
    /// How long a QR code lives: whole seconds, at most [`QR_LIFETIME_MAX`].
    pub qr_lifetime: SignedDuration,
}

/// A QR code that is wanted.
#[derive(Clone, Debug)]
pub struct QrRequest {
    /// Whose licence.
    pub holder: Holder,
    /// What the driver agreed to.
    pub agreed: Agreed,
}

/// A share code that is wanted.
#[derive(Clone, Debug)]
pub struct ShareCodeRequest {
    /// Whose licence.
    pub holder: Holder,
    /// What the driver agreed to: purpose and audience are required.
    pub agreed: Agreed,
    /// How many requests it is good for, 1 to 10; `None`: 1.
    pub uses: Option<u32>,
    /// How long it lives, 1 h to 21 days, whole seconds; `None`: 3 days.
    pub lifetime: Option<SignedDuration>,
}

/// A QR code.
#[derive(Clone, Debug)]
pub struct IssuedQr {
    /// The text to show. It is a bearer's token: never logged.
    pub text: String,
    /// Its name.
    pub id: PresentationId,
    /// The first moment after it.
    pub expires_at: Timestamp,
    /// How the e-licence is shown.
    pub shown: Shown,
    /// The driver, for this wallet.
    pub subject_ref: SubjectRef,
}

/// A share code.
#[derive(Clone, Debug)]
pub struct IssuedShareCode {
    /// The code, kept nowhere.
    pub code: ShareCode,
    /// Its name.
    pub id: PresentationId,
    /// The first moment after it.
    pub expires_at: Timestamp,
    /// How many requests it is good for.
    pub uses: u16,
    /// The driver, for this wallet.
    pub subject_ref: SubjectRef,
}

/// Why nothing was issued. The first six are refusals, the others errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// What was agreed cannot be.
    #[error(transparent)]
    Agreement(#[from] AgreementFault),
    /// The number shows that the holder is under age; told for a purpose alone.
    #[error("holder is under age")]
    UnderAge,
    /// The wallet may not call any more.
    #[error("standing was lost")]
    StandingLost(Standing),
    /// The e-licence may not be shown.
    #[error("the e-licence may not be shown: {0}")]
    NotShown(NotShown),
    /// There is no such holder, or the registry could not tell.
    #[error(transparent)]
    Holder(#[from] NoHolder),
    /// The store cannot be written now. Come back later.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// The code cannot be sealed. A person should look.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// No id could be drawn. A person should look.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Why nothing was taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRevoked {
    /// There is no such holder, or the registry could not tell.
    #[error(transparent)]
    Holder(#[from] NoHolder),
    /// The holder has no such presentation.
    #[error("presentation not known")]
    NotKnown,
    /// The store cannot be written now. Come back later.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

/// A presentation that may be issued now.
struct Ready {
    audience: Audience,
    holder: KnownHolder,
    shown: Shown,
    /// To the second.
    now: Timestamp,
}

impl Issuing {
    /// Issues a QR code. Nothing of it is kept. Cancel-safe.
    ///
    /// # Errors
    /// [`NotIssued`] says whose turn it is.
    pub async fn issue_qr(
        &self,
        wallet: WalletCaller<'_>,
        request: &QrRequest,
        deadline: Deadline,
    ) -> Result<IssuedQr, NotIssued> {
        let ready = self.prepare(wallet, &request.holder, &request.agreed, deadline).await?;
        let mut random = [0; 10];
        self.randomness.fill(&mut random)?;
        let id = PresentationId::of_qr(self.holders.clock.now(), random);
        let presentation = ready.presentation(id, &request.agreed, 1, self.qr_lifetime);
        Ok(IssuedQr {
            text: self.writer.write(&presentation)?,
            id,
            expires_at: presentation.expires_at,
            shown: ready.shown,
            subject_ref: self.subject_ref(&ready, wallet),
        })
    }

    /// Issues a share code. Dropped before the end, a code nobody knows may stay in the book until its time is over.
    ///
    /// # Errors
    /// [`NotIssued`] says whose turn it is.
    pub async fn issue_share_code(
        &self,
        wallet: WalletCaller<'_>,
        request: &ShareCodeRequest,
        deadline: Deadline,
    ) -> Result<IssuedShareCode, NotIssued> {
        let (uses, lifetime) = request.bounds()?;
        let ready = self.prepare(wallet, &request.holder, &request.agreed, deadline).await?;
        for _ in 0..DRAWS_MAX {
            let mut random = Zeroizing::new([0; SHARE_CODE_SYMBOLS]);
            self.randomness.fill(random.as_mut_slice())?;
            let code = ShareCode::generate(&random);
            let id = self.codes.id(&code);
            let presentation = ready.presentation(id, &request.agreed, uses, lifetime);
            let expires_at = presentation.expires_at;
            if self.book.keep(presentation, ready.holder.record.subject).await? {
                let subject_ref = self.subject_ref(&ready, wallet);
                return Ok(IssuedShareCode { code, id, expires_at, uses, subject_ref });
            }
        }
        Err(NotIssued::NoRandomness(NoRandomness))
    }

    /// Takes back what is left of a presentation, from the next request on, everywhere. Safe to repeat.
    ///
    /// # Errors
    /// [`NotRevoked`] says whose turn it is.
    pub async fn revoke(
        &self,
        holder: &Holder,
        id: PresentationId,
        deadline: Deadline,
    ) -> Result<RevokedUses, NotRevoked> {
        let known = self.holders.find(holder, deadline).await?;
        let at = known.as_of.moment;
        let revocation = Revocation {
            id,
            subject: known.record.subject,
            // The lifetime may have been longer when it was issued.
            qr_ends_at: later(at, QR_LIFETIME_MAX),
            at,
        };
        self.book.revoke(revocation).await?.ok_or(NotRevoked::NotKnown)
    }

    /// Holds the request to policy, age, e-licence and standing.
    async fn prepare(
        &self,
        wallet: WalletCaller<'_>,
        holder: &Holder,
        agreed: &Agreed,
        deadline: Deadline,
    ) -> Result<Ready, NotIssued> {
        let audience = agreed.audience(self.partners.as_ref())?;
        let today = civil_day(self.holders.clock.now());
        let under_age = holder.number.younger_than(holder.document, self.rules.subject_age_min, today);
        if agreed.purpose.is_some() && under_age == Some(true) {
            return Err(NotIssued::UnderAge);
        }
        let holder = self.holders.find(holder, deadline).await?;
        let as_of = holder.as_of;
        let e_licence = ELicence::of(&holder.record.history, as_of);
        let shown = may_be_shown(&e_licence, &holder.current, &self.rules, civil_day(as_of.moment))
            .map_err(NotIssued::NotShown)?;
        match (wallet.standing)() {
            Standing::Active => {}
            lost => return Err(NotIssued::StandingLost(lost)),
        }
        let now = Timestamp::from_second(as_of.moment.as_second()).unwrap_or(as_of.moment);
        Ok(Ready { audience, holder, shown, now })
    }

    fn subject_ref(&self, ready: &Ready, wallet: WalletCaller<'_>) -> SubjectRef {
        self.holders.pseudonyms.subject_ref(&ready.holder.record.subject, wallet.wallet)
    }
}

impl Ready {
    fn presentation(
        &self,
        id: PresentationId,
        agreed: &Agreed,
        uses_max: u16,
        lifetime: SignedDuration,
    ) -> Presentation {
        Presentation {
            id,
            number: self.holder.number,
            audience: self.audience.clone(),
            purpose: agreed.purpose,
            fields: agreed.fields,
            uses_max,
            issued_at: self.now,
            expires_at: later(self.now, lifetime),
        }
    }
}

impl ShareCodeRequest {
    /// Holds uses and lifetime to their bounds, and demands that the driver was told for whom and for what.
    fn bounds(&self) -> Result<(u16, SignedDuration), AgreementFault> {
        if self.agreed.purpose.is_none() && self.agreed.audience.is_none() {
            return invalid("purpose", "must be set: a share code is for a purpose and an audience");
        }
        let uses = self.uses.unwrap_or(SHARE_CODE_USES_DEFAULT);
        let counted = u16::try_from(uses).ok().filter(|_| SHARE_CODE_USES.contains(&uses));
        let Some(counted) = counted else { return invalid("uses", "must be 1 to 10") };
        let lifetime = self.lifetime.unwrap_or(SHARE_CODE_LIFETIME_DEFAULT);
        if !SHARE_CODE_LIFETIMES.contains(&lifetime) || lifetime.subsec_nanos() != 0 {
            return invalid("lifetime", "must be 1 h to 21 days, in whole seconds");
        }
        Ok((counted, lifetime))
    }
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;

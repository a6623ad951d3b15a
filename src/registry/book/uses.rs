//! How uses are spent.

use jiff::{SignedDuration, Timestamp};

use crate::domain::partner::PartnerId;
use crate::domain::presentation::{CLOCK_SKEW, FINISH_WITHIN, PresentationKind, QR_LIFETIME_MAX};
use crate::hashing::first_half;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::{EntryAt, QuestionDigest, Redeemed, Redemption};

/// How long the uses of a share code are kept after its end: whoever asks about an old request is told that it was spent.
const SHARE_CODE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// No document has this code, and no change of the authority: never the pseudonym of a number nor the key of a change.
const REQUEST_MARK: u8 = 0xf3;

impl RegistryKeys {
    /// Derives what a request is known by: a partner's idempotency key may say more than it should, so it is kept nowhere.
    pub(in crate::registry) fn request_key(&self, partner: &PartnerId, request_id: &str) -> [u8; 16] {
        // No partner's id holds a zero byte, so the two parts cannot be told apart in two ways.
        let parts = [&[REQUEST_MARK], partner.as_str().as_bytes(), &[0], request_id.as_bytes()];
        first_half(&self.pseudonym.mac(&parts))
    }
}

/// A use that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Use {
    /// Which, from 1.
    pub(in crate::registry) number: u16,
    /// To whom; `None`: the driver took it back.
    pub(in crate::registry) spent: Option<Spent>,
}

/// The request that spent a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Spent {
    pub(in crate::registry) request: [u8; 16],
    pub(in crate::registry) digest: QuestionDigest,
    pub(in crate::registry) at: Timestamp,
    pub(in crate::registry) place: Option<EntryAt>,
}

/// A request for a use.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry) struct Asking {
    pub(in crate::registry) request: [u8; 16],
    pub(in crate::registry) digest: QuestionDigest,
    pub(in crate::registry) uses_max: u16,
    pub(in crate::registry) may_spend: bool,
    /// It was issued before a restore: nobody knows how many of its uses were spent after the backup.
    pub(in crate::registry) is_of_old: bool,
}

impl Asking {
    /// Makes it of a redemption. Presentations issued up to `revoked_until` are of old.
    pub(in crate::registry) fn of(
        redemption: &Redemption,
        keys: &RegistryKeys,
        revoked_until: Option<Timestamp>,
    ) -> Self {
        Self {
            request: keys.request_key(&redemption.partner, &redemption.request_id),
            digest: redemption.digest,
            uses_max: redemption.uses_max,
            may_spend: redemption.may_spend,
            is_of_old: revoked_until.is_some_and(|until| redemption.issued_at <= until),
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Verdict {
    /// This use is free: spend it.
    Spend(u16),
    /// Nothing: tell this.
    Tell(Redeemed),
}

/// Judges a request by the uses that are gone.
pub(in crate::registry) fn judge(gone: &[Use], asking: &Asking) -> Verdict {
    for Use { number, spent } in gone {
        if let Some(spent) = spent.as_ref().filter(|spent| spent.request == asking.request) {
            return Verdict::Tell(if spent.digest == asking.digest {
                Redeemed::Before { use_number: *number, at: spent.at, place: spent.place.clone() }
            } else {
                Redeemed::OtherContent
            });
        }
    }
    if !asking.may_spend {
        return Verdict::Tell(Redeemed::NotBefore);
    }
    if asking.is_of_old {
        return Verdict::Tell(Redeemed::Revoked);
    }
    let free = (1..=asking.uses_max).find(|number| gone.iter().all(|gone| gone.number != *number));
    match free {
        Some(number) => Verdict::Spend(number),
        None if gone.iter().any(|gone| gone.spent.is_none()) => Verdict::Tell(Redeemed::Revoked),
        None => Verdict::Tell(Redeemed::Used),
    }
}

/// How long the use of a QR code is kept after it was spent or taken back: whatever the code said of its end, it is over by then, and
/// so is the time to finish a request.
pub(in crate::registry) const QR_USE_KEPT: SignedDuration =
    SignedDuration::from_secs(QR_LIFETIME_MAX.as_secs() + FINISH_WITHIN.as_secs() + 3 * CLOCK_SKEW.as_secs());

/// Says until when the uses of a presentation are kept.
pub(in crate::registry) fn kept_until(kind: PresentationKind, expires_at: Timestamp) -> Timestamp {
    let after = match kind {
        // Spent by a fast clock, finished by a slow one.
        PresentationKind::Qr => FINISH_WITHIN + CLOCK_SKEW * 2,
        PresentationKind::ShareCode => SHARE_CODE_KEPT,
    };
    expires_at.checked_add(after).unwrap_or(Timestamp::MAX)
}

//! A question about whoever shows a QR code or sent a share code.
//!
//! The order is the rule: what needs no store comes first, then whom the presentation is for, then what the driver agreed to, then its
//! time, and only what has passed all of it is spent, on the registry itself, right before the look-up. No refusal spends anything.
//! Whom it is not for learns that and nothing else; of a share code not even that it is one.

use jiff::SignedDuration;

use super::answer::{Answer, NoAnswer, ShownRefusal};
use super::digest::digest_content;
use super::judge::Whom;
use super::ports::{AboutToRecord, EntryAt, QrFault, QuestionDigest, Redeemed, Redemption, RequestKey};
use super::record::Decided;
use super::request::Shown;
use super::verify::{Asking, Verification};
use crate::domain::partner::Contract;
use crate::domain::policy::{AuthoriseRefusal, authorise_presentation};
use crate::domain::presentation::{NotAccepted, Presentation, ShareCode};

/// How long the answer of a redemption is given again; later its receipt holds it.
const ANSWERED_AGAIN_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// A use that is this request's.
struct Spent {
    use_number: u16,
    /// Whether an answer of this redemption is on record already.
    answered: bool,
}

impl Verification {
    /// Authorise, open, hold to audience, fields and time, count, spend, look up, decide, record, answer.
    pub(super) async fn answer_shown(&self, asking: &Asking<'_>, shown: &Shown) -> Result<Answer, NoAnswer> {
        let Asking { caller, request, question_digest, now, .. } = asking;
        let permit =
            authorise_presentation(caller.contract, &request.question, request.fields, *now, &self.rules)
                .map_err(NoAnswer::NotAuthorised)?;
        self.demand_time_for_the_floor(asking.arrived, asking.deadline)?;
        let presentation = self.open(asking, shown).await?;
        let permit = permit.agreed(presentation.fields, request.fields).map_err(NoAnswer::NotAuthorised)?;
        if !presentation.is_live(*now) && !presentation.may_be_finished(*now) {
            return Err(NoAnswer::NotShown(ShownRefusal::Expired));
        }

        let number = presentation.number;
        let scanner = self.scanner_of(&request.question);
        let content = digest_content(request, *question_digest, scanner);
        // The edge lets nothing shown in without it; were there none, every attempt would be another request.
        let id = request.request_id.as_deref().ok_or(NoAnswer::NotAuthorised(NO_REQUEST_ID))?;
        let allowance = &caller.contract.allowance;
        let key = RequestKey { id, content, answered_before: asking.before.is_some() };
        let quota = self.quotas.reserve(asking.partner(), allowance, Some(key))?;
        self.admit_question(asking, number)?;
        if let Some(scanner) = scanner {
            self.demand_e_licence(asking, scanner).await?;
        }
        let spent = self.spend(asking, &presentation, id, content).await?;

        let (fact, finding, known_true_at) = self.find(asking, &permit, number, Whom::Shown).await?;
        Self::demand_standing(asking)?;
        let decided = Decided { number, fact, finding, known_true_at };
        let text = shown.text();
        let about = AboutToRecord::Shown { by: shown.kind(), text: &text, number };
        let counts = quota.counts() && !spent.answered;
        let entry = self.record(asking, about, &decided, counts).await;
        let entry = entry.map_err(|_unavailable| NoAnswer::NoEvidence)?;
        self.demand_freshness(&decided)?;
        let charged = if spent.answered { false } else { quota.charge() };
        self.settle(&presentation, spent.use_number, &entry).await;
        self.demand_freshness(&decided)?;
        Self::demand_standing(asking)?;
        Ok(self.tell(asking, shown.kind().into(), decided, entry, charged))
    }

    /// Opens what was shown, and holds it to who asks, and for what.
    async fn open(&self, asking: &Asking<'_>, shown: &Shown) -> Result<Presentation, NoAnswer> {
        let Contract { partner, kind, .. } = asking.caller.contract;
        let purpose = asking.request.question.purpose();
        let (presentation, for_another) = match shown {
            Shown::Qr(text) => {
                let opened = self.qr_codes.read(text.expose()).map_err(|fault| {
                    NoAnswer::NotShown(match fault {
                        QrFault::Malformed => ShownRefusal::Malformed,
                        QrFault::NotGenuine => ShownRefusal::NotGenuine,
                    })
                })?;
                (Some(opened), ShownRefusal::NotForYou)
            }
            Shown::ShareCode(code) => {
                (self.find_share_code(asking, code).await?, ShownRefusal::ShareCodeNotAccepted)
            }
        };
        let accepted = match presentation {
            None => Err(NotAccepted::Audience),
            Some(presentation) => presentation.accept(partner, *kind, purpose).map(|()| presentation),
        };
        match accepted {
            Ok(presentation) => Ok(presentation),
            Err(NotAccepted::Purpose) => Err(NoAnswer::NotShown(ShownRefusal::PurposeMismatch)),
            Err(NotAccepted::Audience) => {
                if for_another == ShownRefusal::ShareCodeNotAccepted {
                    // A code nobody has and one for somebody else: the same refusal, at the same time, and both count.
                    self.guesses.missed(partner);
                    self.wait_for_floor(asking.arrived).await;
                }
                Err(NoAnswer::NotShown(for_another))
            }
        }
    }

    /// Finds what a share code was issued as, unless the partner has tried too many that were not accepted.
    async fn find_share_code(
        &self,
        asking: &Asking<'_>,
        code: &ShareCode,
    ) -> Result<Option<Presentation>, NoAnswer> {
        self.guesses
            .may_try(asking.partner())
            .map_err(|exceeded| NoAnswer::GuessesExceeded { retry_after: exceeded.retry_after })?;
        Ok(self.redemptions.share_code(self.share_codes.id(code)).await?)
    }

    /// Spends a use for this request, or finds the one it spent before. A presentation whose time is over is spent by nobody any more, but
    /// a request that had spent it may still be finished.
    async fn spend(
        &self,
        asking: &Asking<'_>,
        presentation: &Presentation,
        request_id: &str,
        content: QuestionDigest,
    ) -> Result<Spent, NoAnswer> {
        let redemption = Redemption {
            id: presentation.id,
            uses_max: presentation.uses_max,
            issued_at: presentation.issued_at,
            expires_at: presentation.expires_at,
            may_spend: presentation.is_live(asking.now),
            partner: asking.partner().clone(),
            request_id: request_id.to_owned(),
            digest: content,
            at: asking.now,
        };
        match self.redemptions.redeem(redemption).await? {
            Redeemed::Now { use_number } => Ok(Spent { use_number, answered: false }),
            Redeemed::Before { use_number, place: None, .. } => Ok(Spent { use_number, answered: false }),
            Redeemed::Before { use_number, at, place: Some(place) } => {
                if asking.now.duration_since(at) > ANSWERED_AGAIN_WITHIN {
                    return Err(NoAnswer::RequestIdSpent(place));
                }
                Ok(Spent { use_number, answered: true })
            }
            Redeemed::OtherContent => Err(NoAnswer::OtherContent),
            Redeemed::Used => Err(NoAnswer::NotShown(ShownRefusal::AlreadyUsed)),
            Redeemed::Revoked => Err(NoAnswer::NotShown(ShownRefusal::Revoked)),
            Redeemed::NotBefore => Err(NoAnswer::NotShown(ShownRefusal::Expired)),
        }
    }

    /// Notes where the answer of a redemption stands. If it cannot be noted the answer leaves all the same, and nothing is lost: the use is
    /// this request's for ever, so the worst is that a retry of the same request is answered anew instead of being shown its
    /// entry, and two entries of one request are billed once.
    async fn settle(&self, presentation: &Presentation, use_number: u16, entry: &EntryAt) {
        if self.redemptions.settle(presentation.id, use_number, entry.clone()).await.is_err() {
            tracing::warn!("where the answer of a redemption stands could not be noted");
        }
    }
}

const NO_REQUEST_ID: AuthoriseRefusal =
    AuthoriseRefusal::Invalid { field: "request_id", rule: "is required with a presentation" };

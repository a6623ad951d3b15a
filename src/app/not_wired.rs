//! Refuses whatever nobody in this process implements: nothing shown is opened, nothing is spent, no consent is kept.

use crate::domain::presentation::{Presentation, PresentationId, PresentationKind, ShareCode};
use crate::verification::ports::{
    ConsentBook, ConsentUsed, EntryAt, Later, QrFault, QrReader, Redeemed, Redemption, Redemptions,
    ShareCodeIds, Soon, StoreUnavailable,
};

/// Refuses.
pub(super) struct NotWired;

impl QrReader for NotWired {
    fn read(&self, _text: &str) -> Result<Presentation, QrFault> {
        Err(QrFault::NotGenuine)
    }
}

impl ShareCodeIds for NotWired {
    fn id(&self, _code: &ShareCode) -> PresentationId {
        PresentationId::new(PresentationKind::ShareCode, [0; 16])
    }
}

impl Redemptions for NotWired {
    fn share_code(&self, _id: PresentationId) -> Later<'_, Result<Option<Presentation>, StoreUnavailable>> {
        Box::pin(std::future::ready(Err(StoreUnavailable)))
    }

    fn redeem(&self, _redemption: Redemption) -> Later<'_, Result<Redeemed, StoreUnavailable>> {
        Box::pin(std::future::ready(Err(StoreUnavailable)))
    }

    fn settle(
        &self,
        _id: PresentationId,
        _use_number: u16,
        _place: EntryAt,
    ) -> Later<'_, Result<(), StoreUnavailable>> {
        Box::pin(std::future::ready(Err(StoreUnavailable)))
    }
}

impl ConsentBook for NotWired {
    fn note<'a>(&'a self, _used: &ConsentUsed<'_>) -> Soon<'a, Result<(), StoreUnavailable>> {
        Soon::Now(Err(StoreUnavailable))
    }
}

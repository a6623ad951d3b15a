//! Uses spent, taken back and settled; share codes kept and found.

use std::sync::Arc;

use jiff::Timestamp;
use redb::ReadableTable;

use super::tables::{CODES, Tables, use_key, uses_of};
use crate::domain::presentation::{Presentation, PresentationId, PresentationKind};
use crate::domain::subject::SubjectId;
use crate::issuing::ports::{PresentationBook, Revocation, RevokedUses};
use crate::registry::book::{
    Asking, Spent, UNREADABLE, Use, Verdict, judge, kept_until, open_share_code, seal_share_code,
};
use crate::registry::embedded::EmbeddedRegistry;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::{
    EntryAt, Later, QuestionDigest, Redeemed, Redemption, Redemptions, StoreUnavailable,
};

const SPENT: u8 = 1;
const REVOKED: u8 = 2;
/// The bytes of a moment.
const MOMENT: usize = 8;

impl Redemptions for EmbeddedRegistry {
    fn share_code(&self, id: PresentationId) -> Later<'_, Result<Option<Presentation>, StoreUnavailable>> {
        let keys = Arc::clone(&self.book.keys);
        self.book.read(move |reading| {
            let codes = reading.open_table(CODES).trying_to("read")?;
            Ok(issued(&codes, &keys, id)?.map(|(_, presentation)| presentation))
        })
    }

    fn redeem(&self, redemption: Redemption) -> Later<'_, Result<Redeemed, StoreUnavailable>> {
        let asking = Asking::of(&redemption, &self.book.keys, self.book.revoked_until);
        self.book.change(move |tables| tables.redeem(&redemption, &asking))
    }

    fn settle(
        &self,
        id: PresentationId,
        use_number: u16,
        place: EntryAt,
    ) -> Later<'_, Result<(), StoreUnavailable>> {
        let noted = self.book.note(move |tables| tables.settle(id, use_number, place));
        Box::pin(std::future::ready(noted))
    }
}

impl PresentationBook for EmbeddedRegistry {
    fn keep(
        &self,
        presentation: Presentation,
        subject: SubjectId,
    ) -> Later<'_, Result<bool, StoreUnavailable>> {
        let sealed = seal_share_code(&self.book.keys, subject, &presentation);
        self.book.change(move |tables| {
            let (sealed, id) = (sealed?, presentation.id);
            if tables.codes.get(id.as_bytes()).trying_to("read")?.is_some() {
                return Ok((false, false));
            }
            tables.codes.put(&mut tables.changes, id.as_bytes(), &sealed)?;
            tables.end(id, kept_until(id.kind(), presentation.expires_at), presentation.issued_at)?;
            Ok((true, true))
        })
    }

    fn revoke(&self, revocation: Revocation) -> Later<'_, Result<Option<RevokedUses>, StoreUnavailable>> {
        let keys = Arc::clone(&self.book.keys);
        self.book.change(move |tables| tables.revoke(&revocation, &keys))
    }
}

impl Tables<'_> {
    fn redeem(
        &mut self,
        redemption: &Redemption,
        asking: &Asking,
    ) -> Result<(Redeemed, bool), RegistryError> {
        let gone = self.gone(redemption.id)?;
        let number = match judge(&gone, asking) {
            Verdict::Tell(told) => return Ok((told, false)),
            Verdict::Spend(number) => number,
        };
        let spent = Spent { request: asking.request, digest: asking.digest, at: redemption.at, place: None };
        let row = spent_row(&spent);
        self.uses.put(&mut self.changes, &use_key(redemption.id, number), &row)?;
        self.added(redemption.at);
        Ok((Redeemed::Now { use_number: number }, true))
    }

    fn revoke(
        &mut self,
        revocation: &Revocation,
        keys: &RegistryKeys,
    ) -> Result<(Option<RevokedUses>, bool), RegistryError> {
        let id = revocation.id;
        let uses_max = match id.kind() {
            PresentationKind::Qr => 1,
            PresentationKind::ShareCode => match issued(&*self.codes, keys, id)? {
                Some((subject, code)) if subject == revocation.subject => code.uses_max,
                _ => return Ok((None, false)),
            },
        };
        let gone = self.gone(id)?;
        let mut uses = RevokedUses { revoked: 0, spent: 0 };
        let mut is_changed = false;
        for number in 1..=uses_max {
            match gone.iter().find(|gone| gone.number == number) {
                Some(Use { spent: Some(_), .. }) => uses.spent += 1,
                known => {
                    uses.revoked += 1;
                    if known.is_none() {
                        let row = revoked_row(revocation.at);
                        self.uses.put(&mut self.changes, &use_key(id, number), &row)?;
                        is_changed = true;
                    }
                }
            }
        }
        self.added(revocation.at);
        Ok((Some(uses), is_changed))
    }

    fn settle(&mut self, id: PresentationId, number: u16, place: EntryAt) -> Result<bool, RegistryError> {
        let key = use_key(id, number);
        let found = self.uses.get(&key).trying_to("read")?.map(|row| use_of(number, row.value()));
        let Some(Use { spent: Some(spent @ Spent { place: None, .. }), .. }) = found.transpose()? else {
            return Ok(false);
        };
        let row = spent_row(&Spent { place: Some(place), ..spent });
        self.uses.put(&mut self.changes, &key, &row)?;
        Ok(true)
    }

    /// Reads the uses that are gone, in order.
    fn gone(&self, id: PresentationId) -> Result<Vec<Use>, RegistryError> {
        let (first, last) = uses_of(id);
        let mut gone = Vec::new();
        for row in self.uses.range::<&[u8; 18]>(&first..=&last).trying_to("read")? {
            let (key, row) = row.trying_to("read")?;
            let [.., high, low] = *key.value();
            gone.push(use_of(u16::from_be_bytes([high, low]), row.value())?);
        }
        Ok(gone)
    }
}

/// Finds what a share code was issued as, and whose it is.
fn issued(
    codes: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    keys: &RegistryKeys,
    id: PresentationId,
) -> Result<Option<(SubjectId, Presentation)>, RegistryError> {
    let found = codes.get(id.as_bytes()).trying_to("read")?;
    found.map(|sealed| open_share_code(keys, id, sealed.value())).transpose()
}

fn revoked_row(at: Timestamp) -> Vec<u8> {
    let mut row = vec![REVOKED];
    row.extend_from_slice(&at.as_microsecond().to_be_bytes());
    row
}

fn spent_row(spent: &Spent) -> Vec<u8> {
    let mut row = Vec::with_capacity(41 + spent.place.as_ref().map_or(0, |place| 8 + place.origin.len()));
    row.push(SPENT);
    row.extend_from_slice(&spent.request);
    row.extend_from_slice(&spent.digest.0);
    row.extend_from_slice(&spent.at.as_microsecond().to_be_bytes());
    if let Some(place) = &spent.place {
        row.extend_from_slice(&place.index.to_be_bytes());
        row.extend_from_slice(place.origin.as_bytes());
    }
    row
}

pub(in crate::registry::embedded) fn use_of(number: u16, row: &[u8]) -> Result<Use, RegistryError> {
    let (kind, row) = row.split_first().ok_or(UNREADABLE)?;
    match *kind {
        // Without a moment as books of format 1 have it.
        REVOKED if row.is_empty() || row.len() == MOMENT => Ok(Use { number, spent: None }),
        SPENT => Ok(Use { number, spent: Some(spent_of(row).ok_or(UNREADABLE)?) }),
        _ => Err(UNREADABLE),
    }
}

/// Returns when a use was spent or taken back; `None` for a row that does not tell.
pub(super) fn noted_at(row: &[u8]) -> Option<Timestamp> {
    let (kind, row) = row.split_first()?;
    let moment = match *kind {
        SPENT => row.get(16 + 16..)?,
        REVOKED => row,
        _ => return None,
    };
    Timestamp::from_microsecond(i64::from_be_bytes(*moment.first_chunk::<MOMENT>()?)).ok()
}

fn spent_of(row: &[u8]) -> Option<Spent> {
    let (request, row) = row.split_first_chunk::<16>()?;
    let (digest, row) = row.split_first_chunk::<16>()?;
    let (at, row) = row.split_first_chunk::<8>()?;
    let place = match row.split_first_chunk::<8>() {
        None if row.is_empty() => None,
        None => return None,
        Some((index, origin)) => Some(EntryAt {
            origin: std::str::from_utf8(origin).ok()?.into(),
            index: u64::from_be_bytes(*index),
        }),
    };
    let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
    Some(Spent { request: *request, digest: QuestionDigest(*digest), at, place })
}

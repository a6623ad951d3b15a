//! What waits, as it is listed: counted, due, and for the operator. Without locks: whoever acts on it reads anew.

use jiff::Timestamp;
use sqlx::{PgConnection, Row as _};
use zeroize::Zeroizing;

use super::rows::{kind_of, owner_of, partition_of};
use crate::intake::ports::{Handle, QuarantineEntry, SubjectState, WaitingCounts};
use crate::registry::embedded::RegistryError;
use crate::registry::embedded::intake::entry_of;
use crate::registry::embedded::intake::state::{Owner, bytes_of, open_state};
use crate::registry::postgres::connection::Trying as _;
use crate::registry::postgres::store::Shared;

/// States opened between two round trips.
const PAGE: i64 = 500;

const COUNT: &str = "SELECT coalesce(sum(held), 0)::bigint, coalesce(sum(quarantined), 0)::bigint, min(held_until_ms) \
     FROM intake_state WHERE held > 0 OR quarantined > 0";
// Due is also what waits for a number that somebody has by now: a program that knows nothing of this may have written the record.
const DUE: &str = "SELECT state.kind, state.owner FROM intake_state AS state \
     WHERE (state.held > 0 OR state.quarantined > 0) AND (state.partition, state.kind, state.owner) > ($2, $3, $4) \
     AND (state.held_until_ms <= $1 OR (state.kind = 1 AND EXISTS (SELECT 1 FROM number \
     WHERE number.partition = state.partition AND number.pseudonym = state.owner))) \
     ORDER BY state.partition, state.kind, state.owner LIMIT $5";
const WAITING: &str = "SELECT kind, owner, sealed FROM intake_state WHERE (held > 0 OR quarantined > 0) \
     AND (partition, kind, owner) > ($1, $2, $3) ORDER BY partition, kind, owner LIMIT $4";

/// Where a page begins: after an owner, or at the first.
fn bounds(shared: &Shared, after: Option<&Owner>) -> (i16, i16, Vec<u8>) {
    after.map_or((-1, 0, Vec::new()), |owner| {
        (partition_of(shared.layout, owner), kind_of(owner), bytes_of(owner).to_vec())
    })
}

impl Shared {
    pub(super) async fn count_waiting(&self) -> Result<WaitingCounts, RegistryError> {
        let row = sqlx::query(COUNT).fetch_one(&self.writers).await.trying_to("read")?;
        let until: Option<i64> = row.try_get(2).trying_to("read")?;
        Ok(WaitingCounts {
            held: row.try_get::<i64, _>(0).trying_to("read")?.cast_unsigned(),
            quarantined: row.try_get::<i64, _>(1).trying_to("read")?.cast_unsigned(),
            held_until: until.and_then(|until| Timestamp::from_millisecond(until).ok()),
        })
    }

    /// Lists some of those that are to be looked at by a moment, after one of them.
    pub(super) async fn due(
        &self,
        now: Timestamp,
        after: Option<&Owner>,
    ) -> Result<Vec<Owner>, RegistryError> {
        let (partition, kind, owner) = bounds(self, after);
        let query = sqlx::query(DUE).bind(now.as_millisecond()).bind(partition).bind(kind).bind(owner);
        let rows = query.bind(PAGE).fetch_all(&self.writers).await.trying_to("read")?;
        let owner = |row: &sqlx::postgres::PgRow| {
            owner_of(row.try_get(0).trying_to("read")?, row.try_get(1).trying_to("read")?)
        };
        rows.iter().map(owner).collect()
    }

    pub(super) async fn list_waiting(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Result<Vec<QuarantineEntry>, RegistryError> {
        let mut listing = Listing { after, count_max, ..Listing::default() };
        self.each_waiting(|owner, state| listing.note(owner, state)).await?;
        Ok(listing.finish())
    }

    /// Finds whose change waits under a handle.
    pub(super) async fn owner_of_waiting(&self, handle: Handle) -> Result<Option<Owner>, RegistryError> {
        let mut found = None;
        self.each_waiting(|owner, state| {
            let is_here = state.waiting().any(|waiting| waiting.digest.handle() == handle);
            found = is_here.then_some(owner);
            is_here
        })
        .await?;
        Ok(found)
    }

    /// Opens the states of everybody for whom something waits, from one snapshot, until `is_enough` says so.
    async fn each_waiting(
        &self,
        mut is_enough: impl FnMut(Owner, &SubjectState) -> bool,
    ) -> Result<(), RegistryError> {
        let snapshot = self.writers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let mut snapshot = snapshot.await.trying_to("read")?;
        let mut after = None;
        loop {
            let page = self.page(&mut snapshot, after.as_ref()).await?;
            for (owner, state) in &page {
                if is_enough(*owner, state) {
                    return Ok(());
                }
            }
            after = page.last().map(|(owner, _)| *owner);
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(
        &self,
        snapshot: &mut PgConnection,
        after: Option<&Owner>,
    ) -> Result<Vec<(Owner, SubjectState)>, RegistryError> {
        let (partition, kind, owner) = bounds(self, after);
        let query = sqlx::query(WAITING).bind(partition).bind(kind).bind(owner).bind(PAGE);
        let mut scratch = Zeroizing::default();
        let mut page = Vec::new();
        for row in query.fetch_all(snapshot).await.trying_to("read")? {
            let owner = owner_of(row.try_get(0).trying_to("read")?, row.try_get(1).trying_to("read")?)?;
            let sealed = row.try_get(2).trying_to("read")?;
            page.push((owner, open_state(&self.keys.sealing, owner, sealed, &mut scratch)?));
        }
        Ok(page)
    }
}

/// A part of what waits, after an entry. One that was settled meanwhile begins the list anew: better twice than not at all.
#[derive(Default)]
struct Listing {
    after: Option<Handle>,
    count_max: usize,
    is_found: bool,
    first: Vec<QuarantineEntry>,
    following: Vec<QuarantineEntry>,
}

impl Listing {
    /// Takes entries; says when there are enough.
    fn note(&mut self, owner: Owner, state: &SubjectState) -> bool {
        for waiting in state.waiting() {
            let entry = entry_of(owner, state, waiting);
            let is_it = Some(entry.handle) == self.after;
            let part = if self.is_found { &mut self.following } else { &mut self.first };
            if part.len() < self.count_max {
                part.push(entry);
            }
            self.is_found |= is_it;
        }
        let part = if self.after.is_some() { &self.following } else { &self.first };
        part.len() >= self.count_max
    }

    fn finish(self) -> Vec<QuarantineEntry> {
        if self.is_found { self.following } else { self.first }
    }
}

//! Uses spent, taken back and settled; share codes kept and found.
//!
//! A use is one row with the key (token, use), put in by one conditional statement on the primary, durable when it is answered. Where it is
//! there already, the rows tell whose it is. An answer that is lost on the way costs nothing: asking again finds the row.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::line::token_of;
use super::try_on_book;
use crate::domain::presentation::{Presentation, PresentationId, PresentationKind};
use crate::domain::subject::SubjectId;
use crate::issuing::ports::{PresentationBook, Revocation, RevokedUses};
use crate::registry::book::{
    Asking, Spent, UNREADABLE, Use, Verdict, judge, kept_until, open_share_code, seal_share_code,
};
use crate::registry::embedded::{RegistryError, StoreError};
use crate::registry::postgres::store::{PostgresRegistry, Shared};
use crate::registry::postgres::writing::Trouble;
use crate::verification::ports::{
    EntryAt, Later, QuestionDigest, Redeemed, Redemption, Redemptions, StoreUnavailable,
};

const SPEND: &str = "INSERT INTO redemption (token, use_number, partner, request_id, request_digest, redeemed_at, at_us, ends_us) \
     SELECT a.token, a.use_number, a.partner, a.request, a.digest, now(), a.at_us, a.ends_us FROM ( \
         SELECT w.*, (SELECT coalesce(max(r.use_number), 0) + 1 FROM redemption r WHERE r.token = w.token) AS use_number \
         FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::int[], $8::bigint[]) \
             AS w (token, partner, request, digest, at_us, ends_us, uses_max, issued_us)) a \
     WHERE a.use_number <= a.uses_max \
         AND NOT EXISTS (SELECT 1 FROM registry g WHERE g.revoked_until_us >= a.issued_us) \
     ORDER BY a.token \
     ON CONFLICT DO NOTHING \
     RETURNING token, use_number, request_id, request_digest";
const GONE: &str = "SELECT token, use_number, revoked, request_id, request_digest, at_us, origin, entry_index \
     FROM redemption WHERE token = ANY($1) ORDER BY token, use_number";
const REVOKED_UNTIL: &str = "SELECT revoked_until_us FROM registry";
const SETTLE: &str = "UPDATE redemption SET origin = $3, entry_index = $4 \
     WHERE token = $1 AND use_number = $2 AND NOT revoked AND origin IS NULL";
const KEEP: &str = "INSERT INTO presentation \
     (token, partition, subject, kind, terms, uses_max, issued_at, expires_at, ends_us) \
     VALUES ($1, $2, $3, 'share-code', $4, $5, to_timestamp($6), to_timestamp($7), $8) ON CONFLICT (token) DO NOTHING";
const ISSUED: &str = "SELECT terms FROM presentation WHERE token = $1";
const REVOKE: &str = "INSERT INTO redemption (token, use_number, revoked, redeemed_at, at_us, ends_us) \
     SELECT $1, number, true, now(), $3, $4 FROM generate_series(1, $2::int) AS number ORDER BY number ON CONFLICT DO NOTHING";
/// Over by the server's clock, too: a replica whose own is far ahead must not take away what others still go by.
const SWEEP: [&str; 2] = [
    "DELETE FROM redemption WHERE (token, use_number) IN (SELECT token, use_number FROM redemption \
     WHERE ends_us < LEAST($1, (extract(epoch FROM now()) * 1000000)::bigint) ORDER BY ends_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM presentation WHERE token IN (SELECT token FROM presentation \
     WHERE ends_us < LEAST($1, (extract(epoch FROM now()) * 1000000)::bigint) ORDER BY ends_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
];
/// Rows swept in one transaction.
const SWEEP_ROWS: i64 = 500;
/// Pieces swept at a time: more than was added since the last time.
const SWEEP_PIECES: usize = 5;
/// How often a use that was free is asked for, while others take it.
const TRIES: usize = 32;

impl Redemptions for PostgresRegistry {
    fn share_code(&self, id: PresentationId) -> Later<'_, Result<Option<Presentation>, StoreUnavailable>> {
        self.ask_book(async move |shared| Ok(shared.issued(id).await?.map(|(_, presentation)| presentation)))
    }

    fn redeem(&self, redemption: Redemption) -> Later<'_, Result<Redeemed, StoreUnavailable>> {
        let told = self.shared.desk.ask(redemption);
        Box::pin(async move {
            // Whoever waits is told why in the log, once for all of them.
            told.ok_or(StoreUnavailable)?.await.ok().and_then(Result::ok).ok_or(StoreUnavailable)
        })
    }

    fn settle(
        &self,
        id: PresentationId,
        use_number: u16,
        place: EntryAt,
    ) -> Later<'_, Result<(), StoreUnavailable>> {
        self.ask_book(async move |shared| {
            let index = i64::try_from(place.index).map_err(|_| RegistryError::Damaged("a place in a log"))?;
            try_on_book!(&shared, connection => {
                sqlx::query(SETTLE)
                    .bind(token_of(&id))
                    .bind(number_of(use_number)?)
                    .bind(&*place.origin)
                    .bind(index)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
    }
}

impl PresentationBook for PostgresRegistry {
    fn keep(
        &self,
        presentation: Presentation,
        subject: SubjectId,
    ) -> Later<'_, Result<bool, StoreUnavailable>> {
        self.ask_book(async move |shared| {
            let sealed = seal_share_code(&shared.keys, subject, &presentation)?;
            let partition = shared.layout.of_subject(&subject).cast_signed();
            let ends = kept_until(presentation.id.kind(), presentation.expires_at).as_microsecond();
            try_on_book!(&shared, connection => {
                let kept = sqlx::query(KEEP)
                    .bind(token_of(&presentation.id))
                    .bind(partition)
                    .bind(&subject.as_bytes()[..])
                    .bind(&sealed)
                    .bind(number_of(presentation.uses_max)?)
                    .bind(seconds(presentation.issued_at))
                    .bind(seconds(presentation.expires_at))
                    .bind(ends)
                    .execute(connection)
                    .await?;
                Ok(kept.rows_affected() == 1)
            })
        })
    }

    fn revoke(&self, revocation: Revocation) -> Later<'_, Result<Option<RevokedUses>, StoreUnavailable>> {
        self.ask_book(async move |shared| shared.revoke(revocation).await)
    }
}

impl Shared {
    /// Spends uses for redemptions that are sorted by their ids.
    pub(super) async fn redeem_together(
        &self,
        redemptions: &[Redemption],
    ) -> Result<Vec<Redeemed>, RegistryError> {
        let askings: Vec<_> =
            redemptions.iter().map(|redemption| Asking::of(redemption, &self.keys, None)).collect();
        try_on_book!(self, connection => redeem_together(connection, redemptions, &askings).await)
    }

    async fn issued(&self, id: PresentationId) -> Result<Option<(SubjectId, Presentation)>, RegistryError> {
        let sealed: Option<Vec<u8>> = try_on_book!(self, connection => {
            let asked = sqlx::query_scalar(ISSUED).bind(token_of(&id));
            Ok(asked.fetch_optional(connection).await?)
        })?;
        sealed.map(|sealed| open_share_code(&self.keys, id, &sealed)).transpose()
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Option<RevokedUses>, RegistryError> {
        let id = revocation.id;
        let (uses_max, ends_at) = match id.kind() {
            PresentationKind::Qr => (1, revocation.qr_ends_at),
            PresentationKind::ShareCode => match self.issued(id).await? {
                Some((subject, code)) if subject == revocation.subject => (code.uses_max, code.expires_at),
                _ => return Ok(None),
            },
        };
        let ends = kept_until(id.kind(), ends_at).as_microsecond();
        let gone = try_on_book!(self, connection => {
            let revoking = sqlx::query(REVOKE)
                .bind(token_of(&id))
                .bind(i32::from(uses_max))
                .bind(revocation.at.as_microsecond())
                .bind(ends);
            revoking.execute(&mut *connection).await?;
            Ok(gone(connection, &[token_of(&id)]).await?.remove(&id).unwrap_or_default())
        })?;
        let count = |is_spent: bool| gone.iter().filter(|gone| gone.spent.is_some() == is_spent).count();
        let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Ok(Some(RevokedUses { revoked: narrow(count(false)), spent: narrow(count(true)) }))
    }

    /// Removes a bounded piece of what is over.
    pub(super) async fn sweep(&self, now: Timestamp) -> Result<(), RegistryError> {
        // As the embedded book does: by whole seconds.
        let before = now.as_second().saturating_mul(1_000_000);
        for statement in SWEEP {
            for _ in 0..SWEEP_PIECES {
                let swept = try_on_book!(self, connection => {
                    let sweeping = sqlx::query(statement).bind(before).bind(SWEEP_ROWS);
                    Ok(sweeping.execute(connection).await?.rows_affected())
                })?;
                if swept.cast_signed() < SWEEP_ROWS {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// One round trip where every use is free or none is asked for; where some are gone, three and again.
async fn redeem_together(
    connection: &mut PgConnection,
    redemptions: &[Redemption],
    askings: &[Asking],
) -> Result<Vec<Redeemed>, Trouble> {
    let mut told: Vec<Option<Redeemed>> = vec![None; redemptions.len()];
    for _ in 0..TRIES {
        let open: Vec<usize> = (0..told.len()).filter(|place| told[*place].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let mut spent = spend(connection, &open, redemptions, askings).await?;
        for place in &open {
            let asking = &askings[*place];
            let key = (redemptions[*place].id, asking.request, asking.digest);
            // Of twins the first has it; the others are told so.
            told[*place] = spent.remove(&key).map(|use_number| Redeemed::Now { use_number });
        }
        let lost: Vec<usize> = open.into_iter().filter(|place| told[*place].is_none()).collect();
        if lost.is_empty() {
            break;
        }
        let tokens: Vec<&[u8]> = lost.iter().map(|place| token_of(&redemptions[*place].id)).collect();
        let until: Option<i64> = sqlx::query_scalar(REVOKED_UNTIL).fetch_one(&mut *connection).await?;
        let gone = gone(connection, &tokens).await?;
        for place in lost {
            let redemption = &redemptions[place];
            let is_of_old = until.is_some_and(|until| redemption.issued_at.as_microsecond() <= until);
            let gone = gone.get(&redemption.id).map_or(&[][..], Vec::as_slice);
            told[place] = match judge(gone, &Asking { is_of_old, ..askings[place] }) {
                Verdict::Tell(told) => Some(told),
                // Another took the use that was meant; this one is free.
                Verdict::Spend(_) => None,
            };
        }
    }
    let told: Option<Vec<Redeemed>> = told.into_iter().collect();
    told.ok_or(Trouble::Registry(RegistryError::Damaged("the uses of a presentation")))
}

type Key = (PresentationId, [u8; 16], QuestionDigest);

/// Puts in the next use of each that may spend one; returns those that were put in.
async fn spend(
    connection: &mut PgConnection,
    open: &[usize],
    redemptions: &[Redemption],
    askings: &[Asking],
) -> Result<HashMap<Key, u16>, Trouble> {
    let spending: Vec<(&Redemption, &Asking)> = open
        .iter()
        .map(|place| (&redemptions[*place], &askings[*place]))
        .filter(|(redemption, _)| redemption.may_spend)
        .collect();
    if spending.is_empty() {
        return Ok(HashMap::new());
    }
    let of = |what: fn(&Redemption) -> i64| -> Vec<i64> {
        spending.iter().map(|(redemption, _)| what(redemption)).collect()
    };
    let rows = sqlx::query(SPEND)
        .bind(spending.iter().map(|(redemption, _)| token_of(&redemption.id)).collect::<Vec<_>>())
        .bind(spending.iter().map(|(redemption, _)| redemption.partner.as_str()).collect::<Vec<_>>())
        .bind(spending.iter().map(|(_, asking)| hex(&asking.request)).collect::<Vec<_>>())
        .bind(spending.iter().map(|(_, asking)| &asking.digest.0[..]).collect::<Vec<_>>())
        .bind(of(|redemption| redemption.at.as_microsecond()))
        .bind(of(|redemption| kept_until(redemption.id.kind(), redemption.expires_at).as_microsecond()))
        .bind(spending.iter().map(|(_, asking)| i32::from(asking.uses_max)).collect::<Vec<_>>())
        .bind(of(|redemption| redemption.issued_at.as_microsecond()))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let request = unhex(row.try_get(2)?).ok_or(UNREADABLE)?;
            let digest = QuestionDigest(sixteen(row.try_get(3)?)?);
            Ok(((id_of(row)?, request, digest), use_number(row)?))
        })
        .collect()
}

/// Reads the uses that are gone, in order.
async fn gone(
    connection: &mut PgConnection,
    tokens: &[&[u8]],
) -> Result<HashMap<PresentationId, Vec<Use>>, Trouble> {
    let rows = sqlx::query(GONE).bind(tokens).fetch_all(connection).await?;
    let mut gone: HashMap<_, Vec<_>> = HashMap::new();
    for row in &rows {
        gone.entry(id_of(row)?).or_default().push(use_of(row)?);
    }
    Ok(gone)
}

fn use_of(row: &PgRow) -> Result<Use, Trouble> {
    let number = use_number(row)?;
    if row.try_get(2)? {
        return Ok(Use { number, spent: None });
    }
    let at: Option<i64> = row.try_get(5)?;
    let place = match (row.try_get::<Option<&str>, _>(6)?, row.try_get::<Option<i64>, _>(7)?) {
        (Some(origin), Some(index)) => {
            Some(EntryAt { origin: origin.into(), index: u64::try_from(index).map_err(|_| UNREADABLE)? })
        }
        _ => None,
    };
    let spent = Spent {
        request: unhex(row.try_get(3)?).ok_or(UNREADABLE)?,
        digest: QuestionDigest(sixteen(row.try_get(4)?)?),
        at: at.and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or(UNREADABLE)?,
        place,
    };
    Ok(Use { number, spent: Some(spent) })
}

fn id_of(row: &PgRow) -> Result<PresentationId, Trouble> {
    Ok(PresentationId::from_bytes(sixteen(row.try_get(0)?)?))
}

fn use_number(row: &PgRow) -> Result<u16, Trouble> {
    u16::try_from(row.try_get::<i16, _>(1)?).map_err(|_| UNREADABLE.into())
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], RegistryError> {
    bytes.try_into().map_err(|_| UNREADABLE)
}

fn number_of(number: u16) -> Result<i16, RegistryError> {
    i16::try_from(number)
        .map_err(|error| RegistryError::Store { action: "write", source: StoreError::new(error) })
}

#[allow(clippy::cast_precision_loss, reason = "whole seconds of this millennium are exact")]
fn seconds(moment: Timestamp) -> f64 {
    moment.as_second() as f64
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    Some(number.to_be_bytes())
}

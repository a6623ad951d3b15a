//! Consents and objections as a wallet sees them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::ports::*;
use super::testing::{FakeRegistry, NO_HURRY, SetClock, holder, holders, record};
use super::*;
use crate::domain::claim::ConsentEvidence;
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::{Stops, StopsFull};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::question::Purpose;
use crate::domain::subject::SubjectId;
use crate::hashing::MacKey;
use crate::verification::ports::{EntryAt, EvidenceUnavailable, Later, StoreUnavailable};

/// A book that notes consents alone, and a log.
#[derive(Default)]
struct Fake {
    consents: Mutex<Vec<ConsentOnBook>>,
    deeds: Mutex<Vec<String>>,
    is_full: AtomicBool,
    is_away: AtomicBool,
    log_is_closed: AtomicBool,
}

fn now<T: Send + 'static>(answer: T) -> Later<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl Fake {
    fn fault(&self) -> Result<(), StopFault> {
        match (self.is_away.load(Ordering::Relaxed), self.is_full.load(Ordering::Relaxed)) {
            (true, _) => Err(StoreUnavailable.into()),
            (_, true) => Err(StopsFull.into()),
            _ => Ok(()),
        }
    }
}

impl DriverConsents for Fake {
    fn list(
        &self,
        subject: SubjectId,
        before: Option<ConsentPlace>,
        limit: usize,
    ) -> Later<'_, Result<Vec<ConsentOnBook>, StoreUnavailable>> {
        assert_eq!(subject.as_bytes(), &[1; 16]);
        if self.is_away.load(Ordering::Relaxed) {
            return now(Err(StoreUnavailable));
        }
        let place = |one: &ConsentOnBook| ConsentPlace { first_used_at: one.first_used_at, id: one.id };
        let mut consents = self.consents.lock().unwrap().clone();
        consents.retain(|one| before.is_none_or(|before| place(one) < before));
        consents.sort_by_key(|one| std::cmp::Reverse(place(one)));
        consents.truncate(limit);
        now(Ok(consents))
    }

    fn withdraw(
        &self,
        _: SubjectId,
        consent: ConsentId,
        at: Timestamp,
    ) -> Later<'_, Result<Option<Timestamp>, StopFault>> {
        let mut consents = self.consents.lock().unwrap();
        let known = consents.iter_mut().find(|one| one.id == consent);
        now(self.fault().map(|()| known.map(|known| *known.withdrawn_at.get_or_insert(at))))
    }

    fn object(
        &self,
        _: SubjectId,
        _: PartnerId,
        _: Purpose,
        at: Timestamp,
    ) -> Later<'_, Result<Timestamp, StopFault>> {
        now(self.fault().map(|()| at))
    }
}

impl DeedLog for Fake {
    fn record_deed(&self, deed: &DeedToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        if self.log_is_closed.load(Ordering::Relaxed) {
            return now(Err(EvidenceUnavailable));
        }
        let what = match deed.deed {
            Deed::Withdrawal(consent) => format!("{} withdraws {}", deed.wallet, consent.0[0]),
            Deed::Objection { against, purpose } => format!("{} objects {against} {purpose}", deed.wallet),
        };
        self.deeds.lock().unwrap().push(what);
        now(Ok(EntryAt { origin: "gw".into(), index: 0 }))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn consent(id: u8, first_used: i64, obtained: i64) -> ConsentOnBook {
    ConsentOnBook {
        id: ConsentId([id; 16]),
        partner: "rental-demo".parse().unwrap(),
        purpose: Purpose::Rental,
        fields: FieldSet::EMPTY,
        evidence: ConsentEvidence {
            obtained_at: at(obtained),
            expires_at: at(10_000),
            notice_version: "n-1".into(),
            evidence_sha256: [id; 32],
        },
        case_category: "checkout".into(),
        first_used_at: at(first_used),
        withdrawn_at: None,
    }
}

struct World {
    fake: Arc<Fake>,
    registry: Arc<FakeRegistry>,
    consents: Consents,
    wallet: PartnerId,
}

impl World {
    fn new(stops: Stops) -> Self {
        let (fake, registry) = (Arc::<Fake>::default(), Arc::<FakeRegistry>::default());
        let clock = Arc::new(SetClock(500.into()));
        let mut held = record(1, &[holder(101)], Vec::new());
        held.stops = stops;
        registry.put(held);
        let consents = Consents {
            holders: holders(&registry, &clock),
            book: Arc::clone(&fake) as _,
            deeds: Arc::clone(&fake) as _,
            tokens: ListTokens::new(MacKey::new(&[1; 32])),
            clock,
        };
        Self { fake, registry, consents, wallet: "wallet".parse().unwrap() }
    }

    fn caller(&self) -> WalletCaller<'_> {
        WalletCaller { wallet: &self.wallet, standing: &|| Standing::Active }
    }

    async fn list(&self, size: usize, token: Option<&[u8]>) -> Result<ConsentPage, NotDone> {
        self.consents.list(self.caller(), &holder(101), Page { size, token }, NO_HURRY).await
    }

    async fn withdraw(&self, tail: u32, id: u8) -> Result<Timestamp, NotDone> {
        self.consents.withdraw(self.caller(), &holder(tail), ConsentId([id; 16]), NO_HURRY).await
    }
}

#[tokio::test]
async fn consents_come_page_by_page_with_what_stopped_them() {
    let mut stops = Stops::default();
    let rental: PartnerId = "rental-demo".parse().unwrap();
    stops.object("other".parse().unwrap(), Purpose::Rental, at(100)).unwrap();
    stops.object(rental.clone(), Purpose::Rental, at(200)).unwrap();
    stops.withdraw(rental.clone(), Purpose::Rental, at(300)).unwrap();
    let world = World::new(stops);
    // Obtained before both stops, between them, after both.
    *world.fake.consents.lock().unwrap() =
        vec![consent(1, 10, 150), consent(2, 10, 250), consent(3, 20, 350)];
    let first = world.list(2, None).await.unwrap();
    let ids = |page: &ConsentPage| page.consents.iter().map(|one| one.id.0[0]).collect::<Vec<_>>();
    assert_eq!(ids(&first), [3, 2]);
    let objected: Vec<_> =
        first.objections.iter().map(|one| (one.partner.as_str(), one.objected_at)).collect();
    assert_eq!(objected, [("rental-demo", at(200)), ("other", at(100))]);
    let second = world.list(2, first.next.as_deref()).await.unwrap();
    assert_eq!((ids(&second), second.next), (vec![1], None));
    assert!(second.objections.is_empty(), "they are on the first page");
    let stopped = first.consents.iter().chain(&second.consents).map(|one| one.withdrawn_at);
    assert_eq!(stopped.collect::<Vec<_>>(), [None, Some(at(300)), Some(at(200))]);
    assert_eq!(world.list(2, Some(b"no token of ours, surely")).await, Err(NotDone::PageTokenNotKnown));
}

#[tokio::test]
async fn a_withdrawal_and_an_objection_are_on_record_and_may_be_repeated() {
    let world = World::new(Stops::default());
    *world.fake.consents.lock().unwrap() = vec![consent(7, 10, 10)];
    assert_eq!(world.withdraw(101, 7).await, Ok(at(500)));
    assert_eq!(world.withdraw(101, 7).await, Ok(at(500)));
    let against = "recruiter-demo".parse().unwrap();
    let object = async || {
        let (caller, driver) = (world.caller(), holder(101));
        world.consents.object(caller, &driver, &against, Purpose::Recruitment, NO_HURRY).await
    };
    assert_eq!(object().await, Ok(at(500)));
    let deeds = world.fake.deeds.lock().unwrap().clone();
    assert_eq!(
        deeds,
        ["wallet withdraws 7", "wallet withdraws 7", "wallet objects recruiter-demo recruitment"]
    );
    assert_eq!(world.withdraw(101, 8).await, Err(NotDone::ConsentNotKnown));
    assert_eq!(world.withdraw(102, 7).await, Err(NotDone::HolderNotKnown));
    world.fake.is_full.store(true, Ordering::Relaxed);
    assert_eq!(object().await, Err(NotDone::StopsFull));
    world.fake.is_away.store(true, Ordering::Relaxed);
    assert_eq!(object().await, Err(NotDone::NoStore));
    assert_eq!(world.list(1, None).await, Err(NotDone::NoStore));
    world.registry.is_away.store(true, Ordering::Relaxed);
    assert!(matches!(world.withdraw(101, 7).await, Err(NotDone::NoFacts(_))));
    assert_eq!(world.fake.deeds.lock().unwrap().len(), 3, "what was not done is not on record");
}

/// A log that cannot be written does not keep a consent in force.
#[tokio::test]
async fn a_withdrawal_bites_also_when_it_cannot_be_put_on_record() {
    let world = World::new(Stops::default());
    *world.fake.consents.lock().unwrap() = vec![consent(7, 10, 10)];
    world.fake.log_is_closed.store(true, Ordering::Relaxed);
    assert_eq!(world.withdraw(101, 7).await, Err(NotDone::NoEvidence));
    assert_eq!(world.fake.consents.lock().unwrap()[0].withdrawn_at, Some(at(500)));
}

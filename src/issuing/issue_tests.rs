//! Issuing over a registry in memory, for every driver of the catalogue.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::civil::{Date, date};

use super::*;
use crate::domain::catalogue::{TestDriver, test_drivers};
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::elicence::Display;
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, History, LicenceNumber, NumberRules, Record, Stops,
};
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::presentation::{PartnerMark, PresentationKind, QR_LIFETIME_MAX};
use crate::domain::question::Purpose;
use crate::domain::subject::{Position, SubjectId, SubjectSecret};
use crate::domain::time::{Effective, start_of};
use crate::issuing::Told;
use crate::issuing::testing::{FakeRegistry, NO_HURRY, SetClock, holders};
use crate::verification::ports::{Later, LookUpError, Pseudonyms as _};

const AS_OF: Date = date(2026, 11, 22);

/// Everything around the use case, watched.
struct World {
    registry: Arc<FakeRegistry>,
    clock: Arc<SetClock>,
    outside: Arc<Outside>,
    issuing: Issuing,
}

/// Writes, names, keeps, draws: in memory.
#[derive(Default)]
struct Outside {
    sealed: Mutex<Vec<Presentation>>,
    kept: Mutex<Vec<(Presentation, SubjectId)>>,
    revoked: Mutex<Vec<Revocation>>,
    draws: AtomicU8,
    ids_taken: AtomicU8,
    is_away: std::sync::atomic::AtomicBool,
}

impl QrWriter for Outside {
    fn write(&self, presentation: &Presentation) -> Result<String, Unsealable> {
        self.sealed.lock().unwrap().push(presentation.clone());
        Ok("DG1:TEXT".to_owned())
    }
}

impl ShareCodeIds for Outside {
    fn id(&self, code: &ShareCode) -> PresentationId {
        PresentationId::new(PresentationKind::ShareCode, [code.expose()[0]; 16])
    }
}

impl Randomness for Outside {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill(self.draws.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    }
}

impl PartnerKinds for Outside {
    fn kind_of(&self, partner: &PartnerId) -> Option<PartnerKind> {
        (partner.as_str() == "recruiter-demo").then_some(PartnerKind::Recruiter)
    }
}

impl PresentationBook for Outside {
    fn keep(
        &self,
        presentation: Presentation,
        subject: SubjectId,
    ) -> Later<'_, Result<bool, StoreUnavailable>> {
        Box::pin(async move {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(StoreUnavailable);
            }
            let taken =
                self.ids_taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if taken.is_err() {
                self.kept.lock().unwrap().push((presentation, subject));
            }
            Ok(taken.is_err())
        })
    }

    fn revoke(&self, revocation: Revocation) -> Later<'_, Result<Option<RevokedUses>, StoreUnavailable>> {
        Box::pin(async move {
            self.revoked.lock().unwrap().push(revocation);
            let is_held = self
                .kept
                .lock()
                .unwrap()
                .iter()
                .any(|(kept, subject)| (kept.id, *subject) == (revocation.id, revocation.subject));
            let is_qr = revocation.id.kind() == PresentationKind::Qr;
            Ok((is_held || is_qr).then_some(RevokedUses { revoked: 1, spent: 0 }))
        })
    }
}

fn world() -> World {
    let (registry, clock) = (Arc::new(FakeRegistry::default()), Arc::new(SetClock::default()));
    let outside = Arc::new(Outside::default());
    clock.0.store(noon().as_second(), Ordering::Relaxed);
    let issuing = Issuing {
        holders: holders(&registry, &clock),
        partners: Arc::clone(&outside) as _,
        writer: Arc::clone(&outside) as _,
        codes: Arc::clone(&outside) as _,
        book: Arc::clone(&outside) as _,
        randomness: Arc::clone(&outside) as _,
        rules: Arc::new(Rules::default()),
        qr_lifetime: SignedDuration::from_secs(60),
    };
    World { registry, clock, outside, issuing }
}

fn noon() -> Timestamp {
    start_of(AS_OF) + SignedDuration::from_hours(12)
}

fn record(driver: &TestDriver, subject: u8) -> Record {
    let change = |(seq, (effective, recorded_at, kind)): (u64, &(Effective, Timestamp, ChangeKind))| Change {
        effective: *effective,
        recorded_at: *recorded_at,
        position: Position { epoch: 1, partition: 0, seq },
        kind: kind.clone(),
    };
    Record {
        subject: SubjectId::from_bytes([subject; 16]),
        secret: SubjectSecret::from_bytes([subject; 32]),
        history: History::from_changes((1..).zip(&driver.changes).map(change).collect()),
        stops: Stops::default(),
    }
}

fn holder(document: DocumentKind, number: &str) -> Holder {
    let rules = NumberRules { accept_test_numbers: true };
    Holder { document, number: LicenceNumber::parse(document, number, rules).unwrap() }
}

fn driver(row: u8) -> TestDriver {
    test_drivers(AS_OF).into_iter().find(|driver| driver.row == row).unwrap()
}

/// A world that knows a driver of the catalogue.
fn with(row: u8) -> (World, Holder) {
    let (world, driver) = (world(), driver(row));
    world.registry.put(record(&driver, row));
    (world, holder(driver.document, driver.number))
}

fn untold() -> Agreed {
    Agreed { purpose: None, audience: None, fields: None }
}

fn for_recruiter() -> Agreed {
    let audience = Some(Told::Partner("recruiter-demo".parse().unwrap()));
    Agreed { purpose: Some(Purpose::Recruitment), audience, fields: Some(FieldSet::EMPTY) }
}

impl World {
    async fn qr_as(
        &self,
        standing: Standing,
        holder: &Holder,
        agreed: Agreed,
    ) -> Result<IssuedQr, NotIssued> {
        let partner: PartnerId = "wallet-demo".parse().unwrap();
        let read = move || standing;
        let wallet = WalletCaller { wallet: &partner, standing: &read };
        let request = QrRequest { holder: holder.clone(), agreed };
        self.issuing.issue_qr(wallet, &request, NO_HURRY).await
    }

    async fn qr(&self, holder: &Holder, agreed: Agreed) -> Result<IssuedQr, NotIssued> {
        self.qr_as(Standing::Active, holder, agreed).await
    }

    async fn share_code(
        &self,
        holder: &Holder,
        agreed: Agreed,
        uses: Option<u32>,
        lifetime: Option<SignedDuration>,
    ) -> Result<IssuedShareCode, NotIssued> {
        let partner: PartnerId = "wallet-demo".parse().unwrap();
        let wallet = WalletCaller { wallet: &partner, standing: &|| Standing::Active };
        let request = ShareCodeRequest { holder: holder.clone(), agreed, uses, lifetime };
        self.issuing.issue_share_code(wallet, &request, NO_HURRY).await
    }

    /// Nothing was sealed and nothing kept.
    fn issued_nothing(&self) -> bool {
        self.outside.sealed.lock().unwrap().is_empty() && self.outside.kept.lock().unwrap().is_empty()
    }
}

/// The column "IssueQr / peer" of `docs/policy.md` §7, and row 29: whose number is not held, or is a protected person's, is not known.
#[tokio::test]
async fn every_driver_of_the_catalogue_is_issued_what_the_catalogue_says() {
    let mut red = 0;
    for driver in test_drivers(AS_OF) {
        let world = world();
        world.registry.put(record(&driver, driver.row));
        let holder = holder(driver.document, driver.number);
        let named = format!("row {} {}", driver.row, driver.twin);
        for expectation in &driver.e_licence {
            let now = expectation.asked_at.unwrap_or_else(noon);
            world.clock.0.store(now.as_second(), Ordering::Relaxed);
            for agreed in [untold(), for_recruiter()] {
                let issued = world.qr(&holder, agreed.clone()).await;
                let code = world.share_code(&holder, agreed.clone(), None, None).await;
                match expectation.expected {
                    Ok(shown) => {
                        let issued = issued.unwrap_or_else(|error| panic!("{named}: {error}"));
                        assert_eq!(issued.shown, shown, "{named}");
                        assert_eq!(issued.expires_at, now + SignedDuration::from_secs(60));
                        assert_eq!(code.is_ok(), agreed.purpose.is_some(), "{named}");
                        red += u8::from(shown.display == Display::Red);
                    }
                    Err(reason) => {
                        assert_eq!(issued.unwrap_err(), NotIssued::NotShown(reason), "{named}");
                        assert!(code.is_err() && world.issued_nothing(), "{named}");
                    }
                }
            }
        }
        if driver.row == 29 && !driver.twin.is_empty() {
            let told = world.qr(&holder, untold()).await.map(|issued| issued.text);
            assert_eq!(told, Err(NotIssued::Holder(NoHolder::NotKnown)), "{named}");
        }
    }
    assert!(red > 5, "group 2 of the states is issued red");
}

#[tokio::test]
async fn a_qr_code_says_what_was_agreed_and_is_good_for_one_request() {
    let (world, holder) = with(1);
    let issued = world.qr(&holder, for_recruiter()).await.unwrap();
    let mark = PartnerMark::of(&"recruiter-demo".parse().unwrap());
    let expected = Presentation {
        id: PresentationId::of_qr(noon(), [1; 10]),
        number: world.registry.pseudonym(holder.document, &holder.number),
        audience: Audience::Partner(mark),
        purpose: Some(Purpose::Recruitment),
        fields: Some(FieldSet::EMPTY),
        uses_max: 1,
        issued_at: noon(),
        expires_at: noon() + SignedDuration::from_secs(60),
    };
    assert_eq!(*world.outside.sealed.lock().unwrap(), [expected]);
    assert_eq!((issued.text.as_str(), issued.id), ("DG1:TEXT", PresentationId::of_qr(noon(), [1; 10])));
    let again = world.qr(&holder, untold()).await.unwrap();
    assert_ne!(again.id, issued.id);
    assert_eq!(again.subject_ref, issued.subject_ref);
    assert_eq!(world.outside.sealed.lock().unwrap()[1].audience, Audience::Untold);
}

#[tokio::test]
async fn a_share_code_is_kept_by_its_name_with_its_uses_and_its_time() {
    let (world, holder) = with(1);
    let issued = world.share_code(&holder, for_recruiter(), None, None).await.unwrap();
    assert_eq!((issued.uses, issued.expires_at), (1, noon() + SignedDuration::from_hours(72)));
    let hour = SignedDuration::from_hours(1);
    let more = world.share_code(&holder, for_recruiter(), Some(10), Some(hour)).await.unwrap();
    assert_eq!((more.uses, more.expires_at), (10, noon() + hour));
    let kept = world.outside.kept.lock().unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].0.id, kept[0].1), (issued.id, SubjectId::from_bytes([1; 16])));
    assert_eq!((kept[1].0.uses_max, kept[1].0.purpose), (10, Some(Purpose::Recruitment)));
    assert!(issued.code != more.code && issued.id.kind() == PresentationKind::ShareCode);
}

#[tokio::test]
async fn a_share_code_outside_its_bounds_is_refused_by_field() {
    let (world, holder) = with(1);
    let field_of = |error: NotIssued| match error {
        NotIssued::Agreement(AgreementFault::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let second = SignedDuration::from_secs(1);
    for (uses, lifetime, field) in [
        (Some(0), None, "uses"),
        (Some(11), None, "uses"),
        (Some(u32::MAX), None, "uses"),
        (None, Some(SignedDuration::ZERO), "lifetime"),
        (None, Some(SignedDuration::from_hours(1) - second), "lifetime"),
        (None, Some(SignedDuration::from_hours(21 * 24) + second), "lifetime"),
        (None, Some(SignedDuration::from_millis(3_600_500)), "lifetime"),
        (None, Some(SignedDuration::MIN), "lifetime"),
    ] {
        let refused = world.share_code(&holder, for_recruiter(), uses, lifetime).await;
        assert_eq!(field_of(refused.unwrap_err()), field, "{uses:?} {lifetime:?}");
    }
    assert_eq!(field_of(world.share_code(&holder, untold(), None, None).await.unwrap_err()), "purpose");
    let longest = SignedDuration::from_hours(21 * 24);
    assert!(
        world.issued_nothing()
            && world.share_code(&holder, for_recruiter(), None, Some(longest)).await.is_ok()
    );
}

/// Neither policy nor age needs the registry: it is away, and that is never said.
#[tokio::test]
async fn policy_and_age_are_refused_before_anybody_is_looked_up() {
    let (world, adult) = with(1);
    world.registry.is_away.store(true, Ordering::Relaxed);
    let minor = holder(DocumentKind::ResidentId, &number_born("20090101"));
    assert_eq!(world.qr(&minor, for_recruiter()).await.unwrap_err(), NotIssued::UnderAge);
    let states = FieldSet::of(&[Field::States]);
    let asked = Agreed { fields: Some(states), ..for_recruiter() };
    let refused = NotIssued::Agreement(AgreementFault::FieldNotPermitted(states));
    assert_eq!(world.qr(&adult, asked).await.unwrap_err(), refused);
    let away = NotIssued::Holder(NoHolder::NoFacts(LookUpError::RegistryUnavailable));
    assert_eq!(world.qr(&minor, untold()).await.unwrap_err(), away, "the police may check whoever drives");
    assert_eq!(world.qr(&adult, for_recruiter()).await.unwrap_err(), away);
}

fn number_born(day: &str) -> String {
    let rules = NumberRules { accept_test_numbers: true };
    let numbers = "0123456789X".chars().map(|check| format!("000000{day}001{check}"));
    let fits = |number: &String| LicenceNumber::parse(DocumentKind::ResidentId, number, rules).is_ok();
    numbers.into_iter().find(fits).unwrap()
}

#[tokio::test]
async fn a_wallet_that_lost_its_standing_meanwhile_gets_nothing() {
    let (world, holder) = with(1);
    let lost = world.qr_as(Standing::Suspended, &holder, untold()).await.unwrap_err();
    assert_eq!(lost, NotIssued::StandingLost(Standing::Suspended));
    assert!(world.issued_nothing());
}

#[tokio::test]
async fn a_name_that_is_taken_is_drawn_anew_once_and_a_store_that_is_away_is_an_error() {
    let (world, holder) = with(1);
    world.outside.ids_taken.store(1, Ordering::Relaxed);
    let issued = world.share_code(&holder, for_recruiter(), None, None).await.unwrap();
    assert_eq!(world.outside.kept.lock().unwrap()[0].0.id, issued.id);
    world.outside.ids_taken.store(9, Ordering::Relaxed);
    let broken = world.share_code(&holder, for_recruiter(), None, None).await.unwrap_err();
    assert_eq!(broken, NotIssued::NoRandomness(NoRandomness));
    world.outside.is_away.store(true, Ordering::Relaxed);
    let away = world.share_code(&holder, for_recruiter(), None, None).await.unwrap_err();
    assert_eq!(away, NotIssued::Unavailable(StoreUnavailable));
}

#[tokio::test]
async fn what_was_issued_is_taken_back_by_its_holder_alone() {
    let (world, owner) = with(1);
    world.registry.put(record(&driver(2), 2));
    let other = holder(driver(2).document, driver(2).number);
    let code = world.share_code(&owner, for_recruiter(), None, None).await.unwrap();
    let done = RevokedUses { revoked: 1, spent: 0 };
    assert_eq!(world.issuing.revoke(&owner, code.id, NO_HURRY).await, Ok(done));
    assert_eq!(world.issuing.revoke(&other, code.id, NO_HURRY).await, Err(NotRevoked::NotKnown));
    let nobody = holder(DocumentKind::ResidentId, &number_born("19990101"));
    let unknown = NotRevoked::Holder(NoHolder::NotKnown);
    assert_eq!(world.issuing.revoke(&nobody, code.id, NO_HURRY).await, Err(unknown));
    let revoked = world.outside.revoked.lock().unwrap();
    assert_eq!(revoked[0].subject, SubjectId::from_bytes([1; 16]));
    assert_eq!((revoked[0].at, revoked[0].qr_ends_at), (noon(), noon() + QR_LIFETIME_MAX));
}

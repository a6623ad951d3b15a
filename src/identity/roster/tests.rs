use std::time::Duration;

use super::*;
use crate::admission::standing::{StandingFollower as _, StandingWord};
use crate::config::partner::{PartnerFile, render};
use crate::domain::partner::{Allowance, ClaimTerms, PartnerKind};
use crate::domain::standing::{RecordedState, StandingChange, StandingOf};
use crate::domain::time::Clock;
use crate::identity::Connection;
use crate::identity::pki::{CA_CERTIFICATE, CRL, DevelopmentCa, Existing};
use crate::identity::testing::SetClock;
use crate::identity::trust::TrustFiles;

struct House {
    folder: tempfile::TempDir,
    authority: DevelopmentCa,
    trust: Arc<Trust>,
    book: Arc<StandingBook>,
    roster: Roster,
}

fn now() -> Timestamp {
    "2026-11-22T00:00:00Z".parse().unwrap()
}

impl House {
    fn with(files: &[PartnerFile]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        let mut authority = DevelopmentCa::create(&pki, 30, now(), Existing::Keep).unwrap();
        authority.issue_server("s", &[], 30, now()).unwrap().write(&pki, "s", Existing::Keep).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SetClock::at("2026-11-22T00:00:00Z"));
        let trust = Trust::open(
            TrustFiles {
                server_chain: pki.join("s.pem"),
                server_key: pki.join("s.key"),
                client_roots: vec![pki.join(CA_CERTIFICATE)],
                revocation_lists: vec![pki.join(CRL)],
            },
            Arc::clone(&clock),
        );
        let trust = Arc::new(trust.unwrap());
        let book = Arc::new(StandingBook::open(&folder.path().join("standing")).unwrap());
        let partners = folder.path().join("partners");
        std::fs::create_dir(&partners).unwrap();
        files.iter().for_each(|file| put(&partners, file));
        let roster = Roster::open(&partners, Arc::clone(&book), Arc::clone(&trust)).unwrap();
        Self { folder, authority, trust, book, roster }
    }

    fn put(&self, file: &PartnerFile) {
        put(&self.folder.path().join("partners"), file);
    }

    fn put_down(&self, of: &StandingOf, state: RecordedState) {
        self.book.put(change(of, state)).unwrap();
    }

    fn found(&self, peer: &PeerIdentity) -> Option<String> {
        self.roster.find(peer).map(|slot| slot.contract.partner.to_string())
    }

    fn connection(&self, peer: &PeerIdentity) -> Connection {
        Connection::new(1, "127.0.0.1:1".parse().unwrap(), peer.clone(), &self.roster, now())
    }
}

fn change(of: &StandingOf, state: RecordedState) -> StandingChange {
    StandingChange { of: of.clone(), state, reason: "test".into(), by: "op".into(), at: now() }
}

fn put(folder: &Path, file: &PartnerFile) {
    std::fs::write(folder.join(format!("{}.toml", file.contract.partner)), render(file)).unwrap();
}

fn uri(uri: &str) -> PeerName {
    PeerName::SanUri(format!("urn:{uri}"))
}

fn pin(byte: u8) -> PeerName {
    PeerName::SpkiSha256([byte; 32])
}

fn contract(id: &str, identities: &[PeerName]) -> PartnerFile {
    let contract = Contract {
        partner: id.parse().unwrap(),
        legal_name: "x".into(),
        display_name: "x".into(),
        kind: PartnerKind::Rental,
        identities: identities.to_vec(),
        purposes: vec![],
        presentations_only: false,
        allowance: Allowance {
            rate_per_second: 1,
            burst: 1,
            in_flight_max: 1,
            connections_max: 1,
            quota_per_minute: 1,
            quota_per_hour: 1,
            quota_per_day: 1,
        },
        claims: ClaimTerms::usual(PartnerKind::Rental),
        starts_at: "2025-12-31T16:00:00Z".parse().unwrap(),
        ends_at: "2027-12-31T16:00:00Z".parse().unwrap(),
        contact: "x".into(),
    };
    PartnerFile { contract, suspended: false }
}

fn peer(uris: &[&str], key: u8) -> PeerIdentity {
    PeerIdentity {
        san_uris: uris.iter().map(|uri| format!("urn:{uri}")).collect(),
        spki_sha256: [key; 32],
        issuer_sha256: [0; 32],
        serial: vec![1],
        not_after: "2028-06-01T00:00:00Z".parse().unwrap(),
    }
}

/// What the contract lists, what the certificate carries, whether they fit.
#[test]
fn a_certificate_fits_by_uri_by_pin_or_by_both_where_both_are_listed() {
    let table: &[(&[PeerName], &[&str], u8, bool)] = &[
        (&[uri("a")], &["a"], 9, true),
        (&[uri("a")], &["b"], 9, false),
        (&[uri("a")], &["A"], 9, false),
        (&[uri("a")], &[], 9, false),
        (&[uri("a"), uri("b")], &["b"], 9, true),
        (&[pin(1)], &[], 1, true),
        (&[pin(1)], &["a"], 2, false),
        (&[pin(1), pin(2)], &[], 2, true),
        (&[uri("a"), pin(1)], &["a"], 1, true),
        (&[uri("a"), pin(1)], &["a"], 2, false),
        (&[uri("a"), pin(1)], &["b"], 1, false),
        (&[uri("a"), pin(1), pin(2)], &["a"], 2, true),
        (&[uri("a"), pin(1), pin(2)], &["a"], 3, false),
    ];
    for (listed, uris, key, fits) in table {
        let house = House::with(&[contract("rental", listed)]);
        assert_eq!(house.found(&peer(uris, *key)).is_some(), *fits, "{listed:?} {uris:?} {key}");
    }
}

#[test]
fn a_certificate_that_fits_two_contracts_fits_none() {
    let house = House::with(&[contract("one", &[uri("a")]), contract("two", &[pin(2)])]);
    assert_eq!(house.found(&peer(&["a"], 1)).as_deref(), Some("one"));
    assert_eq!(house.found(&peer(&["b"], 2)).as_deref(), Some("two"));
    assert_eq!(house.found(&peer(&["a"], 2)), None);
}

#[test]
fn an_identity_claimed_twice_stays_with_the_contract_that_had_it() {
    let house = House::with(&[contract("one", &[uri("a")]), contract("two", &[uri("b")])]);
    house.put(&contract("two", &[uri("a")]));
    house.roster.reload();
    assert_eq!(house.found(&peer(&["a"], 1)).as_deref(), Some("one"));
    assert_eq!(house.found(&peer(&["b"], 1)).as_deref(), Some("two"), "the last good contract");
    let faults = house.roster.faults();
    assert!(faults[0].contains("two.toml, key `identity`") && faults[0].contains("one.toml"), "{faults:?}");

    house.put(&contract("one", &[uri("c")]));
    house.roster.reload();
    assert_eq!(house.roster.faults(), Vec::<String>::new(), "the claim is free now");
    assert_eq!(house.found(&peer(&["a"], 1)).as_deref(), Some("two"));

    let fresh = House::with(&[contract("one", &[uri("a")]), contract("two", &[uri("a")])]);
    assert_eq!(fresh.found(&peer(&["a"], 1)), None, "at start nobody had it");
    assert_eq!(fresh.roster.faults().len(), 2);
}

#[test]
fn a_bad_file_keeps_the_last_good_contract_until_it_is_mended() {
    let house = House::with(&[contract("one", &[uri("a")])]);
    let path = house.folder.path().join("partners/one.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.replace("burst = 1", "burst = 0")).unwrap();
    let epoch = house.roster.epoch();
    house.roster.reload();
    let faults = house.roster.faults();
    assert!(
        faults[0].contains("one.toml, line ") && faults[0].contains("key `allowance.burst`"),
        "{faults:?}"
    );
    assert!(house.found(&peer(&["a"], 1)).is_some());
    assert_eq!(house.roster.epoch(), epoch);
    std::fs::write(&path, good.replace("burst = 1", "burst = 7")).unwrap();
    house.roster.reload();
    assert_eq!(house.roster.faults(), Vec::<String>::new());
    assert_eq!(house.roster.find(&peer(&["a"], 1)).unwrap().contract.allowance.burst, 7);
}

#[test]
fn an_open_connection_follows_contract_record_and_clock() {
    let house = House::with(&[contract("one", &[uri("a")])]);
    let connection = house.connection(&peer(&["a"], 1));
    let standing = |at: &str| connection.standing(&house.roster, at.parse().unwrap());
    let today = "2026-11-22T00:00:00Z";
    assert_eq!(standing(today), Standing::Active);
    assert_eq!(standing("2025-12-31T15:59:59Z"), Standing::ContractNotInForce);
    assert_eq!(standing("2027-12-31T15:59:59Z"), Standing::Active);
    assert_eq!(standing("2027-12-31T16:00:00Z"), Standing::ContractNotInForce);
    assert_eq!(standing("2028-06-01T00:00:01Z"), Standing::CertificateNotAccepted);
    assert_eq!(standing(today), Standing::Active);

    let id: StandingOf = "one".parse().unwrap();
    house.put_down(&id, RecordedState::Suspended);
    assert_eq!(standing(today), Standing::Suspended);
    assert!(connection.contract(&house.roster).is_some());
    house.put_down(&id, RecordedState::Active);
    assert_eq!(standing(today), Standing::Active);

    house.put(&PartnerFile { suspended: true, ..contract("one", &[uri("a")]) });
    house.roster.reload();
    assert_eq!(standing(today), Standing::Suspended, "the stricter of record and contract");

    house.put(&contract("one", &[uri("b")]));
    house.roster.reload();
    assert_eq!(standing(today), Standing::NotListed);
    assert_eq!(connection.contract(&house.roster), None);
}

#[test]
fn an_open_connection_does_not_change_hands() {
    let house = House::with(&[contract("one", &[uri("a")])]);
    let (known, unknown) = (house.connection(&peer(&["a"], 1)), house.connection(&peer(&["z"], 1)));
    std::fs::remove_file(house.folder.path().join("partners/one.toml")).unwrap();
    house.put(&contract("two", &[uri("a"), uri("z")]));
    house.roster.reload();
    assert_eq!(known.standing(&house.roster, now()), Standing::NotListed);
    assert_eq!(unknown.standing(&house.roster, now()), Standing::Active, "a contract came into being");
    assert_eq!(unknown.contract(&house.roster).unwrap().partner.as_str(), "two");
}

/// Goal: claims alone can be suspended, on an open connection, by either record; and when they were let go is known.
#[test]
fn suspended_claims_leave_the_partner_in_good_standing() {
    let house = House::with(&[contract("one", &[uri("a")])]);
    let connection = house.connection(&peer(&["a"], 7));
    let shared =
        Arc::new(SharedBook::new(Duration::from_secs(2), Arc::new(SetClock::at("2026-11-22T00:00:00Z"))));
    let claims: StandingOf = "one.claims".parse().unwrap();
    let says = |state, at| StandingChange {
        of: claims.clone(),
        state,
        reason: "test".to_owned(),
        by: "op".to_owned(),
        at: now() + jiff::SignedDuration::from_secs(at),
    };
    let both =
        || [connection.standing(&house.roster, now()), connection.standing_to_claim(&house.roster, now())];
    assert_eq!(both(), [Standing::Active; 2]);
    house.book.put(says(RecordedState::Suspended, 1)).unwrap();
    assert_eq!(both(), [Standing::Active, Standing::ClaimsSuspended]);
    assert_eq!(house.roster.claims_let_go_at(&"one".parse().unwrap()), None);
    house.book.put(says(RecordedState::Active, 2)).unwrap();
    assert_eq!(both(), [Standing::Active; 2]);
    shared.told(vec![StandingWord { seq: 1, change: says(RecordedState::Suspended, 3) }]);
    house.roster.share(Arc::clone(&shared));
    assert!(house.roster.are_claims_suspended(&"one".parse().unwrap()), "the stricter of both");
    assert_eq!(both(), [Standing::NotKnown; 2], "what is not known is no good standing");
    shared.told(vec![StandingWord { seq: 2, change: says(RecordedState::Active, 4) }]);
    let let_go_at = now() + jiff::SignedDuration::from_secs(4);
    assert_eq!(house.roster.claims_let_go_at(&"one".parse().unwrap()), Some(let_go_at), "the latest word");
}

#[test]
fn a_revocation_reaches_an_open_connection() {
    let mut house = House::with(&[contract("one", &[uri("a")])]);
    let issued = house.authority.issue_client("one", Some("urn:a"), 30, now()).unwrap();
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let connection = house.connection(&crate::identity::identify(&[der]).unwrap());
    assert_eq!(connection.standing(&house.roster, now()), Standing::Active);
    house.authority.revoke(&issued.serial, now()).unwrap();
    house.authority.publish_crl(30, now()).unwrap();
    house.trust.reload();
    assert_eq!(connection.standing(&house.roster, now()), Standing::CertificateNotAccepted);
}

/// Goal: of contract, this replica's record and the shared one the strictest counts, and an unknown shared one lets nobody in.
#[test]
fn the_stricter_of_every_place_wins_and_what_is_not_known_lets_nobody_in() {
    let house = House::with(&[contract("one", &[uri("a")]), contract("two", &[uri("b")])]);
    let clock = Arc::new(SetClock::at("2026-11-22T00:00:00Z"));
    clock.boot_at(Duration::from_secs(100));
    let connection = house.connection(&peer(&["a"], 7));
    let standing = || connection.standing(&house.roster, now());
    assert_eq!(standing(), Standing::Active, "files alone");
    let shared = Arc::new(SharedBook::new(Duration::from_secs(2), Arc::clone(&clock) as Arc<dyn Clock>));
    house.roster.share(Arc::clone(&shared));
    assert_eq!(standing(), Standing::NotKnown, "nothing is told yet");
    shared.begins_with(vec![]);
    shared.current_as_of(Duration::from_secs(100));
    assert_eq!(standing(), Standing::Active);

    let (one, key): (StandingOf, StandingOf) =
        ("one".parse().unwrap(), format!("key-{}", "07".repeat(32)).parse().unwrap());
    let mut seq = 0;
    let mut tell = |of: &StandingOf, state| {
        seq += 1;
        shared.told(vec![StandingWord { seq, change: change(of, state) }]);
    };
    use RecordedState::{Active, Suspended};
    // What this replica's record and the shared one say of the partner, then of the key, and what comes of it.
    for (here, there, key_here, key_there, outcome) in [
        (Active, Suspended, Active, Active, Standing::Suspended),
        (Suspended, Active, Active, Active, Standing::Suspended),
        (Suspended, Suspended, Active, Active, Standing::Suspended),
        (Active, Active, Active, Active, Standing::Active),
        (Active, Active, Active, Suspended, Standing::CertificateNotAccepted),
        (Active, Active, Suspended, Active, Standing::CertificateNotAccepted),
        (Suspended, Active, Active, Suspended, Standing::CertificateNotAccepted),
        (Active, Active, Active, Active, Standing::Active),
    ] {
        house.put_down(&one, here);
        tell(&one, there);
        house.put_down(&key, key_here);
        tell(&key, key_there);
        assert_eq!(standing(), outcome, "{here:?} {there:?} {key_here:?} {key_there:?}");
    }
    let other = house.connection(&peer(&["b"], 8));
    tell(&one, Suspended);
    assert_eq!(other.standing(&house.roster, now()), Standing::Active, "another partner, another key");
    house.put(&PartnerFile { suspended: true, ..contract("two", &[uri("b")]) });
    house.roster.reload();
    assert_eq!(other.standing(&house.roster, now()), Standing::Suspended, "by its contract alone");

    clock.boot_at(Duration::from_millis(102_001));
    assert_eq!(standing(), Standing::Suspended, "what is known against somebody stays known");
    tell(&one, Active);
    assert_eq!(standing(), Standing::NotKnown, "older than the bound");
    shared.current_as_of(Duration::from_secs(102));
    assert_eq!(standing(), Standing::Active);
}

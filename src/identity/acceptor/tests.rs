mod balanced;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admission::{InFlight, LimitExceeded, LimitLevel, LimitWindow, Meters};
use crate::config::hex;
use crate::domain::partner::{Allowance, PartnerId, Standing};
use crate::domain::standing::{RecordedState, StandingChange};
use crate::domain::time::Clock as _;
use crate::identity::client::{ClientError, ClientTls};
use crate::identity::pki::{CA_CERTIFICATE, CRL, DevelopmentCa, Existing, Issued};
use crate::identity::testing::WallClock;
use crate::identity::{Connection, Identity, IdentityFiles, TrustFiles, Watch};

/// Counts connections per partner, the way the real meters do.
#[derive(Default)]
struct CountingMeters(Arc<AtomicUsize>);

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Meters for CountingMeters {
    fn spend(&self, _: &PartnerId, _: &Allowance) -> Result<InFlight, LimitExceeded> {
        unreachable!("the acceptor spends no requests")
    }

    fn look(&self, _: &PartnerId, _: &Allowance) -> Result<InFlight, LimitExceeded> {
        unreachable!("the acceptor spends no requests")
    }

    fn connect(&self, _: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded> {
        let place = Counted(Arc::clone(&self.0));
        let limit = u64::from(allowance.connections_max);
        if self.0.fetch_add(1, Ordering::SeqCst) as u64 >= limit {
            return Err(LimitExceeded {
                window: LimitWindow::Connections,
                limit,
                retry_after: Duration::ZERO,
            });
        }
        Ok(InFlight::new(place))
    }

    fn levels(&self, _: &PartnerId, _: &Allowance) -> Vec<LimitLevel> {
        Vec::new()
    }
}

#[derive(Default)]
struct Outcomes(Mutex<Vec<HandshakeOutcome>>);

impl HandshakeObserver for Outcomes {
    fn handshake(&self, outcome: HandshakeOutcome, _: Duration) {
        self.0.lock().unwrap().push(outcome);
    }
}

impl Outcomes {
    /// Waits for the next outcome: the observer is told after the client has noticed.
    async fn next(&self) -> HandshakeOutcome {
        for _ in 0..500 {
            if let Some(outcome) = self.0.lock().unwrap().pop() {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no handshake ended within 5 s");
    }
}

/// A running listener that greets every connection it accepts and keeps it open.
struct House {
    folder: tempfile::TempDir,
    authority: DevelopmentCa,
    identity: Arc<Identity>,
    _watch: Watch,
    address: SocketAddr,
    outcomes: Arc<Outcomes>,
    connections: Arc<Mutex<Vec<Connection>>>,
    shutdown: CancellationToken,
}

fn now() -> Timestamp {
    WallClock.now()
}

impl House {
    fn start(options: AcceptorOptions) -> Self {
        Self::behind(options, Vec::new())
    }

    fn behind(options: AcceptorOptions, balancers: Vec<IpNet>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        let mut authority = DevelopmentCa::create(&pki, 7, now(), Existing::Keep).unwrap();
        let server = authority.issue_server("server", &["localhost".into()], 7, now()).unwrap();
        server.write(&pki, "server", Existing::Keep).unwrap();
        std::fs::create_dir(folder.path().join("partners")).unwrap();
        write_contract(folder.path(), "san_uri = \"urn:rental\"");
        let identity = Identity::open(files(folder.path()), Arc::new(WallClock)).unwrap();
        let watch = identity.watch().unwrap();
        let outcomes = Arc::new(Outcomes::default());
        let context = CoreContext {
            trust: Arc::clone(identity.trust()),
            roster: Arc::clone(identity.roster()),
            meters: Arc::new(CountingMeters::default()),
            observer: Arc::clone(&outcomes) as Arc<dyn HandshakeObserver>,
            clock: Arc::new(WallClock),
        };
        let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap(), options).unwrap().behind(balancers);
        let address = acceptor.local_addr().unwrap();
        let (accept, cores) = acceptor.split(NonZeroUsize::new(2).unwrap(), &context);
        let (shutdown, connections) = (CancellationToken::new(), Arc::<Mutex<Vec<Connection>>>::default());
        tokio::spawn(accept.run(shutdown.clone()));
        for core in cores {
            tokio::spawn(greet(core, Arc::clone(&connections)));
        }
        Self { folder, authority, identity, _watch: watch, address, outcomes, connections, shutdown }
    }

    fn client(&mut self, uri: Option<&str>) -> Issued {
        self.authority.issue_client("client", uri, 7, now()).unwrap()
    }

    fn tls(&self, issued: Option<&Issued>) -> ClientTls {
        let identity = issued.map(|i| (i.certificate_pem.as_bytes(), i.key_pem.as_bytes()));
        ClientTls::new(self.authority.certificate_pem().as_bytes(), identity).unwrap()
    }

    async fn open(
        &self,
        issued: Option<&Issued>,
    ) -> Result<crate::identity::client::ClientStream, ClientError> {
        self.tls(issued).open(self.address, "localhost", Duration::from_secs(5)).await
    }

    fn connection(&self) -> Connection {
        self.connections.lock().unwrap().last().unwrap().clone()
    }

    fn standing(&self) -> Standing {
        self.connection().standing(self.identity.roster(), now())
    }

    /// Waits for what the file watch must bring about: within a second in life, with patience on a busy test machine.
    async fn soon(&self, expected: Standing) {
        for _ in 0..250 {
            if self.standing() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still {:?}, not {expected:?}", self.standing());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn greet(mut core: CoreIncoming, connections: Arc<Mutex<Vec<Connection>>>) {
    while let Some(stream) = core.next().await {
        let mut stream = stream.unwrap();
        connections.lock().unwrap().push(stream.connection().clone());
        tokio::spawn(async move {
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
    }
}

fn files(folder: &Path) -> IdentityFiles {
    let pki = |name: &str| -> PathBuf { folder.join("pki").join(name) };
    IdentityFiles {
        trust: TrustFiles {
            server_chain: pki("server.pem"),
            server_key: pki("server.key"),
            client_roots: vec![pki(CA_CERTIFICATE)],
            revocation_lists: vec![pki(CRL)],
        },
        partners: folder.join("partners"),
        standing: folder.join("standing"),
    }
}

fn write_contract(folder: &Path, identity: &str) {
    let text = format!(
        "id = \"rental\"\nlegal_name = \"x\"\ndisplay_name = \"x\"\nkind = \"rental\"\ncontact = \"x\"\n\
         [validity]\nfrom = 2020-01-01\nuntil = 2099-12-31\n[[identity]]\n{identity}\n\
         [allowance]\nrate_per_second = 1\nburst = 1\nin_flight_max = 1\nconnections_max = 2\n\
         quota_per_minute = 1\nquota_per_hour = 1\nquota_per_day = 1\n"
    );
    std::fs::write(folder.join("partners/rental.toml"), text).unwrap();
}

#[tokio::test]
async fn a_listed_certificate_is_handed_on_with_its_contract() {
    let mut house = House::start(AcceptorOptions::default());
    let issued = house.client(Some("urn:rental"));
    let mut stream = house.open(Some(&issued)).await.unwrap();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"hello");
    let session = stream.session();
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(session.tls13_tickets_received(), 0);
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    let connection = house.connection();
    assert_eq!(connection.contract(house.identity.roster()).unwrap().partner.as_str(), "rental");
    assert_eq!(hex(&connection.peer().serial), issued.serial);
    assert_eq!(house.standing(), Standing::Active);
}

#[tokio::test]
async fn a_certificate_no_contract_lists_is_handed_on_to_be_told_so() {
    let mut house = House::start(AcceptorOptions::default());
    let issued = house.client(Some("urn:someone-else"));
    let _stream = house.open(Some(&issued)).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    assert_eq!(house.connection().contract(house.identity.roster()), None);
    assert_eq!(house.standing(), Standing::NotListed);
}

#[tokio::test]
async fn the_handshake_refuses_who_cannot_be_trusted_and_says_why_to_both_sides() {
    let mut house = House::start(AcceptorOptions::default());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = DevelopmentCa::create(elsewhere.path(), 7, now(), Existing::Keep).unwrap();
    let foreign = other.issue_client("x", Some("urn:rental"), 7, now()).unwrap();
    let past = now() - jiff::SignedDuration::from_hours(24 * 30);
    let expired = house.authority.issue_client("x", Some("urn:rental"), 7, past).unwrap();
    let server = house.authority.issue_server("x", &["localhost".into()], 7, now()).unwrap();
    let revoked = house.client(Some("urn:rental"));
    house.authority.revoke(&revoked.serial, now()).unwrap();
    house.authority.publish_crl(7, now()).unwrap();
    house.identity.reload_now();
    let table = [
        (None, AlertDescription::CertificateRequired, HandshakeOutcome::NoCertificate),
        (Some(&foreign), AlertDescription::UnknownCA, HandshakeOutcome::UnknownAuthority),
        (Some(&expired), AlertDescription::CertificateExpired, HandshakeOutcome::OutsideValidity),
        (Some(&revoked), AlertDescription::CertificateRevoked, HandshakeOutcome::Revoked),
        (Some(&server), AlertDescription::UnsupportedCertificate, HandshakeOutcome::BadCertificate),
    ];
    for (issued, expected, outcome) in table {
        let refused = house.open(issued).await.err().unwrap();
        let ClientError::CertificateRefused { alert } = refused else { panic!("{outcome}: {refused:?}") };
        assert_eq!((alert, house.outcomes.next().await), (expected, outcome));
    }
}

#[tokio::test]
async fn nobody_gets_in_under_an_expired_revocation_list() {
    let mut house = House::start(AcceptorOptions::default());
    let issued = house.client(Some("urn:rental"));
    let past = now() - jiff::SignedDuration::from_hours(24 * 30);
    house.authority.publish_crl(7, past).unwrap();
    house.identity.reload_now();
    assert!(house.open(Some(&issued)).await.is_err());
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::RevocationListExpired);
    let faults = house.identity.faults();
    assert!(faults[0].contains("crl.pem expired at"), "{faults:?}");
    house.authority.publish_crl(7, now()).unwrap();
    house.identity.reload_now();
    assert_eq!(house.identity.faults(), Vec::<String>::new());
    house.open(Some(&issued)).await.unwrap();
}

#[tokio::test]
async fn suspension_revocation_and_contract_bite_on_an_open_connection() {
    let mut house = House::start(AcceptorOptions::default());
    let issued = house.client(Some("urn:rental"));
    let _stream = house.open(Some(&issued)).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    assert_eq!(house.standing(), Standing::Active);

    // Another process writes the record: the command line, in life.
    let book = crate::identity::StandingBook::open(&house.folder.path().join("standing")).unwrap();
    let put = |state| {
        let of = "rental".parse().unwrap();
        book.put(StandingChange { of, state, reason: "test".into(), by: "op".into(), at: now() }).unwrap();
    };
    put(RecordedState::Suspended);
    house.soon(Standing::Suspended).await;
    put(RecordedState::Active);
    house.soon(Standing::Active).await;

    write_contract(house.folder.path(), "san_uri = \"urn:other\"");
    house.soon(Standing::NotListed).await;
    write_contract(house.folder.path(), "san_uri = \"urn:rental\"");
    house.soon(Standing::Active).await;

    house.authority.revoke(&issued.serial, now()).unwrap();
    house.authority.publish_crl(7, now()).unwrap();
    house.soon(Standing::CertificateNotAccepted).await;
}

#[tokio::test]
async fn two_pins_let_a_partner_change_its_key_without_a_gap() {
    let mut house = House::start(AcceptorOptions::default());
    let (old, new) = (house.client(None), house.client(None));
    let pins = |issued: &[&Issued]| {
        let pin = |issued: &&Issued| format!("spki_sha256 = \"{}\"", hex(&issued.spki_sha256));
        issued.iter().map(pin).collect::<Vec<_>>().join("\n[[identity]]\n")
    };
    for (listed, old_stands, new_stands) in [
        (pins(&[&old]), Standing::Active, Standing::NotListed),
        (pins(&[&old, &new]), Standing::Active, Standing::Active),
        (pins(&[&new]), Standing::NotListed, Standing::Active),
    ] {
        write_contract(house.folder.path(), &listed);
        house.identity.reload_now();
        for (issued, expected) in [(&old, old_stands), (&new, new_stands)] {
            let _stream = house.open(Some(issued)).await.unwrap();
            assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
            assert_eq!(house.standing(), expected, "{listed}");
        }
        house.connections.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn every_cap_closes_what_comes_over_it_and_gives_places_back() {
    let options = AcceptorOptions { connections_max: 3, ..AcceptorOptions::default() };
    let mut house = House::start(options);
    let issued = house.client(Some("urn:rental"));
    let stranger = house.client(None);
    let first = house.open(Some(&issued)).await.unwrap();
    let _second = house.open(Some(&issued)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    }
    assert!(house.open(Some(&issued)).await.is_err(), "the contract allows two");
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::PartnerFull);
    let _third = house.open(Some(&stranger)).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    assert!(house.open(Some(&stranger)).await.is_err(), "the listener allows three");
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::ConnectionsFull);
    drop(first);
    for attempt in 0.. {
        if house.open(Some(&issued)).await.is_ok() {
            break;
        }
        assert!(attempt < 100, "the place never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_peer_that_stalls_or_talks_nonsense_is_let_go() {
    let options =
        AcceptorOptions { handshake_timeout: Duration::from_millis(100), ..AcceptorOptions::default() };
    let mut house = House::start(options);
    let mut silent = tokio::net::TcpStream::connect(house.address).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::TimedOut);
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0, "closed");
    let mut plain = tokio::net::TcpStream::connect(house.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Protocol);
    drop(tokio::net::TcpStream::connect(house.address).await.unwrap());
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Disconnected);
    let issued = house.client(None);
    house.open(Some(&issued)).await.unwrap();
}

#[tokio::test]
async fn a_stalled_handshake_does_not_keep_others_waiting_and_the_end_ends_everything() {
    let mut house = House::start(AcceptorOptions::default());
    let _silent: Vec<_> =
        futures_util::future::join_all((0..8).map(|_| tokio::net::TcpStream::connect(house.address))).await;
    let issued = house.client(None);
    house.open(Some(&issued)).await.unwrap();
    house.shutdown.cancel();
    for attempt in 0.. {
        if tokio::net::TcpStream::connect(house.address).await.is_err() {
            break;
        }
        assert!(attempt < 100, "the listener never closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The whole way: our client's channel, a gRPC server on a core's stream, the connection in the request's extensions.
#[tokio::test]
async fn a_grpc_call_carries_its_connection() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::HealthServer;
    let mut house = House::start(AcceptorOptions::default());
    let context = CoreContext {
        trust: Arc::clone(house.identity.trust()),
        roster: Arc::clone(house.identity.roster()),
        meters: Arc::new(CountingMeters::default()),
        observer: Arc::clone(&house.outcomes) as Arc<dyn HandshakeObserver>,
        clock: Arc::new(WallClock),
    };
    let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap(), AcceptorOptions::default()).unwrap();
    let address = acceptor.local_addr().unwrap();
    let (accept, mut cores) = acceptor.split(NonZeroUsize::MIN, &context);
    tokio::spawn(accept.run(house.shutdown.clone()));
    let (_, health) = tonic_health::server::health_reporter();
    let health: HealthServer<_> = health;
    let seen = Arc::<Mutex<Vec<Connection>>>::default();
    let note = Arc::clone(&seen);
    let service =
        tonic::service::interceptor::InterceptedService::new(health, move |request: tonic::Request<()>| {
            note.lock().unwrap().extend(request.extensions().get::<Connection>().cloned());
            Ok(request)
        });
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(cores.remove(0)));

    let issued = house.client(Some("urn:rental"));
    let channel =
        house.tls(Some(&issued)).connect(address, "localhost", Duration::from_secs(5)).await.unwrap();
    let mut client = HealthClient::new(channel);
    for _ in 0..2 {
        client.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].id(), seen[1].id());
    assert_eq!(seen[0].opened_as().unwrap().as_str(), "rental");
    assert!(seen[0].remote().ip().is_loopback());
    let refused = house.tls(None).connect(address, "localhost", Duration::from_secs(5)).await.err().unwrap();
    assert!(refused.to_string().contains("pass a certificate with its key"), "{refused}");
    let elsewhere =
        house.tls(None).connect(address, "other.example", Duration::from_secs(5)).await.err().unwrap();
    assert!(matches!(elsewhere, ClientError::ServerRefused { .. }), "{elsewhere:?}");
}

use std::time::Duration;

use super::*;
use crate::identity::pki::{CA_CERTIFICATE, CRL, DevelopmentCa, Existing, Issued};

/// A clock that stands still until it is moved.
struct SetClock(ArcSwap<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        **self.0.load()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

struct Setting {
    folder: tempfile::TempDir,
    authority: DevelopmentCa,
    clock: Arc<SetClock>,
}

impl Setting {
    fn new() -> Self {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut authority = DevelopmentCa::create(folder.path(), 7, now, Existing::Keep).unwrap();
        let issued = authority.issue_server("server", &["localhost".into()], 30, now).unwrap();
        issued.write(folder.path(), "server", Existing::Keep).unwrap();
        Self { folder, authority, clock: Arc::new(SetClock(ArcSwap::from_pointee(now))) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> TrustFiles {
        TrustFiles {
            server_chain: self.path("server.pem"),
            server_key: self.path("server.key"),
            client_roots: vec![self.path(CA_CERTIFICATE)],
            revocation_lists: vec![self.path(CRL)],
        }
    }

    fn trust(&self) -> Result<Trust, TrustError> {
        Trust::open(self.files(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn client(&mut self) -> Issued {
        self.authority.issue_client("partner", None, 30, self.clock.now()).unwrap()
    }
}

fn peer_of(issued: &Issued) -> PeerIdentity {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    crate::identity::peer::identify(&[der]).unwrap()
}

#[test]
fn the_settings_resume_nothing_and_log_no_key() {
    let trust = Setting::new().trust().unwrap();
    let config = trust.server_config();
    assert!(
        !config.key_log.will_log("CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        "SSLKEYLOGFILE must not be honoured"
    );
    assert!(format!("{:?}", config.key_log).contains("NoKeyLog"));
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
    assert_eq!(config.alpn_protocols, [b"h2".to_vec()]);
    let groups: Vec<_> = config.crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups[0], rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn a_published_revocation_is_in_force_after_the_reload() {
    let mut setting = Setting::new();
    let trust = setting.trust().unwrap();
    let (kept, lost) = (setting.client(), setting.client());
    let before = trust.generation();
    setting.authority.revoke(&lost.serial, setting.clock.now()).unwrap();
    setting.authority.publish_crl(7, setting.clock.now()).unwrap();
    assert!(!trust.is_revoked(&peer_of(&lost)), "not before the reload");
    trust.reload();
    assert!(trust.is_revoked(&peer_of(&lost)));
    assert!(!trust.is_revoked(&peer_of(&kept)));
    assert_eq!(trust.generation(), before + 1);
    trust.reload();
    assert_eq!(trust.generation(), before + 1, "nothing changed, nothing is judged anew");
}

#[test]
fn a_bad_list_keeps_the_last_good_one_and_an_older_one_is_refused() {
    let mut setting = Setting::new();
    let first = std::fs::read(setting.path(CRL)).unwrap();
    let lost = setting.client();
    setting.authority.revoke(&lost.serial, setting.clock.now()).unwrap();
    setting.authority.publish_crl(7, setting.clock.now()).unwrap();
    let good = std::fs::read(setting.path(CRL)).unwrap();
    let trust = setting.trust().unwrap();

    let mut other = Setting::new();
    let foreign = other.authority.publish_crl(7, other.clock.now()).unwrap();
    let mut forged = String::from_utf8(good.clone()).unwrap();
    let tail = forged.find("\n-----END").unwrap();
    let digit = if &forged[tail - 9..tail - 8] == "A" { "B" } else { "A" };
    forged.replace_range(tail - 9..tail - 8, digit);
    for (bad, said) in [
        (b"half a li".to_vec(), "holds no revocation list"),
        (foreign.into_bytes(), "has no revocation list"),
        (first, "is older than the one in force"),
        (forged.into_bytes(), "revocation list in"),
    ] {
        std::fs::write(setting.path(CRL), bad).unwrap();
        trust.reload();
        let faults = trust.faults();
        assert!(faults.len() == 1 && faults[0].contains(said), "{said}: {faults:?}");
        assert!(trust.is_revoked(&peer_of(&lost)), "{said}");
    }
    std::fs::write(setting.path(CRL), good).unwrap();
    trust.reload();
    assert_eq!(trust.faults(), [String::new(); 0]);
}

#[test]
fn a_new_server_certificate_takes_effect_while_the_list_is_bad() {
    let mut setting = Setting::new();
    let trust = setting.trust().unwrap();
    let now = setting.clock.now();
    let renewed = setting.authority.issue_server("server", &["localhost".into()], 90, now).unwrap();
    renewed.write(setting.folder.path(), "server", Existing::Replace).unwrap();
    std::fs::write(setting.path(CRL), "").unwrap();
    trust.reload();
    assert_eq!(trust.server_certificate_expires_at(), renewed.not_after);
    assert_eq!(trust.faults().len(), 1);
}

#[test]
fn what_has_expired_is_a_fault() {
    let setting = Setting::new();
    let trust = setting.trust().unwrap();
    assert_eq!(trust.revocation_lists_expire_at().to_string(), "2026-11-29T00:00:00Z");
    assert_eq!(trust.server_certificate_expires_at().to_string(), "2026-12-22T00:00:00Z");
    setting.clock.0.store(Arc::new("2027-01-01T00:00:00Z".parse().unwrap()));
    let faults = trust.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.contains("expired at")), "{faults:?}");
}

#[test]
fn at_start_every_fault_names_its_file() {
    let setting = Setting::new();
    let swapped = TrustFiles { server_key: setting.path("ca.key"), ..setting.files() };
    let error = Trust::open(swapped, Arc::clone(&setting.clock) as Arc<dyn Clock>).err().unwrap();
    assert!(matches!(&error, TrustError::Material { path, .. } if path.ends_with("ca.key")), "{error:?}");
    let none = TrustFiles { revocation_lists: vec![], ..setting.files() };
    let error = Trust::open(none, Arc::clone(&setting.clock) as Arc<dyn Clock>).err().unwrap();
    assert!(matches!(&error, TrustError::ListMissing { path } if path.ends_with("ca.pem")), "{error:?}");
    let twice = TrustFiles { revocation_lists: vec![setting.path(CRL); 2], ..setting.files() };
    let error = Trust::open(twice, Arc::clone(&setting.clock) as Arc<dyn Clock>).err().unwrap();
    assert!(matches!(error, TrustError::ListTwice { .. }), "{error:?}");
}

//! What an operator does with a deployment: makes it, checks it, tells it to read its files again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use drivegate::gateway::proto::DescribeContractRequest;
use rustix::process::{Signal, kill_process};

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Partner, block_on};

/// The partners of a sandbox.
const PARTNERS: [&str; 7] = [
    "authority-demo",
    "enforcement-demo",
    "insurer-demo",
    "recruiter-demo",
    "rental-demo",
    "transport-demo",
    "wallet-demo",
];

/// Every file under a folder: its path in it, its mode and its bytes.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

fn files_of(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
            let name = path.strip_prefix(folder).expect("it is inside").to_string_lossy().into_owned();
            found.insert(name, (mode, fs::read(&path).expect("it can be read")));
        }
    }
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// What `init` promises to write, and nothing else; what is secret is its owner's alone.
#[test]
fn init_writes_exactly_a_deployment_and_its_keys_are_its_owners() {
    let deployment = Deployment::new();
    let fresh = deployment.everything().join("fresh");
    deployment.run(&["init", text(&fresh)]);
    let mut expected: Vec<String> =
        ["config.toml", "pki/ca.key", "pki/ca.pem", "pki/ca.toml", "pki/crl.pem"].map(str::to_owned).to_vec();
    expected.extend(PARTNERS.map(|partner| format!("partners/{partner}.toml")));
    for name in PARTNERS.iter().chain(&["server"]) {
        expected.extend([format!("pki/{name}.key"), format!("pki/{name}.pem")]);
    }
    expected.sort();
    let files = files_of(&fresh);
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), expected);
    for (name, (mode, _)) in files.iter().filter(|(name, _)| name.ends_with(".key")) {
        assert_eq!(*mode, 0o600, "{name} is its owner's alone");
    }
}

#[test]
fn a_second_init_refuses_and_with_force_it_leaves_the_data_alone() {
    let deployment = Deployment::new();
    let folder = deployment.folder();
    let before = files_of(&folder);
    assert!(before.contains_key("data/registry.redb"), "there is something to lose");

    let refused = deployment.try_run(&["init", text(&folder)]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("config.toml") && said.contains("--force"), "{said}");
    assert_eq!(files_of(&folder), before, "what refuses changes nothing");

    deployment.run(&["init", "--force", text(&folder)]);
    let after = files_of(&folder);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "no file more or less");
    for (name, kept) in &before {
        let now = &after[name];
        assert_eq!(now.0, kept.0, "{name} keeps its mode");
        if name.starts_with("data/") {
            assert!(now.1 == kept.1, "{name} was touched");
        }
        if name.ends_with(".pem") || name.ends_with(".key") {
            assert!(now.1 != kept.1 || name.starts_with("data/"), "{name} is as before");
        }
    }
    let gateway = deployment.serve();
    block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        desk.verify(rental(NUMBER, NAME)).await.expect("new certificates, same drivers");
    });
}

/// `check` may run beside a gateway and before the first start: it makes nothing, not even a folder.
#[test]
fn a_check_leaves_no_trace() {
    let deployment = Deployment::new();
    let fresh = deployment.everything().join("fresh");
    deployment.run(&["init", text(&fresh)]);
    let before = files_of(&fresh);
    let done = deployment.run(&["check", "--config", text(&fresh.join("config.toml"))]);
    assert!(String::from_utf8_lossy(&done.stdout).contains("no records yet"));
    assert_eq!(files_of(&fresh), before);
    assert_eq!(fs::read_dir(fresh.join("data")).expect("it is there").count(), 0, "no folder was made");
}

/// Goal: SIGHUP reads files again and ends nothing. Method: a contract changes, the signal follows at once, the change
/// holds, and the same connection serves on; several times, and with a file that cannot be read.
#[test]
fn a_hangup_reads_contracts_again_and_ends_nothing() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        for months in [vec![6], vec![6, 12, 24], vec![36]] {
            deployment.contract("rental-demo", |document| {
                let purpose = document["purpose"][0].as_table_mut().expect("a table");
                let listed: Vec<toml::Value> = months.iter().copied().map(toml::Value::from).collect();
                purpose.insert("tenure_months".to_owned(), listed.into());
            });
            hang_up(&gateway);
            let end = Instant::now() + Duration::from_secs(2);
            while tenures(&mut desk).await != months {
                assert!(Instant::now() < end, "the change to {months:?} does not hold");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // A file nobody can read leaves the last good contract in force.
        fs::write(deployment.folder().join("partners/rental-demo.toml"), "id = ").expect("it can be written");
        hang_up(&gateway);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(tenures(&mut desk).await, [36]);
    });
    assert!(gateway.stop(), "it stops as it should");
}

fn hang_up(gateway: &Gateway<'_>) {
    kill_process(gateway.process(), Signal::HUP).expect("it is running");
}

/// The tenures a rental desk may ask for, as its contract says over the wire.
async fn tenures(desk: &mut Partner) -> Vec<i64> {
    let told = desk.describe_contract(DescribeContractRequest {}).await.expect("it may ask").into_inner();
    let purposes = told.contract.expect("a contract").purposes;
    purposes[0].min_tenure_months.iter().map(|months| i64::from(*months)).collect()
}

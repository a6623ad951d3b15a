//! The sandbox profile: a world of its own that says so in every answer, and whose numbers nobody else takes.

use std::time::Duration;

use drivegate::gateway::proto::{DescribeContractRequest, Environment, GetLimitsRequest};
use drivegate::identity::client::ClientTls;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::files::{Sandbox, said, text};
use super::harness::{Deployment, Gateway, block_on};

/// What every method says about the world, asked about a test driver.
async fn worlds(gateway: &Gateway<'_>) -> (Vec<Environment>, Result<Environment, tonic::Status>) {
    let mut desk = gateway.partner("rental-demo").await;
    let contract = desk.describe_contract(DescribeContractRequest {}).await.expect("it may ask").into_inner();
    let limits = desk.get_limits(GetLimitsRequest {}).await.expect("it may ask").into_inner();
    let verified = desk.verify(rental(NUMBER, NAME)).await;
    (
        vec![contract.environment(), limits.environment()],
        verified.map(|answer| answer.get_ref().environment()),
    )
}

fn health(gateway: &Gateway<'_>) -> Value {
    serde_json::from_str(&gateway.page("/health").1).expect("health is JSON")
}

#[test]
fn every_answer_and_health_say_sandbox() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let (told, verified) = block_on(worlds(&gateway));
    assert_eq!(told, [Environment::Sandbox; 2]);
    assert_eq!(verified.expect("a test driver is answered"), Environment::Sandbox);
    let claimed = block_on(async {
        let mut insurer = gateway.partner("insurer-demo").await;
        // A number nobody has is an answer, too.
        let answer = insurer.verify(insurance_claim("000000197708129996", NAME)).await.expect("an answer");
        answer.into_inner()
    });
    assert_eq!(claimed.environment(), Environment::Sandbox);
    let origin = claimed.evidence.expect("it is on record").log_origin;
    assert!(origin.contains("sandbox"), "the log's name says what it is: {origin}");
    let health = health(&gateway);
    assert_eq!((&health["environment"], &health["test_numbers_accepted"]), (&"sandbox".into(), &true.into()));
}

/// The same registry behind a production profile: the test drivers are in it, and nobody can ask about them.
#[test]
fn outside_a_sandbox_test_numbers_are_refused_everywhere() {
    let deployment = Deployment::new();
    deployment.configure(|config| {
        config.insert("environment".to_owned(), "production".into());
        config["evidence"].as_table_mut().expect("a table").insert("name".to_owned(), "gw1.example".into());
    });
    let gateway = deployment.serve();
    let (told, verified) = block_on(worlds(&gateway));
    assert_eq!(told, [Environment::Production; 2]);
    let refused = verified.expect_err("a test number is none here");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.get_details_error_info().expect("ErrorInfo").reason, "REQUEST_MALFORMED");
    let health = health(&gateway);
    assert_eq!(
        (&health["environment"], &health["test_numbers_accepted"]),
        (&"production".into(), &false.into())
    );

    let other = Sandbox::new();
    let file = text(&other.generated(3));
    let folder = text(&deployment.folder());
    let import = ["registry", "import", &file, "--dir", &folder];
    let through_gateway = other.try_run(&import);
    assert_eq!(through_gateway.status.code(), Some(2));
    assert!(said(&through_gateway).contains("0 new or extended, 0 unchanged, 3 refused"));
    let insisting = other.try_run(&[&import[..], &["--accept-test-numbers"]].concat());
    assert!(said(&insisting).contains("3 refused"), "the gateway's profile decides: {}", said(&insisting));
    assert!(gateway.stop());
    let offline = other.try_run(&import);
    assert!(said(&offline).contains("0 new, 0 extended, 0 unchanged, 3 refused"), "{}", said(&offline));
}

/// Each sandbox has its own authority, keys and log: what is good for one is nothing to another.
#[test]
fn two_sandboxes_share_nothing() {
    let [one, two] = [Deployment::new(), Deployment::new()];
    let gateways = [one.serve(), two.serve()];
    let origins = block_on(async {
        let mut origins = Vec::new();
        for gateway in &gateways {
            let mut desk = gateway.partner("rental-demo").await;
            let answer = desk.verify(rental(NUMBER, NAME)).await.expect("an answer").into_inner();
            origins.push((answer.evidence.expect("on record").log_origin, answer.subject_ref));
        }
        origins
    });
    assert_ne!(origins[0].0, origins[1].0, "logs have names of their own");
    assert_ne!(origins[0].1, origins[1].1, "references are of no use elsewhere");

    // The first sandbox's rental desk, trusting the second's authority, at the second's door.
    let [pki_one, pki_two] = [&one, &two].map(|deployment| deployment.folder().join("pki"));
    let (chain, key) = (pki_one.join("rental-demo.pem"), pki_one.join("rental-demo.key"));
    let tls = ClientTls::from_files(&pki_two.join("ca.pem"), Some((&chain, &key))).expect("usable files");
    let refused = block_on(async {
        let channel = tls.connect(gateways[1].address(), "localhost", Duration::from_secs(5)).await;
        match channel {
            Err(_) => true,
            Ok(channel) => {
                let mut desk = super::harness::Partner::new(channel);
                desk.describe_contract(DescribeContractRequest {}).await.is_err()
            }
        }
    });
    assert!(refused, "another sandbox's certificate is not accepted");
    let files = ["data/registry.keys", "pki/ca.pem"];
    for file in files {
        let [a, b] = [&one, &two]
            .map(|deployment| std::fs::read(deployment.folder().join(file)).expect("it is there"));
        assert!(a != b, "{file} is the same in both");
    }
}

/// The fixed test drivers stand beside any population, in a store and in a file, with their numbers and names.
#[test]
fn test_drivers_come_with_any_count_and_into_any_store() {
    let sandbox = Sandbox::new();
    let folder = text(&sandbox.folder());
    let generate = |more: &[&str]| sandbox.run(&[&["registry", "generate", "--test-drivers"], more].concat());
    let drivers = |text: &str| -> std::collections::BTreeSet<String> {
        let of_catalogue =
            |line: &&str| line.contains(r#""number":"000000"#) && !line.contains(r#""number":"000000V"#);
        text.lines().filter(of_catalogue).map(str::to_owned).collect()
    };
    let alone = drivers(&generate(&["--count", "0", "--as-of", "2026-11-01"]));
    assert!(alone.len() > 40, "{}", alone.len());
    for (count, seed) in [("1", "1"), ("2500", "9")] {
        let printed = generate(&["--count", count, "--seed", seed, "--as-of", "2026-11-01"]);
        assert_eq!(drivers(&printed), alone, "with {count} others");
    }
    let numbers = |lines: &std::collections::BTreeSet<String>| -> Vec<String> {
        let number = |line: &String| {
            let value: Value = serde_json::from_str(line).expect("JSON");
            format!("{} {}", value["number"], value["name"])
        };
        let mut numbers: Vec<_> = lines.iter().map(number).collect();
        numbers.sort();
        numbers
    };
    let later = drivers(&generate(&["--count", "7", "--as-of", "2031-02-28"]));
    assert_eq!(numbers(&later), numbers(&alone), "dates move, numbers and names do not");
    assert_ne!(later, alone);
    generate(&["--count", "300", "--seed", "4", "--into", &folder]);
    assert_eq!(sandbox.subjects(), 300 + alone.len() as u64);
    // Again, and others of the same day: nobody is there twice.
    generate(&["--count", "500", "--seed", "4", "--into", &folder]);
    assert_eq!(sandbox.subjects(), 500 + alone.len() as u64);
}

//! The README's call in Rust, as a whole program: a rental desk asks one question.
//!
//! ```text
//! drivegate init sandbox
//! drivegate registry generate --count 0 --with-test-drivers --into sandbox
//! drivegate serve --config sandbox/config.toml &
//! cargo run --release --example verify
//! ```
//!
//! A partner's own program generates the messages with `tonic-prost-build` from `proto/`; this one borrows the gateway's.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own: its clock and output are real"
)]

use std::time::{Duration, SystemTime};

use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::gateway::proto::verify_request::{Question, Subject};
use drivegate::gateway::proto::{
    Claim, DocumentKind, Ground, GroundKind, RentalQuestion, Vehicle, VehicleClass, VerifyRequest,
    VerifyResponse, vehicle,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:#?}", verify().await?);
    Ok(())
}

async fn verify() -> Result<VerifyResponse, Box<dyn std::error::Error>> {
    let now = SystemTime::now();
    let pick_up = (now + Duration::from_secs(3_600)).into();
    let pick_up_plus_three_days = (now + Duration::from_secs(73 * 3_600)).into();
    // The README's block, word for word: tests/it/readme.rs compares.
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(std::fs::read("sandbox/pki/ca.pem")?))
        .identity(Identity::from_pem(
            std::fs::read("sandbox/pki/rental-demo.pem")?,
            std::fs::read("sandbox/pki/rental-demo.key")?,
        ));
    let channel = Channel::from_static("https://localhost:8443").tls_config(tls)?.connect().await?;
    let answer = VerificationServiceClient::new(channel)
        .verify(VerifyRequest {
            subject: Some(Subject::Claim(Claim {
                document_kind: DocumentKind::ResidentId.into(),
                licence_number: "000000199001010114".into(),
                full_name: "测试甲".into(),
                ground: Some(Ground {
                    kind: GroundKind::Contract.into(),
                    subject_is_party: true,
                    ..Ground::default()
                }),
                ..Claim::default()
            })),
            question: Some(Question::Rental(RentalQuestion {
                pick_up: Some(pick_up),
                r#return: Some(pick_up_plus_three_days),
                vehicle: Some(Vehicle {
                    kind: Some(vehicle::Kind::Class(VehicleClass::C1.into())),
                    ..Vehicle::default()
                }),
                min_tenure_months: 12,
                ..RentalQuestion::default()
            })),
            case_reference: "RENT-2026-17".into(),
            operator_id: "desk-3".into(),
            ..VerifyRequest::default()
        })
        .await?;
    Ok(answer.into_inner())
}

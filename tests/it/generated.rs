//! The code in `proto/generated` is what the contract's files say.
//!
//! It lies in the repository so that building the product needs no compiler of contracts. After a change of the contract:
//! `UPDATE_GENERATED=1 cargo test --test it generated`.

use std::fs;
use std::path::Path;

use prost::Message as _;

const PROTOS: &[&str] = &[
    "drivegate/v1/answer.proto",
    "drivegate/v1/authority.proto",
    "drivegate/v1/authority_service.proto",
    "drivegate/v1/contract.proto",
    "drivegate/v1/error.proto",
    "drivegate/v1/limits.proto",
    "drivegate/v1/question.proto",
    "drivegate/v1/subject.proto",
    "drivegate/v1/verification_service.proto",
];

/// Messages that carry raw identifiers: they get no derived `Debug`, so that nothing can print them by accident.
const ELIDED: &[&str] = &[
    "drivegate.v1.ApplyChangesRequest",
    "drivegate.v1.Claim",
    "drivegate.v1.LicenceChange",
    "drivegate.v1.NumberSet",
    "drivegate.v1.VerifyRequest",
];

const FILES: &[&str] = &["drivegate.v1.rs", "descriptors.bin"];

/// Compiles the contract into a folder, without an installed `protoc`.
fn generate(into: &Path) {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile(PROTOS, [&protos]).expect("the contract compiles");
    fs::write(into.join("descriptors.bin"), descriptors.encode_to_vec()).expect("the folder can be written");
    tonic_prost_build::configure()
        .skip_debug(ELIDED.iter().copied())
        .emit_rerun_if_changed(false)
        .out_dir(into)
        .compile_fds(descriptors)
        .expect("the descriptors become code");
}

#[test]
fn every_file_of_the_contract_is_compiled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/drivegate/v1");
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("the contract's folder can be read")
        .map(|file| format!("drivegate/v1/{}", file.expect("an entry").file_name().to_string_lossy()))
        .collect();
    found.sort();
    assert_eq!(found, PROTOS);
}

#[test]
fn the_generated_code_is_that_of_the_contract() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/generated");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        generate(&checked_in);
    }
    let fresh = tempfile::tempdir().expect("a folder");
    generate(fresh.path());
    for file in FILES {
        let (here, there) = (fs::read(checked_in.join(file)), fs::read(fresh.path().join(file)));
        assert!(
            here.expect("the generated file") == there.expect("a fresh file"),
            "proto/generated/{file} is not what the contract says: \
             run `UPDATE_GENERATED=1 cargo test --test it generated`"
        );
    }
}

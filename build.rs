//! Compiles the contract in `proto/` without an installed `protoc`.

use std::path::PathBuf;

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
    "drivegate.v1.GetReceiptResponse",
    "drivegate.v1.LicenceChange",
    "drivegate.v1.NumberSet",
    "drivegate.v1.VerifyRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    std::fs::write(out.join("drivegate_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .skip_debug(ELIDED.iter().copied())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}

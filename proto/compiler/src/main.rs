//! Compiles the contract (`proto/drivegate`) into `proto/generated`, without an installed `protoc`.
//!
//! ```text
//! cargo run --manifest-path proto/compiler/Cargo.toml               write the code anew, after every change of the contract
//! cargo run --manifest-path proto/compiler/Cargo.toml -- --check    fail if it is not that of the contract
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use prost::Message as _;

/// Messages that carry raw identifiers: they get no derived `Debug`, so that nothing can print them by accident.
const ELIDED: &[&str] = &[
    "drivegate.v1.ApplyChangesRequest",
    "drivegate.v1.Claim",
    "drivegate.v1.Holder",
    "drivegate.v1.IssueQrRequest",
    "drivegate.v1.IssueQrResponse",
    "drivegate.v1.IssueShareCodeRequest",
    "drivegate.v1.IssueShareCodeResponse",
    "drivegate.v1.LicenceChange",
    "drivegate.v1.ListAccessesRequest",
    "drivegate.v1.ListConsentsRequest",
    "drivegate.v1.NumberSet",
    "drivegate.v1.ObjectRequest",
    "drivegate.v1.PeerScanQuestion",
    "drivegate.v1.RevokeRequest",
    "drivegate.v1.VerifyRequest",
    "drivegate.v1.WatchAccessesRequest",
    "drivegate.v1.WithdrawConsentRequest",
];

const GENERATED: [&str; 2] = ["drivegate.v1.rs", "descriptors.bin"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let protos = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let generated = protos.join("generated");
    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => {
            compile(protos, &generated)?;
            Ok(ExitCode::SUCCESS)
        }
        [flag] if flag == "--check" => check(protos, &generated),
        _ => Err("usage: drivegate-contract-compiler [--check]".into()),
    }
}

fn compile(protos: &Path, into: &Path) -> Result<(), Box<dyn Error>> {
    let folder = protos.join("drivegate/v1");
    let mut files = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let descriptors = protox::compile(files, [protos])?;
    fs::write(into.join(GENERATED[1]), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .skip_debug(ELIDED.iter().copied())
        .emit_rerun_if_changed(false)
        .out_dir(into)
        .compile_fds(descriptors)?;
    Ok(())
}

fn check(protos: &Path, generated: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let fresh = tempfile::tempdir()?;
    compile(protos, fresh.path())?;
    for file in GENERATED {
        if fs::read(generated.join(file)).ok() != Some(fs::read(fresh.path().join(file))?) {
            eprintln!(
                "proto/generated/{file} is not what the contract says: \
                 run `cargo run --manifest-path proto/compiler/Cargo.toml`"
            );
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

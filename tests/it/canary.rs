//! What must not leak does not leak.
//!
//! Goal: no licence number, name, case reference or operator of a request turns up anywhere outside the request. Method:
//! marked identifiers, which occur nowhere else, go through everything the gateway can do with them: imported, looked
//! up, confirmed, not confirmed, refused, malformed. Logs are at their loudest. Then every byte that the
//! gateway, its commands, its files and its Redis produced is searched for the marks: as they are, reversed, as digits
//! of hexadecimal (both cases) and as base64 in each of its three alignments.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use drivegate::gateway::proto::verify_request::Subject;
use drivegate::gateway::proto::{DescribeContractRequest, GetLimitsRequest, VerifyRequest};

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::harness::{Deployment, Gateway, Redis, block_on};

/// A number nobody has, of whom no trace may be left.
const STRANGER: &str = "000000197708129991";
/// A number that does not parse.
const BROKEN: &str = "00000019770812CANARY";
/// Names that occur nowhere else.
const NAMES: [&str; 2] = ["金丝雀甲", "CANARY SINGS LOUD"];
/// The partner's own serials: the log holds commitments only.
const CASE: &str = "CANARY-CASE-7f3a9b";
/// See [`CASE`].
const OPERATOR: &str = "canary-operator-51c2";

/// The shortest part of a mark that is looked for in an encoding.
const ALIGNMENTS: usize = 3;

#[test]
fn marked_identifiers_leave_no_trace_in_readable_logs() {
    marked_identifiers_leave_no_trace("pretty");
}

#[test]
fn marked_identifiers_leave_no_trace_in_json_logs() {
    marked_identifiers_leave_no_trace("json");
}

/// A search that finds nothing anywhere would pass the test above: what was planted must be found.
#[test]
fn the_search_finds_what_is_planted_in_every_disguise() {
    let folder = tempfile::tempdir().expect("a folder");
    let reversed: String = STRANGER.chars().rev().collect();
    let disguises = [
        STRANGER.to_owned(),
        reversed,
        hex(STRANGER.as_bytes()),
        hex(STRANGER.as_bytes()).to_uppercase(),
        STANDARD_NO_PAD.encode(format!("a{STRANGER}b")),
        STANDARD_NO_PAD.encode(format!("ab{STRANGER}")),
        URL_SAFE_NO_PAD.encode(STRANGER),
    ];
    for disguise in disguises {
        fs::write(folder.path().join("planted"), format!("before {disguise} after"))
            .expect("it can be written");
        assert_eq!(traces_under(folder.path(), &[STRANGER.to_owned()]).len(), 1, "{disguise} was not found");
    }
    fs::write(folder.path().join("planted"), "nothing of the kind").expect("it can be written");
    assert!(traces_under(folder.path(), &[STRANGER.to_owned()]).is_empty());
}

fn marked_identifiers_leave_no_trace(log_format: &str) {
    let deployment = Deployment::new();
    let redis = Redis::start(&deployment.everything().join("redis"));
    deployment.configure(|config| {
        let mut section = toml::Table::new();
        section.insert("url".to_owned(), redis.url().into());
        table(config, "cache").insert("redis".to_owned(), section.into());
        table(config, "telemetry").insert("log_format".to_owned(), log_format.into());
        table(config, "telemetry").insert("log_filter".to_owned(), "trace".into());
    });
    let gateway = deployment.serve();
    let heard = block_on(send_everything(&gateway));
    let pages = ["/livez", "/readyz", "/metrics", "/status"].map(|path| gateway.page(path).1).concat();
    redis.dump();
    let folder = deployment.folder();
    deployment.try_run(&[
        "partner",
        "suspend",
        "--dir",
        text(&folder),
        "rental-demo",
        "--reason",
        "canary test",
    ]);
    deployment.try_run(&["registry", "stats", "--dir", text(&folder)]);
    assert!(gateway.stop(), "the gateway stops as it should");
    fs::write(deployment.everything().join("heard"), heard + &pages).expect("it can be written");

    let marks: Vec<String> =
        [NUMBER, NAME, STRANGER, BROKEN, NAMES[0], NAMES[1], CASE, OPERATOR].map(str::to_owned).to_vec();
    let traces = traces_under(deployment.everything(), &marks);
    assert!(traces.is_empty(), "\n{}", traces.join("\n"));
    assert_logs_were_loud(deployment.everything());
}

/// Returns a section of the configuration, made if absent.
fn table<'a>(config: &'a mut toml::Table, name: &str) -> &'a mut toml::Table {
    let section = config.entry(name).or_insert_with(|| toml::Table::new().into());
    section.as_table_mut().expect("a section is a table")
}

/// Sends the marks along every way a request can take; returns all that partners heard about it but masks.
async fn send_everything(gateway: &Gateway<'_>) -> String {
    let mut heard = String::new();
    let (mut desk, mut insurer) =
        (gateway.partner("rental-demo").await, gateway.partner("insurer-demo").await);
    for request in requests() {
        for partner in [&mut desk, &mut insurer] {
            match partner.verify(request.clone()).await {
                Ok(answer) => heard += &format!("{:?}\n", answer.into_inner()),
                Err(status) => {
                    heard += &format!("{status:?} {}\n", String::from_utf8_lossy(status.details()));
                }
            }
        }
    }
    heard += &format!("{:?}\n", desk.describe_contract(DescribeContractRequest {}).await);
    heard += &format!("{:?}\n", desk.get_limits(GetLimitsRequest {}).await);
    heard
}

/// Good and bad requests, all marked.
fn requests() -> Vec<VerifyRequest> {
    let mut all = Vec::new();
    for make in [rental, insurance_claim] {
        for (number, name) in [(NUMBER, NAME), (NUMBER, NAMES[0]), (STRANGER, NAMES[1]), (BROKEN, NAMES[0])] {
            let request = marked(make(number, name));
            all.push(request.clone());
            all.push(VerifyRequest { fields: vec![6, 7], ..request.clone() });
            all.push(VerifyRequest { fields: vec![99], ..request.clone() });
            all.push(VerifyRequest { question: None, ..request.clone() });
            all.push(VerifyRequest { request_id: format!("canary\u{0}{number}"), ..request.clone() });
            all.push(with_name(request, &format!("{name}\u{202e}{number}")));
        }
    }
    all
}

fn marked(request: VerifyRequest) -> VerifyRequest {
    VerifyRequest { case_reference: CASE.to_owned(), operator_id: OPERATOR.to_owned(), ..request }
}

fn with_name(mut request: VerifyRequest, name: &str) -> VerifyRequest {
    if let Some(Subject::Claim(claim)) = &mut request.subject {
        name.clone_into(&mut claim.full_name);
    }
    request
}

/// The search proves something only if the gateway had been told to say everything.
fn assert_logs_were_loud(folder: &Path) {
    let said: usize = files_under(folder)
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "stderr" || end == "stdout"))
        .map(|file| fs::read(file).map(|bytes| bytes.len()).unwrap_or(0))
        .sum();
    assert!(said > 4096, "the logs hold {said} bytes: they were not at trace level");
}

/// Lists the files that hold a mark, with the disguise it was found in.
fn traces_under(folder: &Path, marks: &[String]) -> Vec<String> {
    let disguises: Vec<(String, Vec<u8>)> = marks.iter().flat_map(|mark| disguises_of(mark)).collect();
    let mut traces = Vec::new();
    for file in files_under(folder) {
        let bytes = fs::read(&file).expect("the file can be read");
        for (what, needle) in &disguises {
            if contains(&bytes, needle) {
                traces.push(format!("{}: {what}", file.display()));
                break;
            }
        }
    }
    traces
}

/// Returns the ways a mark may be written.
fn disguises_of(mark: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = mark.as_bytes();
    let reversed: String = mark.chars().rev().collect();
    let backwards: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut found = vec![
        (format!("{mark} as it is"), bytes.to_vec()),
        (format!("{mark} reversed"), reversed.into_bytes()),
        (format!("{mark} with its bytes reversed"), backwards),
        (format!("{mark} in hexadecimal"), hex(bytes).into_bytes()),
        (format!("{mark} in capital hexadecimal"), hex(bytes).to_uppercase().into_bytes()),
        (format!("{mark} in UTF-16"), mark.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    for skipped in 0..ALIGNMENTS {
        let inner = &bytes[skipped..];
        let whole = &inner[..inner.len() - inner.len() % 3];
        found.push((format!("{mark} in base64"), STANDARD_NO_PAD.encode(whole).into_bytes()));
        found.push((format!("{mark} in base64url"), URL_SAFE_NO_PAD.encode(whole).into_bytes()));
    }
    found
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let kind = entry.file_type().expect("its kind can be read");
        if kind.is_dir() {
            found.extend(files_under(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

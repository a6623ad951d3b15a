//! What must not leak does not leak.
//!
//! Goal: no licence number, name, case reference or operator of a request turns up anywhere outside the request. Method:
//! marked identifiers, which occur nowhere else, go through everything the gateway can do with them: imported, looked
//! up, confirmed, not confirmed, refused, malformed. Logs are at their loudest, every call is traced. Then every byte that the
//! gateway, its commands, its files and its Redis produced is searched for the marks: as they are, reversed, as digits
//! of hexadecimal (both cases) and as base64 in each of its three alignments.

use std::fs;
use std::path::Path;

use drivegate::gateway::proto::verify_request::Subject;
use drivegate::gateway::proto::{DescribeContractRequest, GetLimitsRequest, VerifyRequest};

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::collector::Collector;
use super::harness::{Deployment, Gateway, Redis, block_on};
use super::search::{contains, files_under, traces_under};

/// A well-formed number nobody has, of whom no trace may be left.
const STRANGER: &str = "000000197708129996";
/// A number that does not parse.
const BROKEN: &str = "00000019770812CANARY";
/// A driver who comes in by an import while the gateway runs; see [`IMPORTED_NAME`] and [`IMPORTED_FILE_NUMBER`].
const IMPORTED: &str = "000000198805077715";
/// See [`IMPORTED`].
const IMPORTED_NAME: &str = "金丝雀丙";
/// See [`IMPORTED`].
const IMPORTED_FILE_NUMBER: &str = "771588050701";
/// A driver whose line is refused, for a word that stands in it.
const REFUSED: &str = "000000198703167736";
/// Names that occur nowhere else.
const NAMES: [&str; 2] = ["金丝雀甲", "CANARY SINGS LOUD"];
/// The partner's own serials: the log holds commitments only.
const CASE: &str = "CANARY-CASE-7f3a9b";
/// See [`CASE`].
const OPERATOR: &str = "canary-operator-51c2";

/// Everything that is searched for.
const MARKS: [&str; 12] = [
    NUMBER,
    NAME,
    STRANGER,
    BROKEN,
    IMPORTED,
    IMPORTED_NAME,
    IMPORTED_FILE_NUMBER,
    REFUSED,
    NAMES[0],
    NAMES[1],
    CASE,
    OPERATOR,
];

#[test]
fn marked_identifiers_leave_no_trace_in_readable_logs() {
    marked_identifiers_leave_no_trace("pretty");
}

#[test]
fn marked_identifiers_leave_no_trace_in_json_logs() {
    marked_identifiers_leave_no_trace("json");
}

fn marked_identifiers_leave_no_trace(log_format: &str) {
    let deployment = Deployment::new();
    let redis = Redis::start(&deployment.everything().join("redis"));
    let collector = Collector::start();
    deployment.configure(|config| {
        let mut section = toml::Table::new();
        section.insert("url".to_owned(), redis.url().into());
        table(config, "cache").insert("redis".to_owned(), section.into());
        table(config, "telemetry").insert("log_format".to_owned(), log_format.into());
        table(config, "telemetry").insert("log_filter".to_owned(), "trace".into());
        table(config, "telemetry").insert("otlp_endpoint".to_owned(), collector.endpoint().into());
        table(config, "telemetry").insert("trace_ratio".to_owned(), 1.0.into());
    });
    let gateway = deployment.serve();
    import_while_it_runs(&deployment);
    let heard = block_on(send_everything(&gateway));
    ask_from_the_command_line(&deployment, &gateway);
    let pages =
        ["/livez", "/readyz", "/health", "/metrics", "/status"].map(|path| gateway.page(path).1).concat();
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
    fs::write(deployment.everything().join("heard"), format!("{heard}{pages}")).expect("it can be written");
    assert!(heard.contains("traceresponse"), "a traced caller is told its part of the trace");
    let spans = collector.taken();
    assert!(
        contains(&spans, b"rental") && contains(&spans, b"REQUEST_MALFORMED"),
        "spans were sent, and say how calls ended"
    );
    fs::write(deployment.everything().join("spans"), spans).expect("it can be written");

    let traces = traces_under(deployment.everything(), &MARKS.map(str::to_owned));
    assert!(traces.is_empty(), "\n{}", traces.join("\n"));
    assert_logs_were_loud(deployment.everything());
}

/// Imports a good line and two bad ones through the running gateway, as its operator does. The file lies elsewhere: it may
/// hold what it says.
fn import_while_it_runs(deployment: &Deployment) {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("drivers.ndjson");
    let day = |kind: &str, more: &str| {
        format!(
            r#"{{"effective":"2015-03-01","recorded_at":"2015-03-01T09:30:00+08:00","kind":"{kind}"{more}}}"#
        )
    };
    let subject = |number: &str, name: &str, changes: &[String]| {
        let file_number = IMPORTED_FILE_NUMBER;
        format!(
            r#"{{"number":"{number}","name":"{name}","file_number":"{file_number}","changes":[{}]}}"#,
            changes.join(",")
        )
    };
    let good = [
        day("issued", ""),
        day("class-added", r#","class":"C1""#),
        day("validity-set", r#","term":"long-term""#),
    ];
    let lines = [
        subject(IMPORTED, IMPORTED_NAME, &good),
        subject(REFUSED, NAMES[0], &[day(NAMES[1], "")]),
        format!("{{{REFUSED} {}", NAMES[1]),
    ];
    fs::write(&file, lines.join("\n")).expect("it can be written");
    let rejects = deployment.everything().join("rejects.ndjson");
    let folder = deployment.folder();
    let words = ["registry", "import", text(&file), "--dir", text(&folder), "--rejects", text(&rejects)];
    let done = deployment.try_run(&words);
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "lines were refused: {said}");
    assert!(said.contains("3 lines: 1 new or extended, 0 unchanged, 2 refused"), "{said}");
    let named = fs::read_to_string(rejects).expect("refused lines are named");
    let numbers: Vec<_> = named.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(numbers, [r#"{"line":2"#, r#"{"line":3"#], "{named}");
}

/// Asks with `verify`, whose output is kept with that of all commands: answered, not confirmed, refused.
fn ask_from_the_command_line(deployment: &Deployment, gateway: &Gateway<'_>) {
    let (folder, server) = (deployment.folder(), gateway.address().to_string());
    for (number, name, decided) in
        [(IMPORTED, IMPORTED_NAME, 0), (STRANGER, NAMES[1], 11), (BROKEN, NAMES[0], 3), (NUMBER, NAME, 0)]
    {
        for form in [None, Some("--json")] {
            let mut words =
                vec!["verify", "--server", &server, "--dir", text(&folder), "--as", "rental-demo"];
            words.push("--exit-by-decision");
            words.extend(form);
            words.extend(["rental", "--number", number, "--name", name, "--ground", "contract"]);
            words.extend(["--class", "C1", "--case-reference", CASE, "--operator", OPERATOR]);
            let done = deployment.try_run(&words);
            assert_eq!(done.status.code(), Some(decided), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
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
        for (number, name) in [
            (NUMBER, NAME),
            (IMPORTED, IMPORTED_NAME),
            (NUMBER, NAMES[0]),
            (STRANGER, NAMES[1]),
            (BROKEN, NAMES[0]),
        ] {
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

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

//! A partner keeps what proves an answer: given to it alone, checked without us, and on record as given.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use drivegate::gateway::proto::get_receipt_request::Answer;
use drivegate::gateway::proto::{
    Evidence, GetReceiptRequest, GetReceiptResponse, VerifyRequest, VerifyResponse,
};
use prost_types::Timestamp;
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Partner, block_on};

const REQUEST: &str = "0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11";

async fn receipt(partner: &mut Partner, answer: Answer) -> Result<GetReceiptResponse, Status> {
    let request = GetReceiptRequest { answer: Some(answer) };
    partner.get_receipt(request).await.map(tonic::Response::into_inner)
}

fn place(log_origin: &str, entry_index: u64) -> Answer {
    Answer::Evidence(Evidence { log_origin: log_origin.to_owned(), entry_index })
}

fn where_it_stands(answer: &VerifyResponse) -> Answer {
    Answer::Evidence(answer.evidence.clone().expect("an answer is on record"))
}

fn written(moment: &Timestamp) -> String {
    let moment = jiff::Timestamp::new(moment.seconds, moment.nanos).expect("a moment");
    moment.to_string()
}

/// What the rental desk knows of an answer, as `--open` takes it.
fn known(request: &VerifyRequest, answer: &VerifyResponse, name: &str) -> Vec<String> {
    let Some(drivegate::gateway::proto::verify_request::Question::Rental(asked)) = &request.question else {
        panic!("a rental")
    };
    let (pick_up, back) = (asked.pick_up.as_ref().unwrap(), asked.r#return.as_ref().unwrap());
    let question = format!(
        "rental,pick-up={},return={},min-tenure=12,margin=0,class=C1,automatic=no,adapted=no,seats=5,mass=1900,combination-mass=0,use=private",
        written(pick_up),
        written(back),
    );
    let mut known = vec![
        format!("licence-number=resident-id:{NUMBER}"),
        format!("full-name={name}"),
        format!("case-reference={}", request.case_reference),
        format!("operator={}", request.operator_id),
        format!("question={question}"),
    ];
    if !request.request_id.is_empty() {
        known.push(format!("request-id={}", request.request_id));
    }
    known.extend(answer.reliance_until.as_ref().map(|until| format!("reliance-until={}", written(until))));
    if let Some(shown) = &answer.disclosure {
        known.extend(shown.masked_name.as_ref().map(|name| format!("masked-name={name}")));
        let band = [None, Some("under-1"), Some("1-2"), Some("3-5"), Some("6+")]
            [usize::try_from(shown.tenure_band).unwrap()];
        known.extend(band.map(|band| format!("tenure-band={band}")));
        assert!(shown.expired_on.is_none() && shown.pending.is_none() && shown.states.is_empty());
    }
    known
}

/// Runs `drivegate receipt verify`; returns whether it holds, and what it said.
fn verify(deployment: &Deployment, file: &Path, key: &str, opened: &[String]) -> (bool, Value) {
    let mut words = vec!["receipt", "verify", file.to_str().expect("text"), "--key", key, "--json"];
    for value in opened {
        words.extend(["--open", value]);
    }
    let done = deployment.try_run(&words);
    let said = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&done.stderr)));
    (done.status.success(), said)
}

fn key_of(deployment: &Deployment) -> String {
    let folder = deployment.folder();
    let said = deployment.run(&["audit", "key", folder.to_str().expect("text")]).stdout;
    String::from_utf8(said).expect("text").trim().to_owned()
}

fn keep(deployment: &Deployment, name: &str, receipt: &GetReceiptResponse) -> std::path::PathBuf {
    let path = deployment.everything().join(name);
    fs::write(&path, &receipt.receipt).expect("it can be written");
    path
}

/// Goal: what was asked and answered is proved by a file and the log's key, for confirmed and unconfirmed answers alike.
/// Method: three questions of a rental desk; receipts by place and by request id; the command checks each, with every value
/// right and with one of them wrong.
#[test]
fn a_receipt_proves_the_answer_without_the_gateway() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let names = [NAME, "另一个人"];
    let given: Vec<_> = block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        let mut given = Vec::new();
        for (name, id) in names.into_iter().zip([REQUEST, ""]) {
            let mut request = rental(NUMBER, name);
            request.request_id = id.to_owned();
            let answer = desk.verify(request.clone()).await.expect("an answer").into_inner();
            let asked = if id.is_empty() { where_it_stands(&answer) } else { Answer::RequestId(id.into()) };
            let receipt = receipt(&mut desk, asked).await.expect("its receipt");
            assert_eq!(receipt.evidence, answer.evidence);
            assert!(!receipt.subject_erased);
            given.push((request, answer, receipt));
        }
        given
    });
    let key = key_of(&deployment);
    assert!(gateway.stop(), "from here on there is no gateway");

    for ((request, answer, receipt), name) in given.iter().zip(names) {
        let file = keep(
            &deployment,
            &format!("{}.tlog-proof", receipt.evidence.as_ref().unwrap().entry_index),
            receipt,
        );
        let (holds, said) = verify(&deployment, &file, &key, &[]);
        assert!(holds, "{said}");
        assert_eq!(said["partner"], "rental-demo");
        let values = known(request, answer, name);
        let (holds, said) = verify(&deployment, &file, &key, &values);
        assert!(holds, "{said}");
        assert_eq!(said["root_checked"], true);
        assert_eq!(said["closed"].as_array().map(Vec::len), Some(0), "{said}");

        let mut lied = values.clone();
        lied[3] = "operator=clerk-18".to_owned();
        let (holds, said) = verify(&deployment, &file, &key, &lied);
        assert!(!holds && said["fault"].as_str().is_some_and(|fault| fault.contains("root")), "{said}");
        let (holds, said) = verify(&deployment, &file, &key, &values[..1]);
        assert!(!holds && said["fault"].as_str().is_some_and(|fault| fault.contains("full-name")), "{said}");
    }

    // Shown on: only the case can still be looked at.
    let (request, answer, receipt) = &given[0];
    let file = keep(&deployment, "mine.tlog-proof", receipt);
    let shown = deployment.everything().join("shown.tlog-proof");
    let values = known(request, answer, NAME);
    let mut words = vec!["receipt", "strike", file.to_str().unwrap(), "--out", shown.to_str().unwrap()];
    words.extend(["--keep", "case-reference"]);
    for value in &values {
        words.extend(["--open", value]);
    }
    deployment.run(&words);
    let (holds, said) =
        verify(&deployment, &shown, &key, &[format!("case-reference={}", request.case_reference)]);
    assert!(holds && said["root_checked"] == true, "{said}");
    let (holds, _) = verify(&deployment, &shown, &key, &values[..1]);
    assert!(!holds, "a struck value can no longer be shown");
}

fn told(refused: &Status) -> (Code, String, String) {
    let reason = refused.get_error_details().error_info().map(|info| info.reason.clone());
    (refused.code(), reason.unwrap_or_default(), refused.message().to_owned())
}

/// Goal: nobody learns from a refusal what stands in the log. Method: one entry of another partner, ones that do not exist, logs that do
/// not exist, an unknown request id, all asked for at once: one code, one reason, one text, one moment.
#[test]
fn what_is_not_ones_own_is_refused_alike() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let refusals = block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        let mut asked = rental(NUMBER, NAME);
        asked.request_id = REQUEST.to_owned();
        let answer = desk.verify(asked).await.expect("an answer").into_inner();
        let evidence = answer.evidence.expect("it is on record");
        let origin = evidence.log_origin.as_str();
        let questions = [
            place(origin, evidence.entry_index),
            place(origin, evidence.entry_index + 1000),
            place(origin, u64::MAX),
            place("gw-9-0123456789abcdef", 0),
            place("../../etc/passwd", 0),
            Answer::RequestId(REQUEST.to_owned()),
        ];
        let insurer = gateway.partner("insurer-demo").await;
        let ask = |question: Answer| {
            let mut insurer = insurer.clone();
            async move {
                let begun = Instant::now();
                let refused = receipt(&mut insurer, question).await.expect_err("it is not its own");
                (told(&refused), begun.elapsed())
            }
        };
        let mut refusals = Vec::new();
        for question in questions {
            refusals.push(ask(question).await);
        }
        assert!(receipt(&mut desk, place(origin, evidence.entry_index)).await.is_ok(), "its own it is given");
        refusals
    });
    for (refusal, took) in &refusals {
        assert_eq!(*refusal, refusals[0].0);
        assert_eq!((refusal.0, refusal.1.as_str()), (Code::NotFound, "ENTRY_NOT_FOUND"));
        let expected = Duration::from_millis(1_090)..Duration::from_millis(1_600);
        assert!(expected.contains(took), "it took {took:?}");
    }
}

/// Goal: to look is on record too. Method: one answer, its receipt twice, one refusal; then the log is exported.
#[test]
fn a_receipt_given_is_an_entry_of_the_log() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let (origin, index) = block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        let answer = desk.verify(rental(NUMBER, NAME)).await.expect("an answer").into_inner();
        for _ in 0..2 {
            receipt(&mut desk, where_it_stands(&answer)).await.expect("its receipt");
        }
        let mut insurer = gateway.partner("insurer-demo").await;
        receipt(&mut insurer, where_it_stands(&answer)).await.expect_err("it is not the insurer's");
        let evidence = answer.evidence.expect("on record");
        (evidence.log_origin, evidence.entry_index)
    });
    assert!(gateway.stop());
    let folder = deployment.folder();
    let lines = deployment.run(&["audit", "export", folder.to_str().expect("text")]).stdout;
    let lines = String::from_utf8(lines).expect("text");
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let accesses: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "access").collect();
    assert_eq!(accesses.len(), 2, "{lines}");
    for access in accesses {
        assert_eq!(access["partner"], "rental-demo");
        assert_eq!(access["accessed_origin"], origin.as_str());
        assert_eq!(access["accessed_index"], index);
        assert_eq!(access["outcome"], "opened");
    }
    let refused = entries.iter().find(|entry| entry["kind"] == "refusals").expect("a refusal is an entry");
    assert_eq!(
        (&refused["reason"], &refused["partner"]),
        (&"ENTRY_NOT_FOUND".into(), &"insurer-demo".into())
    );
}

/// The commands a partner types: fetched to a file of its own, never over another, refused as the gateway says.
#[test]
fn the_command_fetches_a_receipt_to_a_file() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let answer = ask(&gateway);
    let evidence = answer.evidence.expect("on record");
    let folder = deployment.folder();
    let (address, index) = (gateway.address().to_string(), evidence.entry_index.to_string());
    let get = |partner: &str, out: &Path| {
        deployment.try_run(&[
            "receipt",
            "get",
            "--dir",
            folder.to_str().unwrap(),
            "--server",
            &address,
            "--as",
            partner,
            "--origin",
            &evidence.log_origin,
            "--index",
            &index,
            "--out",
            out.to_str().unwrap(),
        ])
    };
    let out = deployment.everything().join("fetched.tlog-proof");
    assert!(get("rental-demo", &out).status.success());
    let (holds, said) = verify(&deployment, &out, &key_of(&deployment), &[]);
    assert!(holds && said["index"] == evidence.entry_index, "{said}");
    let again = get("rental-demo", &out);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "nothing is written over");
    let other = deployment.everything().join("other.tlog-proof");
    let refused = get("insurer-demo", &other);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("ENTRY_NOT_FOUND") && !other.exists());
}

fn ask(gateway: &Gateway<'_>) -> VerifyResponse {
    block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        desk.verify(rental(NUMBER, NAME)).await.expect("an answer").into_inner()
    })
}

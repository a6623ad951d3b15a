use std::path::PathBuf;

use clap::Parser;

use super::*;
use crate::gateway::proto::verify_request;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    verify: VerifyCommand,
}

const NUMBER: &str = "000000199001011236";

fn parse(line: &[&str]) -> Result<VerifyCommand, clap::Error> {
    Line::try_parse_from([&["verify"], line].concat()).map(|line| line.verify)
}

fn call(line: &[&str]) -> miette::Result<Call> {
    let lines = [NUMBER, "欧阳娜娜"];
    let mut next = lines.iter();
    let now = "2026-03-01T02:00:00Z".parse().unwrap();
    parse(line).unwrap().question.into_call(now, || Ok((*next.next().unwrap()).to_owned()))
}

fn request(line: &[&str]) -> proto::VerifyRequest {
    match call(line).unwrap() {
        Call::Verify(request) => *request,
        Call::Limits | Call::Contract => panic!("no question"),
    }
}

#[test]
fn the_line_of_the_help_becomes_a_rental_question() {
    let line = [
        "--dir",
        "demo",
        "--as",
        "rental-demo",
        "rental",
        "--number",
        NUMBER,
        "--name",
        "张三",
        "--document",
        "resident-id",
        "--ground",
        "contract",
        "--pick-up",
        "+1d",
        "--return",
        "+4d",
        "--class",
        "C1",
        "--min-tenure",
        "12",
        "--fields",
        "masked-name",
        "--max-age",
        "0",
    ];
    let request = request(&line);
    let Some(verify_request::Question::Rental(asked)) = request.question else { panic!("not a rental") };
    assert_eq!(asked.r#return.unwrap().seconds - asked.pick_up.unwrap().seconds, 3 * 86_400);
    assert_eq!(asked.min_tenure_months, 12);
    assert_eq!(
        asked.vehicle.unwrap().kind,
        Some(proto::vehicle::Kind::Class(proto::VehicleClass::C1.into()))
    );
    assert_eq!(request.fields, [i32::from(proto::Field::MaskedName)]);
    assert_eq!(request.max_age, Some(prost_types::Duration { seconds: 0, nanos: 0 }));
    let Some(verify_request::Subject::Claim(claim)) = request.subject else { panic!("no claim") };
    assert!(claim.licence_number == NUMBER && claim.ground.unwrap().subject_is_party);
}

#[test]
fn number_and_name_come_from_standard_input() {
    let line = [
        "insurance-claim",
        "--number",
        "-",
        "--ground",
        "legal-duty",
        "--occurred-at",
        "-10d",
        "--known-at",
        "-5d",
        "--known-position",
        "(1, 0, 42)",
        "--type-code",
        "K33",
    ];
    let request = request(&line);
    assert!(request.known_at.is_some());
    let position = proto::FeedPosition { epoch: 1, partition: 0, seq: 42 };
    assert_eq!(request.known_position, Some(position));
    let Some(verify_request::Subject::Claim(claim)) = request.subject else { panic!("no claim") };
    assert!(claim.licence_number == NUMBER && claim.full_name == "欧阳娜娜");
}

#[test]
fn what_cannot_be_used_is_named_and_identifiers_are_not() {
    let told = |line: &[&str]| format!("{:?}", call(line).err().unwrap());
    let rental = ["rental", "--number", NUMBER, "--ground", "contract"];
    assert!(told(&rental).contains("which vehicle?"));
    assert!(told(&[&rental[..], &["--class", "C1", "--pick-up", "soon"]].concat()).contains("--pick-up"));
    let consent = ["insurance-purchase", "--number", NUMBER, "--ground", "consent", "--class", "C1"];
    assert!(told(&consent).contains("--consent-record"));
    let shown = format!("{:?}", parse(&[&rental[..], &["--class", "C1"]].concat()).unwrap());
    assert!(!shown.contains(NUMBER), "{shown}");
}

#[test]
fn limits_and_contract_need_no_subject() {
    assert!(matches!(call(&["limits"]).unwrap(), Call::Limits));
    assert!(matches!(call(&["contract", "--json"]).unwrap(), Call::Contract));
    assert!(parse(&["rental", "--ground", "curiosity", "--number", NUMBER]).is_err());
}

#[test]
fn a_partner_needs_credentials() {
    let told = |line: &[&str]| {
        let command = parse(line).unwrap();
        let found = command.partner.credentials(&command.connection);
        found.map_err(|report| report.help().unwrap().to_string())
    };
    assert_eq!(told(&["limits", "--as", "rental-demo"]).unwrap_err(), "add --dir DIR");
    assert!(told(&["limits", "--dir", "demo"]).unwrap_err().starts_with("give --dir DIR --as PARTNER"));
    let files = told(&["limits", "--dir", "demo", "--as", "rental-demo"]).unwrap();
    assert_eq!(files.ca, PathBuf::from("demo/pki/ca.pem"));
    assert_eq!(files.certificate.unwrap().1, PathBuf::from("demo/pki/rental-demo.key"));
    assert!(told(&["limits", "--ca", "a", "--cert", "b", "--key", "c"]).is_ok());
}

#[test]
fn the_exit_status_tells_refusal_from_error_and_the_decision_on_request() {
    let no = Ended::Answered(Some(proto::Decision::NotQualified));
    assert_eq!((no.status(false), no.status(true)), (0, 10));
    assert_eq!(Ended::Answered(Some(proto::Decision::Indeterminate)).status(true), 11);
    assert_eq!(Ended::Answered(Some(proto::Decision::Qualified)).status(true), 0);
    assert_eq!((Ended::Refused.status(true), Ended::Failed.status(false)), (3, 4));
}

#[test]
fn what_a_driver_showed_takes_the_place_of_number_name_and_ground() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("code.png");
    let drawing = crate::cli::qr::QrDrawing::of("DG1:SHOWN", crate::cli::qr::Ink::Black).unwrap();
    drawing.save(&image, crate::identity::Existing::Keep).unwrap();
    for (shown, expected) in [
        (["--qr", "DG1: SHOWN"], "DG1: SHOWN"),
        (["--qr", "-"], NUMBER),
        (["--share-code", "7kq4m 0zt9r b3xc"], "7kq4m 0zt9r b3xc"),
        (["--qr-image", image.to_str().unwrap()], "DG1:SHOWN"),
    ] {
        let request = request(&[&["rental", "--class", "C1"], &shown[..]].concat());
        let Some(verify_request::Subject::Presentation(text)) = request.subject else { panic!("{shown:?}") };
        assert_eq!(text, expected);
        assert_eq!(request.request_id.len(), 36, "drawn: {}", request.request_id);
    }
    let named = ["rental", "--class", "C1", "--qr", "DG1:A", "--request-id", "my-request-1"];
    assert_eq!(call(&named).unwrap().spends_as(), Some("my-request-1"));
    let claim = ["rental", "--class", "C1", "--number", NUMBER, "--ground", "contract"];
    assert_eq!(call(&claim).unwrap().spends_as(), None);
}

#[test]
fn a_subject_is_either_shown_or_claimed() {
    let rental = ["rental", "--class", "C1"];
    for rest in [
        &[][..],
        &["--number", NUMBER],
        &["--ground", "contract"],
        &["--qr", "DG1:A", "--number", NUMBER],
        &["--qr", "DG1:A", "--ground", "contract"],
        &["--qr", "DG1:A", "--share-code", "A"],
        &["--qr-image", "a.png", "--share-code", "A"],
    ] {
        assert!(parse(&[&rental, rest].concat()).is_err(), "{rest:?}");
    }
    let unreadable = call(&["rental", "--class", "C1", "--qr-image", "/nowhere.png"]).err().unwrap();
    assert!(unreadable.to_string().contains("/nowhere.png"));
}

#[test]
fn a_peer_scan_names_who_scans() {
    let request = request(&["peer-scan", "--scanner-number", NUMBER, "--qr", "DG1:A"]);
    let Some(verify_request::Question::PeerScan(asked)) = request.question else { panic!("no peer scan") };
    assert!(asked.scanner.unwrap().licence_number == NUMBER);
    let shown = format!("{:?}", parse(&["peer-scan", "--scanner-number", NUMBER, "--qr", "A"]).unwrap());
    assert!(!shown.contains(NUMBER), "{shown}");
}

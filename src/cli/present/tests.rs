use clap::Parser;

use super::*;
use crate::gateway::proto::audience::Whom;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    present: PresentCommand,
}

const NUMBER: &str = "000000199001010114";
const ID: &str = "00112233445566778899aabbccddeeff";

fn parse(line: &[&str]) -> Result<PresentCommand, clap::Error> {
    Line::try_parse_from([&["present"], line].concat()).map(|line| line.present)
}

fn call(line: &[&str]) -> Call {
    parse(line).unwrap().presentation.into_call(|| Ok(NUMBER.to_owned())).unwrap()
}

#[test]
fn a_qr_code_is_for_nobody_told_or_for_a_purpose_and_an_audience() {
    let Call::Qr(bare) = call(&["--number", "-"]) else { panic!("no QR code") };
    assert!(bare.holder.unwrap().licence_number == NUMBER && bare.audience.is_none() && bare.purpose == 0);
    let line =
        ["--number", NUMBER, "--purpose", "rental", "--audience-kind", "rental", "--fields", "masked-name"];
    let Call::Qr(told) = call(&line) else { panic!("no QR code") };
    assert_eq!(told.purpose(), proto::Purpose::Rental);
    assert_eq!(told.audience.unwrap().whom, Some(Whom::Kind(proto::PartnerKind::Rental.into())));
    assert_eq!(told.fields, [i32::from(proto::Field::MaskedName)]);
}

#[test]
fn a_share_code_has_uses_and_a_lifetime() {
    let line = [
        "--number",
        NUMBER,
        "--share-code",
        "--purpose",
        "recruitment",
        "--audience-partner",
        "recruiter-demo",
        "--no-fields",
        "--uses",
        "2",
        "--lifetime",
        "7d",
    ];
    let Call::ShareCode(request) = call(&line) else { panic!("no share code") };
    assert_eq!(request.audience.unwrap().whom, Some(Whom::PartnerId("recruiter-demo".to_owned())));
    assert_eq!((request.uses, request.no_fields), (2, true));
    assert_eq!(request.lifetime.unwrap().seconds, 7 * 86_400);
}

#[test]
fn a_presentation_is_taken_back_by_its_id() {
    let Call::Revoke(request) = call(&["--number", NUMBER, "--revoke", ID]) else { panic!("no revocation") };
    assert_eq!(crate::config::hex(&request.presentation_id), ID);
}

#[test]
fn what_does_not_go_together_is_refused_before_anybody_is_asked() {
    let number = ["--number", NUMBER];
    for rest in [
        &["--purpose", "rental"][..],
        &["--audience-kind", "rental"],
        &["--purpose", "rental", "--audience-kind", "rental", "--audience-partner", "rental-demo"],
        &["--share-code"],
        &["--uses", "2"],
        &["--lifetime", "2d"],
        &["--force"],
        &["--no-fields", "--fields", "states"],
        &["--revoke", "00"],
        &["--revoke", ID, "--share-code"],
        &["--revoke", ID, "--png", "x.png"],
        &["--purpose", "curiosity", "--audience-kind", "rental"],
    ] {
        assert!(parse(&[&number, rest].concat()).is_err(), "{rest:?}");
    }
    let share = ["--share-code", "--purpose", "rental", "--audience-kind", "rental"];
    for bad in [
        &["--uses", "0"][..],
        &["--uses", "11"],
        &["--lifetime", "+7d"],
        &["--lifetime", "soon"],
        &["--png", "x"],
    ] {
        assert!(parse(&[&number[..], &share, bad].concat()).is_err(), "{bad:?}");
    }
    let shown = format!("{:?}", parse(&number).unwrap());
    assert!(!shown.contains(NUMBER), "{shown}");
    let nobody = parse(&["--number", "-"]).unwrap().presentation.into_call(|| Ok(String::new()));
    assert_eq!(nobody.err().unwrap().to_string(), "whose licence?");
}

#[test]
fn a_file_that_is_there_is_noticed_before_a_code_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("code.png");
    let image = |replaces| Image { path: Some(path.clone()), replaces };
    assert!(image(false).check().is_ok());
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert!(image(false).check().is_err() && image(true).check().is_ok());
    assert!(Image { path: None, replaces: false }.check().is_ok());
}

fn issued(display: proto::Display) -> proto::IssueQrResponse {
    proto::IssueQrResponse {
        token: "DG1:TOKEN".to_owned(),
        presentation_id: vec![0xab; 16],
        expires_at: Some(prost_types::Timestamp { seconds: 1_772_330_400, nanos: 0 }),
        display: display.into(),
        deferred: true,
        subject_ref: "ref".to_owned(),
        environment: proto::Environment::Sandbox.into(),
    }
}

#[test]
fn a_person_sees_the_code_in_its_colour_with_text_and_time() {
    let shown = Answer::Qr(issued(proto::Display::Red)).render(Terminal::colourful(), None).unwrap();
    for part in [
        "38;2;176;0;0",
        "█",
        "DG1:TOKEN",
        "RED",
        "延期",
        &"ab".repeat(16),
        "2026-03-01 10:00:00 CST",
        "SANDBOX",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let normal = Answer::Qr(issued(proto::Display::Normal)).render(Terminal::colourful(), None).unwrap();
    assert!(normal.contains("38;2;0;0;0") && normal.contains("NORMAL"));
    let saved = Answer::Qr(issued(proto::Display::Red)).render(Terminal::plain(), Some(Path::new("a.png")));
    assert!(!saved.as_ref().unwrap().contains('█') && saved.unwrap().contains("a.png"));
    let code = proto::IssueShareCodeResponse { code: "CODE".to_owned(), uses: 2, ..Default::default() };
    assert!(Answer::ShareCode(code).render(Terminal::plain(), None).unwrap().contains("2 requests"));
    let revoked = proto::RevokeResponse { uses_revoked: 1, uses_spent: 2 };
    assert!(Answer::Revoked(revoked).render(Terminal::plain(), None).unwrap().contains("2 before"));
}

#[test]
fn a_program_reads_the_words_of_the_contract() {
    let value = Answer::Qr(issued(proto::Display::Red)).to_json(None);
    assert_eq!(value["token"], "DG1:TOKEN");
    assert_eq!(value["display"], "RED");
    assert_eq!(value["presentation_id"], "ab".repeat(16));
    assert_eq!(value["expires_at"], "2026-03-01T02:00:00Z");
    let code = proto::IssueShareCodeResponse { code: "CODE".to_owned(), uses: 2, ..Default::default() };
    assert_eq!(Answer::ShareCode(code).to_json(None)["code"], "CODE");
    let revoked = proto::RevokeResponse { uses_revoked: 1, uses_spent: 2 };
    assert_eq!(Answer::Revoked(revoked).to_json(None)["uses_spent"], 2);
}

#[test]
fn what_is_saved_is_what_was_issued() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image { path: Some(folder.path().join("code.png")), replaces: false };
    image.save(&Answer::Qr(issued(proto::Display::Red))).unwrap();
    assert_eq!(crate::cli::qr::text_in(image.path.as_deref().unwrap()).unwrap(), "DG1:TOKEN");
    image.save(&Answer::Revoked(proto::RevokeResponse::default())).unwrap();
}

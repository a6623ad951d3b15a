//! What is accepted, and what each fault is called.

use jiff::ToSpan as _;

use super::*;
use crate::domain::presentation::{PresentationKind, ShareCode};
use crate::gateway::proto::verify_request;

fn now() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn moment(offset_hours: i64) -> Option<prost_types::Timestamp> {
    let moment = now() + offset_hours.hours();
    Some(prost_types::Timestamp { seconds: moment.as_second(), nanos: 0 })
}

fn small_car() -> Option<proto::Vehicle> {
    let kind = proto::vehicle::Kind::Class(proto::VehicleClass::C1.into());
    Some(proto::Vehicle { kind: Some(kind), ..proto::Vehicle::default() })
}

fn rental() -> proto::RentalQuestion {
    proto::RentalQuestion {
        pick_up: moment(1),
        r#return: moment(73),
        vehicle: small_car(),
        ..Default::default()
    }
}

fn well_formed() -> proto::VerifyRequest {
    proto::VerifyRequest {
        subject: Some(verify_request::Subject::Claim(proto::Claim {
            document_kind: proto::DocumentKind::ResidentId.into(),
            licence_number: "000000199001010018".to_owned(),
            full_name: "测试甲".to_owned(),
            file_number: String::new(),
            ground: Some(proto::Ground {
                kind: proto::GroundKind::Contract.into(),
                consent: None,
                subject_is_party: true,
            }),
        })),
        question: Some(verify_request::Question::Rental(rental())),
        case_reference: "R-1".to_owned(),
        case_category: "counter".to_owned(),
        operator_id: "clerk-1".to_owned(),
        ..proto::VerifyRequest::default()
    }
}

fn parse_whole(message: proto::VerifyRequest) -> Result<Request, RequestFault> {
    parse_request(message, RequestRules { numbers: NumberRules { accept_test_numbers: true }, now: now() })
}

fn parse(message: proto::VerifyRequest) -> Result<Request, Vec<FieldFault>> {
    parse_whole(message).map_err(fields)
}

fn fields(fault: RequestFault) -> Vec<FieldFault> {
    match fault {
        RequestFault::Fields(faults) => faults,
        RequestFault::Shown(refusal) => panic!("fields are at fault, not what was shown: {refusal:?}"),
    }
}

fn shown(text: &str) -> proto::VerifyRequest {
    proto::VerifyRequest {
        subject: Some(verify_request::Subject::Presentation(text.to_owned())),
        request_id: "request-1".to_owned(),
        ..well_formed()
    }
}

#[test]
fn what_a_driver_shows_takes_the_place_of_a_claim() {
    let code = ShareCode::generate(&[7; 13]).to_text();
    for (text, kind) in [
        ("DG1:ABC", PresentationKind::Qr),
        (code.as_str(), PresentationKind::ShareCode),
        (&code.to_lowercase().replace('-', " "), PresentationKind::ShareCode),
    ] {
        let Ok(Request { about: About::Shown(shown), .. }) = parse(shown(text)) else { panic!("{text}") };
        assert_eq!(shown.kind(), kind);
    }
}

#[test]
fn what_is_shown_and_cannot_be_read_has_a_reason_of_its_own() {
    let code = ShareCode::generate(&[7; 13]).to_text();
    let wrong = if code.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{wrong}", &code[..code.len() - 1]);
    for (text, refusal) in [
        ("", ShownRefusal::Malformed),
        ("https://example.org", ShownRefusal::Malformed),
        (mistyped.as_str(), ShownRefusal::ShareCodeMistyped),
    ] {
        assert_eq!(parse_whole(shown(text)).err(), Some(RequestFault::Shown(refusal)), "{text}");
    }
    // What the partner must mend comes first.
    let unnamed = proto::VerifyRequest { request_id: String::new(), ..shown("") };
    assert_eq!(parse(unnamed).unwrap_err()[0].path, "request_id");
}

#[test]
fn something_shown_needs_a_request_id_and_a_peer_scan_its_scanner() {
    let unnamed = proto::VerifyRequest { request_id: String::new(), ..shown("DG1:ABC") };
    assert_eq!(parse(unnamed).unwrap_err()[0].path, "request_id");
    let scan = |scanner| proto::VerifyRequest {
        question: Some(verify_request::Question::PeerScan(proto::PeerScanQuestion { scanner })),
        ..shown("DG1:ABC")
    };
    let document_kind = proto::DocumentKind::ResidentId.into();
    let holder = |number: &str| Some(proto::Holder { document_kind, licence_number: number.to_owned() });
    assert!(matches!(parse(scan(holder("000000199001010018"))).unwrap().question, Question::PeerScan { .. }));
    for (scanner, path) in [
        (None, "peer_scan.scanner"),
        (Some(proto::Holder::default()), "peer_scan.scanner.document_kind"),
        (holder("000000199001010013"), "peer_scan.scanner.licence_number"),
    ] {
        assert_eq!(parse(scan(scanner)).unwrap_err()[0].path, path);
    }
}

/// Breaks one thing and names the field that must be blamed.
fn assert_blamed(path: &str, break_it: impl FnOnce(&mut proto::VerifyRequest)) {
    let mut message = well_formed();
    break_it(&mut message);
    let faults = parse(message).expect_err("a broken request is refused");
    assert!(faults.iter().any(|fault| fault.path == path), "{path} is not among {faults:?}");
}

fn claim(message: &mut proto::VerifyRequest) -> &mut proto::Claim {
    match &mut message.subject {
        Some(verify_request::Subject::Claim(claim)) => claim,
        _ => panic!("the message has a claim"),
    }
}

fn asked_rental(message: &mut proto::VerifyRequest) -> &mut proto::RentalQuestion {
    match &mut message.question {
        Some(verify_request::Question::Rental(rental)) => rental,
        _ => panic!("the message asks about a rental"),
    }
}

#[test]
fn a_well_formed_request_is_accepted() {
    let request = parse(well_formed()).unwrap();
    assert_eq!(request.case_reference, "R-1");
    assert_eq!(request.known_at, None);
    assert!(request.fields.is_empty());
}

#[test]
fn absent_parts_are_blamed_by_name() {
    assert_blamed("subject", |message| message.subject = None);
    assert_blamed("question", |message| message.question = None);
    assert_blamed("claim.ground", |message| claim(message).ground = None);
    assert_blamed("claim.document_kind", |message| claim(message).document_kind = 0);
    assert_blamed("case_reference", |message| message.case_reference.clear());
    assert_blamed("operator_id", |message| message.operator_id.clear());
    assert_blamed("rental.vehicle", |message| asked_rental(message).vehicle = None);
    assert_blamed("rental.pick_up", |message| asked_rental(message).pick_up = None);
}

#[test]
fn numbers_and_names_are_held_to_their_rules() {
    let number = |text: &'static str| {
        move |message: &mut proto::VerifyRequest| claim(message).licence_number = text.into()
    };
    assert_blamed("claim.licence_number", number("000000199001010013"));
    assert_blamed("claim.licence_number", number("000000199002300017"));
    assert_blamed("claim.licence_number", number(" 000000199001010018"));
    assert_blamed("claim.licence_number", number(""));
    let name = |text: String| move |message: &mut proto::VerifyRequest| claim(message).full_name = text;
    assert_blamed("claim.full_name", name(String::new()));
    assert_blamed("claim.full_name", name("甲".repeat(3_334)));
    assert_blamed("claim.full_name", name("测试\u{202e}甲".to_owned()));
    assert_blamed("claim.full_name", name("测试\u{7}甲".to_owned()));
    assert_blamed("claim.file_number", |message| claim(message).file_number = "12345".into());
}

#[test]
fn a_test_number_is_refused_in_production() {
    let rules = RequestRules { numbers: NumberRules::default(), now: now() };
    let faults = fields(parse_request(well_formed(), rules).unwrap_err());
    assert_eq!(faults[0].path, "claim.licence_number");
}

#[test]
fn moments_must_make_sense() {
    assert_blamed("rental.return", |message| asked_rental(message).r#return = moment(0));
    assert_blamed("rental.pick_up", |message| asked_rental(message).pick_up = moment(-25));
    assert_blamed("rental.return", |message| asked_rental(message).r#return = moment(24 * 400));
    assert_blamed("insurance_claim.occurred_at", |message| {
        message.question = Some(verify_request::Question::InsuranceClaim(proto::InsuranceClaimQuestion {
            occurred_at: moment(1),
            vehicle: small_car(),
            coverage_edition: proto::CoverageEdition::Compulsory.into(),
        }));
    });
    assert_blamed("known_at", |message| message.known_at = moment(-1));
    let position = |partition| Some(proto::FeedPosition { epoch: 1, partition, seq: 7 });
    assert_blamed("known_position", |message| message.known_position = position(0));
    assert_blamed("rental.pick_up", |message| {
        asked_rental(message).pick_up = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
    });
    assert_blamed("max_age", |message| {
        message.max_age = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    });
}

#[test]
fn unknown_values_are_no_values() {
    assert_blamed("claim.document_kind", |message| claim(message).document_kind = 99);
    assert_blamed("claim.ground.kind", |message| {
        claim(message).ground = Some(proto::Ground { kind: 99, ..proto::Ground::default() });
    });
    assert_blamed("fields", |message| message.fields = vec![99]);
    assert_blamed("fields", |message| message.fields = vec![1; 17]);
    assert_blamed("rental.vehicle.ga164_code", |message| {
        asked_rental(message).vehicle = Some(proto::Vehicle {
            kind: Some(proto::vehicle::Kind::Ga164Code("?!".to_owned())),
            ..proto::Vehicle::default()
        });
    });
    assert_blamed("rental.vehicle.use", |message| {
        asked_rental(message).vehicle.as_mut().unwrap().r#use = 99;
    });
    assert_blamed("rental.vehicle.seats", |message| {
        asked_rental(message).vehicle.as_mut().unwrap().seats = Some(0);
    });
}

#[test]
fn consent_needs_its_evidence() {
    let consent = |consent: Option<proto::ConsentEvidence>| {
        move |message: &mut proto::VerifyRequest| {
            claim(message).ground = Some(proto::Ground {
                kind: proto::GroundKind::Consent.into(),
                consent,
                subject_is_party: false,
            });
        }
    };
    let given = || proto::ConsentEvidence {
        obtained_at: moment(-1),
        expires_at: moment(24),
        notice_version: "2026-03".to_owned(),
        evidence_sha256: vec![7; 32],
    };
    let mut message = well_formed();
    consent(Some(given()))(&mut message);
    assert!(parse(message).is_ok());

    assert_blamed("claim.ground.consent", consent(None));
    assert_blamed(
        "claim.ground.consent.evidence_sha256",
        consent(Some(proto::ConsentEvidence { evidence_sha256: vec![7; 31], ..given() })),
    );
    assert_blamed(
        "claim.ground.consent.expires_at",
        consent(Some(proto::ConsentEvidence { expires_at: moment(-2), ..given() })),
    );
    assert_blamed(
        "claim.ground.consent.obtained_at",
        consent(Some(proto::ConsentEvidence { obtained_at: moment(1), ..given() })),
    );
}

#[test]
fn several_faults_are_told_at_once_and_no_value_is_repeated() {
    let mut message = well_formed();
    claim(&mut message).licence_number = "MARKED-NUMBER".to_owned();
    message.operator_id = "MARKED OPERATOR".to_owned();
    message.request_id = "MARKED!".to_owned();
    let faults = parse(message).unwrap_err();
    assert_eq!(faults.len(), 3);
    assert!(!format!("{faults:?}").contains("MARKED"));
}

use super::*;
use crate::domain::licence::{DocumentKind, NumberRules};
use crate::domain::question::Purpose;
use crate::gateway::convert::request::RequestRules;
use crate::gateway::proto::{self, audience};
use crate::issuing::Told;

fn rules() -> RequestRules {
    RequestRules {
        numbers: NumberRules { accept_test_numbers: true },
        now: "2026-11-22T00:00:00Z".parse().unwrap(),
    }
}

fn holder() -> Option<proto::Holder> {
    let document_kind = DocumentKind::ResidentId.code().into();
    Some(proto::Holder { document_kind, licence_number: "000000199001010018".into() })
}

fn rental() -> proto::IssueQrRequest {
    let whom = Some(audience::Whom::Kind(proto::PartnerKind::Rental.into()));
    proto::IssueQrRequest {
        holder: holder(),
        purpose: proto::Purpose::Rental.into(),
        audience: Some(proto::Audience { whom }),
        ..Default::default()
    }
}

fn paths(faults: Vec<crate::gateway::convert::FieldFault>) -> Vec<&'static str> {
    faults.into_iter().map(|fault| fault.path).collect()
}

#[test]
fn what_a_driver_agreed_to_is_read_as_it_was_meant() {
    let asked = parse_qr(rental(), rules()).unwrap();
    assert_eq!(asked.agreed.purpose, Some(Purpose::Rental));
    assert!(matches!(asked.agreed.audience, Some(Told::Kind(_))) && asked.agreed.fields.is_none());
    let decision_alone = parse_qr(proto::IssueQrRequest { no_fields: true, ..rental() }, rules()).unwrap();
    assert!(decision_alone.agreed.fields.is_some_and(|fields| fields.is_empty()));
    let named = vec![proto::Field::MaskedName.into()];
    let some = parse_qr(proto::IssueQrRequest { fields: named, ..rental() }, rules()).unwrap();
    assert!(some.agreed.fields.is_some_and(|fields| !fields.is_empty()));
    let nothing = proto::IssueQrRequest { purpose: 0, audience: None, ..rental() };
    let nothing = parse_qr(nothing, rules()).unwrap();
    assert!(nothing.agreed.purpose.is_none() && nothing.agreed.audience.is_none());
}

#[test]
fn every_fault_is_named_by_its_path() {
    let faults = |request| paths(parse_qr(request, rules()).unwrap_err());
    assert_eq!(faults(proto::IssueQrRequest { holder: None, ..rental() }), ["holder"]);
    assert_eq!(faults(proto::IssueQrRequest { purpose: 99, ..rental() }), ["purpose"]);
    let nobody = Some(proto::Audience { whom: None });
    assert_eq!(faults(proto::IssueQrRequest { audience: nobody, ..rental() }), ["audience.whom"]);
    let strange = Some(proto::Audience { whom: Some(audience::Whom::PartnerId("No Such".into())) });
    assert_eq!(faults(proto::IssueQrRequest { audience: strange, ..rental() }), ["audience.partner_id"]);
    assert_eq!(faults(proto::IssueQrRequest { fields: vec![99], ..rental() }), ["fields"]);
    let both = proto::IssueQrRequest { fields: vec![1], no_fields: true, ..rental() };
    assert_eq!(faults(both), ["no_fields"]);
    let wrong = Some(proto::Holder { document_kind: 1, licence_number: "000000199001010019".into() });
    assert_eq!(faults(proto::IssueQrRequest { holder: wrong, ..rental() }), ["holder.licence_number"]);
}

#[test]
fn lifetimes_are_whole_seconds_and_pages_have_bounds() {
    let lifetime = Some(prost_types::Duration { seconds: 3600, nanos: 1 });
    let request = proto::IssueShareCodeRequest { holder: holder(), lifetime, ..Default::default() };
    assert_eq!(paths(parse_share_code(request, rules()).unwrap_err()), ["lifetime"]);
    assert_eq!(paths(parse_list(holder(), 101, Vec::new(), rules()).unwrap_err()), ["page_size"]);
    let asked = parse_list(holder(), 0, vec![7], rules()).unwrap();
    assert_eq!((asked.size, asked.token), (50, Some(vec![7])));
    for bytes in [0, 15, 17] {
        let request = proto::RevokeRequest { holder: holder(), presentation_id: vec![0; bytes] };
        assert_eq!(paths(parse_revoke(request, rules()).unwrap_err()), ["presentation_id"]);
    }
    let many =
        proto::WatchAccessesRequest { holders: vec![holder().unwrap(); 1001], resume_token: Vec::new() };
    assert_eq!(paths(parse_watch(many, rules()).unwrap_err()), ["holders"]);
}

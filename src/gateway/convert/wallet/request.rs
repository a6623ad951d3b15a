//! What a wallet asks for, parsed.

use jiff::SignedDuration;

use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::{Holder, PresentationId};
use crate::domain::question::Purpose;
use crate::evidence::WATCHED_HOLDERS_MAX;
use crate::gateway::convert::request::{Faults, FieldFault, HolderPaths, RequestRules, parse_holder};
use crate::gateway::proto::{self, audience};
use crate::issuing::ports::ConsentId;
use crate::issuing::{Agreed, PAGE_MAX, QrRequest, ShareCodeRequest, Told};

const FIELDS_MAX: usize = 16;
const PAGE_DEFAULT: usize = 50;
const HOLDER: HolderPaths =
    HolderPaths { whole: "holder", document: "holder.document_kind", number: "holder.licence_number" };
const HOLDERS: HolderPaths =
    HolderPaths { whole: "holders", document: "holders.document_kind", number: "holders.licence_number" };

type Parsed<T> = Result<T, Vec<FieldFault>>;

/// Which page of whose list.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct ListAsked {
    pub(in crate::gateway) holder: Holder,
    pub(in crate::gateway) size: usize,
    pub(in crate::gateway) token: Option<Vec<u8>>,
}

/// Which consent is withdrawn.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct WithdrawAsked {
    pub(in crate::gateway) holder: Holder,
    pub(in crate::gateway) consent: ConsentId,
}

/// To what a driver objects.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct ObjectAsked {
    pub(in crate::gateway) holder: Holder,
    pub(in crate::gateway) against: PartnerId,
    pub(in crate::gateway) purpose: Purpose,
}

/// What is watched.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct WatchAsked {
    pub(in crate::gateway) holders: Vec<Holder>,
    pub(in crate::gateway) token: Option<Vec<u8>>,
}

/// Parses a request for a QR code.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_qr(message: proto::IssueQrRequest, rules: RequestRules) -> Parsed<QrRequest> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, message.holder, rules);
    let agreed =
        parse_agreed(&mut faults, message.purpose, message.audience, &message.fields, message.no_fields);
    finish(faults, holder.map(|holder| QrRequest { holder, agreed }))
}

/// Parses a request for a share code. Uses and lifetime are held to their bounds by the use case.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_share_code(
    message: proto::IssueShareCodeRequest,
    rules: RequestRules,
) -> Parsed<ShareCodeRequest> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, message.holder, rules);
    let agreed =
        parse_agreed(&mut faults, message.purpose, message.audience, &message.fields, message.no_fields);
    let uses = Some(message.uses).filter(|uses| *uses != 0);
    let lifetime = message.lifetime.and_then(|lifetime| {
        // Whole and positive, or nothing the use case would take.
        let known = (lifetime.nanos == 0).then(|| SignedDuration::from_secs(lifetime.seconds));
        faults.demand(known.is_some(), "lifetime", "must be 1 h to 21 days, in whole seconds");
        known
    });
    finish(faults, holder.map(|holder| ShareCodeRequest { holder, agreed, uses, lifetime }))
}

/// Parses what is to be taken back.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_revoke(
    message: proto::RevokeRequest,
    rules: RequestRules,
) -> Parsed<(Holder, PresentationId)> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, message.holder, rules);
    let id = sixteen(&mut faults, "presentation_id", &message.presentation_id);
    finish(faults, holder.zip(id.map(PresentationId::from_bytes)))
}

/// Parses which page of whose list is asked for: of both lists alike.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_list(
    holder: Option<proto::Holder>,
    page_size: u32,
    page_token: Vec<u8>,
    rules: RequestRules,
) -> Parsed<ListAsked> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, holder, rules);
    let size = match usize::try_from(page_size).unwrap_or(usize::MAX) {
        0 => PAGE_DEFAULT,
        size => {
            faults.demand(size <= PAGE_MAX, "page_size", "must be at most 100");
            size
        }
    };
    let token = Some(page_token).filter(|token| !token.is_empty());
    finish(faults, holder.map(|holder| ListAsked { holder, size, token }))
}

/// Parses which consent is withdrawn.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_withdraw(
    message: proto::WithdrawConsentRequest,
    rules: RequestRules,
) -> Parsed<WithdrawAsked> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, message.holder, rules);
    let consent = sixteen(&mut faults, "consent_id", &message.consent_id).map(ConsentId);
    finish(faults, holder.zip(consent).map(|(holder, consent)| WithdrawAsked { holder, consent }))
}

/// Parses to what a driver objects.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_object(
    message: proto::ObjectRequest,
    rules: RequestRules,
) -> Parsed<ObjectAsked> {
    let mut faults = Faults::default();
    let holder = parse_holder(&mut faults, &HOLDER, message.holder, rules);
    let against = faults.parsed("partner_id", message.partner_id.parse::<PartnerId>());
    let purpose = faults.member("purpose", message.purpose);
    let asked = holder.zip(against).zip(purpose);
    finish(faults, asked.map(|((holder, against), purpose)| ObjectAsked { holder, against, purpose }))
}

/// Parses what is watched.
///
/// # Errors
/// Every fault found.
pub(in crate::gateway) fn parse_watch(
    message: proto::WatchAccessesRequest,
    rules: RequestRules,
) -> Parsed<WatchAsked> {
    let mut faults = Faults::default();
    faults.demand(message.holders.len() <= WATCHED_HOLDERS_MAX, "holders", "must be at most 1000");
    let mut holders = Vec::with_capacity(message.holders.len().min(WATCHED_HOLDERS_MAX));
    for holder in message.holders.into_iter().take(WATCHED_HOLDERS_MAX) {
        holders.extend(parse_holder(&mut faults, &HOLDERS, Some(holder), rules));
        if !faults.is_empty() {
            break;
        }
    }
    let token = Some(message.resume_token).filter(|token| !token.is_empty());
    finish(faults, Some(WatchAsked { holders, token }))
}

/// Parses what the driver agreed to; whether it can be agreed to is for the use case to say.
fn parse_agreed(
    faults: &mut Faults,
    purpose: i32,
    audience: Option<proto::Audience>,
    fields: &[i32],
    no_fields: bool,
) -> Agreed {
    let purpose = faults.optional_member("purpose", purpose);
    let audience = audience.and_then(|audience| match audience.whom {
        None => faults.refuse("audience.whom", "exactly one of kind and partner_id must be set"),
        Some(audience::Whom::Kind(kind)) => faults.member("audience.kind", kind).map(Told::Kind),
        Some(audience::Whom::PartnerId(id)) => {
            faults.parsed("audience.partner_id", id.parse()).map(Told::Partner)
        }
    });
    faults.demand(fields.len() <= FIELDS_MAX, "fields", "must be at most 16");
    faults.demand(!no_fields || fields.is_empty(), "no_fields", "must not be set together with fields");
    let named: FieldSet = fields
        .iter()
        .take(FIELDS_MAX)
        .filter_map(|number| faults.member::<Field>("fields", *number))
        .collect();
    let fields = if no_fields || !fields.is_empty() { Some(named) } else { None };
    Agreed { purpose, audience, fields }
}

fn sixteen(faults: &mut Faults, path: &'static str, bytes: &[u8]) -> Option<[u8; 16]> {
    let sixteen = bytes.try_into().ok();
    faults.demand(sixteen.is_some(), path, "must have 16 bytes");
    sixteen
}

fn finish<T>(faults: Faults, parsed: Option<T>) -> Parsed<T> {
    match parsed {
        Some(parsed) if faults.is_empty() => Ok(parsed),
        _ => Err(faults.into_list()),
    }
}

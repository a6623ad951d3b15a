//! What will be asked: every request is built and encoded before the first one is sent.

use std::str::FromStr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use miette::miette;
use prost::Message as _;

use super::subjects::Driver;
use super::wire::frame;
use crate::cli::verify::{moment, request, words};
use crate::domain::time::{civil_day, start_of};
use crate::gateway::proto::{self, Purpose, verify_request};

/// The most requests kept encoded, about 250 bytes each.
const FRAMES_MAX: usize = 4_000_000;

/// The case every request names, and who asks.
const CASE: &str = "LOAD-0000001";
const OPERATOR: &str = "load-1";

/// One purpose and its weight in the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What is asked.
    pub purpose: Purpose,
    /// How often, compared with the others.
    pub weight: u32,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (purpose, weight) = text.split_once('=').unwrap_or((text, "1"));
        let purpose = match purpose {
            "claim" => Purpose::InsuranceClaim,
            "purchase" => Purpose::InsurancePurchase,
            purpose => words::read(purpose)?,
        };
        let weight = weight.parse().ok().filter(|weight| (1..=1_000).contains(weight));
        Ok(Self { purpose, weight: weight.ok_or("a weight is a number from 1 to 1000")? })
    }
}

/// The requests of one partner.
#[derive(Clone)]
pub struct Plan {
    /// One request after the other, from the start again at the end unless each can be made only once.
    pub order: Vec<u32>,
    /// The encoded and framed requests that `order` points into.
    pub frames: Vec<Bytes>,
    /// Each request can be made once: there is no starting again.
    pub is_once: bool,
}

impl Plan {
    /// Builds the requests of a partner: its part of the mix, about the drivers in the order drawn.
    ///
    /// Without terms (an echo has none) the whole mix is asked.
    ///
    /// # Errors
    /// When the partner may ask nothing of the mix, or the requests would not fit into memory.
    pub fn build(
        drivers: &[Driver],
        draw: &[u32],
        mix: &[Share],
        terms: Option<&[proto::PurposeTerms]>,
        now: Timestamp,
    ) -> miette::Result<Self> {
        let allowed = |share: &&Share| terms.is_none_or(|terms| find(terms, share.purpose).is_some());
        let mix: Vec<Share> = mix.iter().filter(allowed).copied().collect();
        if mix.is_empty() {
            return Err(miette!(
                help = "change --mix or --as",
                "this partner's contract lists none of the purposes asked"
            ));
        }
        if drivers.len().saturating_mul(mix.len()) > FRAMES_MAX {
            return Err(miette!(
                help = "lower --subjects-max or ask fewer purposes",
                "{} drivers and {} purposes are more than {FRAMES_MAX} requests",
                drivers.len(),
                mix.len()
            ));
        }
        let mut frames = Vec::with_capacity(drivers.len() * mix.len());
        for share in &mix {
            let terms = terms.and_then(|terms| find(terms, share.purpose));
            frames.extend(
                drivers.iter().map(|driver| frame(&ask(driver, share.purpose, terms, now).encode_to_vec())),
            );
        }
        let turns = turns(&mix);
        let drivers = u32::try_from(drivers.len()).unwrap_or(u32::MAX);
        let order =
            draw.iter().zip(turns.iter().cycle()).map(|(driver, turn)| turn * drivers + driver).collect();
        Ok(Self { order, frames, is_once: false })
    }

    /// Builds the requests of a partner that was shown QR codes, each a request of its own that is made once.
    ///
    /// # Errors
    /// When the partner may not ask this.
    pub fn of_codes(
        codes: &[String],
        purpose: Purpose,
        terms: &[proto::PurposeTerms],
        now: Timestamp,
    ) -> miette::Result<Self> {
        let Some(terms) = find(terms, purpose) else {
            return Err(miette!(
                help = "change --mix or --as",
                "this partner's contract does not list the purpose"
            ));
        };
        let (question, _ground) = question_of(purpose, Some(terms), now);
        let about = |(number, code): (usize, &String)| {
            let shown = verify_request::Subject::Presentation(code.clone());
            let request = request::request_about(shown, question.clone(), CASE, OPERATOR);
            let request_id = format!("load-{}-{number:07}", now.as_microsecond());
            frame(&proto::VerifyRequest { request_id, ..request }.encode_to_vec())
        };
        let frames: Vec<Bytes> = codes.iter().enumerate().map(about).collect();
        let order = (0..u32::try_from(frames.len()).unwrap_or(u32::MAX)).collect();
        Ok(Self { order, frames, is_once: true })
    }

    /// Returns the request of a turn; `None` when all were made.
    pub fn request(&self, turn: usize) -> Option<&Bytes> {
        let turn = if self.is_once { turn } else { turn % self.order.len() };
        self.order.get(turn).map(|index| &self.frames[*index as usize])
    }

    /// Returns the mean length of a request with its frame, in bytes.
    pub fn length_mean(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum::<usize>() / self.frames.len().max(1)
    }
}

fn find(terms: &[proto::PurposeTerms], purpose: Purpose) -> Option<&proto::PurposeTerms> {
    terms.iter().find(|terms| terms.purpose() == purpose)
}

/// Returns which purpose each turn asks, so that weights hold over a short while and not only in the mean: smooth
/// weighted round robin (nginx's).
fn turns(mix: &[Share]) -> Vec<u32> {
    let total: i64 = mix.iter().map(|share| i64::from(share.weight)).sum();
    let mut current = vec![0_i64; mix.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        for (index, share) in mix.iter().enumerate() {
            current[index] += i64::from(share.weight);
        }
        let next =
            (0..mix.len()).max_by_key(|index| (current[*index], std::cmp::Reverse(*index))).unwrap_or(0);
        current[next] -= total;
        turns.push(u32::try_from(next).unwrap_or(0));
    }
    turns
}

/// Returns the request about a driver for a purpose, within a contract's terms.
fn ask(
    driver: &Driver,
    purpose: Purpose,
    terms: Option<&proto::PurposeTerms>,
    now: Timestamp,
) -> proto::VerifyRequest {
    let (question, ground) = question_of(purpose, terms, now);
    let claim = request::resident(&driver.number, &driver.name, ground);
    let claim = proto::Claim { document_kind: driver.document.into(), ..claim };
    request::request(claim, question, CASE, OPERATOR)
}

/// Returns the question for a purpose within a contract's terms, and the ground a claim would be asked on.
fn question_of(
    purpose: Purpose,
    terms: Option<&proto::PurposeTerms>,
    now: Timestamp,
) -> (verify_request::Question, proto::Ground) {
    use verify_request::Question as Asked;
    let vehicle = Some(request::private_vehicle(proto::VehicleClass::C1));
    // Counted from midnight: every run of one day asks the same question, and a gateway admits few different ones.
    let midnight = start_of(civil_day(now));
    let at = |days: i64| Some(moment::to_proto(midnight + SignedDuration::from_hours(24 * days)));
    let tenure = terms.and_then(|terms| terms.min_tenure_months.first().copied()).unwrap_or(0);
    let listed = terms.and_then(|terms| terms.roles().next()).unwrap_or(proto::Role::Driver);
    let has_driver = terms.is_none_or(|terms| terms.roles().any(|role| role == proto::Role::Driver));
    let role = if has_driver { proto::Role::Driver } else { listed }.into();
    let class = proto::VehicleClass::C1.into();
    match purpose {
        // A peer scan is no question about a claimed driver: whoever lists nothing else asks what is refused cheaply.
        Purpose::InsuranceClaim | Purpose::Unspecified | Purpose::PeerScan => {
            let edition = terms.and_then(|terms| terms.coverage_editions().next());
            let coverage_edition = edition.unwrap_or(proto::CoverageEdition::Commercial2020).into();
            let asked = proto::InsuranceClaimQuestion { occurred_at: at(-10), vehicle, coverage_edition };
            (Asked::InsuranceClaim(asked), request::legal_duty_ground())
        }
        Purpose::InsurancePurchase => {
            let asked = proto::InsurancePurchaseQuestion { vehicle };
            (Asked::InsurancePurchase(asked), request::consent_ground(now, b"load"))
        }
        Purpose::Rental => {
            let asked = proto::RentalQuestion {
                pick_up: at(0),
                r#return: at(3),
                vehicle,
                min_tenure_months: tenure,
                validity_margin_days: 0,
            };
            (Asked::Rental(asked), request::contract_ground())
        }
        Purpose::Recruitment => {
            let asked = proto::RecruitmentQuestion { role, min_tenure_months: tenure, class };
            (Asked::Recruitment(asked), request::consent_ground(now, b"load"))
        }
        Purpose::Transport => {
            let asked = proto::TransportQuestion { role, filed: true, class };
            (Asked::Transport(asked), request::legal_duty_ground())
        }
        Purpose::Enforcement => {
            (Asked::Enforcement(proto::EnforcementQuestion { vehicle }), request::legal_duty_ground())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drivers(count: usize) -> Vec<Driver> {
        let document = proto::DocumentKind::ResidentId;
        let driver = |one| Driver { document, number: format!("{one:018}"), name: "张三".to_owned() };
        (0..count).map(driver).collect()
    }

    fn now() -> Timestamp {
        "2026-03-01T02:00:00Z".parse().unwrap()
    }

    fn asked(plan: &Plan, turn: usize) -> proto::VerifyRequest {
        proto::VerifyRequest::decode(&plan.request(turn).unwrap()[5..]).unwrap()
    }

    fn purpose(request: &proto::VerifyRequest) -> Purpose {
        use verify_request::Question as Asked;
        match request.question.as_ref().unwrap() {
            Asked::InsuranceClaim(_) => Purpose::InsuranceClaim,
            Asked::Rental(_) => Purpose::Rental,
            _ => Purpose::Unspecified,
        }
    }

    #[test]
    fn a_mix_is_read() {
        assert_eq!("rental=3".parse(), Ok(Share { purpose: Purpose::Rental, weight: 3 }));
        assert_eq!("claim".parse(), Ok(Share { purpose: Purpose::InsuranceClaim, weight: 1 }));
        assert!("rental=0".parse::<Share>().is_err() && "dinner=1".parse::<Share>().is_err());
    }

    #[test]
    fn purposes_come_by_weight_and_drivers_as_drawn() {
        let mix = ["rental=3".parse().unwrap(), "claim=1".parse().unwrap()];
        let plan = Plan::build(&drivers(4), &[0, 1, 2, 3], &mix, None, now()).unwrap();
        let claims = (0..4).filter(|turn| purpose(&asked(&plan, *turn)) == Purpose::InsuranceClaim).count();
        assert_eq!(claims, 1);
        for turn in 0..9 {
            let Some(verify_request::Subject::Claim(claim)) = asked(&plan, turn).subject else { panic!() };
            assert_eq!(claim.licence_number.parse::<usize>().unwrap(), turn % 4);
        }
        assert!((60..400).contains(&plan.length_mean()));
    }

    #[test]
    fn a_partner_asks_only_what_its_contract_lists_and_within_its_sets() {
        let mix = ["rental=3".parse().unwrap(), "claim=1".parse().unwrap()];
        let terms = [proto::PurposeTerms {
            purpose: Purpose::Rental.into(),
            min_tenure_months: vec![12, 24],
            ..Default::default()
        }];
        let plan = Plan::build(&drivers(1), &[0], &mix, Some(&terms), now()).unwrap();
        let Some(verify_request::Question::Rental(rental)) = asked(&plan, 0).question else { panic!() };
        assert_eq!((plan.frames.len(), rental.min_tenure_months), (1, 12));
        let told = Plan::build(&drivers(1), &[0], &mix[1..], Some(&terms), now()).err().unwrap();
        assert!(told.to_string().contains("none of the purposes"));
    }
    #[test]
    fn each_code_is_shown_once_with_a_request_id_of_its_own() {
        let terms = [proto::PurposeTerms { purpose: Purpose::Rental.into(), ..Default::default() }];
        let codes = ["DG1:A".to_owned(), "DG1:B".to_owned()];
        let plan = Plan::of_codes(&codes, Purpose::Rental, &terms, now()).unwrap();
        let [first, second] = [asked(&plan, 0), asked(&plan, 1)];
        let is_second = |code: &str| code == "DG1:B";
        assert!(
            matches!(&second.subject, Some(verify_request::Subject::Presentation(code)) if is_second(code))
        );
        assert_ne!(first.request_id, second.request_id);
        assert!(plan.request(2).is_none());
        assert!(Plan::of_codes(&codes, Purpose::Transport, &terms, now()).is_err());
    }
}

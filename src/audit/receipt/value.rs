//! From what a person types to the bytes a leaf commits to (`docs/evidence.md` §4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::audit::entry::{LeafName, values};
use crate::domain::claim::ConsentEvidence;
use crate::domain::closed_set::NotInSet;
use crate::domain::disclosure::{DisplayShown, Pending, Probation, TenureBand};
use crate::domain::elicence::{Display, Groups};
use crate::domain::licence::{
    ClassSet, DocumentKind, FileNumber, FullName, LicenceNumber, NumberRules, StateSet, VehicleClass,
};
use crate::domain::presentation::{Holder, ShareCode};
use crate::domain::question::{Purpose, Question};
use crate::domain::vehicle::{TypeCode, Vehicle, VehicleKind};

/// A value cannot be read. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// Not in the form of this leaf.
    #[error("`{name}` is given as {form}")]
    Form {
        /// Which leaf.
        name: LeafName,
        /// How its value is written.
        form: &'static str,
    },
    /// A field of a question or a consent.
    #[error("the field `{field}` of `{name}` {rule}")]
    Field {
        /// Which leaf.
        name: LeafName,
        /// Which field.
        field: String,
        /// What is wrong.
        rule: String,
    },
}

/// Returns the bytes a leaf commits to, from its value as a person writes it.
///
/// # Errors
/// [`ValueFault`] says how the value is written.
pub fn value_of(name: LeafName, text: &str) -> Result<Vec<u8>, ValueFault> {
    let mut into = Vec::new();
    let form = |form| ValueFault::Form { name, form };
    match name {
        LeafName::LicenceNumber => licence_number(&mut into, text)
            .ok_or(form("kind:number, as in `resident-id:…` (a kind of document and its number)"))?,
        LeafName::FullName => {
            let full = FullName::parse(text).map_err(|_| form("the full name, as it was sent"))?;
            into.extend_from_slice(full.expose().as_bytes());
        }
        LeafName::FileNumber => {
            let number = FileNumber::parse(text).map_err(|_| form("12 digits"))?;
            into.extend_from_slice(number.expose().as_bytes());
        }
        LeafName::CaseReference | LeafName::Operator | LeafName::RequestId | LeafName::MaskedName => {
            into.extend_from_slice(text.as_bytes());
        }
        LeafName::Question => values::question(&mut into, &question(text)?),
        LeafName::Consent => values::consent(&mut into, &consent(text)?),
        LeafName::RelianceUntil => {
            let moment: Timestamp =
                text.parse().map_err(|_| form("a moment, as in `2026-12-01T00:00:00Z`"))?;
            into.extend_from_slice(&moment.as_microsecond().to_be_bytes());
        }
        LeafName::Remedies => {
            let remedies: Result<Vec<_>, NotInSet> =
                text.split(',').map(|word| word.trim().parse()).collect();
            values::remedies(&mut into, &remedies.map_err(|_| form("words of remedies, in the order told"))?);
        }
        LeafName::Presentation => match ShareCode::parse(text) {
            Ok(code) => into.extend_from_slice(code.to_text().as_bytes()),
            Err(_) if text.starts_with("DG1:") => into.extend_from_slice(text.as_bytes()),
            Err(_) => return Err(form("the text of the QR code as it was sent, or the share code")),
        },
        LeafName::Display => {
            let shown = display(text).ok_or(form("normal, red or void, and `,deferred` if that was told"))?;
            values::display(&mut into, shown);
        }
        LeafName::ClassGroups => {
            let groups = groups(text).ok_or(form("nothing, car, motorcycle or `car,motorcycle`"))?;
            values::class_groups(&mut into, groups);
        }
        LeafName::ExpiredOn => values::day(&mut into, day(text).ok_or(form("a day, as in `2026-12-01`"))?),
        LeafName::Probation => {
            let probation = probation(text).ok_or(form("kind:day, as in `first-licence:2026-12-01`"))?;
            values::probation(&mut into, probation);
        }
        LeafName::TenureBand => {
            let band: TenureBand = text.parse().map_err(|_| form("under-1, 1-2, 3-5 or 6+"))?;
            into.push(band.code());
        }
        LeafName::Pending => {
            let pending =
                pending(text).ok_or(form("nothing, violation, accident or `violation,accident`"))?;
            values::pending(&mut into, pending);
        }
        LeafName::States => {
            let states = StateSet::parse(text).ok_or(form("state letters, as in `AH`"))?;
            values::states(&mut into, states);
        }
        LeafName::Classes => {
            let classes = ClassSet::parse(&text.replace([',', ' '], ""));
            values::classes(&mut into, classes.map_err(|_| form("classes, as in `A1,C1`"))?);
        }
        LeafName::PaperLicenceNeeded => into.push(u8::from(yes_or_no(text).ok_or(form("yes or no"))?)),
    }
    Ok(into)
}

fn licence_number(into: &mut Vec<u8>, text: &str) -> Option<()> {
    let Holder { document, number } = holder(text)?;
    values::licence_number(into, document, &number);
    Some(())
}

fn holder(text: &str) -> Option<Holder> {
    let (kind, number) = text.split_once(':')?;
    let document: DocumentKind = kind.parse().ok()?;
    // Whether test numbers count was decided when the question was answered.
    let number = LicenceNumber::parse(document, number, NumberRules { accept_test_numbers: true }).ok()?;
    Some(Holder { document, number })
}

fn display(text: &str) -> Option<DisplayShown> {
    let (colour, deferred) = match text.split_once(',') {
        None => (text, false),
        Some((colour, label)) if label.trim() == "deferred" => (colour, true),
        Some(_) => return None,
    };
    let display = colour.trim().parse().ok().filter(|display| *display != Display::Hidden)?;
    Some(DisplayShown { display, deferred })
}

fn groups(text: &str) -> Option<Groups> {
    let mut groups = Groups::default();
    for word in text.split(',').filter(|word| *word != "nothing") {
        match word.trim() {
            "car" => groups.car = true,
            "motorcycle" => groups.motorcycle = true,
            _ => return None,
        }
    }
    Some(groups)
}

fn day(text: &str) -> Option<Date> {
    text.parse().ok()
}

fn probation(text: &str) -> Option<Probation> {
    let (kind, last_day) = text.split_once(':')?;
    Some(Probation { kind: kind.parse().ok()?, last_day: day(last_day)? })
}

fn pending(text: &str) -> Option<Pending> {
    let mut pending = Pending { violation: false, accident: false };
    for word in text.split(',').filter(|word| *word != "nothing") {
        match word.trim() {
            "violation" => pending.violation = true,
            "accident" => pending.accident = true,
            _ => return None,
        }
    }
    Some(pending)
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn question(text: &str) -> Result<Question, ValueFault> {
    let mut fields = Fields::read(LeafName::Question, text, "purpose")?;
    let question = match fields.demand("purpose")? {
        Purpose::InsuranceClaim => Question::InsuranceClaim {
            occurred_at: fields.demand("occurred-at")?,
            edition: fields.demand("edition")?,
            vehicle: fields.vehicle()?,
        },
        Purpose::InsurancePurchase => Question::InsurancePurchase { vehicle: fields.vehicle()? },
        Purpose::Rental => Question::Rental {
            pick_up: fields.demand("pick-up")?,
            return_at: fields.demand("return")?,
            min_tenure_months: fields.take("min-tenure")?.filter(|months| *months != 0),
            validity_margin_days: fields.take("margin")?.unwrap_or(0),
            vehicle: fields.vehicle()?,
        },
        Purpose::Recruitment => Question::Recruitment {
            role: fields.demand("role")?,
            min_tenure_months: fields.take("min-tenure")?.filter(|months| *months != 0),
            class: fields.class()?,
        },
        Purpose::Transport => Question::Transport {
            role: fields.demand("role")?,
            filed: fields.flag("filed")?.unwrap_or(false),
            class: fields.class()?,
        },
        Purpose::Enforcement => {
            let vehicle = if fields.is_empty() { None } else { Some(fields.vehicle()?) };
            Question::Enforcement { vehicle }
        }
        Purpose::PeerScan => {
            let scanner: String = fields.demand("scanner")?;
            let rule = "is given as kind:number, as in `resident-id:…`";
            Question::PeerScan { scanner: holder(&scanner).ok_or(fields.fault("scanner", rule))? }
        }
    };
    fields.finish()?;
    Ok(question)
}

fn consent(text: &str) -> Result<ConsentEvidence, ValueFault> {
    let mut fields = Fields::read(LeafName::Consent, text, "notice")?;
    let digest: String = fields.demand("sha256")?;
    let evidence_sha256 = unhex(&digest).ok_or(fields.fault("sha256", "must have 64 hexadecimal digits"))?;
    let consent = ConsentEvidence {
        obtained_at: fields.demand("obtained")?,
        expires_at: fields.demand("expires")?,
        notice_version: fields.demand("notice")?,
        evidence_sha256,
    };
    fields.finish()?;
    Ok(consent)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (text.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

/// `key=value` pairs between commas or blanks, or an object of JSON. A first word without `=` is the value of a key of its own.
struct Fields {
    name: LeafName,
    left: BTreeMap<String, String>,
}

impl Fields {
    fn read(name: LeafName, text: &str, first_key: &str) -> Result<Self, ValueFault> {
        let left = if text.trim_start().starts_with('{') { of_json(text) } else { of_pairs(text, first_key) };
        let form =
            "fields, as in `rental,pick-up=2026-12-01T09:00:00Z,return=…,class=C1`, or as an object of JSON";
        Ok(Self { name, left: left.ok_or(ValueFault::Form { name, form })? })
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn fault(&self, field: &str, rule: impl Into<String>) -> ValueFault {
        ValueFault::Field { name: self.name, field: field.to_owned(), rule: rule.into() }
    }

    fn take<T: std::str::FromStr>(&mut self, field: &str) -> Result<Option<T>, ValueFault> {
        match self.left.remove(field).map(|text| text.parse()) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(self.fault(field, "cannot be read")),
        }
    }

    fn demand<T: std::str::FromStr>(&mut self, field: &str) -> Result<T, ValueFault> {
        self.take(field)?.ok_or_else(|| self.fault(field, "is missing"))
    }

    fn flag(&mut self, field: &str) -> Result<Option<bool>, ValueFault> {
        let Some(text) = self.left.remove(field) else { return Ok(None) };
        yes_or_no(&text).map(Some).ok_or_else(|| self.fault(field, "must be yes or no"))
    }

    fn class(&mut self) -> Result<Option<VehicleClass>, ValueFault> {
        self.take("class")
    }

    fn vehicle(&mut self) -> Result<Vehicle, ValueFault> {
        let kind = match (self.class()?, self.take::<String>("type-code")?) {
            (Some(class), None) => VehicleKind::Class(class),
            (None, Some(code)) => VehicleKind::TypeCode(
                TypeCode::parse(&code).ok_or(self.fault("type-code", "is no type code of GA/T 16.4"))?,
            ),
            _ => return Err(self.fault("class", "or `type-code` must be given, one of them")),
        };
        Ok(Vehicle {
            kind,
            automatic: self.flag("automatic")?,
            adapted: self.flag("adapted")?,
            seats: self.take("seats")?,
            total_mass_kg: self.take("mass")?,
            combination_mass_kg: self.take("combination-mass")?,
            used_for: self.take("use")?,
        })
    }

    fn finish(self) -> Result<(), ValueFault> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(field) => Err(self.fault(field, "does not belong here")),
        }
    }
}

fn of_pairs(text: &str, first_key: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    let parts = text.split([',', ' ', '\n', '\r', '\t']).filter(|part| !part.is_empty());
    for (place, part) in parts.enumerate() {
        let (key, value) = match part.split_once('=') {
            Some(pair) => pair,
            None if place == 0 => (first_key, part),
            None => return None,
        };
        if fields.insert(key.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    Some(fields)
}

fn of_json(text: &str) -> Option<BTreeMap<String, String>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let field = |(key, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => Some((key, text)),
        serde_json::Value::Number(number) => Some((key, number.to_string())),
        serde_json::Value::Bool(flag) => Some((key, flag.to_string())),
        _ => None,
    };
    object.into_iter().map(field).collect()
}

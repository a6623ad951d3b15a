//! The questions as a person types them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::super::qr;
use super::{moment, request, words};
use crate::config::hex;
use crate::gateway::proto::{self, vehicle, verify_request};

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Was the driver qualified at the moment of the accident?
    InsuranceClaim {
        /// The moment of the accident.
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        occurred_at: String,
        /// Whose grounds decide: compulsory, commercial-2014, commercial-2020.
        #[arg(long, value_name = "EDITION", default_value = "commercial-2020", value_parser = words::read::<proto::CoverageEdition>)]
        edition: proto::CoverageEdition,
        /// Answer from what was recorded up to this moment [default: now].
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        known_at: Option<String>,
        /// Answer from what had been handed in up to this position, as an earlier answer named it: 1,0,42 [default: now].
        #[arg(long, value_name = "EPOCH,PARTITION,SEQ", value_parser = position_of)]
        known_position: Option<proto::FeedPosition>,
        #[command(flatten)]
        vehicle: VehicleArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// May the named driver drive the vehicle to be insured, now?
    InsurancePurchase {
        #[command(flatten)]
        vehicle: VehicleArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Qualified from pick-up to return, as far as can be known today?
    Rental {
        /// Hand-over of the vehicle.
        #[arg(long, value_name = "MOMENT", default_value = "now", allow_hyphen_values = true)]
        pick_up: String,
        /// Return of the vehicle.
        #[arg(long = "return", value_name = "MOMENT", default_value = "+3d", allow_hyphen_values = true)]
        return_at: String,
        /// Months since first issue that you demand; one of your contract's set.
        #[arg(long, value_name = "MONTHS", default_value_t = 0)]
        min_tenure: u32,
        /// Days the licence must stay valid beyond the return; one of your contract's set.
        #[arg(long, value_name = "DAYS", default_value_t = 0)]
        margin: u32,
        #[command(flatten)]
        vehicle: VehicleArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Does the applicant meet the role's rules?
    Recruitment {
        #[command(flatten)]
        role: RoleArgs,
        /// Months since first issue that you demand beyond the role's own rule; one of your contract's set.
        #[arg(long, value_name = "MONTHS", default_value_t = 0)]
        min_tenure: u32,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Does the driver meet the rules of the role in transport?
    Transport {
        #[command(flatten)]
        role: RoleArgs,
        /// Your company has filed this driver with the traffic police.
        #[arg(long)]
        filed: bool,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// The exact state, for the police.
    Enforcement {
        #[command(flatten)]
        vehicle: VehicleArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// One user of the app scans another's e-licence: for a wallet, with a QR code issued without a purpose.
    PeerScan {
        /// The licence number of who scans; '-' reads it from standard input.
        #[arg(long, value_name = "NUMBER|-", env = "DRIVEGATE_SCANNER_NUMBER", hide_env_values = true)]
        scanner_number: Elided,
        /// The document that number belongs to.
        #[arg(long, value_name = "DOCUMENT", default_value = "resident-id", value_parser = words::read::<proto::DocumentKind>)]
        scanner_document: proto::DocumentKind,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// What is left of your rates and quotas. Spends nothing.
    Limits,
    /// Your own contract as the gateway enforces it.
    Contract,
}

/// An argument that is not shown.
#[derive(Clone)]
pub struct Elided(String);

impl std::fmt::Debug for Elided {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("[elided]")
    }
}

impl std::str::FromStr for Elided {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// The role asked about.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// driver, ride-hailing, goods, heavy-goods, coach, city-bus, school-bus.
    #[arg(long, value_name = "ROLE", default_value = "driver", value_parser = words::read::<proto::Role>)]
    role: proto::Role,
    /// The class the job needs, for the role "driver".
    #[arg(long, value_name = "CLASS", value_parser = words::read::<proto::VehicleClass>)]
    class: Option<proto::VehicleClass>,
}

impl RoleArgs {
    fn class(&self) -> i32 {
        self.class.map_or(0, Into::into)
    }
}

/// The vehicle, as far as it is known. What is not given leaves its criterion UNKNOWN where it matters.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vehicle")]
pub struct VehicleArgs {
    /// The class the vehicle needs, if you know it: A1 … P.
    #[arg(long, value_name = "CLASS", conflicts_with = "type_code", value_parser = words::read::<proto::VehicleClass>)]
    class: Option<proto::VehicleClass>,
    /// Vehicle type code of GA/T 16.4, such as K33.
    #[arg(long, value_name = "CODE")]
    type_code: Option<String>,
    /// Automatic gearbox (true or false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    automatic: Option<bool>,
    /// Adapted for a disabled driver (true or false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    adapted: Option<bool>,
    /// Approved seats, driver included.
    #[arg(long, value_name = "COUNT")]
    seats: Option<u32>,
    /// Maximum total mass of the towing vehicle in kg.
    #[arg(long, value_name = "KG")]
    mass: Option<u32>,
    /// Maximum total mass with its trailer in kg; 0: no trailer.
    #[arg(long, value_name = "KG")]
    combination_mass: Option<u32>,
    /// private, commercial-passenger, commercial-goods, public-bus, on-duty, dangerous-goods.
    #[arg(long = "use", value_name = "USE", value_parser = words::read::<proto::VehicleUse>)]
    vehicle_use: Option<proto::VehicleUse>,
}

impl VehicleArgs {
    fn vehicle(&self) -> Option<proto::Vehicle> {
        let class = self.class.map(|class| vehicle::Kind::Class(class.into()));
        let kind = class.or_else(|| self.type_code.clone().map(vehicle::Kind::Ga164Code));
        kind.map(|kind| proto::Vehicle {
            kind: Some(kind),
            automatic: self.automatic,
            adapted: self.adapted,
            seats: self.seats,
            total_mass_kg: self.mass,
            combination_mass_kg: self.combination_mass,
            r#use: self.vehicle_use.map_or(0, Into::into),
        })
    }

    fn required(&self) -> miette::Result<proto::Vehicle> {
        self.vehicle()
            .ok_or_else(|| miette!(help = "for example --class C1 or --type-code K33", "which vehicle?"))
    }
}

/// Who is asked about, on what ground, and in which matter. Either what the driver showed, or a claim with its ground.
#[derive(Args)]
#[command(next_help_heading = "Subject and ground")]
pub struct SubjectArgs {
    #[command(flatten)]
    shown: ShownArgs,
    /// The licence number; '-' reads number and name from standard input, a line each. Prefer the environment or
    /// '-' for real numbers: arguments end up in the shell's history and in the list of processes.
    #[arg(
        long,
        value_name = "NUMBER|-",
        env = "DRIVEGATE_NUMBER",
        hide_env_values = true,
        required_unless_present = "shown"
    )]
    number: Option<String>,
    /// The full name as printed on the licence.
    #[arg(long, value_name = "NAME", env = "DRIVEGATE_NAME", hide_env_values = true, default_value = "")]
    name: String,
    /// The document the number belongs to.
    #[arg(long, value_name = "DOCUMENT", default_value = "resident-id", value_parser = words::read::<proto::DocumentKind>)]
    document: proto::DocumentKind,
    /// The file number (档案编号), if you have it.
    #[arg(long, value_name = "NUMBER", default_value = "", hide_default_value = true)]
    file_number: String,
    /// Why you may ask: consent, contract (the driver is a party to it), legal-duty.
    #[arg(long, value_name = "GROUND", required_unless_present = "shown", value_parser = words::read::<proto::GroundKind>)]
    ground: Option<proto::GroundKind>,
    /// With --ground consent: the record of consent you keep. Only its SHA-256 is sent.
    #[arg(long, value_name = "FILE")]
    consent_record: Option<PathBuf>,
    /// With --ground consent: when it was given.
    #[arg(long, value_name = "MOMENT", default_value = "-1m", allow_hyphen_values = true)]
    consent_obtained: String,
    /// With --ground consent: when it ends.
    #[arg(long, value_name = "MOMENT", default_value = "+1d", allow_hyphen_values = true)]
    consent_expires: String,
    /// With --ground consent: the version of your notice.
    #[arg(long, value_name = "VERSION", default_value = "1")]
    notice_version: String,
    /// Your serial for this matter.
    #[arg(long, value_name = "SERIAL", default_value = "CLI-1")]
    case_reference: String,
    /// Your category of this matter.
    #[arg(long, value_name = "CATEGORY", default_value = "", hide_default_value = true)]
    case_category: String,
    /// Your employee or terminal that asks.
    #[arg(long, value_name = "ID", default_value = "cli")]
    operator: String,
    /// The fields you want, separated by commas [default: all your contract allows].
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_parser = words::read::<proto::Field>)]
    fields: Vec<proto::Field>,
    /// The oldest reading you accept, in seconds; 0 asks the registry itself.
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u32>,
    /// Idempotency key: the same again repeats a request, and asks nothing new [default: none; with a presentation, a random one, which is told].
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// What the driver showed: at most one of these. It takes the place of number, name and ground.
#[derive(Args)]
#[group(id = "shown", multiple = false, conflicts_with_all = ["number", "file_number", "ground", "consent_record"])]
pub struct ShownArgs {
    /// A PNG image of the QR code the driver showed.
    #[arg(long, value_name = "FILE")]
    qr_image: Option<PathBuf>,
    /// The text of the QR code the driver showed; '-' reads it from standard input.
    #[arg(long, value_name = "TEXT|-")]
    qr: Option<String>,
    /// The share code the driver sent; '-' reads it from standard input.
    #[arg(long, value_name = "CODE|-")]
    share_code: Option<String>,
}

impl ShownArgs {
    /// Returns the text that was shown, as it goes out: what it is worth, the gateway says.
    fn presentation(
        &self,
        mut read_line: impl FnMut() -> std::io::Result<String>,
    ) -> miette::Result<Option<String>> {
        if let Some(path) = &self.qr_image {
            return qr::text_in(path).map(Some);
        }
        match self.qr.as_deref().or(self.share_code.as_deref()) {
            Some("-") => read_line().into_diagnostic().wrap_err("cannot read the standard input").map(Some),
            text => Ok(text.map(ToOwned::to_owned)),
        }
    }
}

/// Draws an idempotency key: a presentation is spent by one request, which must be able to come again.
fn new_request_id() -> String {
    format!("cli-{}", hex(&rand::random::<[u8; 16]>()))
}

impl std::fmt::Debug for SubjectArgs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SubjectArgs([elided])")
    }
}

/// What goes out: one of the service's three calls.
pub enum Call {
    /// `Verify`.
    Verify(Box<proto::VerifyRequest>),
    /// `GetLimits`.
    Limits,
    /// `DescribeContract`.
    Contract,
}

impl Call {
    /// Returns the idempotency key of a request that spends what a driver showed.
    pub fn spends_as(&self) -> Option<&str> {
        match self {
            Self::Verify(request)
                if matches!(request.subject, Some(verify_request::Subject::Presentation(_))) =>
            {
                Some(&request.request_id)
            }
            Self::Verify(_) | Self::Limits | Self::Contract => None,
        }
    }
}

impl Question {
    /// Puts the call together. `read_line` reads a line of the standard input, for a number given as '-'.
    ///
    /// # Errors
    /// Says which argument cannot be used; never repeats an identifier.
    pub fn into_call(
        self,
        now: Timestamp,
        mut read_line: impl FnMut() -> std::io::Result<String>,
    ) -> miette::Result<Call> {
        use verify_request::Question as Asked;
        let at = |name: &str, text: &str| moment_of(name, text, now);
        let (mut known, mut position) = (None, None);
        let (subject, question) = match self {
            Self::Limits => return Ok(Call::Limits),
            Self::Contract => return Ok(Call::Contract),
            Self::InsuranceClaim { occurred_at, edition, known_at, known_position, vehicle, subject } => {
                position = known_position;
                known = known_at.map(|text| at("--known-at", &text)).transpose()?;
                let asked = proto::InsuranceClaimQuestion {
                    occurred_at: Some(at("--occurred-at", &occurred_at)?),
                    vehicle: Some(vehicle.required()?),
                    coverage_edition: edition.into(),
                };
                (subject, Asked::InsuranceClaim(asked))
            }
            Self::InsurancePurchase { vehicle, subject } => {
                let vehicle = Some(vehicle.required()?);
                (subject, Asked::InsurancePurchase(proto::InsurancePurchaseQuestion { vehicle }))
            }
            Self::Rental { pick_up, return_at, min_tenure, margin, vehicle, subject } => {
                let asked = proto::RentalQuestion {
                    pick_up: Some(at("--pick-up", &pick_up)?),
                    r#return: Some(at("--return", &return_at)?),
                    vehicle: Some(vehicle.required()?),
                    min_tenure_months: min_tenure,
                    validity_margin_days: margin,
                };
                (subject, Asked::Rental(asked))
            }
            Self::Recruitment { role, min_tenure, subject } => {
                let asked = proto::RecruitmentQuestion {
                    role: role.role.into(),
                    min_tenure_months: min_tenure,
                    class: role.class(),
                };
                (subject, Asked::Recruitment(asked))
            }
            Self::Transport { role, filed, subject } => {
                let asked = proto::TransportQuestion { role: role.role.into(), filed, class: role.class() };
                (subject, Asked::Transport(asked))
            }
            Self::Enforcement { vehicle, subject } => {
                let vehicle = vehicle.vehicle();
                (subject, Asked::Enforcement(proto::EnforcementQuestion { vehicle }))
            }
            Self::PeerScan { scanner_number, scanner_document, subject } => {
                let Elided(number) = scanner_number;
                let licence_number = if number == "-" {
                    read_line().into_diagnostic().wrap_err("cannot read the standard input")?
                } else {
                    number
                };
                let scanner = proto::Holder { document_kind: scanner_document.into(), licence_number };
                (subject, Asked::PeerScan(proto::PeerScanQuestion { scanner: Some(scanner) }))
            }
        };
        let mut asked = subject.into_request(question, now, read_line)?;
        asked.known_at = known;
        asked.known_position = position;
        Ok(Call::Verify(Box::new(asked)))
    }
}

/// Reads a position as answers show it, with or without brackets and spaces.
fn position_of(text: &str) -> Result<proto::FeedPosition, &'static str> {
    const RULE: &str = "must be three numbers: epoch, partition, sequence";
    let mut parts = text.trim_matches(['(', ')']).split(',').map(str::trim);
    let (Some(epoch), Some(partition), Some(seq), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(RULE);
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| RULE);
    let seq = seq.parse().map_err(|_| RULE)?;
    Ok(proto::FeedPosition { epoch: number(epoch)?, partition: number(partition)?, seq })
}

impl SubjectArgs {
    fn into_request(
        self,
        question: verify_request::Question,
        now: Timestamp,
        mut read_line: impl FnMut() -> std::io::Result<String>,
    ) -> miette::Result<proto::VerifyRequest> {
        let presentation = self.shown.presentation(&mut read_line)?;
        let (subject, request_id) = match presentation {
            Some(text) => {
                let id = if self.request_id.is_empty() { new_request_id() } else { self.request_id.clone() };
                (verify_request::Subject::Presentation(text), id)
            }
            None => (verify_request::Subject::Claim(self.claim(now, read_line)?), self.request_id.clone()),
        };
        Ok(proto::VerifyRequest {
            case_category: self.case_category,
            max_age: self.max_age.map(|seconds| prost_types::Duration { seconds: seconds.into(), nanos: 0 }),
            fields: self.fields.into_iter().map(Into::into).collect(),
            request_id,
            ..request::request_about(subject, question, &self.case_reference, &self.operator)
        })
    }

    fn claim(
        &self,
        now: Timestamp,
        mut read_line: impl FnMut() -> std::io::Result<String>,
    ) -> miette::Result<proto::Claim> {
        let ground = self.ground(now)?;
        let mut line = || read_line().into_diagnostic().wrap_err("cannot read the standard input");
        let (number, name) = match self.number.as_deref() {
            Some("-") => {
                let number = line()?;
                (number, if self.name.is_empty() { line()? } else { self.name.clone() })
            }
            number => (number.unwrap_or_default().to_owned(), self.name.clone()),
        };
        Ok(proto::Claim {
            document_kind: self.document.into(),
            licence_number: number,
            full_name: name,
            file_number: self.file_number.clone(),
            ground: Some(ground),
        })
    }

    fn ground(&self, now: Timestamp) -> miette::Result<proto::Ground> {
        Ok(match self.ground.unwrap_or_default() {
            proto::GroundKind::Contract => request::contract_ground(),
            proto::GroundKind::Consent => {
                let path = self.consent_record.as_deref().ok_or_else(|| {
                    miette!(
                        help = "give the record you keep with --consent-record FILE",
                        "a consent needs its evidence"
                    )
                })?;
                let record = std::fs::read(path)
                    .into_diagnostic()
                    .wrap_err_with(|| format!("cannot read the record of consent {}", path.display()))?;
                let consent = proto::ConsentEvidence {
                    obtained_at: Some(moment_of("--consent-obtained", &self.consent_obtained, now)?),
                    expires_at: Some(moment_of("--consent-expires", &self.consent_expires, now)?),
                    notice_version: self.notice_version.clone(),
                    evidence_sha256: request::sha256(&record),
                };
                proto::Ground {
                    kind: proto::GroundKind::Consent.into(),
                    consent: Some(consent),
                    subject_is_party: false,
                }
            }
            kind => proto::Ground { kind: kind.into(), consent: None, subject_is_party: false },
        })
    }
}

fn moment_of(name: &str, text: &str, now: Timestamp) -> miette::Result<prost_types::Timestamp> {
    moment::read(text, now).map(moment::to_proto).map_err(|fault| miette!("{name}: {fault}"))
}

//! `partner suspend`, `resume`, `suspend-claims`, `resume-claims`, `deny` and `allow`.
//!
//! Where replicas share a registry the change goes onto the record they share: through the gateway that runs here, so that it has
//! taken effect here when the command ends, or straight to PostgreSQL where none runs. Else, and with `--here-only`, it is a file
//! of this deployment.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use miette::miette;
use serde_json::json;

use super::change::pin_of;
use super::{Deployment, told};
use crate::admin::client::{AdminClient, AdminClientError};
use crate::admin::report::{SHARED_RECORD_AWAY, StandingOrder, SuspensionLine};
use crate::admission::standing::StandingRecords as _;
use crate::app::{SystemClock, postgres_keys, postgres_options};
use crate::cli::deployment::Places;
use crate::cli::terminal::{say, say_json};
use crate::config::postgres::PostgresConfig;
use crate::domain::partner::PartnerId;
use crate::domain::standing::{KeyPin, RecordedState, StandingChange, StandingOf};
use crate::domain::time::Clock as _;
use crate::identity::StandingBook;
use crate::registry::PostgresRegistry;
use crate::registry::store::wait;

/// Changes whether a partner may call, on open connections too, within a second.
#[derive(Debug, Args)]
pub(super) struct StandingArgs {
    /// The partner's id.
    partner: PartnerId,
    #[command(flatten)]
    order: Order,
}

/// Changes whether a key is accepted, whatever contract lists it and before any revocation list does.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("key").required(true).args(["cert", "pin"])))]
pub(super) struct KeyArgs {
    /// The key of this certificate.
    #[arg(long, alias = "certificate", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// This key: SHA-256 of the public key, in hexadecimal.
    #[arg(long, value_name = "HEX")]
    pin: Option<KeyPin>,
    #[command(flatten)]
    order: Order,
}

#[derive(Debug, Args)]
struct Order {
    #[command(flatten)]
    deployment: Deployment,
    /// Why, for the operators who come after. Required to suspend or deny.
    #[arg(long)]
    reason: Option<String>,
    /// Who says so.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    /// Write this replica's own record, though the replicas share one: for when PostgreSQL is away.
    #[arg(long)]
    here_only: bool,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
}

/// Where a change was put, and what still speaks against whom it lets go.
struct Put {
    place: &'static str,
    against: Vec<SuspensionLine>,
}

impl StandingArgs {
    pub(super) fn change(self, state: RecordedState) -> miette::Result<ExitCode> {
        self.put(state, StandingOf::Partner)
    }

    pub(super) fn change_claims(self, state: RecordedState) -> miette::Result<ExitCode> {
        self.put(state, StandingOf::Claims)
    }

    fn put(self, state: RecordedState, of: fn(PartnerId) -> StandingOf) -> miette::Result<ExitCode> {
        // A typing error must not suspend nobody without a word.
        let places = self.order.deployment.places()?;
        let contract = places.contract(&self.partner);
        if !contract.is_file() {
            let next = "check the id and --dir; drivegate partner list shows the partners";
            return Err(miette!(help = next, "there is no contract {}", contract.display()));
        }
        self.order.put(&places, of(self.partner), state)
    }
}

impl KeyArgs {
    pub(super) fn change(self, state: RecordedState) -> miette::Result<ExitCode> {
        let places = self.order.deployment.places()?;
        let pin = match (&self.cert, self.pin) {
            (Some(file), _) => pin_of(file)?,
            (None, Some(pin)) => pin,
            (None, None) => return Err(miette!("name a key: --cert FILE or --pin HEX")),
        };
        self.order.put(&places, StandingOf::Key(pin), state)
    }
}

impl Order {
    fn put(self, places: &Places, of: StandingOf, state: RecordedState) -> miette::Result<ExitCode> {
        let change =
            StandingChange { of, state, reason: self.reason(state)?, by: self.by, at: SystemClock.now() };
        let change = change.checked().map_err(|fault| told(&fault, "correct --reason or --by"))?;
        let put = match places.postgres.as_ref().filter(|_| !self.here_only) {
            Some(postgres) => put_for_all(places, postgres, change.clone())?,
            None => put_here(places, change.clone())?,
        };
        report(&change, &put, self.json);
        Ok(ExitCode::SUCCESS)
    }

    fn reason(&self, state: RecordedState) -> miette::Result<String> {
        match (&self.reason, state) {
            (Some(reason), _) => Ok(reason.clone()),
            (None, RecordedState::Active) => Ok("let go again".to_owned()),
            (None, RecordedState::Suspended) => {
                let next = "say why, for the operators who come after: --reason \"invoice overdue\"";
                Err(miette!(help = next, "a suspension needs a reason"))
            }
        }
    }
}

/// Writes the file of this deployment: a gateway that runs here follows within a second.
fn put_here(places: &Places, change: StandingChange) -> miette::Result<Put> {
    let next = "check --dir, and that you may write there";
    let book = StandingBook::open(&places.standing).map_err(|error| told(&error, next))?;
    book.put(change).map_err(|error| told(&error, next))?;
    Ok(Put { place: "this replica's record", against: Vec::new() })
}

/// Puts the change on the record all replicas share.
fn put_for_all(places: &Places, postgres: &PostgresConfig, change: StandingChange) -> miette::Result<Put> {
    let place = "the shared record";
    match AdminClient::connect(&places.admin_socket) {
        Ok(gateway) => Ok(Put { place, against: put_by(&gateway, &change)? }),
        Err(AdminClientError::NotRunning { .. }) => {
            put_directly(places, postgres, change)?;
            Ok(Put { place, against: Vec::new() })
        }
        Err(error) => Err(error.into()),
    }
}

fn put_by(gateway: &AdminClient, change: &StandingChange) -> Result<Vec<SuspensionLine>, AdminClientError> {
    let order =
        StandingOrder { reason: change.reason.clone(), by: Some(change.by.clone()), here_only: false };
    Ok(match (&change.of, change.state) {
        (StandingOf::Partner(partner), RecordedState::Suspended) => {
            gateway.suspend(partner.as_str(), &order)?.suspensions
        }
        (StandingOf::Partner(partner), RecordedState::Active) => {
            gateway.resume(partner.as_str(), &order)?.suspensions
        }
        (StandingOf::Claims(partner), RecordedState::Suspended) => {
            gateway.suspend_claims(partner.as_str(), &order)?.claim_suspensions
        }
        (StandingOf::Claims(partner), RecordedState::Active) => {
            gateway.resume_claims(partner.as_str(), &order)?.claim_suspensions
        }
        (StandingOf::Key(pin), RecordedState::Suspended) => gateway.deny(&pin.to_string(), &order)?.denials,
        (StandingOf::Key(pin), RecordedState::Active) => gateway.allow(&pin.to_string(), &order)?.denials,
    })
}

fn put_directly(places: &Places, postgres: &PostgresConfig, change: StandingChange) -> miette::Result<()> {
    let away = |error: &dyn std::error::Error| told(error, SHARED_RECORD_AWAY);
    let options = postgres_options(postgres).map_err(|error| away(&error))?;
    let keys = postgres_keys(&places.registry_keys, &options).map_err(|error| away(&error))?;
    let registry = PostgresRegistry::open_alone(options, Arc::new(keys)).map_err(|error| away(&error))?;
    wait(registry.put(change)).map(drop).map_err(|error| away(&error))
}

fn report(change: &StandingChange, put: &Put, as_json: bool) {
    let StandingChange { of, state, by, at, reason } = change;
    if as_json {
        let record = json!({ "state": state, "since": at, "reason": reason, "by": by });
        let of = of.to_string();
        say_json(
            &json!({ "id": of, "standing_record": record, "place": put.place, "suspensions": put.against }),
        );
        return;
    }
    say(&format!("{of}: {} since {at} by {by}, on {}", word(of, *state), put.place));
    if *state == RecordedState::Active {
        let suspended = word(of, RecordedState::Suspended);
        for left in &put.against {
            say(&format!("it stays {suspended} all the same, by {}", left.place.said()));
        }
    }
}

fn word(of: &StandingOf, state: RecordedState) -> &'static str {
    match (of, state) {
        (StandingOf::Partner(_) | StandingOf::Claims(_), state) => state.word(),
        (StandingOf::Key(_), RecordedState::Suspended) => "denied",
        (StandingOf::Key(_), RecordedState::Active) => "allowed",
    }
}

//! Playing scenes: each partner is a client of its own, with its own connection.

use std::collections::BTreeMap;
use std::time::Duration;

use miette::IntoDiagnostic as _;
use tonic::Status;
use tonic::transport::Channel;

use super::scenes::Scene;
use super::stage::{Face, Stage};
use super::table::{Outcome, Played};
use crate::app::SystemClock;
use crate::cli::verify::refusal::Refusal;
use crate::domain::time::Clock as _;
use crate::gateway::proto;
use crate::gateway::proto::verification_service_client::VerificationServiceClient;

/// A partner's client.
pub type Client = VerificationServiceClient<Channel>;

/// The partners' clients, each connected when it first asks.
#[derive(Default)]
pub struct Clients {
    open: BTreeMap<&'static str, Client>,
}

impl Clients {
    /// Returns a partner's client.
    ///
    /// # Errors
    /// When it cannot connect.
    pub async fn of(&mut self, stage: &Stage, partner: &'static str) -> miette::Result<Client> {
        if let Some(client) = self.open.get(partner) {
            return Ok(client.clone());
        }
        let tls = stage.tls(Face::Partner(partner))?;
        let client = Client::new(stage.target().channel(&tls).await.into_diagnostic()?);
        self.open.insert(partner, client.clone());
        Ok(client)
    }
}

/// Asks, and measures how long the answer takes.
pub async fn ask(
    client: &mut Client,
    request: proto::VerifyRequest,
) -> (Result<proto::VerifyResponse, Status>, Duration) {
    let from = SystemClock.since_boot();
    let answer = client.verify(request).await.map(tonic::Response::into_inner);
    (answer, SystemClock.since_boot().saturating_sub(from))
}

/// Plays one scene.
///
/// # Errors
/// When the partner cannot connect.
pub async fn play(stage: &Stage, clients: &mut Clients, scene: Scene) -> miette::Result<Played> {
    let mut client = clients.of(stage, scene.who).await?;
    let (answer, took) = ask(&mut client, scene.request).await;
    let (outcome, verdict) = match answer {
        Ok(answer) => {
            let verdict = scene.expected.compare(&answer);
            (Outcome::Answer(Box::new(answer)), verdict)
        }
        Err(status) => (Outcome::Refusal(Refusal::of(&status)), Err("expected an answer".to_owned())),
    };
    Ok(Played { who: scene.who.to_owned(), asked: scene.asked, outcome, took, verdict })
}

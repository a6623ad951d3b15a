//! One stream: reads changes while there is room, acknowledges them in order when they are durable, and ends in an orderly way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tonic::{Code, Status, Streaming};

use super::handlers::AuthorityHandlers;
use super::streams::StreamPlace;
use crate::domain::partner::{Contract, PartnerKind, Standing};
use crate::gateway::context::CallContext;
use crate::gateway::convert::{
    ChangeRules, FieldFault, ParsedChange, acknowledgement, parse_change, rejection,
};
use crate::gateway::layers::note;
use crate::gateway::observer::FinishedCall;
use crate::gateway::proto::{Acknowledgement, ApplyChangesRequest, ApplyChangesResponse};
use crate::gateway::refusal::Refusal;
use crate::gateway::serve::Line;
use crate::intake::{IntakeUnavailable, Ticket};

/// Changes of one stream that may be unacknowledged: two commits of the embedded store at a time are shared by 2,000 each, and 64 such
/// streams hold some 130 MB.
const UNACKNOWLEDGED_MAX: usize = 4_096;
/// Changes in one message.
const CHANGES_PER_MESSAGE_MAX: usize = 128;
/// How often an idle stream's standing is read.
const STANDING_EVERY: Duration = Duration::from_millis(500);

/// What a session says.
pub(super) enum Reply {
    /// What became of some changes.
    Acknowledged(ApplyChangesResponse),
    /// Everything is acknowledged, and nothing more will come.
    Done,
    /// The stream ends before its time.
    Ended(Box<Status>),
}

/// One stream of one authority.
pub(super) struct Session {
    pub(super) of: AuthorityHandlers,
    pub(super) call: Arc<CallContext>,
    pub(super) contract: Arc<Contract>,
    pub(super) line: Line,
    pub(super) replies: mpsc::Sender<Reply>,
}

/// How a session ends.
enum End {
    /// The client has sent everything, and it is acknowledged.
    Done,
    /// The client is gone.
    Gone,
    /// We end it.
    Refused(Refusal),
}

/// What a message's changes wait for.
struct Handed {
    /// The number of the first on this stream.
    first: u64,
    parsed: Vec<(String, Vec<FieldFault>, bool)>,
    ticket: Option<Ticket>,
}

impl Session {
    /// Serves the stream to its end.
    pub(super) async fn run(self, mut changes: Streaming<ApplyChangesRequest>, place: StreamPlace) {
        let reply = match self.serve(&mut changes).await {
            End::Done => Some(Reply::Done),
            End::Gone => None,
            End::Refused(refusal) => {
                self.report(&refusal);
                Some(Reply::Ended(Box::new(refusal.status(&self.call.id.to_string()))))
            }
        };
        drop(place);
        if let Some(reply) = reply {
            // Whoever is gone needs no farewell.
            let _gone = self.replies.send(reply).await;
        }
    }

    async fn serve(&self, changes: &mut Streaming<ApplyChangesRequest>) -> End {
        let mut handed = FuturesOrdered::new();
        let (mut unacknowledged, mut received) = (0_usize, 0_u64);
        // Once there is a last word, nothing more is read, and what was read is still acknowledged.
        let mut last_word: Option<End> = None;
        let mut looks = tokio::time::interval(STANDING_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reads = last_word.is_none() && unacknowledged < UNACKNOWLEDGED_MAX;
            tokio::select! {
                Some(settled) = handed.next(), if !handed.is_empty() => {
                    let acknowledgements: Vec<Acknowledgement> = match settled {
                        Ok(acknowledgements) => acknowledgements,
                        Err(IntakeUnavailable) => return End::Refused(Refusal::RegistryUnavailable),
                    };
                    let count = acknowledgements.len();
                    let answer = ApplyChangesResponse { acknowledgements };
                    if self.replies.send(Reply::Acknowledged(answer)).await.is_err() {
                        return End::Gone;
                    }
                    unacknowledged -= count;
                }
                message = changes.message(), if reads => match message {
                    Ok(Some(message)) => {
                        if let Err(standing) = self.standing() {
                            return End::Refused(standing);
                        }
                        let count = message.changes.len();
                        if !(1..=CHANGES_PER_MESSAGE_MAX).contains(&count) {
                            last_word = Some(End::Refused(too_many()));
                            continue;
                        }
                        match self.hand_in(message, received).await {
                            Ok(waiting) => handed.push_back(waiting.settled()),
                            Err(IntakeUnavailable) => return End::Refused(Refusal::RegistryUnavailable),
                        }
                        received += count as u64;
                        unacknowledged += count;
                    }
                    Ok(None) => last_word = Some(End::Done),
                    Err(status) => last_word = Some(end_of(&status)),
                },
                () = self.line.farewell().cancelled(), if last_word.is_none() => {
                    last_word = Some(End::Refused(Refusal::Draining));
                }
                _ = looks.tick() => match self.standing() {
                    // Nothing is taken until it is known again, and no stream need end for that.
                    Ok(()) | Err(Refusal::Standing(Standing::NotKnown)) => {}
                    Err(standing) => return End::Refused(standing),
                },
            }
            if handed.is_empty()
                && let Some(end) = last_word
            {
                return end;
            }
        }
    }

    /// Parses a message and hands in what can be.
    async fn hand_in(
        &self,
        message: ApplyChangesRequest,
        received: u64,
    ) -> Result<Handed, IntakeUnavailable> {
        let rules = ChangeRules { partner: &self.contract.partner, numbers: self.of.numbers };
        let mut changes = Vec::with_capacity(message.changes.len());
        let mut parsed = Vec::with_capacity(message.changes.len());
        for message in message.changes {
            let ParsedChange { change_id, change, faults } = parse_change(message, rules);
            parsed.push((change_id, faults, change.is_some()));
            changes.extend(change);
        }
        let ticket = if changes.is_empty() { None } else { Some(self.of.intake.hand_in(changes).await?) };
        Ok(Handed { first: received + 1, parsed, ticket })
    }

    /// Reads the partner's standing: a suspension bites on an open stream.
    fn standing(&self) -> Result<(), Refusal> {
        let connection = &self.call.connection;
        match connection.standing(&self.of.roster, self.of.clock.now()) {
            Standing::Active => {}
            lost => return Err(Refusal::Standing(lost)),
        }
        match connection.contract(&self.of.roster) {
            Some(contract) if contract.kind == PartnerKind::Authority => Ok(()),
            Some(_) => Err(Refusal::MethodNotPermitted),
            None => Err(Refusal::Standing(Standing::NotListed)),
        }
    }

    /// Tells of a stream we end: the call itself was finished when the stream was opened.
    fn report(&self, refusal: &Refusal) {
        note(self.of.refusals.as_ref(), &self.call, refusal);
        self.of.observer.stream_ended(&FinishedCall {
            id: self.call.id.0,
            method: self.call.method,
            partner: Some(&self.contract.partner),
            purpose: None,
            decision: None,
            code: Some(refusal.row().0),
            reason: Some(refusal.reason_word()),
            limit: refusal.limit(),
            completed: true,
            elapsed: self.of.clock.since_boot().saturating_sub(self.call.arrived),
        });
    }
}

impl Handed {
    /// Waits until the changes are durable, and says what became of each.
    async fn settled(self) -> Result<Vec<Acknowledgement>, IntakeUnavailable> {
        let outcomes = match self.ticket {
            Some(ticket) => ticket.outcomes().await?,
            None => Vec::new(),
        };
        let mut outcomes = outcomes.into_iter();
        let numbered = (self.first..).zip(self.parsed);
        numbered
            .map(|(number, (change_id, faults, was_handed_in))| match was_handed_in {
                false => Ok(rejection(number, change_id, faults)),
                true => {
                    let outcome = outcomes.next().ok_or(IntakeUnavailable)?;
                    Ok(acknowledgement(number, change_id, outcome, faults))
                }
            })
            .collect()
    }
}

fn too_many() -> Refusal {
    let rule = format!("must be 1 to {CHANGES_PER_MESSAGE_MAX}");
    Refusal::Malformed(vec![FieldFault { path: "changes", rule }])
}

/// Says what a stream that cannot be read any further ends with.
fn end_of(status: &Status) -> End {
    if std::error::Error::source(status).is_some() || status.code() == Code::Cancelled {
        // The transport says so, not the message: the client went away.
        return End::Gone;
    }
    End::Refused(match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Refusal::StreamMessageTooLarge,
        Code::Unimplemented => Refusal::Compressed,
        _ => Refusal::Malformed(vec![FieldFault {
            path: "",
            rule: "must be well-formed messages of the method's request type".to_owned(),
        }]),
    })
}

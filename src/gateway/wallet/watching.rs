//! A stream of new look-ups: what the use case tells, and how it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::Status;

use super::handlers::WalletHandlers;
use crate::domain::partner::{Contract, PartnerKind, Standing};
use crate::evidence::{self, WatchEnd, Watching};
use crate::gateway::authority::StreamPlace;
use crate::gateway::context::CallContext;
use crate::gateway::convert::told_message;
use crate::gateway::layers::note;
use crate::gateway::observer::FinishedCall;
use crate::gateway::proto::WatchAccessesResponse;
use crate::gateway::refusal::Refusal;
use crate::gateway::serve::Line;

/// Look-ups waiting for the client to read them. When there are more, the logs are not read on for this stream.
pub(super) const TOLD_AHEAD: usize = 16;

/// A stream that is open.
pub(super) struct Watch {
    pub(super) of: WalletHandlers,
    pub(super) call: Arc<CallContext>,
    pub(super) contract: Arc<Contract>,
    pub(super) line: Line,
}

/// What is sent: a message, or the last word.
pub(super) enum Word {
    Told(evidence::Told),
    Ended(Box<Status>),
}

impl Watch {
    /// Serves the stream to its end.
    pub(super) async fn run(self, watching: Watching, words: mpsc::Sender<Word>, place: StreamPlace) {
        let (told, mut heard) = mpsc::channel(TOLD_AHEAD);
        let standing = || self.standing();
        let farewell = self.line.farewell();
        let relay = async {
            while let Some(one) = heard.recv().await {
                if words.send(Word::Told(one)).await.is_err() {
                    return;
                }
            }
        };
        let run = watching.run(&told, &standing, farewell.cancelled());
        let end = tokio::select! {
            end = run => end,
            () = relay => WatchEnd::Gone,
        };
        drop(place);
        let refusal = match end {
            WatchEnd::Gone => return,
            WatchEnd::Draining => Refusal::Draining,
            WatchEnd::StandingLost(standing) => Refusal::Standing(standing),
            WatchEnd::Unreadable(why) => why.into(),
        };
        self.report(&refusal);
        let ended = Word::Ended(Box::new(refusal.status(&self.call.id.to_string())));
        // Whoever is gone needs no farewell.
        let _gone = words.send(ended).await;
    }

    /// Reads the wallet's standing: a suspension bites on an open stream, and so does a contract that is none of a wallet's any more.
    fn standing(&self) -> Standing {
        let connection = &self.call.connection;
        match connection.standing(&self.of.roster, self.of.clock.now()) {
            Standing::Active => match connection.contract(&self.of.roster) {
                Some(contract) if contract.kind == PartnerKind::Wallet => Standing::Active,
                Some(_) | None => Standing::NotListed,
            },
            lost => lost,
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

/// The messages of a stream. One that ends without a last word has failed, and that is what it says.
pub(in crate::gateway) struct Told {
    words: mpsc::Receiver<Word>,
    failed: Option<Status>,
    ended: bool,
    /// The connection counts as in use until the last of it has left.
    _held: Box<dyn Send + Sync>,
}

impl Told {
    pub(super) fn new(words: mpsc::Receiver<Word>, failed: Status, held: Box<dyn Send + Sync>) -> Self {
        Self { words, failed: Some(failed), ended: false, _held: held }
    }
}

impl Stream for Told {
    type Item = Result<WatchAccessesResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.words.poll_recv(task).map(|word| match word {
            Some(Word::Told(told)) => Some(Ok(told_message(told))),
            Some(Word::Ended(status)) => {
                self.ended = true;
                Some(Err(*status))
            }
            None => {
                self.ended = true;
                self.failed.take().map(Err)
            }
        })
    }
}

//! Hands changes in until each is acknowledged: what is not acknowledged when a stream ends goes out again on the next.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::lines::ReadLine;
use super::tally::{Tally, Told};
use crate::cli::verify::connection::Target;
use crate::gateway::proto::authority_service_client::AuthorityServiceClient;
use crate::gateway::proto::{ApplyChangesRequest, ApplyChangesResponse, LicenceChange};
use crate::identity::client::{ClientError, ClientTls};

/// Changes in one message: as many as the contract admits.
const CHANGES_PER_MESSAGE: usize = 128;
/// Changes kept until they are acknowledged: twice what the gateway reads ahead, so that it never waits for us.
const UNACKNOWLEDGED_MAX: usize = 8_192;
/// Messages on their way.
const MESSAGES_AHEAD: usize = 4;
/// What is held is settled after five seconds; then it is asked about once more.
const HELD_FOR: Duration = Duration::from_millis(5_500);
/// Between attempts to connect: doubled each time in vain.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How changes go out.
pub(super) struct Delivery {
    pub(super) target: Target,
    pub(super) tls: ClientTls,
    /// How often to connect again in vain.
    pub(super) retries: u32,
}

/// Why not everything was handed in.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made.
    Connection(ClientError),
    /// The gateway ended the stream.
    Status(Box<Status>),
}

/// A change that goes out, and the line it came from.
struct Outgoing {
    line: u64,
    change: LicenceChange,
}

/// What is still to be done.
struct Work {
    lines: mpsc::Receiver<ReadLine>,
    is_read: bool,
    unacknowledged: VecDeque<Outgoing>,
    /// Held ones, to be asked about again in the end.
    held: Vec<Outgoing>,
    /// They are being asked about.
    is_asking_again: bool,
}

impl Delivery {
    /// Hands everything in.
    pub(super) async fn run(self, lines: mpsc::Receiver<ReadLine>, tally: &mut Tally) -> Result<(), Failure> {
        let mut work = Work {
            lines,
            is_read: false,
            unacknowledged: VecDeque::new(),
            held: Vec::new(),
            is_asking_again: false,
        };
        let mut attempts = 0;
        loop {
            let settled = self.stream(&mut work, tally).await;
            match settled {
                Ok(()) if work.held.is_empty() => return Ok(()),
                Ok(()) => {
                    tokio::time::sleep(HELD_FOR).await;
                    work.unacknowledged.extend(work.held.drain(..));
                    work.is_asking_again = true;
                }
                Err((failure, progressed)) => {
                    attempts = if progressed { 1 } else { attempts + 1 };
                    if attempts > self.retries || !may_pass(&failure) {
                        return Err(failure);
                    }
                    let pause = PAUSE.saturating_mul(1 << attempts.min(8)).min(PAUSE_MAX);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Works on one stream to its end. An error says whether anything was acknowledged on it.
    async fn stream(&self, work: &mut Work, tally: &mut Tally) -> Result<(), (Failure, bool)> {
        let lost = |status: Status, progressed| (Failure::Status(Box::new(status)), progressed);
        let channel = self.target.channel(&self.tls).await;
        let channel = channel.map_err(|error| (Failure::Connection(error), false))?;
        let (messages, outgoing) = mpsc::channel(MESSAGES_AHEAD);
        let mut client = AuthorityServiceClient::new(channel);
        let opened = client.apply_changes(ReceiverStream::new(outgoing)).await;
        let mut answers = opened.map_err(|status| lost(status, false))?.into_inner();
        let mut messages = Some(messages);
        let (mut sent, mut progressed) = (0, false);
        let mut read = Vec::with_capacity(CHANGES_PER_MESSAGE);
        loop {
            let has_room = work.unacknowledged.len() < UNACKNOWLEDGED_MAX;
            let waits_for_lines = sent == work.unacknowledged.len();
            if work.is_read && waits_for_lines {
                // Half-closed: the gateway acknowledges the rest and ends the stream.
                messages = None;
            }
            let mut is_cut_off = false;
            tokio::select! {
                permit = reserve(messages.as_ref()), if !waits_for_lines => match permit {
                    Some(permit) => {
                        let batch = work.unacknowledged.range(sent..).take(CHANGES_PER_MESSAGE);
                        let changes: Vec<_> = batch.map(|outgoing| outgoing.change.clone()).collect();
                        sent += changes.len();
                        permit.send(ApplyChangesRequest { changes });
                    }
                    // The stream ended; its answers say why.
                    None => is_cut_off = true,
                },
                count = work.lines.recv_many(&mut read, CHANGES_PER_MESSAGE), if !work.is_read && has_room => {
                    work.is_read = count == 0;
                    work.take(&mut read, tally);
                }
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        progressed = true;
                        sent -= work.settle(&answer, tally);
                    }
                    Ok(None) if work.is_read && work.unacknowledged.is_empty() => return Ok(()),
                    Ok(None) => return Err(lost(Status::unavailable("the stream ended early"), progressed)),
                    Err(status) => return Err(lost(status, progressed)),
                },
            }
            if is_cut_off {
                messages = None;
            }
        }
    }
}

async fn reserve<T>(messages: Option<&mpsc::Sender<T>>) -> Option<mpsc::Permit<'_, T>> {
    match messages {
        Some(messages) => messages.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

impl Work {
    fn take(&mut self, read: &mut Vec<ReadLine>, tally: &mut Tally) {
        for ReadLine { line, change } in read.drain(..) {
            match change {
                Ok(change) => self.unacknowledged.push_back(Outgoing { line, change }),
                Err(reason) => tally.unreadable(line, &reason),
            }
        }
    }

    /// Settles what was acknowledged, in the order it was sent; returns how many.
    fn settle(&mut self, answer: &ApplyChangesResponse, tally: &mut Tally) -> usize {
        let mut count = 0;
        for told in &answer.acknowledgements {
            let Some(outgoing) = self.unacknowledged.pop_front() else { break };
            count += 1;
            if tally.acknowledged(outgoing.line, told, self.is_asking_again) == Told::AskAgain {
                self.held.push(outgoing);
            }
        }
        count
    }
}

/// Says whether trying again may help.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Connection(error) => {
            matches!(
                error,
                ClientError::Unreachable { .. }
                    | ClientError::TimedOut { .. }
                    | ClientError::Handshake { .. }
                    | ClientError::Http2 { .. }
            )
        }
        Failure::Status(status) => {
            matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded
            )
        }
    }
}

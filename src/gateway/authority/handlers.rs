//! Opens a stream: for authorities alone, within the bound of streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::session::{Reply, Session};
use super::streams::Streams;
use crate::admission::RefusalLog;
use crate::domain::licence::NumberRules;
use crate::domain::partner::PartnerKind;
use crate::domain::time::Clock;
use crate::gateway::handlers::caller;
use crate::gateway::observer::CallObserver;
use crate::gateway::proto::authority_service_server::AuthorityService;
use crate::gateway::proto::{ApplyChangesRequest, ApplyChangesResponse};
use crate::gateway::refusal::Refusal;
use crate::gateway::serve::Line;
use crate::identity::Roster;
use crate::intake::Intake;

/// Answers waiting for the client to read them. When there are more, the session stops reading changes.
const REPLIES_AHEAD: usize = 4;

/// What the streams need. One for all connections.
#[derive(Clone)]
pub(in crate::gateway) struct AuthorityHandlers {
    pub(in crate::gateway) intake: Arc<Intake>,
    pub(in crate::gateway) streams: Arc<Streams>,
    pub(in crate::gateway) roster: Arc<Roster>,
    pub(in crate::gateway) refusals: Arc<dyn RefusalLog>,
    pub(in crate::gateway) observer: Arc<dyn CallObserver>,
    pub(in crate::gateway) clock: Arc<dyn Clock>,
    pub(in crate::gateway) numbers: NumberRules,
}

#[tonic::async_trait]
impl AuthorityService for AuthorityHandlers {
    type ApplyChangesStream = Acknowledgements;

    async fn apply_changes(
        &self,
        request: Request<Streaming<ApplyChangesRequest>>,
    ) -> Result<Response<Acknowledgements>, Status> {
        let (call, contract) = caller(&request)?;
        if contract.kind != PartnerKind::Authority {
            return Err(call.refuse(Refusal::MethodNotPermitted));
        }
        let place = self
            .streams
            .open(&contract.partner)
            .map_err(|exceeded| call.refuse(Refusal::Limit(exceeded, None)))?;
        let line = request.extensions().get::<Line>().cloned();
        let Some(line) = line else { return Err(call.refuse(Refusal::Internal)) };
        let held = Box::new(line.hold());
        let failed = Refusal::Internal.status(&call.id.to_string());
        let (replies_into, replies) = mpsc::channel(REPLIES_AHEAD);
        let session = Session { of: self.clone(), call, contract, line, replies: replies_into };
        tokio::spawn(session.run(request.into_inner(), place));
        Ok(Response::new(Acknowledgements { replies, ended: false, failed: Some(failed), _held: held }))
    }
}

/// The answers of a session. A session that ends without a word has failed, and that is what the stream says.
pub(in crate::gateway) struct Acknowledgements {
    replies: mpsc::Receiver<Reply>,
    ended: bool,
    failed: Option<Status>,
    /// The connection counts as in use until the last of it has left.
    _held: Box<dyn Send + Sync>,
}

impl Stream for Acknowledgements {
    type Item = Result<ApplyChangesResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.replies.poll_recv(task).map(|reply| match reply {
            Some(Reply::Acknowledged(answer)) => Some(Ok(answer)),
            Some(Reply::Done) => {
                self.ended = true;
                None
            }
            Some(Reply::Ended(status)) => {
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

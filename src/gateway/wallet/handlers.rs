//! One method each: the caller is a wallet, the message is parsed, the use case is asked, its words become a message.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::watching::{TOLD_AHEAD, Told, Watch};
use crate::admission::RefusalLog;
use crate::domain::licence::NumberRules;
use crate::domain::partner::{Contract, PartnerKind, Standing};
use crate::domain::time::Clock;
use crate::evidence::Accesses;
use crate::evidence::ports::PartnerNames;
use crate::gateway::authority::Streams;
use crate::gateway::context::CallContext;
use crate::gateway::convert::{
    ListAsked, RequestRules, accesses_message, consents_message, objected_message, parse_list, parse_object,
    parse_qr, parse_revoke, parse_share_code, parse_watch, parse_withdraw, qr_message, revoked_message,
    share_code_message, withdrawn_message,
};
use crate::gateway::handlers::caller;
use crate::gateway::observer::CallObserver;
use crate::gateway::proto::presentation_service_server::PresentationService;
use crate::gateway::proto::{
    Environment, IssueQrRequest, IssueQrResponse, IssueShareCodeRequest, IssueShareCodeResponse,
    ListAccessesRequest, ListAccessesResponse, ListConsentsRequest, ListConsentsResponse, ObjectRequest,
    ObjectResponse, RevokeRequest, RevokeResponse, WatchAccessesRequest, WithdrawConsentRequest,
    WithdrawConsentResponse,
};
use crate::gateway::refusal::Refusal;
use crate::gateway::serve::Line;
use crate::identity::Roster;
use crate::issuing::{Consents, Issuing, Page, WalletCaller};
use crate::verification::ports::Deadline;

/// What the handlers need. One for all connections.
#[derive(Clone)]
pub(in crate::gateway) struct WalletHandlers {
    pub(in crate::gateway) issuing: Arc<Issuing>,
    pub(in crate::gateway) consents: Arc<Consents>,
    pub(in crate::gateway) accesses: Arc<Accesses>,
    pub(in crate::gateway) names: Arc<dyn PartnerNames>,
    pub(in crate::gateway) streams: Arc<Streams>,
    pub(in crate::gateway) roster: Arc<Roster>,
    pub(in crate::gateway) refusals: Arc<dyn RefusalLog>,
    pub(in crate::gateway) observer: Arc<dyn CallObserver>,
    pub(in crate::gateway) clock: Arc<dyn Clock>,
    pub(in crate::gateway) numbers: NumberRules,
    pub(in crate::gateway) environment: Environment,
}

/// A wallet that calls.
struct Calling {
    call: Arc<CallContext>,
    contract: Arc<Contract>,
    deadline: Deadline,
}

#[tonic::async_trait]
impl PresentationService for WalletHandlers {
    type WatchAccessesStream = Told;

    async fn issue_qr(&self, request: Request<IssueQrRequest>) -> Result<Response<IssueQrResponse>, Status> {
        let calling = self.wallet(&request)?;
        let asked = calling.parsed(parse_qr(request.into_inner(), self.rules()))?;
        let standing = self.standing(&calling);
        let issued = self.issuing.issue_qr(calling.caller(&standing), &asked, calling.deadline).await;
        Ok(Response::new(qr_message(calling.done(issued)?, self.environment)))
    }

    async fn issue_share_code(
        &self,
        request: Request<IssueShareCodeRequest>,
    ) -> Result<Response<IssueShareCodeResponse>, Status> {
        let calling = self.wallet(&request)?;
        let asked = calling.parsed(parse_share_code(request.into_inner(), self.rules()))?;
        let standing = self.standing(&calling);
        let issued = self.issuing.issue_share_code(calling.caller(&standing), &asked, calling.deadline).await;
        Ok(Response::new(share_code_message(&calling.done(issued)?, self.environment)))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        let calling = self.wallet(&request)?;
        let (holder, id) = calling.parsed(parse_revoke(request.into_inner(), self.rules()))?;
        let revoked = self.issuing.revoke(&holder, id, calling.deadline).await;
        Ok(Response::new(revoked_message(calling.done(revoked)?)))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let calling = self.wallet(&request)?;
        let ListConsentsRequest { holder, page_size, page_token } = request.into_inner();
        let asked = calling.parsed(parse_list(holder, page_size, page_token, self.rules()))?;
        let ListAsked { holder, size, token } = &asked;
        let page = Page { size: *size, token: token.as_deref() };
        let standing = self.standing(&calling);
        let listed = self.consents.list(calling.caller(&standing), holder, page, calling.deadline).await;
        Ok(Response::new(consents_message(calling.done(listed)?, self.names.as_ref())))
    }

    async fn withdraw_consent(
        &self,
        request: Request<WithdrawConsentRequest>,
    ) -> Result<Response<WithdrawConsentResponse>, Status> {
        let calling = self.wallet(&request)?;
        let asked = calling.parsed(parse_withdraw(request.into_inner(), self.rules()))?;
        let standing = self.standing(&calling);
        let caller = calling.caller(&standing);
        let since = self.consents.withdraw(caller, &asked.holder, asked.consent, calling.deadline).await;
        Ok(Response::new(withdrawn_message(calling.done(since)?)))
    }

    async fn object(&self, request: Request<ObjectRequest>) -> Result<Response<ObjectResponse>, Status> {
        let calling = self.wallet(&request)?;
        let asked = calling.parsed(parse_object(request.into_inner(), self.rules()))?;
        let standing = self.standing(&calling);
        let caller = calling.caller(&standing);
        let since = self
            .consents
            .object(caller, &asked.holder, &asked.against, asked.purpose, calling.deadline)
            .await;
        Ok(Response::new(objected_message(calling.done(since)?)))
    }

    async fn list_accesses(
        &self,
        request: Request<ListAccessesRequest>,
    ) -> Result<Response<ListAccessesResponse>, Status> {
        let calling = self.wallet(&request)?;
        let ListAccessesRequest { holder, page_size, page_token } = request.into_inner();
        let asked = calling.parsed(parse_list(holder, page_size, page_token, self.rules()))?;
        let ListAsked { holder, size, token } = &asked;
        let page = Page { size: *size, token: token.as_deref() };
        let standing = self.standing(&calling);
        let listed = self.accesses.list(calling.caller(&standing), holder, page, calling.deadline).await;
        Ok(Response::new(accesses_message(calling.done(listed)?)))
    }

    async fn watch_accesses(&self, request: Request<WatchAccessesRequest>) -> Result<Response<Told>, Status> {
        let calling = self.wallet(&request)?;
        let place = self
            .streams
            .open(&calling.contract.partner)
            .map_err(|exceeded| calling.call.refuse(Refusal::Limit(exceeded, None)))?;
        let line = request.extensions().get::<Line>().cloned();
        let Some(line) = line else { return Err(calling.call.refuse(Refusal::Internal)) };
        let asked = calling.parsed(parse_watch(request.into_inner(), self.rules()))?;
        let standing = self.standing(&calling);
        let opened = self.accesses.watch(
            calling.caller(&standing),
            &asked.holders,
            asked.token.as_deref(),
            calling.deadline,
        );
        let watching = calling.done(opened.await)?;
        drop(standing);
        let held = Box::new(line.hold());
        let failed = Refusal::Internal.status(&calling.call.id.to_string());
        let (words, heard) = tokio::sync::mpsc::channel(TOLD_AHEAD);
        let Calling { call, contract, .. } = calling;
        let watch = Watch { of: self.clone(), call, contract, line };
        tokio::spawn(watch.run(watching, words, place));
        Ok(Response::new(Told::new(heard, failed, held)))
    }
}

impl WalletHandlers {
    /// Finds the caller, which must be a wallet.
    fn wallet<T>(&self, request: &Request<T>) -> Result<Calling, Status> {
        let (call, contract) = caller(request)?;
        if contract.kind != PartnerKind::Wallet {
            return Err(call.refuse(Refusal::MethodNotPermitted));
        }
        let Some(deadline) = call.deadline else { return Err(call.refuse(Refusal::Internal)) };
        Ok(Calling { call, contract, deadline })
    }

    fn rules(&self) -> RequestRules {
        RequestRules { numbers: self.numbers, now: self.clock.now() }
    }

    fn standing<'a>(&'a self, calling: &'a Calling) -> impl Fn() -> Standing + Sync + 'a {
        move || calling.call.connection.standing(&self.roster, self.clock.now())
    }
}

impl Calling {
    fn caller<'a>(&'a self, standing: &'a (dyn Fn() -> Standing + Sync)) -> WalletCaller<'a> {
        WalletCaller { wallet: &self.contract.partner, standing }
    }

    fn parsed<T>(&self, parsed: Result<T, Vec<crate::gateway::convert::FieldFault>>) -> Result<T, Status> {
        parsed.map_err(|faults| self.call.refuse(Refusal::Malformed(faults)))
    }

    fn done<T, E: Into<Refusal>>(&self, done: Result<T, E>) -> Result<T, Status> {
        done.map_err(|cause| self.call.refuse(cause.into()))
    }
}

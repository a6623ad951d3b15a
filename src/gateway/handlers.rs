//! The methods of `VerificationService`: convert, call the use case, convert back.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::context::{CallContext, Leaving};
use super::convert::{
    RequestRules, answer_message, claims_message, contract_message, limits_message, parse_receipt_request,
    parse_request, receipt_message,
};
use super::proto::verification_service_server::VerificationService;
use super::proto::{
    DescribeContractRequest, DescribeContractResponse, Environment, GetLimitsRequest, GetLimitsResponse,
    GetReceiptRequest, GetReceiptResponse, VerifyRequest, VerifyResponse,
};
use super::refusal::{LimitFields, Refusal};
use crate::admission::Meters;
use crate::domain::licence::NumberRules;
use crate::domain::partner::{Contract, Standing};
use crate::domain::time::Clock;
use crate::evidence::{ReceiptCaller, Receipts};
use crate::identity::Roster;
use crate::verification::ports::Deadline;
use crate::verification::{self, Caller, Verification};

/// What the handlers need. One for all connections.
#[derive(Clone)]
pub(super) struct Handlers {
    pub(super) verification: Arc<Verification>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) meters: Arc<dyn Meters>,
    pub(super) roster: Arc<Roster>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) numbers: NumberRules,
    pub(super) environment: Environment,
}

/// An answer on its way.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<VerifyResponse>, Status>> + Send + 'a>>;

/// A question that was read, with all its answer needs.
struct Asked {
    call: Arc<CallContext>,
    contract: Arc<Contract>,
    request: Box<verification::Request>,
    deadline: Deadline,
}

#[tonic::async_trait]
impl VerificationService for Handlers {
    /// Reads the message at once and keeps what was read, not the message: what waits for the record is kept small.
    fn verify<'s, 'async_trait>(&'s self, request: Request<VerifyRequest>) -> Answering<'async_trait>
    where
        's: 'async_trait,
        Self: 'async_trait,
    {
        match self.read(request) {
            Ok(asked) => Box::pin(self.answer(asked)),
            Err(status) => Box::pin(ready(Err(status))),
        }
    }

    async fn get_limits(
        &self,
        request: Request<GetLimitsRequest>,
    ) -> Result<Response<GetLimitsResponse>, Status> {
        let (call, contract) = caller(&request)?;
        let levels = self.meters.levels(&contract.partner, &contract.allowance);
        let mode = self.meters.mode(&contract.partner, &contract.allowance);
        let mut message = limits_message(&levels, mode, self.environment);
        let claims = self.verification.claims.level(&contract.partner, &contract.claims);
        let standing = call.connection.standing_to_claim(&self.roster, self.clock.now());
        message.claims =
            Some(claims_message(&contract.claims, claims, standing == Standing::ClaimsSuspended));
        Ok(Response::new(message))
    }

    async fn describe_contract(
        &self,
        request: Request<DescribeContractRequest>,
    ) -> Result<Response<DescribeContractResponse>, Status> {
        let (call, contract) = caller(&request)?;
        let expires_at = call.connection.peer().not_after;
        Ok(Response::new(DescribeContractResponse {
            contract: Some(contract_message(&contract, expires_at)),
            environment: self.environment.into(),
        }))
    }

    async fn get_receipt(
        &self,
        request: Request<GetReceiptRequest>,
    ) -> Result<Response<GetReceiptResponse>, Status> {
        let (call, contract) = caller(&request)?;
        let asked = parse_receipt_request(request.into_inner())
            .map_err(|faults| call.refuse(Refusal::Malformed(faults)))?;
        let standing = || call.connection.standing(&self.roster, self.clock.now());
        let caller = ReceiptCaller { partner: &contract.partner, standing: &standing };
        match self.receipts.receipt(caller, &asked).await {
            Ok(receipt) => Ok(Response::new(receipt_message(receipt, self.environment))),
            Err(cause) => Err(call.refuse(cause.into())),
        }
    }
}

impl Handlers {
    fn read(&self, request: Request<VerifyRequest>) -> Result<Asked, Status> {
        let (call, contract) = caller(&request)?;
        let rules = RequestRules { numbers: self.numbers, now: self.clock.now() };
        let request =
            parse_request(request.into_inner(), rules).map_err(|fault| call.refuse(fault.into()))?;
        let _set_once = call.purpose.set(request.question.purpose());
        let Some(deadline) = call.deadline else { return Err(call.refuse(Refusal::Internal)) };
        Ok(Asked { call, contract, request: Box::new(request), deadline })
    }

    async fn answer(&self, asked: Asked) -> Result<Response<VerifyResponse>, Status> {
        let Asked { call, contract, request, deadline } = asked;
        let is_claim = matches!(request.about, verification::About::Claimed(_));
        let standing = || match is_claim {
            true => call.connection.standing_to_claim(&self.roster, self.clock.now()),
            false => call.connection.standing(&self.roster, self.clock.now()),
        };
        let caller = Caller { contract: &contract, standing: &standing };
        match self.verification.verify(caller, &request, deadline).await {
            Ok(answer) => {
                let _set_once = call.decision.set(answer.ruling.decision);
                if let Some(by) = answer.leaves_by {
                    let held_back = self.held_back(&contract, &request, &answer);
                    let _set_once = call.leaving.set(Leaving { by, held_back });
                }
                Ok(Response::new(answer_message(&answer, self.environment)))
            }
            Err(cause) => Err(call.refuse(self.refusal_with_levels(cause.into(), &contract))),
        }
    }

    /// An answer that did not leave is not given to a retry either: what allowed it may have ended by then.
    fn held_back(
        &self,
        contract: &Arc<Contract>,
        request: &verification::Request,
        answer: &verification::Answer,
    ) -> Option<Box<dyn Fn() + Send + Sync>> {
        let (id, place) = (request.request_id.clone()?, answer.entry.clone());
        let (retries, contract) = (Arc::clone(&self.verification.retries), Arc::clone(contract));
        Some(Box::new(move || retries.let_go(&contract.partner, &id, &place)))
    }

    /// A quota refusal says what is left of every window, as a rate refusal does.
    fn refusal_with_levels(&self, refusal: Refusal, contract: &Contract) -> Refusal {
        match refusal {
            Refusal::Limit(exceeded, _) => {
                Refusal::Limit(exceeded, Some(LimitFields::of(self.meters.as_ref(), contract)))
            }
            other => other,
        }
    }
}

/// Returns the call and the contract the layers found. Neither can be missing below the standing gate.
pub(super) fn caller<T>(request: &Request<T>) -> Result<(Arc<CallContext>, Arc<Contract>), Status> {
    let call = request.extensions().get::<Arc<CallContext>>().cloned();
    let contract = call.as_ref().and_then(|call| call.contract.get().cloned());
    call.zip(contract).ok_or_else(|| Status::internal("call without a contract"))
}

//! The methods of `VerificationService`: convert, call the use case, convert back.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::context::CallContext;
use super::convert::{RequestRules, answer_message, contract_message, limits_message, parse_request};
use super::proto::verification_service_server::VerificationService;
use super::proto::{
    DescribeContractRequest, DescribeContractResponse, Environment, GetLimitsRequest, GetLimitsResponse,
    VerifyRequest, VerifyResponse,
};
use super::refusal::{LimitFields, Refusal};
use crate::admission::Meters;
use crate::domain::licence::NumberRules;
use crate::domain::partner::Contract;
use crate::domain::time::Clock;
use crate::identity::Roster;
use crate::verification::{Caller, Verification};

/// What the handlers need. One for all connections.
#[derive(Clone)]
pub(super) struct Handlers {
    pub(super) verification: Arc<Verification>,
    pub(super) meters: Arc<dyn Meters>,
    pub(super) roster: Arc<Roster>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) numbers: NumberRules,
    pub(super) environment: Environment,
}

#[tonic::async_trait]
impl VerificationService for Handlers {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let (call, contract) = caller(&request)?;
        let rules = RequestRules { numbers: self.numbers, now: self.clock.now() };
        let asked = parse_request(request.into_inner(), rules)
            .map_err(|faults| call.refuse(Refusal::Malformed(faults)))?;
        let _set_once = call.purpose.set(asked.question.purpose());
        let standing = || call.connection.standing(&self.roster, self.clock.now());
        let Some(deadline) = call.deadline else { return Err(call.refuse(Refusal::Internal)) };
        let caller = Caller { contract: &contract, standing: &standing };
        match self.verification.verify(caller, &asked, deadline).await {
            Ok(answer) => {
                let _set_once = call.decision.set(answer.ruling.decision);
                Ok(Response::new(answer_message(&answer, self.environment)))
            }
            Err(cause) => Err(call.refuse(self.refusal_with_levels(cause.into(), &contract))),
        }
    }

    async fn get_limits(
        &self,
        request: Request<GetLimitsRequest>,
    ) -> Result<Response<GetLimitsResponse>, Status> {
        let (_, contract) = caller(&request)?;
        let levels = self.meters.levels(&contract.partner, &contract.allowance);
        Ok(Response::new(limits_message(&levels, self.environment)))
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
}

impl Handlers {
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
fn caller<T>(request: &Request<T>) -> Result<(Arc<CallContext>, Arc<Contract>), Status> {
    let call = request.extensions().get::<Arc<CallContext>>().cloned();
    let contract = call.as_ref().and_then(|call| call.contract.get().cloned());
    call.zip(contract).ok_or_else(|| Status::internal("call without a contract"))
}

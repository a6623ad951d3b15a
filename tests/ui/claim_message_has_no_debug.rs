//! The message that carries number and name prints nothing by accident: neither does the request around it.
//! error E0277

use drivegate::gateway::proto::{Claim, VerifyRequest};

pub fn show(claim: &Claim, request: &VerifyRequest) -> String {
    format!("{claim:?} {request:?}")
}

//! Look-ups held back from drivers, over the socket. Numbers come in bodies: never in a path, and in no answer or error.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::operations::{Refused, Served, answer};
use super::ports::{HoldBackLifted, HoldBackSet, HolderSaid};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    holder: HolderSaid,
    hold_back: HoldBackSet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    holder: HolderSaid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lift {
    holder: HolderSaid,
    hold_back: HoldBackLifted,
}

pub(super) async fn set(State(served): State<Served>, body: Result<Json<Set>, JsonRejection>) -> Response {
    match body {
        Ok(Json(Set { holder, hold_back })) => answer(served.operator.set_hold_back(holder, hold_back).await),
        Err(rejection) => Refused::unreadable(&rejection).into_response(),
    }
}

pub(super) async fn list(State(served): State<Served>, body: Result<Json<List>, JsonRejection>) -> Response {
    match body {
        Ok(Json(List { holder })) => answer(served.operator.hold_backs(holder).await),
        Err(rejection) => Refused::unreadable(&rejection).into_response(),
    }
}

pub(super) async fn lift(State(served): State<Served>, body: Result<Json<Lift>, JsonRejection>) -> Response {
    match body {
        Ok(Json(Lift { holder, hold_back })) => {
            answer(served.operator.lift_hold_back(holder, hold_back).await)
        }
        Err(rejection) => Refused::unreadable(&rejection).into_response(),
    }
}

//! What may be asked over the operator's socket.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;

use super::ports::{Operator, OperatorError, Settlement, Status};
use super::report::{ErrorBody, SHARED_RECORD_AWAY, StandingOrder, StatusReport};
use super::{backup, hold_backs, import};
use crate::domain::partner::PartnerIdFault;
use crate::domain::standing::{KeyPinFault, RecordedState};

/// The largest body but an import's.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The longest reason of a suspension, in characters.
const REASON_CHARACTERS_MAX: usize = 500;

#[derive(Clone)]
pub(super) struct Served {
    pub(super) operator: Arc<dyn Operator>,
    status: Arc<dyn Status>,
}

/// Lays the operations out.
pub(super) fn router(operator: Arc<dyn Operator>, status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/v1/partners", get(partners))
        .route("/v1/partners/{id}/suspend", post(suspend))
        .route("/v1/partners/{id}/resume", post(resume))
        .route("/v1/partners/{id}/suspend-claims", post(suspend_claims))
        .route("/v1/partners/{id}/resume-claims", post(resume_claims))
        .route("/v1/keys", get(keys))
        .route("/v1/keys/{pin}/deny", post(deny))
        .route("/v1/keys/{pin}/allow", post(allow))
        .route("/v1/reload", post(reload))
        .route("/v1/quarantine", get(quarantine))
        .route("/v1/quarantine/{handle}/discard", post(discard))
        .route("/v1/quarantine/{handle}/replay", post(replay))
        .route("/v1/hold-backs/set", post(hold_backs::set))
        .route("/v1/hold-backs/list", post(hold_backs::list))
        .route("/v1/hold-backs/lift", post(hold_backs::lift))
        .route("/v1/status", get(report))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route("/v1/registry/import", post(import::import))
        .route("/v1/registry/export", get(export))
        .route("/v1/registry/backup", get(backup::back_up))
        .fallback(no_such_operation)
        .with_state(Served { operator, status })
}

type Ordered = Result<Json<StandingOrder>, JsonRejection>;

async fn suspend(State(served): State<Served>, Path(id): Path<String>, order: Ordered) -> Response {
    change_partner(&served, &id, RecordedState::Suspended, order).await
}

async fn resume(State(served): State<Served>, Path(id): Path<String>, order: Ordered) -> Response {
    change_partner(&served, &id, RecordedState::Active, order).await
}

async fn change_partner(served: &Served, id: &str, state: RecordedState, order: Ordered) -> Response {
    match (fit(order), id.parse()) {
        (Ok(order), Ok(partner)) => answer(served.operator.change_partner(partner, state, order).await),
        (Err(refused), _) => refused.into_response(),
        (_, Err(fault)) => Refused::id(fault).into_response(),
    }
}

async fn suspend_claims(State(served): State<Served>, Path(id): Path<String>, order: Ordered) -> Response {
    change_claims(&served, &id, RecordedState::Suspended, order).await
}

async fn resume_claims(State(served): State<Served>, Path(id): Path<String>, order: Ordered) -> Response {
    change_claims(&served, &id, RecordedState::Active, order).await
}

async fn change_claims(served: &Served, id: &str, state: RecordedState, order: Ordered) -> Response {
    match (fit(order), id.parse()) {
        (Ok(order), Ok(partner)) => answer(served.operator.change_claims(partner, state, order).await),
        (Err(refused), _) => refused.into_response(),
        (_, Err(fault)) => Refused::id(fault).into_response(),
    }
}

async fn deny(State(served): State<Served>, Path(pin): Path<String>, order: Ordered) -> Response {
    change_key(&served, &pin, RecordedState::Suspended, order).await
}

async fn allow(State(served): State<Served>, Path(pin): Path<String>, order: Ordered) -> Response {
    change_key(&served, &pin, RecordedState::Active, order).await
}

async fn change_key(served: &Served, pin: &str, state: RecordedState, order: Ordered) -> Response {
    match (fit(order), pin.parse()) {
        (Ok(order), Ok(key)) => answer(served.operator.change_key(key, state, order).await),
        (Err(refused), _) => refused.into_response(),
        (_, Err(fault)) => Refused::pin(fault).into_response(),
    }
}

async fn keys(State(served): State<Served>) -> Response {
    answer(served.operator.keys().await)
}

/// Holds an order to what a record can hold.
fn fit(order: Ordered) -> Result<StandingOrder, Refused> {
    let Json(order) = order.map_err(|rejection| Refused::body(&rejection))?;
    let reason = &order.reason;
    let is_fit = !reason.trim().is_empty()
        && reason.chars().count() <= REASON_CHARACTERS_MAX
        && !reason.contains(char::is_control);
    if is_fit { Ok(order) } else { Err(Refused::reason()) }
}

async fn partners(State(served): State<Served>) -> Response {
    answer(served.operator.partners().await)
}

async fn reload(State(served): State<Served>) -> Response {
    answer(served.operator.reload().await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    recorded_now: bool,
}

async fn quarantine(
    State(served): State<Served>,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    match listing {
        Ok(Query(Listing { after })) => answer(served.operator.quarantine(after).await),
        Err(_) => Refused::listing().into_response(),
    }
}

async fn discard(State(served): State<Served>, Path(handle): Path<String>) -> Response {
    answer(served.operator.settle(handle, Settlement::Discard).await)
}

async fn replay(
    State(served): State<Served>,
    Path(handle): Path<String>,
    replay: Result<Json<Replay>, JsonRejection>,
) -> Response {
    match replay {
        Ok(Json(Replay { recorded_now })) => {
            answer(served.operator.settle(handle, Settlement::Replay { recorded_now }).await)
        }
        Err(rejection) => Refused::replay(&rejection).into_response(),
    }
}

/// Streams every licence. A body that breaks off is no export: it lacks its end line.
async fn export(State(served): State<Served>) -> Response {
    match served.operator.export().await {
        Ok(body) => {
            let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
            (kind, Body::from_stream(ReceiverStream::new(body))).into_response()
        }
        Err(error) => Refused::from(error).into_response(),
    }
}

async fn report(State(served): State<Served>) -> Json<StatusReport> {
    Json(served.status.status())
}

async fn no_such_operation() -> Refused {
    Refused {
        code: StatusCode::NOT_FOUND,
        body: error_body("no-such-operation", "no such operation", "use the same version on both sides"),
    }
}

pub(super) fn answer<T: Serialize>(outcome: Result<T, OperatorError>) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => Refused::from(error).into_response(),
    }
}

/// An operation that was not done, as HTTP says it.
pub(super) struct Refused {
    code: StatusCode,
    body: ErrorBody,
}

impl Refused {
    fn id(fault: PartnerIdFault) -> Self {
        let body = error_body("malformed-id", &fault.to_string(), "`drivegate partner list` shows the ids");
        Self { code: StatusCode::BAD_REQUEST, body }
    }

    fn pin(fault: KeyPinFault) -> Self {
        let next = "`drivegate partner list` shows the keys that are denied";
        Self { code: StatusCode::BAD_REQUEST, body: error_body("malformed-pin", &fault.to_string(), next) }
    }

    fn reason() -> Self {
        let message = format!("a reason has 1 to {REASON_CHARACTERS_MAX} printable characters");
        let body = error_body("malformed-reason", &message, "say why in one line: it is kept on record");
        Self { code: StatusCode::BAD_REQUEST, body }
    }

    fn body(rejection: &JsonRejection) -> Self {
        let body = error_body("malformed-body", &rejection.body_text(), "send {\"reason\": \"…\"} as JSON");
        Self { code: rejection.status(), body }
    }

    /// A body that names a driver: what is wrong with it is not repeated, because it could repeat the number.
    pub(super) fn unreadable(rejection: &JsonRejection) -> Self {
        let next = "use the same version on both sides";
        Self { code: rejection.status(), body: error_body("malformed-body", "the body cannot be read", next) }
    }

    fn listing() -> Self {
        let body = error_body("malformed-query", "the query is unknown", "add ?after=HANDLE, or nothing");
        Self { code: StatusCode::BAD_REQUEST, body }
    }

    fn replay(rejection: &JsonRejection) -> Self {
        let next = "send {\"recorded_now\": false} as JSON";
        Self { code: rejection.status(), body: error_body("malformed-body", &rejection.body_text(), next) }
    }

    pub(super) fn format() -> Self {
        let message = "the format is missing, or format or encoding is unknown";
        let body = error_body(
            "malformed-format",
            message,
            "add ?format=ndjson or ?format=csv, and &encoding=gb18030 if it is not UTF-8",
        );
        Self { code: StatusCode::BAD_REQUEST, body }
    }
}

impl From<OperatorError> for Refused {
    fn from(error: OperatorError) -> Self {
        let code = match error {
            OperatorError::PartnerNotKnown => StatusCode::NOT_FOUND,
            OperatorError::Busy { .. } => StatusCode::CONFLICT,
            OperatorError::NotUsable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            OperatorError::SharedRecordAway => StatusCode::SERVICE_UNAVAILABLE,
            OperatorError::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { code, body: said(&error) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.code, Json(self.body)).into_response()
    }
}

/// Says an operation's error to the operator.
pub(super) fn said(error: &OperatorError) -> ErrorBody {
    let (code, next) = match error {
        OperatorError::PartnerNotKnown => ("partner-not-known", "`drivegate partner list` shows the ids"),
        OperatorError::Busy { .. } => ("busy", "wait until it is done, then try again"),
        OperatorError::NotUsable { .. } => ("not-usable", "correct it and try again"),
        OperatorError::SharedRecordAway => ("shared-record-away", SHARED_RECORD_AWAY),
        OperatorError::Failed { .. } => ("failed", "the gateway's log has the chain of causes"),
    };
    error_body(code, &error.to_string(), next)
}

fn error_body(code: &str, message: &str, next: &str) -> ErrorBody {
    ErrorBody { code: code.into(), message: message.into(), next: next.into() }
}

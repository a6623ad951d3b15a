"""Reads what the gateway said: an answer as it is, a refusal or an error with all its google.rpc details."""

import dataclasses

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "drivegate.v1"


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A gRPC status with its details, as a partner's program sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict
    request_id: str
    violations: dict
    preconditions: list
    quota: list
    retry_seconds: float | None
    headers: dict
    raw: bytes


def refusal(error: grpc.RpcError) -> Refusal:
    """Reads a status; fails when ErrorInfo or RequestInfo is missing, since every refusal carries both."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details on {error.code()}: {error.details()}"
    details = {}
    for packed in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.RequestInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.PreconditionFailure,
            error_details_pb2.QuotaFailure,
            error_details_pb2.RetryInfo,
            error_details_pb2.DebugInfo,
        ):
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                details[kind.__name__] = detail
    assert "DebugInfo" not in details, "nothing of the gateway's inside leaves"
    info = details["ErrorInfo"]
    assert info.domain == DOMAIN
    headers = {}
    for pairs in (error.initial_metadata() or (), error.trailing_metadata() or ()):
        headers.update({key: value for key, value in pairs})
    raw = headers.get("grpc-status-details-bin", b"")
    bad = details.get("BadRequest", error_details_pb2.BadRequest())
    retry = details.get("RetryInfo")
    return Refusal(
        code=error.code(),
        message=error.details(),
        reason=info.reason,
        metadata=dict(info.metadata),
        request_id=details["RequestInfo"].request_id,
        violations={violation.field: violation.description for violation in bad.field_violations},
        preconditions=list(details.get("PreconditionFailure", error_details_pb2.PreconditionFailure()).violations),
        quota=list(details.get("QuotaFailure", error_details_pb2.QuotaFailure()).violations),
        retry_seconds=None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        headers=headers,
        raw=raw if isinstance(raw, bytes) else raw.encode(),
    )


def refused(call, *arguments, timeout: float = 5.0, **options) -> Refusal:
    """Makes a call that must be refused."""
    try:
        answer = call(*arguments, timeout=timeout, **options)
    except grpc.RpcError as error:
        return refusal(error)
    raise AssertionError(f"answered although it had to be refused: {type(answer).__name__}")


def assert_refused(found: Refusal, code: grpc.StatusCode, reason: str) -> Refusal:
    """Asserts the exact code and reason, and that a request id is there to be quoted."""
    assert (found.code, found.reason) == (code, reason), found
    assert found.request_id, "RequestInfo carries the gateway's request id"
    return found

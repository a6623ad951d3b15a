"""Two meters: the rate for every request, the quota for answers."""

import time
import uuid

import grpc
import pytest

import asks
from drivers import driver
from drivegate.v1 import limits_pb2 as m
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refused

NORMAL = driver("1")
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def allow(**terms):
    """A change of the contract's allowance."""
    return lambda document: document["allowance"].update(terms)


def remaining(stub) -> dict:
    return {limit.kind: limit.remaining for limit in stub.GetLimits(v.GetLimitsRequest(), timeout=5).limits}


def test_the_rate_is_refused_with_its_retry_time_and_recovers(house):
    house.add_partner("slow-demo", "rental-demo", allow(rate_per_second=1, burst=3))
    house.serve()
    desk = house.partner("slow-demo")
    for _ in range(3):
        desk.Verify(asks.rental(NORMAL), timeout=5)
    found = assert_refused(refused(desk.Verify, asks.rental(NORMAL)), EXHAUSTED, "RATE_EXCEEDED")
    assert found.retry_seconds is not None and 0 < found.retry_seconds <= 1.1
    assert "ratelimit" in found.headers and "ratelimit-policy" in found.headers
    assert "r=0" in found.headers["ratelimit"]
    time.sleep(found.retry_seconds + 0.05)
    assert desk.Verify(asks.rental(NORMAL), timeout=5).charged


def test_the_rate_is_spent_before_a_request_is_read(house):
    """Garbage costs the sender, not us; and another partner does not notice."""
    house.add_partner("slow-demo", "rental-demo", allow(rate_per_second=1, burst=3))
    house.serve()
    verify = house.channel("slow-demo").unary_unary("/drivegate.v1.VerificationService/Verify")
    reasons = [refused(verify, b"\xff" * 8).reason for _ in range(5)]
    assert reasons == ["REQUEST_MALFORMED"] * 3 + ["RATE_EXCEEDED"] * 2
    assert house.partner("rental-demo").Verify(asks.rental(NORMAL), timeout=5).charged


@pytest.mark.parametrize(
    "key, window, ends_within",
    [("quota_per_minute", "minute", 61), ("quota_per_hour", "hour", 3601), ("quota_per_day", "day", 86_401)],
)
def test_a_spent_quota_names_its_window(house, key, window, ends_within):
    house.add_partner("small-demo", "rental-demo", allow(**{key: 3}))
    house.serve()
    desk = house.partner("small-demo")
    for _ in range(3):
        assert desk.Verify(asks.rental(NORMAL), timeout=5).charged
    found = assert_refused(refused(desk.Verify, asks.rental(NORMAL)), EXHAUSTED, "QUOTA_EXCEEDED")
    assert any(window in (violation.subject + violation.description + violation.quota_id).lower() for violation in found.quota), found.quota
    assert found.retry_seconds is not None and 0 < found.retry_seconds <= ends_within


def test_the_same_request_id_is_charged_once_and_a_refusal_never(house):
    house.add_partner("small-demo", "rental-demo", allow(quota_per_minute=1000))
    house.serve()
    desk = house.partner("small-demo")
    start = remaining(desk)[m.LIMIT_KIND_QUOTA_DAY]
    request = asks.rental(NORMAL)
    request.request_id = str(uuid.uuid4())
    assert [desk.Verify(request, timeout=5).charged for _ in range(3)] == [True, False, False]
    assert remaining(desk)[m.LIMIT_KIND_QUOTA_DAY] == start - 1
    refused(desk.Verify, asks.insurance_claim(NORMAL))
    refused(desk.Verify, asks.rental(NORMAL.renamed("")))
    assert remaining(desk)[m.LIMIT_KIND_QUOTA_DAY] == start - 1
    desk.Verify(asks.rental(NORMAL.renamed("不对")), timeout=5)
    assert remaining(desk)[m.LIMIT_KIND_QUOTA_DAY] == start - 2, "an unconfirmed subject is an answer, too"


def test_a_request_id_with_other_content_is_refused_and_not_charged(house):
    house.serve()
    desk = house.partner("rental-demo")
    request = asks.rental(NORMAL)
    request.request_id = str(uuid.uuid4())
    assert desk.Verify(request, timeout=5).charged
    left = remaining(desk)[m.LIMIT_KIND_QUOTA_DAY]
    other = v.VerifyRequest()
    other.CopyFrom(request)
    other.rental.min_tenure_months = 12
    assert_refused(refused(desk.Verify, other), grpc.StatusCode.ABORTED, "IDEMPOTENCY_CONFLICT")
    assert remaining(desk)[m.LIMIT_KIND_QUOTA_DAY] == left
    assert not desk.Verify(request, timeout=5).charged, "the first question is still the id's own"


def test_describing_the_contract_spends_rate_but_no_quota(house):
    house.add_partner("slow-demo", "rental-demo", allow(rate_per_second=1, burst=2))
    house.serve()
    desk = house.partner("slow-demo")
    quota = remaining(desk)[m.LIMIT_KIND_QUOTA_DAY]
    for _ in range(2):
        desk.DescribeContract(v.DescribeContractRequest(), timeout=5)
    found = refused(desk.DescribeContract, v.DescribeContractRequest())
    assert_refused(found, EXHAUSTED, "RATE_EXCEEDED")
    assert remaining(desk)[m.LIMIT_KIND_QUOTA_DAY] == quota


def test_the_limits_of_a_contract_hold_over_all_its_connections(house):
    house.add_partner("slow-demo", "rental-demo", allow(rate_per_second=1, burst=4))
    house.serve()
    outcomes = []
    for _ in range(6):
        try:
            house.partner("slow-demo").Verify(asks.rental(NORMAL), timeout=5)
            outcomes.append("answered")
        except grpc.RpcError as fault:
            outcomes.append(fault.code())
    assert outcomes.count("answered") in (4, 5), outcomes


def test_more_connections_than_the_contract_allows_are_not_kept(house):
    house.add_partner("slim-demo", "rental-demo", allow(connections_max=2))
    house.serve()
    first, second = house.partner("slim-demo"), house.partner("slim-demo")
    for stub in (first, second):
        stub.GetLimits(v.GetLimitsRequest(), timeout=5)
    with pytest.raises(grpc.RpcError) as fault:
        house.partner("slim-demo").GetLimits(v.GetLimitsRequest(), timeout=3)
    assert fault.value.code() in (grpc.StatusCode.UNAVAILABLE, EXHAUSTED)
    assert first.GetLimits(v.GetLimitsRequest(), timeout=5).connections == 2

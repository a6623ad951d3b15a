"""When too much comes at once, and when the gateway itself is in trouble: errors of ours, told as such."""

import concurrent.futures
import resource

import grpc
import pytest

import asks
import deployment as d
from drivers import UNKNOWN, driver
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refusal, refused

NORMAL = driver("1")
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
#: So long an answer about nobody takes here: calls that begin together are served together.
FLOOR_MS = 400
AT_ONCE = 8
#: Not one byte more can be written to any file.
FULL_DISK_BYTES = 0


def slow_answers_about_nobody(config):
    config.setdefault("bounds", {})["unconfirmed_floor_ms"] = FLOOR_MS


def ask_at_once(stub, count: int = AT_ONCE):
    """Asks so often at once; returns how many were answered, and the refusals."""
    def ask(_):
        try:
            return stub.Verify(asks.rental(UNKNOWN), timeout=5)
        except grpc.RpcError as error:
            return refusal(error)

    with concurrent.futures.ThreadPoolExecutor(count) as callers:
        outcomes = list(callers.map(ask, range(count)))
    answers = [outcome for outcome in outcomes if isinstance(outcome, v.VerifyResponse)]
    return len(answers), [outcome for outcome in outcomes if not isinstance(outcome, v.VerifyResponse)]


def test_more_at_once_than_the_contract_allows_is_refused_and_the_place_comes_back(house):
    house.configure(slow_answers_about_nobody)
    house.contract("rental-demo", lambda document: document["allowance"].update(in_flight_max=1))
    house.serve()
    desk = house.partner("rental-demo")
    desk.GetLimits(v.GetLimitsRequest(), timeout=5)
    answered, refusals = ask_at_once(desk)
    assert answered >= 1 and len(refusals) >= 1, (answered, refusals)
    for found in refusals:
        assert_refused(found, EXHAUSTED, "IN_FLIGHT_EXCEEDED")
        assert [violation.subject for violation in found.quota] == ["in-flight"]
        assert found.retry_seconds is not None
    assert desk.Verify(asks.rental(NORMAL), timeout=5).charged, "the place was freed"


def test_overload_is_the_gateways_own_word_and_passes(house):
    house.configure(slow_answers_about_nobody)
    house.configure(lambda config: config["bounds"].update(in_flight_max=1))
    house.serve()
    desk = house.partner("rental-demo")
    desk.GetLimits(v.GetLimitsRequest(), timeout=5)
    answered, refusals = ask_at_once(desk)
    assert answered >= 1 and len(refusals) >= 1, (answered, refusals)
    for found in refusals:
        assert_refused(found, UNAVAILABLE, "OVERLOADED")
        assert found.retry_seconds and not found.quota, "no quota of the partner's was at fault"
    assert desk.Verify(asks.rental(NORMAL), timeout=5).charged, "it passed"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=["gzip", "deflate"])
def test_a_compressed_message_is_refused_and_the_connection_lives_on(rental_desk, compression):
    request = asks.rental(NORMAL)
    request.case_category = "x" * 32  # worth compressing
    found = refused(rental_desk.Verify, request, compression=compression)
    assert_refused(found, grpc.StatusCode.UNIMPLEMENTED, "COMPRESSION_NOT_ACCEPTED")
    assert rental_desk.Verify(asks.rental(NORMAL), timeout=5).charged


def file_size_limit(process: int, bytes_max: int) -> None:
    """Lets the process write files only so far: every write beyond fails with EFBIG, as a full disk's with ENOSPC."""
    hard = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process, resource.RLIMIT_FSIZE, (bytes_max, hard))


def test_no_record_no_disclosure_and_back_again_when_the_disk_has_room(house):
    """The gateway's own log lines go to a file that is full, too: they are lost, and nothing else is."""
    house.serve(signals_ignored=True)
    desk, process = house.partner("rental-demo"), house.process.pid
    before = desk.Verify(asks.rental(NORMAL), timeout=5).evidence
    file_size_limit(process, FULL_DISK_BYTES)
    for _ in range(3):
        found = assert_refused(refused(desk.Verify, asks.rental(NORMAL)), UNAVAILABLE, "EVIDENCE_UNAVAILABLE")
        assert found.retry_seconds and found.retry_seconds > 0
    # Refusals disclose nothing: they leave all the same.
    assert_refused(refused(desk.Verify, asks.insurance_claim(NORMAL)), grpc.StatusCode.PERMISSION_DENIED, "PURPOSE_NOT_PERMITTED")
    d.eventually(lambda: house.fetch("/readyz")[0] == 503, 3, "/readyz says that answers cannot be given")
    assert "journal" in house.fetch("/readyz")[1] or "evidence" in house.fetch("/readyz")[1]
    assert house.fetch("/livez")[0] == 200, "a restart would not help"
    file_size_limit(process, resource.RLIM_INFINITY)
    answer = d.eventually(lambda: answered(desk), 5, "the journal goes on by itself")
    assert (answer.log_origin, answer.entry_index > before.entry_index) == (before.log_origin, True)
    d.eventually(lambda: house.fetch("/readyz")[0] == 200, 3, "/readyz is well again")


def answered(stub):
    try:
        return stub.Verify(asks.rental(NORMAL), timeout=5).evidence
    except grpc.RpcError as error:
        assert_refused(refusal(error), UNAVAILABLE, "EVIDENCE_UNAVAILABLE")
        return None

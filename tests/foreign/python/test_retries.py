"""A retry with the same request id: the same answer, charged once; another request under it: none."""

import threading
import time
import uuid

import grpc
import pytest

import asks
from drivers import driver
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refused

NORMAL = driver("1")


def asked(subject=NORMAL) -> v.VerifyRequest:
    request = asks.rental(subject)
    request.request_id = str(uuid.uuid4())
    return request


def changed(request: v.VerifyRequest, change) -> v.VerifyRequest:
    other = v.VerifyRequest()
    other.CopyFrom(request)
    change(other)
    return other


def said(answer: v.VerifyResponse) -> v.VerifyResponse:
    """The answer without what giving it again changes."""
    same = v.VerifyResponse()
    same.CopyFrom(answer)
    same.ClearField("replayed")
    same.ClearField("charged")
    return same


@pytest.mark.parametrize("subject", [NORMAL, NORMAL.renamed("不对")], ids=["confirmed", "unconfirmed"])
def test_a_retry_is_given_the_same_answer(gateway, subject):
    desk = gateway.partner("rental-demo")
    request = asked(subject)
    first = desk.Verify(request, timeout=5)
    assert first.charged and not first.replayed
    for _ in range(3):
        again = desk.Verify(request, timeout=5)
        assert again.replayed and not again.charged
        assert said(again) == said(first)


def test_a_retry_that_wants_it_fresher_is_answered_anew_and_not_charged(gateway):
    desk = gateway.partner("rental-demo")
    request = asked()
    first = desk.Verify(request, timeout=5)

    def fresh(other):
        other.max_age.SetInParent()

    anew = desk.Verify(changed(request, fresh), timeout=5)
    assert not anew.replayed and not anew.charged
    assert anew.evidence.entry_index > first.evidence.entry_index
    assert desk.Verify(request, timeout=5).evidence == anew.evidence, "the newest answer is kept"


@pytest.mark.parametrize(
    "change",
    [
        lambda other: setattr(other, "case_reference", "ANOTHER-CASE"),
        lambda other: setattr(other, "operator_id", "another-clerk"),
        lambda other: setattr(other.rental, "min_tenure_months", 12),
        lambda other: setattr(other.claim, "full_name", "不对"),
        lambda other: other.fields.append(1),
    ],
    ids=["case", "operator", "question", "name", "fields"],
)
def test_another_request_under_the_id_is_a_conflict(gateway, change):
    desk = gateway.partner("rental-demo")
    request = asked()
    desk.Verify(request, timeout=5)
    assert_refused(refused(desk.Verify, changed(request, change)), grpc.StatusCode.ABORTED, "IDEMPOTENCY_CONFLICT")
    assert desk.Verify(request, timeout=5).replayed


def test_twins_at_once_are_one_answer(gateway):
    desk = gateway.partner("rental-demo")
    request = asked()
    answers, start = [], threading.Barrier(16)

    def ask():
        start.wait()
        answers.append(desk.Verify(request, timeout=5))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert len({answer.evidence.entry_index for answer in answers}) == 1
    assert [answer.charged for answer in answers].count(True) == 1
    assert [answer.replayed for answer in answers].count(False) == 1


def test_an_answer_no_longer_kept_is_named_by_its_place(house):
    house.configure(lambda config: config.update(retries={"answers_kept_s": 1}))
    house.serve()
    desk = house.partner("rental-demo")
    request = asked()
    first = desk.Verify(request, timeout=5)
    time.sleep(1.1)
    found = assert_refused(refused(desk.Verify, request), grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_SPENT")
    assert found.metadata == {"log_origin": first.evidence.log_origin, "entry_index": str(first.evidence.entry_index)}
    receipt = desk.GetReceipt(v.GetReceiptRequest(evidence=first.evidence), timeout=5)
    assert receipt.evidence == first.evidence
